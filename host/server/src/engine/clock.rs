//! What time it is for all that the host does.
//!
//! The wall clock, or one that stands still for a test. Either can be put forward: where time is
//! skipped, it jumps to the next timer as soon as nothing else is left to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wfhost_core::Timestamp;

/// A clock. Copies show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Stands still here; absent: the wall clock.
    still: Option<Timestamp>,
    /// How far it has been put forward, in milliseconds.
    ahead: AtomicU64,
    skips: AtomicBool,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Clock {
    fn new(still: Option<Timestamp>) -> Self {
        Self(Arc::new(Inner {
            still,
            ahead: AtomicU64::new(0),
            skips: AtomicBool::new(false),
        }))
    }

    /// The wall clock, or whatever the system says it is.
    #[must_use]
    pub fn wall() -> Self {
        Self::default()
    }

    /// A clock that moves only when it is put forward or skips.
    #[must_use]
    pub fn still(at: Timestamp) -> Self {
        Self::new(Some(at))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let base = self.0.still;
        let base = base.unwrap_or_else(|| Timestamp::from_system(SystemTime::now()));
        base.after(self.0.ahead.load(Ordering::Acquire))
    }

    /// Puts the clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let ahead = |ahead: u64| Some(ahead.saturating_add(millis));
        // It always gives a value.
        let _ = self
            .0
            .ahead
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, ahead);
    }

    /// From here on time is skipped, or passes again as it does.
    pub fn set_skips(&self, skips: bool) {
        self.0.skips.store(skips, Ordering::Release);
    }

    /// Whether time is skipped when nothing else is left to do.
    #[must_use]
    pub fn skips(&self) -> bool {
        self.0.skips.load(Ordering::Acquire)
    }

    /// Puts the clock forward to a time, unless it is there.
    pub(crate) fn skip_to(&self, at: Timestamp) {
        self.advance(Duration::from_millis(at.since(self.now())));
    }
}
