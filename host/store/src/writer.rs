//! The one writer: it takes all that was submitted so far as one transaction, then tells those who
//! wait. While a commit is under way, what is submitted gathers for the next one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use wfhost_core::{Digest, Json, Position};

use crate::error::{Cause, Error, Fault};
use crate::ledger::{Ledger, Row};
use crate::tables::{LOG, LOG_ROW_BYTES, NAMESPACE};
use crate::{Commit, Inner, payloads};

/// What one commit makes durable.
pub(crate) struct Batch {
    /// The last position in it.
    pub(crate) position: Position,
    pub(crate) rows: Vec<Row>,
    pub(crate) payloads: Vec<(Digest, Json)>,
    pub(crate) bytes: u64,
}

/// Measures a commit. Held by the one who writes, so that the syncs meanwhile are its own.
pub(crate) struct Watch {
    begun: Instant,
    syncing: Duration,
}

impl Watch {
    pub(crate) fn begin(inner: &Inner) -> Self {
        Self {
            begun: Instant::now(),
            syncing: inner.gate.syncing(),
        }
    }

    /// The commit is durable: those who listen are told.
    pub(crate) fn end(self, inner: &Inner, batch: &Batch) {
        let commit = Commit {
            records: batch.rows.len() as u64,
            bytes: batch.bytes,
            time: self.begun.elapsed(),
            sync_time: inner.gate.syncing().saturating_sub(self.syncing),
        };
        let listeners = inner.commit_listeners.read();
        let listeners = listeners.unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|listener| listener(&commit));
    }
}

/// Writes until the store is closed or a commit fails.
pub(crate) fn run(inner: &Inner) {
    let ended = catch_unwind(AssertUnwindSafe(|| write_until_closed(inner)));
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => inner.fail(error),
        Err(_) => inner.fail(Error::Failed {
            path: inner.path.clone(),
            source: Cause::from(Box::from("the writer panicked")),
        }),
    }
}

fn write_until_closed(inner: &Inner) -> Result<(), Error> {
    while inner.wait_until_due()? {
        inner.commit()?;
        if inner.is_spent(&inner.ledger()) {
            return Err(inner.spent());
        }
    }
    inner.gather()
}

impl Ledger {
    /// Everything that is not durable.
    pub(crate) fn take_batch(&mut self) -> Batch {
        self.waiting_since = None;
        Batch {
            position: self.submitted,
            rows: self.rows_after(self.durable),
            payloads: self.undurable_payloads(),
            bytes: self.undurable_bytes,
        }
    }
}

impl Inner {
    /// Waits until a commit is due. `false` when the store is to close.
    fn wait_until_due(&self) -> Result<bool, Error> {
        let mut ledger = self.usable()?;
        loop {
            if let Some(error) = &ledger.end {
                return Err(error.clone());
            }
            if self.is_spent(&ledger) {
                return Ok(true);
            }
            if ledger.closing {
                return Ok(false);
            }
            let now = Instant::now();
            let due_at = ledger.waiting_since;
            let due_at = due_at.map(|since| since + self.options.commit_after);
            if ledger.demanded > ledger.durable
                || ledger.undurable_bytes >= self.options.commit_bytes
                || due_at.is_some_and(|due| due <= now)
            {
                return Ok(true);
            }
            ledger.writer_sleeps = true;
            ledger = match due_at {
                None => self.wait(&self.work, ledger),
                Some(due) => self.wait_for(&self.work, ledger, due.saturating_duration_since(now)),
            };
            ledger.writer_sleeps = false;
        }
    }

    /// Has the writer look at what there is to do. Telling one who is awake costs as much as waking
    /// one who sleeps, so that is not done.
    pub(crate) fn wake_writer(&self, ledger: &Ledger) {
        if ledger.writer_sleeps {
            self.work.notify_one();
        }
    }

    /// Makes everything that was submitted durable. Where there is much log, the same transaction
    /// moves some of it to the histories: twice as much as it brings, so that the log does not grow,
    /// and so little that nobody waits long.
    fn commit(&self) -> Result<(), Error> {
        let writing = self.writing();
        {
            let ledger = self.usable()?;
            if ledger.ungathered_bytes >= self.options.gather_bytes {
                let records = 2 * (ledger.submitted.0 - ledger.durable.0);
                drop(ledger);
                let records = records.max(self.options.gather_records_min);
                let rest = self.gather_up_to(records, &writing)?;
                drop(writing);
                return if rest { self.remove_rest() } else { Ok(()) };
            }
        }
        let batch = self.usable()?.take_batch();
        let watch = Watch::begin(self);
        let log_rows = self.write(|transaction| {
            let log_rows = append(transaction, &batch.rows)?;
            payloads::write(transaction, &batch.payloads)?;
            Ok(log_rows)
        })?;
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        let mut ledger = self.ledger();
        ledger.is_durable(batch.position, log_rows, batch.bytes);
        drop(ledger);
        watch.end(self, &batch);
        self.tell(&Ok(batch.position));
        Ok(())
    }

    /// One transaction, durable when this returns. Quick-repair costs a second sync and saves the
    /// walk through the whole file after a crash, so it is for large files.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let write = || {
            let database = self.database();
            let database = database.as_ref().ok_or(Fault::Closed)?;
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(self.gate.bytes() >= self.options.quick_repair_bytes);
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        write().map_err(|fault: Fault| fault.committing(&self.path))
    }

    /// Tells those who wait.
    pub(crate) fn tell(&self, outcome: &Result<Position, Error>) {
        self.progress.notify_all();
        let callbacks = self.callbacks().clone();
        for callback in &callbacks {
            callback(outcome.clone());
        }
    }

    /// The store is of no use any more; the first reason counts.
    pub(crate) fn fail(&self, error: Error) {
        let mut ledger = self.ledger();
        if ledger.end.is_some() {
            return;
        }
        ledger.end = Some(error.clone());
        drop(ledger);
        self.work.notify_all();
        self.tell(&Err(error));
    }
}

/// Puts records at the end of the log, several in one row. Returns where the rows end.
pub(crate) fn append(
    transaction: &redb::WriteTransaction,
    rows: &[Row],
) -> Result<Vec<Position>, Fault> {
    let mut log = transaction.open_table(LOG)?;
    let mut ends = Vec::new();
    let mut rest = rows;
    let mut bytes = Vec::new();
    while let Some(first) = rest.first() {
        bytes.clear();
        let mut count = 0;
        for row in rest {
            if count > 0 && bytes.len() + row.record.len() > LOG_ROW_BYTES {
                break;
            }
            bytes.extend_from_slice(&row.record);
            count += 1;
        }
        ends.push(rest[count - 1].position);
        log.insert((NAMESPACE, first.position.0), bytes.as_slice())?;
        rest = &rest[count..];
    }
    Ok(ends)
}
