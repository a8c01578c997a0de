//! Reservations: how work that keeps losing the race for a key gets its turn.
//!
//! After [`CONFLICTS_MAX`] conflicts the next try first reserves what it read and wrote before.
//! While it holds the reservation, nobody else's writes to those keys are submitted.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use wfhost_core::record::StateWrite;
use wfhost_core::state::{Range, ReadSet, SessionEnd};

/// Conflicts after which the next try reserves.
pub(crate) const CONFLICTS_MAX: u32 = 3;

/// Who has reserved what.
#[derive(Default)]
pub(crate) struct Reservations {
    held: Mutex<Held>,
    released: Condvar,
}

#[derive(Default)]
struct Held {
    by_holder: BTreeMap<u64, Claim>,
    count: u64,
}

/// Keys and ranges that a try is going to read or write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claim {
    keys: Vec<String>,
    ranges: Vec<Range>,
}

impl Claim {
    /// What a try that lost the race had touched.
    pub(crate) fn of(end: &SessionEnd) -> Self {
        Self::new(&end.reads, &end.writes)
    }

    /// What a try read and wrote.
    pub(crate) fn new(reads: &ReadSet, writes: &[StateWrite]) -> Self {
        let written = writes.iter().map(|write| write.key.clone());
        let keys = reads.keys.iter().cloned().chain(written).collect();
        Self {
            keys,
            ranges: reads.ranges.clone(),
        }
    }

    fn covers(&self, key: &str) -> bool {
        self.keys.iter().any(|claimed| claimed == key)
            || self.ranges.iter().any(|range| range.contains(key))
    }

    /// Ranges are taken to overlap each other: a second scanner waits, which costs time only.
    fn overlaps(&self, other: &Self) -> bool {
        self.keys.iter().any(|key| other.covers(key))
            || other.keys.iter().any(|key| self.covers(key))
            || !(self.ranges.is_empty() || other.ranges.is_empty())
    }
}

/// Held as long as the try runs.
pub(crate) struct Reservation<'a> {
    all: &'a Reservations,
    holder: u64,
}

impl Reservations {
    /// Waits until nobody else has reserved any of it, then reserves all of it at once, so that no
    /// two can wait for each other.
    pub(crate) fn reserve(&self, claim: Claim) -> Reservation<'_> {
        let mut held = self.lock();
        while held.by_holder.values().any(|other| other.overlaps(&claim)) {
            held = self
                .released
                .wait(held)
                .unwrap_or_else(PoisonError::into_inner);
        }
        held.count += 1;
        let holder = held.count;
        held.by_holder.insert(holder, claim);
        Reservation { all: self, holder }
    }

    /// Waits until nobody but `own` has reserved a key that is about to be written. A holder that
    /// is about to write what another has reserved must not wait; it gets `false` and tries again
    /// with a larger claim.
    pub(crate) fn may_write(&self, writes: &[StateWrite], own: Option<&Reservation<'_>>) -> bool {
        if writes.is_empty() {
            return true;
        }
        let mut held = self.lock();
        loop {
            let blocked = held.by_holder.iter().any(|(holder, claim)| {
                own.is_none_or(|own| own.holder != *holder)
                    && writes.iter().any(|write| claim.covers(&write.key))
            });
            match (blocked, own) {
                (false, _) => return true,
                (true, Some(_)) => return false,
                (true, None) => {
                    held = self
                        .released
                        .wait(held)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.all.lock().by_holder.remove(&self.holder);
        self.all.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(key: &str) -> Claim {
        Claim {
            keys: vec![key.into()],
            ranges: Vec::new(),
        }
    }

    fn write(key: &str) -> StateWrite {
        StateWrite {
            key: key.into(),
            value: None,
            expires_at: None,
        }
    }

    #[test]
    fn a_writer_waits_for_the_one_who_reserved_the_key() {
        let all = Reservations::default();
        let mine = all.reserve(claim("a"));
        assert!(all.may_write(&[write("a")], Some(&mine)));
        assert!(all.may_write(&[write("b")], None));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| all.may_write(&[write("a")], None));
            drop(mine);
            assert!(other.join().unwrap());
        });
    }

    #[test]
    fn a_holder_never_waits_for_another_holder() {
        let all = Reservations::default();
        let mine = all.reserve(claim("a"));
        let _other = all.reserve(claim("b"));
        assert!(!all.may_write(&[write("b")], Some(&mine)));
    }
}
