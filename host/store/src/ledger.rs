//! What is true now, in memory: the fold of every instance that is in use, the state that the
//! table does not show yet, and the end of the log. It is guarded by one mutex, held shortly, and
//! does no I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use wfhost_core::codec::{self, Chain};
use wfhost_core::record::Record;
use wfhost_core::{BrokenHistory, Digest, Instance, InstanceId, Json, Position};

use crate::error::Error;
use crate::overlay::Overlay;
use crate::payloads;
use crate::summary::Summary;

/// The owner of records that belong to no instance.
pub(crate) const OUTSIDE: u64 = 0;

/// The truth now.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The last position that was given out.
    pub(crate) submitted: Position,
    /// Up to here the log survives power loss.
    pub(crate) durable: Position,
    /// Up to here the records are in the histories.
    pub(crate) gathered: Position,
    /// Somebody waits for this position.
    pub(crate) demanded: Position,
    /// The records after `gathered`, in their order.
    tail: VecDeque<Row>,
    live: HashMap<InstanceId, Live>,
    /// Instances that are being loaded; they must not be evicted meanwhile.
    loading: HashMap<InstanceId, u32>,
    outside: Outside,
    pub(crate) overlay: Overlay,
    /// Large payloads of records that are not durable yet, with the position that needs them.
    payloads: HashMap<Digest, (Position, Json)>,
    pub(crate) undurable_bytes: u64,
    pub(crate) ungathered_bytes: u64,
    /// When the oldest record that no commit has taken was submitted.
    pub(crate) waiting_since: Option<Instant>,
    /// Counts looks, to find the instances that nobody has looked at for long.
    looks: u64,
    /// The store takes nothing any more, and finishes what it has.
    pub(crate) closing: bool,
    /// The store is of no use any more.
    pub(crate) end: Option<Error>,
}

/// A record at the end of the log, as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) position: Position,
    pub(crate) owner: u64,
    /// Its place in the history of its owner, from 0.
    pub(crate) index: u64,
    pub(crate) record: Arc<[u8]>,
}

/// An instance in memory.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Its number.
    pub(crate) number: u64,
    pub(crate) instance: Instance,
    /// The position of its last record.
    pub(crate) last: Position,
    /// The positions of its records in the tail.
    ungathered: Vec<Position>,
    looked_at: u64,
}

/// The history of the writes from outside of any instance.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    records: u64,
    chain: Chain,
    ungathered: Vec<Position>,
}

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
            Some(written) if written.chain != chain => Err(BrokenHistory(
                "it does not follow the record before it".into(),
            )),
            _ => Ok(()),
        }
    }
}

impl Outside {
    /// The history, when all of it is on disk.
    pub(crate) fn gathered(records: u64, chain: Chain) -> Self {
        Self {
            records,
            chain,
            ungathered: Vec::new(),
        }
    }
}

impl Live {
    /// An instance, all of whose records are in its history.
    pub(crate) fn gathered(number: u64, instance: Instance, last: Position) -> Self {
        Self {
            number,
            instance,
            last,
            ungathered: Vec::new(),
            looked_at: 0,
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary::of(&self.instance, self.number, self.last)
    }
}

/// Lets a record through the fold. If that refuses it, nothing has changed.
fn admit(
    instance: &mut Instance,
    number: u64,
    incoming: Incoming,
) -> Result<Admitted, BrokenHistory> {
    let (index, chain) = (instance.records(), instance.chain());
    incoming.fits(chain)?;
    instance.apply(&incoming.record)?;
    let admitted = incoming.link(number, index, chain);
    instance.link(Chain::to(&admitted.encoded));
    Ok(admitted)
}

/// Taking records in, new ones and, when the file is opened, those of the log alike.
impl Ledger {
    /// What is true when all up to `gathered` is in the histories.
    pub(crate) fn new(gathered: Position, outside: Outside) -> Self {
        Self {
            submitted: gathered,
            durable: gathered,
            gathered,
            outside,
            overlay: Overlay::new(gathered),
            ..Self::default()
        }
    }

    /// The first record of a new instance.
    pub(crate) fn start(&mut self, incoming: Incoming) -> Result<Arc<Record>, BrokenHistory> {
        let started = match &incoming.record {
            Record::Started(started) if started.generation == 0 => started.as_ref().clone(),
            _ => return Err(BrokenHistory("it does not begin with a start".into())),
        };
        incoming.fits(Chain::default())?;
        let id = started.id.clone();
        let number = self.submitted.next().0;
        let mut instance = Instance::begin(started);
        let admitted = incoming.link(number, 0, Chain::default());
        instance.link(Chain::to(&admitted.encoded));
        self.keep(&id, Live::gathered(number, instance, Position(number)));
        Ok(self.take(Some(&id), number, admitted))
    }

    /// The next records of an instance, which must be live: all of them, or none.
    pub(crate) fn go_on(
        &mut self,
        id: &InstanceId,
        incoming: Vec<Incoming>,
    ) -> Result<Vec<Arc<Record>>, BrokenHistory> {
        let live = self.live.get_mut(id).expect("the caller has just seen it");
        let number = live.number;
        let mut admitted = Vec::with_capacity(incoming.len());
        if incoming.len() > 1 {
            // A later one may be refused after the first has changed the instance.
            let mut next = live.instance.clone();
            for incoming in incoming {
                admitted.push(admit(&mut next, number, incoming)?);
            }
            live.instance = next;
        } else {
            for incoming in incoming {
                admitted.push(admit(&mut live.instance, number, incoming)?);
            }
        }
        let taken = admitted.into_iter();
        Ok(taken.map(|it| self.take(Some(id), number, it)).collect())
    }

    /// A write to the state from outside of any instance.
    pub(crate) fn write_from_outside(
        &mut self,
        incoming: Incoming,
    ) -> Result<Arc<Record>, BrokenHistory> {
        let Record::StateWritten(_) = &incoming.record else {
            return Err(BrokenHistory("it belongs to an instance".into()));
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
        let mut bytes = encoded.len() as u64;
        for (digest, text) in stored.into_iter().flat_map(|(_, taken)| taken) {
            bytes += text.bytes() as u64;
            self.payloads.insert(digest, (position, text));
        }
        let ungathered = match id.and_then(|id| self.live.get_mut(id)) {
            Some(live) => {
                live.last = position;
                &mut live.ungathered
            }
            None => &mut self.outside.ungathered,
        };
        ungathered.push(position);
        self.undurable_bytes += bytes;
        self.ungathered_bytes += bytes;
        self.tail.push_back(Row {
            position,
            owner,
            index,
            record: encoded.into(),
        });
        Arc::new(record)
    }
}

/// What there is.
impl Ledger {
    /// An instance in memory; it counts as looked at.
    pub(crate) fn look(&mut self, id: &InstanceId) -> Option<&Live> {
        self.looks += 1;
        let live = self.live.get_mut(id)?;
        live.looked_at = self.looks;
        Some(live)
    }

    /// The number of an instance in memory.
    pub(crate) fn number_of(&self, id: &InstanceId) -> Option<u64> {
        self.live.get(id).map(|live| live.number)
    }

    /// The instances that have records in the tail.
    pub(crate) fn ungathered(&self) -> impl Iterator<Item = &Live> {
        self.live
            .values()
            .filter(|live| !live.ungathered.is_empty())
    }

    /// The records of an instance in the tail.
    pub(crate) fn tail_of(&self, id: &InstanceId) -> Vec<Row> {
        let ungathered = self.live.get(id).map(|live| live.ungathered.as_slice());
        let rows = ungathered.unwrap_or_default().iter();
        rows.filter_map(|position| self.tail.get(self.place(*position)).cloned())
            .collect()
    }

    /// The records after a position.
    pub(crate) fn rows_after(&self, position: Position) -> Vec<Row> {
        self.tail
            .range(self.place(position.next())..)
            .cloned()
            .collect()
    }

    /// The large payloads that are not durable.
    pub(crate) fn undurable_payloads(&self) -> Vec<(Digest, Json)> {
        let payloads = self.payloads.iter();
        payloads
            .map(|(digest, (_, text))| (*digest, text.clone()))
            .collect()
    }

    /// A large payload that is not durable.
    pub(crate) fn payload(&self, digest: Digest) -> Option<Json> {
        self.payloads.get(&digest).map(|(_, text)| text.clone())
    }

    fn place(&self, position: Position) -> usize {
        let place = position.0.saturating_sub(self.gathered.0 + 1);
        usize::try_from(place).expect("the tail fits into memory")
    }
}

/// What the writer has done.
impl Ledger {
    /// The log is durable up to a position; `bytes` are no longer only in memory.
    pub(crate) fn is_durable(&mut self, position: Position, bytes: u64) {
        self.durable = position;
        self.undurable_bytes -= bytes;
        self.payloads.retain(|_, (needed, _)| *needed > position);
    }

    /// Everything up to a position is in the histories and in the state table. Nobody asks any
    /// more what changed up to `horizon`.
    pub(crate) fn is_gathered(&mut self, position: Position, bytes: u64, horizon: Position) {
        let gone = self.place(position.next()).min(self.tail.len());
        self.tail.drain(..gone);
        self.gathered = position;
        self.ungathered_bytes -= bytes;
        self.overlay.gathered(position, horizon);
        self.outside.ungathered.retain(|at| *at > position);
        for live in self.live.values_mut() {
            live.ungathered.retain(|at| *at > position);
        }
    }
}

/// What stays in memory.
impl Ledger {
    /// An instance is about to be loaded; from here on it stays, once it is in memory.
    pub(crate) fn begin_loading(&mut self, id: &InstanceId) {
        *self.loading.entry(id.clone()).or_default() += 1;
    }

    /// The counterpart of [`Self::begin_loading`].
    pub(crate) fn end_loading(&mut self, id: &InstanceId) {
        if let Some(count) = self.loading.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                self.loading.remove(id);
            }
        }
    }

    /// An instance was loaded. If somebody else was faster, theirs is kept: it may have gone on.
    pub(crate) fn loaded(&mut self, id: &InstanceId, live: Live) {
        if !self.live.contains_key(id) {
            self.keep(id, live);
        }
    }

    fn keep(&mut self, id: &InstanceId, live: Live) {
        self.looks += 1;
        let looked_at = self.looks;
        self.live.insert(id.clone(), Live { looked_at, ..live });
    }

    /// Drops ended instances whose records are all gathered, and of the others the ones that
    /// nobody has looked at for longest, until `live_max` are left.
    pub(crate) fn evict(&mut self, live_max: usize) {
        let loading = &self.loading;
        let may_go =
            |id: &InstanceId, live: &Live| live.ungathered.is_empty() && !loading.contains_key(id);
        self.live
            .retain(|id, live| !(may_go(id, live) && live.instance.status().has_ended()));
        if self.live.len() <= live_max {
            return;
        }
        // A quarter more than needed, so that this is not done again at once.
        let too_many = self.live.len() - live_max + live_max / 4;
        let idle = self.live.iter().filter(|(id, live)| may_go(id, live));
        let mut idle: Vec<_> = idle
            .map(|(id, live)| (live.looked_at, id.clone()))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(too_many) {
            self.live.remove(&id);
        }
    }

    /// Whether there are more instances in memory than that.
    pub(crate) fn is_crowded(&self, live_max: usize) -> bool {
        self.live.len() > live_max
    }
}
