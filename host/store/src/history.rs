//! Reading histories: the gathered part from the disk, the rest from memory, every link checked.

use std::sync::Arc;

use wfhost_core::codec::{self, Chain};
use wfhost_core::record::Record;
use wfhost_core::{Instance, InstanceId, Position};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::ledger::{Live, Row};
use crate::summary::Summary;
use crate::tables::{HISTORY, INSTANCES, NAMESPACE, REMOVED, read_history_row, read_row};

/// How much of a history is read at once, so that a long one neither fills memory nor holds a
/// read transaction open, which would keep the file from reusing its pages.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Checks that records follow each other.
struct Follow {
    owner: u64,
    /// The index of the record that comes next; until the first has come: of the one asked for.
    next: u64,
    /// The link that the next must carry, where that is known.
    chain: Option<Chain>,
    /// A record has come.
    begun: bool,
}

impl Follow {
    fn from(owner: u64, index: u64) -> Self {
        Self {
            owner,
            next: index,
            chain: (index == 0).then(Chain::default),
            begun: false,
        }
    }

    /// Reads the next record; large payloads are still stand-ins.
    fn read(&mut self, row: &Row) -> Result<Record, Fault> {
        let Self { owner, next, .. } = *self;
        let damaged = |what: &str| {
            Fault::Damaged(format!("record {next} of instance number {owner}: {what}"))
        };
        let decoded = codec::decode(&row.record).map_err(|error| damaged(&error.to_string()))?;
        // What is kept may begin later than what is asked for: with the start of a generation,
        // whose link to what is gone is taken as it stands.
        let begins_later = !self.begun && row.index > next;
        if begins_later && !matches!(decoded.record, Record::Started(_)) {
            return Err(damaged("it is missing"));
        }
        if decoded.owner != owner || !begins_later && row.index != next {
            return Err(damaged("another record stands in its place"));
        }
        let chain = self.chain.filter(|_| !begins_later);
        if chain.is_some_and(|chain| chain != decoded.chain) {
            return Err(damaged("it does not follow the record before it"));
        }
        self.begun = true;
        self.next = row.index + 1;
        self.chain = Some(Chain::to(&row.record));
        Ok(decoded.record)
    }
}

/// Why the records of a history are not handed out to their end.
enum Stop<E> {
    Store(Error),
    Caller(E),
}

impl<E> From<Error> for Stop<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Inner {
    /// Hands out the records of an instance from index `from` on, or from where its history is
    /// kept, with their positions. `false` if there is no such instance.
    pub(crate) fn for_each_record<E: From<Error>>(
        &self,
        id: &InstanceId,
        from: u64,
        mut each: impl FnMut(Position, Record) -> Result<(), E>,
    ) -> Result<bool, E> {
        loop {
            let removals = self.removals();
            let mut handed_out = false;
            let mut each = |position, record| {
                handed_out = true;
                each(position, record).map_err(Stop::Caller)
            };
            match self.hand_out(id, from, &mut each) {
                Ok(found) => return Ok(found),
                Err(Stop::Caller(error)) => return Err(error),
                Err(Stop::Store(Error::Damaged { path, .. }))
                    if self.may_have_removed(removals) =>
                {
                    if handed_out {
                        let id = id.clone();
                        return Err(Error::Removed { path, id }.into());
                    }
                }
                Err(Stop::Store(error)) => return Err(error.into()),
            }
        }
    }

    fn hand_out<E>(
        &self,
        id: &InstanceId,
        from: u64,
        each: &mut impl FnMut(Position, Record) -> Result<(), Stop<E>>,
    ) -> Result<bool, Stop<E>> {
        // The tail first: what is gathered after this is met twice, not missed.
        let (live, tail) = {
            let mut ledger = self.usable()?;
            let tail = ledger.tail_of(id);
            let live = ledger.look(id).map(|live| {
                let instance = &live.instance;
                (live.number, instance.records(), instance.kept_from())
            });
            (live, tail)
        };
        let (number, records, kept_from) = match live {
            Some(live) => live,
            None => match self.summary_on_disk(id)? {
                Some(summary) => (summary.number, summary.records, 0),
                None => return Ok(false),
            },
        };
        // What the next gather will remove counts as gone already.
        let from = from.max(kept_from);
        // The record before the first shows what the first must link to.
        let mut follow = Follow::from(number, from.saturating_sub(1));
        let mut hand_out = |row: &Row, follow: &mut Follow| {
            let read = follow.read(row);
            let mut record = read.map_err(|fault| fault.reading(&self.path))?;
            if row.index < from {
                return Ok(());
            }
            self.put_back(&mut record)?;
            each(row.position, record)
        };
        let end = tail.first().map(|row| row.index);
        self.for_each_gathered(&mut follow, end, &mut hand_out)?;
        for row in &tail {
            if row.index >= follow.next {
                hand_out(row, &mut follow)?;
            }
        }
        if from < records && follow.next < records {
            return Err(self.cut_off(number, follow.next, records).into());
        }
        Ok(true)
    }

    /// An instance whose history ends too early.
    pub(crate) fn cut_off(&self, number: u64, found: u64, records: u64) -> Error {
        let what = format!("instance number {number} has {found} records instead of {records}");
        Fault::Damaged(what).reading(&self.path)
    }

    /// Folds an instance from its history on disk.
    pub(crate) fn fold(&self, number: u64) -> Result<Option<Live>, Error> {
        let mut folded: Option<(Instance, Position)> = None;
        let mut follow = Follow::from(number, 0);
        self.for_each_gathered(&mut follow, None, &mut |row, follow| {
            let reading = |fault: Fault| fault.reading(&self.path);
            let mut record = follow.read(row).map_err(reading)?;
            self.put_back(&mut record)?;
            let broken =
                |what: String| reading(Fault::Damaged(format!("instance number {number}: {what}")));
            let link = follow.chain.unwrap_or_default();
            match (&mut folded, record) {
                (Some((instance, last)), record) => {
                    instance
                        .apply(&record)
                        .map_err(|error| broken(error.to_string()))?;
                    instance.link(link);
                    *last = row.position;
                }
                (none, Record::Started(started)) => {
                    let mut instance = Instance::begin_at(*started, row.index);
                    instance.link(link);
                    *none = Some((instance, row.position));
                }
                (None, _) => return Err(broken("it does not begin with a start".into())),
            }
            Ok(())
        })?;
        Ok(folded.map(|(instance, last)| Live::gathered(number, instance, last)))
    }

    /// Hands out gathered records of an owner from `follow.next` on, before `end`.
    fn for_each_gathered<E: From<Error>>(
        &self,
        follow: &mut Follow,
        end: Option<u64>,
        each: &mut impl FnMut(&Row, &mut Follow) -> Result<(), E>,
    ) -> Result<(), E> {
        while end.is_none_or(|end| follow.next < end) {
            let rows = self.gathered_rows(follow.owner, follow.next, end)?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                each(row, follow)?;
            }
        }
        Ok(())
    }

    /// Some rows of a history, in order, from an index on or from where it is kept; none at its
    /// end.
    pub(crate) fn gathered_rows(
        &self,
        owner: u64,
        from: u64,
        end: Option<u64>,
    ) -> Result<Vec<Row>, Error> {
        self.read(|transaction| {
            let removed = transaction.open_table(REMOVED)?;
            let removed = removed.get((NAMESPACE, owner))?;
            let kept_from = removed.map_or(0, |index| index.value());
            let (first, end) = (from.max(kept_from), end.unwrap_or(u64::MAX));
            if first >= end {
                return Ok(Vec::new());
            }
            let table = transaction.open_table(HISTORY)?;
            let place = |index: u64| (NAMESPACE, owner, index);
            // The row that holds the first begins with it or before.
            let before = table.range(place(kept_from)..=place(first))?.next_back();
            let begins = match before.transpose()? {
                Some((key, _)) => key.value().2,
                None => first,
            };
            let mut rows = Vec::new();
            let mut bytes = 0;
            for row in table.range(place(begins)..place(end))? {
                let (key, value) = row?;
                let records = read_history_row(value.value())?;
                for (index, (position, record)) in (key.value().2..).zip(records) {
                    if (first..end).contains(&index) {
                        bytes += record.len();
                        rows.push(unpacked(owner, index, position, record));
                    }
                }
                if bytes > CHUNK_BYTES {
                    break;
                }
            }
            let skipped = rows.first().is_some_and(|row| row.index > first);
            if skipped && begins < first {
                let what = format!("record {first} of instance number {owner} is missing");
                return Err(Fault::Damaged(what));
            }
            Ok(rows)
        })
    }

    /// The last gathered record of an owner: how many there are, and the link to it.
    pub(crate) fn end_of_history(&self, owner: u64) -> Result<(u64, Chain), Error> {
        self.read(|transaction| {
            let table = transaction.open_table(HISTORY)?;
            let all = (NAMESPACE, owner, 0)..=(NAMESPACE, owner, u64::MAX);
            let Some((key, value)) = table.range(all)?.next_back().transpose()? else {
                return Ok((0, Chain::default()));
            };
            let records = read_history_row(value.value())?;
            let (_, last) = records.last().ok_or_else(|| {
                Fault::Damaged(format!("a row of the history of owner {owner} is empty"))
            })?;
            let count = records.len() as u64;
            Ok((key.value().2 + count, Chain::to(last)))
        })
    }

    /// The row of an instance, as of the last gather.
    pub(crate) fn summary_on_disk(&self, id: &InstanceId) -> Result<Option<Summary>, Error> {
        self.read(|transaction| {
            let table = transaction.open_table(INSTANCES)?;
            let row = table.get((NAMESPACE, id.as_str()))?;
            row.map(|row| read_row("instances", row.value()))
                .transpose()
        })
    }
}

fn unpacked(owner: u64, index: u64, position: u64, record: &[u8]) -> Row {
    Row {
        position: Position(position),
        owner,
        index,
        record: Arc::from(record),
        bytes: record.len() as u64,
    }
}
