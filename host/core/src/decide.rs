//! What may happen to an instance, decided in one place.
//!
//! Each function looks at an instance as it stands and returns the record to submit, or why not.
//! The store calls them inside its critical section, so that what they saw still holds when the
//! record takes its place.

use crate::record::{
    Accepted, Asked, Attempt, AttemptStarted, AttemptStopped, Ended, EndedHow, Event, Happening,
    LogLine, Moved, Parent, Record, StallReason, Stalled, Started, StateWrite, Step, Turn,
    Unstalled,
};
use crate::{
    Digest, DurationMs, Failure, Instance, Json, Name, Position, RunId, TaskId, TaskState,
    Timestamp, kind,
};

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The instance has ended.
    #[error("the instance has ended")]
    Ended,
    /// The guest, the attempt or the task that it comes from is no longer the current one. Drop
    /// what it did.
    #[error("it comes from a turn or an attempt that is no longer open")]
    Stale,
    /// What it had read of the state has changed. Do it again on a new snapshot.
    #[error("the state that it had read has changed")]
    Conflict,
    /// A request with that key was made before; says what it asked.
    #[error("the request key was used before, for {}", .0.as_str())]
    Repeated(Asked),
}

/// The place in an instance's life where a guest stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnFence {
    /// The start that it belongs to.
    pub run: RunId,
    /// The generation that it belongs to.
    pub generation: u32,
    /// The module that it runs.
    pub module: Digest,
    /// How many turns came before.
    pub turns: u64,
}

impl TurnFence {
    /// Where the instance stands now.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        let started = instance.started();
        Self {
            run: started.run,
            generation: started.generation,
            module: instance.module(),
            turns: instance.turns(),
        }
    }
}

/// Names one attempt of one activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptFence {
    /// The start that it belongs to.
    pub run: RunId,
    /// The generation that it belongs to.
    pub generation: u32,
    /// The task.
    pub task: TaskId,
    /// Counted from 1.
    pub number: u32,
}

impl AttemptFence {
    /// What a service may deduplicate by: the same over all attempts of a task.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        format!("{}-{}-{}", self.run, self.generation, self.task)
    }
}

/// Names one task of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskFence {
    /// The start that it belongs to.
    pub run: RunId,
    /// The generation that it belongs to.
    pub generation: u32,
    /// The task.
    pub task: TaskId,
}

/// What came of an attempt, before it is decided what follows.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
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
    /// What it logged.
    pub log: Vec<LogLine>,
    /// What it wrote; dropped if it failed.
    pub writes: Vec<StateWrite>,
}

/// A turn that the guest at `fence` has taken. If it continued as new, the next generation's start
/// follows it, on the module `next` if one is given, with the events that are unread.
///
/// # Errors
/// If the instance has ended or gone on since.
pub fn take_turn(
    instance: &Instance,
    fence: TurnFence,
    turn: Turn,
    next: Option<Digest>,
) -> Result<Vec<Record>, Refused> {
    alive(instance)?;
    if TurnFence::of(instance) != fence {
        return Err(Refused::Stale);
    }
    let continuation = match &turn.step {
        Step::ContinuedAsNew { input, .. } => Some((input.clone(), turn.at)),
        Step::Waiting | Step::Completed(_) | Step::Failed(_) | Step::Cancelled => None,
    };
    let turn = Record::Turn(Box::new(turn));
    let Some((input, at)) = continuation else {
        return Ok(vec![turn]);
    };
    // What is unread is known once the turn is taken in.
    let mut after = instance.clone();
    after.apply(&turn).map_err(|_| Refused::Stale)?;
    let before = instance.started();
    let start = Started {
        carried: Some(Box::new(after.carry())),
        begins_at: None,
        reruns: Vec::new(),
        generation: before.generation + 1,
        seed: next_seed(before.seed, before.generation),
        module: next.unwrap_or(before.module),
        input,
        at,
        events: after.unread_events(),
        ..before.clone()
    };
    Ok(vec![turn, Record::Started(Box::new(start))])
}

/// The time of a turn: never before the last turn's and the due times of the timers it delivers.
#[must_use]
pub fn turn_time(not_before: Timestamp, now: Timestamp) -> Timestamp {
    now.max(not_before)
}

/// An effectful attempt that is about to start.
///
/// # Errors
/// If the attempt is not the one that comes next.
pub fn start_attempt(
    instance: &Instance,
    fence: AttemptFence,
    module: Digest,
    at: Timestamp,
) -> Result<Record, Refused> {
    open_attempt(instance, fence)?;
    Ok(Record::AttemptStarted(AttemptStarted {
        task: fence.task,
        number: fence.number,
        module,
        at,
    }))
}

/// An attempt that has ended, with what follows: another after a delay, or the task's end.
///
/// # Errors
/// If the attempt is no longer open.
pub fn end_attempt(
    instance: &Instance,
    fence: AttemptFence,
    end: AttemptEnd,
) -> Result<Record, Refused> {
    let task = open_attempt(instance, fence)?;
    let retry_at = match &end.outcome {
        Ok(_) => None,
        Err(failure) => retry_at(task, fence, failure, end.ended_at),
    };
    let writes = if end.outcome.is_ok() {
        end.writes
    } else {
        Vec::new()
    };
    Ok(Record::Attempt(Box::new(Attempt {
        task: fence.task,
        number: fence.number,
        module: end.module,
        contained: end.contained,
        started_at: end.started_at,
        ended_at: end.ended_at,
        outcome: end.outcome,
        retry_at,
        log: end.log,
        writes,
    })))
}

/// The end of a child, as its parent takes it: the task's end, or another start of it.
///
/// # Errors
/// If the instance does not wait for it.
pub fn end_child(
    instance: &Instance,
    of: TaskFence,
    attempt: u32,
    outcome: Result<Json, Failure>,
    now: Timestamp,
) -> Result<Record, Refused> {
    let ended = end_task(instance, of, outcome.clone(), now)?;
    let task = instance.tasks().get(&of.task).map(|task| &task.state);
    let Some(TaskState::Child {
        options,
        attempt: current,
        ..
    }) = task
    else {
        return Err(Refused::Stale);
    };
    if *current != attempt {
        return Err(Refused::Stale);
    }
    let Err(failure) = outcome else {
        return Ok(ended);
    };
    let salt = format!("{}-{}-{}", of.run, of.generation, of.task);
    let ended_from_outside = [kind::CANCELLED, kind::TERMINATED].contains(&failure.kind.as_str());
    let policy = options.retry.as_ref().filter(|_| !ended_from_outside);
    let delay = policy.and_then(|policy| policy.delay(attempt, &failure, &salt));
    Ok(match delay {
        None => ended,
        Some(delay) => accepted(
            now,
            Happening::ChildFailed {
                task: of.task,
                failure,
                retry_at: now.after(delay),
            },
        ),
    })
}

/// When all attempts of an activity together have taken too long.
#[must_use]
pub fn total_deadline(task: &crate::Task) -> Option<Timestamp> {
    let TaskState::Activity { options, .. } = &task.state else {
        return None;
    };
    let total = options.total_timeout?;
    Some(task.asked_at.after(total))
}

/// The end of an activity whose time is over while no attempt of it runs.
///
/// # Errors
/// If the instance does not wait for it, or its time is not over.
pub fn time_out(instance: &Instance, of: TaskFence, now: Timestamp) -> Result<Record, Refused> {
    alive(instance)?;
    let started = instance.started();
    if (started.run, started.generation) != (of.run, of.generation) {
        return Err(Refused::Stale);
    }
    let task = instance.tasks().get(&of.task).ok_or(Refused::Stale)?;
    if total_deadline(task).is_none_or(|deadline| deadline > now) {
        return Err(Refused::Stale);
    }
    let failure = Failure::last(
        kind::TIMEOUT,
        "all its attempts together took longer than they may",
    );
    Ok(accepted(
        now,
        Happening::TaskEnded {
            task: of.task,
            outcome: Err(failure),
        },
    ))
}

/// A timer that is due.
///
/// # Errors
/// [`Refused::Stale`] if the instance does not wait for it, or not yet.
pub fn fire_timer(instance: &Instance, task: TaskId, now: Timestamp) -> Result<Record, Refused> {
    alive(instance)?;
    match instance.tasks().get(&task).map(|task| &task.state) {
        Some(TaskState::Timer { fires_at }) if *fires_at <= now => {
            Ok(accepted(now, Happening::TimerFired { task }))
        }
        // Lost a race with its cancellation, or the clock went backwards.
        Some(_) | None => Err(Refused::Stale),
    }
}

/// An event from outside.
///
/// # Errors
/// If the instance has ended.
pub fn raise_event(
    instance: &Instance,
    event: Event,
    key: Option<String>,
    now: Timestamp,
) -> Result<Record, Refused> {
    asked_once(instance, key.as_deref())?;
    alive(instance)?;
    Ok(requested(now, Happening::EventRaised(event), key))
}

/// The end of a child, or of an event raised to another instance.
///
/// # Errors
/// If the instance does not wait for it.
pub fn end_task(
    instance: &Instance,
    of: TaskFence,
    outcome: Result<Json, Failure>,
    now: Timestamp,
) -> Result<Record, Refused> {
    alive(instance)?;
    let current = instance.has_task_of(of.run, of.generation, of.task);
    match instance.tasks().get(&of.task).map(|task| &task.state) {
        Some(TaskState::Child { .. } | TaskState::Raise { .. }) if current => Ok(accepted(
            now,
            Happening::TaskEnded {
                task: of.task,
                outcome,
            },
        )),
        Some(_) | None => Err(Refused::Stale),
    }
}

/// A request to stop, which the workflow may act on.
///
/// # Errors
/// If the instance has ended; [`Refused::Stale`] if that was asked before.
pub fn request_cancel(
    instance: &Instance,
    reason: Option<String>,
    key: Option<String>,
    now: Timestamp,
) -> Result<Record, Refused> {
    asked_once(instance, key.as_deref())?;
    alive(instance)?;
    if instance.cancel_requested() {
        return Err(Refused::Stale);
    }
    Ok(requested(now, Happening::CancelRequested { reason }, key))
}

/// A request that the running workflow answers. Its number is [`Instance::updates`] after it.
///
/// # Errors
/// If the instance has ended.
pub fn request_update(
    instance: &Instance,
    name: Name,
    input: Json,
    key: Option<String>,
    now: Timestamp,
) -> Result<Record, Refused> {
    asked_once(instance, key.as_deref())?;
    alive(instance)?;
    let id = instance.updates() + 1;
    Ok(requested(
        now,
        Happening::UpdateRequested { id, name, input },
        key,
    ))
}

/// Holds inputs back from now on. Work under way comes to its end.
///
/// # Errors
/// If the instance has ended; [`Refused::Stale`] if they are held back already.
pub fn suspend(
    instance: &Instance,
    reason: Option<String>,
    key: Option<String>,
    now: Timestamp,
) -> Result<Record, Refused> {
    asked_once(instance, key.as_deref())?;
    alive(instance)?;
    if instance.suspended().is_some() {
        return Err(Refused::Stale);
    }
    Ok(requested(now, Happening::Suspended { reason }, key))
}

/// Lets inputs flow again, in the order in which they came.
///
/// # Errors
/// If the instance has ended; [`Refused::Stale`] if they flow.
pub fn resume(instance: &Instance, key: Option<String>, now: Timestamp) -> Result<Record, Refused> {
    asked_once(instance, key.as_deref())?;
    alive(instance)?;
    if instance.suspended().is_none() {
        return Err(Refused::Stale);
    }
    Ok(requested(now, Happening::Resumed, key))
}

/// The end, without asking the workflow.
///
/// # Errors
/// If the instance has ended.
pub fn terminate(
    instance: &Instance,
    reason: Option<String>,
    recursive: bool,
    key: Option<String>,
    now: Timestamp,
) -> Result<Record, Refused> {
    asked_once(instance, key.as_deref())?;
    alive(instance)?;
    Ok(Record::Ended(Ended {
        at: now,
        how: EndedHow::Terminated { reason, recursive },
        key,
    }))
}

/// Where the parent of a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentStands {
    /// It waits for the child.
    Waits,
    /// It goes on, and does not wait for the child any more.
    GaveUp,
    /// It has ended by itself.
    Ended,
    /// It was terminated.
    Terminated {
        /// With its children.
        recursive: bool,
    },
}

/// Where the instance that a child names as its parent stands.
#[must_use]
pub fn parent_stands(parent: &Instance, of: &Parent) -> ParentStands {
    let is_former = || parent.former_runs().any(|run| run == of.run);
    if parent.started().run != of.run && !is_former() {
        // Another start has the id; what became of the one before was seen to then.
        return ParentStands::Waits;
    }
    if parent.status().has_ended() {
        return match parent.terminated() {
            Some(recursive) => ParentStands::Terminated { recursive },
            None => ParentStands::Ended,
        };
    }
    let current = parent.has_task_of(of.run, of.generation, of.task);
    let task = parent.tasks().get(&of.task).filter(|_| current);
    match task.map(|task| &task.state) {
        Some(TaskState::Child { attempt, .. }) if *attempt == of.attempt => ParentStands::Waits,
        Some(_) | None => ParentStands::GaveUp,
    }
}

/// What a child whose parent stands so is asked to do, if anything: unless it is detached, it ends
/// with the task that waits for it.
///
/// # Errors
/// If the child has ended; [`Refused::Stale`] if it goes on, or was asked before.
pub fn end_with_parent(
    child: &Instance,
    parent: ParentStands,
    now: Timestamp,
) -> Result<Record, Refused> {
    let of = child.started().parent.as_ref();
    let of = of.filter(|of| !of.detached).ok_or(Refused::Stale)?;
    let because = |what: &str| Some(format!("its parent `{}` {what}", of.id));
    match parent {
        ParentStands::Waits | ParentStands::Terminated { recursive: false } => Err(Refused::Stale),
        ParentStands::Terminated { recursive: true } => {
            terminate(child, because("was terminated"), true, None, now)
        }
        ParentStands::Ended => request_cancel(child, because("has ended"), None, now),
        ParentStands::GaveUp => request_cancel(child, because("gave it up"), None, now),
    }
}

/// The note that the workflow's code, or one task, does not move.
///
/// # Errors
/// If the instance has ended; [`Refused::Stale`] if that was noted before or the task is closed.
pub fn stall(
    instance: &Instance,
    task: Option<TaskId>,
    reason: StallReason,
    now: Timestamp,
) -> Result<Record, Refused> {
    alive(instance)?;
    let (open, known) = match task {
        None => (true, instance.stalled_code()),
        Some(task) => (
            instance.tasks().contains_key(&task),
            instance.stalled_tasks().get(&task),
        ),
    };
    if !open || known == Some(&reason) {
        return Err(Refused::Stale);
    }
    Ok(Record::Stalled(Stalled {
        at: now,
        task,
        reason,
    }))
}

/// The note that a stalled task is tried again.
///
/// # Errors
/// If the instance has ended; [`Refused::Stale`] if the task is not stalled.
pub fn unstall(instance: &Instance, task: TaskId, now: Timestamp) -> Result<Record, Refused> {
    alive(instance)?;
    if !instance.stalled_tasks().contains_key(&task) {
        return Err(Refused::Stale);
    }
    Ok(Record::Unstalled(Unstalled { at: now, task }))
}

/// Where an instance is moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The module.
    pub to: Digest,
    /// The version of the contract that it is linked against.
    pub contract: String,
    /// The number of the set of WebAssembly features that its code may use.
    pub features: u32,
    /// Whether payloads or options of its past may differ.
    pub input_changes_allowed: bool,
    /// How many turns of its generation were compared.
    pub turns: u64,
}

/// The move of an instance to another module, whose guest has taken its turns again and stands
/// where `fence` says, but for the module.
///
/// # Errors
/// If the instance has ended; [`Refused::Stale`] if it has gone on or was moved since, or runs on
/// that module already.
pub fn move_to(
    instance: &Instance,
    fence: TurnFence,
    to: Move,
    now: Timestamp,
) -> Result<Record, Refused> {
    alive(instance)?;
    if TurnFence::of(instance) != fence || fence.module == to.to {
        return Err(Refused::Stale);
    }
    Ok(Record::Moved(Moved {
        at: now,
        from: fence.module,
        to: to.to,
        contract: to.contract,
        features: to.features,
        input_changes_allowed: to.input_changes_allowed,
        turns: to.turns,
    }))
}

/// An effectful attempt that was stopped because the host is closed.
///
/// # Errors
/// If the attempt is no longer open.
pub fn stop_attempt(
    instance: &Instance,
    fence: AttemptFence,
    begun: bool,
    at: Timestamp,
) -> Result<Record, Refused> {
    open_attempt(instance, fence)?;
    let AttemptFence { task, number, .. } = fence;
    Ok(Record::AttemptStopped(AttemptStopped {
        task,
        number,
        begun,
        at,
    }))
}

/// Whether anything that was read has changed after the snapshot, given who last changed what.
#[must_use]
pub fn unchanged(at: Position, changes: impl IntoIterator<Item = Position>) -> bool {
    changes.into_iter().all(|changed| changed <= at)
}

/// Each generation has a stream of random numbers of its own.
fn next_seed(seed: u64, generation: u32) -> u64 {
    let digest = Digest::of(&[&seed.to_le_bytes()[..], &generation.to_le_bytes()].concat());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

fn alive(instance: &Instance) -> Result<(), Refused> {
    if instance.status().has_ended() {
        Err(Refused::Ended)
    } else {
        Ok(())
    }
}

/// The task of an attempt that is the current one.
///
/// # Errors
/// If the attempt is not, or no longer, open.
pub fn open_attempt(instance: &Instance, fence: AttemptFence) -> Result<&crate::Task, Refused> {
    alive(instance)?;
    let started = instance.started();
    let task = instance.tasks().get(&fence.task).ok_or(Refused::Stale)?;
    match &task.state {
        TaskState::Activity { attempt, .. }
            if (started.run, started.generation, *attempt)
                == (fence.run, fence.generation, fence.number) =>
        {
            Ok(task)
        }
        TaskState::Activity { .. }
        | TaskState::Child { .. }
        | TaskState::Timer { .. }
        | TaskState::Event { .. }
        | TaskState::Raise { .. } => Err(Refused::Stale),
    }
}

fn retry_at(
    task: &crate::Task,
    fence: AttemptFence,
    failure: &Failure,
    now: Timestamp,
) -> Option<Timestamp> {
    let TaskState::Activity { options, .. } = &task.state else {
        return None;
    };
    let policy = options.retry.as_ref()?;
    let delay: DurationMs = policy.delay(fence.number, failure, &fence.idempotency_key())?;
    let at = now.after(delay);
    let in_time = options
        .total_timeout
        .is_none_or(|total| at < task.asked_at.after(total));
    in_time.then_some(at)
}

fn accepted(at: Timestamp, what: Happening) -> Record {
    requested(at, what, None)
}

fn requested(at: Timestamp, what: Happening, key: Option<String>) -> Record {
    Record::Accepted(Accepted { at, what, key })
}

/// A request key stands for one request.
fn asked_once(instance: &Instance, key: Option<&str>) -> Result<(), Refused> {
    match key.and_then(|key| instance.asked(key)) {
        Some(asked) => Err(Refused::Repeated(asked)),
        None => Ok(()),
    }
}
