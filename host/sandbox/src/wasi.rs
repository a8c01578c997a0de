//! Inert stand-ins for what a standard library drags in of `wasi:…@0.2`.
//!
//! A workflow sees the time of its turn, a monotonic clock that counts from the instance's start,
//! and random numbers that its run seeds; an activity sees the real ones, and the environment that
//! it was granted. Nobody sees arguments or input. Output becomes log lines. Nothing here reaches the outside,
//! so a guest with these stand-ins alone is contained.
//!
//! A patch version of WASI 0.2 only ever adds functions, and one program mixes several, so each
//! imported interface is linked under the version that it was imported by.

use std::time::Duration;

use wasmtime::component::types::ComponentInstance;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{Engine, Result, StoreContextMut};

use crate::guest_log::Stream;
use crate::inside::Inside;
use crate::trap::Stop;
use crate::wasi_io::{self, InputStream, OutputStream, Pollable, StreamFault};
use crate::wasi_waiting;

/// The interfaces for which there are stand-ins.
const INTERFACES: [&str; 18] = [
    "cli/environment",
    "cli/exit",
    "cli/stdin",
    "cli/stdout",
    "cli/stderr",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "cli/terminal-stderr",
    "clocks/wall-clock",
    "clocks/monotonic-clock",
    "io/error",
    "io/poll",
    "io/streams",
    "random/random",
    "random/insecure",
    "random/insecure-seed",
];

/// The interface for which there is a stand-in, without package and version.
pub(crate) fn stand_in(import: &str) -> Option<&str> {
    interface(import).filter(|interface| INTERFACES.contains(interface))
}

/// An interface of WASI 0.2, without package and version.
pub(crate) fn interface(import: &str) -> Option<&str> {
    let (interface, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    let released = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
    released.then_some(interface)
}

// What the guest's handles of terminals stand for; there are none.
enum TerminalInput {}
enum TerminalOutput {}

pub(crate) type Store<'a> = StoreContextMut<'a, Inside>;

#[derive(ComponentType, Lower, Lift, Clone, Copy)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Links one imported interface; what it has no stand-in for traps with its name.
///
/// With `http`, `wasi:io` is not linked here, and what hands out its handles fits it.
pub(crate) fn link(
    linker: &mut LinkerInstance<'_, Inside>,
    engine: &Engine,
    (import, interface): (&str, &str),
    ty: &ComponentInstance,
    http: bool,
) -> Result<()> {
    for (name, item) in ty.exports(engine) {
        match item.ty {
            // Those of `wasi:io`, which are linked there.
            ComponentItem::Resource(_) if http && !name.starts_with("terminal-") => {}
            ComponentItem::Resource(_) => resource(linker, name)?,
            ComponentItem::ComponentFunc(_) if http && wasi_waiting::link(linker, name)? => {}
            ComponentItem::ComponentFunc(_) => {
                let known = match interface.split_once('/') {
                    Some(("cli", _)) => cli(linker, name)?,
                    Some(("clocks", clock)) => clocks(linker, clock, name)?,
                    Some(("random", _)) => random(linker, name)?,
                    Some(("io", "streams")) => {
                        wasi_io::output(linker, name)? || wasi_io::input(linker, name)?
                    }
                    _ => wasi_io::poll(linker, name)?,
                };
                if !known {
                    crate::link::trap(linker, import, name)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Links a resource: what is of `wasi:io` is the same in each interface that uses it.
pub(crate) fn resource(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<()> {
    let ty = match name {
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "terminal-input" => ResourceType::host::<TerminalInput>(),
        "terminal-output" => ResourceType::host::<TerminalOutput>(),
        "pollable" => {
            let ty = ResourceType::host::<Pollable>();
            return linker.resource(name, ty, |mut store: Store<'_>, handle| {
                store.data_mut().pollables.remove(handle);
                Ok(())
            });
        }
        "error" => ResourceType::host::<StreamFault>(),
        _ => ResourceType::host::<()>(),
    };
    linker.resource(name, ty, |_, _| Ok(()))
}

fn cli(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
    match name {
        "get-environment" => {
            linker.func_wrap(name, |store: Store<'_>, ()| {
                Ok((store.data().environment(),))
            })?;
        }
        "get-arguments" => linker.func_wrap(name, |_, ()| Ok((Vec::<String>::new(),)))?,
        "initial-cwd" => linker.func_wrap(name, |_, ()| Ok((None::<String>,)))?,
        "exit" => linker.func_wrap(name, |_, (status,): (Result<(), ()>,)| {
            exit(u8::from(status.is_err()))
        })?,
        "exit-with-code" => linker.func_wrap(name, |_, (code,): (u8,)| exit(code))?,
        "get-stdin" => {
            linker.func_wrap(name, |_, ()| Ok((Resource::<InputStream>::new_own(0),)))?;
        }
        "get-stdout" => output_stream(linker, name, Stream::Output)?,
        "get-stderr" => output_stream(linker, name, Stream::Error)?,
        "get-terminal-stdin" => {
            linker.func_wrap(name, |_, ()| Ok((None::<Resource<TerminalInput>>,)))?;
        }
        "get-terminal-stdout" | "get-terminal-stderr" => {
            linker.func_wrap(name, |_, ()| Ok((None::<Resource<TerminalOutput>>,)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn exit(code: u8) -> Result<()> {
    let message = format!("it called exit({code}); return from the function instead");
    Err(Stop::Forbidden(message).into())
}

fn output_stream(
    linker: &mut LinkerInstance<'_, Inside>,
    name: &str,
    stream: Stream,
) -> Result<()> {
    linker.func_wrap(name, move |_, ()| {
        Ok((Resource::<OutputStream>::new_own(stream as u32),))
    })
}

fn clocks(linker: &mut LinkerInstance<'_, Inside>, clock: &str, name: &str) -> Result<bool> {
    /// What the clocks can tell apart: a workflow's turns are a millisecond apart or more.
    const RESOLUTION: Duration = Duration::from_millis(1);
    match (clock, name) {
        ("wall-clock", "now") => {
            linker.func_wrap(name, |store: Store<'_>, ()| {
                Ok((Datetime::from(store.data().wall_clock()),))
            })?;
        }
        ("wall-clock", "resolution") => {
            linker.func_wrap(name, |_, ()| Ok((Datetime::from(RESOLUTION),)))?;
        }
        (_, "now") => linker.func_wrap(name, |store: Store<'_>, ()| {
            Ok((store.data().monotonic_clock(),))
        })?,
        (_, "resolution") => {
            linker.func_wrap(name, |_, ()| Ok((RESOLUTION.as_nanos() as u64,)))?;
        }
        (_, "subscribe-instant") => {
            linker.func_wrap(name, |mut store: Store<'_>, (at,): (u64,)| {
                Ok((store.data_mut().pollables.add(at)?,))
            })?;
        }
        (_, "subscribe-duration") => {
            linker.func_wrap(name, |mut store: Store<'_>, (duration,): (u64,)| {
                let at = store.data().monotonic_clock().saturating_add(duration);
                Ok((store.data_mut().pollables.add(at)?,))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

impl From<Duration> for Datetime {
    fn from(since: Duration) -> Self {
        Self {
            seconds: since.as_secs(),
            nanoseconds: since.subsec_nanos(),
        }
    }
}

fn random(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
    match name {
        "get-random-bytes" | "get-insecure-random-bytes" => {
            linker.func_wrap(name, |mut store: Store<'_>, (count,): (u64,)| {
                let max = store.data().limits.payload_bytes_max;
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                if count > max {
                    let message = format!("it asked for {count} random bytes, the limit is {max}");
                    return Err(Stop::Limit(message).into());
                }
                let mut bytes = vec![0; count];
                store.data_mut().fill_random(&mut bytes)?;
                Ok((bytes,))
            })?;
        }
        "get-random-u64" | "get-insecure-random-u64" => {
            linker.func_wrap(name, |mut store: Store<'_>, ()| Ok((number(&mut store)?,)))?;
        }
        "insecure-seed" => linker.func_wrap(name, |mut store: Store<'_>, ()| {
            Ok(((number(&mut store)?, number(&mut store)?),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn number(store: &mut Store<'_>) -> Result<u64> {
    let mut bytes = [0; 8];
    store.data_mut().fill_random(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
