//! Instances as they stand.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wfhost_core::{Task, TaskId, TaskState};

use super::words::{
    Called, Digest, DueTime, Event, Failure, Id, Parent, Reason, RerunOf, Run, Status, Time, all,
    payload, tags, trace,
};

/// An instance as it stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct Instance {
    id: Id,
    run: Run,
    /// Counts the continue-as-news from 0.
    generation: u32,
    workflow: Called,
    /// The module whose code runs it.
    module: Digest,
    /// The turn after which it was moved there, if it was in this generation.
    moved_after: Option<u64>,
    status: Status,
    /// Why it does not move, if it is stalled.
    reason: Option<Reason>,
    /// What its first generation was started with.
    input: Value,
    /// What it ended with, if it completed.
    output: Value,
    /// How it ended, if it did otherwise.
    failure: Option<Failure>,
    /// What its code shows of itself.
    custom_status: Value,
    parent: Option<Parent>,
    /// For searching.
    tags: BTreeMap<String, String>,
    /// Somebody asked it to stop.
    cancel_requested: Option<Asked>,
    /// Its inputs are held back.
    suspended: Option<Asked>,
    /// Its first turn is not before then.
    begins_at: Option<Time>,
    /// The instances whose first turns it took over, if it is a rerun.
    reruns: Vec<RerunOf>,
    /// The trace that its starter told of, as `traceparent` has its id.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    trace: Option<String>,
    created_at: Time,
    updated_at: Time,
    /// How many it has taken, in all generations.
    turns: u64,
    /// What it waits for.
    pending: Vec<Pending>,
    /// The numbers of updates that it has still to answer.
    open_updates: BTreeSet<u32>,
    unread_events: Vec<Event>,
}

/// What somebody asked of an instance.
#[derive(Serialize, ToSchema)]
struct Asked {
    /// Why, if they said.
    reason: Option<String>,
}

impl From<&wfhost_core::Instance> for Instance {
    fn from(instance: &wfhost_core::Instance) -> Self {
        let started = instance.started();
        let cancelling = instance.cancel_requested().then(|| Asked {
            reason: instance.cancel_reason().map(str::to_owned),
        });
        Self {
            id: (&started.id).into(),
            run: started.run.into(),
            generation: started.generation,
            workflow: (&started.workflow).into(),
            module: instance.module().into(),
            moved_after: (instance.moved_after() > 0).then_some(instance.moved_after()),
            status: instance.status().into(),
            reason: instance.stall().map(Into::into),
            input: instance.first_input().value(),
            output: payload(instance.output()),
            failure: instance.failure().as_ref().map(Into::into),
            custom_status: payload(instance.custom_status()),
            parent: started.parent.as_ref().map(Into::into),
            tags: tags(&started.tags),
            cancel_requested: cancelling,
            suspended: instance.suspended().map(|it| Asked {
                reason: it.reason.clone(),
            }),
            begins_at: instance.begins_at().map(Into::into),
            reruns: all(&started.reruns),
            trace: started.trace.as_ref().map(trace),
            created_at: started.created_at.into(),
            updated_at: instance.updated_at().into(),
            turns: instance.turns(),
            pending: instance.tasks().iter().map(Into::into).collect(),
            open_updates: instance.open_updates().clone(),
            unread_events: all(&instance.unread_events()),
        }
    }
}

/// One thing that an instance waits for.
#[derive(Serialize, ToSchema)]
struct Pending {
    /// Counted from 1 within a generation in the order asked.
    task: u32,
    asked_at: Time,
    #[serde(flatten)]
    awaited: Awaited,
}

/// What kind of thing an instance waits for.
#[derive(Serialize, ToSchema)]
#[serde(tag = "waits_for", rename_all = "kebab-case")]
enum Awaited {
    /// An activity that is to run, runs, or waits to be tried again.
    Activity {
        name: String,
        /// The attempt that comes next or is under way, from 1.
        attempt: u32,
        /// It may not start earlier.
        ready_at: DueTime,
        /// Why the attempt before failed.
        last_failure: Option<Failure>,
    },
    /// A child that is to start or runs.
    Workflow {
        name: String,
        /// The id that was asked for it; null if it is derived from the parent's.
        id: Option<String>,
        /// Which start of it comes next or is under way, from 1.
        attempt: u32,
        /// It may not start earlier.
        ready_at: DueTime,
        /// Why the one before failed.
        last_failure: Option<Failure>,
    },
    /// A timer.
    Timer { fires_at: DueTime },
    /// The next event of that name.
    Event { name: String },
    /// An event that is to be raised to another instance.
    RaiseEvent {
        name: String,
        /// To whom.
        id: String,
    },
}

impl From<(&TaskId, &Task)> for Pending {
    fn from((id, task): (&TaskId, &Task)) -> Self {
        Self {
            task: id.0,
            asked_at: task.asked_at.into(),
            awaited: (&task.state).into(),
        }
    }
}

impl From<&TaskState> for Awaited {
    fn from(state: &TaskState) -> Self {
        match state {
            TaskState::Activity {
                name,
                attempt,
                ready_at,
                last_failure,
                ..
            } => Self::Activity {
                name: name.to_string(),
                attempt: *attempt,
                ready_at: (*ready_at).into(),
                last_failure: last_failure.as_ref().map(Into::into),
            },
            TaskState::Child {
                name,
                options,
                attempt,
                ready_at,
                last_failure,
                ..
            } => Self::Workflow {
                name: name.to_string(),
                id: options.id.clone(),
                attempt: *attempt,
                ready_at: (*ready_at).into(),
                last_failure: last_failure.as_ref().map(Into::into),
            },
            TaskState::Timer { fires_at } => Self::Timer {
                fires_at: (*fires_at).into(),
            },
            TaskState::Event { name } => Self::Event {
                name: name.to_string(),
            },
            TaskState::Raise { instance, event } => Self::RaiseEvent {
                name: event.name.to_string(),
                id: instance.clone(),
            },
        }
    }
}

/// A row of a list of instances.
#[derive(Serialize, ToSchema)]
pub(crate) struct Summary {
    id: Id,
    run: Run,
    /// Counts the continue-as-news from 0.
    generation: u32,
    workflow: Called,
    /// The module whose code runs it.
    module: Digest,
    status: Status,
    /// Why it does not move, if it is stalled.
    reason: Option<Reason>,
    /// The instance that it answers to.
    parent: Option<Id>,
    /// For searching.
    tags: BTreeMap<String, String>,
    created_at: Time,
    updated_at: Time,
    /// How many it has taken, in all generations.
    turns: u64,
}

impl From<&wfhost_store::Summary> for Summary {
    fn from(row: &wfhost_store::Summary) -> Self {
        Self {
            id: (&row.id).into(),
            run: row.run.into(),
            generation: row.generation,
            workflow: (&row.workflow).into(),
            module: row.module.into(),
            status: row.status.into(),
            reason: row.reason.as_ref().map(|it| Reason {
                kind: it.word.clone(),
                message: it.text.clone(),
            }),
            parent: row.parent.as_ref().map(Into::into),
            tags: tags(&row.tags),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            turns: row.turns,
        }
    }
}
