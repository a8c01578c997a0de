//! An instance: the fold of its history.

#[cfg(test)]
mod properties;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::codec::Chain;
use crate::record::{
    Accepted, ActivityOptions, Asked, Attempt, AttemptStarted, Carried, ChildOptions, Command,
    Ended, EndedHow, Event, Happening, Moved, Record, Request, Reset, StallReason, Started, Step,
    Suspension, Turn,
};
use crate::{EventName, Failure, Json, Name, RunId, TaskId, Timestamp};

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// Started, and its code has not run yet.
    Pending,
    /// Its code has run, and waits or is about to go on.
    Running,
    /// Its inputs are held back.
    Suspended,
    /// It does not move; the instance says why.
    Stalled,
    /// It ended with an output.
    Completed,
    /// It ended with a failure.
    Failed,
    /// It ended by letting its cancellation through.
    Cancelled,
    /// It was ended from outside.
    Terminated,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Suspended,
        Self::Stalled,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Terminated,
    ];

    /// In lower case, as the command line and the API write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Stalled => "stalled",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
        }
    }

    /// Whether nothing can happen to the instance any more.
    #[must_use]
    pub fn has_ended(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled | Self::Terminated => true,
            Self::Pending | Self::Running | Self::Suspended | Self::Stalled => false,
        }
    }
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Completed(Json),
    Failed(Failure),
    Cancelled,
    Terminated {
        reason: Option<String>,
        recursive: bool,
    },
}

/// What a turn hands to the guest.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A task has come to its end.
    Completed {
        /// The task.
        task: TaskId,
        /// What came of it.
        outcome: Result<Json, Failure>,
    },
    /// Somebody asks the workflow to stop.
    CancelRequested {
        /// Why, if they said.
        reason: Option<String>,
    },
    /// Somebody asks something of the workflow.
    UpdateRequested {
        /// The number to answer under.
        id: u32,
        /// What is asked.
        name: Name,
        /// With what.
        input: Json,
    },
}

impl Happening {
    /// What was asked from outside, if that is what came in.
    fn asked(&self) -> Option<Asked> {
        match self {
            Self::EventRaised(_) => Some(Asked::Event),
            Self::CancelRequested { .. } => Some(Asked::Cancel),
            Self::UpdateRequested { id, .. } => Some(Asked::Update(*id)),
            Self::Suspended { .. } => Some(Asked::Suspend),
            Self::Resumed => Some(Asked::Resume),
            Self::TimerFired { .. } | Self::TaskEnded { .. } | Self::ChildFailed { .. } => None,
        }
    }
}

/// The inputs that a turn is about to take, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    /// The inputs.
    pub inputs: Vec<Input>,
    /// The turn may not be earlier than this: the time of the turn before and the due times of the
    /// timers among the inputs.
    pub not_before: Timestamp,
}

/// An input that waits for its turn.
#[derive(Debug, Clone, PartialEq)]
struct Unread {
    input: Input,
    /// When the timer that it tells of was due.
    due: Timestamp,
    /// The number of the event that it carries.
    arrival: Option<u64>,
}

/// One pending piece of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// When it was asked: the time of the turn.
    pub asked_at: Timestamp,
    /// What it is and how far it has come.
    pub state: TaskState,
}

/// What a pending piece of work is and how far it has come.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the commands")]
pub enum TaskState {
    /// An activity that is to run, runs, or waits to be tried again.
    Activity {
        name: Name,
        input: Json,
        options: ActivityOptions,
        /// The attempt that comes next or is under way, from 1.
        attempt: u32,
        /// It may not start earlier.
        ready_at: Timestamp,
        /// How often this attempt has been started, if it is effectful.
        starts: u32,
        /// How often it was stopped because the host was closed, or was cleared by hand: starts
        /// that count as no death of the host.
        stops: u32,
        /// Why the attempt before failed.
        last_failure: Option<Failure>,
    },
    /// A child that is to start or runs.
    Child {
        name: Name,
        input: Json,
        options: ChildOptions,
        /// Which start of it comes next or is under way, from 1.
        attempt: u32,
        /// It may not start earlier.
        ready_at: Timestamp,
        /// Why the one before failed.
        last_failure: Option<Failure>,
    },
    /// A timer.
    Timer { fires_at: Timestamp },
    /// The next event of that name.
    Event { name: Name },
    /// An event that is to be raised to another instance.
    Raise { instance: String, event: Event },
}

/// A history that no instance can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the history is broken: {0}")]
pub struct BrokenHistory(pub String);

/// An instance, as its history says.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    started: Box<Started>,
    first_input: Json,
    turns: u64,
    turns_of_generation: u64,
    records: u64,
    chain: Chain,
    last_turn_at: Timestamp,
    updated_at: Timestamp,
    tasks: BTreeMap<TaskId, Task>,
    /// The tasks that await an event, by its name.
    awaiting: BTreeMap<EventName, BTreeSet<TaskId>>,
    unread: VecDeque<Unread>,
    /// Unread events that nobody awaits, by arrival.
    buffered: BTreeMap<EventName, BTreeMap<u64, Event>>,
    /// Events handed to a task; kept because a cancellation puts them back.
    handed: BTreeMap<TaskId, (u64, Event)>,
    arrivals: u64,
    custom_status: Option<Json>,
    cancel_requested: bool,
    /// Why, if they said.
    cancel_reason: Option<String>,
    /// How many updates were ever asked.
    updates: u32,
    /// Updates that are asked and not answered.
    open_updates: BTreeSet<u32>,
    suspended: Option<Suspension>,
    /// The latest request keys, oldest first.
    keys: VecDeque<(String, Asked)>,
    /// Which records of the history began the generation before this one, and this one.
    begun: [u64; 2],
    /// How many turns had been taken, in all generations, when this one was last moved; 0 if it was
    /// not.
    moved_after: u64,
    /// The runs that resets have ended, each with the last task that is left of it.
    former_runs: Vec<(RunId, u32)>,
    /// Why the workflow's code does not move.
    stall: Option<StallReason>,
    /// Tasks that do not move.
    stalled_tasks: BTreeMap<TaskId, StallReason>,
    end: Option<End>,
}

impl Instance {
    /// So many request keys of an instance are remembered, the latest.
    pub const KEYS_MAX: usize = 1_000;

    /// The instance right after the first record of its history, or of the part that is kept.
    #[must_use]
    pub fn begin(started: Started) -> Self {
        Self::begin_at(started, 0)
    }

    /// The instance right after the record number `index`, from 0, which began a generation.
    #[must_use]
    pub fn begin_at(mut started: Started, index: u64) -> Self {
        let events = std::mem::take(&mut started.events);
        let carried = started.carried.take().map(|carried| *carried);
        let carried = carried.unwrap_or_else(|| Carried {
            first_input: started.input.clone(),
            turns: 0,
            custom_status: None,
            requests: Vec::new(),
            updates: 0,
            suspended: None,
            keys: Vec::new(),
        });
        let mut instance = Self {
            first_input: carried.first_input,
            turns: carried.turns,
            turns_of_generation: 0,
            records: index + 1,
            chain: Chain::default(),
            last_turn_at: started.at,
            updated_at: started.created_at.max(started.at),
            tasks: BTreeMap::new(),
            awaiting: BTreeMap::new(),
            unread: VecDeque::new(),
            buffered: BTreeMap::new(),
            handed: BTreeMap::new(),
            arrivals: 0,
            custom_status: carried.custom_status,
            cancel_requested: false,
            cancel_reason: None,
            updates: carried.updates,
            open_updates: BTreeSet::new(),
            suspended: carried.suspended,
            keys: carried.keys.into(),
            begun: [index; 2],
            moved_after: 0,
            former_runs: Vec::new(),
            stall: None,
            stalled_tasks: BTreeMap::new(),
            end: None,
            started: Box::new(started),
        };
        if instance.started.generation == 0
            && let Some(key) = instance.started.key.clone()
        {
            instance.remember(key, Asked::Start);
        }
        for request in carried.requests {
            instance.request(request);
        }
        for event in events {
            instance.receive(event);
        }
        instance
    }

    /// Takes the next record of the history in.
    ///
    /// # Errors
    /// If no instance that stands here can have that record next. Nothing has changed then.
    pub fn apply(&mut self, record: &Record) -> Result<(), BrokenHistory> {
        let broken = |what: &str| Err(BrokenHistory(format!("record {}: {what}", self.records)));
        if self.end.is_some() {
            return broken("something follows the end");
        }
        let record = record.original();
        match record {
            Record::Started(started) if started.generation <= self.started.generation => {
                return broken("a second start of the same generation");
            }
            Record::Turn(turn) if turn.inputs as usize > self.unread.len() => {
                return broken("a turn took more inputs than there were");
            }
            Record::Moved(moved) if moved.from != self.module() => {
                return broken("it was moved from a module that did not run it");
            }
            Record::Reset(_) if !self.fresh() => {
                return broken("a reset does not stand before the turns that are kept");
            }
            Record::StateWritten(_) => return broken("a write from outside is in no history"),
            Record::Copied(_) => return broken("a copy of a copy"),
            Record::Started(started) => self.renew(started),
            Record::Accepted(accepted) => self.accept(accepted),
            Record::Turn(turn) => self.turn(turn),
            Record::AttemptStarted(attempt) => self.attempt_started(attempt),
            Record::Attempt(attempt) => self.attempt_ended(attempt),
            Record::AttemptStopped(attempt) => {
                if let Some((starts, stops)) = self.starts_of(attempt.task) {
                    if attempt.begun {
                        *stops += 1;
                    } else {
                        *starts = starts.saturating_sub(1);
                    }
                }
            }
            Record::Stalled(stalled) => match stalled.task {
                None => self.stall = Some(stalled.reason.clone()),
                Some(task) => {
                    self.stalled_tasks.insert(task, stalled.reason.clone());
                }
            },
            Record::Unstalled(unstalled) => self.unstall(unstalled.task),
            Record::Moved(moved) => self.moved(moved),
            Record::Reset(reset) => self.reset(reset),
            Record::Ended(ended) => self.ended(ended),
        }
        self.records += 1;
        self.updated_at = self.updated_at.max(record.at());
        Ok(())
    }

    /// A generation's start says all that is left of those before, so that it can stand alone.
    fn renew(&mut self, started: &Started) {
        let next = Self::begin_at(started.clone(), self.records);
        *self = Self {
            records: self.records,
            chain: self.chain,
            begun: [self.begun[1], self.records],
            ..next
        };
    }

    /// What the next generation takes over, besides unread events.
    pub(crate) fn carry(&self) -> Carried {
        let requests = self.unread.iter().filter_map(|unread| match &unread.input {
            Input::Completed { .. } => None,
            Input::CancelRequested { reason } => Some(Request::Cancel {
                reason: reason.clone(),
            }),
            Input::UpdateRequested { id, name, input } => Some(Request::Update {
                id: *id,
                name: name.clone(),
                input: input.clone(),
            }),
        });
        Carried {
            first_input: self.first_input.clone(),
            turns: self.turns,
            custom_status: self.custom_status.clone(),
            requests: requests.collect(),
            updates: self.updates,
            suspended: self.suspended.clone(),
            keys: self.keys.iter().cloned().collect(),
        }
    }

    fn accept(&mut self, accepted: &Accepted) {
        match &accepted.what {
            Happening::TimerFired { task } => {
                if let Some(Task {
                    state: TaskState::Timer { fires_at },
                    ..
                }) = self.tasks.remove(task)
                {
                    self.complete(*task, Ok(Json::null()), fires_at);
                }
            }
            Happening::EventRaised(event) => self.receive(event.clone()),
            Happening::TaskEnded { task, outcome } => {
                if self.close(*task).is_some() {
                    self.complete(*task, outcome.clone(), Timestamp::default());
                }
            }
            Happening::ChildFailed {
                task,
                failure,
                retry_at,
            } => self.child_failed(*task, failure, *retry_at),
            Happening::CancelRequested { reason } => {
                self.request(Request::Cancel {
                    reason: reason.clone(),
                });
                // One that was to begin later has nothing to clean up.
                if self.begins_at().is_some() {
                    self.finish(End::Cancelled);
                }
            }
            Happening::UpdateRequested { id, name, input } => self.request(Request::Update {
                id: *id,
                name: name.clone(),
                input: input.clone(),
            }),
            Happening::Suspended { reason } => {
                self.suspended = Some(Suspension {
                    reason: reason.clone(),
                });
            }
            Happening::Resumed => self.suspended = None,
        }
        if let Some((key, asked)) = accepted.key.clone().zip(accepted.what.asked()) {
            self.remember(key, asked);
        }
    }

    fn request(&mut self, request: Request) {
        let input = match request {
            Request::Cancel { reason } => {
                self.cancel_requested = true;
                self.cancel_reason.clone_from(&reason);
                Input::CancelRequested { reason }
            }
            Request::Update { id, name, input } => {
                self.updates = self.updates.max(id);
                self.open_updates.insert(id);
                Input::UpdateRequested { id, name, input }
            }
        };
        self.unread.push_back(Unread {
            input,
            due: Timestamp::default(),
            arrival: None,
        });
    }

    /// Notes what a request key was used for.
    fn remember(&mut self, key: String, asked: Asked) {
        if self.keys.len() == Self::KEYS_MAX {
            self.keys.pop_front();
        }
        self.keys.push_back((key, asked));
    }

    fn child_failed(&mut self, of: TaskId, failure: &Failure, at: Timestamp) {
        let Some(task) = self.tasks.get_mut(&of) else {
            return;
        };
        if let TaskState::Child {
            attempt,
            ready_at,
            last_failure,
            ..
        } = &mut task.state
        {
            *attempt += 1;
            *ready_at = at;
            *last_failure = Some(failure.clone());
        }
    }

    fn turn(&mut self, turn: &Turn) {
        self.unread.drain(..turn.inputs as usize);
        self.turns += 1;
        self.turns_of_generation += 1;
        self.last_turn_at = turn.at;
        self.stall = None;
        for command in &turn.commands {
            self.command(command, turn.at);
        }
        match &turn.step {
            Step::Waiting => {}
            // The next record is the next generation's start.
            Step::ContinuedAsNew { .. } => self.close_tasks(),
            Step::Completed(output) => self.finish(End::Completed(output.clone())),
            Step::Failed(failure) => self.finish(End::Failed(failure.clone())),
            Step::Cancelled => self.finish(End::Cancelled),
        }
    }

    fn command(&mut self, command: &Command, at: Timestamp) {
        let state = match command {
            Command::CallActivity {
                name,
                input,
                options,
                ..
            } => TaskState::Activity {
                name: name.clone(),
                input: input.clone(),
                options: options.clone(),
                attempt: 1,
                ready_at: at,
                starts: 0,
                stops: 0,
                last_failure: None,
            },
            Command::CallWorkflow {
                name,
                input,
                options,
                ..
            } => TaskState::Child {
                name: name.clone(),
                input: input.clone(),
                options: options.clone(),
                attempt: 1,
                ready_at: at,
                last_failure: None,
            },
            Command::CreateTimer { fires_at, .. } => TaskState::Timer {
                fires_at: *fires_at,
            },
            Command::AwaitEvent { name, .. } => TaskState::Event { name: name.clone() },
            Command::RaiseEvent {
                instance, event, ..
            } => TaskState::Raise {
                instance: instance.clone(),
                event: event.clone(),
            },
            Command::Cancel { task } => return self.cancel(*task),
            Command::SetCustomStatus { status } => {
                self.custom_status = Some(status.clone());
                return;
            }
            Command::AnswerUpdate { id, .. } => {
                self.open_updates.remove(id);
                return;
            }
            Command::Patched { .. } => return,
        };
        let task = command.task().expect("each of these commands opens a task");

        self.tasks.insert(
            task,
            Task {
                asked_at: at,
                state,
            },
        );
        if let Command::AwaitEvent { name, .. } = command {
            let name = EventName::from(name);
            self.awaiting.entry(name.clone()).or_default().insert(task);
            self.hand_over(&name);
        }
    }

    /// Closes a task. Its completion, if it is unread, is dropped; an event that it was handed goes
    /// back to its place and to the next who awaits it.
    fn cancel(&mut self, task: TaskId) {
        if self.close(task).is_some() {
            // It was open, so that no completion of it can be unread.
            return;
        }
        self.unread.retain(
            |unread| !matches!(&unread.input, Input::Completed { task: of, .. } if *of == task),
        );
        if let Some((arrival, event)) = self.handed.remove(&task) {
            let name = EventName::from(&event.name);
            self.buffered
                .entry(name.clone())
                .or_default()
                .insert(arrival, event);
            self.hand_over(&name);
        }
    }

    fn receive(&mut self, event: Event) {
        self.arrivals += 1;
        let name = EventName::from(&event.name);
        self.buffered
            .entry(name.clone())
            .or_default()
            .insert(self.arrivals, event);
        self.hand_over(&name);
    }

    /// Hands buffered events of that name to the tasks that await them, oldest to oldest.
    fn hand_over(&mut self, name: &EventName) {
        while let (Some(events), Some(awaiting)) =
            (self.buffered.get_mut(name), self.awaiting.get_mut(name))
        {
            let (Some(task), Some((arrival, event))) = (awaiting.pop_first(), events.pop_first())
            else {
                // Each is removed when it is empty.
                return;
            };
            if events.is_empty() {
                self.buffered.remove(name);
            }
            if awaiting.is_empty() {
                self.awaiting.remove(name);
            }
            self.tasks.remove(&task);
            let outcome = Ok(event.payload.clone());
            self.handed.insert(task, (arrival, event));
            self.unread.push_back(Unread {
                input: Input::Completed { task, outcome },
                due: Timestamp::default(),
                arrival: Some(arrival),
            });
        }
    }

    fn attempt_started(&mut self, started: &AttemptStarted) {
        self.stalled_tasks.remove(&started.task);
        if let Some((starts, _)) = self.starts_of(started.task) {
            *starts += 1;
        }
    }

    /// How often the current attempt of a task was started, and how often that was no death.
    fn starts_of(&mut self, task: TaskId) -> Option<(&mut u32, &mut u32)> {
        match &mut self.tasks.get_mut(&task)?.state {
            TaskState::Activity { starts, stops, .. } => Some((starts, stops)),
            TaskState::Child { .. }
            | TaskState::Timer { .. }
            | TaskState::Event { .. }
            | TaskState::Raise { .. } => None,
        }
    }

    /// Whatever held the task up counts no more.
    fn unstall(&mut self, task: TaskId) {
        self.stalled_tasks.remove(&task);
        if let Some((starts, stops)) = self.starts_of(task) {
            *stops = *starts;
        }
    }

    /// Whatever was wrong with the code before is not wrong with this one.
    fn moved(&mut self, moved: &Moved) {
        self.started.module = moved.to;
        self.started.contract.clone_from(&moved.contract);
        self.started.features = moved.features;
        self.moved_after = self.turns;
        self.stall = None;
    }

    /// The latest reset stands first: of what it has lost, an earlier one has kept nothing.
    fn reset(&mut self, reset: &Reset) {
        let later = self.former_runs.iter().map(|(_, kept)| *kept);
        let kept = later.chain([reset.tasks_kept]).min();
        self.former_runs.push((reset.run, kept.unwrap_or_default()));
    }

    fn attempt_ended(&mut self, ended: &Attempt) {
        self.stalled_tasks.remove(&ended.task);
        let Some(task) = self.tasks.get_mut(&ended.task) else {
            return;
        };
        let TaskState::Activity {
            attempt,
            ready_at,
            starts,
            stops,
            last_failure,
            ..
        } = &mut task.state
        else {
            return;
        };
        if let Some(retry_at) = ended.retry_at {
            *attempt = ended.number + 1;
            *ready_at = retry_at;
            (*starts, *stops) = (0, 0);
            *last_failure = ended.outcome.as_ref().err().cloned();
        } else {
            self.close(ended.task);
            self.complete(ended.task, ended.outcome.clone(), Timestamp::default());
        }
    }

    fn close(&mut self, task: TaskId) -> Option<Task> {
        self.stalled_tasks.remove(&task);
        let closed = self.tasks.remove(&task)?;
        if let TaskState::Event { name } = &closed.state {
            let name = EventName::from(name);
            if let Some(awaiting) = self.awaiting.get_mut(&name) {
                awaiting.remove(&task);
                if awaiting.is_empty() {
                    self.awaiting.remove(&name);
                }
            }
        }
        Some(closed)
    }

    fn ended(&mut self, ended: &Ended) {
        if let Some(key) = ended.key.clone() {
            self.remember(key, Asked::Terminate);
        }
        match &ended.how {
            EndedHow::Terminated { reason, recursive } => self.finish(End::Terminated {
                reason: reason.clone(),
                recursive: *recursive,
            }),
        }
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.stall = None;
        self.close_tasks();
        self.unread.clear();
        self.buffered.clear();
        self.open_updates.clear();
    }

    /// Ends the generation's tasks. Unread events, and requests that no turn has taken, stay: they
    /// are the next generation's.
    fn close_tasks(&mut self) {
        self.tasks.clear();
        self.awaiting.clear();
        self.stalled_tasks.clear();
        for unread in std::mem::take(&mut self.unread) {
            let Input::Completed { task, .. } = &unread.input else {
                self.unread.push_back(unread);
                continue;
            };
            if unread.arrival.is_some()
                && let Some((arrival, event)) = self.handed.remove(task)
            {
                let name = EventName::from(&event.name);
                self.buffered
                    .entry(name)
                    .or_default()
                    .insert(arrival, event);
            }
        }
        self.handed.clear();
    }

    fn complete(&mut self, task: TaskId, outcome: Result<Json, Failure>, due: Timestamp) {
        let input = Input::Completed { task, outcome };
        self.unread.push_back(Unread {
            input,
            due,
            arrival: None,
        });
    }
}
