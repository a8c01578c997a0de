//! Removing values of the state whose time is over. Nobody sees them any more, so that no record
//! tells of it.

use std::sync::atomic::Ordering;

use redb::ReadableTable;
use wfhost_core::Timestamp;

use crate::error::{Error, Fault};
use crate::payloads::References;
use crate::tables::{EXPIRIES, NAMESPACE, STATE, StateRow, read_row};
use crate::{Inner, Store};

impl Store {
    /// Removes values whose time was over at `now`, those whose time was over first before the
    /// others, at most `limit`, in one transaction that is durable when this returns. Returns how
    /// many. Fewer than `limit`: all are removed that could be; those that the log still holds, or
    /// that a snapshot of an earlier time still shows, are left to the next time.
    ///
    /// It may not be called where [`Store::on_durable`] calls back.
    ///
    /// # Errors
    /// If the store is closed or a commit fails.
    pub fn sweep_expired(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        drop(self.inner.taking()?);
        let _writing = self.inner.writing();
        let now = self.inner.oldest_now(now);
        let due = self.inner.read(|transaction| {
            let expiries = transaction.open_table(EXPIRIES)?;
            Ok(!due(&expiries, now, limit.min(1))?.is_empty())
        })?;
        if !due {
            return Ok(0);
        }
        let spared = self.inner.usable()?.named().into_values().flatten();
        let references = References::sparing(spared.collect());
        let sweep = || {
            self.inner
                .write(|transaction| sweep(transaction, references, now, limit))
        };
        let swept = self.inner.removing(sweep);
        self.inner.counts.commits.fetch_add(1, Ordering::Relaxed);
        swept.inspect_err(|error| self.inner.fail(error.clone()))
    }
}

impl Inner {
    /// The earliest time of any snapshot, or now.
    fn oldest_now(&self, now: Timestamp) -> Timestamp {
        let snapshots = self.snapshots();
        let times = snapshots.keys().map(|(_, time)| *time);
        times.fold(now, Timestamp::min)
    }
}

fn sweep(
    transaction: &redb::WriteTransaction,
    mut references: References,
    now: Timestamp,
    limit: usize,
) -> Result<usize, Fault> {
    let mut swept = 0;
    let mut state = transaction.open_table(STATE)?;
    let mut expiries = transaction.open_table(EXPIRIES)?;
    for (at, key) in due(&expiries, now, limit)? {
        expiries.remove((NAMESPACE, at, key.as_str()))?;
        let row = state.get((NAMESPACE, key.as_str()))?;
        let row = row.map(|row| read_row::<StateRow>("state", row.value()));
        let Some(row) = row.transpose()? else {
            continue;
        };
        if row.expires_at == Some(Timestamp(at)) {
            state.remove((NAMESPACE, key.as_str()))?;
            row.value
                .stored()
                .into_iter()
                .for_each(|digest| references.release(digest));
            swept += 1;
        }
    }
    references.settle(transaction, &[])?;
    Ok(swept)
}

/// The first keys whose time was over at `now`.
fn due(
    expiries: &impl ReadableTable<(u32, u64, &'static str), ()>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(u64, String)>, Fault> {
    let end = (NAMESPACE, now.0.saturating_add(1), "");
    let rows = expiries.range((NAMESPACE, 0, "")..end)?.take(limit);
    let keys = rows.map(|row| {
        let (key, _) = row?;
        let (_, at, key) = key.value();
        Ok((at, key.to_owned()))
    });
    keys.collect()
}
