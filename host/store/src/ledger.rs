//! What is true now, in memory: the fold of every instance that is in use, the state that the
//! table does not show yet, and the end of the log. It is guarded by one mutex, held shortly, and
//! does no I/O.

mod admit;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use wfhost_core::codec::Chain;
use wfhost_core::{Digest, Instance, InstanceId, Json, Position};

use crate::error::Error;
use crate::overlay::Overlay;
use crate::registry::Registry;
use crate::summary::Summary;
use crate::tally::Tally;

pub(crate) use admit::{Incoming, Written};

/// The owner of records that belong to no instance.
pub(crate) const OUTSIDE: u64 = 0;

/// What changed is remembered for so many records, at least, beyond the oldest snapshot.
const RECORDS_REMEMBERED: u64 = 10_000;

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
    /// The last positions of the rows of the log, oldest first.
    log_rows: VecDeque<Position>,
    /// The instances that have records in the tail, by number.
    ungathered: BTreeMap<u64, InstanceId>,
    /// Up to where the last gathers came, for those who have let their snapshot go and not
    /// submitted yet: the one before, and the last that counts.
    marks: [Position; 2],
    /// Which large payloads the records of the tail name, those that name any.
    named: BTreeMap<Position, Vec<Digest>>,
    /// Which instances the records of the tail put on which modules.
    recorded_on: VecDeque<(Position, Digest, InstanceId)>,
    live: HashMap<InstanceId, Live>,
    /// Instances that are being loaded; they must not be evicted meanwhile.
    loading: HashMap<InstanceId, u32>,
    pub(crate) outside: Outside,
    pub(crate) overlay: Overlay,
    pub(crate) registry: Registry,
    /// Large payloads of records that are not durable yet, with the position that needs them.
    payloads: HashMap<Digest, (Position, Json)>,
    pub(crate) undurable_bytes: u64,
    pub(crate) ungathered_bytes: u64,
    /// When the oldest record that no commit has taken was submitted.
    pub(crate) waiting_since: Option<Instant>,
    /// Goes up at the end of each transaction that removes rows or payloads. Odd as long as one is
    /// under way.
    pub(crate) removals: u64,
    /// How many of those are under way: the next waits for the one before.
    pub(crate) removing: usize,
    /// Goes up when instances were purged: one that was read from disk before may be gone.
    pub(crate) purges: u64,
    /// How many instances stand how.
    pub(crate) tally: Tally,
    /// How many submissions were taken since the file was opened.
    pub(crate) submissions: u64,
    /// Counts looks, to find the instances that nobody has looked at for long.
    looks: u64,
    /// The writer waits for something to do.
    pub(crate) writer_sleeps: bool,
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
    /// What it counts, its large payloads included.
    pub(crate) bytes: u64,
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
    ungathered: VecDeque<Position>,
    looked_at: u64,
}

/// The history of the writes from outside of any instance.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    records: u64,
    chain: Chain,
}

impl Outside {
    /// The history, when all of it is on disk.
    pub(crate) fn gathered(records: u64, chain: Chain) -> Self {
        Self { records, chain }
    }
}

impl Live {
    /// An instance, all of whose records are in its history.
    pub(crate) fn gathered(number: u64, instance: Instance, last: Position) -> Self {
        Self {
            number,
            instance,
            last,
            ungathered: VecDeque::new(),
            looked_at: 0,
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary::of(&self.instance, self.number, self.last)
    }
}

/// What there is.
impl Ledger {
    /// What is true when all up to `gathered` is in the histories.
    pub(crate) fn new(gathered: Position, outside: Outside) -> Self {
        Self {
            submitted: gathered,
            durable: gathered,
            gathered,
            outside,
            marks: [gathered; 2],
            overlay: Overlay::new(gathered),
            ..Self::default()
        }
    }

    /// Rows or payloads are about to be removed.
    pub(crate) fn begin_removal(&mut self) {
        self.removals += u64::from(self.removing == 0);
        self.removing += 1;
    }

    /// They are.
    pub(crate) fn end_removal(&mut self) {
        self.removing -= 1;
        // Two, if another goes on: it has changed, and stays odd.
        self.removals += if self.removing == 0 { 1 } else { 2 };
    }

    /// An instance in memory; it counts as looked at.
    pub(crate) fn look(&mut self, id: &InstanceId) -> Option<&Live> {
        self.looks += 1;
        let live = self.live.get_mut(id)?;
        live.looked_at = self.looks;
        Some(live)
    }

    /// Two instances in memory, which may be the same; they count as looked at.
    pub(crate) fn look_at_two(
        &mut self,
        one: &InstanceId,
        other: &InstanceId,
    ) -> (Option<&Live>, Option<&Live>) {
        self.look(one);
        self.look(other);
        (self.live.get(one), self.live.get(other))
    }

    /// The number of an instance in memory.
    pub(crate) fn number_of(&self, id: &InstanceId) -> Option<u64> {
        self.live.get(id).map(|live| live.number)
    }

    /// The instances that have records in the tail, in the order of their numbers.
    pub(crate) fn ungathered(&self) -> impl Iterator<Item = &Live> {
        self.ungathered.values().filter_map(|id| self.live.get(id))
    }

    /// The instance of that number, if it has records in the tail.
    pub(crate) fn owner(&self, number: u64) -> Option<&Live> {
        self.live.get(self.ungathered.get(&number)?)
    }

    /// The records of an instance in the tail.
    pub(crate) fn tail_of(&self, id: &InstanceId) -> Vec<Row> {
        let ungathered = self.live.get(id).into_iter();
        let rows = ungathered.flat_map(|live| &live.ungathered);
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

    /// The records up to a position that are not gathered.
    pub(crate) fn rows_up_to(&self, position: Position) -> Vec<Row> {
        let end = self.place(position.next()).min(self.tail.len());
        self.tail.range(..end).cloned().collect()
    }

    /// Up to where a gather of about so many records goes: to the end of a row of the log, or to
    /// the end of all.
    pub(crate) fn end_of_slice(&self, records_max: u64) -> Position {
        let wanted = self.gathered.0.saturating_add(records_max);
        let ends = self.log_rows.partition_point(|end| end.0 < wanted);
        self.log_rows.get(ends).copied().unwrap_or(self.submitted)
    }

    /// Which large payloads the records of the tail name.
    pub(crate) fn named(&self) -> BTreeMap<Position, Vec<Digest>> {
        self.named.clone()
    }

    /// An instance that a record of the tail put on a module, which may have left it or ended since.
    pub(crate) fn recorded_on(&self, module: Digest) -> Option<&InstanceId> {
        let mut recorded = self.recorded_on.iter();
        let recorded = recorded.find(|(_, on, _)| *on == module);
        recorded.map(|(_, _, id)| id)
    }

    /// Whether all that memory knows of an instance is on disk, and nothing can happen to it.
    pub(crate) fn may_be_purged(&self, id: &InstanceId) -> bool {
        self.live
            .get(id)
            .is_none_or(|live| live.ungathered.is_empty() && live.instance.status().has_ended())
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
    /// The log is durable up to a position, in rows that end at these; `bytes` are no longer only
    /// in memory.
    pub(crate) fn is_durable(
        &mut self,
        position: Position,
        log_rows: impl IntoIterator<Item = Position>,
        bytes: u64,
    ) {
        self.durable = position;
        self.log_rows.extend(log_rows);
        self.undurable_bytes -= bytes;
        if !self.payloads.is_empty() {
            self.payloads.retain(|_, (needed, _)| *needed > position);
        }
    }

    /// Everything up to a position is in the histories and in the state table. Nobody asks any
    /// more what changed up to `horizon`.
    pub(crate) fn is_gathered(&mut self, position: Position, horizon: Position) {
        let gone = self.place(position.next()).min(self.tail.len());
        self.gathered = position;
        let rows = self.log_rows.partition_point(|end| *end <= position);
        self.log_rows.drain(..rows);
        self.named = self.named.split_off(&position.next());
        let recorded = self.recorded_on.partition_point(|(at, ..)| *at <= position);
        self.recorded_on.drain(..recorded);
        let mut owners: Vec<u64> = Vec::new();
        for row in self.tail.drain(..gone) {
            self.ungathered_bytes -= row.bytes;
            owners.push(row.owner);
        }
        owners.sort_unstable();
        owners.dedup();
        for owner in owners {
            self.is_gathered_of(owner, position);
        }
        self.overlay.gathered(position, horizon);
    }

    /// Forgets where an instance's records are in the tail. One that has ended need not stay then.
    fn is_gathered_of(&mut self, owner: u64, position: Position) {
        let Some(id) = self.ungathered.get(&owner) else {
            return;
        };
        let Some(live) = self.live.get_mut(id) else {
            return;
        };
        let gone = live.ungathered.partition_point(|at| *at <= position);
        live.ungathered.drain(..gone);
        if !live.ungathered.is_empty() {
            return;
        }
        if live.instance.status().has_ended() && !self.loading.contains_key(id) {
            self.live.remove(id);
        }
        self.ungathered.remove(&owner);
    }

    /// Up to where nobody asks any more what has changed, but for snapshots: one gather back that
    /// counts, which is one of all there is or of many records.
    pub(crate) fn mark(&mut self, position: Position) -> Position {
        let [_, last] = self.marks;
        if position == self.submitted || position.0 - last.0 >= RECORDS_REMEMBERED {
            self.marks = [last, position];
        }
        self.marks[0]
    }

    /// These instances are no more.
    pub(crate) fn is_purged(&mut self, purged: &[Summary]) {
        self.purges += 1;
        for gone in purged {
            self.tally.leave(&gone.workflow, gone.status);
            if self.number_of(&gone.id) == Some(gone.number) {
                self.live.remove(&gone.id);
            }
        }
    }

    /// From here on each change of a status counts. What is in the tail is counted at once; returns
    /// the ids of that, whose rows on disk do not count.
    pub(crate) fn begin_tally(&mut self) -> HashSet<InstanceId> {
        self.tally.begin();
        let lives = self.ungathered.values().filter_map(|id| self.live.get(id));
        for live in lives {
            let instance = &live.instance;
            self.tally
                .enter(&instance.started().workflow, instance.status());
        }
        self.ungathered.values().cloned().collect()
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
