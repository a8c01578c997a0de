//! The jobs that wait for a worker. First in, first out, so that no instance starves another.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue that workers block on.
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    ready: Condvar,
}

struct Inner<T> {
    jobs: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            jobs: VecDeque::new(),
            closed: false,
        };
        Self {
            inner: Mutex::new(inner),
            ready: Condvar::new(),
        }
    }

    /// Adds a job; a closed queue drops it, since due work is found again at the next start.
    pub(crate) fn push(&self, job: T) {
        let mut inner = self.lock();
        if !inner.closed {
            inner.jobs.push_back(job);
            drop(inner);
            self.ready.notify_one();
        }
    }

    /// The next job; `None` once the queue is closed.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(job) = inner.jobs.pop_front() {
                return Some(job);
            }
            inner = self
                .ready
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the workers go and drops what they have not begun.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.jobs.clear();
        drop(inner);
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
