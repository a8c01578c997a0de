//! Large payloads: taken out of a record before it is written, put back after it is read, and
//! removed when nothing names them any more.

use std::collections::{BTreeMap, HashSet};

use redb::ReadableTable;
use wfhost_core::codec;
use wfhost_core::record::Record;
use wfhost_core::{Digest, Json};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::tables::{NAMESPACE, PAYLOADS, REFERENCES, read_history_row, read_row, write_row};

/// The longest payload that stands in a record itself. Beyond it a copy by digest is cheaper than
/// the same text in the input of a task, in its turn and in its replayed history.
const IN_RECORD_BYTES_MAX: usize = 64 * 1024;

/// A record with stand-ins, and the texts that they stand for, each time that one stands. `None`
/// if it has no large payload.
pub(crate) fn take_out(record: &mut Record) -> Option<(Record, Vec<(Digest, Json)>)> {
    let is_large = |json: &Json| json.bytes() > IN_RECORD_BYTES_MAX;
    if !record.payloads_mut().into_iter().any(|json| is_large(json)) {
        return None;
    }
    let mut stored = record.clone();
    let mut taken = Vec::new();
    for json in stored.payloads_mut() {
        if is_large(json) {
            let digest = Digest::of(json.as_str().as_bytes());
            let text = std::mem::replace(json, Json::stand_in(digest));
            taken.push((digest, text));
        }
    }
    Some((stored, taken))
}

/// Writes texts that no earlier record brought.
pub(crate) fn write<'a>(
    transaction: &redb::WriteTransaction,
    payloads: impl IntoIterator<Item = &'a (Digest, Json)>,
) -> Result<(), Fault> {
    let mut payloads = payloads.into_iter().peekable();
    if payloads.peek().is_none() {
        return Ok(());
    }
    let mut table = transaction.open_table(PAYLOADS)?;
    for (digest, text) in payloads {
        let key = (NAMESPACE, digest.as_bytes());
        if table.get(key)?.is_none() {
            table.insert(key, text.as_str())?;
        }
    }
    Ok(())
}

/// How one transaction changes what names payloads.
#[derive(Debug, Default)]
pub(crate) struct References {
    changes: BTreeMap<Digest, i64>,
    /// Payloads that must stay although no row names them.
    spared: HashSet<Digest>,
}

impl References {
    /// For a transaction after which the log still names these.
    pub(crate) fn sparing(spared: HashSet<Digest>) -> Self {
        Self {
            spared,
            ..Self::default()
        }
    }

    /// A row that names it is written.
    pub(crate) fn add(&mut self, digest: Digest) {
        *self.changes.entry(digest).or_default() += 1;
    }

    /// A row that names it is removed.
    pub(crate) fn release(&mut self, digest: Digest) {
        *self.changes.entry(digest).or_default() -= 1;
    }

    /// The log named it and does no more.
    pub(crate) fn leave_log(&mut self, digest: Digest) {
        self.changes.entry(digest).or_default();
    }

    /// A row of `history` is removed. What a damaged one names nobody knows: that stays.
    pub(crate) fn release_history_row(&mut self, row: &[u8]) {
        let Ok(records) = read_history_row(row) else {
            return;
        };
        for (_, record) in records {
            let Ok(mut decoded) = codec::decode(record) else {
                continue;
            };
            for json in decoded.record.payloads_mut() {
                json.stored()
                    .into_iter()
                    .for_each(|digest| self.release(digest));
            }
        }
    }

    /// Writes the counts, the new texts that are named, and removes what nothing names any more.
    pub(crate) fn settle(
        self,
        transaction: &redb::WriteTransaction,
        texts: &[(Digest, Json)],
    ) -> Result<(), Fault> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut counts = transaction.open_table(REFERENCES)?;
        let mut named = HashSet::new();
        for (digest, change) in &self.changes {
            let key = (NAMESPACE, digest.as_bytes());
            let before = counts
                .get(key)?
                .map(|row| read_row::<u64>("references", row.value()))
                .transpose()?
                .unwrap_or_default();
            let after = before
                .checked_add_signed(*change)
                .ok_or_else(|| miscounted(*digest))?;
            if after > 0 {
                counts.insert(key, write_row(&after).as_slice())?;
                named.insert(*digest);
            } else {
                counts.remove(key)?;
                if !self.spared.contains(digest) {
                    transaction.open_table(PAYLOADS)?.remove(key)?;
                }
            }
        }
        write(
            transaction,
            texts.iter().filter(|(digest, _)| named.contains(digest)),
        )
    }
}

impl Inner {
    /// Puts the texts back.
    pub(crate) fn put_back(&self, record: &mut Record) -> Result<(), Error> {
        for json in record.payloads_mut() {
            self.put_back_one(json)?;
        }
        Ok(())
    }

    /// Puts the text back, if this is a stand-in.
    pub(crate) fn put_back_one(&self, json: &mut Json) -> Result<(), Error> {
        if let Some(digest) = json.stored() {
            *json = self.payload(digest)?;
        }
        Ok(())
    }

    /// The text of a digest: from memory while it is not durable, else from the table.
    fn payload(&self, digest: Digest) -> Result<Json, Error> {
        if let Some(text) = self.ledger().payload(digest) {
            return Ok(text);
        }
        // It left memory after the commit that put it into the table, so this sees it.
        self.read(|transaction| {
            let table = transaction.open_table(PAYLOADS)?;
            let found = table.get((NAMESPACE, digest.as_bytes()))?;
            let found = found.ok_or_else(|| missing(digest))?;
            let text = found.value();
            if Digest::of(text.as_bytes()) == digest {
                Ok(Json::trusted(text.into()))
            } else {
                Err(Fault::Damaged(format!("payload {digest} is another text")))
            }
        })
    }
}

fn missing(digest: Digest) -> Fault {
    Fault::Damaged(format!("payload {digest} is missing"))
}

fn miscounted(digest: Digest) -> Fault {
    Fault::Damaged(format!("payload {digest} is named more often than counted"))
}
