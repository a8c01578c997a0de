//! What is due later.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wfhost_core::{TaskId, Timestamp};

use super::clock::Clock;

/// The longest sleep. The wall clock may be set, and a sleep does not notice.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What a timer is for; there is one of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    /// Whose it is: the number of a slot, so that another run of the same id has its own.
    pub(crate) slot: u64,
    pub(crate) generation: u32,

    pub(crate) what: Wakes,
}

/// What of an instance is due when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wakes {
    /// Its first turn.
    Turn,
    /// A task.
    Task(TaskId),
    /// The end of all time that a task may take.
    Deadline(TaskId),
}

/// Things by the time at which they are due.
pub(crate) struct Timers<T> {
    due: Mutex<Due<T>>,
    changed: Notify,
}

struct Due<T> {
    by_time: BTreeMap<(Timestamp, u64), (Alarm, T)>,
    by_alarm: BTreeMap<Alarm, (Timestamp, u64)>,
    count: u64,
}

impl<T> Due<T> {
    fn remove(&mut self, alarm: &Alarm) {
        if let Some(key) = self.by_alarm.remove(alarm) {
            self.by_time.remove(&key);
        }
    }

    /// The alarms of a slot, the earliest generation first, each with its time.
    fn of_slot(&self, slot: u64) -> impl Iterator<Item = (&Alarm, Timestamp)> {
        let first = Alarm {
            slot,
            generation: 0,
            what: Wakes::Turn,
        };
        let from = (Bound::Included(first), Bound::Unbounded);
        let alarms = self.by_alarm.range(from);
        alarms
            .take_while(move |(alarm, _)| alarm.slot == slot)
            .map(|(alarm, (at, _))| (alarm, *at))
    }

    fn all_after(
        &self,
        slot: u64,
        until: Timestamp,
        may_be_parked: impl FnOnce(usize) -> bool,
    ) -> Option<usize> {
        let all_after = self.of_slot(slot).all(|(_, at)| at > until);
        let count = all_after.then(|| self.of_slot(slot).count())?;
        may_be_parked(count).then_some(count)
    }
}

/// What there is to do for whoever runs the timers.
enum Next {
    Fired,
    Sleep(Duration),
    Nothing,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        let due = Due {
            by_time: BTreeMap::new(),
            by_alarm: BTreeMap::new(),
            count: 0,
        };
        Self {
            due: Mutex::new(due),
            changed: Notify::new(),
        }
    }

    /// Sets an alarm, in place of the one that was set for the same before.
    pub(crate) fn set(&self, at: Timestamp, alarm: Alarm, what: T) {
        let mut due = self.lock();
        due.remove(&alarm);
        due.count += 1;
        let key = (at, due.count);
        due.by_alarm.insert(alarm.clone(), key);
        due.by_time.insert(key, (alarm, what));
        let first = due
            .by_time
            .first_key_value()
            .is_some_and(|(first, _)| *first == key);
        drop(due);
        if first {
            self.changed.notify_one();
        }
    }

    /// Forgets what was set for a task.
    pub(crate) fn forget_task(&self, slot: u64, generation: u32, task: TaskId) {
        let mut due = self.lock();
        for what in [Wakes::Task(task), Wakes::Deadline(task)] {
            due.remove(&Alarm {
                slot,
                generation,
                what,
            });
        }
    }

    /// Forgets all that was set for a slot, in generations before this one.
    pub(crate) fn forget_before(&self, slot: u64, generation: u32) {
        let mut due = self.lock();
        let of_slot = due.of_slot(slot).map(|(alarm, _)| alarm);
        let theirs: Vec<_> = of_slot
            .take_while(|alarm| alarm.generation < generation)
            .cloned()
            .collect();
        for alarm in &theirs {
            due.remove(alarm);
        }
    }

    /// How many are set for a slot, if all are due later than `until` and it may be parked with so
    /// many.
    pub(crate) fn all_after(
        &self,
        slot: u64,
        until: Timestamp,
        may_be_parked: impl FnOnce(usize) -> bool,
    ) -> Option<usize> {
        self.lock().all_after(slot, until, may_be_parked)
    }

    /// Forgets all that was set for a slot, under the same conditions.
    pub(crate) fn forget_all_after(
        &self,
        slot: u64,
        until: Timestamp,
        may_be_parked: impl FnOnce(usize) -> bool,
    ) -> bool {
        let mut due = self.lock();
        if due.all_after(slot, until, may_be_parked).is_none() {
            return false;
        }
        let theirs: Vec<_> = due.of_slot(slot).map(|(alarm, _)| alarm.clone()).collect();
        for alarm in &theirs {
            due.remove(alarm);
        }
        true
    }

    /// When the next is due.
    pub(crate) fn next_at(&self) -> Option<Timestamp> {
        let due = self.lock();
        due.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether nothing is due now, or at all where time is skipped, and `idle` says that nothing is
    /// being done. Both are seen at once: what sets a timer is done only after it is set.
    pub(crate) fn are_quiet(&self, clock: &Clock, idle: impl Fn() -> bool) -> bool {
        let due = self.lock();
        let next = due.by_time.first_key_value().map(|((at, _), _)| *at);
        next.is_none_or(|at| !clock.skips() && at > clock.now()) && idle()
    }

    /// Looks again: the clock or what else there is to do has changed.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// Hands out what is due, as it becomes due, for ever. Where time is skipped it jumps as soon
    /// as `idle` says that nothing else is left to do.
    pub(crate) async fn run(&self, clock: &Clock, idle: impl Fn() -> bool, fire: impl Fn(T)) {
        loop {
            match self.next(clock, &idle, &fire) {
                Next::Fired => {}
                Next::Nothing => self.changed.notified().await,
                Next::Sleep(wait) => tokio::select! {
                    () = tokio::time::sleep(wait.min(SLEEP_MAX)) => {}
                    () = self.changed.notified() => {}
                },
            }
        }
    }

    /// Fires under the lock, so that nobody finds neither the timer nor what it has begun.
    fn next(&self, clock: &Clock, idle: impl Fn() -> bool, fire: impl Fn(T)) -> Next {
        let mut due = self.lock();
        let Some((&(at, number), _)) = due.by_time.first_key_value() else {
            return Next::Nothing;
        };
        if at > clock.now() {
            if !(clock.skips() && idle()) {
                // One more, so that the millisecond has passed when the sleep ends.
                let wait = at.since(clock.now()).saturating_add(1);
                return Next::Sleep(Duration::from_millis(wait));
            }
            clock.skip_to(at);
        }
        match due.by_time.remove(&(at, number)) {
            Some((alarm, what)) => {
                due.by_alarm.remove(&alarm);
                fire(what);
                Next::Fired
            }
            None => Next::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Due<T>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(slot: u64, task: u32) -> Alarm {
        Alarm {
            slot,
            generation: 0,
            what: Wakes::Task(TaskId(task)),
        }
    }

    fn fired(timers: &Timers<u32>, clock: &Clock) -> Vec<u32> {
        let fired = std::cell::RefCell::new(Vec::new());
        let fire = |what| fired.borrow_mut().push(what);
        while let Next::Fired = timers.next(clock, || true, fire) {}
        fired.into_inner()
    }

    #[test]
    fn only_what_is_due_fires_and_what_is_forgotten_does_not() {
        let (timers, clock) = (Timers::new(), Clock::still(Timestamp(100)));
        for (at, alarm, what) in [
            (50, task(1, 1), 1),
            (100, task(1, 2), 2),
            (101, task(1, 3), 3),
            (60, task(2, 1), 4),
            (70, task(2, 1), 5),
            (10, task(3, 1), 6),
        ] {
            timers.set(Timestamp(at), alarm, what);
        }
        timers.forget_before(3, 1);
        assert_eq!(fired(&timers, &clock), [1, 5, 2]);
        timers.forget_task(1, 0, TaskId(3));
        clock.advance(Duration::from_secs(1));
        assert_eq!(fired(&timers, &clock), [0; 0]);
    }

    #[test]
    fn a_slot_is_parked_with_all_its_alarms_or_with_none() {
        let timers = Timers::new();
        for (at, alarm) in [(50, task(1, 1)), (90, task(1, 2)), (20, task(2, 1))] {
            timers.set(Timestamp(at), alarm, 0);
        }
        let park = |until, count: usize| {
            let before = timers.all_after(1, Timestamp(until), |it| it == count);
            let parked = timers.forget_all_after(1, Timestamp(until), |it| it == count);
            assert_eq!(before.is_some(), parked);
            parked
        };
        assert_eq!((park(50, 2), park(49, 3)), (false, false));
        assert_eq!(timers.all_after(1, Timestamp(49), |_| true), Some(2));
        assert_eq!((park(49, 2), park(u64::MAX, 0)), (true, true));
        assert_eq!(timers.next_at(), Some(Timestamp(20)));
    }

    #[test]
    fn skipped_time_jumps_from_timer_to_timer() {
        let (timers, clock) = (Timers::new(), Clock::still(Timestamp(0)));
        timers.set(Timestamp(86_400_000), task(1, 1), 1);
        timers.set(Timestamp(172_800_000), task(1, 2), 2);
        assert_eq!(fired(&timers, &clock), [0; 0]);
        clock.set_skips(true);
        assert!(matches!(
            timers.next(&clock, || false, |_| ()),
            Next::Sleep(_)
        ));
        assert_eq!(fired(&timers, &clock), [1, 2]);
        assert_eq!(clock.now(), Timestamp(172_800_000));
    }
}
