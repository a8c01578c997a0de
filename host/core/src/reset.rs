//! Resets: an instance goes back to where it stood before one of its turns.
//!
//! It begins anew under its id, with a new run, and takes over what it did before that turn, as a
//! rerun does. What came in from outside since is no doing of its own, so it is kept: it is unread
//! again. So are the ends of tasks that were asked before that turn. The rest is lost; what of it
//! reached beyond the instance is listed.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{
    Accepted, Attempt, Command, Happening, Record, Reset, Started, StateWrite, Turn, Unstalled,
};
use crate::rerun::{self, Fresh};
use crate::{BrokenHistory, Instance, InstanceId, Name, RunId, TaskId, TaskState, Timestamp};

/// What turns that are lost did beyond their instance, and what may happen again because of that.
/// Nothing of it is undone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lost {
    /// How many turns are lost.
    pub turns: u64,
    /// The activities that they called, in that order.
    pub activities: Vec<LostActivity>,
    /// The children that they started; those that have not ended are cancelled, unless they are
    /// detached.
    pub children: Vec<LostChild>,
    /// The events that they raised to other instances.
    pub events: Vec<LostEvent>,
    /// The timers that they set.
    pub timers: Vec<LostTimer>,
    /// The keys of the state store that they and their activities wrote, in order. What is under
    /// them stays as it is.
    pub keys_written: BTreeSet<String>,
    /// The activities that earlier turns called and that have not ended: their attempts are
    /// stopped, and begin anew.
    pub begun_anew: Vec<LostActivity>,
}

/// An activity whose call is lost, or that begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostActivity {
    /// Its task.
    pub task: TaskId,
    /// Its name.
    pub name: Name,
    /// How many attempts were begun, as far as that is recorded: of a contained activity those
    /// that ended.
    pub attempts: u32,
    /// An attempt of it could reach the outside.
    pub effectful: bool,
    /// It came to its end with an output.
    pub completed: bool,
}

/// A child whose start is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostChild {
    /// Its task.
    pub task: TaskId,
    /// Its workflow.
    pub workflow: Name,
    /// The instance that was started last for it, unless the id that was asked cannot be.
    pub id: Option<InstanceId>,
    /// It outlives its parent.
    pub detached: bool,
    /// It had ended.
    pub ended: bool,
}

/// An event that was raised to another instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEvent {
    /// Its task.
    pub task: TaskId,
    /// To whom.
    pub instance: String,
    /// Its name.
    pub name: Name,
}

/// A timer that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostTimer {
    /// Its task.
    pub task: TaskId,
    /// When it fires, or fired.
    pub fires_at: Timestamp,
}

/// Parts the history of a generation into what is kept and what is lost.
#[derive(Debug)]
pub struct Cut {
    original: Started,
    turn: u64,
    turns: u64,
    tasks_kept: u32,
    kept: Vec<Record>,
    lost: Lost,
    /// What was seen of the attempts of each task: how many, of a child how many failed, and whether
    /// one was effectful.
    attempts: BTreeMap<TaskId, (u32, bool)>,
}

/// What an instance is after a reset, and what it has lost.
#[derive(Debug)]
pub struct Parted {
    /// The first record of the new run.
    pub started: Started,
    /// The records that follow it.
    pub records: Vec<Record>,
    /// What they make together.
    pub instance: Instance,
    /// What is not among them.
    pub lost: Lost,
}

impl Cut {
    /// Begins with the start of the instance's generation; `turn` is the first that is lost, from 1
    /// over all generations. The records that follow the start are to be taken in one by one.
    #[must_use]
    pub fn new(original: Started, turn: u64) -> Self {
        Self {
            turns: turns_before(&original),
            original,
            turn,
            tasks_kept: 0,
            kept: Vec::new(),
            lost: Lost::default(),
            attempts: BTreeMap::new(),
        }
    }

    /// The first turn that can be lost, from 1 over all generations.
    #[must_use]
    pub fn first_turn(&self) -> u64 {
        turns_before(&self.original) + 1
    }

    /// The last turn that was taken in, from 1 over all generations.
    #[must_use]
    pub fn last_turn(&self) -> u64 {
        self.turns
    }

    /// Takes the next record in.
    pub fn take(&mut self, record: Record) {
        let (keeps, is_copy) = (
            self.sees(record.original()),
            matches!(record, Record::Copied(_)),
        );
        if keeps {
            self.kept.push(if is_copy {
                record
            } else {
                Record::Copied(Box::new(record))
            });
        }
    }

    /// Whether a record is kept; notes what is lost of one that is not.
    fn sees(&mut self, record: &Record) -> bool {
        match record {
            Record::Turn(turn) => self.sees_turn(turn),
            Record::Accepted(accepted) => self.sees_accepted(accepted),
            Record::Attempt(attempt) => self.sees_attempt(attempt),
            Record::AttemptStarted(started) => {
                let (count, effectful) = self.attempts.entry(started.task).or_default();
                (*count, *effectful) = (started.number.max(*count), true);
                self.is_kept(started.task)
            }
            Record::AttemptStopped(stopped) => self.is_kept(stopped.task),
            Record::Unstalled(unstalled) => self.is_kept(unstalled.task),
            // What it was moved to in turns that are lost ran none of those that are kept.
            Record::Moved(_) => self.lost.turns == 0,
            Record::Reset(_) => true,
            // Whatever holds it up is noticed again.
            Record::Stalled(_)
            | Record::Started(_)
            | Record::Ended(_)
            | Record::StateWritten(_)
            | Record::Copied(_) => false,
        }
    }

    fn sees_turn(&mut self, turn: &Turn) -> bool {
        self.turns += 1;
        if self.turns < self.turn {
            let opens = |it: &&Command| !matches!(it, Command::Cancel { .. });
            let tasks = turn.commands.iter().filter(opens).filter_map(Command::task);
            let last = tasks.map(|task| task.0).max();
            self.tasks_kept = self.tasks_kept.max(last.unwrap_or_default());
            return true;
        }
        self.lost.turns += 1;
        let writes = Record::Turn(Box::new(turn.clone()));
        self.lost.wrote(writes.writes());
        for command in &turn.commands {
            self.lost.command(command, &self.original);
        }
        false
    }

    fn sees_accepted(&mut self, accepted: &Accepted) -> bool {
        match &accepted.what {
            Happening::TimerFired { task } => self.is_kept(*task),
            Happening::TaskEnded { task, outcome } => {
                self.lost.ended(*task, outcome.is_ok());
                self.is_kept(*task)
            }
            Happening::ChildFailed { task, .. } => {
                self.attempts.entry(*task).or_default().0 += 1;
                self.is_kept(*task)
            }
            // It was asked of the instance, whatever that did before or after.
            Happening::EventRaised(_)
            | Happening::CancelRequested { .. }
            | Happening::UpdateRequested { .. }
            | Happening::Suspended { .. }
            | Happening::Resumed => true,
        }
    }

    fn sees_attempt(&mut self, attempt: &Attempt) -> bool {
        let (count, effectful) = self.attempts.entry(attempt.task).or_default();
        *count = attempt.number.max(*count);
        *effectful |= !attempt.contained;
        if self.is_kept(attempt.task) {
            return true;
        }
        self.lost.wrote(attempt.writes.iter());
        if attempt.retry_at.is_none() {
            self.lost.ended(attempt.task, attempt.outcome.is_ok());
        }
        false
    }

    /// Whether a turn that is kept has asked the task. Tasks are numbered in the order asked.
    fn is_kept(&self, task: TaskId) -> bool {
        task.0 <= self.tasks_kept
    }

    /// What there is to begin anew with.
    ///
    /// # Errors
    /// If no history can go on so.
    pub fn part(mut self, run: RunId, seed: u64, at: Timestamp) -> Result<Parted, BrokenHistory> {
        let reset = Reset {
            at,
            run: self.original.run,
            turn: self.turn,
            turns_lost: self.lost.turns,
            tasks_kept: self.tasks_kept,
        };
        let turns = self.turn.saturating_sub(self.first_turn());
        let started = start(&self.original, turns, run, seed, at);
        let mut records = vec![Record::Reset(reset)];
        records.append(&mut self.kept);
        let mut instance = Instance::begin(started.clone());
        for record in &records {
            instance.apply(record)?;
        }
        for record in stopped(&instance, at) {
            instance.apply(&record)?;
            records.push(record);
        }
        let mut lost = self.lost;
        lost.begun_anew = begun_anew(&instance);
        for activity in lost.activities.iter_mut().chain(&mut lost.begun_anew) {
            let seen = self.attempts.get(&activity.task);
            (activity.attempts, activity.effectful) = seen.copied().unwrap_or_default();
        }
        for child in &mut lost.children {
            let failed = self.attempts.get(&child.task).map_or(0, |seen| seen.0);
            child.id = child.id.take().map(|id| id.of_attempt(failed + 1));
        }
        Ok(Parted {
            started,
            records,
            instance,
            lost,
        })
    }
}

/// The first record of the new run: that of a rerun, but for all that makes it the same instance.
/// It has begun, so that it does not wait for its time again.
fn start(original: &Started, turns: u64, run: RunId, seed: u64, at: Timestamp) -> Started {
    let fresh = Fresh {
        id: original.id.clone(),
        run,
        seed,
        at,
    };
    Started {
        parent: original.parent.clone(),
        created_at: original.created_at,
        key: original.key.clone(),
        carried: original.carried.clone(),
        trace: original.trace.clone(),
        ..rerun::start(original, turns, fresh)
    }
}

fn turns_before(started: &Started) -> u64 {
    started.carried.as_ref().map_or(0, |carried| carried.turns)
}

/// Attempts that were under way are stopped, which is no death of the host. That they had begun
/// stays known: one that may run at most once does not run again.
fn stopped(instance: &Instance, at: Timestamp) -> Vec<Record> {
    let tasks = instance.tasks().iter();
    let under_way = tasks.filter_map(|(task, it)| match &it.state {
        TaskState::Activity { starts, stops, .. } if starts > stops => Some(*task),
        TaskState::Activity { .. }
        | TaskState::Child { .. }
        | TaskState::Timer { .. }
        | TaskState::Event { .. }
        | TaskState::Raise { .. } => None,
    });
    let unstalled = under_way.map(|task| Record::Unstalled(Unstalled { at, task }));
    unstalled.map(|it| Record::Copied(Box::new(it))).collect()
}

fn begun_anew(instance: &Instance) -> Vec<LostActivity> {
    let tasks = instance.tasks().iter();
    let open = tasks.filter_map(|(task, it)| match &it.state {
        TaskState::Activity { name, .. } => Some(activity(*task, name)),
        TaskState::Child { .. }
        | TaskState::Timer { .. }
        | TaskState::Event { .. }
        | TaskState::Raise { .. } => None,
    });
    open.collect()
}

fn activity(task: TaskId, name: &Name) -> LostActivity {
    LostActivity {
        task,
        name: name.clone(),
        attempts: 0,
        effectful: false,
        completed: false,
    }
}

impl Lost {
    fn wrote<'a>(&mut self, writes: impl Iterator<Item = &'a StateWrite>) {
        self.keys_written.extend(writes.map(|it| it.key.clone()));
    }

    fn command(&mut self, command: &Command, of: &Started) {
        match command {
            Command::CallActivity { task, name, .. } => {
                self.activities.push(activity(*task, name));
            }
            Command::CallWorkflow {
                task,
                name,
                options,
                ..
            } => self.children.push(LostChild {
                task: *task,
                workflow: name.clone(),
                id: options.child_id(&of.id, of.generation, *task).ok(),
                detached: options.detached,
                ended: false,
            }),
            Command::CreateTimer { task, fires_at } => self.timers.push(LostTimer {
                task: *task,
                fires_at: *fires_at,
            }),
            Command::RaiseEvent {
                task,
                instance,
                event,
            } => self.events.push(LostEvent {
                task: *task,
                instance: instance.clone(),
                name: event.name.clone(),
            }),
            Command::AwaitEvent { .. }
            | Command::Cancel { .. }
            | Command::AnswerUpdate { .. }
            | Command::SetCustomStatus { .. }
            | Command::Patched { .. } => {}
        }
    }

    /// A task has come to its end, if it is one of those that are lost.
    fn ended(&mut self, task: TaskId, completed: bool) {
        // They stand in the order asked.
        if let Ok(at) = self.activities.binary_search_by_key(&task, |it| it.task) {
            self.activities[at].completed = completed;
        }
        if let Ok(at) = self.children.binary_search_by_key(&task, |it| it.task) {
            let child = &mut self.children[at];
            // The task of a detached one ends when it has started.
            child.ended = !child.detached;
        }
    }
}
