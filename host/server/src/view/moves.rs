//! What came of taking the turns of instances again, for a move, a plan or a reset.

use serde::Serialize;
use utoipa::ToSchema;
use wfhost_core::reset::{self, LostActivity};

use super::words::{Digest, DueTime, Id, Run, Status, all};
use crate::{migrate, plan, verdict};

/// What the code did in the turns that were taken again.
#[derive(Serialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It asks the same in each turn.
    Same,
    /// It asks the same of the same, with another payload or other options: first here.
    InputChanged {
        turn: u64,
        /// Which thing that the turn asked, from 1.
        place: usize,
        /// What the history holds there.
        history: String,
        /// What the code asks there.
        code: String,
    },
    /// It asks something else, first here.
    Diverges {
        turn: u64,
        /// Which thing that the turn asked, from 1.
        place: usize,
        /// What the history holds there.
        history: String,
        /// What the code asks there.
        code: String,
        /// Where in the code, innermost first, if that is known.
        backtrace: Option<String>,
    },
    /// It does not read what the instance was given.
    InterfaceChanged { turn: u64, message: String },
    /// Nothing can be said.
    NotReplayed { message: String },
}

impl From<&verdict::Verdict> for Verdict {
    fn from(verdict: &verdict::Verdict) -> Self {
        match verdict.clone() {
            verdict::Verdict::Same => Self::Same,
            verdict::Verdict::InputChanged(it) => Self::InputChanged {
                turn: it.turn,
                place: it.place,
                history: it.history,
                code: it.code,
            },
            verdict::Verdict::Diverges(it) => Self::Diverges {
                turn: it.turn,
                place: it.place,
                history: it.history,
                code: it.code,
                backtrace: it.backtrace,
            },
            verdict::Verdict::InterfaceChanged { turn, message } => {
                Self::InterfaceChanged { turn, message }
            }
            verdict::Verdict::NotReplayed { message } => Self::NotReplayed { message },
        }
    }
}

/// Many instances whose turns were taken again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Compared {
    /// How many histories.
    histories: u64,
    /// How many turns were like those before.
    turns: u64,
    verdicts: Verdicts,
    /// How many instances were moved.
    moved: u64,
    /// Those that do not do the same come first.
    instances: Vec<InstanceVerdict>,
    /// How many more there are than are listed.
    unlisted: u64,
}

/// How often each verdict was given.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
struct Verdicts {
    same: u64,
    input_changed: u64,
    diverges: u64,
    interface_changed: u64,
    not_replayed: u64,
}

/// What came of taking the turns of one of many instances again.
#[derive(Serialize, ToSchema)]
struct InstanceVerdict {
    id: Id,
    workflow: String,
    status: Status,
    from: Digest,
    to: Digest,
    /// It runs on `to` from here on.
    moved: bool,
    #[serde(flatten)]
    verdict: Verdict,
}

impl From<&verdict::Compared> for Compared {
    fn from(compared: &verdict::Compared) -> Self {
        let verdicts = compared.verdicts;
        let one = |it: &verdict::InstanceVerdict| InstanceVerdict {
            id: (&it.id).into(),
            workflow: it.workflow.to_string(),
            status: it.status.into(),
            from: it.from.into(),
            to: it.to.into(),
            moved: it.moved,
            verdict: (&it.verdict).into(),
        };
        Self {
            histories: compared.histories,
            turns: compared.turns,
            verdicts: Verdicts {
                same: verdicts.same,
                input_changed: verdicts.input_changed,
                diverges: verdicts.diverges,
                interface_changed: verdicts.interface_changed,
                not_replayed: verdicts.not_replayed,
            },
            moved: compared.moved,
            instances: compared.instances.iter().map(one).collect(),
            unlisted: compared.unlisted,
        }
    }
}

/// What a deployment would mean for instances.
#[derive(Serialize, ToSchema)]
pub(crate) struct Plan {
    modules: Vec<Digest>,
    live: Compared,
    /// A sample of those that have ended, if one was asked for.
    ended: Option<Compared>,
    /// How long it took, in milliseconds.
    took_ms: u64,
}

impl From<&plan::Plan> for Plan {
    fn from(plan: &plan::Plan) -> Self {
        Self {
            modules: plan.modules.iter().copied().map(Into::into).collect(),
            live: (&plan.live).into(),
            ended: plan.ended.as_ref().map(Into::into),
            took_ms: plan.took_ms,
        }
    }
}

/// What came of moving an instance.
#[derive(Serialize, ToSchema)]
pub(crate) struct Migrated {
    id: Id,
    from: Digest,
    to: Digest,
    /// How many were compared.
    turns: u64,
    /// False: it ran on that module before.
    moved: bool,
    #[serde(flatten)]
    verdict: Verdict,
}

impl Migrated {
    pub(crate) fn new(id: &wfhost_core::InstanceId, migrated: &migrate::Migrated) -> Self {
        Self {
            id: id.into(),
            from: migrated.from.into(),
            to: migrated.to.into(),
            turns: migrated.turns,
            moved: migrated.moved,
            verdict: (&migrated.verdict).into(),
        }
    }
}

/// What came of a reset.
#[derive(Serialize, ToSchema)]
pub(crate) struct ResetDone {
    id: Id,
    /// The run that it had.
    from_run: Run,
    /// The run that it has now; null if nothing was done.
    run: Option<Run>,
    /// The first turn that is lost.
    to_turn: u64,
    module: Digest,
    /// What the code does in the turns that are kept.
    verdict: Verdict,
    lost: Lost,
}

impl ResetDone {
    pub(crate) fn new(id: &wfhost_core::InstanceId, done: &migrate::ResetDone) -> Self {
        Self {
            id: id.into(),
            from_run: done.from_run.into(),
            run: done.run.map(Into::into),
            to_turn: done.to_turn,
            module: done.module.into(),
            verdict: (&done.verdict).into(),
            lost: (&done.lost).into(),
        }
    }
}

/// What is lost by a reset, and may be done again. Nothing of it is undone.
#[derive(Serialize, ToSchema)]
pub(crate) struct Lost {
    turns: u64,
    activities: Vec<Activity>,
    children: Vec<Child>,
    events: Vec<Raised>,
    timers: Vec<Timer>,
    /// Keys of the state store. What is under them stays as it is.
    keys_written: Vec<String>,
    /// Activities that earlier turns called: their attempts are stopped, and begin anew.
    begun_anew: Vec<Activity>,
}

/// An activity that was called.
#[derive(Serialize, ToSchema)]
#[schema(as = LostActivity)]
struct Activity {
    task: u32,
    name: String,
    attempts: u32,
    /// An attempt of it could reach the outside.
    effectful: bool,
    completed: bool,
}

impl From<&LostActivity> for Activity {
    fn from(it: &LostActivity) -> Self {
        Self {
            task: it.task.0,
            name: it.name.to_string(),
            attempts: it.attempts,
            effectful: it.effectful,
            completed: it.completed,
        }
    }
}

/// A child that was started.
#[derive(Serialize, ToSchema)]
#[schema(as = LostChild)]
struct Child {
    task: u32,
    workflow: String,
    id: Option<Id>,
    /// It outlives its parent.
    detached: bool,
    ended: bool,
}

/// An event that was raised to another instance.
#[derive(Serialize, ToSchema)]
#[schema(as = LostEvent)]
struct Raised {
    task: u32,
    /// To whom.
    id: String,
    name: String,
}

/// A timer that was set.
#[derive(Serialize, ToSchema)]
#[schema(as = LostTimer)]
struct Timer {
    task: u32,
    fires_at: DueTime,
}

impl From<&reset::Lost> for Lost {
    fn from(lost: &reset::Lost) -> Self {
        let children = lost.children.iter().map(|it| Child {
            task: it.task.0,
            workflow: it.workflow.to_string(),
            id: it.id.as_ref().map(Into::into),
            detached: it.detached,
            ended: it.ended,
        });
        let events = lost.events.iter().map(|it| Raised {
            task: it.task.0,
            id: it.instance.clone(),
            name: it.name.to_string(),
        });
        let timers = lost.timers.iter().map(|it| Timer {
            task: it.task.0,
            fires_at: it.fires_at.into(),
        });
        Self {
            turns: lost.turns,
            activities: all(&lost.activities),
            children: children.collect(),
            events: events.collect(),
            timers: timers.collect(),
            keys_written: lost.keys_written.iter().cloned().collect(),
            begun_anew: all(&lost.begun_anew),
        }
    }
}
