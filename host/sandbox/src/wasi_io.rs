//! The stand-ins for `wasi:io`: streams that are the log or are closed, and waiting.

use std::time::Duration;

use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};

use crate::guest_log::Stream;
use crate::inside::{Inside, Role};
use crate::trap::Stop;
use crate::wasi::Store;

// What the guest's handles stand for. The number of a handle says all there is to know.
pub(crate) enum InputStream {}
pub(crate) enum OutputStream {}
pub(crate) enum StreamFault {}
pub(crate) enum Pollable {}

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

    pub(crate) fn add(&mut self, ready_at: u64) -> Result<Resource<Pollable>, Stop> {
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

    pub(crate) fn remove(&mut self, handle: u32) {
        if let Some(slot) = (handle as usize)
            .checked_sub(1)
            .and_then(|at| self.0.get_mut(at))
        {
            *slot = None;
        }
    }
}

/// What a guest may write at once, in bytes; WASI allows 4,096 for a blocking write.
pub(crate) const CHUNK_BYTES: u64 = 64 * 1024;

type Written = Result<(), StreamError>;
type Read = Result<Vec<u8>, StreamError>;

pub(crate) fn output(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
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

pub(crate) fn input(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
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

pub(crate) fn poll(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
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
