//! What a history is made of.
//!
//! A history is a list of records, append-only. Each type here is written to disk as it stands
//! (see [`crate::codec`]): a field or a variant may be added only with a new format version.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, DurationMs, Failure, InstanceId, InvalidId, Json, Name, RetryPolicy, RunId, TaskId,
    Timestamp, Trace,
};

/// One entry of an instance's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// The first of a generation.
    Started(Box<Started>),
    /// One input came in.
    Accepted(Accepted),
    /// The workflow's code ran from one wait to the next.
    Turn(Box<Turn>),
    /// An effectful attempt is about to leave the sandbox.
    AttemptStarted(AttemptStarted),
    /// An attempt ended. If it was the last of its task, it is an accepted input as well.
    Attempt(Box<Attempt>),
    /// An attempt was given up because the host was closed; it starts again under its number.
    AttemptStopped(AttemptStopped),
    /// Something of the instance cannot move until somebody helps.
    Stalled(Stalled),
    /// Somebody has helped, or says so: what was stalled is tried again.
    Unstalled(Unstalled),
    /// The code that runs the instance is another from here on.
    Moved(Moved),
    /// The instance has lost its later turns, and goes on from an earlier one. Stands right behind
    /// the start of its new run.
    Reset(Reset),
    /// The instance was ended from outside.
    Ended(Ended),
    /// Somebody outside wrote to the state store. Belongs to no instance's history.
    StateWritten(StateWritten),
    /// A record of another instance, which a rerun takes over. What it wrote to the state store is
    /// not written again.
    Copied(Box<Record>),
}

/// Somebody outside of any instance wrote to the state store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateWritten {
    /// When.
    pub at: Timestamp,
    /// What, all at once.
    pub writes: Vec<StateWrite>,
}

/// How an instance, or its next generation, began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The instance.
    pub id: InstanceId,
    /// This start of it.
    pub run: RunId,
    /// Counts the continue-as-new generations from 0.
    pub generation: u32,
    /// The workflow's name.
    pub workflow: Name,
    /// The module whose code runs the generation, until a [`Moved`] says otherwise.
    pub module: Digest,
    /// The version of the contract that the module is linked against.
    pub contract: String,
    /// The number of the set of WebAssembly features that its code may use.
    pub features: u32,
    /// Seeds the stream of random numbers.
    pub seed: u64,
    /// The workflow's input.
    pub input: Json,
    /// Who started it, if a workflow did.
    pub parent: Option<Parent>,
    /// Text by key, for searching.
    pub tags: Vec<(String, String)>,
    /// When it was started; of a later generation: when that began.
    pub at: Timestamp,
    /// When the first generation was started.
    pub created_at: Timestamp,
    /// Events that are there from the start, oldest first: those that came with it, or that the
    /// generation before left unread.
    pub events: Vec<Event>,
    /// The first turn is not before then.
    pub begins_at: Option<Timestamp>,
    /// The request key that it was started with.
    pub key: Option<String>,
    /// What else the generations before left. With it the history before this record is not needed
    /// any more.
    pub carried: Option<Box<Carried>>,
    /// The instances whose first turns this one takes over, if it is a rerun: of a rerun of a rerun
    /// there are two, the one that took its turns first before the other.
    pub reruns: Vec<Rerun>,
    /// Where it stands in the trace of whoever started it, if that was told. Written behind the rest
    /// by [`crate::codec`], and only if it is there.
    #[serde(skip)]
    pub trace: Option<Trace>,
}

/// What a generation takes over from those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The input of the first generation.
    pub first_input: Json,
    /// How many turns were taken before.
    pub turns: u64,

    /// What the workflow showed of itself.
    pub custom_status: Option<Json>,
    /// Requests that no turn has taken, oldest first.
    pub requests: Vec<Request>,
    /// How many updates were ever asked.
    pub updates: u32,
    /// Present if inputs are held back; the text says why.
    pub suspended: Option<Suspension>,
    /// Request keys that are remembered, oldest first.
    pub keys: Vec<(String, Asked)>,
}

/// A request that waits for a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// To cancel.
    Cancel {
        /// Why, if they said.
        reason: Option<String>,
    },
    /// To answer an update.
    Update {
        /// Its number.
        id: u32,
        /// What is asked.
        name: Name,
        /// With what.
        input: Json,
    },
}

/// Inputs are held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Why, if they said.
    pub reason: Option<String>,
}

/// What a request key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// A start.
    Start,
    /// An event.
    Event,
    /// An update, by its number.
    Update(u32),
    /// A cancellation.
    Cancel,
    /// A termination.
    Terminate,
    /// A suspension.
    Suspend,
    /// A resumption.
    Resume,
}

impl Asked {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "a start",
            Self::Event => "an event",
            Self::Update(_) => "an update",
            Self::Cancel => "a cancellation",
            Self::Terminate => "a termination",
            Self::Suspend => "a suspension",
            Self::Resume => "a resumption",
        }
    }
}

/// Where a rerun comes from. During the turns that it takes over, its guest is told what the
/// original was told of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rerun {
    /// The original.
    pub id: InstanceId,
    /// Its run.
    pub run: RunId,
    /// Its parent.
    pub parent: Option<InstanceId>,
    /// Its seed in this generation.
    pub seed: u64,
    /// Up to which turn of this generation, from 1, they are its turns.
    pub turns: u64,
}

/// The instance and the task that a child answers to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    /// The parent's id.
    pub id: InstanceId,
    /// The parent's run.
    pub run: RunId,
    /// The parent's generation.
    pub generation: u32,
    /// The task of the parent that waits for this child.
    pub task: TaskId,
    /// Counts the starts of the child from 1: a failed one may be followed by another.
    pub attempt: u32,
    /// The child outlives its parent.
    pub detached: bool,
}

/// A named message from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its name, as raised.
    pub name: Name,
    /// What it carries.
    pub payload: Json,
}

/// One input came in from the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening,
    /// The request key that it was asked with.
    pub key: Option<String>,
}

/// What came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Happening {
    /// A timer is due.
    TimerFired {
        /// The timer.
        task: TaskId,
    },
    /// Somebody raised an event.
    EventRaised(Event),
    /// A child ended, an event to another instance was delivered or refused, or the time of an
    /// activity was over.
    TaskEnded {
        /// The task.
        task: TaskId,
        /// What came of it.
        outcome: Result<Json, Failure>,
    },
    /// A child failed, and is to be started again.
    ChildFailed {
        /// The task.
        task: TaskId,
        /// Why.
        failure: Failure,
        /// When the next start may be.
        retry_at: Timestamp,
    },
    /// Somebody asked the workflow to stop.
    CancelRequested {
        /// Why, if they said.
        reason: Option<String>,
    },
    /// Somebody asks something of the running workflow.
    UpdateRequested {
        /// Its number.
        id: u32,
        /// What is asked.
        name: Name,
        /// With what.
        input: Json,
    },
    /// Inputs are held back from now on.
    Suspended {
        /// Why, if they said.
        reason: Option<String>,
    },
    /// Inputs flow again.
    Resumed,
}

/// One run of the guest from one wait to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// The time that the guest saw; never before that of the turn before.
    pub at: Timestamp,
    /// How many of the unread inputs it took, oldest first. The first turn takes none: its input
    /// is the start itself.
    pub inputs: u32,
    /// What the guest asked, in order.
    pub commands: Vec<Command>,
    /// What it read and wrote of the state, in order.
    pub state: Vec<StateCall>,
    /// How it came back.
    pub step: Step,
    /// What it logged.
    pub log: Vec<LogLine>,
}

/// How a turn came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Nothing more to do until another input comes.
    Waiting,
    /// The workflow's output.
    Completed(Json),
    /// The workflow failed, panicked or trapped.
    Failed(Failure),
    /// The workflow let its cancellation through.
    Cancelled,
    /// The workflow goes on as a new generation.
    ContinuedAsNew {
        /// The next generation's input.
        input: Json,
        /// On the module that the name means then, not on this one.
        current_module: bool,
    },
}

/// What a workflow asks of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Run an activity.
    CallActivity {
        /// The task that completes with its outcome.
        task: TaskId,
        /// Which activity.
        name: Name,
        /// With what.
        input: Json,
        /// How.
        options: ActivityOptions,
    },
    /// Start a child.
    CallWorkflow {
        /// The task that completes with its outcome.
        task: TaskId,
        /// Which workflow.
        name: Name,
        /// With what.
        input: Json,
        /// How.
        options: ChildOptions,
    },
    /// Wake me then.
    CreateTimer {
        /// The task that completes with null.
        task: TaskId,
        /// Not before.
        fires_at: Timestamp,
    },
    /// Give me the next event of that name.
    AwaitEvent {
        /// The task that completes with its payload.
        task: TaskId,
        /// Compared without regard to case.
        name: Name,
    },
    /// Raise an event to another instance.
    RaiseEvent {
        /// The task that completes with null.
        task: TaskId,
        /// To whom.
        instance: String,
        /// Which event.
        event: Event,
    },
    /// No completion of this task, please.
    Cancel {
        /// Which.
        task: TaskId,
    },
    /// The answer to an update.
    AnswerUpdate {
        /// The update's number.
        id: u32,
        /// The answer.
        outcome: Result<Json, Failure>,
    },
    /// Show this to those who ask.
    SetCustomStatus {
        /// What to show.
        status: Json,
    },
    /// The code has this change, and so has the instance from here on.
    Patched {
        /// The change's name.
        id: String,
    },
}

/// How an activity is run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ActivityOptions {
    /// Whether a failed attempt is followed by another; not at all if absent.
    pub retry: Option<RetryPolicy>,
    /// The longest one attempt may take.
    pub attempt_timeout: Option<DurationMs>,
    /// The longest all attempts may take together.
    pub total_timeout: Option<DurationMs>,
    /// An attempt that the host's death cut off fails instead of running again.
    pub at_most_once: bool,
}

/// How a child is started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChildOptions {
    /// Derived from the parent's if absent. Text: the guest may have asked for an impossible one.
    pub id: Option<String>,
    /// Whether a failed child is followed by another.
    pub retry: Option<RetryPolicy>,
    /// Text by key, for searching.
    pub tags: Vec<(String, String)>,
    /// Outlives its parent.
    pub detached: bool,
    /// Runs on the modules that its parent's deployment bound.
    pub same_deployment: bool,
}

impl ChildOptions {
    /// The id of the child, before a start of it failed.
    ///
    /// # Errors
    /// If the guest asked for one that cannot be.
    pub fn child_id(
        &self,
        parent: &InstanceId,
        generation: u32,
        task: TaskId,
    ) -> Result<InstanceId, InvalidId> {
        match &self.id {
            None => Ok(parent.of_child(generation, task)),
            Some(id) => id.parse(),
        }
    }
}

/// An effectful attempt is about to start. Made durable before it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptStarted {
    /// The task.
    pub task: TaskId,
    /// Counted from 1. One that the host's death cut off starts again under the same number.
    pub number: u32,
    /// The module that runs it.
    pub module: Digest,
    /// When.
    pub at: Timestamp,
}

/// An effectful attempt was stopped because the host was closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptStopped {
    /// The task.
    pub task: TaskId,
    /// The attempt's number.
    pub number: u32,
    /// Whether its code had begun to run.
    pub begun: bool,
    /// When.
    pub at: Timestamp,
}

/// How an attempt of an activity ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The task.
    pub task: TaskId,
    /// Counted from 1.
    pub number: u32,
    /// The module that ran it.
    pub module: Digest,
    /// Nothing of the outside was linked to it.
    pub contained: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What came of it.
    pub outcome: Result<Json, Failure>,
    /// When the next attempt may start; absent: this was the last.
    pub retry_at: Option<Timestamp>,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// What it wrote to the state; nothing if it failed.
    pub writes: Vec<StateWrite>,
}

/// A line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// The text, without the line's end.
    pub message: String,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say all")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// All of them, the least important first.
    pub const ALL: [Self; 5] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
    ];

    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One call of a workflow's turn to the state store, with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StateCall {
    /// Read a key.
    Get {
        /// The key.
        key: String,
        /// What was there.
        found: Option<Entry>,
    },
    /// Read a range.
    Scan {
        /// Keys that begin so.
        prefix: String,
        /// After this one.
        after: Option<String>,
        /// At most so many.
        limit: u32,
        /// What was there, in order.
        found: Vec<(String, Entry)>,
    },
    /// Write a key, if the version allows it.
    Write {
        /// What was to be written.
        write: StateWrite,
        /// Only over this version; 0: only where there is nothing.
        if_version: Option<u64>,
        /// The version that was in the way.
        refused: Option<u64>,
    },
}

/// A value of the state store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The value.
    pub value: Json,
    /// The log position of its write.
    pub version: u64,
}

/// One write to the state store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateWrite {
    /// The key.
    pub key: String,
    /// The value; absent: the key is deleted.
    pub value: Option<Json>,
    /// From when on the value counts as absent.
    pub expires_at: Option<Timestamp>,
}

/// What was stalled is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unstalled {
    /// When.
    pub at: Timestamp,
    /// The task that was stalled.
    pub task: TaskId,
}

/// Why an instance, or one task of it, does not move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stalled {
    /// When that was noticed.
    pub at: Timestamp,
    /// The task that does not move; absent: the workflow's code itself, until its next turn.
    pub task: Option<TaskId>,
    /// Why.
    pub reason: StallReason,
}

/// A reason not to move, for which there is a remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StallReason {
    /// No module offers the activity.
    ActivityMissing {
        /// Which.
        activity: Name,
    },
    /// No module offers the child's workflow.
    WorkflowMissing {
        /// Which.
        workflow: Name,
    },
    /// The code asked something else than the history says.
    Divergence {
        /// Turn, history and code, side by side.
        message: String,
    },
    /// The workflow's code met a limit of the host.
    Limit {
        /// Which, and how far it went.
        message: String,
    },
    /// The host died three times in the same attempt.
    HostDeaths {
        /// The attempt's activity.
        activity: Name,
        /// The attempt's task.
        task: TaskId,
    },
    /// The module cannot be brought to life on this host.
    ModuleUnusable {
        /// Why not.
        message: String,
    },
}

impl StallReason {
    /// A stable word for the reason.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::ActivityMissing { .. } => "activity-missing",
            Self::WorkflowMissing { .. } => "workflow-missing",
            Self::Divergence { .. } => "divergence",
            Self::Limit { .. } => "limit",
            Self::HostDeaths { .. } => "host-deaths",
            Self::ModuleUnusable { .. } => "module-unusable",
        }
    }
}

impl std::fmt::Display for StallReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ActivityMissing { activity } => {
                write!(f, "no module offers the activity `{activity}`")
            }
            Self::WorkflowMissing { workflow } => {
                write!(f, "no module offers the workflow `{workflow}`")
            }
            Self::Divergence { message }
            | Self::Limit { message }
            | Self::ModuleUnusable { message } => f.write_str(message),
            Self::HostDeaths { activity, task } => {
                write!(
                    f,
                    "the host died three times in task {task}, activity `{activity}`"
                )
            }
        }
    }
}

/// An instance goes on with the code of another module, which did the same in the turns that were
/// taken before. Those keep what is recorded of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// When.
    pub at: Timestamp,
    /// The module that ran it until here.
    pub from: Digest,
    /// The module that runs it from here on.
    pub to: Digest,
    /// The version of the contract that the new one is linked against.
    pub contract: String,
    /// The number of the set of WebAssembly features that its code may use.
    pub features: u32,
    /// Whether it was moved even if payloads or options of its past differ.
    pub input_changes_allowed: bool,
    /// How many turns were compared: those of the generation, up to here.
    pub turns: u64,
}

/// An instance was put back to where it stood before one of its turns, with a new run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reset {
    /// When.
    pub at: Timestamp,
    /// The run that it had before.
    pub run: RunId,
    /// The first turn that is lost, from 1 over all generations.
    pub turn: u64,
    /// How many turns are lost.
    pub turns_lost: u64,
    /// Tasks up to this number were asked in turns that are kept, 0 if none were: children that
    /// the run before started for them are this one's.
    pub tasks_kept: u32,
}

/// The instance was ended from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: EndedHow,
    /// The request key that it was asked with.
    pub key: Option<String>,
}

/// How an instance was ended from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EndedHow {
    /// At once, without asking its code.
    Terminated {
        /// Why, if they said.
        reason: Option<String>,
        /// Its children end with it.
        recursive: bool,
    },
}

impl Record {
    /// The record itself, or the one that it is a copy of.
    #[must_use]
    pub fn original(&self) -> &Self {
        if let Self::Copied(record) = self {
            record
        } else {
            self
        }
    }

    /// The module that an instance runs on from this record on, if it is one that says so. What a
    /// rerun has copied says nothing of it.
    #[must_use]
    pub fn runs_on(&self) -> Option<Digest> {
        match self {
            Self::Started(started) => Some(started.module),
            Self::Moved(moved) => Some(moved.to),
            Self::Accepted(_)
            | Self::Turn(_)
            | Self::AttemptStarted(_)
            | Self::Attempt(_)
            | Self::AttemptStopped(_)
            | Self::Stalled(_)
            | Self::Unstalled(_)
            | Self::Ended(_)
            | Self::StateWritten(_)
            | Self::Reset(_)
            | Self::Copied(_) => None,
        }
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Started(started) => started.at,
            Self::Accepted(accepted) => accepted.at,
            Self::Turn(turn) => turn.at,
            Self::AttemptStarted(attempt) => attempt.at,
            Self::Attempt(attempt) => attempt.ended_at,
            Self::AttemptStopped(attempt) => attempt.at,
            Self::Stalled(stalled) => stalled.at,
            Self::Unstalled(unstalled) => unstalled.at,
            Self::Moved(moved) => moved.at,
            Self::Reset(reset) => reset.at,
            Self::Ended(ended) => ended.at,
            Self::StateWritten(written) => written.at,
            Self::Copied(record) => record.at(),
        }
    }

    /// What it writes to the state store, in order.
    pub fn writes(&self) -> Box<dyn Iterator<Item = &StateWrite> + '_> {
        match self {
            Self::Turn(turn) => Box::new(turn.state.iter().filter_map(StateCall::write)),
            Self::Attempt(attempt) => Box::new(attempt.writes.iter()),
            Self::StateWritten(written) => Box::new(written.writes.iter()),
            Self::Started(_)
            | Self::Accepted(_)
            | Self::AttemptStarted(_)
            | Self::AttemptStopped(_)
            | Self::Stalled(_)
            | Self::Unstalled(_)
            | Self::Moved(_)
            | Self::Reset(_)
            | Self::Ended(_)
            | Self::Copied(_) => Box::new(std::iter::empty()),
        }
    }

    /// Every payload in it, in a fixed order, for the store to take out and put back.
    pub fn payloads_mut(&mut self) -> Vec<&mut Json> {
        let mut found = Vec::new();
        match self {
            Self::Started(started) => {
                found.push(&mut started.input);
                found.extend(started.events.iter_mut().map(|event| &mut event.payload));
                if let Some(carried) = &mut started.carried {
                    found.extend(carried.payloads_mut());
                }
            }
            Self::Copied(record) => return record.payloads_mut(),
            Self::Accepted(accepted) => match &mut accepted.what {
                Happening::EventRaised(event) => found.push(&mut event.payload),
                Happening::TaskEnded { outcome, .. } => found.extend(payload_of(outcome)),
                Happening::UpdateRequested { input, .. } => found.push(input),
                Happening::ChildFailed { failure, .. } => found.extend(failure.details.as_mut()),
                Happening::TimerFired { .. }
                | Happening::CancelRequested { .. }
                | Happening::Suspended { .. }
                | Happening::Resumed => {}
            },
            Self::Turn(turn) => {
                found.extend(turn.commands.iter_mut().filter_map(Command::payload_mut));
                for call in &mut turn.state {
                    match call {
                        StateCall::Get { found: entry, .. } => {
                            found.extend(entry.as_mut().map(|entry| &mut entry.value));
                        }
                        StateCall::Scan { found: items, .. } => {
                            found.extend(items.iter_mut().map(|(_, entry)| &mut entry.value));
                        }
                        StateCall::Write { write, .. } => found.extend(write.value.as_mut()),
                    }
                }
                match &mut turn.step {
                    Step::Completed(json) | Step::ContinuedAsNew { input: json, .. } => {
                        found.push(json);
                    }
                    Step::Failed(failure) => found.extend(failure.details.as_mut()),
                    Step::Waiting | Step::Cancelled => {}
                }
            }
            Self::Attempt(attempt) => {
                found.extend(payload_of(&mut attempt.outcome));
                found.extend(
                    attempt
                        .writes
                        .iter_mut()
                        .filter_map(|write| write.value.as_mut()),
                );
            }
            Self::StateWritten(written) => {
                found.extend(
                    written
                        .writes
                        .iter_mut()
                        .filter_map(|write| write.value.as_mut()),
                );
            }
            Self::AttemptStarted(_)
            | Self::AttemptStopped(_)
            | Self::Stalled(_)
            | Self::Unstalled(_)
            | Self::Moved(_)
            | Self::Reset(_)
            | Self::Ended(_) => {}
        }
        found
    }
}

impl Carried {
    fn payloads_mut(&mut self) -> Vec<&mut Json> {
        let requests = self
            .requests
            .iter_mut()
            .filter_map(|request| match request {
                Request::Cancel { .. } => None,
                Request::Update { input, .. } => Some(input),
            });
        let mut found: Vec<_> = requests.collect();
        found.push(&mut self.first_input);
        found.extend(&mut self.custom_status);
        found
    }
}

fn payload_of(outcome: &mut Result<Json, Failure>) -> Option<&mut Json> {
    match outcome {
        Ok(json) => Some(json),
        Err(failure) => failure.details.as_mut(),
    }
}

impl StateCall {
    fn write(&self) -> Option<&StateWrite> {
        match self {
            Self::Write {
                write,
                refused: None,
                ..
            } => Some(write),
            Self::Write { .. } | Self::Get { .. } | Self::Scan { .. } => None,
        }
    }
}

impl Command {
    /// The task that the command opens or, for a cancellation, closes.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match self {
            Self::CallActivity { task, .. }
            | Self::CallWorkflow { task, .. }
            | Self::CreateTimer { task, .. }
            | Self::AwaitEvent { task, .. }
            | Self::RaiseEvent { task, .. }
            | Self::Cancel { task } => Some(*task),
            Self::AnswerUpdate { .. } | Self::SetCustomStatus { .. } | Self::Patched { .. } => None,
        }
    }

    fn payload_mut(&mut self) -> Option<&mut Json> {
        match self {
            Self::CallActivity { input, .. } | Self::CallWorkflow { input, .. } => Some(input),
            Self::RaiseEvent { event, .. } => Some(&mut event.payload),
            Self::AnswerUpdate { outcome, .. } => payload_of(outcome),
            Self::SetCustomStatus { status } => Some(status),
            Self::CreateTimer { .. }
            | Self::AwaitEvent { .. }
            | Self::Cancel { .. }
            | Self::Patched { .. } => None,
        }
    }
}
