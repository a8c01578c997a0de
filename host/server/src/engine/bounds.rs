//! How many attempts run at once, and who waits for their turn.
//!
//! What waits is kept by instance and activity, so that finding the next takes as many looks as
//! there are such pairs, not as there are attempts; what concerns one instance is found by its id.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wfhost_core::{InstanceId, Name};

/// How many attempts may run at once. Those over it wait, first come, first served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// In the whole host.
    pub running_max: usize,
    /// Of one instance.
    pub running_per_instance_max: usize,
    /// Of one activity, by its name.
    pub running_by_name_max: BTreeMap<Name, usize>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            running_max: 256,
            running_per_instance_max: usize::MAX,
            running_by_name_max: BTreeMap::new(),
        }
    }
}

/// What waits of one instance and activity, each with its place in the line.
type Line<T> = VecDeque<(u64, T)>;

/// Lets attempts in, up to the bounds.
pub(crate) struct Doorway<T> {
    bounds: Bounds,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    running: usize,
    by_instance: HashMap<InstanceId, usize>,
    by_name: HashMap<Name, usize>,
    /// No line is empty, and no instance has none.
    waiting: BTreeMap<InstanceId, BTreeMap<Name, Line<T>>>,
    places: u64,
}

impl<T> Doorway<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            inner: Mutex::new(Inner {
                running: 0,
                by_instance: HashMap::new(),
                by_name: HashMap::new(),
                waiting: BTreeMap::new(),
                places: 0,
            }),
        }
    }

    /// True if it is in; else `what` waits, and comes out of [`Doorway::leave`] when it is.
    pub(crate) fn enter(&self, id: &InstanceId, name: &Name, what: impl FnOnce() -> T) -> bool {
        let mut inner = self.lock();
        if self.is_free(&inner, id, name) {
            inner.count(id, name);
            return true;
        }
        inner.places += 1;
        let place = inner.places;
        let theirs = inner.waiting.entry(id.clone()).or_default();
        let line = theirs.entry(name.clone()).or_default();
        line.push_back((place, what()));
        false
    }

    /// One that was let in is out again. Hands out all that have their turn now; they are in.
    pub(crate) fn leave(&self, id: &InstanceId, name: &Name) -> Vec<(InstanceId, Name, T)> {
        let mut inner = self.lock();
        inner.running -= 1;
        uncount(&mut inner.by_instance, id);
        uncount(&mut inner.by_name, name);
        let mut let_in = Vec::new();
        while let Some((id, name, what)) = self.next(&mut inner) {
            inner.count(&id, &name);
            let_in.push((id, name, what));
        }
        let_in
    }

    /// How many are in, and how many wait.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let inner = self.lock();
        let lines = inner.waiting.values().flat_map(BTreeMap::values);
        (inner.running, lines.map(VecDeque::len).sum())
    }

    /// Takes what waits for an instance out of the line, as far as it is told.
    pub(crate) fn forget(&self, id: &InstanceId, which: impl Fn(&T) -> bool) -> Vec<T> {
        let mut inner = self.lock();
        let Some(mut theirs) = inner.waiting.remove(id) else {
            return Vec::new();
        };
        let mut forgotten = Vec::new();
        theirs.retain(|_, line| {
            let (out, stays) = split(std::mem::take(line), &which);
            forgotten.extend(out);
            *line = stays;
            !line.is_empty()
        });
        if !theirs.is_empty() {
            inner.waiting.insert(id.clone(), theirs);
        }
        forgotten
    }

    /// The one that has waited longest of those that may run.
    fn next(&self, inner: &mut Inner<T>) -> Option<(InstanceId, Name, T)> {
        let (id, name) = self.first(inner)?;
        let theirs = inner.waiting.get_mut(&id)?;
        let line = theirs.get_mut(&name)?;
        let (_, what) = line.pop_front()?;
        if line.is_empty() {
            theirs.remove(&name);
            if theirs.is_empty() {
                inner.waiting.remove(&id);
            }
        }
        Some((id, name, what))
    }

    /// Whose line the one stands in that comes next.
    fn first(&self, inner: &Inner<T>) -> Option<(InstanceId, Name)> {
        let instances = inner.waiting.iter();
        let lines = instances.flat_map(|(id, theirs)| theirs.iter().map(move |it| (id, it)));
        let free = lines.filter(|(id, (name, _))| self.is_free(inner, id, name));
        let first = free.filter_map(|(id, (name, line))| Some((line.front()?.0, id, name)));
        let (_, id, name) = first.min_by_key(|(place, ..)| *place)?;
        Some((id.clone(), name.clone()))
    }

    fn is_free(&self, inner: &Inner<T>, id: &InstanceId, name: &Name) -> bool {
        let of_name = self.bounds.running_by_name_max.get(name);
        inner.running < self.bounds.running_max
            && inner.by_instance.get(id).copied().unwrap_or(0)
                < self.bounds.running_per_instance_max
            && of_name.is_none_or(|max| inner.by_name.get(name).copied().unwrap_or(0) < *max)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waited and is told, and the rest with its places in the line.
fn split<T>(line: Line<T>, which: impl Fn(&T) -> bool) -> (Vec<T>, Line<T>) {
    let (mut out, mut stays) = (Vec::new(), VecDeque::new());
    for (place, what) in line {
        if which(&what) {
            out.push(what);
        } else {
            stays.push_back((place, what));
        }
    }
    (out, stays)
}

impl<T> Inner<T> {
    fn count(&mut self, id: &InstanceId, name: &Name) {
        self.running += 1;
        *self.by_instance.entry(id.clone()).or_default() += 1;
        *self.by_name.entry(name.clone()).or_default() += 1;
    }
}

fn uncount<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_holds_and_who_waits_comes_in_the_order_of_the_line() {
        let [pay, ship]: [Name; 2] = ["Pay", "Ship"].map(|it| it.parse().unwrap());
        let [a, b]: [InstanceId; 2] = ["a", "b"].map(|it| it.parse().unwrap());
        let door = Doorway::new(Bounds {
            running_max: 3,
            running_per_instance_max: 2,
            running_by_name_max: [(pay.clone(), 1)].into(),
        });
        assert!(door.enter(&a, &pay, || 1));
        assert!(!door.enter(&b, &pay, || 2), "one payment at a time");
        assert!(door.enter(&a, &ship, || 3));
        assert!(!door.enter(&a, &ship, || 4), "two of one instance");
        assert!(door.enter(&b, &ship, || 5));
        assert!(!door.enter(&b, &ship, || 6), "three in all");
        let leave =
            |id, name| -> Vec<_> { door.leave(id, name).into_iter().map(|it| it.2).collect() };
        assert_eq!(leave(&a, &ship), [4]);
        assert_eq!(leave(&a, &pay), [2]);
        assert!(!door.enter(&a, &ship, || 7) && !door.enter(&b, &pay, || 8));
        assert_eq!(door.forget(&a, |what| *what == 7), [7]);
        assert_eq!(leave(&b, &pay), [6], "the line goes before the name");
        assert_eq!(leave(&b, &ship), [8]);
        assert_eq!(leave(&b, &pay), [0; 0]);
    }

    #[test]
    fn only_what_waits_for_the_instance_and_is_told_leaves_the_line() {
        let [pay, ship]: [Name; 2] = ["Pay", "Ship"].map(|it| it.parse().unwrap());
        let [a, b]: [InstanceId; 2] = ["a", "b"].map(|it| it.parse().unwrap());
        let door = Doorway::new(Bounds {
            running_max: 1,
            ..Bounds::default()
        });
        assert!(door.enter(&a, &pay, || 0));
        for (id, name, what) in [(&a, &pay, 1), (&a, &ship, 2), (&b, &pay, 3), (&a, &pay, 4)] {
            assert!(!door.enter(id, name, || what));
        }
        let looked_at = std::cell::RefCell::new(Vec::new());
        let forgotten = door.forget(&a, |what| {
            looked_at.borrow_mut().push(*what);
            *what < 3
        });
        assert_eq!(forgotten, [1, 2]);
        assert_eq!(looked_at.into_inner(), [1, 4, 2]);
        assert_eq!(door.lock().waiting.len(), 2);
        assert_eq!(door.forget(&a, |_| true), [4]);
        assert_eq!(door.forget(&a, |_| true), [0; 0]);
        let waiting = &door.lock().waiting;
        assert!(waiting.keys().eq([&b]), "no line is left empty");
    }
}
