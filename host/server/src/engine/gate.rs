//! What leaves the host waits here until all that it has seen is durable.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wfhost_core::Position;

/// A commit failed: whether what was submitted since the last one is on disk is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

type Waiting = Box<dyn FnOnce(Result<(), Lost>) + Send>;

/// Holds calls back until their position is durable.
pub(crate) struct Gate {
    inner: Mutex<Inner>,
}

struct Inner {
    durable: Position,
    lost: bool,
    waiting: BTreeMap<Position, Vec<Waiting>>,
}

impl Gate {
    pub(crate) fn new(durable: Position) -> Self {
        Self {
            inner: Mutex::new(Inner {
                durable,
                lost: false,
                waiting: BTreeMap::new(),
            }),
        }
    }

    /// Calls `then` once `position` is durable, or at once if it is; with [`Lost`] if it never
    /// will be known to be. Calls of one position keep their order.
    pub(crate) fn when_durable(
        &self,
        position: Position,
        then: impl FnOnce(Result<(), Lost>) + Send + 'static,
    ) {
        let mut inner = self.lock();
        if position <= inner.durable {
            drop(inner);
            return then(Ok(()));
        }
        if inner.lost {
            drop(inner);
            return then(Err(Lost));
        }
        inner
            .waiting
            .entry(position)
            .or_default()
            .push(Box::new(then));
    }

    /// Everything up to `durable` may leave.
    pub(crate) fn open(&self, durable: Position) {
        let mut inner = self.lock();
        inner.durable = inner.durable.max(durable);
        let later = inner.waiting.split_off(&durable.next());
        let free = std::mem::replace(&mut inner.waiting, later);
        // Called under the lock: what is handed over later must not overtake what is free now.
        // The calls only send into channels and queues.
        for then in free.into_values().flatten() {
            then(Ok(()));
        }
    }

    /// Nothing more will become durable.
    pub(crate) fn lose(&self) {
        let mut inner = self.lock();
        inner.lost = true;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        for then in waiting.into_values().flatten() {
            then(Err(Lost));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_waits_leaves_in_order_and_not_before_it_is_durable() {
        let gate = Gate::new(Position(1));
        let seen = Arc::new(Mutex::new(Vec::new()));
        for position in [3, 2, 1] {
            let seen = Arc::clone(&seen);
            gate.when_durable(Position(position), move |_| {
                seen.lock().unwrap().push(position)
            });
        }
        assert_eq!(*seen.lock().unwrap(), [1]);
        gate.open(Position(2));
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        gate.open(Position(9));
        assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn after_a_lost_commit_everyone_is_told() {
        let gate = Gate::new(Position(0));
        let (tell, told) = std::sync::mpsc::channel();
        let again = tell.clone();
        gate.when_durable(Position(1), move |result| tell.send(result).unwrap());
        gate.lose();
        gate.when_durable(Position(2), move |result| again.send(result).unwrap());
        assert_eq!(
            told.iter().take(2).collect::<Vec<_>>(),
            [Err(Lost), Err(Lost)]
        );
    }
}
