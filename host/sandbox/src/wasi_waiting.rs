//! What stands in for the clocks' waiting and for the standard streams beside a `wasi:io` that
//! can really wait, as HTTP needs it.

use std::time::Duration;

use tokio::time::Instant;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, OutputStream, Pollable, StreamResult, subscribe,
};

use crate::guest_log::{SharedLog, Stream};
use crate::inside::Inside;
use crate::wasi::Store;

/// Links those functions of the clocks and of the command line that hand out handles.
pub(crate) fn link(linker: &mut LinkerInstance<'_, Inside>, name: &str) -> Result<bool> {
    match name {
        "subscribe-instant" => linker.func_wrap(name, |mut store: Store<'_>, (at,): (u64,)| {
            let left = at.saturating_sub(store.data().monotonic_clock());
            Ok((wait(store.data_mut(), left)?,))
        })?,
        "subscribe-duration" => {
            linker.func_wrap(name, |mut store: Store<'_>, (nanoseconds,): (u64,)| {
                Ok((wait(store.data_mut(), nanoseconds)?,))
            })?
        }
        "get-stdin" => linker.func_wrap(name, |mut store: Store<'_>, ()| {
            let stream: DynInputStream = Box::new(ClosedInputStream);
            Ok((store.data_mut().http().table.push(stream)?,))
        })?,
        "get-stdout" => output(linker, name, Stream::Output)?,
        "get-stderr" => output(linker, name, Stream::Error)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn output(linker: &mut LinkerInstance<'_, Inside>, name: &str, stream: Stream) -> Result<()> {
    linker.func_wrap(name, move |mut store: Store<'_>, ()| {
        let http = store.data_mut().http();
        let said: DynOutputStream = Box::new(Said {
            log: http.log.clone(),
            stream,
        });
        Ok((http.table.push(said)?,))
    })
}

/// A time that a guest waits for.
struct Due(Option<Instant>);

fn wait(inside: &mut Inside, nanoseconds: u64) -> Result<Resource<DynPollable>> {
    let table = &mut inside.http().table;
    let due = Due(Instant::now().checked_add(Duration::from_nanos(nanoseconds)));
    let due = table.push(due)?;
    subscribe(table, due)
}

#[async_trait]
impl Pollable for Due {
    async fn ready(&mut self) {
        match self.0 {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// A standard stream, whose lines go to the log.
struct Said {
    log: SharedLog,
    stream: Stream,
}

#[async_trait]
impl Pollable for Said {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Said {
    fn write(&mut self, bytes: hyper::body::Bytes) -> StreamResult<()> {
        self.log.with(|log| log.stream(self.stream, &bytes));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(crate::wasi_io::CHUNK_BYTES as usize)
    }
}
