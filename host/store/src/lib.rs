//! Durable truth: the log, the history and the state on disk.
//!
//! This room alone knows redb. It knows nothing of guests, tasks or clocks: what may happen is
//! decided by `wfhost_core`, inside the store's critical section. A record that is *submitted* has
//! its place in the one order; a writer makes the order durable in that order, so that a crash
//! always leaves a prefix. Reading shows what is submitted; whoever tells the outside waits first
//! until the position that was seen is durable.

mod backend;
mod deployments;
mod due;
mod ended;
mod error;
mod expiry;
mod find;
mod gather;
mod gc;
mod history;
mod holder;
mod import;
mod index;
mod ledger;
mod look;
mod memory;
mod modules;
mod open;
mod overlay;
mod payloads;
mod recover;
mod registry;
mod removal;
mod schedules;
mod snapshot;
mod state;
mod submit;
mod summary;
mod tables;
mod tally;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, ReadableDatabase};
use wfhost_core::{InstanceId, Position, Timestamp};

pub use deployments::Names;
pub use due::{Due, DuePlace};
pub use ended::EndedPlace;
pub use error::{BindingError, Cause, Error, OpenError, SubmitError, WriteError};
pub use find::{Page, Query};
pub use gc::{Collected, GcOptions, ModuleNeeds, Need, RemovedModule};
pub use memory::Memory;
pub use modules::NewModule;
pub use registry::Held;
pub use submit::{Begun, Reuse, Submitted};
pub use summary::{Reason, Summary};
pub use tally::Standing;
pub use wfhost_core::Moved;

use backend::Gate;
use error::Fault;
use ledger::Ledger;

/// How a store works. The default suits a host.
#[derive(Debug, Clone)]
pub struct Options {
    /// From so many bytes of log on each commit moves some of it to the histories.
    pub gather_bytes: u64,
    /// So many records are moved at least; of larger commits twice as many as they bring.
    pub gather_records_min: u64,
    /// While so many bytes are not durable, submitting waits.
    pub undurable_bytes_max: u64,
    /// So many bytes are committed though nobody waits for them.
    pub commit_bytes: u64,
    /// A record so old is committed though nobody waits for it.
    pub commit_after: Duration,
    /// From this size of the file on, commits keep what makes opening after a crash quick, at the
    /// price of a second sync each.
    pub quick_repair_bytes: u64,
    /// How much of the file is kept in memory.
    pub cache_bytes: usize,
    /// How many instances are kept in memory. The others are folded from their history when they
    /// are looked at.
    pub live_max: usize,
    /// How many changed keys of the state are remembered for old snapshots. Beyond it, reads on
    /// snapshots older than the last gather begin again.
    pub changes_max: usize,
    /// For tests of crashes: after so many submissions since it was opened the store commits what
    /// was submitted, nothing else, and is of no use any more, as after a failed commit.
    #[doc(hidden)]
    pub submissions_max: Option<u64>,
}

const MIB: u64 = 1024 * 1024;

impl Default for Options {
    fn default() -> Self {
        Self {
            gather_bytes: 4 * MIB,
            gather_records_min: 200,
            undurable_bytes_max: 64 * MIB,
            commit_bytes: MIB,
            // What the outside is shown is at most this old.
            commit_after: Duration::from_millis(20),
            // redb walks about 2 s/GiB when it repairs: an eighth of a second here.
            quick_repair_bytes: 64 * MIB,
            cache_bytes: 64 * 1024 * 1024,
            live_max: 10_000,
            changes_max: 1_000_000,
            submissions_max: None,
        }
    }
}

/// An open data file. Cheap to call from many threads; nothing here waits for the disk but what
/// says so.
pub struct Store {
    inner: Arc<Inner>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer has done since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Transactions, gathers among them.
    pub commits: u64,
    /// Gathers.
    pub gathers: u64,
    /// Syncs of the file.
    pub syncs: u64,
    /// Bytes written to the file, those that replace others among them.
    pub bytes_written: u64,
    /// Bytes of log that are not gathered, large payloads included.
    pub log_bytes: u64,
    /// Records that were ever submitted to this file.
    pub records: u64,
    /// Records that are not durable.
    pub undurable_records: u64,
    /// Bytes of log that are not durable, large payloads included.
    pub undurable_bytes: u64,
    /// The size of the file.
    pub file_bytes: u64,
}

/// A commit that has made records of the log durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// How many.
    pub records: u64,
    /// Their bytes, large payloads included.
    pub bytes: u64,
    /// How long it took, the syncs included.
    pub time: Duration,
    /// How long the syncs of the file took.
    pub sync_time: Duration,
}

type CommitListener = Box<dyn Fn(&Commit) + Send + Sync>;

type Callback = Arc<dyn Fn(Result<Position, Error>) + Send + Sync>;

type Listener = Box<dyn Fn(&InstanceId, &Submitted) + Send + Sync>;

/// What the writer and all snapshots share.
struct Inner {
    path: PathBuf,
    options: Options,
    /// Absent once the store is closed.
    database: RwLock<Option<Database>>,
    gate: Gate,
    ledger: Mutex<Ledger>,
    /// There is something for the writer to look at.
    work: Condvar,
    /// Something has become durable, or never will.
    progress: Condvar,
    /// Held from taking a batch until it is durable. Locked before the ledger.
    writing: Mutex<()>,
    /// How many snapshots there are of each position and time. Locked after the ledger, never
    /// before.
    snapshots: Mutex<BTreeMap<(Position, Timestamp), usize>>,
    /// One deployment at a time. Locked before `writing`.
    deploying: Mutex<()>,
    callbacks: RwLock<Vec<Callback>>,
    listeners: RwLock<Vec<Listener>>,
    commit_listeners: RwLock<Vec<CommitListener>>,
    /// Held by the one who counts the instances. Locked before `writing`.
    tallying: Mutex<()>,
    counts: WriterCounts,
}

#[derive(Default)]
struct WriterCounts {
    commits: AtomicU64,
    gathers: AtomicU64,
}

/// Durability.
impl Store {
    /// Up to where the log survives power loss.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.inner.ledger().durable
    }

    /// The last position that was given out.
    #[must_use]
    pub fn submitted(&self) -> Position {
        self.inner.ledger().submitted
    }

    /// How many bytes of log are submitted and not durable.
    #[must_use]
    pub fn undurable_bytes(&self) -> u64 {
        self.inner.ledger().undurable_bytes
    }

    /// Why the store takes nothing any more, if a commit has failed.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.inner.ledger().end.clone()
    }

    /// Says that somebody waits for a position: it is committed now. Returns at once.
    pub fn demand(&self, position: Position) {
        let mut ledger = self.inner.ledger();
        if position > ledger.demanded && position > ledger.durable {
            ledger.demanded = position.min(ledger.submitted);
            self.inner.wake_writer(&ledger);
        }
    }

    /// Waits until a position is durable.
    ///
    /// # Errors
    /// If that is not known: a commit has failed, or the store is closed.
    pub fn wait_durable(&self, position: Position) -> Result<(), Error> {
        self.demand(position);
        let mut ledger = self.inner.ledger();
        while ledger.durable < position {
            if let Some(error) = &ledger.end {
                return Err(error.clone());
            }
            ledger = self.inner.wait(&self.inner.progress, ledger);
        }
        Ok(())
    }

    /// Calls back after each commit with the durable position, and once when a commit has failed.
    /// It is called on the writer's thread, so it must be quick, and must not close the store.
    pub fn on_durable(&self, callback: Box<dyn Fn(Result<Position, Error>) + Send + Sync>) {
        let mut callbacks = self.inner.callbacks.write();
        let callbacks = callbacks
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut());
        callbacks.push(callback.into());
    }

    /// Calls back with the records of each instance, in the order of their positions, before
    /// anything later can take its place. It is called inside the critical section, so it must be
    /// quick and must not call the store. What it hears of is not durable yet.
    pub fn on_submit(&self, listener: impl Fn(&InstanceId, &Submitted) + Send + Sync + 'static) {
        let mut listeners = self.inner.listeners.write();
        let listeners = listeners
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut());
        listeners.push(Box::new(listener));
    }

    /// Calls back after each commit of records, on the writer's thread: it must be quick and must not
    /// call the store.
    pub fn on_commit(&self, listener: impl Fn(&Commit) + Send + Sync + 'static) {
        let mut listeners = self.inner.commit_listeners.write();
        let listeners = listeners
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut());
        listeners.push(Box::new(listener));
    }

    /// What the writer has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let ledger = self.inner.ledger();
        Counts {
            commits: self.inner.counts.commits.load(Ordering::Relaxed),
            gathers: self.inner.counts.gathers.load(Ordering::Relaxed),
            syncs: self.inner.gate.syncs(),
            bytes_written: self.inner.gate.written(),
            log_bytes: ledger.ungathered_bytes,
            records: ledger.submitted.0,
            undurable_records: ledger.submitted.0 - ledger.durable.0,
            undurable_bytes: ledger.undurable_bytes,
            file_bytes: self.inner.gate.bytes(),
        }
    }

    /// Where the data file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Commits and gathers everything, and closes the file. What is submitted meanwhile is
    /// refused. Closing again does nothing.
    ///
    /// # Errors
    /// If a commit has failed, now or before. The file is closed even so.
    pub fn close(&self) -> Result<(), Error> {
        self.inner.ledger().closing = true;
        self.inner.work.notify_all();
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = writer.take() else {
            return Ok(());
        };
        // It catches its panics itself.
        let _ = writer.join();
        let closed = Error::Closed {
            path: self.inner.path.clone(),
        };
        let failed = self.inner.ledger().end.replace(closed);
        self.inner.progress.notify_all();
        self.inner.close_database();
        failed.map_or(Ok(()), Err)
    }

    /// Starts the writer.
    fn run(inner: Arc<Inner>) -> Result<Self, OpenError> {
        let writers = inner.clone();
        let writer = std::thread::Builder::new()
            .name("wfhost-store".into())
            .spawn(move || writer::run(&writers))
            .map_err(|source| OpenError::Io {
                path: inner.path.clone(),
                source,
            })?;
        Ok(Self {
            inner,
            writer: Mutex::new(Some(writer)),
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close_database();
    }
}

impl Inner {
    fn new(path: PathBuf, database: Database, gate: Gate, options: Options) -> Self {
        Self {
            path,
            options,
            database: RwLock::new(Some(database)),
            gate,
            ledger: Mutex::default(),
            work: Condvar::new(),
            progress: Condvar::new(),
            writing: Mutex::default(),
            snapshots: Mutex::default(),
            deploying: Mutex::default(),
            callbacks: RwLock::default(),
            listeners: RwLock::default(),
            commit_listeners: RwLock::default(),
            tallying: Mutex::default(),
            counts: WriterCounts::default(),
        }
    }

    /// Reads the file as it was last committed.
    fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let read = || {
            let database = self.database();
            let database = database.as_ref().ok_or(Fault::Closed)?;
            work(&database.begin_read()?)
        };
        let read = unless_it_panics(read);
        read.map_err(|fault| fault.reading(&self.path))
    }

    /// Waits for reads under way, and lets the file go. All that matters is durable before.
    fn close_database(&self) {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let database = database.take();
        let _ = unless_it_panics(|| {
            drop(database);
            Ok(())
        });
    }

    /// The ledger, unless the store is of no use any more.
    fn usable(&self) -> Result<MutexGuard<'_, Ledger>, Error> {
        let ledger = self.ledger();
        match &ledger.end {
            Some(error) => Err(error.clone()),
            None => Ok(ledger),
        }
    }

    /// The ledger, if the store takes something.
    fn taking(&self) -> Result<MutexGuard<'_, Ledger>, Error> {
        let ledger = self.usable()?;
        if ledger.closing {
            let path = self.path.clone();
            return Err(Error::Closed { path });
        }
        if self.is_spent(&ledger) {
            return Err(self.spent());
        }
        Ok(ledger)
    }

    /// Whether the submissions that the options allow are used up.
    fn is_spent(&self, ledger: &Ledger) -> bool {
        let max = self.options.submissions_max;
        max.is_some_and(|max| ledger.submissions >= max)
    }

    fn spent(&self) -> Error {
        Error::Failed {
            path: self.path.clone(),
            source: Cause::from(Box::from("the submissions that are allowed are used up")),
        }
    }

    // A lock is poisoned when a caller's closure panicked under it. Those run before anything is
    // changed, so what the lock guards is whole.

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        condition: &Condvar,
        ledger: MutexGuard<'a, Ledger>,
    ) -> MutexGuard<'a, Ledger> {
        condition
            .wait(ledger)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'a>(
        &self,
        condition: &Condvar,
        ledger: MutexGuard<'a, Ledger>,
        timeout: Duration,
    ) -> MutexGuard<'a, Ledger> {
        let waited = condition.wait_timeout(ledger, timeout);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<(Position, Timestamp), usize>> {
        self.snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> RwLockReadGuard<'_, Vec<Listener>> {
        self.listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn callbacks(&self) -> RwLockReadGuard<'_, Vec<Callback>> {
        self.callbacks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// redb trusts its pages, and panics on some that were changed behind its back.
fn unless_it_panics<T>(read: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(Fault::Damaged("redb cannot make sense of it".into())))
}
