//! The jobs that wait for a worker. First in, first out, so that no instance starves another.
//!
//! Attempts may take long and everything else may not, so they queue apart: there is always a
//! worker that takes no attempts.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
    /// Told when the queue gets shorter than somebody waits for.
    shorter: Notify,
}

struct Inner<T> {
    short: VecDeque<T>,
    long: VecDeque<T>,
    /// Workers that take all and wait.
    idle: usize,
    closed: bool,
    /// How long the queue may be for those who wait for room.
    room: Option<usize>,
}

impl<T> Inner<T> {
    fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let (short, long) = (VecDeque::new(), VecDeque::new());
        let inner = Inner {
            short,
            long,
            idle: 0,
            closed: false,
            room: None,
        };
        Self {
            inner: Mutex::new(inner),
            ready: Condvar::new(),
            short_ready: Condvar::new(),
            shorter: Notify::new(),
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
                self.tell_of_room(&mut inner);
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
                self.tell_of_room(&mut inner);
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

    /// Waits until at most so many jobs are queued, or the queue is closed. One waits at a time.
    pub(crate) async fn room(&self, max: usize) {
        loop {
            {
                let mut inner = self.lock();
                if inner.closed || inner.len() <= max {
                    return;
                }
                inner.room = Some(max);
            }
            self.shorter.notified().await;
        }
    }

    fn tell_of_room(&self, inner: &mut Inner<T>) {
        if inner.closed || inner.room.is_some_and(|max| inner.len() <= max) {
            inner.room = None;
            self.shorter.notify_one();
        }
    }

    /// Lets the workers go and hands out what they have not begun.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut inner = self.lock();
        inner.closed = true;
        self.tell_of_room(&mut inner);
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
    fn who_waits_for_room_goes_on_when_there_is_some() {
        let queue = Queue::new();
        for job in 0..3 {
            queue.push(job, job == 1).unwrap();
        }
        let mut room = std::pin::pin!(queue.room(1));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut waits = || room.as_mut().poll(&mut context).is_pending();
        assert!(waits());
        queue.pop(Takes::All);
        assert!(waits());
        queue.pop(Takes::All);
        assert!(!waits());
        queue.push(3, false).unwrap();
        let mut room = std::pin::pin!(queue.room(0));
        assert!(room.as_mut().poll(&mut context).is_pending());
        queue.close();
        assert!(room.as_mut().poll(&mut context).is_ready());
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
