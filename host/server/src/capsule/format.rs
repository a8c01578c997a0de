//! Sections, and the checksum over all of them.

use std::io::{self, Read, Write};

use wfhost_core::DigestBuilder;

use super::read::CapsuleError;

/// What every capsule begins with. Not text, so that it is not taken for any, and a line's end, so
/// that a transfer as text shows.
pub(crate) const MAGIC: [u8; 8] = *b"\x93WFCAPS\n";

/// The format version that this code writes, and the only one so far.
pub(super) const FORMAT: u32 = 1;

/// Largest capsule that is read, in bytes: 4 GiB. A history within the limits of a host is smaller.
const CAPSULE_BYTES_MAX: u64 = 4 << 30;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    Record,
    Module,
    Bytes,
    Component,
    End,
}

impl Kind {
    const ALL: [(u8, Self); 6] = [
        (0, Self::End),
        (1, Self::Header),
        (2, Self::Record),
        (3, Self::Module),
        (4, Self::Bytes),
        (5, Self::Component),
    ];

    fn number(self) -> u8 {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.expect("all kinds are listed").0
    }

    fn of(number: u8) -> Result<Self, CapsuleError> {
        let found = Self::ALL.iter().find(|(it, _)| *it == number);
        let unknown = || CapsuleError::Damaged(format!("it has a section of the kind {number}"));
        found.map(|(_, kind)| *kind).ok_or_else(unknown)
    }
}

/// Writes sections.
pub(super) struct Sections<'a> {
    to: &'a mut (dyn Write + Send),
    sum: DigestBuilder,
    bytes: u64,
}

impl<'a> Sections<'a> {
    pub(super) fn begin(to: &'a mut (dyn Write + Send)) -> io::Result<Self> {
        let mut sections = Self {
            to,
            sum: DigestBuilder::default(),
            bytes: 0,
        };
        sections.write(&MAGIC)?;
        sections.write(&FORMAT.to_le_bytes())?;
        Ok(sections)
    }

    pub(super) fn section(&mut self, kind: Kind, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len());
        let length = length.map_err(|_| io::Error::other("a part of it has more than 4 GiB"))?;
        self.write(&[kind.number()])?;
        self.write(&length.to_le_bytes())?;
        self.write(body)
    }

    /// Ends the capsule; says how large it is.
    pub(super) fn end(mut self) -> io::Result<u64> {
        let sum = self.sum.digest();
        self.section(Kind::End, sum.as_bytes())?;
        self.to.flush()?;
        Ok(self.bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.to.write_all(bytes)
    }
}

/// Reads all sections but the end, whose checksum is checked. A length that the file does not have
/// costs no memory.
pub(super) fn read(from: &mut dyn Read) -> Result<Vec<(Kind, Vec<u8>)>, CapsuleError> {
    let mut reader = Reader {
        from,
        sum: DigestBuilder::default(),
        left: CAPSULE_BYTES_MAX,
    };
    let begins = reader.take(MAGIC.len() as u64)?;
    if begins != MAGIC {
        return Err(match MAGIC.starts_with(&begins) && !begins.is_empty() {
            true => CapsuleError::CutOff,
            false => CapsuleError::NotACapsule,
        });
    }
    let found = u32_of(&reader.exactly(4)?);
    if found != FORMAT {
        return Err(CapsuleError::UnknownFormat { found });
    }
    let mut sections = Vec::new();
    loop {
        let sum = reader.sum.digest();
        let head = reader.exactly(5)?;
        let kind = Kind::of(head[0])?;
        let body = reader.exactly(u64::from(u32_of(&head[1..])))?;
        if kind != Kind::End {
            sections.push((kind, body));
            continue;
        }
        if body != sum.as_bytes() {
            return Err(CapsuleError::Damaged("its checksum does not fit".into()));
        }
        return match reader.take(1)?.is_empty() {
            true => Ok(sections),
            false => Err(CapsuleError::Damaged("it goes on behind its end".into())),
        };
    }
}

struct Reader<'a> {
    from: &'a mut dyn Read,
    sum: DigestBuilder,
    left: u64,
}

impl Reader<'_> {
    fn exactly(&mut self, count: u64) -> Result<Vec<u8>, CapsuleError> {
        let bytes = self.take(count)?;
        match bytes.len() as u64 == count {
            true => Ok(bytes),
            false => Err(CapsuleError::CutOff),
        }
    }

    /// The next bytes, fewer at the end of the file.
    fn take(&mut self, count: u64) -> Result<Vec<u8>, CapsuleError> {
        let mut bytes = Vec::new();
        // Grows with what is there, not with what is announced.
        let mut part = (&mut *self.from).take(count.min(self.left + 1));
        part.read_to_end(&mut bytes).map_err(CapsuleError::Io)?;
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or(CapsuleError::TooLarge {
            bytes_max: CAPSULE_BYTES_MAX,
        })?;
        self.sum.update(&bytes);
        Ok(bytes)
    }
}

fn u32_of(bytes: &[u8]) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[..4]);
    u32::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sections = Sections::begin(&mut bytes).unwrap();
        sections.section(Kind::Header, b"{}").unwrap();
        sections.section(Kind::Record, &[7; 100]).unwrap();
        let count = sections.end().unwrap();
        assert_eq!(count, bytes.len() as u64);
        bytes
    }

    fn refusal(bytes: &[u8]) -> String {
        let read = read(&mut &*bytes);
        read.expect_err("it is refused").to_string()
    }

    #[test]
    fn sections_read_back_as_they_were_written() {
        let sections = read(&mut &*written()).unwrap();
        assert_eq!(
            sections,
            [(Kind::Header, b"{}".to_vec()), (Kind::Record, vec![7; 100])]
        );
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let bytes = written();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            refusal(&damaged);
            if at > 0 {
                assert_eq!(refusal(&bytes[..at]), "it is cut off", "at {at}");
            }
        }
    }

    #[test]
    fn what_is_no_capsule_of_this_format_is_told_so() {
        let mut newer = written();
        newer[8] = 2;
        let mut longer = written();
        longer.push(0);
        // Four gigabytes that are not there.
        let mut huge = written()[..12].to_vec();
        huge.extend([2, 255, 255, 255, 255, 1]);
        for (bytes, message) in [
            (&b""[..], "it is no capsule"),
            (b"{\"a\":1}", "it is no capsule"),
            (&newer, "it has the format 2; this host knows the format 1"),
            (&longer, "it goes on behind its end"),
            (&huge, "it is cut off"),
        ] {
            let refusal = refusal(bytes);
            assert!(refusal.contains(message), "{refusal}");
        }
    }
}
