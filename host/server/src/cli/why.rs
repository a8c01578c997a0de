//! `wfhost why`: what an instance waits for, or why it does not move, and what to do about it.

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use wfhost_core::record::{ChildOptions, StallReason};
use wfhost_core::{Failure as Refusal, Instance, InstanceId, Status, Task, TaskId, TaskState};

use super::{Db, Exit, Failure, Target, args, close, instance, print, text};
use crate::error::Error;
use crate::host::Host;

/// Say why an instance is where it is, and what moves it
///
/// What it waits for, what holds it back, or how it ended; below each the command that helps.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost why order-7
  wfhost why order-7 --json | jq -r '.causes[].remedy'

Exit status: 0, 2 there is no such instance, 4 the host failed.")]
pub(super) struct Why {
    #[command(flatten)]
    target: Target,
    /// One JSON object: id, status, causes; each cause has kind, message, remedy
    #[arg(long)]
    json: bool,
}

/// Why an instance is where it is, or one of the reasons.
#[derive(Serialize, ToSchema)]
pub(crate) struct Cause {
    /// A stable word to match on.
    kind: &'static str,
    /// For a person to read.
    message: String,
    /// What to do, with the command.
    remedy: Option<String>,
}

/// Why an instance of a host that serves is where it is.
pub(crate) async fn causes(host: &Host, instance: &Instance) -> Result<Vec<Cause>, Error> {
    let db = &Db::default();
    let looking = Looking { host, db, instance };
    looking.causes().await
}

impl Why {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.target.db.open()?;
        let told = self.on(&host).await;
        close(host, told).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let Target { id, db } = &self.target;
        let instance = host.instance(id).await?;
        let causes = Looking {
            host,
            db,
            instance: &instance,
        }
        .causes()
        .await?;
        let status = instance.status();
        if self.json {
            let row = json!({ "id": id.as_str(), "status": status.as_str(), "causes": causes });
            print(&row.to_string())?;
            return Ok(Exit::Ok);
        }
        print(&format!("{id}  {}", status.as_str()))?;
        for cause in causes {
            print(&format!("  {}", cause.message.replace('\n', "\n    ")))?;
            if let Some(remedy) = cause.remedy {
                print(&format!("    → {remedy}"))?;
            }
        }
        Ok(Exit::Ok)
    }
}

impl Cause {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            remedy: None,
        }
    }

    fn with(self, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { remedy, ..self }
    }
}

/// An instance that is looked into.
struct Looking<'a> {
    host: &'a Host,
    db: &'a Db,
    instance: &'a Instance,
}

impl Looking<'_> {
    async fn causes(&self) -> Result<Vec<Cause>, Error> {
        if self.instance.status().has_ended() {
            return Ok(vec![self.ended()]);
        }
        let mut causes = self.held_back();
        for (id, task) in self.instance.tasks() {
            if !self.instance.stalled_tasks().contains_key(id) {
                causes.push(self.task(*id, task).await?);
            }
        }
        if causes.is_empty() {
            let id = self.id();
            let (update, cancel) = (self.db.about("update", id), self.db.about("cancel", id));
            let nothing = Cause::new("update", "it waits for an update or a cancellation");
            causes.push(nothing.with(format!("{update} NAME JSON, or: {cancel}")));
        }
        Ok(causes)
    }

    fn id(&self) -> &InstanceId {
        &self.instance.started().id
    }

    fn ended(&self) -> Cause {
        let at = self.instance.updated_at();
        let status = self.instance.status();
        let Some(failure) = self.instance.failure() else {
            return Cause::new(status.as_str(), format!("it completed at {at}"));
        };
        let mut message = format!(
            "it {} at {at}: {}",
            ended_word(status),
            text::failure(&failure)
        );
        for frame in backtrace(&failure) {
            message.push_str(&format!("\n{}", text::plain(&frame)));
        }
        let rerun = self.db.about("rerun", self.id());
        Cause::new(status.as_str(), message).with(format!("start it anew with: {rerun}"))
    }

    /// What keeps the instance itself from moving, not one of its tasks.
    fn held_back(&self) -> Vec<Cause> {
        let (instance, id) = (self.instance, self.id());
        let mut causes = Vec::new();
        let stalls = instance.stalled_code().into_iter();
        for reason in stalls.chain(instance.stalled_tasks().values()) {
            let stalled = Cause::new(reason.word(), reason.to_string());
            causes.push(stalled.with(remedy(reason, self.db, id)));
        }
        if instance.cancel_requested() {
            let reason = instance.cancel_reason().map(ToOwned::to_owned);
            let message = text::with_reason("it is asked to cancel", &reason);
            let wait = self.db.about("wait", id);
            causes.push(
                Cause::new("cancel-requested", message).with(format!("drive it with: {wait}")),
            );
        }
        if let Some(suspension) = instance.suspended() {
            let message = text::with_reason("it is suspended", &suspension.reason);
            let resume = self.db.about("resume", id);
            causes.push(Cause::new("suspended", message).with(resume));
        }
        let wait = self.db.about("wait", id);
        match instance.turn_due_at() {
            Some(at) if at > args::now() => {
                let later = Cause::new("begins-later", format!("it begins at {at}"));
                causes.push(later.with(format!("to wait for that: {wait}")));
            }
            // Stalled code is the reason that a turn is not taken.
            Some(_) if instance.stalled_code().is_none() => {
                let due = Cause::new("turn", "it can go on, and nobody drives it");
                causes.push(due.with(wait));
            }
            Some(_) | None => {}
        }
        causes
    }

    async fn task(&self, id: TaskId, task: &Task) -> Result<Cause, Error> {
        let message = format!("it waits for {}", instance::task(id, task));
        let wait = self.db.about("wait", self.id());
        Ok(match &task.state {
            TaskState::Activity { .. } => Cause::new("activity", message).with(wait),
            TaskState::Timer { .. } => Cause::new("timer", message).with(wait),
            TaskState::Raise { .. } => Cause::new("raise-event", message).with(wait),
            TaskState::Event { name } => {
                let raise = self.db.about("raise-event", self.id());
                let name = args::quoted(name.as_str());
                Cause::new("event", message).with(format!("{raise} {name} JSON"))
            }
            TaskState::Child {
                options, attempt, ..
            } => {
                let Some(child) = self.child(id, options, *attempt) else {
                    return Ok(Cause::new("workflow", message).with(wait));
                };
                let message = format!("{message}, `{child}`, {}", self.stands(&child).await?);
                Cause::new("workflow", message).with(self.db.about("why", &child))
            }
        })
    }

    /// The id of the child that a task waits for.
    fn child(&self, task: TaskId, options: &ChildOptions, attempt: u32) -> Option<InstanceId> {
        let generation = self.instance.started().generation;
        let first = options.child_id(self.id(), generation, task).ok()?;
        Some(first.of_attempt(attempt))
    }

    async fn stands(&self, child: &InstanceId) -> Result<&'static str, Error> {
        if !self.host.has_instance(child).await? {
            return Ok("not started yet");
        }
        Ok(self.host.instance(child).await?.status().as_str())
    }
}

fn ended_word(status: Status) -> String {
    match status {
        Status::Failed => "failed".into(),
        other => format!("was {}", other.as_str()),
    }
}

/// The functions in which a guest failed, the innermost first, if they are known.
fn backtrace(failure: &Refusal) -> Vec<String> {
    let details = failure.details.as_ref().map(|details| details.value());
    let frames = details.and_then(|details| details.get("backtrace").cloned());
    let frames = frames.and_then(|frames| serde_json::from_value(frames).ok());
    frames.unwrap_or_default()
}

/// What to do about a stalled instance. The README has the same as a table.
pub(super) fn remedy(reason: &StallReason, db: &Db, id: &InstanceId) -> String {
    let run = db.command(&format!("run --id={id}"));
    match reason {
        StallReason::ActivityMissing { .. } | StallReason::WorkflowMissing { .. } => {
            format!("add the PATH of a module that offers it to: {run}")
        }
        StallReason::Divergence { .. } => format!(
            "its code does not do what it did before; to see it again: {}; to go on with the code of \
             another module, which does the same so far: {} --to DIGEST; to start over on the module \
             that the name means now: {}",
            db.about("replay", id),
            db.about("migrate", id),
            db.about("rerun", id)
        ),
        StallReason::Limit { .. } => format!(
            "let the code do less between two waits; to start over on the module that the name means \
             now: {}; to try this one again: {run}",
            db.about("rerun", id)
        ),
        StallReason::HostDeaths { .. } => {
            format!("once what killed the host is mended, to try again: {run}")
        }
        StallReason::ModuleUnusable { .. } => {
            format!("once this host can run the module, to try again: {run}")
        }
    }
}
