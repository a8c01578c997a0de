//! Histories, record by record.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wfhost_core::Name;
use wfhost_core::record::{self, Accepted, EndedHow, Happening, LogLine, Record};
use wfhost_core::replay::PastTurn;

use super::turns::{Command, GivenInput, StateCall, StateWrite, Step};
use super::words::{
    Called, Digest, DueTime, Event, Failure, Id, Outcome, Parent, Reason, RerunOf, Run, Time, all,
    tags, trace,
};

/// A record of a history.
#[derive(Serialize, ToSchema)]
pub(crate) struct HistoryRecord {
    /// A rerun took it over from another instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    copied: Option<bool>,
    #[serde(flatten)]
    what: What,
}

impl HistoryRecord {
    /// A record that is no turn. `activity` is that of the activity that an attempt's task calls.
    pub(crate) fn new(record: &Record, activity: Option<&Name>) -> Self {
        let copied = matches!(record, Record::Copied(_)).then_some(true);
        let activity = activity.map(Name::to_string);
        Self {
            copied,
            what: What::new(record.original(), activity),
        }
    }

    pub(crate) fn turn(past: &PastTurn, copied: bool) -> Self {
        Self {
            copied: copied.then_some(true),
            what: What::Turn(past.into()),
        }
    }
}

/// What a record says.
#[derive(Serialize, ToSchema)]
#[serde(tag = "record", rename_all = "kebab-case")]
#[schema(as = HistoryRecordKind)]
enum What {
    Started(Started),
    Accepted(AcceptedInput),
    Turn(Turn),
    AttemptStarted(AttemptStarted),
    Attempt(Attempt),
    AttemptStopped(AttemptStopped),
    Stalled(Stalled),
    Unstalled(Unstalled),
    Moved(Moved),
    Reset(Reset),
    Terminated(Terminated),
    StateWritten(StateWritten),
}

impl What {
    fn new(record: &Record, activity: Option<String>) -> Self {
        match record {
            Record::Started(started) => Self::Started(started.as_ref().into()),
            Record::Accepted(accepted) => Self::Accepted(accepted.into()),
            Record::Turn(turn) => Self::Turn(Turn::untold(turn)),
            Record::AttemptStarted(it) => Self::AttemptStarted(AttemptStarted {
                at: it.at.into(),
                task: it.task.0,
                activity,
                attempt: it.number,
                module: it.module.into(),
            }),
            Record::Attempt(attempt) => Self::Attempt(Attempt::new(attempt, activity)),
            Record::AttemptStopped(it) => Self::AttemptStopped(AttemptStopped {
                at: it.at.into(),
                task: it.task.0,
                activity,
                attempt: it.number,
                begun: it.begun,
            }),
            Record::Stalled(it) => Self::Stalled(Stalled {
                at: it.at.into(),
                task: it.task.map(|task| task.0),
                reason: (&it.reason).into(),
            }),
            Record::Unstalled(it) => Self::Unstalled(Unstalled {
                at: it.at.into(),
                task: it.task.0,
            }),
            Record::Moved(moved) => Self::Moved(moved.into()),
            Record::Reset(reset) => Self::Reset(reset.into()),
            Record::Ended(ended) => match &ended.how {
                EndedHow::Terminated { reason, recursive } => Self::Terminated(Terminated {
                    at: ended.at.into(),
                    reason: reason.clone(),
                    recursive: *recursive,
                    key: ended.key.clone(),
                }),
            },
            Record::StateWritten(it) => Self::StateWritten(StateWritten {
                at: it.at.into(),
                writes: all(&it.writes),
            }),
            Record::Copied(copied) => Self::new(copied, activity),
        }
    }
}

/// An instance, or its next generation, began.
#[derive(Serialize, ToSchema)]
struct Started {
    at: Time,
    id: Id,
    run: Run,
    /// Counts the continue-as-news from 0.
    generation: u32,
    workflow: Called,
    module: Digest,
    /// The version of the contract that the module is linked against.
    contract: String,
    /// The number of the set of WebAssembly features that its code may use.
    features: u32,
    /// Seeds the stream of random numbers.
    #[schema(format = "uint64")]
    seed: u64,
    input: Value,
    parent: Option<Parent>,
    /// For searching.
    tags: BTreeMap<String, String>,
    /// The request key that it was started with.
    key: Option<String>,
    /// The first turn is not before then.
    begins_at: Option<Time>,
    /// Events that are there from the start, oldest first.
    events: Vec<Event>,
    reruns: Vec<RerunOf>,
    /// The trace that its starter told of, as `traceparent` has its id.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    trace: Option<String>,
}

impl From<&record::Started> for Started {
    fn from(started: &record::Started) -> Self {
        Self {
            at: started.at.into(),
            id: (&started.id).into(),
            run: started.run.into(),
            generation: started.generation,
            workflow: (&started.workflow).into(),
            module: started.module.into(),
            contract: started.contract.clone(),
            features: started.features,
            seed: started.seed,
            input: started.input.value(),
            parent: started.parent.as_ref().map(Into::into),
            tags: tags(&started.tags),
            key: started.key.clone(),
            begins_at: started.begins_at.map(Into::into),
            events: all(&started.events),
            reruns: all(&started.reruns),
            trace: started.trace.as_ref().map(trace),
        }
    }
}

/// One input came in.
#[derive(Serialize, ToSchema)]
struct AcceptedInput {
    at: Time,
    /// The request key that it was asked with.
    key: Option<String>,
    #[serde(flatten)]
    what: CameIn,
}

/// What came in.
#[derive(Serialize, ToSchema)]
#[serde(tag = "input", rename_all = "kebab-case")]
enum CameIn {
    TimerFired {
        task: u32,
    },
    EventRaised {
        name: String,
        payload: Value,
    },
    /// A child ended, an event to another instance was delivered or refused, or the time of an
    /// activity was over.
    TaskEnded {
        task: u32,
        output: Value,
        failure: Option<Failure>,
    },
    /// A child failed, and is to be started again.
    ChildFailed {
        task: u32,
        failure: Failure,
        retry_at: DueTime,
    },
    CancelRequested {
        reason: Option<String>,
    },
    UpdateRequested {
        /// Its number.
        id: u32,
        name: String,
        value: Value,
    },
    Suspended {
        reason: Option<String>,
    },
    Resumed,
}

impl From<&Accepted> for AcceptedInput {
    fn from(accepted: &Accepted) -> Self {
        Self {
            at: accepted.at.into(),
            key: accepted.key.clone(),
            what: (&accepted.what).into(),
        }
    }
}

impl From<&Happening> for CameIn {
    fn from(what: &Happening) -> Self {
        match what {
            Happening::TimerFired { task } => Self::TimerFired { task: task.0 },
            Happening::EventRaised(event) => Self::EventRaised {
                name: event.name.to_string(),
                payload: event.payload.value(),
            },
            Happening::TaskEnded { task, outcome } => {
                let Outcome { output, failure } = outcome.into();
                let task = task.0;
                Self::TaskEnded {
                    task,
                    output,
                    failure,
                }
            }
            Happening::ChildFailed {
                task,
                failure,
                retry_at,
            } => Self::ChildFailed {
                task: task.0,
                failure: failure.into(),
                retry_at: (*retry_at).into(),
            },
            Happening::CancelRequested { reason } => Self::CancelRequested {
                reason: reason.clone(),
            },
            Happening::UpdateRequested { id, name, input } => Self::UpdateRequested {
                id: *id,
                name: name.to_string(),
                value: input.value(),
            },
            Happening::Suspended { reason } => Self::Suspended {
                reason: reason.clone(),
            },
            Happening::Resumed => Self::Resumed,
        }
    }
}

/// The workflow's code ran from one wait to the next.
#[derive(Serialize, ToSchema)]
struct Turn {
    /// Counted from 1, over all generations.
    number: u64,
    at: Time,
    inputs: Vec<GivenInput>,
    /// What the code asked, in order.
    commands: Vec<Command>,
    /// What it read and wrote of the state, in order.
    state: Vec<StateCall>,
    step: Step,
    log: Vec<Logged>,
}

impl From<&PastTurn> for Turn {
    fn from(past: &PastTurn) -> Self {
        Self {
            number: past.number,
            inputs: all(&past.delivered.inputs),
            ..Self::untold(&past.turn)
        }
    }
}

impl Turn {
    /// Without what only the records before tell: its number and what it was given.
    fn untold(turn: &record::Turn) -> Self {
        Self {
            number: 0,
            at: turn.at.into(),
            inputs: Vec::new(),
            commands: all(&turn.commands),
            state: all(&turn.state),
            step: (&turn.step).into(),
            log: all(&turn.log),
        }
    }
}

/// An effectful attempt is about to leave the sandbox.
#[derive(Serialize, ToSchema)]
struct AttemptStarted {
    at: Time,
    task: u32,
    activity: Option<String>,
    attempt: u32,
    module: Digest,
}

/// An attempt ended.
#[derive(Serialize, ToSchema)]
struct Attempt {
    at: Time,
    task: u32,
    activity: Option<String>,
    /// Counted from 1.
    attempt: u32,
    /// The module that ran it.
    module: Digest,
    /// Nothing of the outside was linked to it.
    contained: bool,
    started_at: Time,
    /// When the next attempt may be, if there is one.
    retry_at: Option<DueTime>,
    writes: Vec<StateWrite>,
    log: Vec<Logged>,
    output: Value,
    failure: Option<Failure>,
}

impl Attempt {
    fn new(attempt: &record::Attempt, activity: Option<String>) -> Self {
        let Outcome { output, failure } = (&attempt.outcome).into();
        Self {
            at: attempt.ended_at.into(),
            task: attempt.task.0,
            activity,
            attempt: attempt.number,
            module: attempt.module.into(),
            contained: attempt.contained,
            started_at: attempt.started_at.into(),
            retry_at: attempt.retry_at.map(Into::into),
            writes: all(&attempt.writes),
            log: all(&attempt.log),
            output,
            failure,
        }
    }
}

/// An attempt was given up because the host was closed; it starts again under its number.
#[derive(Serialize, ToSchema)]
struct AttemptStopped {
    at: Time,
    task: u32,
    activity: Option<String>,
    attempt: u32,
    /// Its code had begun to run.
    begun: bool,
}

/// Something of the instance cannot move until somebody helps.
#[derive(Serialize, ToSchema)]
struct Stalled {
    at: Time,
    /// Null: the workflow's code itself.
    task: Option<u32>,
    reason: Reason,
}

/// What was stalled is tried again.
#[derive(Serialize, ToSchema)]
struct Unstalled {
    at: Time,
    task: u32,
}

/// The code that runs the instance is another from here on.
#[derive(Serialize, ToSchema)]
struct Moved {
    at: Time,
    from: Digest,
    to: Digest,
    contract: String,
    features: u32,
    /// It was moved even if payloads or options of its past differ.
    input_changes_allowed: bool,
    /// How many turns were compared.
    turns: u64,
}

impl From<&record::Moved> for Moved {
    fn from(moved: &record::Moved) -> Self {
        Self {
            at: moved.at.into(),
            from: moved.from.into(),
            to: moved.to.into(),
            contract: moved.contract.clone(),
            features: moved.features,
            input_changes_allowed: moved.input_changes_allowed,
            turns: moved.turns,
        }
    }
}

/// The instance has lost its later turns, and goes on from an earlier one.
#[derive(Serialize, ToSchema)]
struct Reset {
    at: Time,
    /// The run that it had before.
    from_run: Run,
    /// The first turn that is lost.
    turn: u64,
    turns_lost: u64,
    /// Tasks up to this number were asked in turns that are kept.
    tasks_kept: u32,
}

impl From<&record::Reset> for Reset {
    fn from(reset: &record::Reset) -> Self {
        Self {
            at: reset.at.into(),
            from_run: reset.run.into(),
            turn: reset.turn,
            turns_lost: reset.turns_lost,
            tasks_kept: reset.tasks_kept,
        }
    }
}

/// The instance was ended from outside.
#[derive(Serialize, ToSchema)]
struct Terminated {
    at: Time,
    reason: Option<String>,
    /// Its children with it.
    recursive: bool,
    /// The request key that it was asked with.
    key: Option<String>,
}

/// Somebody outside wrote to the state store.
#[derive(Serialize, ToSchema)]
struct StateWritten {
    at: Time,
    writes: Vec<StateWrite>,
}

/// A line that guest code logged.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
struct Logged {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: String,
    message: String,
}

impl From<&LogLine> for Logged {
    fn from(line: &LogLine) -> Self {
        Self {
            level: line.level.as_str().to_owned(),
            message: line.message.clone(),
        }
    }
}
