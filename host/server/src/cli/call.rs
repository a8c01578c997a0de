//! A command as a value: carried out in this process, or by the running host that has the data
//! file.

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::terminal::arguments;
use super::wait::Signals;
use super::{Command, Exit, Failure, remote, say};
use crate::error::Error;
use crate::host::Upload;

/// A command with all that it takes from the files of whoever gave it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) command: Command,
    /// As they were typed, to say how to go on.
    pub(super) args: Vec<String>,
    /// They stand beside it where it is sent: they are large, and no text.
    #[serde(skip)]
    pub(super) uploads: Vec<Upload>,
}

impl Call {
    /// Carries a command out: in the host that runs on its data file, or else in this process.
    pub(super) async fn carry_out(mut command: Command) -> Result<Exit, Failure> {
        // A limit on the size of files is a disk that is full, and no reason to die.
        let _ = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
        let mut signals = Signals::listen();
        // Packages are built here, which takes its time.
        let reading = tokio::task::spawn_blocking(move || {
            let uploads = command.read()?;
            let args = arguments();
            Ok::<_, Failure>(Self {
                command,
                args,
                uploads,
            })
        });
        let call = tokio::select! {
            call = reading => call.map_err(|_| Failure::from(Error::Unknown))??,
            () = signals.recv() => {
                say(format_args!("interrupted; nothing was done"));
                return Ok(Exit::Interrupted);
            }
        };
        if !call.command.heeds_signals() {
            // Whatever it does just then: what it has done is on disk.
            tokio::spawn(async move {
                signals.recv().await;
                std::process::exit(Exit::Interrupted as i32);
            });
        }
        let Some(db) = call.command.db() else {
            return call.run().await;
        };
        if let Some(host) = remote::find(db).await? {
            return host.carry_out(&call).await;
        }
        match call.clone().run().await {
            // A host has begun to serve the file meanwhile.
            Err(failure) if failure.in_use => match remote::find(db).await? {
                Some(host) => host.carry_out(&call).await,
                None => Err(failure),
            },
            done => done,
        }
    }

    /// Here, on the data file or, called by somebody, on the running host.
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        self.command.run(self.uploads).await
    }
}
