//! Finding the instances that are due, in the order of time: what a host has to bring to memory.

use std::collections::HashSet;
use std::ops::Bound;

use redb::ReadableTable;
use wfhost_core::{InstanceId, Timestamp};

use crate::error::{Error, Fault};
use crate::index::DUE;
use crate::ledger::Live;
use crate::tables::{INDEX, NAMESPACE};
use crate::{Inner, Store};

/// How many entries are looked at in one read transaction. A long one would keep the file from
/// reusing its pages.
const ENTRIES_AT_ONCE: usize = 1_000;

/// A place in the order in which instances are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuePlace {
    /// When: 0 is at once.
    pub at: Timestamp,
    /// The number of the instance.
    pub number: u64,
}

impl DuePlace {
    /// After all that is due up to a time.
    #[must_use]
    pub fn after(until: Timestamp) -> Self {
        Self {
            at: until,
            number: u64::MAX,
        }
    }
}

/// An instance that is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Where in the order.
    pub place: DuePlace,
    /// Which.
    pub id: InstanceId,
}

impl Store {
    /// The next instances that are due after a place and up to a time, in order, at most `limit`;
    /// fewer only if these are all. Everything shows what is submitted.
    ///
    /// One that changes its place from page to page may be met twice, or, if it moves to before the
    /// last page, not at all. What a host that starts has to look at is found by
    /// [`crate::Query::due_at_start`].
    ///
    /// # Errors
    /// If the disk fails.
    pub fn due(
        &self,
        after: Option<DuePlace>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, Error> {
        self.inner.due(after, until, limit)
    }
}

impl Inner {
    fn due(
        &self,
        after: Option<DuePlace>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Due>, Error> {
        // Memory first: what is gathered after this is met twice, not missed.
        let (in_memory, mut due) = self.due_in_memory(after, until)?;
        let mut on_disk = Vec::new();
        let mut from = after;
        while on_disk.len() < limit {
            let walked = self.read(|transaction| {
                let index = transaction.open_table(INDEX)?;
                let entries = entries(&index, from, until)?;
                walk(entries, &in_memory, limit, &mut on_disk)
            })?;
            match walked {
                Some(last) => from = Some(last),
                None => break,
            }
        }
        due.extend(on_disk);
        due.sort_unstable();
        due.truncate(limit);
        Ok(due)
    }

    /// The instances with records that are not gathered, which count over their rows, and those of
    /// them that are due.
    fn due_in_memory(
        &self,
        after: Option<DuePlace>,
        until: Timestamp,
    ) -> Result<(HashSet<InstanceId>, Vec<Due>), Error> {
        let ledger = self.usable()?;
        let mut ids = HashSet::new();
        let mut due = Vec::new();
        for Live {
            instance, number, ..
        } in ledger.ungathered()
        {
            let id = &instance.started().id;
            let at = instance.next_due_at().filter(|at| *at <= until);
            if let Some(at) = at {
                let place = DuePlace {
                    at,
                    number: *number,
                };
                if after.is_none_or(|after| place > after) {
                    let id = id.clone();
                    due.push(Due { place, id });
                }
            }
            ids.insert(id.clone());
        }
        Ok((ids, due))
    }
}

/// The entries after a place, up to a time.
fn entries(
    index: &impl ReadableTable<(u32, u8, &'static [u8], u64), &'static str>,
    after: Option<DuePlace>,
    until: Timestamp,
) -> Result<impl Iterator<Item = Result<Due, Fault>>, Fault> {
    let (from, number) = after.map_or((0, 0), |after| (after.at.0, after.number));
    let (first, end) = (from.to_be_bytes(), until.0.to_be_bytes());
    let first = (NAMESPACE, DUE, first.as_slice(), number);
    // No instance has the last number, as little as the first.
    let end = (NAMESPACE, DUE, end.as_slice(), u64::MAX);
    // redb takes no range that ends before it begins.
    let some = (first < end).then(|| index.range((Bound::Excluded(first), Bound::Excluded(end))));
    let some = some.transpose()?.into_iter().flatten();
    Ok(some.map(|entry| {
        let (key, id) = entry?;
        let (_, _, value, number) = key.value();
        let at = value.try_into().map_err(|_| damaged("holds no time"))?;
        let at = Timestamp(u64::from_be_bytes(at));
        let id = id.value().parse().map_err(|_| damaged("holds no id"))?;
        let place = DuePlace { at, number };
        Ok(Due { place, id })
    }))
}

/// Adds entries until there are `limit`, of the next [`ENTRIES_AT_ONCE`]. Returns how far it came,
/// unless it came to the end.
fn walk(
    mut entries: impl Iterator<Item = Result<Due, Fault>>,
    in_memory: &HashSet<InstanceId>,
    limit: usize,
    found: &mut Vec<Due>,
) -> Result<Option<DuePlace>, Fault> {
    let mut last = None;
    for _ in 0..ENTRIES_AT_ONCE {
        if found.len() == limit {
            break;
        }
        let Some(due) = entries.next() else {
            return Ok(None);
        };
        let due = due?;
        last = Some(due.place);
        if !in_memory.contains(&due.id) {
            found.push(due);
        }
    }
    Ok(last)
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(format!("an entry of `index` {what}"))
}
