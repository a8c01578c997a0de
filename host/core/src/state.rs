//! What one attempt or one turn sees of the state store, and what it leaves behind.
//!
//! A session reads one snapshot plus its own writes and remembers what it read. Its outcome may be
//! submitted only while nothing that it read has changed since.

use std::collections::BTreeMap;

use crate::record::{Entry, StateWrite};
use crate::{Json, Position, Timestamp};

/// The version of a value that this session wrote and that has no place in the log yet.
pub const UNNUMBERED: u64 = u64::MAX;

/// One snapshot of the committed and submitted state.
pub trait Snapshot: Send {
    /// The position that the snapshot shows.
    fn position(&self) -> Position;

    /// The value of a key at that position.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if the key has changed since: whatever read it is bound to be refused.
    fn get(&self, key: &str) -> Result<Option<Entry>, ReadError>;

    /// Keys that begin with `prefix`, in order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if any key of that range has changed since.
    fn scan(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Items, ReadError>;
}

/// Keys with their values, in the order of the keys.
pub type Items = Vec<(String, Entry)>;

/// A read that gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It has changed since the snapshot. Take a new one and begin again.
    #[error("the state has changed since it was first read")]
    Changed,
    /// The disk failed.
    #[error("cannot read the state")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a session has read; what must not change before its outcome is submitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// The snapshot that was read. Only changes after it count.
    pub at: Position,
    /// Keys, those that were absent too.
    pub keys: Vec<String>,
    /// Ranges.
    pub ranges: Vec<Range>,
}

/// A range that was scanned: keys that begin with `prefix`, after `after`, up to `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Keys that begin so.
    pub prefix: String,
    /// After this one.
    pub after: Option<String>,
    /// Up to and with this one, where the limit cut the scan off; else to the prefix's end.
    pub last: Option<String>,
}

impl Range {
    /// Whether a key lies in it.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        key.starts_with(&self.prefix)
            && self.after.as_deref().is_none_or(|after| key > after)
            && self.last.as_deref().is_none_or(|last| key <= last)
    }
}

impl ReadSet {
    /// Whether nothing was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }
}

/// One attempt's or one turn's dealings with the state store.
pub struct Session {
    snapshot: Box<dyn Snapshot>,
    now: Timestamp,
    reads: ReadSet,
    writes: BTreeMap<String, StateWrite>,
}

/// What a session leaves behind.
#[derive(Debug, Default)]
pub struct SessionEnd {
    /// What it read.
    pub reads: ReadSet,
    /// What it wrote, each key once.
    pub writes: Vec<StateWrite>,
}

impl Session {
    /// Begins on a snapshot. Values that expire at `now` or before are absent.
    #[must_use]
    pub fn new(snapshot: Box<dyn Snapshot>, now: Timestamp) -> Self {
        Self {
            snapshot,
            now,
            reads: ReadSet::default(),
            writes: BTreeMap::new(),
        }
    }

    /// The value of a key, its own writes first.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn get(&mut self, key: &str) -> Result<Option<Entry>, ReadError> {
        if let Some(write) = self.writes.get(key) {
            return Ok(self.own(write));
        }
        self.reads.keys.push(key.to_owned());
        self.snapshot.get(key)
    }

    /// Keys that begin with `prefix`, in order, after `after`, at most `limit`, its own writes
    /// among them.
    ///
    /// # Errors
    /// As [`Snapshot::scan`].
    pub fn scan(
        &mut self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Items, ReadError> {
        // Own deletions can hide as many keys as there are own writes.
        let wanted = limit.saturating_add(self.writes.len());
        let found = self.snapshot.scan(prefix, after, wanted)?;
        let last = (found.len() == wanted).then(|| found.last().map(|(key, _)| key.clone()));
        let range = Range {
            prefix: prefix.into(),
            after: after.map(Into::into),
            last: last.flatten(),
        };
        let mut merged: BTreeMap<String, Entry> = found.into_iter().collect();
        for (key, write) in self.writes.iter().filter(|(key, _)| range.contains(key)) {
            match self.own(write) {
                Some(entry) => merged.insert(key.clone(), entry),
                None => merged.remove(key),
            };
        }
        self.reads.ranges.push(range);
        Ok(merged.into_iter().take(limit).collect())
    }

    /// Writes a key, if its version is the one expected.
    ///
    /// # Errors
    /// The outer one as [`Snapshot::get`]; the inner one is the version that is in the way, 0 for
    /// none.
    pub fn write(
        &mut self,
        write: StateWrite,
        if_version: Option<u64>,
    ) -> Result<Result<(), u64>, ReadError> {
        if let Some(expected) = if_version {
            let found = self.get(&write.key)?.map_or(0, |entry| entry.version);
            if found != expected {
                return Ok(Err(found));
            }
        }
        self.writes.insert(write.key.clone(), write);
        Ok(Ok(()))
    }

    /// Ends it.
    #[must_use]
    pub fn end(mut self) -> SessionEnd {
        // Who has read nothing need not know where the snapshot stands.
        if !self.reads.is_empty() {
            self.reads.at = self.snapshot.position();
        }
        SessionEnd {
            reads: self.reads,
            writes: self.writes.into_values().collect(),
        }
    }

    fn own(&self, write: &StateWrite) -> Option<Entry> {
        let expired = write.expires_at.is_some_and(|at| at <= self.now);
        let value: Option<&Json> = write.value.as_ref().filter(|_| !expired);
        value.map(|value| Entry {
            value: value.clone(),
            version: UNNUMBERED,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A snapshot of three keys.
    struct Abc;

    impl Snapshot for Abc {
        fn position(&self) -> Position {
            Position(9)
        }
        fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
            let known = ["a", "b", "c"].contains(&key);
            Ok(known.then(|| Entry {
                value: Json::null(),
                version: 5,
            }))
        }
        fn scan(&self, prefix: &str, after: Option<&str>, n: usize) -> Result<Items, ReadError> {
            let entry = Entry {
                value: Json::null(),
                version: 5,
            };
            let keys = ["a", "b", "c"]
                .into_iter()
                .filter(|key| key.starts_with(prefix));
            let keys = keys.filter(|key| after.is_none_or(|after| *key > after));
            Ok(keys
                .take(n)
                .map(|key| (key.to_owned(), entry.clone()))
                .collect())
        }
    }

    fn session() -> Session {
        Session::new(Box::new(Abc), Timestamp(100))
    }

    fn set(key: &str) -> StateWrite {
        StateWrite {
            key: key.into(),
            value: Some(Json::null()),
            expires_at: None,
        }
    }

    fn delete(key: &str) -> StateWrite {
        StateWrite {
            value: None,
            ..set(key)
        }
    }

    #[test]
    fn a_session_sees_its_own_writes() {
        let mut session = session();
        assert_eq!(session.get("x").unwrap(), None);
        session.write(set("x"), None).unwrap().unwrap();
        assert_eq!(session.get("x").unwrap().unwrap().version, UNNUMBERED);
        session.write(delete("b"), None).unwrap().unwrap();
        let keys: Vec<_> = session
            .scan("", None, 2)
            .unwrap()
            .into_iter()
            .map(|i| i.0)
            .collect();
        assert_eq!(keys, ["a", "c"]);
    }

    #[test]
    fn a_write_if_version_is_a_read_too() {
        let mut session = session();
        assert_eq!(session.write(set("a"), Some(4)).unwrap(), Err(5));
        assert_eq!(session.write(set("x"), Some(0)).unwrap(), Ok(()));
        assert_eq!(session.write(set("x"), Some(UNNUMBERED)).unwrap(), Ok(()));
        let end = session.end();
        assert_eq!(end.reads.keys, ["a", "x"]);
        assert_eq!(end.writes, [set("x")]);
    }

    #[test]
    fn a_scan_that_its_limit_cut_off_reads_no_further() {
        let mut session = session();
        session.scan("", None, 2).unwrap();
        let range = &session.end().reads.ranges[0];
        assert!(range.contains("aa") && range.contains("b"));
        assert!(!range.contains("c"));
    }

    #[test]
    fn a_value_that_has_expired_is_absent() {
        let mut session = session();
        session
            .write(
                StateWrite {
                    expires_at: Some(Timestamp(100)),
                    ..set("x")
                },
                None,
            )
            .unwrap()
            .unwrap();
        assert_eq!(session.get("x").unwrap(), None);
    }
}
