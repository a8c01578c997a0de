//! Which slots hold a guest, and which lets its own go where there are too many.
//!
//! They stand in a line. The first of it makes way, unless it has been used since it was put there:
//! then it goes to the end once more. So what is busy keeps its guest however many others come by,
//! and a turn costs no walk.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::Engine;
use super::lock;
use super::slot::{Slot, Warm};

/// So many that were used are passed over at most; the next makes way though it was used as well.
const PASSED_MAX: usize = 16;

/// The slots that hold a guest.
#[derive(Default)]
pub(super) struct WarmSet {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    /// By their place, which the slot knows too.
    slots: BTreeMap<u64, Weak<Slot>>,
    places: u64,
}

impl WarmSet {
    /// A slot keeps a guest from here on. Hands out one that makes way, if there are more than
    /// `guests_max`.
    fn enter(&self, slot: &Arc<Slot>, guests_max: usize) -> Option<Arc<Slot>> {
        let mut line = lock(&self.line);
        line.put(slot);
        let too_many = line.slots.len() > guests_max;
        too_many.then(|| line.take_coldest()).flatten()
    }

    /// A slot keeps none any more.
    pub(super) fn leave(&self, slot: &Slot) {
        if slot.is_warm() {
            let mut line = lock(&self.line);
            let place = slot.place.swap(0, Ordering::SeqCst);
            line.slots.remove(&place);
        }
    }

    /// How many hold one.
    pub(super) fn len(&self) -> usize {
        lock(&self.line).slots.len()
    }

    /// The coldest, at most so many: they make way.
    fn take_coldest(&self, count: usize) -> Vec<Arc<Slot>> {
        let mut line = lock(&self.line);
        std::iter::from_fn(|| line.take_coldest())
            .take(count)
            .collect()
    }
}

impl Line {
    fn put(&mut self, slot: &Arc<Slot>) {
        self.places += 1;
        slot.place.store(self.places, Ordering::SeqCst);
        self.slots.insert(self.places, Arc::downgrade(slot));
    }

    fn take_coldest(&mut self) -> Option<Arc<Slot>> {
        let mut passed = 0;
        while let Some((_, slot)) = self.slots.pop_first() {
            let Some(slot) = slot.upgrade() else {
                continue;
            };
            if passed == PASSED_MAX || !slot.used.swap(false, Ordering::Relaxed) {
                slot.place.store(0, Ordering::SeqCst);
                return Some(slot);
            }
            passed += 1;
            self.put(&slot);
        }
        None
    }
}

impl Engine {
    /// Keeps a guest until the next turn.
    pub(super) fn keep(&self, slot: &Arc<Slot>, held: &mut Option<Warm>, warm: Warm) {
        *held = Some(warm);
        let was_warm = slot.is_warm();
        slot.used.store(was_warm, Ordering::Relaxed);
        if was_warm {
            return;
        }
        if let Some(coldest) = self.warm.enter(slot, self.guests_warm_max) {
            self.cool(&coldest);
        }
    }

    /// The work of a slot's guest is done for now.
    pub(super) fn rest(&self, slot: &Slot, held: MutexGuard<'_, Option<Warm>>) {
        if held.is_none() {
            // Its last turn did not end in a wait.
            self.warm.leave(slot);
        }
        drop(held);
        slot.rest();
    }

    /// Has some guests let go, so that there is room for another. False if there are none.
    pub(super) fn cool_some(&self, count: usize) -> bool {
        let coldest = self.warm.take_coldest(count);
        coldest.iter().for_each(|slot| self.cool(slot));
        !coldest.is_empty()
    }

    /// One that has left the line lets its guest go. It may be parked then.
    fn cool(&self, slot: &Arc<Slot>) {
        slot.cool();
        self.release(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(count: u8) -> Vec<Arc<Slot>> {
        let slot = |number| Arc::new(Slot::new(format!("i{number}").parse().unwrap()));
        (0..count).map(slot).collect()
    }

    fn names(slots: &[Arc<Slot>]) -> Vec<&str> {
        slots.iter().map(|slot| slot.id.as_str()).collect()
    }

    #[test]
    fn the_first_that_was_not_used_since_makes_way() {
        let (set, mut slots) = (WarmSet::default(), slots(5));
        for slot in &slots[..3] {
            assert!(set.enter(slot, 3).is_none());
        }
        slots[0].used.store(true, Ordering::Relaxed);
        let one = set.enter(&slots[3], 3).unwrap();
        // The first has had its second chance.
        let other = set.enter(&slots[4], 3).unwrap();
        assert_eq!(names(&[one, other]), ["i1", "i2"]);
        assert!(!slots[1].is_warm() && slots[0].is_warm());
        set.leave(&slots[3]);
        drop(slots.remove(4));
        assert_eq!(names(&set.take_coldest(9)), ["i0"]);
    }

    #[test]
    fn where_all_are_used_one_makes_way_after_a_few_looks() {
        let (set, slots) = (WarmSet::default(), slots(100));
        for slot in &slots {
            assert!(set.enter(slot, 100).is_none());
            slot.used.store(true, Ordering::Relaxed);
        }
        assert_eq!(names(&set.take_coldest(1)), ["i16"]);
    }
}
