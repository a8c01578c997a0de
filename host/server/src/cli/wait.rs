//! `wfhost wait`, and what every command that drives instances does around it.

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wfhost_core::InstanceId;

use super::follow::Show;
use super::hosting::{Hosting, Skipping};
use super::terminal::Caller;
use super::{Db, Exit, Failure, Opened, say};
use crate::error::Error;
use crate::host::Host;

/// Drive instances until each has ended, or is stalled or suspended
///
/// Shows them as they go on on stderr; their results, JSON alone, go to stdout, a line each, in the
/// order given. Everything shown is on disk: whatever stops the process, the same call goes on
/// where they were. For one that has ended it prints the result again.
///
/// Only these instances and what they start are driven; others in the data file stay as they are.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost wait order-7
  wfhost wait order-7 order-8 --json | jq 'select(.record == \"instance\") | .output'
  wfhost wait report --skip-time

Exit status: 0 all completed, 1 one failed or was cancelled or terminated, 2 usage, 3 one is stalled
or suspended, 4 the host failed (file, disk), 130 interrupted. The highest of all instances counts.")]
pub(super) struct Wait {
    /// The instances
    #[arg(required = true, value_name = "ID")]
    ids: Vec<InstanceId>,
    #[command(flatten)]
    db: Db,
    #[command(flatten)]
    showing: Showing,
    #[command(flatten)]
    #[serde(skip)]
    hosting: Hosting,
}

/// How much is shown of what is driven.
#[derive(Args, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Showing {
    /// Print all that happens to stdout, one JSON object a line, and last the instance
    #[arg(long)]
    pub(super) json: bool,
    /// Show nothing while it runs
    #[arg(long, short)]
    pub(super) quiet: bool,
}

impl Wait {
    pub(super) fn hosting(&self) -> &Hosting {
        &self.hosting
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let signals = Signals::listen();
        let (options, skipping) = self.hosting.options();
        let host = self.db.open_with(options)?;
        let ids: Vec<_> = self.ids.iter().map(InstanceId::as_str).collect();
        let go_on = format!("{} {}", self.db.command("wait"), ids.join(" "));
        let driven = async |host: &Host| {
            let driving = Driving {
                host,
                db: &self.db,
                showing: self.showing,
            };
            driving.all(&self.ids).await
        };
        attend(host, signals, &skipping, &go_on, driven).await
    }
}

/// Instances that are driven, and shown.
pub(super) struct Driving<'a> {
    pub(super) host: &'a Host,
    pub(super) db: &'a Db,
    pub(super) showing: Showing,
}

impl Driving<'_> {
    /// Drives instances that are there until all rest.
    pub(super) async fn all(&self, ids: &[InstanceId]) -> Result<Exit, Failure> {
        for id in ids {
            if !self.host.has_instance(id).await? {
                return Err(Error::NoSuchInstance { id: id.clone() }.into());
            }
        }
        let mut show = Show::new(self, ids);
        for id in ids {
            show.prime(id).await?;
        }
        for id in ids {
            show.go_on(id).await?;
        }
        let mut exit = Exit::Ok;
        for id in ids {
            exit = exit.max(show.follow(id).await?);
        }
        Ok(exit)
    }
}

/// Waits for `driven` or for somebody to interrupt it, and closes the data file.
pub(super) async fn attend(
    host: Opened,
    mut signals: Signals,
    skipping: &Skipping,
    go_on: &str,
    driven: impl AsyncFnOnce(&Host) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let result = tokio::select! {
        result = driven(&host) => result,
        () = signals.recv() => Ok(Exit::Interrupted),
    };
    let Opened::Own(host) = host else {
        return result;
    };
    skipping.say();
    let closed = tokio::select! {
        closed = host.close() => closed,
        // Once more: whoever asks does not want to wait for the disk.
        () = signals.recv() => Ok(()),
    };
    if matches!(result, Ok(Exit::Interrupted)) {
        say(format_args!(
            "interrupted; the instance stays as it is, go on with: {go_on}"
        ));
    }
    closed?;
    result
}

/// Ctrl-C and requests to terminate, from the start of the command on.
pub(super) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    /// Where a running host carries the command out they are the host's, and its caller goes away.
    pub(super) fn listen() -> Self {
        let own = Caller::get().is_none();
        let listen = |kind| own.then(|| signal(kind).ok()).flatten();
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    pub(super) async fn recv(&mut self) {
        async fn one(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
        }
    }
}
