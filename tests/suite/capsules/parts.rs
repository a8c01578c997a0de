//! A capsule taken apart, and put together with a right checksum, as its format says.

use wfhost::Digest;
use wfhost_core::codec::Chain;

pub(super) const RECORD: u8 = 2;
pub(super) const MODULE: u8 = 3;
pub(super) const COMPONENT: u8 = 5;
const END: u8 = 0;

/// What stands before the sections: magic and format.
const BEGINS: &[u8] = b"\x93WFCAPS\n\x01\0\0\0";

/// The sections, without the end.
pub(super) fn sections(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = bytes.strip_prefix(BEGINS).expect("it is a capsule");
    let mut sections = Vec::new();
    while let [kind, a, b, c, d, body @ ..] = rest {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if *kind == END {
            break;
        }
        sections.push((*kind, body[..length].to_vec()));
        rest = &body[length..];
    }
    sections
}

/// A capsule of these sections.
pub(super) fn sealed(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = BEGINS.to_vec();
    for (kind, body) in sections {
        bytes.push(*kind);
        bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend(body);
    }
    let sum = Digest::of(&bytes);
    bytes.extend([END, 32, 0, 0, 0]);
    bytes.extend(sum.as_bytes());
    bytes
}

/// Gives a record the link to the one before it, and a right checksum.
pub(super) fn relink(record: &mut [u8], chain: Chain) {
    record[14..30].copy_from_slice(chain.as_bytes());
    let mut sum = 0xffff_ffff_u32;
    for byte in record[..30].iter().chain(&record[34..]) {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
    }
    record[30..34].copy_from_slice(&(!sum).to_le_bytes());
}

/// A core module without what only debuggers and people need.
pub(super) fn stripped(module: &[u8]) -> Vec<u8> {
    use wasmparser::{Parser, Payload};
    let mut kept = Vec::new();
    let (mut from, mut version) = (0, true);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        if version {
            kept.extend(&module[..8]);
            (from, version) = (8, false);
        }
        let Some((_, range)) = payload.as_section() else {
            continue;
        };
        let end = usize::try_from(range.end).unwrap();
        let needless = matches!(&payload, Payload::CustomSection(section)
            if ["name", "producers", "target_features"].contains(&section.name()));
        if !needless {
            kept.extend(&module[from..end]);
        }
        from = end;
    }
    kept
}
