//! Finding the instances that ended longest ago, in the order of time: what a host need not keep.

use std::collections::HashSet;
use std::ops::Bound;

use redb::ReadableTable;
use wfhost_core::{InstanceId, Status, Timestamp};

use crate::error::{Error, Fault};
use crate::find::ROWS_AT_ONCE;
use crate::index::{ENDED, Key};
use crate::summary::Summary;
use crate::tables::{INDEX, INSTANCES, NAMESPACE, read_row};
use crate::{Inner, Store};

/// A place in the order in which instances ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedPlace {
    /// When it ended.
    pub at: Timestamp,
    /// The number of the instance.
    pub number: u64,
}

impl EndedPlace {
    /// Where an instance that has ended stands.
    #[must_use]
    pub fn of(row: &Summary) -> Self {
        Self {
            at: row.updated_at,
            number: row.number,
        }
    }
}

impl Store {
    /// The next instances that ended so, after a place and before a time, in the order in which they
    /// ended, at most `limit`; fewer only if these are all. Everything shows what is submitted. Only
    /// the rows that are returned are read.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn ended(
        &self,
        status: Status,
        before: Timestamp,
        after: Option<EndedPlace>,
        limit: usize,
    ) -> Result<Vec<Summary>, Error> {
        self.inner.ended(status, before, after, limit)
    }
}

impl Inner {
    fn ended(
        &self,
        status: Status,
        before: Timestamp,
        after: Option<EndedPlace>,
        limit: usize,
    ) -> Result<Vec<Summary>, Error> {
        // Memory first: what is gathered after this is met twice, not missed.
        let (in_memory, mut rows) = self.ended_in_memory(status, before, after)?;
        let mut on_disk = Vec::new();
        let mut from = after;
        while on_disk.len() < limit {
            let walked = self.read(|transaction| {
                let index = transaction.open_table(INDEX)?;
                let instances = transaction.open_table(INSTANCES)?;
                let mut last = None;
                for (count, entry) in entries(&index, status, before, from)?.enumerate() {
                    if count == ROWS_AT_ONCE || on_disk.len() == limit {
                        return Ok(last);
                    }
                    let (place, id) = entry?;
                    last = Some(place);
                    if in_memory.contains(&id) {
                        continue;
                    }
                    let row = instances.get((NAMESPACE, id.as_str()))?;
                    let row = row.ok_or_else(|| damaged("names an instance that has no row"))?;
                    on_disk.push(read_row("instances", row.value())?);
                }
                Ok(None)
            })?;
            match walked {
                Some(last) => from = Some(last),
                None => break,
            }
        }
        rows.extend(on_disk);
        rows.sort_unstable_by_key(EndedPlace::of);
        rows.truncate(limit);
        Ok(rows)
    }

    /// The instances with records that are not gathered, which count over their rows, and those of
    /// them that are looked for.
    fn ended_in_memory(
        &self,
        status: Status,
        before: Timestamp,
        after: Option<EndedPlace>,
    ) -> Result<(HashSet<InstanceId>, Vec<Summary>), Error> {
        let ledger = self.usable()?;
        let mut ids = HashSet::new();
        let mut rows = Vec::new();
        for live in ledger.ungathered() {
            let instance = &live.instance;
            ids.insert(instance.started().id.clone());
            let place = EndedPlace {
                at: instance.updated_at(),
                number: live.number,
            };
            if instance.status() == status
                && status.has_ended()
                && place.at < before
                && after.is_none_or(|after| place > after)
            {
                rows.push(live.summary());
            }
        }
        Ok((ids, rows))
    }
}

/// The entries of those that ended so, after a place and before a time.
pub(crate) fn entries(
    index: &impl ReadableTable<(u32, u8, &'static [u8], u64), &'static str>,
    status: Status,
    before: Timestamp,
    after: Option<EndedPlace>,
) -> Result<impl Iterator<Item = Result<(EndedPlace, InstanceId), Fault>>, Fault> {
    let (from, number) = after.map_or_else(Default::default, |after| (after.at, after.number));
    let [first, end] = [from, before].map(|at| Key::ended(status, at).value);
    // No instance has the number 0.
    let first = (NAMESPACE, ENDED, first.as_slice(), number);
    let end = (NAMESPACE, ENDED, end.as_slice(), 0);
    // redb takes no range that ends before it begins.
    let some = (first < end).then(|| index.range((Bound::Excluded(first), Bound::Excluded(end))));
    let some = some.transpose()?.into_iter().flatten();
    Ok(some.map(|entry| {
        let (key, id) = entry?;
        let (_, _, value, number) = key.value();
        let at = value.last_chunk().ok_or_else(|| damaged("holds no time"))?;
        let at = Timestamp(u64::from_be_bytes(*at));
        let id = id.value().parse().map_err(|_| damaged("holds no id"))?;
        Ok((EndedPlace { at, number }, id))
    }))
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(format!("an entry of `index` {what}"))
}
