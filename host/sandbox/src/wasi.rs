//! Inert stand-ins for what a standard library drags in of `wasi:…@0.2`.
//!
//! A workflow sees the time of its turn, a monotonic clock that counts from the instance's start,
//! and random numbers that its run seeds; an activity sees the real ones. Nobody sees an
//! environment, arguments or input. Output becomes log lines. Nothing here reaches the outside,
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
use crate::inside::{Inside, Role};
use crate::trap::Stop;

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
    let (interface, version) = import.strip_prefix("wasi:")?.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    let released = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
    let known = INTERFACES.contains(&interface);
    (released && known).then_some(interface)
}

// What the guest's handles stand for. The number of a handle says all there is to know.
enum InputStream {}
enum OutputStream {}
enum StreamFault {}
enum Pollable {}
enum TerminalInput {}
enum TerminalOutput {}

type Store<'a> = StoreContextMut<'a, Inside>;

#[derive(ComponentType, Lower, Lift, Clone, Copy)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<StreamFault>),
    #[component(name = "closed")]
    Closed,
}

/// The times at which the pollables of a guest are ready, on its monotonic clock; its streams
/// are always ready.
#[derive(Default)]
pub(crate) struct Pollables(Vec<Option<u64>>);

/// The handle of what is always ready.
const READY: u32 = 0;

impl Pollables {
    /// Most pollables of one guest at a time.
    const COUNT_MAX: usize = 10_000;

    fn add(&mut self, ready_at: u64) -> Result<Resource<Pollable>, Stop> {
        let free = self.0.iter().position(Option::is_none);
        let at = free.unwrap_or(self.0.len());
        if at >= Self::COUNT_MAX {
            return Err(Stop::Limit(format!(
                "it holds {} pollables",
                Self::COUNT_MAX
            )));
        }
        if at == self.0.len() {
            self.0.push(None);
        }
        self.0[at] = Some(ready_at);
        Ok(Resource::new_own(at as u32 + 1))
    }

    fn ready_at(&self, handle: u32) -> u64 {
        let at = (handle as usize).checked_sub(1);
        at.and_then(|at| *self.0.get(at)?).unwrap_or(0)
    }

    fn remove(&mut self, handle: u32) {
        if let Some(slot) = (handle as usize)
            .checked_sub(1)
            .and_then(|at| self.0.get_mut(at))
        {
            *slot = None;
        }
    }
}

/// Links one imported interface; what it has no stand-in for traps with its name.
pub(crate) fn link(
    linker: &mut LinkerInstance<'_, Inside>,
    engine: &Engine,
    import: &str,
    interface: &str,
    ty: &ComponentInstance,
) -> Result<()> {
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::Resource(_) => resource(linker, name)?,
            ComponentItem::ComponentFunc(_) => {
                let known = match interface.split_once('/') {
                    Some(("cli", _)) => cli(linker, name)?,
                    Some(("clocks", clock)) => clocks(linker, clock, name)?,
                    Some(("random", _)) => random(linker, name)?,
                    Some(("io", "streams")) => output(linker, name)? || input(linker, name)?,
                    _ => poll(linker, name)?,
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

fn resource(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<()> {
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
            linker.func_wrap(name, |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
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

type Written = Result<(), StreamError>;
type Read = Result<Vec<u8>, StreamError>;

fn output(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
    /// What a guest may write at once, in bytes; WASI allows 4,096 for a blocking write.
    const CHUNK_BYTES: u64 = 64 * 1024;
    type This = Resource<OutputStream>;
    match name {
        "[method]output-stream.check-write" => {
            linker.func_wrap(name, |_, (_,): (This,)| {
                Ok((Ok::<u64, StreamError>(CHUNK_BYTES),))
            })?;
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            linker.func_wrap(
                name,
                |mut store: Store<'_>, (this, bytes): (This, Vec<u8>)| {
                    let stream = match this.rep() {
                        0 => Stream::Output,
                        _ => Stream::Error,
                    };
                    store.data_mut().log.stream(stream, &bytes);
                    Ok((Written::Ok(()),))
                },
            )?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            linker.func_wrap(name, |_, (_,): (This,)| Ok((Written::Ok(()),)))?;
        }
        "[method]output-stream.subscribe" => {
            linker.func_wrap(name, |_, (_,): (This,)| {
                Ok((Resource::<Pollable>::new_own(READY),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn input(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
    type This = Resource<InputStream>;
    match name {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => {
            linker.func_wrap(name, |_, (_, _): (This, u64)| {
                Ok((Read::Err(StreamError::Closed),))
            })?;
        }
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => {
            linker.func_wrap(name, |_, (_, _): (This, u64)| {
                Ok((Err::<u64, StreamError>(StreamError::Closed),))
            })?;
        }
        "[method]input-stream.subscribe" => {
            linker.func_wrap(name, |_, (_,): (This,)| {
                Ok((Resource::<Pollable>::new_own(READY),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn poll(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
    type This = Resource<Pollable>;
    match name {
        "[method]pollable.ready" => linker
            .func_wrap(name, |store: Store<'_>, (this,): (This,)| {
                Ok((is_ready(store.data(), this.rep()),))
            })?,
        "[method]pollable.block" => linker
            .func_wrap(name, |store: Store<'_>, (this,): (This,)| {
                wait_for(store.data(), &[this.rep()])
            })?,
        "poll" => linker.func_wrap(name, |store: Store<'_>, (those,): (Vec<This>,)| {
            let handles: Vec<u32> = those.iter().map(Resource::rep).collect();
            if handles.is_empty() {
                return Err(Stop::Forbidden("it polls nothing".into()).into());
            }
            wait_for(store.data(), &handles)?;
            let ready = (0_u32..).zip(&handles);
            let ready = ready.filter(|(_, handle)| is_ready(store.data(), **handle));
            Ok((ready.map(|(at, _)| at).collect::<Vec<u32>>(),))
        })?,
        "[method]error.to-debug-string" => {
            linker.func_wrap(name, |_, (_,): (Resource<StreamFault>,)| {
                Ok((String::new(),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn is_ready(inside: &Inside, handle: u32) -> bool {
    inside.pollables.ready_at(handle) <= inside.monotonic_clock()
}

/// Comes back once one of them is ready. Only an activity may wait for that.
fn wait_for(inside: &Inside, handles: &[u32]) -> Result<()> {
    /// How long a sleeper takes to notice that it is to stop.
    const SLICE: Duration = Duration::from_millis(10);
    loop {
        if handles.iter().any(|handle| is_ready(inside, *handle)) {
            return Ok(());
        }
        let Role::Attempt(_) = &inside.role else {
            let message = "a workflow blocks its thread, where no time passes; use ctx.sleep";
            return Err(Stop::Forbidden(message.into()).into());
        };
        inside.watch.check()?;
        let first = handles
            .iter()
            .map(|handle| inside.pollables.ready_at(*handle))
            .min();
        let left = first.unwrap_or(0).saturating_sub(inside.monotonic_clock());
        std::thread::sleep(Duration::from_nanos(left).min(SLICE));
    }
}
