//! How a record is written.
//!
//! ```text
//! byte   0     format version of the record's kind: 1; of a start with a trace 2
//!        1     kind: 1 started, 2 accepted, 3 turn, 4 attempt, 5 attempt-started, 6 stalled,
//!              7 ended, 8 state-written, 9 attempt-stopped, 10 unstalled, 11 moved, 14 copied,
//!              15 reset; reserved: 12 patched, 13 capabilities
//!        2-9   owner: the number of the instance, 0 for none, little-endian
//!       10-13  length of the body in bytes, little-endian
//!       14-29  chain: the first 16 bytes of the SHA-256 of the whole record before it in its
//!              history, chain and checksum included; zeros for the first
//!       30-33  CRC-32 of everything but these four bytes, little-endian
//!       34-    the body: the struct of the kind, in postcard's encoding; of a start with a trace
//!              the trace behind it
//! ```
//!
//! A start without a trace is written as it was before there were any: older hosts read it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Digest;
use crate::Trace;
use crate::record::{Record, Started};

/// The format version that this code writes.
pub const FORMAT: u8 = 1;

/// The format version of a start that stands in a trace.
const TRACED: u8 = 2;

/// Bytes before the body.
const HEADER_BYTES: usize = 34;

/// The kind of [`Record::Started`].
const STARTED: u8 = 1;

/// Where the checksum stands.
const CHECKSUM: std::ops::Range<usize> = 30..34;

/// What ties a record to the one before it in its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain([u8; 16]);

impl Chain {
    /// The link to a record that was written so.
    #[must_use]
    pub fn to(encoded: &[u8]) -> Self {
        let mut link = [0; 16];
        link.copy_from_slice(&Digest::of(encoded).as_bytes()[..16]);
        Self(link)
    }

    /// The 16 bytes that stand in a record.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// A record as it was read.
#[derive(Debug)]
pub struct Decoded {
    /// The number of the instance that it belongs to.
    pub owner: u64,
    /// The link to the record before it.
    pub chain: Chain,
    /// The record itself; large payloads may be stand-ins.
    pub record: Record,
}

/// Bytes that are no record of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is cut off, or a bit has flipped.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
    /// A newer host wrote it.
    #[error("the record has format {version}, kind {kind}; this host knows format {FORMAT}")]
    Unknown {
        /// Its format version.
        version: u8,
        /// Its kind.
        kind: u8,
    },
}

/// Writes a record.
#[must_use]
pub fn encode(owner: u64, chain: Chain, record: &Record) -> Vec<u8> {
    match record {
        Record::Started(body) => match &body.trace {
            None => frame(STARTED, owner, chain, body),
            Some(trace) => frame_as(TRACED, STARTED, owner, chain, &(body, trace)),
        },
        Record::Accepted(body) => frame(2, owner, chain, body),
        Record::Turn(body) => frame(3, owner, chain, body),
        Record::Attempt(body) => frame(4, owner, chain, body),
        Record::AttemptStarted(body) => frame(5, owner, chain, body),
        Record::Stalled(body) => frame(6, owner, chain, body),
        Record::Ended(body) => frame(7, owner, chain, body),
        Record::StateWritten(body) => frame(8, owner, chain, body),
        Record::AttemptStopped(body) => frame(9, owner, chain, body),
        Record::Unstalled(body) => frame(10, owner, chain, body),
        Record::Moved(body) => frame(11, owner, chain, body),
        Record::Reset(body) => frame(15, owner, chain, body),
        Record::Copied(body) => frame(14, owner, chain, body),
    }
}

/// The first of records that stand one behind the other, and the rest. `None` if the first is cut
/// off; whether it is whole otherwise [`decode`] says.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = bytes.get(..HEADER_BYTES)?;
    let length = usize::try_from(u32_at(header, 10)).ok()?;
    bytes.split_at_checked(HEADER_BYTES.checked_add(length)?)
}

/// Whether a record, as it is written, begins a generation.
#[must_use]
pub fn is_start(record: &[u8]) -> bool {
    record.get(1) == Some(&STARTED)
}

/// Reads a record.
///
/// # Errors
/// If the bytes are damaged, or of a format or kind that this code does not know.
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let header = bytes
        .get(..HEADER_BYTES)
        .ok_or(DecodeError::Damaged("it is cut off"))?;
    let (version, kind) = (header[0], header[1]);
    let traced = (version, kind) == (TRACED, STARTED);
    if version != FORMAT && !traced {
        return Err(DecodeError::Unknown { version, kind });
    }
    let body = &bytes[HEADER_BYTES..];
    if u32_at(header, 10) as usize != body.len() {
        return Err(DecodeError::Damaged("its length does not fit"));
    }
    if u32_at(header, CHECKSUM.start) != checksum(bytes) {
        return Err(DecodeError::Damaged("its checksum does not fit"));
    }
    let mut owner = [0; 8];
    owner.copy_from_slice(&header[2..10]);
    let mut chain = Chain::default();
    chain.0.copy_from_slice(&header[14..30]);
    let record = match kind {
        STARTED if traced => {
            let (started, trace) = read::<(Box<Started>, Trace)>(body)?;
            let trace = Some(trace);
            Record::Started(Box::new(Started { trace, ..*started }))
        }
        STARTED => Record::Started(read(body)?),
        2 => Record::Accepted(read(body)?),
        3 => Record::Turn(read(body)?),
        4 => Record::Attempt(read(body)?),
        5 => Record::AttemptStarted(read(body)?),
        6 => Record::Stalled(read(body)?),
        7 => Record::Ended(read(body)?),
        8 => Record::StateWritten(read(body)?),
        9 => Record::AttemptStopped(read(body)?),
        10 => Record::Unstalled(read(body)?),
        11 => Record::Moved(read(body)?),
        14 => Record::Copied(read(body)?),
        15 => Record::Reset(read(body)?),
        _ => return Err(DecodeError::Unknown { version, kind }),
    };
    Ok(Decoded {
        owner: u64::from_le_bytes(owner),
        chain,
        record,
    })
}

fn frame(kind: u8, owner: u64, chain: Chain, body: &impl Serialize) -> Vec<u8> {
    frame_as(FORMAT, kind, owner, chain, body)
}

fn frame_as(version: u8, kind: u8, owner: u64, chain: Chain, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend([version, kind]);
    bytes.extend(owner.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(chain.0);
    bytes.extend([0; 4]);
    let mut bytes = postcard::to_extend(body, bytes).expect("records are plain data");
    let length = u32::try_from(bytes.len() - HEADER_BYTES).expect("payloads are bounded");
    bytes[10..14].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(&bytes);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeError::Damaged("its body does not read")),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CHECKSUM.start]);
    hasher.update(&bytes[CHECKSUM.end..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Accepted, Happening};
    use crate::{Json, RunId, TaskId, Timestamp};

    fn record() -> Record {
        let what = Happening::TimerFired { task: TaskId(7) };
        Record::Accepted(Accepted {
            at: Timestamp(1),
            what,
            key: None,
        })
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let bytes = encode(3, Chain::to(b"before"), &record());
        let decoded = decode(&bytes).unwrap();
        assert_eq!((decoded.owner, decoded.record), (3, record()));
        assert_eq!(decoded.chain, Chain::to(b"before"));
    }

    fn started(trace: Option<Trace>) -> Record {
        Record::Started(Box::new(Started {
            id: "a".parse().unwrap(),
            run: RunId(1),
            generation: 0,
            workflow: "Order".parse().unwrap(),
            module: Digest::of(b"module"),
            contract: "0.1.0".into(),
            features: 1,
            seed: 2,
            input: Json::parse("1").unwrap(),
            parent: None,
            tags: Vec::new(),
            at: Timestamp(3),
            created_at: Timestamp(3),
            events: Vec::new(),
            begins_at: None,
            key: None,
            carried: None,
            reruns: Vec::new(),
            trace,
        }))
    }

    fn trace() -> Option<Trace> {
        Some(Trace {
            id: u128::MAX,
            span: 7,
            flags: 1,
            state: "vendor=1".into(),
        })
    }

    #[test]
    fn a_start_keeps_its_trace_and_one_without_is_written_as_ever() {
        for (trace, version) in [(None, FORMAT), (trace(), TRACED)] {
            let bytes = encode(3, Chain::default(), &started(trace.clone()));
            assert_eq!(bytes[0], version);
            assert!(is_start(&bytes));
            assert_eq!(decode(&bytes).unwrap().record, started(trace));
        }
    }

    #[test]
    fn only_a_start_may_have_a_trace_behind_it() {
        let mut bytes = encode(3, Chain::default(), &started(trace()));
        // Kind and version are read before anything else.
        bytes[1] = 2;
        let (version, kind) = (TRACED, 2);
        let unknown = DecodeError::Unknown { version, kind };
        assert_eq!(decode(&bytes).unwrap_err(), unknown);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        for record in [record(), started(None), started(trace())] {
            let bytes = encode(3, Chain::default(), &record);
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 4;
                assert!(decode(&damaged).is_err(), "byte {at}");
                assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn an_unknown_version_is_refused_by_its_number() {
        let mut bytes = encode(3, Chain::default(), &record());
        bytes[0] = 2;
        assert_eq!(
            decode(&bytes).unwrap_err(),
            DecodeError::Unknown {
                version: 2,
                kind: 2
            }
        );
    }
}
