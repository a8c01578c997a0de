//! What is logged of instances, as events of the crate `tracing`, by a thread of its own: whoever
//! reads the log may take its time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, info, warn};
use wfhost_core::{Deployment, InstanceId, Name, Status};

use super::spans::About;

/// So many events wait to be written; the next are dropped.
const WAITING_MAX: usize = 10_000;

/// What happened, and is durable.
pub(crate) enum Event {
    Started {
        about: About,
        parent: Option<InstanceId>,
    },
    Ended {
        about: About,
        status: Status,
        /// Why it did not complete.
        why: Option<String>,
    },
    Stalled {
        about: About,
        /// A stable word.
        reason: &'static str,
        message: String,
    },
    AttemptFailed {
        about: About,
        activity: Name,
        task: u32,
        attempt: u32,
        kind: String,
        message: String,
    },
    /// Something brought modules or moved bindings.
    Deployed(Deployment),
    /// A request was answered.
    Request {
        method: &'static str,
        route: String,
        path: String,
        status: u16,
        time: Duration,
    },
}

enum Message {
    Event(Box<Event>),
    /// Nothing comes after it; whoever waits for it is told.
    Close(SyncSender<()>),
}

/// The way to the log. Its thread begins with the first event.
#[derive(Default)]
pub(crate) struct Events {
    sender: Mutex<Option<SyncSender<Message>>>,
    dropped: AtomicU64,
}

impl Events {
    /// Whether anybody wants to know of starts, and of ends as they should be: a host has thousands
    /// of them a second.
    pub(crate) fn want_lives() -> bool {
        tracing::enabled!(target: "wfhost::instance", tracing::Level::DEBUG)
    }

    /// Whether anybody wants to know of such an end.
    pub(crate) fn want_end(status: Status) -> bool {
        match status {
            Status::Completed => Self::want_lives(),
            _ => tracing::enabled!(target: "wfhost::instance", tracing::Level::INFO),
        }
    }

    /// Whether anybody wants to know of what went wrong.
    pub(crate) fn want_troubles() -> bool {
        tracing::enabled!(target: "wfhost::instance", tracing::Level::WARN)
    }

    /// Whether anybody wants to know of deployments.
    pub(crate) fn want_deployments() -> bool {
        tracing::enabled!(target: "wfhost::deployment", tracing::Level::INFO)
    }

    /// Whether anybody wants to know of requests.
    pub(crate) fn want_requests() -> bool {
        tracing::enabled!(target: "wfhost::http", tracing::Level::DEBUG)
    }

    /// Has an event logged. Never waits.
    pub(crate) fn send(&self, event: Event) {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = match &*sender {
            Some(sender) => sender.try_send(Message::Event(Box::new(event))),
            None => {
                let Some(begun) = begin() else {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                sender
                    .insert(begun)
                    .try_send(Message::Event(Box::new(event)))
            }
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was sent is logged, for so long at most.
    pub(crate) fn close(&self, time_max: Duration) {
        let sender = self.sender.lock();
        let sender = sender.unwrap_or_else(PoisonError::into_inner).take();
        let Some(sender) = sender else { return };
        let (tell, told) = sync_channel(1);
        if sender.try_send(Message::Close(tell)).is_ok() {
            // Whoever reads the log may have stopped doing so.
            let _ = told.recv_timeout(time_max);
        }
    }
}

/// `None` if the system has no thread left.
fn begin() -> Option<SyncSender<Message>> {
    let (sender, events) = sync_channel(WAITING_MAX);
    let thread = std::thread::Builder::new().name("wfhost-log".into());
    thread.spawn(move || write(&events)).ok()?;
    Some(sender)
}

fn write(events: &Receiver<Message>) {
    for message in events {
        match message {
            Message::Event(event) => log(*event),
            Message::Close(tell) => {
                // Nobody may wait any more.
                let _ = tell.send(());
                return;
            }
        }
    }
}

fn log(event: Event) {
    match event {
        Event::Started { about, parent } => debug!(
            target: "wfhost::instance",
            instance = %about.id, run = %about.run, workflow = %about.workflow,
            module = %about.module, parent = parent.map(tracing::field::display),
            "instance started"
        ),
        Event::Ended { about, status, .. } if status == Status::Completed => debug!(
            target: "wfhost::instance",
            instance = %about.id, run = %about.run, workflow = %about.workflow,
            module = %about.module, status = status.as_str(),
            "instance ended"
        ),
        Event::Ended { about, status, why } => info!(
            target: "wfhost::instance",
            instance = %about.id, run = %about.run, workflow = %about.workflow,
            module = %about.module, status = status.as_str(), reason = why,
            "instance ended"
        ),
        Event::Stalled {
            about,
            reason,
            message,
        } => warn!(
            target: "wfhost::instance",
            instance = %about.id, run = %about.run, workflow = %about.workflow,
            module = %about.module, reason, detail = message,
            "instance stalled"
        ),
        Event::AttemptFailed {
            about,
            activity,
            task,
            attempt,
            kind,
            message,
        } => warn!(
            target: "wfhost::instance",
            instance = %about.id, run = %about.run, workflow = %about.workflow,
            module = %about.module, activity = %activity, task, attempt, kind, detail = message,
            "attempt failed"
        ),
        Event::Deployed(deployment) => deployed(&deployment),
        Event::Request {
            method,
            route,
            path,
            status,
            time,
        } => debug!(
            target: "wfhost::http",
            method, route, path, status, ms = time.as_secs_f64() * 1_000.0,
            "request"
        ),
    }
}

fn deployed(deployment: &Deployment) {
    let modules = deployment.modules.iter().map(ToString::to_string);
    let names = deployment.moved.iter().map(|moved| moved.name.as_str());
    info!(
        target: "wfhost::deployment",
        deployment = deployment.number.0, kind = deployment.kind.as_str(),
        by = deployment.by.as_deref(), modules = modules.collect::<Vec<_>>().join(" "),
        names = names.collect::<Vec<_>>().join(", "),
        "deployed"
    );
}
