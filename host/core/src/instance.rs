//! An instance: the fold of its history.

use std::collections::{BTreeMap, VecDeque};

use crate::codec::Chain;
use crate::record::{
    Accepted, ActivityOptions, Attempt, AttemptStarted, ChildOptions, Command, Ended, EndedHow,
    Event, Happening, Record, StallReason, Started, Step, Turn,
};
use crate::{Digest, EventName, Failure, Json, Name, TaskId, Timestamp};

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    Terminated(Option<String>),
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

impl Input {
    fn is_cancel(&self) -> bool {
        match self {
            Self::CancelRequested { .. } => true,
            Self::Completed { .. } | Self::UpdateRequested { .. } => false,
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
    unread: VecDeque<Unread>,
    /// Unread events that nobody awaits, by arrival.
    buffered: BTreeMap<EventName, BTreeMap<u64, Event>>,
    /// Events handed to a task; kept because a cancellation puts them back.
    handed: BTreeMap<TaskId, (u64, Event)>,
    arrivals: u64,
    custom_status: Option<Json>,
    cancel_requested: bool,
    suspended: bool,
    /// Why the workflow's code does not move.
    stall: Option<StallReason>,
    /// Tasks that do not move.
    stalled_tasks: BTreeMap<TaskId, StallReason>,
    end: Option<End>,
}

impl Instance {
    /// The instance right after its first record.
    #[must_use]
    pub fn begin(started: Started) -> Self {
        let mut instance = Self {
            first_input: started.input.clone(),
            turns: 0,
            turns_of_generation: 0,
            records: 1,
            chain: Chain::default(),
            last_turn_at: started.at,
            updated_at: started.at,
            tasks: BTreeMap::new(),
            unread: VecDeque::new(),
            buffered: BTreeMap::new(),
            handed: BTreeMap::new(),
            arrivals: 0,
            custom_status: None,
            cancel_requested: false,
            suspended: false,
            stall: None,
            stalled_tasks: BTreeMap::new(),
            end: None,
            started: Box::new(started),
        };
        for event in std::mem::take(&mut instance.started.events) {
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
        match record {
            Record::Started(started) if started.generation <= self.started.generation => {
                return broken("a second start of the same generation");
            }
            Record::Turn(turn) if turn.inputs as usize > self.unread.len() => {
                return broken("a turn took more inputs than there were");
            }
            Record::StateWritten(_) => return broken("a write from outside is in no history"),
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
            Record::Ended(ended) => self.ended(ended),
        }
        self.records += 1;
        self.updated_at = self.updated_at.max(record.at());
        Ok(())
    }

    fn renew(&mut self, started: &Started) {
        let next = Self::begin(started.clone());
        *self = Self {
            first_input: self.first_input.clone(),
            turns: self.turns,
            records: self.records,
            chain: self.chain,
            last_turn_at: self.last_turn_at.max(started.at),

            custom_status: self.custom_status.clone(),
            // A request that the generation before did not take is the next one's; one that it did
            // take may be made again.
            cancel_requested: self.unread.iter().any(|unread| unread.input.is_cancel()),
            unread: std::mem::take(&mut self.unread)
                .into_iter()
                .chain(next.unread)
                .collect(),
            suspended: self.suspended,
            ..next
        };
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
            Happening::CancelRequested { reason } => {
                self.cancel_requested = true;
                self.push(Input::CancelRequested {
                    reason: reason.clone(),
                });
            }
            Happening::UpdateRequested { id, name, input } => {
                self.push(Input::UpdateRequested {
                    id: *id,
                    name: name.clone(),
                    input: input.clone(),
                });
            }
            Happening::Suspended { .. } => self.suspended = true,
            Happening::Resumed => self.suspended = false,
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
            Command::AnswerUpdate { .. } | Command::Patched { .. } => return,
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
            self.hand_over(&EventName::from(name));
        }
    }

    /// Closes a task. Its completion, if it is unread, is dropped; an event that it was handed goes
    /// back to its place and to the next who awaits it.
    fn cancel(&mut self, task: TaskId) {
        self.close(task);
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
        let awaits = |task: &Task| match &task.state {
            TaskState::Event { name: awaited } => EventName::from(awaited) == *name,
            TaskState::Activity { .. }
            | TaskState::Child { .. }
            | TaskState::Timer { .. }
            | TaskState::Raise { .. } => false,
        };
        while let Some(events) = self.buffered.get_mut(name) {
            let Some(task) = self
                .tasks
                .iter()
                .find(|(_, task)| awaits(task))
                .map(|(id, _)| *id)
            else {
                return;
            };
            let Some((arrival, event)) = events.pop_first() else {
                self.buffered.remove(name);
                return;
            };
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
        self.tasks.remove(&task)
    }

    fn ended(&mut self, ended: &Ended) {
        match &ended.how {
            EndedHow::Terminated { reason } => self.finish(End::Terminated(reason.clone())),
        }
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.stall = None;
        self.close_tasks();
        self.unread.clear();
        self.buffered.clear();
    }

    /// Ends the generation's tasks. Unread events, and requests that no turn has taken, stay: they
    /// are the next generation's.
    fn close_tasks(&mut self) {
        self.tasks.clear();
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

    fn push(&mut self, input: Input) {
        self.unread.push_back(Unread {
            input,
            due: Timestamp::default(),
            arrival: None,
        });
    }
}

/// What there is to see.
impl Instance {
    /// How the current generation began.
    #[must_use]
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// The input of the first generation.
    #[must_use]
    pub fn first_input(&self) -> &Json {
        &self.first_input
    }

    /// The module whose code runs it.
    #[must_use]
    pub fn module(&self) -> Digest {
        self.started.module
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.end {
            Some(End::Completed(_)) => Status::Completed,
            Some(End::Failed(_)) => Status::Failed,
            Some(End::Cancelled) => Status::Cancelled,
            Some(End::Terminated(_)) => Status::Terminated,
            None if self.stall().is_some() => Status::Stalled,
            None if self.suspended => Status::Suspended,
            None if self.turns == 0 => Status::Pending,
            None => Status::Running,
        }
    }

    /// Why it does not move, if it is stalled: the code itself, else the oldest task that is.
    #[must_use]
    pub fn stall(&self) -> Option<&StallReason> {
        self.stall
            .as_ref()
            .or_else(|| self.stalled_tasks.values().next())
    }

    /// The tasks that do not move, and why.
    #[must_use]
    pub fn stalled_tasks(&self) -> &BTreeMap<TaskId, StallReason> {
        &self.stalled_tasks
    }

    /// Why the workflow's code does not move, if that is what does not.
    #[must_use]
    pub fn stalled_code(&self) -> Option<&StallReason> {
        self.stall.as_ref()
    }

    /// What it returned, if it completed.
    #[must_use]
    pub fn output(&self) -> Option<&Json> {
        match &self.end {
            Some(End::Completed(output)) => Some(output),
            Some(End::Failed(_) | End::Cancelled | End::Terminated(_)) | None => None,
        }
    }

    /// Why it ended without an output.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match &self.end {
            Some(End::Failed(failure)) => Some(failure.clone()),
            Some(End::Cancelled) => Some(Failure::last(
                crate::kind::CANCELLED,
                "the workflow was cancelled",
            )),
            Some(End::Terminated(reason)) => Some(Failure::last(
                crate::kind::TERMINATED,
                reason
                    .clone()
                    .unwrap_or_else(|| "the workflow was terminated".into()),
            )),
            Some(End::Completed(_)) | None => None,
        }
    }

    /// What the workflow shows of itself.
    #[must_use]
    pub fn custom_status(&self) -> Option<&Json> {
        self.custom_status.as_ref()
    }

    /// When something last happened to it.
    #[must_use]
    pub fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// How many turns it has taken, in all generations.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// How many records its history has.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The link that its next record must carry.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Notes the link to the record just written or read.
    pub fn link(&mut self, chain: Chain) {
        self.chain = chain;
    }

    /// What it waits for, in the order asked.
    #[must_use]
    pub fn tasks(&self) -> &BTreeMap<TaskId, Task> {
        &self.tasks
    }

    /// The unread events, oldest first.
    #[must_use]
    pub fn unread_events(&self) -> Vec<Event> {
        let by_arrival: BTreeMap<u64, &Event> = self
            .buffered
            .values()
            .flatten()
            .map(|(arrival, event)| (*arrival, event))
            .collect();
        by_arrival.into_values().cloned().collect()
    }

    /// Whether somebody has asked it to stop.
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.cancel_requested
    }

    /// Whether a turn is due: the first one, or one with inputs that are not held back.
    #[must_use]
    pub fn turn_is_due(&self) -> bool {
        self.end.is_none() && !self.suspended && (self.fresh() || !self.unread.is_empty())
    }

    /// Whether the current generation has not run yet.
    #[must_use]
    pub fn fresh(&self) -> bool {
        self.turns_of_generation == 0
    }

    /// All that is unread, for the next turn. The first turn of a generation takes nothing.
    #[must_use]
    pub fn deliver(&self) -> Delivered {
        let count = if self.fresh() { 0 } else { self.unread.len() };
        self.deliver_first(count)
    }

    /// The oldest `count` unread inputs.
    #[must_use]
    pub fn deliver_first(&self, count: usize) -> Delivered {
        let taken = self.unread.iter().take(count);
        let not_before = taken
            .clone()
            .map(|unread| unread.due)
            .max()
            .unwrap_or_default();
        Delivered {
            inputs: taken.map(|unread| unread.input.clone()).collect(),
            not_before: not_before.max(self.last_turn_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunId;
    use crate::decide::{self, Refused, TurnFence};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn started() -> Started {
        Started {
            id: "order-7".parse().unwrap(),
            run: RunId(1),
            generation: 0,
            workflow: name("Order"),
            module: Digest::of(b"module"),
            contract: "0.1.0".into(),
            features: 1,
            seed: 1,
            input: Json::null(),
            parent: None,
            tags: Vec::new(),
            at: Timestamp(100),
            created_at: Timestamp(100),
            events: Vec::new(),
        }
    }

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn raised(payload: &str) -> Record {
        let event = Event {
            name: name("go"),
            payload: json(payload),
        };
        Record::Accepted(Accepted {
            at: Timestamp(200),
            what: Happening::EventRaised(event),
        })
    }

    fn awaits(task: u32) -> Command {
        Command::AwaitEvent {
            task: TaskId(task),
            name: name("GO"),
        }
    }

    fn cancels(task: u32) -> Command {
        Command::Cancel { task: TaskId(task) }
    }

    fn turn_with(inputs: u32, commands: Vec<Command>, step: Step) -> Record {
        let at = Timestamp(300);
        let (state, log) = (Vec::new(), Vec::new());
        Record::Turn(Box::new(Turn {
            at,
            inputs,
            commands,
            state,
            step,
            log,
        }))
    }

    fn turn(inputs: u32, commands: Vec<Command>) -> Record {
        turn_with(inputs, commands, Step::Waiting)
    }

    fn fold(records: impl IntoIterator<Item = Record>) -> Instance {
        let mut instance = Instance::begin(started());
        for record in records {
            instance.apply(&record).unwrap();
        }
        instance
    }

    /// The completions that are unread, as `task:payload`.
    fn unread(instance: &Instance) -> Vec<String> {
        let one = |input: &Input| match input {
            Input::Completed {
                task,
                outcome: Ok(json),
            } => format!("{task}:{json}"),
            other => format!("{other:?}"),
        };
        instance.deliver().inputs.iter().map(one).collect()
    }

    #[test]
    fn an_event_that_comes_before_anyone_waits_is_kept() {
        let instance = fold([
            turn(0, vec![]),
            raised("1"),
            raised("2"),
            turn(0, vec![awaits(1)]),
        ]);
        assert_eq!(unread(&instance), ["1:1"]);
        assert_eq!(instance.unread_events().len(), 1);
    }

    #[test]
    fn events_go_to_those_who_wait_oldest_to_oldest() {
        let instance = fold([
            turn(0, vec![awaits(1), awaits(2)]),
            raised("1"),
            raised("2"),
        ]);
        assert_eq!(unread(&instance), ["1:1", "2:2"]);
    }

    #[test]
    fn a_cancelled_wait_puts_its_event_back_in_its_place() {
        // Delivered, and the guest dropped the future without looking.
        let delivered = [turn(0, vec![awaits(1)]), raised("1"), raised("2")];
        let instance = fold(
            delivered
                .clone()
                .into_iter()
                .chain([turn(1, vec![cancels(1), awaits(2)])]),
        );
        assert_eq!(unread(&instance), ["2:1"]);
        // Not yet delivered.
        let instance = fold(
            delivered
                .into_iter()
                .chain([turn(0, vec![cancels(1), awaits(2)])]),
        );
        assert_eq!(unread(&instance), ["2:1"]);
        assert_eq!(instance.unread_events()[0].payload, json("2"));
    }

    #[test]
    fn an_event_that_goes_back_reaches_the_next_who_waits() {
        let instance = fold([
            turn(0, vec![awaits(1), awaits(2)]),
            raised("1"),
            turn(0, vec![cancels(1)]),
        ]);
        assert_eq!(unread(&instance), ["2:1"]);
    }

    #[test]
    fn unread_events_move_to_the_next_generation_and_its_tasks_do_not() {
        let input = json("1");
        let step = Step::ContinuedAsNew {
            input,
            current_module: false,
        };
        let before = fold([turn(0, vec![awaits(1)]), raised("1"), raised("2")]);
        let Record::Turn(last) = turn_with(0, vec![awaits(2)], step) else {
            unreachable!()
        };
        let records = decide::take_turn(&before, TurnFence::of(&before), *last, None).unwrap();
        let mut after = before;
        for record in &records {
            after.apply(record).unwrap();
        }
        assert!(after.tasks().is_empty());
        assert_eq!(after.started().generation, 1);
        let payloads: Vec<_> = after
            .unread_events()
            .into_iter()
            .map(|it| it.payload)
            .collect();
        assert_eq!(payloads, [json("1"), json("2")]);
        assert_eq!((after.turns(), after.fresh()), (2, true));
    }

    #[test]
    fn a_turn_is_never_before_the_timers_that_it_tells_of() {
        let timer = Command::CreateTimer {
            task: TaskId(1),
            fires_at: Timestamp(900),
        };
        let before = fold([turn(0, vec![timer])]);
        assert_eq!(
            decide::fire_timer(&before, TaskId(1), Timestamp(899)),
            Err(Refused::Stale)
        );
        let fired = decide::fire_timer(&before, TaskId(1), Timestamp(900)).unwrap();
        let mut after = before;
        after.apply(&fired).unwrap();
        // The clock has gone back since.
        let not_before = after.deliver().not_before;
        assert_eq!(
            decide::turn_time(not_before, Timestamp(500)),
            Timestamp(900)
        );
    }

    #[test]
    fn a_turn_of_a_guest_that_stands_elsewhere_is_refused() {
        let before = fold([turn(0, vec![awaits(1)]), raised("1")]);
        let fence = TurnFence::of(&before);
        let Record::Turn(next) = turn(1, vec![]) else {
            unreachable!()
        };
        assert!(decide::take_turn(&before, fence, (*next).clone(), None).is_ok());
        let elsewhere = [
            TurnFence { turns: 0, ..fence },
            TurnFence {
                generation: 1,
                ..fence
            },
            TurnFence {
                run: RunId(2),
                ..fence
            },
            TurnFence {
                module: Digest::of(b"other"),
                ..fence
            },
        ];
        for fence in elsewhere {
            let refused = decide::take_turn(&before, fence, (*next).clone(), None);
            assert_eq!(refused, Err(Refused::Stale), "{fence:?}");
        }
    }

    #[test]
    fn nothing_follows_the_end() {
        let mut ended = fold([turn_with(0, vec![awaits(1)], Step::Completed(Json::null()))]);
        assert_eq!(ended.status(), Status::Completed);
        assert!(ended.tasks().is_empty() && !ended.turn_is_due());
        let before = ended.clone();
        assert!(ended.apply(&raised("1")).is_err());
        assert_eq!(ended, before);
    }

    #[test]
    fn a_turn_that_takes_more_than_there_is_breaks_the_history() {
        let mut instance = fold([turn(0, vec![])]);
        let error = instance.apply(&turn(1, vec![])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the history is broken: record 2: a turn took more inputs than there were"
        );
    }

    fn calls(task: u32) -> Command {
        Command::CallActivity {
            task: TaskId(task),
            name: name("Pay"),
            input: Json::null(),
            options: ActivityOptions::default(),
        }
    }

    #[test]
    fn a_stalled_task_stays_so_while_others_move() {
        let reason = StallReason::ActivityMissing {
            activity: name("Pay"),
        };
        let mut instance = fold([turn(0, vec![calls(1), awaits(2)])]);
        let stall = |instance: &Instance| {
            decide::stall(instance, Some(TaskId(1)), reason.clone(), Timestamp(1))
        };
        let record = stall(&instance).unwrap();
        instance.apply(&record).unwrap();
        assert_eq!(stall(&instance), Err(Refused::Stale));
        instance.apply(&raised("1")).unwrap();
        instance.apply(&turn(1, vec![])).unwrap();
        assert_eq!(
            (instance.status(), instance.stall()),
            (Status::Stalled, Some(&reason))
        );
        let record = decide::unstall(&instance, TaskId(1), Timestamp(2)).unwrap();
        instance.apply(&record).unwrap();
        assert_eq!(instance.status(), Status::Running);
        assert_eq!(
            decide::unstall(&instance, TaskId(1), Timestamp(3)),
            Err(Refused::Stale)
        );
    }

    #[test]
    fn a_stalled_code_is_tried_again_by_its_next_turn() {
        let reason = StallReason::Limit {
            message: "too long".into(),
        };
        let mut instance = fold([turn(0, vec![])]);
        let stall = decide::stall(&instance, None, reason, Timestamp(1)).unwrap();
        instance.apply(&stall).unwrap();
        assert_eq!(instance.status(), Status::Stalled);
        instance.apply(&turn(0, vec![])).unwrap();
        assert_eq!(instance.status(), Status::Running);
    }

    #[test]
    fn a_cancellation_that_no_turn_has_taken_reaches_the_next_generation() {
        let cancel = Happening::CancelRequested { reason: None };
        let cancel = Record::Accepted(Accepted {
            at: Timestamp(200),
            what: cancel,
        });
        let before = fold([turn(0, vec![awaits(1)]), raised("1"), cancel]);
        let step = Step::ContinuedAsNew {
            input: Json::null(),
            current_module: false,
        };
        let Record::Turn(last) = turn_with(1, vec![], step) else {
            unreachable!()
        };
        let records = decide::take_turn(&before, TurnFence::of(&before), *last, None).unwrap();
        let mut after = before.clone();
        for record in &records {
            after.apply(record).unwrap();
        }
        after.apply(&turn(0, vec![])).unwrap();
        assert_eq!(
            after.deliver().inputs,
            [Input::CancelRequested { reason: None }]
        );
        assert!(after.cancel_requested());
        assert_ne!(after.started().seed, before.started().seed);
    }
}
