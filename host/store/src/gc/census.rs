//! Counting instances by the module that they run on, without holding anybody up.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use wfhost_core::{Digest, InstanceId, ModuleInfo, Status};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::find::Query;
use crate::index::Key;
use crate::summary::Summary;
use crate::tables::{INDEX, INSTANCES, NAMESPACE, read_row};

/// How many entries are looked at in one read transaction. A long one would keep the file from
/// reusing its pages.
const ENTRIES_AT_ONCE: usize = 10_000;

/// How many instances run, or ran, on each module.
#[derive(Debug, Default)]
pub(crate) struct Census(BTreeMap<Digest, Counted>);

/// The instances of one module.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) running: u64,
    pub(super) ended: u64,
    pub(super) running_example: Option<InstanceId>,
    pub(super) ended_example: Option<InstanceId>,
}

impl Counted {
    fn add(&mut self, id: InstanceId, has_ended: bool) {
        let (count, example) = if has_ended {
            (&mut self.ended, &mut self.ended_example)
        } else {
            (&mut self.running, &mut self.running_example)
        };
        *count += 1;
        example.get_or_insert(id);
    }
}

impl Census {
    pub(super) fn of(&self, module: Digest) -> Option<&Counted> {
        self.0.get(&module)
    }

    /// What was counted may be gone by now, or be no more all: each module for which the file has
    /// an instance now has one here, and no other.
    pub(super) fn look_again(
        &mut self,
        transaction: &redb::ReadTransaction,
        modules: &[ModuleInfo],
    ) -> Result<(), Fault> {
        let index = transaction.open_table(INDEX)?;
        let instances = transaction.open_table(INSTANCES)?;
        for info in modules {
            let Key { kind, value } = Key::module(info.digest);
            let place = |number: u64| (NAMESPACE, kind, value.as_slice(), number);
            let first = index.range(place(0)..=place(u64::MAX))?.next();
            let Some((_, id)) = first.transpose()? else {
                self.0.remove(&info.digest);
                continue;
            };
            let counted = self.0.entry(info.digest).or_default();
            if counted.running + counted.ended == 0 {
                let row = instances.get((NAMESPACE, id.value()))?;
                let row = row.ok_or_else(|| damaged("names an instance that has no row"))?;
                let row: Summary = read_row("instances", row.value())?;
                counted.add(row.id, row.status.has_ended());
            }
        }
        Ok(())
    }
}

impl Inner {
    pub(crate) fn census(&self) -> Result<Census, Error> {
        let running = self.unfinished_ids()?;
        let mut census = Census::default();
        let mut after = None;
        loop {
            let walked =
                self.read(|transaction| count_some(transaction, after, &running, &mut census))?;
            match walked {
                Some(last) => after = Some(last),
                None => return Ok(census),
            }
        }
    }

    fn unfinished_ids(&self) -> Result<HashSet<InstanceId>, Error> {
        let statuses = Status::ALL.into_iter().filter(|status| !status.has_ended());
        let mut query = Query {
            statuses: statuses.collect(),
            limit: ENTRIES_AT_ONCE,
            ..Query::default()
        };
        let mut ids = HashSet::new();
        loop {
            let page = self.find(&query)?;
            ids.extend(page.rows.into_iter().map(|row| row.id));
            query.after = page.next;
            if page.next.is_none() {
                return Ok(ids);
            }
        }
    }
}

/// Counts the next [`ENTRIES_AT_ONCE`] entries. Returns how far it came, unless it came to the end.
fn count_some(
    transaction: &redb::ReadTransaction,
    after: Option<(Digest, u64)>,
    running: &HashSet<InstanceId>,
    census: &mut Census,
) -> Result<Option<(Digest, u64)>, Fault> {
    let index = transaction.open_table(INDEX)?;
    let (from, number) = after.unwrap_or((Digest::from_bytes([0; 32]), 0));
    let Key { kind, value } = Key::module(from);
    // No instance has the number 0.
    let first = Bound::Excluded((NAMESPACE, kind, value.as_slice(), number));
    let end = Bound::Excluded((NAMESPACE, kind + 1, [].as_slice(), 0));
    let mut last = None;
    for (count, entry) in index.range((first, end))?.enumerate() {
        if count == ENTRIES_AT_ONCE {
            return Ok(last);
        }
        let (key, id) = entry?;
        let (_, _, value, number) = key.value();
        let module = value.try_into().map_err(|_| damaged("holds no digest"))?;
        let module = Digest::from_bytes(module);
        let id: InstanceId = id.value().parse().map_err(|_| damaged("holds no id"))?;
        let has_ended = !running.contains(&id);
        census.0.entry(module).or_default().add(id, has_ended);
        last = Some((module, number));
    }
    Ok(None)
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(format!("an entry of `index` {what}"))
}
