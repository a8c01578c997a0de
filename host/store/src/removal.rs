//! Removing: histories that are gone, in transactions of bounded size; ended instances that nobody
//! wants any more.

use std::sync::atomic::Ordering;

use redb::ReadableTable;
use wfhost_core::InstanceId;

use crate::error::{Error, Fault};
use crate::index::Rows;
use crate::payloads::References;
use crate::summary::Summary;
use crate::tables::{HISTORY, NAMESPACE, REMOVED};
use crate::{Inner, Store};

/// So many rows of histories are removed in one transaction, each with tens of records: some
/// milliseconds, for which commits wait.
const ROWS_AT_ONCE: usize = 100;

/// So many instances are purged in one transaction.
const INSTANCES_AT_ONCE: usize = 1_000;

impl Store {
    /// Removes ended instances wholly, with their histories and what these alone held. Returns
    /// those that were removed; the others do not exist or have not ended, and are left alone.
    ///
    /// It is durable when this returns. After a crash each instance is either there as it was or
    /// gone. Large purges take several transactions, between which others commit; so it may not be
    /// called where [`Store::on_durable`] calls back.
    ///
    /// # Errors
    /// If the store is closed or a commit fails; after that nothing is known of the purge.
    pub fn purge(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, Error> {
        drop(self.inner.taking()?);
        let purge = || {
            // An instance that had ended when this was called is on disk as it ended from here on.
            self.inner.gather()?;
            let mut purged = Vec::new();
            for ids in ids.chunks(INSTANCES_AT_ONCE) {
                purged.extend(self.inner.purge_some(ids)?);
            }
            if !purged.is_empty() {
                self.inner.remove_rest()?;
            }
            Ok(purged)
        };
        purge().inspect_err(|error: &Error| self.inner.fail(error.clone()))
    }
}

impl Inner {
    fn purge_some(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, Error> {
        let _writing = self.writing();
        let ready: Vec<&InstanceId> = {
            let ledger = self.usable()?;
            ids.iter().filter(|id| ledger.may_be_purged(id)).collect()
        };
        let purged = self.removing(|| self.write(|transaction| purge(transaction, &ready)))?;
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.ledger().is_purged(&purged);
        Ok(purged.into_iter().map(|row| row.id).collect())
    }

    /// Removes the rows that one transaction has left.
    pub(crate) fn remove_rest(&self) -> Result<(), Error> {
        loop {
            let _writing = self.writing();
            let spared = self.usable()?.named().into_values().flatten().collect();
            let rest = self.removing(|| {
                self.write(|transaction| {
                    let mut references = References::sparing(spared);
                    let rest = remove_rows(transaction, &mut references)?;
                    references.settle(transaction, &[])?;
                    Ok(rest)
                })
            })?;
            self.counts.commits.fetch_add(1, Ordering::Relaxed);
            if !rest {
                return Ok(());
            }
        }
    }

    /// Does something that removes rows and payloads, so that those who read without a lock know
    /// what they may have missed.
    pub(crate) fn removing<T>(&self, remove: impl FnOnce() -> T) -> T {
        self.ledger().begin_removal();
        let done = remove();
        self.ledger().end_removal();
        done
    }

    /// Reads several times what may be removed between. What seems damaged then was perhaps only
    /// removed, so it is read again.
    pub(crate) fn steadily<T>(
        &self,
        mut read: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let removals = self.removals();
            match read() {
                Err(Error::Damaged { .. }) if self.may_have_removed(removals) => {}
                done => return done,
            }
        }
    }

    /// To be asked before reading, for [`Self::may_have_removed`].
    pub(crate) fn removals(&self) -> u64 {
        self.ledger().removals
    }

    /// Whether something may have been removed since. Odd: it was under way.
    pub(crate) fn may_have_removed(&self, since: u64) -> bool {
        since % 2 == 1 || self.removals() != since
    }
}

fn purge(transaction: &redb::WriteTransaction, ids: &[&InstanceId]) -> Result<Vec<Summary>, Fault> {
    let mut rows = Rows::open(transaction)?;
    let mut purged = Vec::new();
    for id in ids {
        let row = rows.get(id)?.filter(|row| row.status.has_ended());
        if let Some(row) = row {
            rows.remove(&row)?;
            purged.push(row);
        }
    }
    Ok(purged)
}

/// Removes rows of histories that are gone. Returns whether some are left.
pub(crate) fn remove_rows(
    transaction: &redb::WriteTransaction,
    references: &mut References,
) -> Result<bool, Fault> {
    let mut removed = transaction.open_table(REMOVED)?;
    let mut history = transaction.open_table(HISTORY)?;
    let mut left = ROWS_AT_ONCE;
    loop {
        let first = removed.first()?;
        let Some((owner, end)) = first.map(|(key, end)| (key.value().1, end.value())) else {
            return Ok(false);
        };
        let rows = (NAMESPACE, owner, 0)..(NAMESPACE, owner, end);
        let mut count = 0;
        for row in history.extract_from_if(rows, |_, _| true)?.take(left) {
            references.release_history_row(row?.1.value());
            count += 1;
        }
        left -= count;
        if left == 0 {
            return Ok(true);
        }
        removed.remove((NAMESPACE, owner))?;
    }
}
