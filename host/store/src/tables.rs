//! The tables of the data file, and how their rows are written.
//!
//! The file is a redb database. Every key begins with the namespace, a little number; one file
//! holds one namespace, number 0, so that several can stand in one database later.
//!
//! ```text
//! table       key                               value
//! ----------  --------------------------------  ---------------------------------------------
//! header      namespace u32                     magic 8 bytes | format u32 LE | name, UTF-8
//! gathered    namespace u32                     position (*): all up to it is out of the log
//! log         namespace u32, position u64       records, one behind the other
//! history     namespace u32, owner u64,         records, one behind the other, each with its
//!             index u64                         position u64 LE before it (*)
//! removed     namespace u32, owner u64          index u64: the history before it is gone
//! instances   namespace u32, id str             summary (*), see `summary`
//! index       namespace u32, kind u8,           id, see `index`
//!             value bytes, number u64
//! created     namespace u32, number u64         id, bounds of the times of creation (*),
//!                                               see `index`
//! state       namespace u32, key str            version, expiry, value (*)
//! expiries    namespace u32, time u64, key str  nothing: the value of the key expires then
//! payloads    namespace u32, digest 32 bytes    JSON text
//! references  namespace u32, digest 32 bytes    u64 (*): how many name the payload
//! modules     namespace u32, digest 32 bytes    JSON of the module's description (*)
//! blobs       namespace u32, digest 32 bytes    uploaded modules, the components made of them
//! bindings    namespace u32, role u8, name str  module, candidate with its share (*)
//! deployments namespace u32, number u64         JSON of what brought modules or moved bindings (*)
//! schedules   namespace u32, name str           JSON of what the schedule does (*)
//! standings   namespace u32, name str           JSON of where the schedule stands (*)
//!
//! (*) followed by the CRC-32 of what stands before, u32 LE. Plain data in postcard's encoding.
//!     Records bring their own; payloads and blobs are checked by their digest.
//! ```
//!
//! A record is written as `wfhost_core::codec` draws it, so that several in one row are told apart;
//! the key is that of the first. One row of several costs an insertion instead of one each, and its
//! share of a page.
//!
//! It appears in the log first, whose key only grows, so that a commit of many instances' records
//! touches the last page only. A *gather* moves the oldest records of the log to the histories of
//! their owners: an owner is the number of an instance, which is the position of its first record,
//! or 0 for writes to the state from outside of any instance. `index` counts the records of one
//! history from 0. The log holds exactly the positions after `gathered`, without a gap. What else
//! tells of an instance or a key of the state may be of a later position than `gathered`, never of
//! an earlier one: the log from there on brings it about again.
//!
//! A history is kept from the generation before the current one on, so that its first row is the
//! start of one (no row holds records of two); of the writes from outside only the last is kept. A
//! history of which more is gone than one transaction should remove stands in `removed` until all
//! rows before the index there are removed; nobody reads those.
//!
//! ```text
//!             gathered          durable           submitted
//!   position  1 … … … … n       n+1 … … … m       m+1 … … … k
//!             history, state,   log               memory
//!             instances
//! ```
//!
//! A payload of more than 64 KiB stands in `payloads`, once, by its digest; the record and the
//! state row hold the digest. Each time that a row of `history` or `state` names it counts 1 in
//! `references`; it is removed when that falls to 0 and the log does not name it. Roles: 0
//! workflow, 1 activity.

use redb::TableDefinition;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wfhost_core::{Json, Position, Role, Timestamp, codec};

use crate::error::Fault;

/// The number of the one namespace in a file.
pub(crate) const NAMESPACE: u32 = 0;

/// The format that this code reads and writes.
pub(crate) const FORMAT: u32 = 4;

/// What a header begins with. The line ends show a file that was copied as text.
const MAGIC: [u8; 8] = *b"wfhost\r\n";

/// The name of the one namespace.
const NAMESPACE_NAME: &str = "default";

pub(crate) const HEADER: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("header");
pub(crate) const GATHERED: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("gathered");
pub(crate) const LOG: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("log");
pub(crate) const HISTORY: TableDefinition<'_, (u32, u64, u64), &[u8]> =
    TableDefinition::new("history");
pub(crate) const REMOVED: TableDefinition<'_, (u32, u64), u64> = TableDefinition::new("removed");
pub(crate) const INSTANCES: TableDefinition<'_, (u32, &str), &[u8]> =
    TableDefinition::new("instances");
pub(crate) const INDEX: TableDefinition<'_, (u32, u8, &[u8], u64), &str> =
    TableDefinition::new("index");
pub(crate) const CREATED: TableDefinition<'_, (u32, u64), &[u8]> = TableDefinition::new("created");
pub(crate) const STATE: TableDefinition<'_, (u32, &str), &[u8]> = TableDefinition::new("state");
pub(crate) const EXPIRIES: TableDefinition<'_, (u32, u64, &str), ()> =
    TableDefinition::new("expiries");
pub(crate) const PAYLOADS: TableDefinition<'_, (u32, &[u8; 32]), &str> =
    TableDefinition::new("payloads");
pub(crate) const REFERENCES: TableDefinition<'_, (u32, &[u8; 32]), &[u8]> =
    TableDefinition::new("references");
pub(crate) const MODULES: TableDefinition<'_, (u32, &[u8; 32]), &[u8]> =
    TableDefinition::new("modules");
pub(crate) const BLOBS: TableDefinition<'_, (u32, &[u8; 32]), &[u8]> =
    TableDefinition::new("blobs");
pub(crate) const BINDINGS: TableDefinition<'_, (u32, u8, &str), &[u8]> =
    TableDefinition::new("bindings");
pub(crate) const DEPLOYMENTS: TableDefinition<'_, (u32, u64), &[u8]> =
    TableDefinition::new("deployments");

/// Made with the first schedule: a file of an earlier build has no such table, and no schedules.
pub(crate) const SCHEDULES: TableDefinition<'_, (u32, &str), &[u8]> =
    TableDefinition::new("schedules");
/// Beside `schedules`, since it changes with every firing and an input may be large.
pub(crate) const STANDINGS: TableDefinition<'_, (u32, &str), &[u8]> =
    TableDefinition::new("standings");

/// A header, as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Ours,
    OtherFormat(u32),
    NotOurs,
}

/// The header of a new file.
pub(crate) fn header() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(NAMESPACE_NAME.as_bytes());
    bytes
}

/// Reads a header.
pub(crate) fn read_header(bytes: &[u8]) -> Header {
    let Some((format, name)) = bytes
        .strip_prefix(&MAGIC)
        .and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Header::NotOurs;
    };
    match u32::from_le_bytes(*format) {
        FORMAT if name == NAMESPACE_NAME.as_bytes() => Header::Ours,
        FORMAT => Header::NotOurs,
        other => Header::OtherFormat(other),
    }
}

/// Makes every table, so that reading never meets one that is missing, and the header.
pub(crate) fn create(transaction: &redb::WriteTransaction) -> Result<(), Fault> {
    let header = header();
    transaction
        .open_table(HEADER)?
        .insert(NAMESPACE, header.as_slice())?;
    let gathered = write_row(&Position::default());
    transaction
        .open_table(GATHERED)?
        .insert(NAMESPACE, gathered.as_slice())?;
    transaction.open_table(LOG)?;
    transaction.open_table(HISTORY)?;
    transaction.open_table(REMOVED)?;
    transaction.open_table(INSTANCES)?;
    transaction.open_table(INDEX)?;
    transaction.open_table(CREATED)?;
    transaction.open_table(STATE)?;
    transaction.open_table(EXPIRIES)?;
    transaction.open_table(PAYLOADS)?;
    transaction.open_table(REFERENCES)?;
    transaction.open_table(MODULES)?;
    transaction.open_table(BLOBS)?;
    transaction.open_table(BINDINGS)?;
    transaction.open_table(DEPLOYMENTS)?;
    Ok(())
}

/// A row of `state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StateRow {
    /// The position of the write.
    pub(crate) version: u64,
    pub(crate) expires_at: Option<Timestamp>,
    /// A large one is a stand-in.
    pub(crate) value: Json,
}

/// Writes a row that is plain data.
pub(crate) fn write_row(row: &impl Serialize) -> Vec<u8> {
    checked(postcard::to_allocvec(row).expect("rows are plain data"))
}

/// Reads a row that is plain data.
pub(crate) fn read_row<'a, T: Deserialize<'a>>(table: &str, row: &'a [u8]) -> Result<T, Fault> {
    postcard::from_bytes(verified(table, row)?)
        .map_err(|error| Fault::Damaged(format!("a row of `{table}` does not read: {error}")))
}

/// Writes a row that is JSON, for what people may want to read with other tools.
pub(crate) fn write_json_row(row: &impl Serialize) -> Vec<u8> {
    checked(serde_json::to_vec(row).expect("rows are plain data"))
}

/// Reads a row that is JSON.
pub(crate) fn read_json_row<T: DeserializeOwned>(table: &str, row: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(verified(table, row)?)
        .map_err(|error| Fault::Damaged(format!("a row of `{table}` does not read: {error}")))
}

/// How long rows of several records become. A page of 4 KiB holds one such row of `history`; what
/// is in the log leaves it soon, so that there fewer rows count more than full pages.
pub(crate) const HISTORY_ROW_BYTES: usize = 4_000;
pub(crate) const LOG_ROW_BYTES: usize = 16_000;

/// Adds a record to a row of `history` that is being made.
pub(crate) fn add_to_history_row(row: &mut Vec<u8>, position: u64, record: &[u8]) {
    row.extend(position.to_le_bytes());
    row.extend(record);
}

/// The positions and the records of a row of `history`.
pub(crate) fn read_history_row(row: &[u8]) -> Result<Vec<(u64, &[u8])>, Fault> {
    let mut rest = verified("history", row)?;
    let mut records = Vec::new();
    while !rest.is_empty() {
        let split = rest.split_first_chunk::<8>().and_then(|(position, rest)| {
            let (record, rest) = codec::split(rest)?;
            Some((u64::from_le_bytes(*position), record, rest))
        });
        let (position, record, after) = split.ok_or_else(|| damaged("history"))?;
        records.push((position, record));
        rest = after;
    }
    Ok(records)
}

/// Puts the checksum behind a row.
pub(crate) fn checked(mut row: Vec<u8>) -> Vec<u8> {
    row.extend(crc32fast::hash(&row).to_le_bytes());
    row
}

/// A row without its checksum, which fits.
pub(crate) fn verified<'a>(table: &str, row: &'a [u8]) -> Result<&'a [u8], Fault> {
    match row.split_last_chunk::<4>() {
        Some((row, checksum)) if crc32fast::hash(row) == u32::from_le_bytes(*checksum) => Ok(row),
        _ => Err(damaged(table)),
    }
}

fn damaged(table: &str) -> Fault {
    Fault::Damaged(format!("the checksum of a row of `{table}` does not fit"))
}

/// A role as it stands in a key.
pub(crate) fn role_number(role: Role) -> u8 {
    match role {
        Role::Workflow => 0,
        Role::Activity => 1,
    }
}

/// The role of that number.
pub(crate) fn role_of(number: u8) -> Result<Role, Fault> {
    match number {
        0 => Ok(Role::Workflow),
        1 => Ok(Role::Activity),
        _ => Err(Fault::Damaged(format!("there is no role {number}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_ours_only_in_full() {
        assert_eq!(read_header(&header()), Header::Ours);
        let mut newer = header();
        newer[8] = 9;
        assert_eq!(read_header(&newer), Header::OtherFormat(9));
        for bytes in [&b""[..], b"wfhost", b"wfhost\n\n\x02\0\0\0default"] {
            assert_eq!(read_header(bytes), Header::NotOurs);
        }
        let mut other_namespace = header();
        other_namespace.extend(b"2");
        assert_eq!(read_header(&other_namespace), Header::NotOurs);
    }
}
