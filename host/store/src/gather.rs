//! Gathering: what stands in the log is moved, in bulk, to where it is looked for by name.
//!
//! A gather takes everything that is submitted, so that it is a commit as well: the rows of
//! instances and state that it writes are those of one position, and a crash finds either none of
//! it or all.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;

use redb::ReadableTable;
use wfhost_core::{Digest, Position};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::index::Rows;
use crate::ledger::{Live, OUTSIDE, Row};
use crate::payloads::References;
use crate::removal;
use crate::summary::Summary;
use crate::tables::{
    EXPIRIES, GATHERED, HISTORY, LOG, NAMESPACE, STATE, StateRow, history_row, read_row, write_row,
};
use crate::writer::Batch;

/// Everything that one gather moves.
struct Harvest {
    /// What is not even in the log.
    batch: Batch,
    /// What was gathered before.
    before: Position,
    rows: Vec<Row>,
    /// The payloads that the rows name.
    named: HashMap<Position, Vec<Digest>>,
    /// The instances that have rows in the log, in the order of their numbers.
    instances: Vec<Summary>,
    /// From where on the histories of these and of the writes from outside are kept.
    kept_from: BTreeMap<u64, u64>,
    state: Vec<(String, Option<StateRow>)>,
    bytes: u64,
}

impl Inner {
    /// Moves everything submitted to the histories, the state and the list of instances.
    pub(crate) fn gather(&self) -> Result<(), Error> {
        if self.gather_log()? {
            self.remove_rest()?;
        }
        Ok(())
    }

    /// Returns whether rows of histories are left that are to be removed.
    pub(crate) fn gather_log(&self) -> Result<bool, Error> {
        let _writing = self.writing();
        let Some(harvest) = self.harvest()? else {
            return Ok(false);
        };
        let rest = self.removing(|| self.write(|transaction| harvest.store(transaction)))?;
        self.counts.commits.fetch_add(1, Ordering::Relaxed);
        self.counts.gathers.fetch_add(1, Ordering::Relaxed);
        let position = harvest.batch.position;
        {
            let mut ledger = self.ledger();
            let horizon = self.horizon(harvest.before);
            let horizon = if ledger.overlay.len() > self.options.changes_max {
                position
            } else {
                horizon
            };
            ledger.is_durable(position, harvest.batch.bytes);
            ledger.is_gathered(position, harvest.bytes, horizon);
            ledger.evict(self.options.live_max);
        }
        self.tell(&Ok(position));
        Ok(rest)
    }

    /// Up to where nobody asks any more what has changed: the oldest snapshot, and one gather
    /// back, for those who have let their snapshot go and not submitted yet.
    fn horizon(&self, before: Position) -> Position {
        let oldest = self
            .snapshots()
            .keys()
            .next()
            .map(|(position, _)| *position);
        oldest.map_or(before, |oldest| oldest.min(before))
    }

    fn harvest(&self) -> Result<Option<Harvest>, Error> {
        let mut ledger = self.usable()?;
        if ledger.gathered == ledger.submitted {
            return Ok(None);
        }
        let live = ledger.ungathered();
        let mut kept_from: BTreeMap<u64, u64> = live
            .map(|live| (live.number, live.instance.kept_from()))
            .collect();
        kept_from.insert(OUTSIDE, ledger.outside.kept_from());
        let mut instances: Vec<_> = ledger.ungathered().map(Live::summary).collect();
        instances.sort_unstable_by_key(|row| row.number);
        Ok(Some(Harvest {
            before: ledger.gathered,
            rows: ledger.rows_after(ledger.gathered),
            named: ledger.named(),
            instances,
            kept_from,
            state: ledger.overlay.ungathered(),
            bytes: ledger.ungathered_bytes,
            batch: ledger.take_batch(),
        }))
    }
}

impl Harvest {
    fn store(&self, transaction: &redb::WriteTransaction) -> Result<bool, Fault> {
        let mut references = References::default();
        self.store_rows(transaction, &mut references)?;
        self.store_state(transaction, &mut references)?;
        self.store_instances(transaction)?;
        let rest = removal::remove_rows(transaction, &mut references)?;
        references.settle(transaction, &self.batch.payloads)?;
        let mut gathered = transaction.open_table(GATHERED)?;
        let row = write_row(&self.batch.position);
        gathered.insert(NAMESPACE, row.as_slice())?;
        Ok(rest)
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
        for row in sorted {
            let value = history_row(row.position.0, &row.record);
            history.insert((NAMESPACE, row.owner, row.index), value.as_slice())?;
            let named = self.named.get(&row.position);
            named
                .into_iter()
                .flatten()
                .for_each(|digest| references.add(*digest));
        }
        let named = self.named.values().flatten();
        named.for_each(|digest| references.leave_log(*digest));
        let mut log = transaction.open_table(LOG)?;
        let moved = (NAMESPACE, 0)..=(NAMESPACE, self.batch.position.0);
        log.retain_in(moved, |_, _| false)?;
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
