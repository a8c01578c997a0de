//! What the engine keeps in memory of one instance that it drives.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use wfhost_core::decide::{AttemptFence, TurnFence};
use wfhost_core::{InstanceId, TaskId};
use wfhost_sandbox::{Guest, StopFlag};

use super::gate::Lost;
use super::lock;
use crate::error::Error;

/// Somebody who waits until an instance has ended or is stuck, and all that led to it is durable.
pub(super) enum Waiter {
    Settled(oneshot::Sender<Result<(), Lost>>),
    /// Who has started it, and was not told that it began.
    Ran(oneshot::Sender<Result<Result<(), Lost>, Error>>),
}

impl Waiter {
    pub(super) fn tell(self, durable: Result<(), Lost>) {
        // Nobody may wait any more.
        match self {
            Self::Settled(waiter) => drop(waiter.send(durable)),
            Self::Ran(waiter) => drop(waiter.send(Ok(durable))),
        }
    }

    fn is_gone(&self) -> bool {
        match self {
            Self::Settled(waiter) => waiter.is_closed(),
            Self::Ran(waiter) => waiter.is_closed(),
        }
    }
}

/// One driven instance.
pub(crate) struct Slot {
    pub(crate) id: InstanceId,
    /// Tells this slot from others of the same id.
    pub(super) number: u64,

    /// Taken for the length of a turn: one instance takes one turn at a time.
    pub(super) guest: Mutex<Option<Warm>>,
    driven: AtomicBool,
    turn_queued: AtomicBool,
    ended: AtomicBool,
    /// Its place in the line of those that hold a guest, 0 if it has none. Changes only under the
    /// lock of that.
    pub(super) place: AtomicU64,
    /// Whether it took another turn since it was put there.
    pub(super) used: AtomicBool,
    /// Whether it is known that it is to be released later.
    pub(super) listed: AtomicBool,
    /// Jobs that are queued or run. While there are any, the instance is not stuck.
    jobs: AtomicUsize,
    /// Attempts that run, each with the flag that stops it.
    attempts: Mutex<HashMap<AttemptFence, StopFlag>>,
    waiters: Mutex<Vec<Waiter>>,
    /// Taken while a task that concerns another instance is moved on.
    pub(super) others: Mutex<()>,
}

/// An attempt that runs. Once this is dropped it does not any more.
pub(super) struct UnderWay {
    slot: Arc<Slot>,
    pub(super) fence: AttemptFence,
    /// Set from outside, ends the attempt.
    pub(super) stop: StopFlag,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.slot.attempts).remove(&self.fence);
    }
}

/// A guest in memory, and where in its instance's life it stands.
pub(super) struct Warm {
    pub(super) guest: Guest,
    pub(super) fence: TurnFence,
}

impl Slot {
    pub(super) fn new(id: InstanceId) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self {
            id,
            number: COUNT.fetch_add(1, Ordering::Relaxed),
            guest: Mutex::new(None),
            driven: AtomicBool::new(false),
            turn_queued: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            place: AtomicU64::new(0),
            used: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            jobs: AtomicUsize::new(0),
            attempts: Mutex::default(),
            waiters: Mutex::default(),
            others: Mutex::default(),
        }
    }

    pub(super) fn is_driven(&self) -> bool {
        self.driven.load(Ordering::Acquire)
    }

    /// Whether it was driven before.
    pub(super) fn set_driven(&self) -> bool {
        self.driven.swap(true, Ordering::AcqRel)
    }

    pub(super) fn unset_driven(&self) {
        self.driven.store(false, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The instance has ended: what still runs for it is for nothing.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.stop_attempts(|_| true);
    }

    /// Whether it may keep a guest.
    pub(super) fn is_warm(&self) -> bool {
        self.place.load(Ordering::SeqCst) != 0
    }

    /// Lets the guest go, unless it is at work just now: then [`Slot::rest`] does.
    pub(super) fn cool(&self) {
        fence(Ordering::SeqCst);
        if let Ok(mut held) = self.guest.try_lock() {
            held.take();
        }
    }

    /// The work of the guest is done: it is let go, if somebody wanted that meanwhile. Called
    /// after its lock is free, so that either this or [`Slot::cool`] finds that.
    pub(super) fn rest(&self) {
        fence(Ordering::SeqCst);
        if !self.is_warm() {
            self.cool();
        }
    }

    /// True if no turn was queued before.
    pub(super) fn queue_turn(&self) -> bool {
        !self.turn_queued.swap(true, Ordering::AcqRel)
    }

    /// Called before the worker looks at what is due, so that nothing that comes later is missed.
    pub(super) fn unqueue_turn(&self) {
        self.turn_queued.store(false, Ordering::Release);
    }

    pub(super) fn begin_job(&self) {
        self.jobs.fetch_add(1, Ordering::SeqCst);
    }

    /// True if that was the last.
    pub(super) fn end_job(&self) -> bool {
        self.jobs.fetch_sub(1, Ordering::SeqCst) == 1
    }

    pub(super) fn is_busy(&self) -> bool {
        self.jobs.load(Ordering::SeqCst) > 0
    }

    /// Notes that an attempt runs; `None` if it does already.
    pub(super) fn begin_attempt(self: &Arc<Self>, fence: AttemptFence) -> Option<UnderWay> {
        let mut attempts = lock(&self.attempts);
        if attempts.contains_key(&fence) {
            return None;
        }
        let stop = attempts.entry(fence).or_default().clone();
        let slot = Arc::clone(self);
        Some(UnderWay { slot, fence, stop })
    }

    /// Whether an attempt of a task runs just now.
    pub(super) fn runs(&self, task: TaskId) -> bool {
        lock(&self.attempts).keys().any(|fence| fence.task == task)
    }

    pub(super) fn stop_attempts(&self, which: impl Fn(&AttemptFence) -> bool) {
        for (_, stop) in lock(&self.attempts)
            .iter()
            .filter(|(fence, _)| which(fence))
        {
            stop.set();
        }
    }

    pub(super) fn wait(&self, waiter: Waiter) {
        let mut waiters = lock(&self.waiters);
        // Those who gave up are forgotten.
        waiters.retain(|waiter| !waiter.is_gone());
        waiters.push(waiter);
    }

    pub(super) fn is_awaited(&self) -> bool {
        lock(&self.waiters).iter().any(|waiter| !waiter.is_gone())
    }

    pub(super) fn take_waiters(&self) -> Vec<Waiter> {
        std::mem::take(&mut lock(&self.waiters))
    }
}
