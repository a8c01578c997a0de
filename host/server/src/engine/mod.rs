//! The scheduler: finds what is due in the instances that it drives, and has it done.
//!
//! All that is due follows from an instance's fold ([`wfhost_core::Instance`]): an unread input is
//! a turn, an open activity is an attempt, an open timer is a time to wake. So going on after a
//! restart needs no code of its own: [`Engine::drive`] looks at the fold, as every submission does.
//! Which instances need to be looked at at all, the store knows: see [`wake`].
//!
//! Workers are plain threads, since guests are plain calls; one of them takes no attempts, so that
//! slow ones stop nobody else. Effectful attempts, which may wait for the outside, hold no worker
//! while they do.

mod ask;
mod attempt;
mod bounds;
mod clock;
mod due;
mod follow;
mod gate;
mod moving;
mod others;
mod queue;
mod reserve;
mod resetting;
mod running;
mod slot;
mod telling;
mod timers;
mod turn;
mod wake;
mod warm;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use async_task::Runnable;
use tokio::sync::{Notify, mpsc, oneshot};
use wfhost_core::decide::{self, AttemptFence, Refused, TaskFence};
use wfhost_core::record::{Record, StallReason};
use wfhost_core::state::ReadSet;
use wfhost_core::{Digest, Instance, InstanceId, Position, Status, TaskId, Timestamp};
use wfhost_sandbox::{Module, Sandbox};
use wfhost_store::{Store, SubmitError, Submitted};

use crate::error::Error;
use crate::telemetry::Telemetry;
use ask::Answers;
use attempt::Inside;
pub use bounds::Bounds;
use bounds::Doorway;
pub use clock::Clock;
use due::Due;
use follow::left_children;
use gate::Gate;
pub(crate) use gate::Lost;
pub(crate) use moving::Candidate;
use queue::Queue;
use reserve::Reservations;
pub(crate) use resetting::Resetting;
pub(crate) use running::{Running, Setup};
use slot::{Slot, Waiter};
pub(crate) use telling::Load;
use timers::Timers;
use turn::Begun;
pub(crate) use turn::try_start;
use wake::Wake;
use warm::WarmSet;

/// One record that has become durable, for those who watch.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Whose history it is in.
    pub id: InstanceId,
    /// That of the submission which it was part of.
    pub position: Position,
    /// What happened.
    pub record: Arc<Record>,
}

/// Work for one instance.
enum Job {
    Begin(Box<Begun>),
    Turn(Arc<Slot>),
    /// With its ticket, if it had to wait for one.
    Attempt(Arc<Slot>, AttemptFence, Option<Inside>),
    /// An effectful attempt that can go on.
    Effect(Arc<Slot>, Runnable),
    Deadline(Arc<Slot>, TaskFence),
    Fire(Arc<Slot>, TaskId),
    Other(Arc<Slot>, TaskId),
    /// Its parent may have ended, or given it up.
    Parent(Arc<Slot>),
}

impl Job {
    /// Whether it may take as long as an attempt.
    fn is_long(&self) -> bool {
        matches!(self, Self::Attempt(..) | Self::Effect(..))
    }

    fn slot(&self) -> &Arc<Slot> {
        match self {
            Self::Begin(begun) => &begun.slot,
            Self::Turn(slot)
            | Self::Attempt(slot, ..)
            | Self::Effect(slot, _)
            | Self::Deadline(slot, _)
            | Self::Fire(slot, _)
            | Self::Other(slot, _)
            | Self::Parent(slot) => slot,
        }
    }
}

/// With so many jobs queued, who wants to start an instance, or to bring more of them to memory,
/// waits: those that are there come first, and nothing piles up.
const QUEUED_MAX: usize = 4_096;

/// See the module's documentation.
pub(crate) struct Engine {
    pub(crate) store: Arc<Store>,
    pub(crate) sandbox: Sandbox,
    pub(crate) clock: Clock,
    script: Option<Script>,
    modules: Modules,
    slots: Mutex<HashMap<InstanceId, Arc<Slot>>>,
    warm: WarmSet,
    wake: Wake,
    guests_warm_max: usize,
    /// How many threads share work that is done for nobody in particular.
    pub(crate) cores: usize,
    queue: Queue<Job>,
    /// Held by the one who waits for room in the queue.
    starting: tokio::sync::Mutex<()>,
    timers: Timers<Job>,
    gate: Arc<Gate>,
    reservations: Reservations,
    doorway: Doorway<(Arc<Slot>, AttemptFence)>,
    answers: Answers,
    /// Jobs that are queued or run, of all instances.
    busy: AtomicUsize,
    /// Told when there are none, or when the host has failed.
    quiet: Notify,

    observers: Observers,
    pub(crate) telemetry: Arc<Telemetry>,
    runtime: tokio::runtime::Handle,
    /// Effectful attempts under way.
    effects: Mutex<usize>,
    effects_done: Condvar,
    stopping: AtomicBool,
    lost: AtomicBool,
    /// Told when the host is lost.
    lost_told: Notify,
}

/// Modules that are compiled, or being compiled, in one sandbox.
pub(crate) type Modules = Arc<Mutex<HashMap<Digest, Arc<Mutex<Option<Module>>>>>>;

type Observers = Arc<RwLock<Vec<Observer>>>;

/// Somebody who watches.
enum Observer {
    /// All instances.
    All(mpsc::UnboundedSender<Observed>),
    /// One of them. Who falls behind so far is told no more.
    One(InstanceId, mpsc::Sender<Observed>),
}

/// So many records a watcher of one instance may be behind.
const BEHIND_MAX: usize = 10_000;

impl Observer {
    fn wants(&self, id: &InstanceId) -> bool {
        match self {
            Self::All(_) => true,
            Self::One(its, _) => its == id,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::All(told) => told.is_closed(),
            Self::One(_, told) => told.is_closed(),
        }
    }

    /// Whether it is still to be told.
    fn tell(&self, observed: Observed) -> bool {
        match self {
            Self::All(told) => told.send(observed).is_ok(),
            Self::One(_, told) => told.try_send(observed).is_ok(),
        }
    }
}

/// What an activity does in a test, instead of its code: the name, the input and the attempt's
/// number go in; `None` leaves it to the code.
pub type Script = Arc<
    dyn Fn(&ScriptedCall) -> Option<Result<wfhost_core::Json, wfhost_core::Failure>> + Send + Sync,
>;

/// An attempt that a script may run.
#[derive(Debug, Clone)]
pub struct ScriptedCall {
    /// The instance that calls.
    pub instance: InstanceId,
    /// Which activity.
    pub activity: wfhost_core::Name,
    /// With what.
    pub input: wfhost_core::Json,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// What the host asks of the engine.
impl Engine {
    /// Drives an instance from here on: does what is due now and what becomes due.
    pub(crate) fn drive(self: &Arc<Self>, id: &InstanceId) -> Result<(), Error> {
        let slot = self.slot(id);
        let driven = self.drive_slot(&slot);
        self.release(&slot);
        driven
    }

    fn drive_slot(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<(), Error> {
        // Before looking: what comes in after the look finds it driven.
        if slot.set_driven() {
            return Ok(());
        }
        let all_seen = self.wake.all_seen();
        let due = self.store.look(&slot.id, |instance| {
            let due = if all_seen {
                Due::in_time(instance)
            } else {
                Due::of(instance, instance.tasks().keys().copied())
            };
            (due, instance.status().has_ended())
        });
        let due = due.inspect_err(|_| slot.unset_driven())?;
        // Counts as work, so that no time is skipped before all of it is known.
        self.begin_job(slot);
        match due {
            Some((_, true)) => slot.end(),
            Some((due, false)) => self.pursue(slot, due),
            None => slot.unset_driven(),
        }
        let found = slot.is_driven();
        self.done(slot);
        if found {
            Ok(())
        } else {
            let id = slot.id.clone();
            Err(Error::NoSuchInstance { id })
        }
    }

    /// Drives an instance because somebody asks for it, who is taken to have mended what can only
    /// be mended outside, and the children that it has left.
    pub(crate) fn resume(self: &Arc<Self>, id: &InstanceId) -> Result<(), Error> {
        let died = |reason: &StallReason| matches!(reason, StallReason::HostDeaths { .. });
        let stalled = self.store.look(id, |instance| {
            let stalled = instance.stalled_tasks().iter();
            stalled
                .filter(|(_, reason)| died(reason))
                .map(|(task, _)| *task)
                .collect::<Vec<_>>()
        })?;
        for task in stalled.unwrap_or_default() {
            self.note(
                self.tell_instance(id, |it| decide::unstall(it, task, self.now()))
                    .map(drop),
            );
        }
        // What it left behind comes first, as it would have before the host stopped.
        self.look_at_parent(id);
        self.resume_children(id)?;
        self.drive(id)?;
        if self.wake.all_seen() {
            // It may have been driven all the time.
            self.retry(&self.slot(id))?;
        }
        Ok(())
    }

    /// The end of an instance, or its stall once nothing of it is being done. Resolves when all
    /// that led to it is durable.
    pub(crate) fn settled(
        self: &Arc<Self>,
        id: &InstanceId,
    ) -> Result<oneshot::Receiver<Result<(), Lost>>, Error> {
        let (tell, told) = oneshot::channel();
        self.wait_for(id, Waiter::Settled(tell))?;
        Ok(told)
    }

    /// Has somebody told how an instance settles.
    fn wait_for(self: &Arc<Self>, id: &InstanceId, waiter: Waiter) -> Result<(), Error> {
        let slot = self.slot(id);
        slot.wait(waiter);
        // After the waiter is known: whoever loses it from here on finds it.
        if self.lost.load(Ordering::Acquire) {
            slot.take_waiters()
                .into_iter()
                .for_each(|waiter| waiter.tell(Err(Lost)));
            return Ok(());
        }
        self.settle(&slot)
    }

    /// Records as they become durable, of every instance that moves from now on.
    pub(crate) fn observe(&self) -> mpsc::UnboundedReceiver<Observed> {
        let (send, receive) = mpsc::unbounded_channel();
        self.add_observer(Observer::All(send));
        receive
    }

    /// The same of one instance. It ends if nobody takes them while many come.
    pub(crate) fn observe_one(&self, id: &InstanceId) -> mpsc::Receiver<Observed> {
        let (send, receive) = mpsc::channel(BEHIND_MAX);
        self.add_observer(Observer::One(id.clone(), send));
        receive
    }

    fn add_observer(&self, observer: Observer) {
        let mut observers = self
            .observers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        observers.retain(|observer| !observer.is_closed());
        observers.push(observer);
    }

    /// Submits one record that comes from outside.
    pub(crate) fn tell_instance(
        self: &Arc<Self>,
        id: &InstanceId,
        decide: impl FnOnce(&Instance) -> Result<Record, Refused>,
    ) -> Result<Position, SubmitError> {
        self.tell_all(id, |instance| Ok(vec![decide(instance)?]))
    }

    /// Submits records that come from outside, all or none.
    pub(crate) fn tell_all(
        self: &Arc<Self>,
        id: &InstanceId,
        decide: impl FnOnce(&Instance) -> Result<Vec<Record>, Refused>,
    ) -> Result<Position, SubmitError> {
        let slot = self.slot(id);
        // Counts as work, so that those who wait are told if this was the end.
        self.begin_job(&slot);
        let position = self.submit(&slot, &ReadSet::default(), decide);
        self.done(&slot);
        position
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The promise that a position is, or will be, durable.
    pub(crate) fn durable(&self, position: Position) -> oneshot::Receiver<Result<(), Lost>> {
        let (tell, told) = oneshot::channel();
        self.gate.when_durable(position, move |result| {
            // Nobody may wait any more.
            let _ = tell.send(result);
        });
        self.store.demand(position);
        told
    }

    /// A module, compiled when first asked for.
    pub(crate) fn module(&self, digest: Digest) -> Result<Module, String> {
        let entry = Arc::clone(lock(&self.modules).entry(digest).or_default());
        // Held while it compiles, so that it compiles once; others go on with other modules.
        let mut module = lock(&entry);
        if let Some(module) = module.as_ref() {
            return Ok(module.clone());
        }
        let missing = || format!("the data file does not hold the module {digest}");
        let info = self
            .store
            .module(digest)
            .map_err(|error| error.to_string())?;
        let info = info.ok_or_else(missing)?;
        let bytes = self
            .store
            .component(info.component)
            .map_err(|error| error.to_string())?;
        let loaded = self.sandbox.load(digest, &bytes.ok_or_else(missing)?);
        let loaded = loaded.map_err(|error| crate::error::chain(&error))?;
        Ok(module.insert(loaded).clone())
    }

    /// Tries again what waited for a module.
    pub(crate) fn retry_stalled(self: &Arc<Self>) -> Result<(), Error> {
        for slot in self.stalled()? {
            self.retry(&slot)?;
        }
        Ok(())
    }

    /// Tries again what is stalled of one instance, if it is driven.
    fn retry(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<(), Error> {
        // Counts as work, so that it is not parked between.
        self.begin_job(slot);
        let retried = self.retry_driven(slot);
        self.done(slot);
        match retried {
            // Purged just now.
            Err(Error::NoSuchInstance { .. }) => Ok(()),
            other => other,
        }
    }

    fn retry_driven(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<(), Error> {
        if self.wake.drives_all() {
            self.drive_slot(slot)?;
        }
        if !slot.is_driven() {
            return Ok(());
        }
        let due = self.store.look(&slot.id, |instance| {
            Due::of(instance, instance.stalled_tasks().keys().copied())
        })?;
        if let Some(due) = due {
            self.pursue(slot, due);
        }
        Ok(())
    }
}

/// How work goes on.
impl Engine {
    /// What becomes durable leaves; what is submitted is shown once it is durable, in its order.
    fn listen(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        self.store.on_durable(Box::new(move |durable| {
            if let Some(engine) = engine.upgrade() {
                match durable {
                    Ok(position) => engine.gate.open(position),
                    Err(_) => engine.lose(),
                }
            }
        }));
        let (gate, observers) = (Arc::clone(&self.gate), Arc::clone(&self.observers));
        self.store
            .on_submit(move |id, submitted| tell(&gate, &observers, id, submitted));
        let telemetry = Arc::clone(&self.telemetry);
        self.store
            .on_commit(move |commit| telemetry.metrics.committed(commit));
    }

    /// Submits what `decide` says and does what follows from it.
    fn submit(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        reads: &ReadSet,
        decide: impl FnOnce(&Instance) -> Result<Vec<Record>, Refused>,
    ) -> Result<Position, SubmitError> {
        let (mut children, mut generation) = (Vec::new(), 0);
        let decide = |instance: &Instance| {
            let records = decide(instance)?;
            children = left_children(instance, &records);
            generation = instance.started().generation;
            Ok(records)
        };
        let submitted = self
            .store
            .submit_and_look(&slot.id, reads, decide, |instance, records| {
                let due = Due::after(instance, records);
                (due, self.turning_point(instance, records))
            });
        let (submitted, (due, turning_point)) = submitted?;
        if let Some(turning_point) = turning_point {
            self.tell_turning_point(turning_point, submitted.position);
        }
        self.follow(slot, generation, &submitted.records, Some(due));
        for child in &children {
            self.look_at_parent(child);
        }
        Ok(submitted.position)
    }

    fn work(self: &Arc<Self>, job: Job) {
        let slot = Arc::clone(job.slot());
        match job {
            Job::Begin(begun) => self.begin(*begun),
            Job::Turn(slot) => self.turns(&slot),
            Job::Attempt(slot, fence, inside) => self.attempt(&slot, fence, inside),
            Job::Effect(_, effect) => drop(effect.run()),
            Job::Deadline(slot, fence) => self.deadline(&slot, fence),
            Job::Fire(slot, task) => self.fire(&slot, task),
            Job::Other(slot, task) => self.other(&slot, task),
            Job::Parent(slot) => self.parent_of(&slot),
        }
        self.end_job(&slot);
        // Before all is quiet: nobody finds it held by one who has nothing to do with it any more.
        drop(slot);
        self.end_work();
    }

    /// Runs something that should not panic. If it does, that is a bug of the host, which has been
    /// printed: nobody must wait for what was going to be done.
    fn guarded(&self, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            self.lose();
        }
    }

    fn push(&self, job: Job) {
        self.begin_job(job.slot());
        self.enqueue(job);
    }

    /// Queues a job that counts already.
    fn enqueue(&self, job: Job) {
        let long = job.is_long();
        self.give_up(self.queue.push(job, long));
    }

    /// Lets other workers do what this one would do next: it has something before that.
    fn share_next(&self) {
        self.give_up(self.queue.share(Job::is_long));
    }

    /// A job that a closed queue has given back is not done, but an attempt that has reached the
    /// outside is let come to its end.
    fn give_up(&self, queued: Result<(), Job>) {
        let Err(job) = queued else { return };
        job.slot().end_job();
        self.end_work();
        if let Job::Effect(_, effect) = job {
            self.runtime.spawn_blocking(|| effect.run());
        }
    }

    /// No worker takes anything any more.
    fn close_queue(&self) {
        for job in self.queue.close() {
            self.give_up(Err(job));
        }
    }

    fn begin_job(&self, slot: &Slot) {
        self.begin_work();
        slot.begin_job();
    }

    /// Something is being done, so that it is not quiet and no time is skipped.
    fn begin_work(&self) {
        self.busy.fetch_add(1, Ordering::SeqCst);
    }

    fn end_work(&self) {
        if self.busy.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.quiet.notify_waiters();
            if self.clock.skips() {
                self.timers.look_again();
            }
        }
    }

    /// Whether nothing is left to do before something comes from outside or its time comes; where
    /// time is skipped, before something comes from outside.
    fn is_quiet(&self) -> bool {
        let idle = || self.busy.load(Ordering::SeqCst) == 0;
        self.timers.are_quiet(&self.clock, idle)
    }

    /// Waits until there is room for another start, in the order of those who ask.
    pub(crate) async fn room(&self) {
        let _first = self.starting.lock().await;
        self.queue.room(QUEUED_MAX).await;
    }

    /// How many jobs wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        self.queue.waiting()
    }

    /// Waits until the host has failed: nothing goes on from then on.
    pub(crate) async fn lost(&self) {
        let mut told = std::pin::pin!(self.lost_told.notified());
        // From here on it hears; before, it looks.
        told.as_mut().enable();
        if !self.lost.load(Ordering::SeqCst) {
            told.await;
        }
    }

    /// Waits until nothing is left to do.
    pub(crate) async fn quiet(&self) -> Result<(), Lost> {
        loop {
            let mut told = std::pin::pin!(self.quiet.notified());
            // From here on it hears; before, it looks.
            told.as_mut().enable();
            // In this order: the job in which the host failed ends after that is known.
            let quiet = self.is_quiet();
            if self.lost.load(Ordering::SeqCst) {
                return Err(Lost);
            }
            if quiet {
                return Ok(());
            }
            told.await;
        }
    }

    /// When the next timer is due, if there is one.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        let times = [self.timers.next_at(), self.next_parked()];
        times.into_iter().flatten().min()
    }

    /// From here on time is skipped, or passes again as it does.
    pub(crate) fn set_skips(&self, skips: bool) {
        // Time is not skipped before those are in memory that wait for it.
        self.begin_work();
        self.clock.set_skips(skips);
        self.ask_to_wake();
        self.end_work();
        self.timers.look_again();
    }

    /// Puts the clock forward.
    pub(crate) fn advance(&self, by: std::time::Duration) {
        self.clock.advance(by);
        self.ask_to_wake();
        self.timers.look_again();
    }

    fn done(self: &Arc<Self>, slot: &Arc<Slot>) {
        self.end_job(slot);
        self.end_work();
    }

    /// A job of an instance has ended, and counts as work until all is done that this means.
    fn end_job(self: &Arc<Self>, slot: &Arc<Slot>) {
        if slot.end_job() {
            // A store that failed has told every waiter.
            let _ = self.settle(slot);
        }
    }

    /// Tells those who wait, if the instance has ended or is stuck.
    fn settle(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<(), Error> {
        if slot.is_busy() && !slot.has_ended() {
            return Ok(());
        }
        if slot.is_awaited() {
            let status = self.store.look(&slot.id, Instance::status)?;
            // One that is not there any more was purged.
            let rests = status.is_none_or(|status| {
                status.has_ended() || [Status::Stalled, Status::Suspended].contains(&status)
            });
            if rests || slot.has_ended() {
                let position = self.store.submitted();
                for waiter in slot.take_waiters() {
                    self.gate
                        .when_durable(position, move |result| waiter.tell(result));
                }
                self.store.demand(position);
            }
        }
        self.release(slot);
        Ok(())
    }

    fn stall(self: &Arc<Self>, slot: &Arc<Slot>, task: Option<TaskId>, reason: StallReason) {
        let stalled = self.submit(slot, &ReadSet::default(), |instance| {
            Ok(vec![decide::stall(instance, task, reason, self.now())?])
        });
        self.note(stalled.map(drop));
    }

    /// A refusal means that somebody else was faster, which is no news. A store that failed has
    /// told those who wait; nothing more can be done here.
    fn note(&self, result: Result<(), SubmitError>) {
        match result {
            Err(SubmitError::Store(_) | SubmitError::Impossible(_)) => self.lose(),
            Ok(())
            | Err(
                SubmitError::Refused(_)
                | SubmitError::NoSuchInstance(_)
                | SubmitError::ModuleMissing { .. }
                | SubmitError::InUse { .. },
            ) => {}
        }
    }

    /// The data file or this program has failed: nothing goes on, and all who wait are told.
    pub(crate) fn lose(&self) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            tracing::error!(
                target: "wfhost::host",
                file = %self.store.path().display(),
                "the data file or this program has failed: nothing goes on"
            );
        }
        self.close_queue();
        self.gate.lose();
        self.answers.lose();
        self.quiet.notify_waiters();
        self.lost_told.notify_waiters();

        let slots: Vec<_> = self.slots().values().cloned().collect();
        for waiter in slots.iter().flat_map(|slot| slot.take_waiters()) {
            waiter.tell(Err(Lost));
        }
    }

    /// Whether the host is being closed: nothing that reaches the outside begins any more.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn slot(&self, id: &InstanceId) -> Arc<Slot> {
        let mut slots = self.slots();
        Arc::clone(
            slots
                .entry(id.clone())
                .or_insert_with(|| Arc::new(Slot::new(id.clone()))),
        )
    }

    /// From here on this slot is the one of its id: what is left of one whose instance has ended is
    /// not its concern.
    fn install(&self, slot: &Arc<Slot>) {
        self.slots().insert(slot.id.clone(), Arc::clone(slot));
    }

    /// Forgets a slot that nobody has to do with: its instance has ended, or is not driven, or is
    /// parked.
    fn release(&self, slot: &Arc<Slot>) {
        let needed = || slot.is_driven() && !slot.has_ended();
        if needed() && !self.may_be_parked(slot) {
            return;
        }
        let mut slots = self.slots();
        let ours = slots.get(&slot.id).is_some_and(|it| Arc::ptr_eq(it, slot));
        if !ours || slot.is_awaited() {
            return;
        }
        // Taken from the map under its lock only, so that nobody can hold one that is not in it.
        let free = if needed() {
            self.may_be_parked(slot) && self.park(slot)
        } else {
            let held_elsewhere = Arc::strong_count(slot) > 2;
            if held_elsewhere {
                self.release_later(slot);
            }
            !held_elsewhere
        };
        let gone = free.then(|| slots.remove(&slot.id));
        // What it holds goes without the lock.
        drop(slots);
        drop(gone);
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<InstanceId, Arc<Slot>>> {
        lock(&self.slots)
    }
}

/// Registers what was submitted to be shown once it is durable. Called in the order of positions.
fn tell(gate: &Gate, observers: &Observers, id: &InstanceId, submitted: &Submitted) {
    let watched = observers.read().unwrap_or_else(PoisonError::into_inner);
    if !watched.iter().any(|observer| observer.wants(id)) {
        return;
    }
    drop(watched);
    let (id, records, position) = (id.clone(), submitted.records.clone(), submitted.position);
    let observers = Arc::clone(observers);
    gate.when_durable(position, move |result| {
        if result.is_err() {
            return;
        }
        let mut observers = observers.write().unwrap_or_else(PoisonError::into_inner);
        observers.retain(|observer| {
            let mut told = records.iter().map(|record| {
                observer.tell(Observed {
                    id: id.clone(),
                    position,
                    record: Arc::clone(record),
                })
            });
            !observer.wants(&id) || told.all(|told| told)
        });
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
