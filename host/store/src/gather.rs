//! Gathering: what stands in the log is moved, in bulk, to where it is looked for by name.
//!
//! A gather moves the oldest records of the log, or all, and is a commit as well: what was submitted
//! and is not durable goes to the log, or where it belongs, in the same transaction. The rows of
//! instances and state that it writes are those of the last position: what is still in the log tells
//! of it once more, and memory, which holds all that the log tells of, counts over the tables. So a
//! crash may come between two gathers, and finds nothing that the log does not mend.

use std::collections::{BTreeMap, HashSet};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use redb::ReadableTable;
use wfhost_core::{Digest, Position, codec};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::index::Rows;
use crate::ledger::{Ledger, Live, OUTSIDE, Row};
use crate::payloads::{self, References};
use crate::removal;
use crate::summary::Summary;
use crate::tables::{
    EXPIRIES, GATHERED, HISTORY, HISTORY_ROW_BYTES, LOG, NAMESPACE, STATE, StateRow,
    add_to_history_row, checked, read_row, write_row,
};
use crate::writer::{Batch, Watch, append};

/// Everything that one gather moves.
struct Harvest {
    /// What is not even in the log.
    batch: Batch,
    /// Up to where it is moved.
    end: Position,
    /// The records up to there.
    rows: Vec<Row>,
    /// The payloads that they name.
    named: BTreeMap<Position, Vec<Digest>>,
    /// The payloads that those after them name.
    named_later: HashSet<Digest>,
    /// The instances that have records among them, in the order of their numbers.
    instances: Vec<Summary>,
    /// From where on the histories of these and of the writes from outside are kept.
    kept_from: BTreeMap<u64, u64>,
    state: Vec<(String, Option<StateRow>)>,
}

impl Inner {
    /// Moves everything submitted to the histories, the state and the list of instances.
    pub(crate) fn gather(&self) -> Result<(), Error> {
        let writing = self.writing();
        let rest = self.gather_up_to(u64::MAX, &writing)?;
        drop(writing);
        if rest { self.remove_rest() } else { Ok(()) }
    }

    /// Moves about so many records, and commits everything. Returns whether rows of histories are
    /// left that are to be removed.
    pub(crate) fn gather_up_to(
        &self,
        records_max: u64,
        _writing: &MutexGuard<'_, ()>,
    ) -> Result<bool, Error> {
        let Some(harvest) = self.harvest(records_max)? else {
            return Ok(false);
        };
        let watch = Watch::begin(self);
        let stored = self.removing(|| self.write(|transaction| harvest.store(transaction)))?;
        let (log_rows, rest) = stored;
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.counts.gathers.fetch_add(1, Ordering::Relaxed);
        let position = harvest.batch.position;
        {
            let mut ledger = self.ledger();
            ledger.is_durable(position, log_rows, harvest.batch.bytes);
            let horizon = self.horizon(&mut ledger, harvest.end);
            ledger.is_gathered(harvest.end, horizon);
            if ledger.is_crowded(self.options.live_max) {
                ledger.evict(self.options.live_max);
            }
        }
        watch.end(self, &harvest.batch);
        self.tell(&Ok(position));
        Ok(rest)
    }

    /// Up to where nobody asks any more what has changed.
    fn horizon(&self, ledger: &mut Ledger, end: Position) -> Position {
        let mark = ledger.mark(end);
        if ledger.overlay.len() > self.options.changes_max {
            return end;
        }
        let snapshots = self.snapshots();
        let oldest = snapshots.keys().next().map(|(position, _)| *position);
        oldest.map_or(mark, |oldest| oldest.min(mark))
    }

    fn harvest(&self, records_max: u64) -> Result<Option<Harvest>, Error> {
        let mut ledger = self.usable()?;
        if ledger.gathered == ledger.submitted {
            return Ok(None);
        }
        let mut end = ledger.end_of_slice(records_max);
        let mut rows = ledger.rows_up_to(end);
        // Of an instance that has given its id away some records would be gone and some still in the
        // log, where nothing would tell whose they are.
        let has_gone = |row: &Row| row.owner != OUTSIDE && ledger.owner(row.owner).is_none();
        if end < ledger.submitted && rows.iter().any(has_gone) {
            end = ledger.submitted;
            rows = ledger.rows_up_to(end);
        }
        let mut named = ledger.named();
        let named_later = named.split_off(&end.next()).into_values().flatten();
        let lasts: BTreeMap<u64, u64> = rows.iter().map(|row| (row.owner, row.index)).collect();
        let live = lasts.keys().filter_map(|owner| ledger.owner(*owner));
        let instances = live.map(Live::summary).collect();
        Ok(Some(Harvest {
            end,
            named,
            named_later: named_later.collect(),
            instances,
            kept_from: kept_from(&ledger, &lasts),
            state: ledger.overlay.unshown(end),
            rows,
            batch: ledger.take_batch(),
        }))
    }
}

/// From where on histories are kept that are moved up to these indexes. What is to go because of a
/// record that is still in the log goes with that.
fn kept_from(ledger: &Ledger, lasts: &BTreeMap<u64, u64>) -> BTreeMap<u64, u64> {
    let kept = lasts.iter().filter_map(|(owner, last)| {
        // Nobody reads the writes from outside. The last is kept, for what the next must link to.
        let from = match *owner {
            OUTSIDE => *last,
            owner => ledger.owner(owner)?.instance.kept_from(),
        };
        Some((*owner, if from <= *last { from } else { 0 }))
    });
    kept.collect()
}

impl Harvest {
    /// Returns where the rows end that the log has got, and whether rows of histories are left that
    /// are to be removed.
    fn store(&self, transaction: &redb::WriteTransaction) -> Result<(Vec<Position>, bool), Fault> {
        let mut references = References::sparing(self.named_later.clone());
        self.store_rows(transaction, &mut references)?;
        self.store_state(transaction, &mut references)?;
        self.store_instances(transaction)?;
        let rest = removal::remove_rows(transaction, &mut references)?;
        let texts = self.batch.payloads.iter();
        let later = texts.filter(|(digest, _)| self.named_later.contains(digest));
        payloads::write(transaction, later)?;
        references.settle(transaction, &self.batch.payloads)?;
        let mut gathered = transaction.open_table(GATHERED)?;
        let row = write_row(&self.end);
        gathered.insert(NAMESPACE, row.as_slice())?;
        Ok((self.store_log(transaction)?, rest))
    }

    /// Removes from the log what is moved, and adds what is not.
    fn store_log(&self, transaction: &redb::WriteTransaction) -> Result<Vec<Position>, Fault> {
        {
            let mut log = transaction.open_table(LOG)?;
            let moved = (NAMESPACE, 0)..=(NAMESPACE, self.end.0);
            log.retain_in(moved, |_, _| false)?;
        }
        let moved = self
            .batch
            .rows
            .partition_point(|row| row.position <= self.end);
        append(transaction, &self.batch.rows[moved..])
    }

    fn store_rows(
        &self,
        transaction: &redb::WriteTransaction,
        references: &mut References,
    ) -> Result<(), Fault> {
        let mut sorted = self.kept_rows();
        // Ascending keys fill pages; random ones split them.
        sorted.sort_unstable_by_key(|row| (row.owner, row.index));
        let mut history = transaction.open_table(HISTORY)?;
        for rows in sorted.chunk_by(|last, next| last.owner == next.owner) {
            for rows in in_one_row(rows) {
                let mut value = Vec::with_capacity(HISTORY_ROW_BYTES);
                for row in rows {
                    add_to_history_row(&mut value, row.position.0, &row.record);
                }
                let key = (NAMESPACE, rows[0].owner, rows[0].index);
                history.insert(key, checked(value).as_slice())?;
            }
        }
        let named = sorted
            .iter()
            .filter_map(|row| self.named.get(&row.position));
        named.flatten().for_each(|digest| references.add(*digest));
        let named = self.named.values().flatten();
        named.for_each(|digest| references.leave_log(*digest));
        Ok(())
    }

    /// All but the rows of instances that are gone and of generations that nobody needs.
    fn kept_rows(&self) -> Vec<&Row> {
        let is_kept = |row: &&Row| {
            let kept_from = self.kept_from.get(&row.owner);
            kept_from.is_some_and(|kept_from| row.index >= *kept_from)
        };
        self.rows.iter().filter(is_kept).collect()
    }

    fn store_state(
        &self,
        transaction: &redb::WriteTransaction,
        references: &mut References,
    ) -> Result<(), Fault> {
        let mut state = transaction.open_table(STATE)?;
        let mut expiries = transaction.open_table(EXPIRIES)?;
        for (key, row) in &self.state {
            let place = (NAMESPACE, key.as_str());
            let before = match row {
                Some(row) => state.insert(place, write_row(row).as_slice())?,
                None => state.remove(place)?,
            };
            // What a damaged row named or when it expired nobody knows, and it is gone now.
            let before = before.and_then(|row| read_row::<StateRow>("state", row.value()).ok());
            if let Some(before) = before {
                before
                    .value
                    .stored()
                    .into_iter()
                    .for_each(|it| references.release(it));
                if let Some(at) = before.expires_at {
                    expiries.remove((NAMESPACE, at.0, key.as_str()))?;
                }
            }
            if let Some(row) = row {
                row.value
                    .stored()
                    .into_iter()
                    .for_each(|it| references.add(it));
                if let Some(at) = row.expires_at {
                    expiries.insert((NAMESPACE, at.0, key.as_str()), ())?;
                }
            }
        }
        Ok(())
    }

    fn store_instances(&self, transaction: &redb::WriteTransaction) -> Result<(), Fault> {
        let history = transaction.open_table(HISTORY)?;
        let mut rows = Rows::open(transaction)?;
        for summary in &self.instances {
            rows.put(summary)?;
        }
        for (owner, kept_from) in &self.kept_from {
            let before = (NAMESPACE, *owner, 0)..(NAMESPACE, *owner, *kept_from);
            if history.range(before)?.next().is_some() {
                rows.cut_history(*owner, *kept_from)?;
            }
        }
        Ok(())
    }
}

/// Parts the records of one owner by the rows that they share.
fn in_one_row<'a>(rows: &'a [&'a Row]) -> impl Iterator<Item = &'a [&'a Row]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut bytes = first.record.len();
        let more = rest[1..].iter().take_while(|row| {
            bytes += 8 + row.record.len();
            bytes <= HISTORY_ROW_BYTES && !codec::is_start(&row.record)
        });
        let (row, after) = rest.split_at(1 + more.count());
        rest = after;
        Some(row)
    })
}
