//! The jobs that wait for a worker. First in, first out, so that no instance starves another.
//!
//! Attempts may take long and everything else may not, so they queue apart: there is always a
//! worker that takes no attempts.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Short jobs first, then long ones.
    All,
    /// Short jobs only.
    Short,
}

/// A queue that workers block on.
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    /// For those who take all.
    ready: Condvar,
    /// For those who take short jobs only.
    short_ready: Condvar,
}

struct Inner<T> {
    short: VecDeque<T>,
    long: VecDeque<T>,
    /// Workers that take all and wait.
    idle: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let (short, long) = (VecDeque::new(), VecDeque::new());
        let inner = Inner {
            short,
            long,
            idle: 0,
            closed: false,
        };
        Self {
            inner: Mutex::new(inner),
            ready: Condvar::new(),
            short_ready: Condvar::new(),
        }
    }

    /// Adds a job; a closed queue gives it back, since due work is found again at the next start.
    pub(crate) fn push(&self, job: T, long: bool) -> Result<(), T> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(job);
        }
        let jobs = if long {
            &mut inner.long
        } else {
            &mut inner.short
        };
        jobs.push_back(job);
        // The spare worker sleeps as long as another is free.
        let wake_spare = !long && (inner.idle == 0 || inner.short.len() > 1);
        drop(inner);
        self.ready.notify_one();
        if wake_spare {
            self.short_ready.notify_one();
        }
        Ok(())
    }

    /// The next job; `None` once the queue is closed.
    pub(crate) fn pop(&self, takes: Takes) -> Option<T> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(job) = inner.short.pop_front() {
                return Some(job);
            }
            if takes == Takes::Short {
                inner = self
                    .short_ready
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if let Some(job) = inner.long.pop_front() {
                return Some(job);
            }
            inner.idle += 1;
            inner = self
                .ready
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
            inner.idle -= 1;
        }
    }

    /// Lets the workers go and hands out what they have not begun.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut inner = self.lock();
        inner.closed = true;
        let (short, long) = (
            std::mem::take(&mut inner.short),
            std::mem::take(&mut inner.long),
        );
        drop(inner);
        self.ready.notify_all();
        self.short_ready.notify_all();
        short.into_iter().chain(long).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_jobs_go_first_and_the_spare_worker_takes_no_others() {
        let queue = Queue::new();
        for (job, long) in [(1, true), (2, false), (3, true), (4, false)] {
            queue.push(job, long).unwrap();
        }
        assert_eq!(queue.pop(Takes::Short), Some(2));
        let all: Vec<_> = (0..3).map(|_| queue.pop(Takes::All)).collect();
        assert_eq!(all, [Some(4), Some(1), Some(3)]);
    }

    #[test]
    fn a_closed_queue_gives_everything_back() {
        let queue = Queue::new();
        queue.push(1, true).unwrap();
        assert_eq!(queue.close(), [1]);
        assert_eq!(queue.push(2, false), Err(2));
        assert_eq!(queue.pop(Takes::All), None);
    }
}
