//! The running host carries out a command that another process was given, and says there what the
//! command would have said in a process of its own.

use std::sync::Arc;

use futures_util::Stream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::call::Call;
use super::terminal::{CALLER, Caller, Said};
use super::{Exit, Failure};
use crate::host::Host;
use crate::serve::{Scope, Stopping};

/// Those of this machine. Each has a thread, since a command may print a long history to a reader
/// who takes his time.
const LOCAL_MAX: usize = 256;

/// Those from elsewhere, who must not keep the operator of this machine out.
const REMOTE_MAX: usize = 64;

/// So many things are said ahead of a caller who does not take them.
const SAID_AHEAD_MAX: usize = 64;

/// Carries out the commands of others.
#[derive(Clone)]
pub(crate) struct Commands {
    local: Arc<Semaphore>,
    remote: Arc<Semaphore>,
}

/// A command of another process, well understood.
pub(crate) struct Received(Call);

impl Received {
    /// # Errors
    /// In words, if it is no command that may be sent.
    pub(crate) fn decode(encoded: &[u8]) -> Result<Self, String> {
        let call = Call::decode(encoded)?;
        match call.command.db() {
            Some(_) => Ok(Self(call)),
            None => Err("this command has nothing to do with a running host".into()),
        }
    }

    /// What its caller has to be allowed.
    pub(crate) fn scope(&self) -> Scope {
        let Self(call) = self;
        // Whose code it brings along.
        match call.uploads.is_empty() {
            true => call.command.scope(),
            false => Scope::Deploy,
        }
    }
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            local: Arc::new(Semaphore::new(LOCAL_MAX)),
            remote: Arc::new(Semaphore::new(REMOTE_MAX)),
        }
    }
}

impl Commands {
    /// What a command from this machine or elsewhere says, encoded, as it says it; nothing if too
    /// many are carried out just now. Who does not take it any more ends the command.
    pub(crate) fn carry_out(
        &self,
        host: Arc<Host>,
        stopping: Stopping,
        Received(call): Received,
        is_local: bool,
        place: Option<OwnedSemaphorePermit>,
    ) -> Option<impl Stream<Item = Vec<u8>> + Send + use<>> {
        let free = if is_local { &self.local } else { &self.remote };
        let permit = Arc::clone(free).try_acquire_owned().ok()?;
        let (to, said) = mpsc::channel(SAID_AHEAD_MAX);
        let caller = Caller {
            host,
            to,
            stopping,
            args: call.args.clone().into(),
        };
        let handle = Handle::current();
        let thread = std::thread::Builder::new().name("wfhost command".into());
        let command = move || handle.block_on(carried_out(caller, call, (permit, place)));
        // Without a thread nobody says anything, and the caller is told that it was cut off.
        let _ = thread.spawn(command);
        Some(futures_util::stream::unfold(said, |mut said| async move {
            let next: Said = said.recv().await?;
            Some((next.encode(), said))
        }))
    }
}

/// `_places` are held until it has ended.
async fn carried_out(
    caller: Caller,
    call: Call,
    _places: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
) {
    let Caller {
        host, to, stopping, ..
    } = caller.clone();
    let done = CALLER.scope(caller, async move {
        let done = tokio::select! {
            done = call.run() => done,
            () = stopping.told() => Err(Failure::new(
                Exit::Host,
                "the host stops; what is on disk goes on when it runs again",
            )),
            () = host.failed() => Err(Failure::new(
                Exit::Host,
                "the host has failed, and opens its data file again; what was acknowledged is there",
            )),
        };
        super::ended(done)
    });
    let exit = tokio::select! {
        exit = done => exit,
        () = to.closed() => return,
    };
    let _ = to.send(Said::Exit(exit)).await;
}
