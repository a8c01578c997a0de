//! The walk through an index, some rows in one read transaction.

use std::collections::HashSet;
use std::iter::Peekable;

use redb::{ReadOnlyTable, ReadableTable};
use wfhost_core::InstanceId;

use super::{Facets, Query, ROWS_AT_ONCE};
use crate::ended;
use crate::error::Fault;
use crate::index::{Created, Key};
use crate::summary::Summary;
use crate::tables::{CREATED, INDEX, INSTANCES, NAMESPACE, read_row};

type Entry = Result<(u64, InstanceId), Fault>;

/// Walks through the index, in the order asked.
pub(super) struct Walk<'a> {
    instances: ReadOnlyTable<(u32, &'static str), &'static [u8]>,
    entries: Vec<Peekable<Box<dyn Iterator<Item = Entry> + 'a>>>,
    newest_first: bool,
}

impl Walk<'_> {
    pub(super) fn begin(transaction: &redb::ReadTransaction, query: &Query) -> Result<Self, Fault> {
        let created = transaction.open_table(CREATED)?;
        let (first, end) = numbers(&created, query)?;
        let index = transaction.open_table(INDEX)?;
        let mut entries: Vec<Box<dyn Iterator<Item = Entry>>> = Vec::new();
        let ended = few_that_ended(&index, query)?;
        let keys = match &ended {
            Some(_) => Vec::new(),
            None => query.keys(),
        };
        if let Some(ended) = ended {
            let within = ended
                .into_iter()
                .filter(move |(number, _)| (first..end).contains(number));
            entries.push(in_order(within.map(Ok), query.newest_first));
        } else if keys.is_empty() {
            let all = created.range((NAMESPACE, first)..(NAMESPACE, end))?;
            let all = all.map(|row| {
                let (number, row) = row?;
                let row: Created = read_row("created", row.value())?;
                Ok((number.value().1, row.id))
            });
            entries.push(in_order(all, query.newest_first));
        }
        for Key { kind, value } in &keys {
            let place = |number: u64| (NAMESPACE, *kind, value.as_slice(), number);
            let some = index.range(place(first)..place(end))?;
            let some = some.map(|row| {
                let (key, id) = row?;
                let id = id.value().parse().map_err(|_| damaged("holds no id"))?;
                Ok((key.value().3, id))
            });
            entries.push(in_order(some, query.newest_first));
        }
        Ok(Self {
            instances: transaction.open_table(INSTANCES)?,
            entries: entries.into_iter().map(Iterator::peekable).collect(),
            newest_first: query.newest_first,
        })
    }

    /// Adds up to `wanted` rows that are looked for, of the next [`ROWS_AT_ONCE`]. Returns how far
    /// it came, unless it came to the end.
    pub(super) fn take(
        mut self,
        query: &Query,
        in_memory: &HashSet<InstanceId>,
        wanted: usize,
        found: &mut Vec<Summary>,
    ) -> Result<Option<u64>, Fault> {
        let full = found.len() + wanted;
        let mut last = None;
        for _ in 0..ROWS_AT_ONCE {
            if found.len() == full {
                return Ok(last);
            }
            let Some(entry) = self.next() else {
                return Ok(None);
            };
            let (number, id) = entry?;
            last = Some(number);
            if in_memory.contains(&id) {
                continue;
            }
            let row = self.instances.get((NAMESPACE, id.as_str()))?;
            let row = row.ok_or_else(|| damaged("names an instance that has no row"))?;
            let row: Summary = read_row("instances", row.value())?;
            if row.number != number {
                return Err(damaged("names another instance"));
            }
            if query.admits(&Facets::of_row(&row)) {
                found.push(row);
            }
        }
        Ok(last)
    }

    /// The next entry of all that are walked together.
    fn next(&mut self) -> Option<Entry> {
        let mut best: Option<(u64, usize)> = None;
        for (at, entries) in self.entries.iter_mut().enumerate() {
            let number = match entries.peek() {
                None => continue,
                Some(Err(_)) => return entries.next(),
                Some(Ok((number, _))) => *number,
            };
            let is_earlier = |best: u64| (number < best) != self.newest_first;
            if best.is_none_or(|(best, _)| is_earlier(best)) {
                best = Some((number, at));
            }
        }
        self.entries[best?.1].next()
    }
}

/// Those that ended before the time that is asked, by number, if they are so few that they are to be
/// walked.
fn few_that_ended(
    index: &ReadOnlyTable<(u32, u8, &'static [u8], u64), &'static str>,
    query: &Query,
) -> Result<Option<Vec<(u64, InstanceId)>>, Fault> {
    let Some(before) = query.ended_before() else {
        return Ok(None);
    };
    let mut few = Vec::new();
    for status in query.each_status() {
        for entry in ended::entries(index, status, before, None)? {
            if few.len() == ROWS_AT_ONCE {
                return Ok(None);
            }
            let (place, id) = entry?;
            few.push((place.number, id));
        }
    }
    few.sort_unstable();
    Ok(Some(few))
}

fn in_order<'a, T>(
    entries: impl DoubleEndedIterator<Item = T> + 'a,
    newest_first: bool,
) -> Box<dyn Iterator<Item = T> + 'a> {
    if newest_first {
        Box::new(entries.rev())
    } else {
        Box::new(entries)
    }
}

/// The numbers that those that are looked for can have: from the first to before the second.
fn numbers(
    created: &ReadOnlyTable<(u32, u64), &'static [u8]>,
    query: &Query,
) -> Result<(u64, u64), Fault> {
    let (mut first, mut end) = (0, u64::MAX);
    if let Some(from) = query.created_from {
        first = first_where(created, |row| row.latest >= from)?;
    }
    if let Some(before) = query.created_before {
        end = first_where(created, |row| row.earliest >= before)?;
    }
    match query.after {
        Some(after) if query.newest_first => end = end.min(after),
        Some(after) => first = first.max(after.saturating_add(1)),
        None => {}
    }
    // redb takes no range that ends before it begins.
    Ok((first, end.max(first)))
}

/// From which number on rows are such; what is asked stays true once it is.
fn first_where(
    created: &ReadOnlyTable<(u32, u64), &'static [u8]>,
    is_such: impl Fn(&Created) -> bool,
) -> Result<u64, Fault> {
    let last = created.last()?.map_or(0, |(key, _)| key.value().1);
    let (mut first, mut end) = (0, last + 1);
    while first < end {
        let middle = first + (end - first) / 2;
        let next = created
            .range((NAMESPACE, middle)..=(NAMESPACE, last))?
            .next()
            .transpose()?;
        match next {
            Some((key, row)) if !is_such(&read_row("created", row.value())?) => {
                first = key.value().1 + 1;
            }
            _ => end = middle,
        }
    }
    Ok(first)
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(format!("an entry of `index` {what}"))
}
