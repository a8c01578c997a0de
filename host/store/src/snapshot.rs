//! The state as it was at one position.
//!
//! A snapshot holds no read transaction: that would keep the file from reusing pages for as long
//! as an attempt runs. Instead every row carries the position of its write, and the overlay
//! remembers what has changed since the oldest snapshot, so that a read after a change is noticed.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use wfhost_core::record::Entry;
use wfhost_core::state::{Items, Range, ReadError, Snapshot};
use wfhost_core::{Position, Timestamp};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::overlay::{Seen, is_over};
use crate::tables::{NAMESPACE, STATE, StateRow, read_row};

/// The state at one position: the last that was submitted when it was first asked anything.
pub(crate) struct StateAt {
    inner: Arc<Inner>,
    position: OnceLock<Position>,
    /// Values that expire then or before are absent.
    now: Timestamp,
}

impl StateAt {
    pub(crate) fn new(inner: Arc<Inner>, now: Timestamp) -> Self {
        Self {
            inner,
            position: OnceLock::new(),
            now,
        }
    }

    fn at(&self) -> Position {
        *self.position.get_or_init(|| {
            let ledger = self.inner.ledger();
            let position = ledger.submitted;
            // Under the ledger's lock, so that no gather forgets what this must remember.
            let mut snapshots = self.inner.snapshots();
            *snapshots.entry((position, self.now)).or_default() += 1;
            position
        })
    }

    /// What a row shows that was read after `removals` was asked for.
    fn entry(&self, row: StateRow, removals: u64) -> Result<Option<Entry>, ReadError> {
        if row.version > self.at().0 {
            return Err(self.changed(&row));
        }
        if is_over(&row, self.now) {
            return Ok(None);
        }
        let (mut value, version) = (row.value, row.version);
        match self.inner.put_back_one(&mut value) {
            Ok(()) => Ok(Some(Entry { value, version })),
            // A later write has released it.
            Err(Error::Damaged { .. }) if self.inner.may_have_removed(removals) => {
                Err(ReadError::Changed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A row of a later position; one that no position has yet would be so for ever.
    fn changed(&self, row: &StateRow) -> ReadError {
        let submitted = self.inner.ledger().submitted.0;
        if row.version <= submitted {
            return ReadError::Changed;
        }
        let what = format!(
            "a value has version {}, the log ends at {submitted}",
            row.version
        );
        failed(Fault::Damaged(what).reading(&self.inner.path))
    }

    fn row(&self, key: &str) -> Result<Option<StateRow>, Error> {
        self.inner.read(|transaction| {
            let table = transaction.open_table(STATE)?;
            let row = table.get((NAMESPACE, key))?;
            row.map(|row| read_row("state", row.value())).transpose()
        })
    }

    /// What the overlay shows of a range.
    fn overlaid(&self, range: &Range) -> Result<BTreeMap<String, Seen>, ReadError> {
        let at = self.at();
        let ledger = self.inner.usable().map_err(failed)?;
        let known = ledger.overlay.range(range);
        let seen = known.map(|(key, change)| (key.clone(), change.see(at, self.now)));
        Ok(seen.filter(|(_, seen)| *seen != Seen::InTable).collect())
    }

    /// The first `limit` keys of a range, the overlay's before the table's.
    fn merged(
        &self,
        range: &Range,
        mut overlaid: BTreeMap<String, Seen>,
        limit: usize,
    ) -> Result<Items, ReadError> {
        let mut items = Items::new();
        let mut add = |key: String, entry: Option<Entry>| {
            items.extend(entry.map(|entry| (key, entry)));
            items.len() < limit
        };
        let mut from = None;
        loop {
            let removals = self.inner.removals();
            let rows = self.rows(range, from.as_deref(), limit).map_err(failed)?;
            for (key, row) in &rows {
                while overlaid
                    .first_key_value()
                    .is_some_and(|(first, _)| first < key)
                {
                    let (key, seen) = overlaid.pop_first().expect("it was looked at just now");
                    if !add(key, shown(seen)?) {
                        return Ok(items);
                    }
                }
                let entry = match overlaid.remove(key) {
                    Some(seen) => shown(seen)?,
                    None => self.entry(row.clone(), removals)?,
                };
                if !add(key.clone(), entry) {
                    return Ok(items);
                }
            }
            match rows.into_iter().next_back() {
                Some((last, _)) => from = Some(last),
                None => break,
            }
        }
        for (key, seen) in overlaid {
            if !add(key, shown(seen)?) {
                break;
            }
        }
        Ok(items)
    }

    /// Some rows of a range after `from`, in order; none at its end.
    fn rows(
        &self,
        range: &Range,
        from: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, StateRow)>, Error> {
        let start = match from.or(range.after.as_deref()) {
            Some(after) if after >= range.prefix.as_str() => Bound::Excluded((NAMESPACE, after)),
            _ => Bound::Included((NAMESPACE, range.prefix.as_str())),
        };
        self.inner.read(|transaction| {
            let table = transaction.open_table(STATE)?;
            let mut rows = Vec::new();
            for row in table.range::<(u32, &str)>((start, Bound::Unbounded))? {
                let (key, value) = row?;
                let (namespace, key) = key.value();
                if namespace != NAMESPACE || !key.starts_with(&range.prefix) {
                    break;
                }
                rows.push((key.to_owned(), read_row("state", value.value())?));
                if rows.len() >= limit.clamp(1, ROWS_MAX) {
                    break;
                }
            }
            Ok::<_, Fault>(rows)
        })
    }
}

/// How many rows are read at once.
const ROWS_MAX: usize = 1000;

impl Snapshot for StateAt {
    fn position(&self) -> Position {
        self.at()
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        let at = self.at();
        let seen = {
            let ledger = self.inner.usable().map_err(failed)?;
            ledger.overlay.see(key, at, self.now)
        };
        if seen != Seen::InTable {
            return shown(seen);
        }
        let removals = self.inner.removals();
        if let Some(row) = self.row(key).map_err(failed)? {
            return self.entry(row, removals);
        }
        // No row shows a deletion; the overlay does.
        let ledger = self.inner.usable().map_err(failed)?;
        if ledger.overlay.may_have_changed(key, at) {
            return Err(ReadError::Changed);
        }
        Ok(None)
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Items, ReadError> {
        let mut range = Range {
            prefix: prefix.into(),
            after: after.map(Into::into),
            last: None,
        };
        if limit == 0 {
            return Ok(Items::new());
        }
        let at = self.at();
        let overlaid = self.overlaid(&range)?;
        let items = self.merged(&range, overlaid, limit)?;
        if items.len() == limit {
            range.last = items.last().map(|(key, _)| key.clone());
        }
        // No row shows a deletion; the overlay does.
        let ledger = self.inner.usable().map_err(failed)?;
        if ledger.overlay.range_may_have_changed(&range, at) {
            return Err(ReadError::Changed);
        }
        Ok(items)
    }
}

impl Drop for StateAt {
    fn drop(&mut self) {
        let Some(position) = self.position.get() else {
            return;
        };
        let mut snapshots = self.inner.snapshots();
        let key = (*position, self.now);
        if let Some(count) = snapshots.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                snapshots.remove(&key);
            }
        }
    }
}

fn shown(seen: Seen) -> Result<Option<Entry>, ReadError> {
    match seen {
        Seen::Changed => Err(ReadError::Changed),
        Seen::Value(entry) => Ok(entry),
        Seen::InTable => unreachable!("asked for what the overlay shows"),
    }
}

fn failed(error: Error) -> ReadError {
    ReadError::Failed(Box::new(error))
}
