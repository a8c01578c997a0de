//! What is told to an instance from outside: events, cancellation, the end, a pause.
//!
//! Nothing is driven here, so that it is done at once whatever the instance does with it.

use clap::Args;
use serde::{Deserialize, Serialize};
use wfhost_core::record::Event;
use wfhost_core::{InstanceId, Name};
use wfhost_store::Summary;

use super::{Db, Exit, Failure, Target, args, close, find, next_step, print, say, text};
use crate::asking::Children;
use crate::error::Error;
use crate::host::Host;
use crate::view;

/// How something is told, for every command that tells.
#[derive(Args, Clone, Serialize, Deserialize)]
struct Telling {
    /// Names this call: made again with the same key, it is done already
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print the instance as it stands then, as `show --json` does
    #[arg(long)]
    json: bool,
}

/// Raise an event to an instance
///
/// It is kept until the workflow reads it, in the order in which it came. Names are compared
/// without regard to case.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost raise-event order-7 approval '{\"by\":\"Ada\"}'
  wfhost raise-event order-7 approval @answer.json --key mail-4711
  wfhost raise-event order-7 go && wfhost wait order-7

Exit status: 0 it is there, 2 there is no such instance or it has ended, 4 the host failed.")]
pub(super) struct RaiseEvent {
    #[command(flatten)]
    target: Target,
    /// The event
    name: Name,
    /// What it carries: JSON, @FILE, or - for stdin; null if left out
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    payload: Option<String>,
    #[command(flatten)]
    telling: Telling,
}

/// Ask an instance to stop, so that it can clean up
///
/// The workflow learns of it at its next wait, when it is driven, and may take back what it did.
/// Its children are cancelled as it ends. Asking twice is asking once.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost cancel order-7 --reason 'out of stock'
  wfhost cancel order-7 && wfhost wait order-7

Exit status: 0 it is asked, 2 there is no such instance or it has ended, 4 the host failed.")]
pub(super) struct Cancel {
    #[command(flatten)]
    target: Target,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    telling: Telling,
}

/// End an instance at once, without asking its code
///
/// Its children that are not detached end with it, and theirs.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost terminate order-7 --reason 'ordered twice'
  wfhost terminate nightly --no-children

Exit status: 0 it has ended, 2 there is no such instance or it had ended before, 4 the host failed.")]
pub(super) struct Terminate {
    #[command(flatten)]
    target: Target,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Its children go on
    #[arg(long)]
    no_children: bool,
    #[command(flatten)]
    telling: Telling,
}

/// Hold an instance back until it is resumed
///
/// What comes in for it waits: results, timers, events. An activity that runs comes to its end.
/// Suspending twice is suspending once.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost suspend order-7 --reason 'the bank is closed'
  wfhost suspend nightly --children

Exit status: 0 it is suspended, 2 there is no such instance or it has ended, 4 the host failed.")]
pub(super) struct Suspend {
    #[command(flatten)]
    target: Target,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Its children too, and theirs
    #[arg(long)]
    children: bool,
    #[command(flatten)]
    telling: Telling,
}

/// Let a suspended instance go on
///
/// What came in for it meanwhile reaches it in the order in which it came, when it is driven.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost resume order-7 && wfhost wait order-7
  wfhost resume nightly --children

Exit status: 0 it is not suspended, 2 there is no such instance or it has ended, 4 the host failed.")]
pub(super) struct Resume {
    #[command(flatten)]
    target: Target,
    /// Its children too, and theirs
    #[arg(long)]
    children: bool,
    #[command(flatten)]
    telling: Telling,
}

impl RaiseEvent {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) fn read(&mut self) -> Result<(), Failure> {
        let payload = self.payload.as_mut();
        payload.map_or(Ok(()), |payload| args::read("the payload", payload))
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let payload = args::json_or_null("the payload", self.payload.as_deref())?;
        let Self {
            target,
            name,
            telling,
            ..
        } = self;
        telling
            .tell(&target, async |host, key| {
                let event = Event {
                    name: name.clone(),
                    payload,
                };
                host.raise_event(&target.id, event, key).await?;
                Ok(format!("the event `{name}` is there for `{}`", target.id))
            })
            .await
    }
}

impl Cancel {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Target { id, .. } = &self.target;
        self.telling
            .tell(&self.target, async |host, key| {
                host.cancel(id, self.reason.clone(), key).await?;
                Ok(format!("`{id}` is asked to stop"))
            })
            .await
    }
}

impl Terminate {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Target { id, .. } = &self.target;
        let children = children(!self.no_children);
        self.telling
            .tell(&self.target, async |host, key| {
                let left = match children {
                    Children::Too => unfinished_children(host, id).await?,
                    Children::Not => Vec::new(),
                };
                host.terminate(id, self.reason.clone(), children, key)
                    .await?;
                end_children(host, &left).await?;
                let with_it = match left.len() as u64 {
                    0 => String::new(),
                    count => format!(", and with it {}", text::count(count, "child instance")),
                };
                Ok(format!("`{id}` is terminated{with_it}"))
            })
            .await
    }
}

async fn unfinished_children(host: &Host, id: &InstanceId) -> Result<Vec<Summary>, Error> {
    let mut children = find::descendants(host, id).await?;
    children.retain(|child| !child.status.has_ended());
    Ok(children)
}

/// The host ends the children of an instance right after it, and may be closed before it is done:
/// nothing is left half-done here.
async fn end_children(host: &Host, children: &[Summary]) -> Result<(), Error> {
    for child in children {
        let parent = child.parent.as_ref();
        let reason = parent.map(|parent| format!("its parent `{parent}` was terminated"));
        let told = host.terminate(&child.id, reason, Children::Too, None);
        match told.await {
            Ok(()) | Err(Error::Ended { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Suspend {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Target { id, .. } = &self.target;
        let children = children(self.children);
        self.telling
            .tell(&self.target, async |host, key| {
                host.suspend(id, self.reason.clone(), children, key).await?;
                Ok(format!("`{id}` is suspended"))
            })
            .await
    }
}

impl Resume {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Target { id, .. } = &self.target;
        let children = children(self.children);
        self.telling
            .tell(&self.target, async |host, key| {
                host.resume(id, children, key).await?;
                Ok(format!("`{id}` is not suspended any more"))
            })
            .await
    }
}

fn children(too: bool) -> Children {
    if too { Children::Too } else { Children::Not }
}

impl Telling {
    /// Tells an instance something, and says what came of it and how the instance goes on.
    async fn tell(
        &self,
        target: &Target,
        tell: impl AsyncFnOnce(&Host, Option<String>) -> Result<String, Error>,
    ) -> Result<Exit, Failure> {
        let host = target.db.open()?;
        let told = async {
            let said = tell(&host, self.key.clone()).await?;
            let instance = host.instance(&target.id).await?;
            let Target { id, db } = target;
            if instance.status().has_ended() {
                say(format_args!("{said}"));
            } else if instance.suspended().is_some() {
                let resume = db.about("resume", id);
                say(format_args!("{said}; let it go on with: {resume}"));
            } else {
                let wait = db.about("wait", id);
                say(format_args!("{said}; {}: {wait}", next_step()));
            }
            if self.json {
                print(&view::instance(&instance).to_string())?;
            }
            Ok(Exit::Ok)
        };
        let told = told.await;
        close(host, told).await
    }
}
