//! The one writer: it takes all that was submitted so far as one transaction, then tells those who
//! wait. While a commit is under way, what is submitted gathers for the next one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Instant;

use wfhost_core::{Digest, Json, Position};

use crate::error::{Cause, Error, Fault};
use crate::ledger::{Ledger, Row};
use crate::tables::{LOG, NAMESPACE};
use crate::{Inner, payloads};

/// What one commit makes durable.
pub(crate) struct Batch {
    /// The last position in it.
    pub(crate) position: Position,
    pub(crate) rows: Vec<Row>,
    pub(crate) payloads: Vec<(Digest, Json)>,
    pub(crate) bytes: u64,
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
        if inner.ledger().ungathered_bytes >= inner.options.gather_bytes {
            inner.gather()?;
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
            ledger = match due_at {
                None => self.wait(&self.work, ledger),
                Some(due) => self.wait_for(&self.work, ledger, due.saturating_duration_since(now)),
            };
        }
    }

    fn commit(&self) -> Result<(), Error> {
        let _writing = self.writing();
        let batch = self.usable()?.take_batch();
        self.write(|transaction| {
            append(transaction, &batch.rows)?;
            payloads::write(transaction, &batch.payloads)
        })?;
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.ledger().is_durable(batch.position, batch.bytes);
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

/// Puts records at the end of the log.
fn append(transaction: &redb::WriteTransaction, rows: &[Row]) -> Result<(), Fault> {
    let mut log = transaction.open_table(LOG)?;
    for row in rows {
        log.insert((NAMESPACE, row.position.0), &*row.record)?;
    }
    Ok(())
}
