//! The jobs that wait for a worker. First in, first out, so that no instance starves another.
//!
//! Attempts may take long and everything else may not, so they queue apart: there is always a
//! worker that takes no attempts. When all others are held by long ones, so that not one was taken
//! for a while, it asks for one worker more, so that attempts share the processors as threads do
//! and none has to wait for the end of another.
//!
//! What follows from a job mostly concerns the same instance, and nobody else waits for it: the
//! worker that did the job does the first thing that follows as well, without the queue and without
//! waking another. After [`IN_A_ROW_MAX`] of those the others have their turn.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Short jobs first, then long ones.
    All,
    /// Short jobs only.
    Short,
    /// As `All`, for as long as there is something to take.
    Rest,
}

/// So many jobs a worker takes past the queue before it looks into it again.
const IN_A_ROW_MAX: u32 = 64;

/// When no short job was taken for so long, the others are taken to be busy with long ones.
const STUCK_AFTER: Duration = Duration::from_millis(1);

/// When no job at all was taken for so long, one worker more is asked for.
const HELD_UP_AFTER: Duration = Duration::from_millis(20);

/// So many workers more there are at most: each may hold 2 MiB of stack, and more threads than that
/// take time from each other.
const RELIEF_MAX: usize = 128;

/// A queue that workers block on.
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    /// What each worker does next, before it looks into the queue.
    next: Vec<Mutex<Option<T>>>,
    /// As in `inner`, for those who do not lock it.
    closed: AtomicBool,
    /// For those who take all.
    ready: Condvar,
    /// For those who take short jobs only.
    short_ready: Condvar,
    /// Told when the last worker that was asked for has left.
    relieved: Condvar,
    /// Told when the queue gets shorter than somebody waits for.
    shorter: Notify,
}

struct Inner<T> {
    short: VecDeque<T>,
    long: VecDeque<T>,
    /// How many short jobs were ever taken.
    taken: u64,
    /// How many long jobs were ever taken.
    taken_long: u64,
    /// Workers that were asked for and have not left.
    relief: usize,
    /// Workers that take all and wait.
    idle: usize,
    /// Workers that take short jobs only and wait.
    idle_short: usize,
    closed: bool,
    /// How long the queue may be for those who wait for room.
    room: Option<usize>,
}

impl<T> Inner<T> {
    fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }

    fn pop_short(&mut self) -> Option<T> {
        let job = self.short.pop_front()?;
        self.taken += 1;
        Some(job)
    }

    fn pop_long(&mut self) -> Option<T> {
        let job = self.long.pop_front()?;
        self.taken_long += 1;
        Some(job)
    }
}

/// A thread that takes jobs from one queue.
#[derive(Clone, Copy)]
struct Worker {
    /// Where the queue lies, which tells it from others.
    queue: usize,
    number: usize,
    takes: Takes,
    /// How many jobs it has taken past the queue.
    in_a_row: u32,
}

thread_local! {
    /// The worker that this thread is.
    static WORKER: Cell<Option<Worker>> = const { Cell::new(None) };
}

impl<T> Queue<T> {
    /// A queue whose first `workers` workers may keep what follows from their jobs.
    pub(crate) fn new(workers: usize) -> Self {
        let (short, long) = (VecDeque::new(), VecDeque::new());
        let inner = Inner {
            short,
            long,
            taken: 0,
            taken_long: 0,
            relief: 0,
            idle: 0,
            idle_short: 0,
            closed: false,
            room: None,
        };
        Self {
            inner: Mutex::new(inner),
            next: (0..workers).map(|_| Mutex::new(None)).collect(),
            closed: AtomicBool::new(false),
            ready: Condvar::new(),
            short_ready: Condvar::new(),
            relieved: Condvar::new(),
            shorter: Notify::new(),
        }
    }

    /// Hands this thread the jobs that it takes, one after the other, until the queue is closed, or
    /// as long as `takes` says. `number` is its own among the workers. `relieve` starts one worker
    /// more, a thread that takes the [`Takes::Rest`].
    pub(crate) fn work(&self, number: usize, takes: Takes, work: impl Fn(T), relieve: impl Fn()) {
        WORKER.set(Some(Worker {
            queue: self.place(),
            number,
            takes,
            in_a_row: 0,
        }));
        while let Some(job) = self.kept().or_else(|| self.pop(takes, &relieve)) {
            work(job);
        }
        WORKER.set(None);
    }

    /// Adds a job; a closed queue gives it back, since due work is found again at the next start.
    pub(crate) fn push(&self, job: T, long: bool) -> Result<(), T> {
        match self.keep(job, long) {
            None => Ok(()),
            Some(job) => self.queue(job, long),
        }
    }

    /// Lets others have what this worker was going to do next, because what it does now may take
    /// long.
    pub(crate) fn share(&self, is_long: impl FnOnce(&T) -> bool) -> Result<(), T> {
        let kept = self.worker().and_then(|worker| {
            let kept = self.next.get(worker.number)?;
            lock(kept).take()
        });
        let Some(job) = kept else { return Ok(()) };
        let long = is_long(&job);
        self.queue(job, long)
    }

    /// What this worker has kept for itself.
    fn kept(&self) -> Option<T> {
        let worker = self.worker()?;
        let kept = lock(self.next.get(worker.number)?).take();
        let in_a_row = match kept {
            Some(_) => worker.in_a_row + 1,
            None => 0,
        };
        WORKER.set(Some(Worker { in_a_row, ..worker }));
        kept
    }

    /// Keeps a job for the worker that this thread is, or gives it back.
    fn keep(&self, job: T, long: bool) -> Option<T> {
        let keeps = |worker: &Worker| {
            worker.in_a_row < IN_A_ROW_MAX && !(long && worker.takes == Takes::Short)
        };
        let Some(worker) = self.worker().filter(keeps) else {
            return Some(job);
        };
        let Some(next) = self.next.get(worker.number) else {
            return Some(job);
        };
        let mut next = lock(next);
        // Looked at under the lock: who closes the queue takes what is kept after that.
        if next.is_some() || self.closed.load(Ordering::SeqCst) {
            return Some(job);
        }
        *next = Some(job);
        None
    }

    fn queue(&self, job: T, long: bool) -> Result<(), T> {
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
        // Telling nobody costs as much as telling somebody.
        let wake = inner.idle > 0;
        // The spare worker sleeps as long as another is free.
        let wake_spare = inner.idle_short > 0 && !wake;
        drop(inner);
        if wake {
            self.ready.notify_one();
        }
        if wake_spare {
            self.short_ready.notify_one();
        }
        Ok(())
    }

    /// The next job; `None` once the queue is closed, or there is no rest.
    fn pop(&self, takes: Takes, relieve: impl Fn()) -> Option<T> {
        match takes {
            Takes::All => self.pop_any(),
            Takes::Short => self.pop_short(relieve),
            Takes::Rest => self.pop_rest(),
        }
    }

    fn pop_any(&self) -> Option<T> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(job) = self.take(&mut inner) {
                return Some(job);
            }
            inner.idle += 1;
            inner = wait(&self.ready, inner);
            inner.idle -= 1;
        }
    }

    fn pop_rest(&self) -> Option<T> {
        let mut inner = self.lock();
        // Those who stay are enough again.
        let job = match inner.closed || inner.idle > 0 {
            true => None,
            false => self.take(&mut inner),
        };
        if job.is_none() {
            self.leave(&mut inner);
        }
        job
    }

    fn leave(&self, inner: &mut Inner<T>) {
        inner.relief -= 1;
        if inner.relief == 0 {
            self.relieved.notify_all();
        }
    }

    /// The next of all jobs.
    fn take(&self, inner: &mut Inner<T>) -> Option<T> {
        let job = inner.pop_short().or_else(|| inner.pop_long())?;
        self.tell_of_room(inner);
        Some(job)
    }

    /// A short job that nobody else takes: as long as others do, one more worker than there are
    /// processors is only in their way.
    fn pop_short(&self, relieve: impl Fn()) -> Option<T> {
        let mut inner = self.lock();
        // What was taken when jobs last were, and since when no more were.
        let mut held_up = ((inner.taken, inner.taken_long), Instant::now());
        loop {
            if inner.closed {
                return None;
            }
            if inner.len() == 0 {
                inner.idle_short += 1;
                inner = wait(&self.short_ready, inner);
                inner.idle_short -= 1;
                held_up = ((inner.taken, inner.taken_long), Instant::now());
                continue;
            }
            let taken = (inner.taken, inner.taken_long);
            if held_up.0 != taken {
                held_up = (taken, Instant::now());
            } else if held_up.1.elapsed() >= HELD_UP_AFTER && inner.relief < RELIEF_MAX {
                inner.relief += 1;
                held_up.1 = Instant::now();
                drop(inner);
                relieve();
                inner = self.lock();
                continue;
            }
            let waited = self.short_ready.wait_timeout(inner, STUCK_AFTER);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !inner.closed
                && inner.taken == taken.0
                && let Some(job) = inner.pop_short()
            {
                self.tell_of_room(&mut inner);
                return Some(job);
            }
        }
    }

    /// The worker that was asked for has not come.
    pub(crate) fn not_relieved(&self) {
        self.leave(&mut self.lock());
    }

    /// Waits until all workers have left that were asked for. The queue is closed.
    pub(crate) fn wait_for_relief(&self) {
        let mut inner = self.lock();
        while inner.relief > 0 {
            inner = wait(&self.relieved, inner);
        }
    }

    /// How many short and how many long jobs wait.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.short.len(), inner.long.len())
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

    /// How many jobs wait for a worker.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
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
        self.closed.store(true, Ordering::SeqCst);
        self.tell_of_room(&mut inner);
        let (short, long) = (
            std::mem::take(&mut inner.short),
            std::mem::take(&mut inner.long),
        );
        drop(inner);
        self.ready.notify_all();
        self.short_ready.notify_all();
        let kept = self.next.iter().filter_map(|next| lock(next).take());
        short.into_iter().chain(long).chain(kept).collect()
    }

    /// The worker that this thread is, if it is one of this queue's.
    fn worker(&self) -> Option<Worker> {
        WORKER.get().filter(|worker| worker.queue == self.place())
    }

    fn place(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        lock(&self.inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(ready: &Condvar, inner: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    ready.wait(inner).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pop(queue: &Queue<u32>, takes: Takes) -> Option<u32> {
        queue.pop(takes, || panic!("nobody is held up"))
    }

    #[test]
    fn short_jobs_go_first_and_the_spare_worker_takes_no_others() {
        let queue = Queue::new(0);
        for (job, long) in [(1, true), (2, false), (3, true), (4, false)] {
            queue.push(job, long).unwrap();
        }
        assert_eq!(pop(&queue, Takes::Short), Some(2));
        let all: Vec<_> = (0..3).map(|_| pop(&queue, Takes::All)).collect();
        assert_eq!(all, [Some(4), Some(1), Some(3)]);
    }

    #[test]
    fn who_waits_for_room_goes_on_when_there_is_some() {
        let queue = Queue::new(0);
        for job in 0..3 {
            queue.push(job, job == 1).unwrap();
        }
        let mut room = std::pin::pin!(queue.room(1));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut waits = || room.as_mut().poll(&mut context).is_pending();
        assert!(waits());
        pop(&queue, Takes::All);
        assert!(waits());
        pop(&queue, Takes::All);
        assert!(!waits());
        queue.push(3, false).unwrap();
        let mut room = std::pin::pin!(queue.room(0));
        assert!(room.as_mut().poll(&mut context).is_pending());
        queue.close();
        assert!(room.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_closed_queue_gives_everything_back() {
        let queue = Queue::new(0);
        queue.push(1, true).unwrap();
        assert_eq!(queue.close(), [1]);
        assert_eq!(queue.push(2, false), Err(2));
        assert_eq!(pop(&queue, Takes::All), None);
    }

    /// What one worker does, where each job up to `last` is followed by the next.
    fn done_by(takes: Takes, last: u32, long: bool) -> Vec<u32> {
        let queue = Queue::new(1);
        // Somebody else's jobs, which come after the first.
        queue.push(0, false).unwrap();
        queue.push(1000, false).unwrap();
        let done = std::cell::RefCell::new(Vec::new());
        let work = |job| {
            done.borrow_mut().push(job);
            if job < last {
                queue.push(job + 1, long).unwrap();
            } else if job == 1000 {
                queue.close();
            }
        };
        queue.work(0, takes, work, || ());
        done.into_inner()
    }

    #[test]
    fn a_worker_does_what_follows_from_its_job_at_once() {
        assert_eq!(done_by(Takes::All, 3, true), [0, 1, 2, 3, 1000]);
        assert_eq!(done_by(Takes::Short, 2, false), [0, 1, 2, 1000]);
        // An attempt is no job for the spare worker.
        assert_eq!(done_by(Takes::Short, 3, true), [0, 1000]);
    }

    #[test]
    fn after_some_in_a_row_the_others_have_their_turn() {
        let done = done_by(Takes::All, 999, false);
        let first = usize::try_from(IN_A_ROW_MAX).unwrap() + 1;
        assert_eq!(done[first], 1000, "{done:?}");
    }

    #[test]
    fn what_a_worker_shares_is_in_the_queue() {
        let queue = Queue::new(1);
        queue.push(0, false).unwrap();
        let seen = Cell::new(0);
        let work = |job| {
            if job == 0 {
                queue.push(1, true).unwrap();
                queue.share(|_| true).unwrap();
                seen.set(queue.lock().long.len());
                queue.close();
            }
        };
        queue.work(0, Takes::All, work, || ());
        assert_eq!(seen.get(), 1);
    }

    #[test]
    fn where_nobody_takes_what_is_long_the_spare_worker_asks_for_one_more_who_takes_the_rest() {
        let queue = Queue::new(1);
        for job in 0..3 {
            queue.push(job, true).unwrap();
        }
        let rest = Mutex::new(Vec::new());
        let relieve = || {
            let work = |job| {
                rest.lock().unwrap().push(job);
                // It may keep nothing: it might leave.
                if job == 2 {
                    queue.push(3, true).unwrap();
                }
            };
            queue.work(1, Takes::Rest, work, || {
                unreachable!("it is no spare worker")
            });
            queue.close();
        };
        queue.work(0, Takes::Short, |_| unreachable!("all are long"), relieve);
        assert_eq!(*rest.lock().unwrap(), [0, 1, 2, 3]);
        assert_eq!(queue.lock().relief, 0);
    }
}
