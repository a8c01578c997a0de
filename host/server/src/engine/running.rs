//! The engine's threads: how it starts and how it stops.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wfhost_sandbox::Sandbox;
use wfhost_store::Store;

use super::ask::Answers;
use super::bounds::{Bounds, Doorway};
use super::clock::Clock;
use super::gate::Gate;
use super::queue::{Queue, Takes};
use super::reserve::Reservations;
use super::timers::Timers;
use super::wake::Wake;
use super::warm::WarmSet;
use super::{Engine, Modules, Observers, Script, lock};
use crate::telemetry::Telemetry;

/// How long closing waits for effectful attempts that were told to stop.
const STOP_MAX: Duration = Duration::from_millis(500);

/// The number of a worker that does not stay.
const RELIEF: usize = usize::MAX;

/// How an engine is set up.
pub(crate) struct Setup {
    pub(crate) guests_warm_max: usize,
    pub(crate) modules: Modules,
    pub(crate) clock: Clock,
    pub(crate) bounds: Bounds,
    pub(crate) script: Option<Script>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Everything in one thread, in a fixed order.
    pub(crate) one_by_one: bool,
}

/// The engine with its threads.
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
    workers: Vec<std::thread::JoinHandle<()>>,
    clockwork: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts the workers, one a core and a spare, in the current tokio runtime.
    pub(crate) fn start(store: Arc<Store>, sandbox: Sandbox, setup: Setup) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let cores = if setup.one_by_one { 1 } else { cores };
        let engine = Arc::new(Engine {
            gate: Arc::new(Gate::new(store.durable())),
            store,
            sandbox,
            modules: setup.modules,
            slots: Mutex::default(),
            warm: WarmSet::default(),
            wake: Wake::default(),
            guests_warm_max: setup.guests_warm_max,
            cores,
            clock: setup.clock,
            script: setup.script,
            doorway: Doorway::new(setup.bounds),
            answers: Answers::default(),
            busy: AtomicUsize::new(0),
            quiet: Notify::new(),

            // In a fixed order nobody keeps what follows from a job: it goes to the end.
            queue: Queue::new(if setup.one_by_one { 0 } else { cores + 1 }),
            starting: tokio::sync::Mutex::default(),
            timers: Timers::new(),
            reservations: Reservations::default(),
            observers: Observers::default(),
            telemetry: setup.telemetry,
            runtime: tokio::runtime::Handle::current(),
            effects: Mutex::new(0),
            effects_done: Condvar::new(),
            stopping: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            lost_told: Notify::new(),
        });
        engine.listen();
        let mut workers: Vec<_> = (0..cores)
            .map(|number| worker(&engine, number, Takes::All))
            .collect();
        if !setup.one_by_one {
            workers.push(worker(&engine, cores, Takes::Short));
        }
        let clock = Arc::clone(&engine);
        let clockwork = tokio::spawn(async move {
            let idle = || {
                // A host that has failed does nothing more, so that no time passes for it.
                clock.busy.load(Ordering::SeqCst) == 0 && !clock.lost.load(Ordering::Acquire)
            };
            let fire = |job| clock.push(job);
            clock.timers.run(&clock.clock, idle, fire).await;
        });
        Self {
            engine,
            workers,
            clockwork,
        }
    }

    /// Lets turns that run come to their end, stops attempts, and lets the workers go. What was
    /// stopped runs again when somebody drives its instance again.
    pub(crate) fn stop(self) {
        let engine = self.engine;
        engine.stopping.store(true, Ordering::Release);
        self.clockwork.abort();
        engine.wake.stop();
        for slot in engine.slots().values() {
            slot.stop_attempts(|_| true);
        }
        engine.close_queue();
        for worker in self.workers {
            // A worker that panicked has said so on stderr.
            let _ = worker.join();
        }
        engine.queue.wait_for_relief();
        // A call to the outside may not heed its flag; it is cut off then, as by a death.
        let until = Instant::now() + STOP_MAX;
        let mut effects = lock(&engine.effects);
        while *effects > 0 && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            let waited = engine.effects_done.wait_timeout(effects, left);
            effects = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(effects);
        engine.slots().clear();
    }
}

fn worker(engine: &Arc<Engine>, number: usize, takes: Takes) -> std::thread::JoinHandle<()> {
    let engine = Arc::clone(engine);
    thread(number, move || work(&engine, number, takes)).expect("the system can start a thread")
}

/// Takes jobs until there are no more for this worker.
fn work(engine: &Arc<Engine>, number: usize, takes: Takes) {
    // Effectful attempts are polled here.
    let _runtime = engine.runtime.enter();
    let relieve = || {
        let relief = Arc::clone(engine);
        if thread(RELIEF, move || work(&relief, RELIEF, Takes::Rest)).is_err() {
            engine.queue.not_relieved();
        }
    };
    let work = |job| engine.guarded(|| engine.work(job));
    engine.queue.work(number, takes, work, relieve);
}

fn thread(
    number: usize,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let name = match number {
        RELIEF => "wfhost-relief".into(),
        number => format!("wfhost-worker-{number}"),
    };
    std::thread::Builder::new().name(name).spawn(work)
}
