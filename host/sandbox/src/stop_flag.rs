//! How an attempt is told to end, wherever it stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Tells one attempt to end: one in its own code within about 10 ms, one that waits for the
/// outside at once. All copies are the same flag. Once set, it stays set.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    waiter: Notify,
}

impl StopFlag {
    /// Tells the attempt to end. One that has ended already does not notice.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::Release);
        self.0.waiter.notify_waiters();
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Comes back once it was told.
    pub(crate) async fn wait(&self) {
        let mut told = std::pin::pin!(self.0.waiter.notified());
        // In line before the look, so that nothing is missed between the two.
        told.as_mut().enable();
        if !self.is_set() {
            told.await;
        }
    }
}
