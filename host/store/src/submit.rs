//! Submitting records, and looking at instances.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use wfhost_core::decide::Refused;
use wfhost_core::record::{Entry, Record, Started, StateWrite, StateWritten};
use wfhost_core::state::{Items, ReadError, ReadSet, Snapshot};
use wfhost_core::{Instance, InstanceId, Position, Timestamp};

use crate::error::{Error, SubmitError};
use crate::ledger::{Incoming, Ledger, Live};
use crate::snapshot::StateAt;
use crate::summary::Summary;
use crate::{Inner, Store};

/// Records that have their place in the log. They are not durable yet.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The position of the last of them; wait for it before telling the outside.
    pub position: Position,
    /// The records, in their order, at consecutive positions.
    pub records: Vec<Arc<Record>>,
}

/// Submitting. Each call takes its place in the one order and waits for nothing but the bound on
/// bytes that are not durable.
///
/// Closures are called inside the critical section: they must be quick and must not call the store.
impl Store {
    /// Starts an instance.
    ///
    /// # Errors
    /// [`SubmitError::InUse`] if the id is taken, by an ended instance too.
    pub fn start(&self, started: Started) -> Result<Submitted, SubmitError> {
        let id = started.id.clone();
        let _loading = self.inner.begin_loading(&id);
        let on_disk = if self.inner.ledger().number_of(&id).is_none() {
            self.inner.summary_on_disk(&id)?
        } else {
            None
        };
        let mut ledger = self.inner.room()?;
        let live = ledger.look(&id).map(|live| live.instance.status());
        if let Some(status) = live.or(on_disk.map(|row| row.status)) {
            return Err(SubmitError::InUse { status });
        }
        let record = ledger.start(Record::Started(Box::new(started)).into())?;
        Ok(self.inner.submitted(&mut ledger, Some(&id), vec![record]))
    }

    /// Submits one record: the one that `decide` makes of the instance as it stands, if nothing
    /// that was read has changed.
    ///
    /// # Errors
    /// [`SubmitError::Refused`] with [`Refused::Conflict`] if something has, or with what `decide`
    /// says.
    pub fn submit(
        &self,
        id: &InstanceId,
        reads: &ReadSet,
        decide: impl FnOnce(&Instance) -> Result<Record, Refused>,
    ) -> Result<Submitted, SubmitError> {
        self.submit_all(id, reads, |instance| Ok(vec![decide(instance)?]))
    }

    /// Submits several records of one instance, all or none, with nothing between them.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_all(
        &self,
        id: &InstanceId,
        reads: &ReadSet,
        decide: impl FnOnce(&Instance) -> Result<Vec<Record>, Refused>,
    ) -> Result<Submitted, SubmitError> {
        let (_loading, mut ledger) = self.inner.bring_up(id)?;
        if !ledger.overlay.unchanged(reads) {
            return Err(Refused::Conflict.into());
        }
        let live = ledger
            .look(id)
            .ok_or_else(|| SubmitError::NoSuchInstance(id.clone()))?;
        let records = decide(&live.instance)?.into_iter().map(Incoming::from);
        let records = ledger.go_on(id, records.collect())?;
        Ok(self.inner.submitted(&mut ledger, Some(id), records))
    }

    /// Submits a record of one instance and, if `decide` gives one, a record of another, both or
    /// none, in one commit: a crash never leaves the one without the other. `decide` sees `to`, if
    /// there is such an instance, and `from`. The two may be the same.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_both(
        &self,
        to: &InstanceId,
        from: &InstanceId,
        decide: impl FnOnce(Option<&Instance>, &Instance) -> Result<(Option<Record>, Record), Refused>,
    ) -> Result<(Option<Submitted>, Submitted), SubmitError> {
        // While the second is brought up, the first stays.
        let _stays = self.inner.begin_loading(to);
        let (loading, ledger) = self.inner.bring_up(to)?;
        drop(ledger);
        drop(loading);
        let (_loading, mut ledger) = self.inner.bring_up(from)?;
        let target = ledger.look(to).map(|live| live.instance.clone());
        let source = ledger
            .look(from)
            .ok_or_else(|| SubmitError::NoSuchInstance(from.clone()))?;
        let (sent, told) = decide(target.as_ref(), &source.instance)?;
        let sent = match sent {
            Some(record) => {
                let records = ledger.go_on(to, vec![record.into()])?;
                Some(self.inner.submitted(&mut ledger, Some(to), records))
            }
            None => None,
        };
        let records = ledger.go_on(from, vec![told.into()])?;
        Ok((sent, self.inner.submitted(&mut ledger, Some(from), records)))
    }

    /// Writes to the state from outside of any instance, all at once.
    ///
    /// # Errors
    /// If the store is closed or a commit has failed.
    pub fn write_state(&self, writes: Vec<StateWrite>, at: Timestamp) -> Result<Position, Error> {
        let mut ledger = self.inner.room()?;
        let record = Record::StateWritten(StateWritten { at, writes });
        let record = ledger.write_from_outside(record.into());
        let record = record.expect("a write from outside needs no instance");
        Ok(self
            .inner
            .submitted(&mut ledger, None, vec![record])
            .position)
    }
}

/// Looking. Everything shows what is submitted.
impl Store {
    /// Shows an instance; `None` if there is none of that id.
    ///
    /// # Errors
    /// If the disk fails, where the instance is not in memory.
    pub fn look<T>(
        &self,
        id: &InstanceId,
        see: impl FnOnce(&Instance) -> T,
    ) -> Result<Option<T>, Error> {
        self.look_at(id, |instance, _| see(instance))
    }

    /// Shows an instance with the position of its last record: whoever tells the outside what
    /// they saw waits for that first.
    ///
    /// # Errors
    /// As [`Store::look`].
    pub fn look_at<T>(
        &self,
        id: &InstanceId,
        see: impl FnOnce(&Instance, Position) -> T,
    ) -> Result<Option<T>, Error> {
        if let Some(live) = self.inner.usable()?.look(id) {
            return Ok(Some(see(&live.instance, live.last)));
        }
        let _loading = self.inner.begin_loading(id);
        let loaded = self.inner.load(id)?;
        let mut ledger = self.inner.usable()?;
        match loaded {
            // Nothing can happen to it any more, so it need not stay.
            Some(live) if live.instance.status().has_ended() => {
                drop(ledger);
                return Ok(Some(see(&live.instance, live.last)));
            }
            Some(live) => self.inner.keep(&mut ledger, id, live),
            None => {}
        }
        Ok(ledger.look(id).map(|live| see(&live.instance, live.last)))
    }

    /// The whole history of an instance, in order; `None` if there is none of that id.
    ///
    /// # Errors
    /// If the disk fails, or a record is missing, damaged, or not linked to the one before it.
    pub fn history(&self, id: &InstanceId) -> Result<Option<Vec<Record>>, Error> {
        let mut records = Vec::new();
        let found = self.for_each_record(id, 0, |_, record| {
            records.push(record);
            Ok::<(), Error>(())
        })?;
        Ok(found.then_some(records))
    }

    /// Hands out the records of an instance one by one, with their positions, from index `from`
    /// on, counted from 0. `false` if there is no instance of that id. `each` may call the store.
    ///
    /// # Errors
    /// As [`Store::history`], and whatever `each` returns, which ends it.
    pub fn for_each_record<E: From<Error>>(
        &self,
        id: &InstanceId,
        from: u64,
        each: impl FnMut(Position, Record) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.inner.for_each_record(id, from, each)
    }

    /// One row an instance, in the order of their creation.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn list(&self) -> Result<Vec<Summary>, Error> {
        // Memory first: what is gathered after this is met twice, not missed.
        let newer: Vec<Summary> = {
            let ledger = self.inner.usable()?;
            ledger.ungathered().map(Live::summary).collect()
        };
        let mut rows: std::collections::BTreeMap<u64, Summary> = self
            .inner
            .summaries_on_disk()?
            .into_iter()
            .map(|row| (row.number, row))
            .collect();
        for summary in newer {
            match rows.get(&summary.number) {
                Some(row) if row.records >= summary.records => {}
                _ => {
                    rows.insert(summary.number, summary);
                }
            }
        }
        Ok(rows.into_values().collect())
    }

    /// The instances that have not ended, in the order of their creation.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn unfinished(&self) -> Result<Vec<InstanceId>, Error> {
        let rows = self.list()?.into_iter();
        let unfinished = rows.filter(|row| !row.status.has_ended());
        Ok(unfinished.map(|row| row.id).collect())
    }

    /// The state as it is submitted now. Values that expire at `now` or before are absent.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Box<dyn Snapshot> {
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
    /// The ledger, when there is room for more that is not durable.
    fn room(&self) -> Result<MutexGuard<'_, Ledger>, Error> {
        let mut ledger = self.taking()?;
        while ledger.undurable_bytes >= self.options.undurable_bytes_max {
            ledger.demanded = ledger.submitted;
            self.work.notify_one();
            drop(self.wait(&self.progress, ledger));
            ledger = self.taking()?;
        }
        Ok(ledger)
    }

    /// The ledger with an instance in memory, if there is such an instance. To be bound in this
    /// order: the first locks the ledger when it goes.
    fn bring_up(
        &self,
        id: &InstanceId,
    ) -> Result<(Option<Loading<'_>>, MutexGuard<'_, Ledger>), Error> {
        let ledger = self.room()?;
        if ledger.number_of(id).is_some() {
            return Ok((None, ledger));
        }
        drop(ledger);
        let loading = self.begin_loading(id);
        let loaded = self.load(id)?;
        let mut ledger = self.room()?;
        if let Some(live) = loaded {
            self.keep(&mut ledger, id, live);
        }
        Ok((Some(loading), ledger))
    }

    /// Folds an instance from disk.
    fn load(&self, id: &InstanceId) -> Result<Option<Live>, Error> {
        let Some(summary) = self.summary_on_disk(id)? else {
            return Ok(None);
        };
        let folded = self.fold(summary.number)?;
        let records = folded.as_ref().map_or(0, |live| live.instance.records());
        if records < summary.records {
            return Err(self.cut_off(summary.number, records, summary.records));
        }
        Ok(folded)
    }

    fn keep(&self, ledger: &mut Ledger, id: &InstanceId, live: Live) {
        ledger.loaded(id, live);
        if ledger.is_crowded(self.options.live_max) {
            ledger.evict(self.options.live_max);
        }
    }

    /// From here on the instance stays in memory, once it is there.
    fn begin_loading(&self, id: &InstanceId) -> Loading<'_> {
        self.ledger().begin_loading(id);
        Loading {
            inner: self,
            id: id.clone(),
        }
    }

    /// Wakes the writer, if it sleeps on, and tells those who listen.
    fn submitted(
        &self,
        ledger: &mut Ledger,
        id: Option<&InstanceId>,
        records: Vec<Arc<Record>>,
    ) -> Submitted {
        if ledger.waiting_since.is_none() {
            ledger.waiting_since = Some(Instant::now());
            self.work.notify_one();
        } else if ledger.undurable_bytes >= self.options.commit_bytes {
            self.work.notify_one();
        }
        let submitted = Submitted {
            position: ledger.submitted,
            records,
        };
        if let Some(id) = id {
            for listener in self.listeners().iter() {
                listener(id, &submitted);
            }
        }
        submitted
    }
}

/// Keeps an instance from being evicted while it is being loaded.
struct Loading<'a> {
    inner: &'a Inner,
    id: InstanceId,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.inner.ledger().end_loading(&self.id);
    }
}
