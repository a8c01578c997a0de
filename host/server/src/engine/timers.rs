//! What is due later.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wfhost_core::Timestamp;

/// The longest sleep. The wall clock may be set, and a sleep does not notice.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Things by the time at which they are due.
pub(crate) struct Timers<T> {
    due: Mutex<Due<T>>,
    sooner: Notify,
}

struct Due<T> {
    by_time: BTreeMap<(Timestamp, u64), T>,
    count: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        let due = Due {
            by_time: BTreeMap::new(),
            count: 0,
        };
        Self {
            due: Mutex::new(due),
            sooner: Notify::new(),
        }
    }

    pub(crate) fn add(&self, at: Timestamp, what: T) {
        let mut due = self.lock();
        due.count += 1;
        let key = (at, due.count);
        due.by_time.insert(key, what);
        let first = due
            .by_time
            .first_key_value()
            .is_some_and(|(first, _)| *first == key);
        drop(due);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Hands out what is due, as it becomes due, for ever.
    pub(crate) async fn run(&self, now: impl Fn() -> Timestamp, fire: impl Fn(T)) {
        loop {
            let next = loop {
                let mut due = self.lock();
                let Some(entry) = due.by_time.first_entry() else {
                    break None;
                };
                let at = entry.key().0;
                if at > now() {
                    break Some(at);
                }
                let what = entry.remove();
                drop(due);
                fire(what);
            };
            match next {
                None => self.sooner.notified().await,
                Some(at) => {
                    // One more, so that the millisecond has passed when the sleep ends.
                    let wait = Duration::from_millis(at.since(now()).saturating_add(1));
                    tokio::select! {
                        () = tokio::time::sleep(wait.min(SLEEP_MAX)) => {}
                        () = self.sooner.notified() => {}
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Due<T>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
