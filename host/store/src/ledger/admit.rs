//! Taking records in, new ones and, when the file is opened, those of the log alike.

use std::sync::Arc;

use wfhost_core::codec::{self, Chain};
use wfhost_core::record::{Record, Started};
use wfhost_core::{BrokenHistory, Digest, Instance, InstanceId, Json, Position};

use super::{Ledger, Live, OUTSIDE, Row};
use crate::payloads;

/// A record that asks to be taken in: a new one, or one that was met in the log.
pub(crate) struct Incoming {
    pub(crate) record: Record,
    /// How it stands in the log, if it does.
    pub(crate) written: Option<Written>,
}

/// A record as it stands in the log.
pub(crate) struct Written {
    /// The link that it carries.
    pub(crate) chain: Chain,
    pub(crate) bytes: Vec<u8>,
}

/// The records of a start that were taken in.
pub(crate) struct Taken {
    /// Those that came last to the instance that had the id.
    pub(crate) before: Vec<Arc<Record>>,
    /// Those of the new one.
    pub(crate) new: Vec<Arc<Record>>,
}

/// A record that has passed the fold of its owner.
struct Admitted {
    record: Record,
    index: u64,
    encoded: Vec<u8>,
    /// The record with stand-ins, if it has any, and what they stand for.
    stored: Option<(Record, Vec<(Digest, Json)>)>,
}

impl From<Record> for Incoming {
    fn from(record: Record) -> Self {
        Self {
            record,
            written: None,
        }
    }
}

impl Incoming {
    /// Links it to the record before it, unless it is already.
    fn link(self, owner: u64, index: u64, chain: Chain) -> Admitted {
        let mut record = self.record;
        let stored = payloads::take_out(&mut record);
        let encoded = match self.written {
            Some(written) => written.bytes,
            None => {
                let stored = stored.as_ref().map_or(&record, |(stored, _)| stored);
                codec::encode(owner, chain, stored)
            }
        };
        Admitted {
            record,
            index,
            encoded,
            stored,
        }
    }

    /// A record of the log must link to the one before it.
    fn fits(&self, chain: Chain) -> Result<(), BrokenHistory> {
        match &self.written {
            Some(written) if written.chain != chain => {
                Err(broken("it does not follow the record before it"))
            }
            _ => Ok(()),
        }
    }

    /// What begins the history of an instance.
    fn begins(&self) -> Result<Started, BrokenHistory> {
        match &self.record {
            Record::Started(started) if started.generation == 0 || !started.reruns.is_empty() => {
                self.fits(Chain::default())?;
                Ok(started.as_ref().clone())
            }
            _ => Err(broken("it does not begin with a start")),
        }
    }
}

impl Admitted {
    /// Lets a record through the fold. If that refuses it, nothing has changed.
    fn by(instance: &mut Instance, number: u64, incoming: Incoming) -> Result<Self, BrokenHistory> {
        let (index, chain) = (instance.records(), instance.chain());
        incoming.fits(chain)?;
        instance.apply(&incoming.record)?;
        let admitted = incoming.link(number, index, chain);
        instance.link(Chain::to(&admitted.encoded));
        Ok(admitted)
    }

    /// The first record of an instance.
    fn first(incoming: Incoming, number: u64) -> Result<(Instance, Self), BrokenHistory> {
        let mut instance = Instance::begin(incoming.begins()?);
        let admitted = incoming.link(number, 0, Chain::default());
        instance.link(Chain::to(&admitted.encoded));
        Ok((instance, admitted))
    }
}

impl Ledger {
    /// The first records of a new instance. If another has its id, that takes `before` in, which
    /// must end it, and gives way. All or none.
    pub(crate) fn start(
        &mut self,
        before: Vec<Incoming>,
        first: Incoming,
        then: Vec<Incoming>,
    ) -> Result<Taken, BrokenHistory> {
        let id = first.begins()?.id;
        let before = self.end_for_another(&id, before)?;
        let number = self.submitted.0 + before.len() as u64 + 1;
        let (mut instance, first) = Admitted::first(first, number)?;
        let mut admitted = vec![first];
        for copy in then {
            let follows_a_start = matches!(
                copy.record,
                Record::Copied(_) | Record::Reset(_) | Record::Moved(_)
            );
            if !follows_a_start {
                return Err(broken("what follows the start of a rerun is no copy"));
            }
            admitted.push(Admitted::by(&mut instance, number, copy)?);
        }
        let before = before.into_iter();
        let before = before.map(|it| self.take(Some(&id), it.0, it.1)).collect();
        if let Some(before) = self.live.get(&id) {
            // As it is counted: its last records are taken in with the start.
            let status = before.instance.status();
            self.tally
                .leave(&before.instance.started().workflow, status);
            self.ungathered.remove(&before.number);
        }
        self.tally
            .enter(&instance.started().workflow, instance.status());
        self.keep(&id, Live::gathered(number, instance, Position(number)));
        let new = admitted.into_iter();
        let new = new.map(|it| self.take(Some(&id), number, it)).collect();
        Ok(Taken { before, new })
    }

    /// A whole history from elsewhere, which may begin with a later generation. All or none.
    pub(crate) fn import(&mut self, history: Vec<Incoming>) -> Result<(), BrokenHistory> {
        let mut history = history.into_iter();
        let first = history.next();
        let first = first.ok_or_else(|| broken("it has no records"))?;
        let Record::Started(started) = &first.record else {
            return Err(broken("it does not begin with a start"));
        };
        let id = started.id.clone();
        if self.number_of(&id).is_some() {
            return Err(broken("there is an instance of that id"));
        }
        let number = self.submitted.0 + 1;
        let mut instance = Instance::begin(started.as_ref().clone());
        let first = first.link(number, 0, Chain::default());
        instance.link(Chain::to(&first.encoded));
        let mut admitted = vec![first];
        for next in history {
            admitted.push(Admitted::by(&mut instance, number, next)?);
        }
        self.tally
            .enter(&instance.started().workflow, instance.status());
        self.keep(&id, Live::gathered(number, instance, Position(number)));
        for admitted in admitted {
            self.take(Some(&id), number, admitted);
        }
        Ok(())
    }

    /// The last records of the instance that has the id, if there is one, with its number.
    fn end_for_another(
        &self,
        id: &InstanceId,
        incoming: Vec<Incoming>,
    ) -> Result<Vec<(u64, Admitted)>, BrokenHistory> {
        let Some(live) = self.live.get(id) else {
            return match incoming.as_slice() {
                [] => Ok(Vec::new()),
                _ => Err(broken("there is no instance of that id")),
            };
        };
        let mut instance = live.instance.clone();
        let mut admitted = Vec::with_capacity(incoming.len());
        for incoming in incoming {
            let one = Admitted::by(&mut instance, live.number, incoming)?;
            admitted.push((live.number, one));
        }
        if !instance.status().has_ended() {
            return Err(broken("the instance that has the id has not ended"));
        }
        Ok(admitted)
    }

    /// The next records of an instance, which must be live: all of them, or none.
    pub(crate) fn go_on(
        &mut self,
        id: &InstanceId,
        incoming: Vec<Incoming>,
    ) -> Result<Vec<Arc<Record>>, BrokenHistory> {
        let live = self.live.get_mut(id);
        let live = live.ok_or_else(|| broken("there is no such instance"))?;
        let number = live.number;
        let before = live.instance.status();
        let mut admitted = Vec::with_capacity(incoming.len());
        if incoming.len() > 1 {
            // A later one may be refused after the first has changed the instance.
            let mut next = live.instance.clone();
            for incoming in incoming {
                admitted.push(Admitted::by(&mut next, number, incoming)?);
            }
            live.instance = next;
        } else {
            for incoming in incoming {
                admitted.push(Admitted::by(&mut live.instance, number, incoming)?);
            }
        }
        let instance = &live.instance;
        let workflow = &instance.started().workflow;
        self.tally.change(workflow, before, instance.status());
        let taken = admitted.into_iter();
        Ok(taken.map(|it| self.take(Some(id), number, it)).collect())
    }

    /// A write to the state from outside of any instance.
    pub(crate) fn write_from_outside(
        &mut self,
        incoming: Incoming,
    ) -> Result<Arc<Record>, BrokenHistory> {
        let Record::StateWritten(_) = &incoming.record else {
            return Err(broken("it belongs to an instance"));
        };
        let (index, chain) = (self.outside.records, self.outside.chain);
        incoming.fits(chain)?;
        let admitted = incoming.link(OUTSIDE, index, chain);
        self.outside.records += 1;
        self.outside.chain = Chain::to(&admitted.encoded);
        Ok(self.take(None, OUTSIDE, admitted))
    }

    /// Gives a record its place. Cannot fail: the fold of its owner has taken it already.
    fn take(&mut self, id: Option<&InstanceId>, owner: u64, admitted: Admitted) -> Arc<Record> {
        let Admitted {
            record,
            index,
            encoded,
            stored,
        } = admitted;
        let position = self.submitted.next();
        self.submitted = position;
        let written = stored.as_ref().map_or(&record, |(stored, _)| stored);
        for (write, stored) in record.writes().zip(written.writes()) {
            self.overlay.write(position, write, stored);
        }
        if let (Some(module), Some(id)) = (record.runs_on(), id) {
            self.recorded_on.push_back((position, module, id.clone()));
        }
        let mut bytes = encoded.len() as u64;
        for (digest, text) in stored.into_iter().flat_map(|(_, taken)| taken) {
            bytes += text.bytes() as u64;
            self.named.entry(position).or_default().push(digest);
            self.payloads.insert(digest, (position, text));
        }
        if let Some(id) = id
            && let Some(live) = self.live.get_mut(id)
        {
            live.last = position;
            if live.ungathered.is_empty() {
                self.ungathered.insert(owner, id.clone());
            }
            live.ungathered.push_back(position);
        }
        self.undurable_bytes += bytes;
        self.ungathered_bytes += bytes;
        self.tail.push_back(Row {
            position,
            owner,
            index,
            record: encoded.into(),
            bytes,
        });
        Arc::new(record)
    }
}

fn broken(what: &str) -> BrokenHistory {
    BrokenHistory(what.into())
}
