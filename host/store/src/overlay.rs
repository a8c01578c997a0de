//! The changes of the state that the `state` table does not show yet, and the recent ones that it
//! does: enough to tell, without the disk, whether a key has changed since a snapshot.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use wfhost_core::record::{Entry, StateWrite};
use wfhost_core::state::{Range, ReadSet};
use wfhost_core::{Json, Position, Timestamp, decide};

use crate::tables::StateRow;

/// What is known of recent changes.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    changes: BTreeMap<String, Change>,
    /// The writes that the `state` table does not show, in their order.
    fresh: VecDeque<(Position, String)>,
    /// The writes that it does, and that are not forgotten, in their order.
    shown: VecDeque<(Position, String)>,
    /// Changes up to here may be missing.
    forgotten: Position,
}

/// The last change of a key.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: Position,
    /// Absent once the `state` table shows it.
    held: Option<Held>,
}

/// What a change leaves behind.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    Value(HeldValue),
    Deleted,
}

/// A value, as it is read and as its row holds it.
#[derive(Debug, Clone)]
pub(crate) struct HeldValue {
    value: Json,
    pub(crate) row: StateRow,
}

/// A key, as the overlay shows it to a snapshot.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// It has changed since the snapshot.
    Changed,
    /// It has this value, or none.
    Value(Option<Entry>),
    /// The `state` table says.
    InTable,
}

impl Overlay {
    /// Nothing is known of what happened up to `forgotten`.
    pub(crate) fn new(forgotten: Position) -> Self {
        Self {
            forgotten,
            ..Self::default()
        }
    }

    /// Takes a write in. `stored` is the same write with stand-ins for large values.
    pub(crate) fn write(&mut self, version: Position, write: &StateWrite, stored: &StateWrite) {
        let held = match (&write.value, &stored.value) {
            (Some(value), Some(row_value)) => Held::Value(HeldValue {
                value: value.clone(),
                row: StateRow {
                    version: version.0,
                    expires_at: write.expires_at,
                    value: row_value.clone(),
                },
            }),
            _ => Held::Deleted,
        };
        let change = Change {
            version,
            held: Some(held),
        };
        self.changes.insert(write.key.clone(), change);
        self.fresh.push_back((version, write.key.clone()));
    }

    /// What a snapshot sees of a key.
    pub(crate) fn see(&self, key: &str, at: Position, now: Timestamp) -> Seen {
        match self.changes.get(key) {
            None => Seen::InTable,
            Some(change) => change.see(at, now),
        }
    }

    /// The known changes of a range, by key.
    pub(crate) fn range(&self, range: &Range) -> impl Iterator<Item = (&String, &Change)> {
        let start = match &range.after {
            Some(after) if *after >= range.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(range.prefix.as_str()),
        };
        self.changes
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .filter(|(key, _)| range.contains(key))
    }

    /// Whether all changes after `at` are known.
    pub(crate) fn remembers(&self, at: Position) -> bool {
        at >= self.forgotten
    }

    /// Whether a key that the `state` table does not have may have been there at `at`.
    pub(crate) fn may_have_changed(&self, key: &str, at: Position) -> bool {
        !self.remembers(at) || self.changes.get(key).is_some_and(|it| it.version > at)
    }

    /// Whether a range may have changed after `at` in a way that the `state` table does not show.
    pub(crate) fn range_may_have_changed(&self, range: &Range, at: Position) -> bool {
        !self.remembers(at) || self.range(range).any(|(_, change)| change.version > at)
    }

    /// Whether nothing that was read has changed since.
    pub(crate) fn unchanged(&self, reads: &ReadSet) -> bool {
        if reads.is_empty() {
            return true;
        }
        let keys = reads.keys.iter().filter_map(|key| self.changes.get(key));
        let ranges = reads.ranges.iter().flat_map(|range| self.range(range));
        let changes = keys.chain(ranges.map(|(_, change)| change));
        self.remembers(reads.at) && decide::unchanged(reads.at, changes.map(|it| it.version))
    }

    /// What the `state` table does not show of the changes up to a position, in their order; absent:
    /// deleted. A key that has changed again since is left to those who show that.
    pub(crate) fn unshown(&self, position: Position) -> Vec<(String, Option<StateRow>)> {
        let writes = self.fresh.iter().take_while(|(at, _)| *at <= position);
        let last = writes.filter_map(|(at, key)| {
            let change = self.changes.get(key).filter(|it| it.version == *at)?;
            let row = match change.held.as_ref()? {
                Held::Value(held) => Some(held.row.clone()),
                Held::Deleted => None,
            };
            Some((key.clone(), row))
        });
        // One record may write a key twice; the last write stands.
        let rows: BTreeMap<_, _> = last.collect();
        rows.into_iter().collect()
    }

    /// The `state` table now shows every change up to `gathered`; nobody asks any more what
    /// happened up to `horizon`.
    pub(crate) fn gathered(&mut self, gathered: Position, horizon: Position) {
        while let Some(write) = self.fresh.pop_front_if(|(at, _)| *at <= gathered) {
            if let Some(change) = self.changes.get_mut(&write.1)
                && change.version <= gathered
            {
                change.held = None;
            }
            self.shown.push_back(write);
        }
        let horizon = horizon.min(gathered);
        while let Some((_, key)) = self.shown.pop_front_if(|(at, _)| *at <= horizon) {
            if self
                .changes
                .get(&key)
                .is_some_and(|it| it.version <= horizon)
            {
                self.changes.remove(&key);
            }
        }
        self.forgotten = self.forgotten.max(horizon);
    }

    /// How many changed keys it knows.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }
}

impl Change {
    /// What a snapshot sees of the key.
    pub(crate) fn see(&self, at: Position, now: Timestamp) -> Seen {
        match &self.held {
            _ if self.version > at => Seen::Changed,
            None => Seen::InTable,
            Some(Held::Deleted) => Seen::Value(None),
            Some(Held::Value(held)) if is_over(&held.row, now) => Seen::Value(None),
            Some(Held::Value(held)) => Seen::Value(Some(Entry {
                value: held.value.clone(),
                version: self.version.0,
            })),
        }
    }
}

/// Whether a value has expired.
pub(crate) fn is_over(row: &StateRow, now: Timestamp) -> bool {
    row.expires_at.is_some_and(|at| at <= now)
}
