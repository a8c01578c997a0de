//! Driving every instance of a file, with those in memory that have something to do soon.
//!
//! The store knows of each instance when time next brings it something. From its rows those are
//! brought to memory, in the order of time, that are due up to the *horizon*, a little ahead of the
//! clock: their slots hold what is due as jobs and alarms. A slot whose instance is due later, or
//! never, is *parked*: it is dropped, and the rows bring it back. Restart is the same: at first all
//! are parked.
//!
//! Nothing is lost because of these:
//!
//! - An instance in memory that is driven has a job or an alarm for all that is due. So only a slot
//!   without a job is parked, and only if its alarms and its row lie after the horizon.
//! - The horizon is set, and slots are parked, under the lock of the slots. The rows are walked up
//!   to the horizon after it was set. So one that is parked before is met, since what it waits for
//!   was submitted before, and one that is parked after lies behind the horizon. The walk never
//!   stands behind the horizon.
//! - A slot is parked only if nobody else holds it, and whoever wants it afterwards takes a new one
//!   from the map. Who submits something to an instance takes its slot before, or looks at the
//!   instance after: in either case the instance is driven again with all that it has
//!   ([`Engine::follow`]).
//! - What shows nothing in the fold while it goes on, such as a child that runs, is looked at once,
//!   behind what is due, when the host starts ([`Instance::is_due_at_start`]). From then on whoever
//!   ends it takes the slot of the instance that waits for it, as for all else that is told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use wfhost_core::{Instance, InstanceId, Status, Timestamp};
use wfhost_store::{DuePlace, Query};

use super::slot::Slot;
use super::{Engine, lock};
use crate::error::Error;

/// How far ahead of the clock instances are brought to memory, in milliseconds.
const HORIZON_MS: u64 = 60_000;

/// How often it is seen whether the clock has come nearer than half of that. The wall clock may be
/// set, and a sleep does not notice.
const TICK: Duration = Duration::from_secs(1);

/// So many instances are brought to memory at once.
const AT_ONCE: usize = 1_000;

/// A slot with more alarms is not parked: it takes long to bring back.
const ALARMS_MAX: usize = 1_000;

/// How far instances have been brought to memory.
#[derive(Default)]
pub(super) struct Wake {
    /// All instances are driven.
    on: AtomicBool,
    /// All that goes on unseen has been looked at since the host started.
    all_seen: AtomicBool,
    /// The horizon. Changed under the lock of the slots.
    until: AtomicU64,
    /// How many ask for a look at the clock; each counts as work until that was done.
    asked: Mutex<usize>,
    told: Arc<Notify>,
    /// Slots to be released that somebody else held just then.
    held: Mutex<Vec<Weak<Slot>>>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Wake {
    /// Whether all instances are driven.
    pub(super) fn drives_all(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// Whether nobody can have missed anything that goes on unseen.
    pub(super) fn all_seen(&self) -> bool {
        self.all_seen.load(Ordering::SeqCst)
    }

    fn until(&self) -> Timestamp {
        Timestamp(self.until.load(Ordering::SeqCst))
    }

    pub(super) fn stop(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

impl Engine {
    /// Drives every instance from here on. Resolves once those that have been due for longest are.
    pub(crate) async fn drive_all(self: &Arc<Self>) -> Result<(), Error> {
        if self.wake.on.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.ask_to_wake();
        let (begun, first) = oneshot::channel();
        let task = tokio::spawn(keep_waking(Arc::downgrade(self), begun));
        *lock(&self.wake.task) = Some(task);
        first.await.map_err(|_| Error::Unknown)?
    }

    /// The clock may stand elsewhere. What is due then counts as work from here on.
    pub(super) fn ask_to_wake(&self) {
        if self.wake.drives_all() {
            self.begin_work();
            *lock(&self.wake.asked) += 1;
            self.wake.told.notify_one();
        }
    }

    /// When the first of those is due that are not in memory, if they are driven.
    pub(super) fn next_parked(&self) -> Option<Timestamp> {
        if !self.wake.drives_all() {
            return None;
        }
        let after = Some(DuePlace::after(self.wake.until()));
        // A store that fails says so to whoever does anything next.
        let next = self.store.due(after, Timestamp(u64::MAX), 1).ok()?;
        next.first().map(|due| due.place.at)
    }

    /// Up to where instances are to be in memory now. Where time is skipped all are that wait for
    /// it.
    fn horizon(&self) -> Timestamp {
        if self.clock.skips() {
            return Timestamp(u64::MAX);
        }
        self.now().after(HORIZON_MS)
    }

    fn is_near_horizon(&self) -> bool {
        let half = self.now().after(HORIZON_MS / 2);
        self.horizon() < self.wake.until() || half >= self.wake.until()
    }

    /// Sets the horizon, and puts the walk back if that has come nearer.
    fn set_horizon(&self, walked: Option<DuePlace>) -> (Option<DuePlace>, Timestamp) {
        let _parks_nobody = self.slots();
        let until = self.horizon();
        self.wake.until.store(until.0, Ordering::SeqCst);
        (walked.map(|it| it.min(DuePlace::after(until))), until)
    }

    /// Drives the next instances up to the horizon. Says how far it came, and whether that is all.
    fn wake_some(
        self: &Arc<Self>,
        walked: Option<DuePlace>,
    ) -> Result<(Option<DuePlace>, bool), Error> {
        let (walked, until) = self.set_horizon(walked);
        let due = self.store.due(walked, until, AT_ONCE)?;
        self.drive_some(due.iter().map(|due| &due.id))?;
        if due.len() < AT_ONCE {
            return Ok((Some(DuePlace::after(until)), true));
        }
        Ok((due.last().map(|due| due.place), false))
    }

    /// Drives the next instances that are looked at when a host starts. Says how far it came,
    /// unless that was all.
    fn look_some(self: &Arc<Self>, after: AtStart) -> Result<Option<AtStart>, Error> {
        let query = Query {
            due_at_start: true,
            after,
            limit: AT_ONCE,
            ..Query::default()
        };
        let page = self.store.find(&query)?;
        self.drive_some(page.rows.iter().map(|row| &row.id))?;
        for row in &page.rows {
            // It may have left this one, and the host died before it said so.
            if row.parent.is_some() && !row.detached {
                self.look_at_parent(&row.id);
            }
        }
        if page.next.is_none() {
            self.wake.all_seen.store(true, Ordering::SeqCst);
        }
        Ok(page.next.map(Some))
    }

    fn drive_some<'a>(
        self: &Arc<Self>,
        ids: impl Iterator<Item = &'a InstanceId>,
    ) -> Result<(), Error> {
        for id in ids {
            match self.drive(id) {
                _ if self.stopping() => break,
                // It was purged just now.
                Ok(()) | Err(Error::NoSuchInstance { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes through those again that were held when they should have been released.
    fn release_held(&self) {
        let held = std::mem::take(&mut *lock(&self.wake.held));
        for slot in held.iter().filter_map(Weak::upgrade) {
            slot.listed.store(false, Ordering::SeqCst);
            self.release(&slot);
        }
    }

    /// Somebody else holds a slot that should be released, and may not think of it.
    pub(super) fn release_later(&self, slot: &Arc<Slot>) {
        if self.wake.drives_all() && !slot.listed.swap(true, Ordering::SeqCst) {
            lock(&self.wake.held).push(Arc::downgrade(slot));
        }
    }

    /// Whether a slot may be parked as it is, as far as can be said without a lock.
    pub(super) fn may_be_parked(&self, slot: &Slot) -> bool {
        self.wake.drives_all() && !slot.is_busy() && !slot.is_warm()
    }

    /// Forgets the alarms of a driven slot of the map, if it can be dropped with them. Called under
    /// the lock of the slots.
    pub(super) fn park(&self, slot: &Arc<Slot>) -> bool {
        let until = self.wake.until();
        let is_free = |alarms: usize| {
            // Besides the alarms the map holds it, and the caller.
            let free = Arc::strong_count(slot) == 2 + alarms && !slot.is_busy();
            if !free && !slot.is_busy() {
                self.release_later(slot);
            }
            free && alarms <= ALARMS_MAX
        };
        let Some(alarms) = self.timers.all_after(slot.number, until, is_free) else {
            return false;
        };
        // Another start of a child that runs stands before a later alarm in the row.
        let is_found = alarms == 0
            || matches!(
                self.store.look(&slot.id, Instance::next_due_at),
                Ok(Some(Some(at))) if at > until
            );
        is_found && self.timers.forget_all_after(slot.number, until, is_free)
    }

    /// The instances that do not move. All of them are driven, or the slots say which.
    pub(super) fn stalled(&self) -> Result<Vec<Arc<Slot>>, Error> {
        let mut query = Query {
            statuses: vec![Status::Stalled],
            limit: 1_000,
            ..Query::default()
        };
        let mut stalled = Vec::new();
        loop {
            let page = self.store.find(&query)?;
            for row in page.rows {
                let slot = if self.wake.drives_all() {
                    Some(self.slot(&row.id))
                } else {
                    self.slots().get(&row.id).cloned()
                };
                stalled.extend(slot);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(stalled),
            }
        }
    }

    /// How many slots are in memory that are needed there.
    pub(crate) fn slots_in_memory(&self) -> usize {
        self.release_held();
        self.slots().len()
    }
}

/// How far the walks have come.
#[derive(Clone, Copy)]
struct Walks {
    /// Through what is due.
    due: Option<DuePlace>,
    /// Through what is looked at when the host starts; none when that is done.
    at_start: Option<AtStart>,
}

/// After this number; at first from the beginning.
type AtStart = Option<u64>;

/// Keeps the horizon ahead of the clock for as long as there is the engine.
async fn keep_waking(engine: Weak<Engine>, begun: oneshot::Sender<Result<(), Error>>) {
    let mut begun = Some(begun);
    let mut walks = Walks {
        due: None,
        at_start: Some(None),
    };
    loop {
        let Some(engine) = engine.upgrade() else {
            return;
        };
        let asked = std::mem::take(&mut *lock(&engine.wake.asked));
        if asked > 0 || engine.is_near_horizon() {
            // Nobody is told that all is quiet while instances are still to come.
            engine.begin_work();
            let woken = wake(&engine, &mut walks, &mut begun).await;
            (0..=asked).for_each(|_| engine.end_work());
            if let Err(error) = woken {
                if !engine.stopping() {
                    engine.lose();
                }
                tell(&mut begun, Err(error));
                return;
            }
        }
        engine.release_held();
        let told = Arc::clone(&engine.wake.told);
        // Not held while this sleeps: whoever closes the host lets it go.
        drop(engine);
        tokio::select! {
            () = told.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Brings instances to memory until all are there that are due up to the horizon, and all were
/// looked at that are to be at the start.
async fn wake(
    engine: &Arc<Engine>,
    walks: &mut Walks,
    begun: &mut Option<oneshot::Sender<Result<(), Error>>>,
) -> Result<(), Error> {
    loop {
        engine.room().await;
        let from = walks.due;
        let (due, all) = blocking(engine, move |engine| engine.wake_some(from)).await?;
        walks.due = due;
        tell(begun, Ok(()));
        match walks.at_start {
            _ if !all => {}
            None => return Ok(()),
            Some(after) => {
                walks.at_start = blocking(engine, move |engine| engine.look_some(after)).await?;
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl FnOnce(&Arc<Engine>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let engine = Arc::clone(engine);
    crate::host::blocking(move || work(&engine)).await
}

fn tell(begun: &mut Option<oneshot::Sender<Result<(), Error>>>, result: Result<(), Error>) {
    if let Some(begun) = begun.take() {
        // Nobody may wait any more.
        let _ = begun.send(result);
    }
}
