//! Submitting records.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use wfhost_core::decide::Refused;
use wfhost_core::record::{Record, Started};
use wfhost_core::state::ReadSet;
use wfhost_core::{Instance, InstanceId, Position};

use crate::error::{Error, SubmitError};
use crate::ledger::{Incoming, Ledger};
use crate::{Inner, Store};

/// Records that have their place in the log. They are not durable yet.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The position of the last of them; wait for it before telling the outside.
    pub position: Position,
    /// The records, in their order, at consecutive positions.
    pub records: Vec<Arc<Record>>,
}

/// A start that has its place in the log.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The records that ended the instance which had the id before, if there were any.
    pub before: Option<Submitted>,
    /// The records of the new instance.
    pub submitted: Submitted,
}

/// What becomes of the instance that has the id of a start.
#[derive(Debug, Clone, PartialEq)]
pub enum Reuse {
    /// It stays, and the start is refused.
    Refuse,
    /// It takes these records in, must have ended then, and gives way: it and its history are gone.
    Replace(Vec<Record>),
}

/// Submitting. Each call takes its place in the one order and waits for nothing but the bound on
/// bytes that are not durable.
///
/// Closures are called inside the critical section: they must be quick and must not call the store.
impl Store {
    /// Starts an instance. If another has its id, `decide` says what becomes of that; nothing
    /// comes between its last records and the start.
    ///
    /// # Errors
    /// [`SubmitError::InUse`] if the one that has the id stays, or with what `decide` says.
    /// [`SubmitError::ModuleMissing`] if its module is not there. [`SubmitError::Impossible`] if the
    /// other gives way and has not ended.
    pub fn start(
        &self,
        started: Started,
        decide: impl FnOnce(&Instance) -> Result<Reuse, Refused>,
    ) -> Result<Begun, SubmitError> {
        self.start_rerun(started, Vec::new(), decide)
    }

    /// Starts a rerun, or the next run of an instance that is reset: its first record is followed by
    /// `copies`, with nothing between them. Each is a [`Record::Copied`], or says what came of it:
    /// [`Record::Reset`], [`Record::Moved`]. It may begin with a later generation.
    ///
    /// # Errors
    /// As [`Store::start`]; [`SubmitError::Impossible`] too if no instance can have such records.
    pub fn start_rerun(
        &self,
        started: Started,
        copies: Vec<Record>,
        decide: impl FnOnce(&Instance) -> Result<Reuse, Refused>,
    ) -> Result<Begun, SubmitError> {
        let id = started.id.clone();
        let (_loading, mut ledger) = self.inner.bring_up(&id)?;
        let before = match ledger.look(&id) {
            None => Vec::new(),
            Some(live) => match decide(&live.instance)? {
                Reuse::Replace(records) => records,
                Reuse::Refuse => {
                    let status = live.instance.status();
                    return Err(SubmitError::InUse { status });
                }
            },
        };
        let first = Record::Started(Box::new(started));
        ledger.registry.admits([&first])?;
        let taken = ledger.start(incoming(before), first.into(), incoming(copies))?;
        let submitted = Submitted {
            position: ledger.submitted,
            records: taken.new,
        };
        let before = (!taken.before.is_empty()).then(|| Submitted {
            position: Position(submitted.position.0 - submitted.records.len() as u64),
            records: taken.before,
        });
        for submitted in before.iter().chain([&submitted]) {
            self.inner.tell_listeners(&id, submitted);
        }
        self.inner.is_submitted(&mut ledger);
        Ok(Begun { before, submitted })
    }

    /// Submits one record: the one that `decide` makes of the instance as it stands, if nothing
    /// that was read has changed.
    ///
    /// # Errors
    /// [`SubmitError::Refused`] with [`Refused::Conflict`] if something has, or with what `decide`
    /// says; [`SubmitError::ModuleMissing`] if the instance would go on with a module that is not
    /// there.
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
        let submitted = self.submit_and_look(id, reads, decide, |_, _| ());
        submitted.map(|(submitted, ())| submitted)
    }

    /// Submits several records of one instance, and shows the instance as it stands right after
    /// them.
    ///
    /// # Errors
    /// As [`Store::submit`].
    pub fn submit_and_look<T>(
        &self,
        id: &InstanceId,
        reads: &ReadSet,
        decide: impl FnOnce(&Instance) -> Result<Vec<Record>, Refused>,
        see: impl FnOnce(&Instance, &[Arc<Record>]) -> T,
    ) -> Result<(Submitted, T), SubmitError> {
        let (_loading, mut ledger) = self.inner.bring_up(id)?;
        if !ledger.overlay.unchanged(reads) {
            return Err(Refused::Conflict.into());
        }
        let missing = || SubmitError::NoSuchInstance(id.clone());
        let live = ledger.look(id).ok_or_else(missing)?;
        let records = incoming(decide(&live.instance)?);
        let submitted = self.inner.go_on(&mut ledger, id, records)?;
        self.inner.is_submitted(&mut ledger);
        let live = ledger.look(id).ok_or_else(missing)?;
        let seen = see(&live.instance, &submitted.records);
        Ok((submitted, seen))
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
        let (target, source) = ledger.look_at_two(to, from);
        let source = source.ok_or_else(|| SubmitError::NoSuchInstance(from.clone()))?;
        let (sent, told) = decide(target.map(|live| &live.instance), &source.instance)?;
        let sent = match sent {
            Some(record) => Some(self.inner.go_on(&mut ledger, to, vec![record.into()])?),
            None => None,
        };
        let told = self.inner.go_on(&mut ledger, from, vec![told.into()])?;
        self.inner.is_submitted(&mut ledger);
        Ok((sent, told))
    }
}

fn incoming(records: Vec<Record>) -> Vec<Incoming> {
    records.into_iter().map(Incoming::from).collect()
}

impl Inner {
    /// The ledger, when there is room for more that is not durable.
    pub(crate) fn room(&self) -> Result<MutexGuard<'_, Ledger>, Error> {
        let mut ledger = self.taking()?;
        while ledger.undurable_bytes >= self.options.undurable_bytes_max {
            ledger.demanded = ledger.submitted;
            self.wake_writer(&ledger);
            drop(self.wait(&self.progress, ledger));
            ledger = self.taking()?;
        }
        Ok(ledger)
    }

    /// Takes the next records of an instance in memory in, and tells those who listen.
    fn go_on(
        &self,
        ledger: &mut Ledger,
        id: &InstanceId,
        records: Vec<Incoming>,
    ) -> Result<Submitted, SubmitError> {
        let added = records.iter().map(|incoming| &incoming.record);
        ledger.registry.admits(added)?;
        let records = ledger.go_on(id, records)?;
        let submitted = Submitted {
            position: ledger.submitted,
            records,
        };
        self.tell_listeners(id, &submitted);
        Ok(submitted)
    }

    fn tell_listeners(&self, id: &InstanceId, submitted: &Submitted) {
        for listener in self.listeners().iter() {
            listener(id, submitted);
        }
    }

    /// A submission has taken its place: wakes the writer, if it sleeps on.
    pub(crate) fn is_submitted(&self, ledger: &mut Ledger) {
        ledger.submissions += 1;
        if ledger.waiting_since.is_none() {
            ledger.waiting_since = Some(Instant::now());
            self.wake_writer(ledger);
        } else if ledger.undurable_bytes >= self.options.commit_bytes || self.is_spent(ledger) {
            self.wake_writer(ledger);
        }
    }
}
