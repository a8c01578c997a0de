//! The row of each instance, and all by which it is found without a look at every row.
//!
//! ```text
//! index: kind  value                              what it finds
//!        ----  ---------------------------------  ----------------------------------------
//!        1     the parent's id                    the children of an instance
//!        2     length of the key u32 LE, key,     the instances that carry a tag
//!              value
//!        3     digest 32 bytes                    the instances that run on a module
//!        4     the status, as a word              the instances that stand so
//!        5     the workflow's name                the instances of a workflow
//!        6     milliseconds since 1970 u64 BE     the instances that are due then
//!        7     nothing                            the instances that a host that starts looks at
//!        8     the status, as a word,             the instances that ended so, then
//!              milliseconds since 1970 u64 BE
//! ```
//!
//! Behind the value stands the number of the instance, so that each of these is walked in the order
//! of creation; kind 6 as a whole in the order of time, kind 8 each status. An instance that has ended is
//! not due, so that it stands in one of the two at most. The order of creation is nearly the order of the times of creation, but clocks go back: a row of
//! `created` holds the latest time up to its number and the earliest from its number on, which both
//! only grow with the number, so that a range of times is found as a range of numbers.

use std::collections::BTreeSet;

use redb::{ReadableTable, Table};
use serde::{Deserialize, Serialize};
use wfhost_core::{Digest, InstanceId, Name, Status, Timestamp};

use crate::error::Fault;
use crate::summary::Summary;
use crate::tables::{CREATED, INDEX, INSTANCES, NAMESPACE, REMOVED, read_row, write_row};

/// The kind of the entries that stand in the order of time.
pub(crate) const DUE: u8 = 6;

/// The kind of the entries that stand in the order of time after their status.
pub(crate) const ENDED: u8 = 8;

/// One thing that instances are found by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: u8,
    pub(crate) value: Vec<u8>,
}

impl Key {
    pub(crate) fn parent(id: &InstanceId) -> Self {
        Self::new(1, id.as_str().as_bytes())
    }

    pub(crate) fn tag(key: &str, value: &str) -> Self {
        let length = u32::try_from(key.len()).expect("it came in a record, whose length is a u32");
        let tag = [&length.to_le_bytes(), key.as_bytes(), value.as_bytes()].concat();
        Self::new(2, &tag)
    }

    pub(crate) fn module(digest: Digest) -> Self {
        Self::new(3, digest.as_bytes())
    }

    pub(crate) fn status(status: Status) -> Self {
        Self::new(4, status.as_str().as_bytes())
    }

    pub(crate) fn workflow(name: &Name) -> Self {
        Self::new(5, name.as_str().as_bytes())
    }

    pub(crate) fn due(at: Timestamp) -> Self {
        Self::new(DUE, &at.0.to_be_bytes())
    }

    pub(crate) fn at_start() -> Self {
        Self::new(7, &[])
    }

    pub(crate) fn ended(status: Status, at: Timestamp) -> Self {
        let value = [status.as_str().as_bytes(), &at.0.to_be_bytes()].concat();
        Self::new(ENDED, &value)
    }

    fn new(kind: u8, value: &[u8]) -> Self {
        Self {
            kind,
            value: value.to_vec(),
        }
    }

    /// Everything that finds an instance.
    pub(crate) fn all_of(summary: &Summary) -> BTreeSet<Self> {
        let tags = summary
            .tags
            .iter()
            .map(|(key, value)| Self::tag(key, value));
        let has_ended = summary.status.has_ended();
        let ended = has_ended.then(|| Self::ended(summary.status, summary.updated_at));
        tags.chain(summary.parent.as_ref().map(Self::parent))
            .chain([
                Self::module(summary.module),
                Self::status(summary.status),
                Self::workflow(&summary.workflow),
            ])
            .chain(summary.due_at.map(Self::due))
            .chain(summary.due_at_start.then(Self::at_start))
            .chain(ended)
            .collect()
    }
}

/// A row of `created`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Created {
    pub(crate) id: InstanceId,
    /// No instance up to this number was created later.
    pub(crate) latest: Timestamp,
    /// No instance from this number on was created earlier.
    pub(crate) earliest: Timestamp,
}

/// The rows of all instances, to be changed.
pub(crate) struct Rows<'t> {
    instances: Table<'t, (u32, &'static str), &'static [u8]>,
    index: Table<'t, (u32, u8, &'static [u8], u64), &'static str>,
    created: Table<'t, (u32, u64), &'static [u8]>,
    removed: Table<'t, (u32, u64), u64>,
}

impl<'t> Rows<'t> {
    pub(crate) fn open(transaction: &'t redb::WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            instances: transaction.open_table(INSTANCES)?,
            index: transaction.open_table(INDEX)?,
            created: transaction.open_table(CREATED)?,
            removed: transaction.open_table(REMOVED)?,
        })
    }

    pub(crate) fn get(&self, id: &InstanceId) -> Result<Option<Summary>, Fault> {
        let row = self.instances.get((NAMESPACE, id.as_str()))?;
        row.map(|row| read_row("instances", row.value()))
            .transpose()
    }

    /// Writes the row of an instance. If another had its id, that is gone. New instances come in
    /// the order of their numbers.
    pub(crate) fn put(&mut self, summary: &Summary) -> Result<(), Fault> {
        let before = match self.get(&summary.id)? {
            Some(other) if other.number != summary.number => {
                self.remove(&other)?;
                None
            }
            before => before,
        };
        if before.is_none() {
            self.create(summary)?;
        }
        let old = before.as_ref().map(Key::all_of).unwrap_or_default();
        let new = Key::all_of(summary);
        self.unfind(summary.number, old.difference(&new))?;
        for key in new.difference(&old) {
            let key = (NAMESPACE, key.kind, key.value.as_slice(), summary.number);
            self.index.insert(key, summary.id.as_str())?;
        }
        let row = write_row(summary);
        self.instances
            .insert((NAMESPACE, summary.id.as_str()), row.as_slice())?;
        Ok(())
    }

    /// Removes an instance, all but the rows of its history, which are to be removed after.
    pub(crate) fn remove(&mut self, summary: &Summary) -> Result<(), Fault> {
        self.unfind(summary.number, &Key::all_of(summary))?;
        self.created.remove((NAMESPACE, summary.number))?;
        self.instances.remove((NAMESPACE, summary.id.as_str()))?;
        self.cut_history(summary.number, u64::MAX)
    }

    /// The history of an owner is gone up to an index; its rows are to be removed.
    pub(crate) fn cut_history(&mut self, owner: u64, index: u64) -> Result<(), Fault> {
        self.removed.insert((NAMESPACE, owner), index)?;
        Ok(())
    }

    fn unfind<'a>(
        &mut self,
        number: u64,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> Result<(), Fault> {
        for key in keys {
            self.index
                .remove((NAMESPACE, key.kind, key.value.as_slice(), number))?;
        }
        Ok(())
    }

    /// Notes when an instance was created.
    fn create(&mut self, summary: &Summary) -> Result<(), Fault> {
        let before = self.created_before(summary.number)?;
        let latest = before.map(|(_, created)| created.latest);
        let row = Created {
            id: summary.id.clone(),
            latest: summary.created_at.max(latest.unwrap_or_default()),
            earliest: summary.created_at,
        };
        self.put_created(summary.number, &row)?;
        self.lower_earliest(summary)
    }

    /// When the clock went back, those before were created later than one after them.
    fn lower_earliest(&mut self, summary: &Summary) -> Result<(), Fault> {
        let mut number = summary.number;
        while let Some((before, mut row)) = self.created_before(number)? {
            if row.earliest <= summary.created_at {
                break;
            }
            row.earliest = summary.created_at;
            self.put_created(before, &row)?;
            number = before;
        }
        Ok(())
    }

    fn created_before(&self, number: u64) -> Result<Option<(u64, Created)>, Fault> {
        let before = (NAMESPACE, 0)..(NAMESPACE, number);
        let last = self.created.range(before)?.next_back().transpose()?;
        last.map(|(key, row)| Ok((key.value().1, read_row("created", row.value())?)))
            .transpose()
    }

    fn put_created(&mut self, number: u64, row: &Created) -> Result<(), Fault> {
        let row = write_row(row);
        self.created.insert((NAMESPACE, number), row.as_slice())?;
        Ok(())
    }
}
