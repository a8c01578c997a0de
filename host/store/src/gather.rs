//! Gathering: what stands in the log is moved, in bulk, to where it is looked for by name.
//!
//! A gather takes everything that is submitted, so that it is a commit as well: the rows of
//! instances and state that it writes are those of one position, and a crash finds either none of
//! it or all.

use std::sync::atomic::Ordering;

use wfhost_core::Position;

use crate::error::{Error, Fault};
use crate::ledger::Row;
use crate::summary::Summary;
use crate::tables::{
    GATHERED, HISTORY, INSTANCES, LOG, NAMESPACE, STATE, StateRow, history_row, write_row,
};
use crate::writer::Batch;
use crate::{Inner, payloads};

/// Everything that one gather moves.
struct Harvest {
    /// What is not even in the log.
    batch: Batch,
    /// What was gathered before.
    before: Position,
    rows: Vec<Row>,
    summaries: Vec<Summary>,
    state: Vec<(String, Option<StateRow>)>,
    bytes: u64,
}

impl Inner {
    /// Moves everything submitted to the histories, the state and the list of instances.
    pub(crate) fn gather(&self) -> Result<(), Error> {
        let _writing = self.writing();
        let Some(harvest) = self.harvest()? else {
            return Ok(());
        };
        self.write(|transaction| harvest.store(transaction))?;
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
        Ok(())
    }

    /// Up to where nobody asks any more what has changed: the oldest snapshot, and one gather
    /// back, for those who have let their snapshot go and not submitted yet.
    fn horizon(&self, before: Position) -> Position {
        let oldest = self.snapshots().keys().next().copied();
        oldest.map_or(before, |oldest| oldest.min(before))
    }

    fn harvest(&self) -> Result<Option<Harvest>, Error> {
        let mut ledger = self.usable()?;
        if ledger.gathered == ledger.submitted {
            return Ok(None);
        }
        Ok(Some(Harvest {
            before: ledger.gathered,
            rows: ledger.rows_after(ledger.gathered),
            summaries: ledger.ungathered().map(|live| live.summary()).collect(),
            state: ledger.overlay.ungathered(),
            bytes: ledger.ungathered_bytes,
            batch: ledger.take_batch(),
        }))
    }
}

impl Harvest {
    fn store(&self, transaction: &redb::WriteTransaction) -> Result<(), Fault> {
        self.store_rows(transaction)?;
        self.store_state(transaction)?;
        let mut instances = transaction.open_table(INSTANCES)?;
        for summary in &self.summaries {
            let row = write_row(summary);
            instances.insert((NAMESPACE, summary.id.as_str()), row.as_slice())?;
        }
        let mut gathered = transaction.open_table(GATHERED)?;
        let row = write_row(&self.batch.position);
        gathered.insert(NAMESPACE, row.as_slice())?;
        payloads::write(transaction, &self.batch.payloads)
    }

    fn store_rows(&self, transaction: &redb::WriteTransaction) -> Result<(), Fault> {
        let mut sorted: Vec<&Row> = self.rows.iter().collect();
        // Ascending keys fill pages; random ones split them.
        sorted.sort_unstable_by_key(|row| (row.owner, row.index));
        let mut history = transaction.open_table(HISTORY)?;
        for row in sorted {
            let value = history_row(row.position.0, &row.record);
            history.insert((NAMESPACE, row.owner, row.index), value.as_slice())?;
        }
        let mut log = transaction.open_table(LOG)?;
        let moved = (NAMESPACE, 0)..=(NAMESPACE, self.batch.position.0);
        log.retain_in(moved, |_, _| false)?;
        Ok(())
    }

    fn store_state(&self, transaction: &redb::WriteTransaction) -> Result<(), Fault> {
        let mut state = transaction.open_table(STATE)?;
        for (key, row) in &self.state {
            let key = (NAMESPACE, key.as_str());
            match row {
                Some(row) => state.insert(key, write_row(row).as_slice())?,
                None => state.remove(key)?,
            };
        }
        Ok(())
    }
}
