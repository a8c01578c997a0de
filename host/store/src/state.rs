//! The state, as it is met from outside of any instance.

use wfhost_core::record::{Entry, Record, StateWrite, StateWritten};
use wfhost_core::state::{Items, ReadError, ReadSet, Snapshot};
use wfhost_core::{Position, Timestamp};

use crate::error::{Error, WriteError};
use crate::ledger::Ledger;
use crate::snapshot::StateAt;
use crate::{Inner, Store};

/// The state.
impl Store {
    /// Writes to the state from outside of any instance, all at once.
    ///
    /// # Errors
    /// If the store is closed or a commit has failed.
    pub fn write_state(&self, writes: Vec<StateWrite>, at: Timestamp) -> Result<Position, Error> {
        let mut ledger = self.inner.room()?;
        Ok(self.inner.write_state(&mut ledger, writes, at))
    }

    /// Writes to the state from outside of any instance, all at once, if each key has the version
    /// that is given with its write; 0: if there is nothing, or what has expired at `at`.
    ///
    /// # Errors
    /// [`WriteError::Versions`] with all that have another version, 0 if they have none. These were
    /// read as they are submitted: whoever tells the outside waits for [`Store::submitted`] first.
    pub fn write_state_if(
        &self,
        writes: Vec<(StateWrite, Option<u64>)>,
        at: Timestamp,
    ) -> Result<Position, WriteError> {
        let expected = writes.iter();
        let expected: Vec<(&str, u64)> = expected
            .filter_map(|(write, version)| Some((write.key.as_str(), (*version)?)))
            .collect();
        let mut reads = ReadSet {
            keys: expected.iter().map(|(key, _)| (*key).to_owned()).collect(),
            ..ReadSet::default()
        };
        loop {
            let snapshot = self.snapshot(at);
            reads.at = snapshot.position();
            let others = match other_versions(snapshot.as_ref(), &expected) {
                Err(ReadError::Changed) => continue,
                others => others?,
            };
            if !others.is_empty() {
                return Err(WriteError::Versions(others));
            }
            let mut ledger = self.inner.room()?;
            if ledger.overlay.unchanged(&reads) {
                let writes = writes.into_iter().map(|(write, _)| write);
                return Ok(self.inner.write_state(&mut ledger, writes.collect(), at));
            }
        }
    }

    /// The state as it is submitted now. Values that expire at `now` or before are absent.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Box<dyn Snapshot> {
        let snapshot = self.snapshot_when_read(now);
        snapshot.position();
        snapshot
    }

    /// The state as it is submitted when the snapshot is first asked anything; most who may read
    /// the state do not.
    #[must_use]
    pub fn snapshot_when_read(&self, now: Timestamp) -> Box<dyn Snapshot> {
        Box::new(StateAt::new(self.inner.clone(), now))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn state_get(&self, key: &str, now: Timestamp) -> Result<Option<Entry>, ReadError> {
        self.with_snapshot(now, |snapshot| snapshot.get(key))
    }

    /// Keys that begin with `prefix`, in order, after `after`, at most `limit`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn state_list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Items, ReadError> {
        self.with_snapshot(now, |snapshot| snapshot.scan(prefix, after, limit))
    }

    fn with_snapshot<T>(
        &self,
        now: Timestamp,
        read: impl Fn(&dyn Snapshot) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        loop {
            match read(self.snapshot(now).as_ref()) {
                Err(ReadError::Changed) => {}
                done => return done,
            }
        }
    }
}

impl Inner {
    fn write_state(&self, ledger: &mut Ledger, writes: Vec<StateWrite>, at: Timestamp) -> Position {
        let record = Record::StateWritten(StateWritten { at, writes });
        ledger
            .write_from_outside(record.into())
            .expect("a write from outside needs no instance");
        self.is_submitted(ledger);
        ledger.submitted
    }
}

/// The keys that have another version than the one expected, with the one that they have.
fn other_versions(
    snapshot: &dyn Snapshot,
    expected: &[(&str, u64)],
) -> Result<Vec<(String, u64)>, ReadError> {
    let mut others = Vec::new();
    for (key, expected) in expected {
        let found = snapshot.get(key)?.map_or(0, |entry| entry.version);
        if found != *expected {
            others.push(((*key).to_owned(), found));
        }
    }
    Ok(others)
}
