//! Attempts of activities.
//!
//! A contained attempt runs at once, on the worker: it touches nothing but the state, so its result
//! and its writes are one submission, and a conflict just runs it again. An effectful one is first
//! recorded as started, waits until that and all that it may read is durable, and is then a future
//! that the workers poll: one that waits for the outside holds no thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use std::time::Duration;

use async_task::Runnable;
use wfhost_core::decide::{self, AttemptEnd, AttemptFence, Refused};
use wfhost_core::record::StallReason;
use wfhost_core::state::{ReadSet, Session, Snapshot};
use wfhost_core::{
    Digest, DurationMs, Failure, Instance, InstanceId, Json, Name, Role, TaskState, Timestamp, kind,
};
use wfhost_sandbox::{AttemptCall, AttemptEnd as Came, Module};
use wfhost_store::{Held, SubmitError};

use super::reserve::{CONFLICTS_MAX, Claim};
use super::slot::{Slot, UnderWay};
use super::telling::Measured;
use super::{Engine, Job, ScriptedCall};
use crate::telemetry::{About, AttemptOutcome, attempt_span};

/// After so many deaths of the host in one attempt it is not started again.
const DEATHS_MAX: u32 = 3;

/// An open attempt, as the instance says.
struct Open {
    about: About,
    name: Name,
    input: Json,
    at_most_once: bool,
    /// How often it was started before, and how often the host died in it.
    starts: u32,
    deaths: u32,
    attempt_timeout: Option<DurationMs>,
    /// When all attempts together have taken too long.
    total: Option<Timestamp>,
}

/// An attempt that was let in. Once this is dropped, the next who waits may try.
pub(super) struct Inside {
    engine: Arc<Engine>,
    id: InstanceId,
    name: Name,
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Those who wait for a host that stops, or has failed, wait for its next start.
        if self.engine.stopping() || self.engine.lost.load(Ordering::Acquire) {
            return;
        }
        for (id, name, (slot, fence)) in self.engine.doorway.leave(&self.id, &self.name) {
            let inside = self.engine.inside(&id, &name);
            self.engine.enqueue(Job::Attempt(slot, fence, Some(inside)));
        }
    }
}

/// What came of running an attempt's code.
enum Ran {
    /// It is to be submitted.
    Ended(Box<AttemptEnd>, ReadSet),
    /// What it read has changed.
    Conflict(Claim),
    /// It was told to stop, and did: its task is closed, or the host is.
    Stopped,
    /// The store failed.
    Dropped,
}

impl Engine {
    /// Runs an attempt, if it is still to run; `inside` if it has waited for that and was let in.
    pub(super) fn attempt(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        fence: AttemptFence,
        inside: Option<Inside>,
    ) {
        let Some(under_way) = slot.begin_attempt(fence) else {
            return;
        };
        // After it is known: whoever stops the host finds it, or it finds that.
        if self.stopping() {
            return;
        }
        let open = match self.store.look(&slot.id, |it| Open::of(it, fence)) {
            Ok(Some(Some(open))) => open,
            // Cancelled, or ended, since it was queued.
            Ok(_) => return,
            Err(error) => return self.note(Err(SubmitError::Store(error))),
        };
        let Some(inside) = inside.or_else(|| self.enter(slot, &open.name, fence)) else {
            return;
        };
        if let Some(outcome) = self.scripted(slot, fence, &open) {
            return self.end_scripted(slot, &open.measured(), fence, outcome);
        }
        // It stays in the data file while this attempt runs.
        let held = match self.store.hold_bound(Role::Activity, &open.name, &slot.id) {
            Ok(Some(held)) => held,
            Ok(None) => return self.missing(slot, under_way, open.name),
            Err(error) => return self.note(Err(SubmitError::Store(error))),
        };
        match self.module(held.module()) {
            Err(message) => {
                let reason = StallReason::ModuleUnusable { message };
                self.stall(slot, Some(fence.task), reason);
            }
            Ok(module) if module.contained() => self.contained(slot, &under_way, &open, &module),
            Ok(module) => self.effectful(slot, under_way, (inside, held), open, module),
        }
    }

    /// Lets an attempt in; one that has to wait comes back as a job that was let in.
    fn enter(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        name: &Name,
        fence: AttemptFence,
    ) -> Option<Inside> {
        let waits = || {
            // Waiting counts as work: it is going to be done.
            self.begin_job(slot);
            (Arc::clone(slot), fence)
        };
        let let_in = self.doorway.enter(&slot.id, name, waits);
        let_in.then(|| self.inside(&slot.id, name))
    }

    fn inside(self: &Arc<Self>, id: &InstanceId, name: &Name) -> Inside {
        Inside {
            engine: Arc::clone(self),
            id: id.clone(),
            name: name.clone(),
        }
    }

    /// Takes attempts out of the line that nobody waits for any more.
    pub(super) fn leave_line(self: &Arc<Self>, slot: &Slot, which: impl Fn(&AttemptFence) -> bool) {
        for (slot, _) in self.doorway.forget(&slot.id, |(_, fence)| which(fence)) {
            self.done(&slot);
        }
    }

    /// A deployment may bring the activity just now: it retries what is stalled already, and what is
    /// not yet looks again here.
    fn missing(self: &Arc<Self>, slot: &Arc<Slot>, under_way: UnderWay, activity: Name) {
        let fence = under_way.fence;
        drop(under_way);
        let reason = StallReason::ActivityMissing {
            activity: activity.clone(),
        };
        self.stall(slot, Some(fence.task), reason);
        if let Ok(Some(_)) = self.store.binding(Role::Activity, &activity) {
            self.push(Job::Attempt(Arc::clone(slot), fence, None));
        }
    }

    fn contained(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        under_way: &UnderWay,
        open: &Open,
        module: &Module,
    ) {
        let measured = open.measured();
        let mut reservation = None;
        for conflicts in 1.. {
            let claim = match self.run(slot, under_way, open, module) {
                Ran::Dropped | Ran::Stopped => return,
                Ran::Conflict(claim) => claim,
                Ran::Ended(end, reads) => {
                    let claim = Claim::new(&reads, &end.writes);
                    let may_write = self
                        .reservations
                        .may_write(&end.writes, reservation.as_ref());
                    let submitted = if may_write {
                        self.submit_end(slot, &measured, under_way.fence, *end, &reads)
                    } else {
                        Err(SubmitError::Refused(Refused::Conflict))
                    };
                    match submitted {
                        Err(SubmitError::Refused(Refused::Conflict)) => claim,
                        other => return self.note(other),
                    }
                }
            };
            // Given back first: nobody holds two.
            drop(reservation.take());
            if conflicts >= CONFLICTS_MAX {
                reservation = Some(self.reservations.reserve(claim));
            }
        }
    }

    fn effectful(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        under_way: UnderWay,
        kept: (Inside, Held),
        open: Open,
        module: Module,
    ) {
        let fence = under_way.fence;
        if open.deaths >= DEATHS_MAX {
            let reason = StallReason::HostDeaths {
                activity: open.name,
                task: fence.task,
            };
            return self.stall(slot, Some(fence.task), reason);
        }
        if open.starts > 0 && open.at_most_once {
            let failure = Failure::last(
                kind::INTERRUPTED,
                "the host died while it ran, and it may run at most once",
            );
            let end = self.attempt_end(&module, self.now(), Err(failure));
            let measured = open.measured();
            return self.end_effectful(slot, &measured, fence, end, &ReadSet::default());
        }
        let submitted = self.submit(slot, &ReadSet::default(), |instance| {
            decide::start_attempt(instance, fence, module.digest(), self.now())
                .map(|record| vec![record])
        });
        if let Err(error) = submitted {
            return self.note(Err(error));
        }
        // Taken now, so that one wait is enough for the start and for all that may be read.
        let snapshot = self.store.snapshot_when_read(self.now());
        let position = snapshot.position();
        let effect = Effect {
            busy: Busy::new(self, slot),
            under_way,
            _kept: kept,
            open,
            module,
            snapshot,
        };
        let (engine, slot) = (Arc::clone(self), Arc::clone(slot));
        self.gate.when_durable(position, move |durable| {
            // One that the store lost is found again when it is opened.
            if durable == Ok(()) {
                engine.poll_when_woken(slot, effect.run()).schedule();
            }
        });
        self.store.demand(position);
    }

    /// A future as jobs: one now, and one each time that it is woken.
    fn poll_when_woken(
        self: &Arc<Self>,
        slot: Arc<Slot>,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Runnable {
        let engine = Arc::clone(self);
        let schedule = move |runnable| engine.push(Job::Effect(Arc::clone(&slot), runnable));
        let (runnable, task) = async_task::spawn(future, schedule);
        task.detach();
        runnable
    }

    /// Counts an attempt that reaches the outside; not any more once the host is being closed.
    fn begin_effect(self: &Arc<Self>) -> Option<Counted> {
        let mut effects = super::lock(&self.effects);
        if self.stopping() {
            return None;
        }
        *effects += 1;
        Some(Counted(Arc::clone(self)))
    }

    /// The host was closed, which is no death in the attempt. If its task is closed, it is refused:
    /// false.
    fn stopped(self: &Arc<Self>, slot: &Arc<Slot>, fence: AttemptFence, begun: bool) -> bool {
        let stopped = self.submit(slot, &ReadSet::default(), |instance| {
            Ok(vec![decide::stop_attempt(
                instance,
                fence,
                begun,
                self.now(),
            )?])
        });
        let counts = stopped.is_ok();
        self.note(stopped.map(drop));
        counts
    }

    /// The end of an attempt, which is told once it is durable.
    fn submit_end(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        measured: &Measured,
        fence: AttemptFence,
        end: AttemptEnd,
        reads: &ReadSet,
    ) -> Result<(), SubmitError> {
        let done = self.attempt_done(measured, fence, &end);
        let position = self.submit(slot, reads, |instance| {
            decide::end_attempt(instance, fence, end).map(|record| vec![record])
        })?;
        self.tell_attempt(measured, done, position);
        Ok(())
    }

    /// An effectful attempt is never run again silently: a conflict is its failure.
    fn end_effectful(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        measured: &Measured,
        fence: AttemptFence,
        end: AttemptEnd,
        reads: &ReadSet,
    ) {
        self.reservations.may_write(&end.writes, None);
        let lost = AttemptEnd {
            outcome: Err(conflict()),
            writes: Vec::new(),
            ..end.clone()
        };
        let submit =
            |end: AttemptEnd, reads: &ReadSet| self.submit_end(slot, measured, fence, end, reads);
        let submitted = match submit(end, reads) {
            Err(SubmitError::Refused(Refused::Conflict)) => submit(lost, &ReadSet::default()),
            other => other,
        };
        self.note(submitted);
    }

    /// What the script of a test says to this attempt, if it has a word.
    fn scripted(
        &self,
        slot: &Slot,
        fence: AttemptFence,
        open: &Open,
    ) -> Option<Result<Json, Failure>> {
        let script = self.script.as_ref()?;
        script(&ScriptedCall {
            instance: slot.id.clone(),
            activity: open.name.clone(),
            input: open.input.clone(),
            attempt: fence.number,
        })
    }

    fn end_scripted(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        measured: &Measured,
        fence: AttemptFence,
        outcome: Result<Json, Failure>,
    ) {
        let end = AttemptEnd {
            module: Digest::of(b"script"),
            contained: true,
            started_at: self.now(),
            ended_at: self.now(),
            outcome,
            log: Vec::new(),
            writes: Vec::new(),
        };
        self.note(self.submit_end(slot, measured, fence, end, &ReadSet::default()));
    }

    fn attempt_end(
        &self,
        module: &Module,
        started_at: Timestamp,
        outcome: Result<Json, Failure>,
    ) -> AttemptEnd {
        AttemptEnd {
            module: module.digest(),
            contained: module.contained(),
            started_at,
            ended_at: self.now(),
            outcome,
            log: Vec::new(),
            writes: Vec::new(),
        }
    }

    fn run(&self, slot: &Slot, under_way: &UnderWay, open: &Open, module: &Module) -> Ran {
        let started_at = self.now();
        let snapshot = self.store.snapshot_when_read(started_at);
        match self.call(slot, under_way, open, module, (started_at, snapshot)) {
            Ok(call) => self.came(module, started_at, module.attempt(call)),
            Err(over) => over,
        }
    }

    /// What an attempt is told, unless it need not run any more.
    fn call(
        &self,
        slot: &Slot,
        under_way: &UnderWay,
        open: &Open,
        module: &Module,
        (started_at, snapshot): (Timestamp, Box<dyn Snapshot>),
    ) -> Result<AttemptCall, Ran> {
        let UnderWay { fence, stop, .. } = under_way;
        if stop.is_set() {
            return Err(Ran::Stopped);
        }
        let deadline = open.deadline(started_at);
        if deadline.is_some_and(|deadline| deadline <= started_at) {
            let failure =
                Failure::retryable(kind::TIMEOUT, "its time was over before it could start");
            let end = self.attempt_end(module, started_at, Err(failure));
            return Err(Ran::Ended(Box::new(end), ReadSet::default()));
        }
        // A contained one has nobody to tell.
        let traced = (!module.contained()).then(|| attempt_span(*fence));
        let trace = traced.and_then(|span| {
            let trace = open.about.trace.as_ref();
            self.telemetry.below(fence.run, trace, span)
        });
        Ok(AttemptCall {
            trace,
            name: open.name.clone(),
            input: open.input.clone(),
            instance: slot.id.to_string(),
            attempt: fence.number,
            idempotency_key: fence.idempotency_key(),
            started_at,
            deadline,
            time_max: deadline.map_or(Duration::MAX, |at| {
                Duration::from_millis(at.since(started_at))
            }),
            stop: stop.clone(),
            session: Session::new(snapshot, started_at),
        })
    }

    /// What is to be done with what came of an attempt.
    fn came(&self, module: &Module, started_at: Timestamp, ran: Came) -> Ran {
        if ran.state_failed.is_some() {
            self.lose();
            return Ran::Dropped;
        }
        // One that came to its end although it was told to stop is submitted all the same: what
        // it did is done, and if nobody waits for it that is refused.
        if ran.stopped {
            return Ran::Stopped;
        }
        if ran.state_changed {
            return Ran::Conflict(Claim::of(&ran.state));
        }
        let end = AttemptEnd {
            log: ran.log,
            writes: ran.state.writes,
            ..self.attempt_end(module, started_at, ran.outcome)
        };
        Ran::Ended(Box::new(end), ran.state.reads)
    }
}

/// An attempt that is durably started and reaches the outside. All that it holds it gives back
/// when it is dropped, wherever it was.
struct Effect {
    under_way: UnderWay,
    /// It was let in, and its module stays.
    _kept: (Inside, Held),
    open: Open,
    module: Module,
    snapshot: Box<dyn Snapshot>,
    /// Goes last: then nothing of it is left.
    busy: Busy,
}

impl Effect {
    /// Runs the attempt to its end, and submits it.
    async fn run(self) {
        let (engine, slot) = (&self.busy.engine, &self.busy.slot);
        let (fence, module) = (self.under_way.fence, &self.module);
        let Some(_counted) = engine.begin_effect() else {
            engine.stopped(slot, fence, false);
            return;
        };
        let measured = self.open.measured();
        let started_at = engine.now();
        let seen = (started_at, self.snapshot);
        let ran = match engine.call(slot, &self.under_way, &self.open, module, seen) {
            Ok(call) => engine.came(module, started_at, module.attempt_async(call).await),
            Err(over) => over,
        };
        match ran {
            Ran::Dropped => {}
            Ran::Stopped => {
                if engine.stopped(slot, fence, true) {
                    engine.count_attempt(&measured, AttemptOutcome::Stopped);
                }
            }
            Ran::Ended(end, reads) => engine.end_effectful(slot, &measured, fence, *end, &reads),
            Ran::Conflict(_) => {
                let end = engine.attempt_end(module, started_at, Err(conflict()));
                engine.end_effectful(slot, &measured, fence, end, &ReadSet::default());
            }
        }
    }
}

/// An instance is busy as long as there is this.
struct Busy {
    engine: Arc<Engine>,
    slot: Arc<Slot>,
}

impl Busy {
    fn new(engine: &Arc<Engine>, slot: &Arc<Slot>) -> Self {
        engine.begin_job(slot);
        Self {
            engine: Arc::clone(engine),
            slot: Arc::clone(slot),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.engine.done(&self.slot);
    }
}

/// One of the attempts that closing the host waits for.
struct Counted(Arc<Engine>);

impl Drop for Counted {
    fn drop(&mut self) {
        *super::lock(&self.0.effects) -= 1;
        self.0.effects_done.notify_all();
    }
}

impl Open {
    /// It begins to run.
    fn measured(&self) -> Measured {
        Measured::begin(self.name.clone(), self.about.clone())
    }

    /// When an attempt that starts to run then must be stopped.
    fn deadline(&self, started_at: Timestamp) -> Option<Timestamp> {
        let attempt = self
            .attempt_timeout
            .map(|timeout| started_at.after(timeout));
        attempt.into_iter().chain(self.total).min()
    }

    fn of(instance: &Instance, fence: AttemptFence) -> Option<Self> {
        decide::open_attempt(instance, fence).ok()?;
        let task = instance.tasks().get(&fence.task)?;
        match &task.state {
            TaskState::Activity {
                name,
                input,
                options,
                starts,
                stops,
                ..
            } => Some(Self {
                about: About::of(instance),
                name: name.clone(),
                input: input.clone(),
                at_most_once: options.at_most_once,
                starts: *starts,
                deaths: starts.saturating_sub(*stops),
                attempt_timeout: options.attempt_timeout,
                total: decide::total_deadline(task),
            }),
            _ => None,
        }
    }
}

fn conflict() -> Failure {
    Failure::retryable(
        kind::STATE_CONFLICT,
        "what it had read of the state was changed meanwhile",
    )
}
