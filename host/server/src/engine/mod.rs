//! The scheduler: finds what is due in the instances that it drives, and has it done.
//!
//! All that is due follows from an instance's fold ([`wfhost_core::Instance`]): an unread input is
//! a turn, an open activity is an attempt, an open timer is a time to wake. So going on after a
//! restart needs no code of its own: [`Engine::drive`] looks at the fold, as every submission does.
//!
//! Workers are plain threads, since guests are plain calls. Only effectful attempts, which may wait
//! for the outside, run on threads of their own.

mod attempt;
mod gate;
mod others;
mod queue;
mod reserve;
mod slot;
mod timers;
mod turn;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};
use wfhost_core::decide::{self, AttemptFence, Refused};
use wfhost_core::record::{Command, Record, StallReason, Step};
use wfhost_core::state::ReadSet;
use wfhost_core::{
    Digest, Instance, InstanceId, Position, Status, Task, TaskId, TaskState, Timestamp,
};
use wfhost_sandbox::{Module, Sandbox};
use wfhost_store::{Store, SubmitError};

use crate::error::Error;
use gate::{Gate, Lost};
use queue::Queue;
use reserve::Reservations;
use slot::Slot;
use timers::Timers;
use turn::Begun;
pub(crate) use turn::{Replay, Stray};

/// One record that has become durable, for those who watch.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Whose history it is in.
    pub id: InstanceId,
    /// What happened.
    pub record: Arc<Record>,
}

/// Work for one instance.
enum Job {
    Begin(Box<Begun>),
    Turn(Arc<Slot>),
    Attempt(Arc<Slot>, AttemptFence),
    Fire(Arc<Slot>, TaskId),
    Other(Arc<Slot>, TaskId),
}

impl Job {
    fn slot(&self) -> &Arc<Slot> {
        match self {
            Self::Begin(begun) => &begun.slot,
            Self::Turn(slot)
            | Self::Attempt(slot, _)
            | Self::Fire(slot, _)
            | Self::Other(slot, _) => slot,
        }
    }
}

/// See the module's documentation.
pub(crate) struct Engine {
    pub(crate) store: Arc<Store>,
    pub(crate) sandbox: Sandbox,
    modules: Mutex<HashMap<Digest, Arc<Mutex<Option<Module>>>>>,
    slots: Mutex<HashMap<InstanceId, Arc<Slot>>>,
    queue: Queue<Job>,
    timers: Timers<Job>,
    gate: Gate,
    reservations: Reservations,
    observers: RwLock<Vec<mpsc::UnboundedSender<Observed>>>,
    runtime: tokio::runtime::Handle,
    guests_warm_max: usize,
    stopping: AtomicBool,
}

/// The engine with its threads.
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
    workers: Vec<std::thread::JoinHandle<()>>,
    clockwork: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts the workers, one a core, in the current tokio runtime.
    pub(crate) fn start(store: Arc<Store>, sandbox: Sandbox, guests_warm_max: usize) -> Self {
        let engine = Arc::new(Engine {
            gate: Gate::new(store.durable()),
            store,
            sandbox,
            modules: Mutex::default(),
            slots: Mutex::default(),
            queue: Queue::new(),
            timers: Timers::new(),
            reservations: Reservations::default(),
            observers: RwLock::default(),
            runtime: tokio::runtime::Handle::current(),
            guests_warm_max,
            stopping: AtomicBool::new(false),
        });
        let gate = Arc::downgrade(&engine);
        engine.store.on_durable(Box::new(move |durable| {
            if let Some(engine) = gate.upgrade() {
                match durable {
                    Ok(position) => engine.gate.open(position),
                    Err(_) => engine.lose(),
                }
            }
        }));
        // At least two, so that a guest that takes its time does not stop everyone else.
        let cores = std::thread::available_parallelism()
            .map_or(2, NonZeroUsize::get)
            .max(2);
        let workers = (0..cores).map(|number| worker(&engine, number)).collect();
        let clock = Arc::clone(&engine);
        let clockwork = tokio::spawn(async move {
            clock.timers.run(now, |job| clock.push(job)).await;
        });
        Self {
            engine,
            workers,
            clockwork,
        }
    }

    /// Lets turns and contained attempts that run come to their end, and stops. Effectful attempts
    /// are told to stop; they run again when somebody drives their instance again.
    pub(crate) fn stop(self) {
        self.engine.stopping.store(true, Ordering::Release);
        self.clockwork.abort();
        self.engine.queue.close();
        for slot in self.engine.slots().values() {
            slot.stop_attempts(|_| true);
        }
        for worker in self.workers {
            // A worker that panicked has said so on stderr.
            let _ = worker.join();
        }
        self.engine.slots().clear();
    }
}

fn worker(engine: &Arc<Engine>, number: usize) -> std::thread::JoinHandle<()> {
    let engine = Arc::clone(engine);
    std::thread::Builder::new()
        .name(format!("wfhost-worker-{number}"))
        .spawn(move || {
            while let Some(job) = engine.queue.pop() {
                // A panic here is a bug of the host. It has been printed; nobody must wait for
                // what this thread was going to do.
                if catch_unwind(AssertUnwindSafe(|| engine.work(job))).is_err() {
                    engine.lose();
                }
            }
        })
        .expect("the system can start a thread")
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

impl Engine {
    /// Drives an instance from here on: does what is due now and what becomes due.
    pub(crate) fn drive(self: &Arc<Self>, id: &InstanceId) -> Result<(), Error> {
        let slot = self.slot(id);
        if slot.is_driven() {
            return Ok(());
        }
        let due = self
            .store
            .look(id, |instance| Due::of(instance, instance.tasks().keys()))?;
        let due = due.ok_or_else(|| Error::NoSuchInstance { id: id.clone() })?;
        slot.set_driven();
        self.pursue(&slot, due);
        Ok(())
    }

    /// The end of an instance, or its stall once nothing else of it moves. Resolves when all that
    /// led to it is durable.
    pub(crate) fn settled(
        self: &Arc<Self>,
        id: &InstanceId,
    ) -> Result<oneshot::Receiver<Result<(), Lost>>, Error> {
        let (tell, told) = oneshot::channel();
        let slot = self.slot(id);
        slot.wait(tell);
        self.settle(&slot)?;
        Ok(told)
    }

    /// Records as they become durable, of every instance that moves from now on.
    pub(crate) fn observe(&self) -> mpsc::UnboundedReceiver<Observed> {
        let (send, receive) = mpsc::unbounded_channel();
        self.observers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(send);
        receive
    }

    /// Submits what `decide` says and does what follows from it. The waiting is the caller's.
    pub(crate) fn submit(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        reads: &ReadSet,
        decide: impl FnOnce(&Instance) -> Result<Vec<Record>, Refused>,
    ) -> Result<Position, SubmitError> {
        let submitted = self.store.submit_all(&slot.id, reads, decide)?;
        self.follow(slot, submitted.position, &submitted.records);
        Ok(submitted.position)
    }

    /// Submits one record that comes from outside.
    pub(crate) fn tell_instance(
        self: &Arc<Self>,
        id: &InstanceId,
        decide: impl FnOnce(&Instance) -> Result<Record, Refused>,
    ) -> Result<Position, SubmitError> {
        let slot = self.slot(id);
        self.submit(&slot, &ReadSet::default(), |instance| {
            Ok(vec![decide(instance)?])
        })
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
        let driven: Vec<_> = self
            .slots()
            .values()
            .filter(|it| it.is_driven())
            .cloned()
            .collect();
        for slot in driven {
            let due = self.store.look(&slot.id, |instance| {
                let stalled = instance.status() == Status::Stalled;
                stalled.then(|| Due::of(instance, instance.tasks().keys()))
            })?;
            if let Some(due) = due.flatten() {
                self.pursue(&slot, due);
            }
        }
        Ok(())
    }

    fn work(self: &Arc<Self>, job: Job) {
        let slot = Arc::clone(job.slot());
        match job {
            Job::Begin(begun) => self.begin(*begun),
            Job::Turn(slot) => self.turns(&slot),
            Job::Attempt(slot, fence) => self.attempt(&slot, fence),
            Job::Fire(slot, task) => {
                let fired = self.submit(&slot, &ReadSet::default(), |instance| {
                    decide::fire_timer(instance, task, now()).map(|record| vec![record])
                });
                self.note(fired.map(drop));
            }
            Job::Other(slot, task) => self.other(&slot, task),
        }
        self.done(&slot);
    }

    fn push(&self, job: Job) {
        job.slot().begin_job();
        self.queue.push(job);
    }

    fn done(self: &Arc<Self>, slot: &Arc<Slot>) {
        if slot.end_job() {
            // A store that failed has told every waiter.
            let _ = self.settle(slot);
        }
    }

    /// Tells those who wait, if the instance has ended or is stuck.
    fn settle(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<(), Error> {
        if slot.is_busy() {
            return Ok(());
        }
        if slot.has_ended() {
            self.slots().remove(&slot.id);
        }
        if !slot.is_awaited() {
            return Ok(());
        }
        let status = self.store.look(&slot.id, Instance::status)?;
        if status.is_some_and(|status| status.has_ended() || status == Status::Stalled) {
            let position = self.store.submitted();
            for waiter in slot.take_waiters() {
                self.gate.when_durable(position, move |result| {
                    // Nobody may wait any more.
                    let _ = waiter.send(result);
                });
            }
            self.store.demand(position);
        }
        Ok(())
    }

    /// What follows from records that have taken their place.
    fn follow(self: &Arc<Self>, slot: &Arc<Slot>, position: Position, records: &[Arc<Record>]) {
        self.tell(slot, position, records);
        let ended = records.iter().any(|record| match record.as_ref() {
            Record::Turn(turn) => {
                matches!(
                    turn.step,
                    Step::Completed(_) | Step::Failed(_) | Step::Cancelled
                )
            }
            Record::Ended(_) => true,
            _ => false,
        });
        if ended {
            slot.end();
        }
        if records
            .iter()
            .any(|record| matches!(record.as_ref(), Record::Started(_)))
        {
            // Tasks of the generation before have no one to answer to.
            slot.stop_attempts(|_| true);
        }
        // A stall is no reason to try again at once.
        let moved = records
            .iter()
            .any(|it| !matches!(it.as_ref(), Record::Stalled(_)));
        if !slot.is_driven() || !moved {
            return;
        }
        let mut tasks = Vec::new();
        for record in records {
            match record.as_ref() {
                Record::Turn(turn) => {
                    for command in &turn.commands {
                        match command {
                            Command::Cancel { task } => slot.stop_attempts(|it| it.task == *task),
                            command => tasks.extend(command.task()),
                        }
                    }
                }
                Record::Attempt(attempt) => tasks.push(attempt.task),
                _ => {}
            }
        }
        let due = self
            .store
            .look(&slot.id, |instance| Due::of(instance, tasks.iter()));
        match due {
            Ok(Some(due)) => self.pursue(slot, due),
            Ok(None) => {}
            Err(error) => self.note(Err(error.into())),
        }
        if ended {
            self.ended(slot);
        }
    }

    fn tell(&self, slot: &Arc<Slot>, position: Position, records: &[Arc<Record>]) {
        let observers = self
            .observers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for observer in observers.iter() {
            for record in records {
                let seen = Observed {
                    id: slot.id.clone(),
                    record: Arc::clone(record),
                };
                let observer = observer.clone();
                self.gate.when_durable(position, move |result| {
                    if result.is_ok() {
                        // Nobody may watch any more.
                        let _ = observer.send(seen);
                    }
                });
            }
        }
    }

    /// Has done what is due, now or at its time.
    fn pursue(self: &Arc<Self>, slot: &Arc<Slot>, due: Due) {
        if due.turn && slot.queue_turn() {
            self.push(Job::Turn(Arc::clone(slot)));
        }
        for (task, what) in due.tasks {
            match what {
                What::Attempt(fence, at) if at <= now() => {
                    self.push(Job::Attempt(Arc::clone(slot), fence));
                }
                What::Attempt(fence, at) => {
                    self.timers.add(at, Job::Attempt(Arc::clone(slot), fence));
                }
                What::Fire(at) => self.timers.add(at, Job::Fire(Arc::clone(slot), task)),
                What::Other => self.push(Job::Other(Arc::clone(slot), task)),
            }
        }
    }

    fn stall(self: &Arc<Self>, slot: &Arc<Slot>, reason: StallReason) {
        let stalled = self.submit(slot, &ReadSet::default(), |instance| {
            decide::stall(instance, reason, now()).map(|record| vec![record])
        });
        self.note(stalled.map(drop));
    }

    /// A refusal means that somebody else was faster, which is no news. A store that failed has
    /// told those who wait; nothing more can be done here.
    fn note(&self, result: Result<(), SubmitError>) {
        if let Err(SubmitError::Store(_)) = result {
            self.lose();
        }
    }

    /// The data file or this program has failed: nothing goes on, and all who wait are told.
    fn lose(&self) {
        self.queue.close();
        self.gate.lose();
        let slots: Vec<_> = self.slots().values().cloned().collect();
        for waiter in slots.iter().flat_map(|slot| slot.take_waiters()) {
            // Nobody may wait any more.
            let _ = waiter.send(Err(Lost));
        }
    }

    /// Whether the host is being closed: nothing that reaches the outside begins any more.
    fn stopping(&self) -> bool {
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

    fn slots(&self) -> MutexGuard<'_, HashMap<InstanceId, Arc<Slot>>> {
        lock(&self.slots)
    }
}

/// What is due in one instance.
struct Due {
    turn: bool,
    tasks: Vec<(TaskId, What)>,
}

enum What {
    Attempt(AttemptFence, Timestamp),
    Fire(Timestamp),
    Other,
}

impl Due {
    /// Looks at these tasks only: after a submission those that it touched, at first all.
    fn of<'a>(instance: &Instance, tasks: impl Iterator<Item = &'a TaskId>) -> Self {
        let open = tasks.filter_map(|id| Some((*id, instance.tasks().get(id)?)));
        let tasks = open.filter_map(|(id, task)| Some((id, What::of(instance, id, task)?)));
        Self {
            turn: instance.turn_is_due(),
            tasks: tasks.collect(),
        }
    }
}

impl What {
    fn of(instance: &Instance, id: TaskId, task: &Task) -> Option<Self> {
        let started = instance.started();
        match &task.state {
            TaskState::Activity {
                attempt, ready_at, ..
            } => {
                let (run, generation) = (started.run, started.generation);
                let fence = AttemptFence {
                    run,
                    generation,
                    task: id,
                    number: *attempt,
                };
                Some(Self::Attempt(fence, *ready_at))
            }
            TaskState::Timer { fires_at } => Some(Self::Fire(*fires_at)),
            TaskState::Child { .. } | TaskState::Raise { .. } => Some(Self::Other),
            TaskState::Event { .. } => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
