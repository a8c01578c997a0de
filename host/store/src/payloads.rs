//! Large payloads: taken out of a record before it is written, put back after it is read.

use redb::ReadableTable;
use wfhost_core::record::Record;
use wfhost_core::{Digest, Json};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::tables::{NAMESPACE, PAYLOADS};

/// The longest payload that stands in a record itself. Beyond it a copy by digest is cheaper than
/// the same text in the input of a task, in its turn and in its replayed history.
const IN_RECORD_BYTES_MAX: usize = 64 * 1024;

/// A record with stand-ins, and the texts that they stand for. `None` if it has no large payload.
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
pub(crate) fn write(
    transaction: &redb::WriteTransaction,
    payloads: &[(Digest, Json)],
) -> Result<(), Fault> {
    if payloads.is_empty() {
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
