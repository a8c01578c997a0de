//! A small world around one instance: outsiders, workers and a guest who do random things, but
//! only such as the host lets them do.

use std::collections::{BTreeMap, BTreeSet};

use super::super::tests::{json, name, started};
use super::deeds::{Birth, Deed, Outcome};
use crate::codec::{self, Chain};
use crate::decide::{self, AttemptEnd, AttemptFence, Move, Refused, TaskFence, TurnFence};
use crate::record::{Event, Parent, Record, StallReason, Started};
use crate::{Delivered, Digest, Instance, Name, RunId, TaskId, TaskState, Timestamp};

/// The number of the instance in its records.
pub(super) const OWNER: u64 = 3;

/// Two names, each in two spellings.
const NAMES: [&str; 4] = ["go", "Go", "stop", "STOP"];

/// What became of an instance.
pub(super) struct Story {
    /// Its history.
    pub(super) history: Vec<Record>,
    /// The history as it is written.
    pub(super) written: Vec<Vec<u8>>,
    /// The instance after each record.
    pub(super) stood: Vec<Instance>,
    /// What each turn was given, at the time when it began.
    pub(super) given: Vec<Delivered>,
    /// What was asked with a key, and what came of it.
    pub(super) keyed: Vec<(String, Result<Record, Refused>)>,
    /// The request key that it was started with.
    pub(super) start_key: Option<String>,
}

impl Story {
    /// What becomes of an instance to which all this is done.
    pub(super) fn of(birth: &Birth, deeds: &[Deed]) -> Self {
        let mut world = World::new(birth);
        for deed in deeds {
            world.does(deed);
        }
        world.story
    }

    /// The instance in the end.
    pub(super) fn last(&self) -> &Instance {
        self.stood.last().unwrap()
    }

    /// The start that is the record number `index`.
    pub(super) fn start(&self, index: u64) -> Started {
        match &self.history[index as usize] {
            Record::Started(started) => started.as_ref().clone(),
            other => panic!("record {index} begins no generation: {other:?}"),
        }
    }
}

/// An instance and those who do something to it.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) instance: Instance,
    pub(super) story: Story,
    /// Counts the events: each carries its number.
    events: u32,
    /// Attempts that run.
    running: BTreeMap<TaskId, AttemptFence>,
    /// The guest is in a turn.
    pub(super) under_way: Option<(TurnFence, Delivered)>,
    /// The number of the guest's next task.
    pub(super) next_task: u32,
    /// Updates that the guest knows and has not answered.
    pub(super) updates: BTreeSet<u32>,
}

impl World {
    fn new(birth: &Birth) -> Self {
        let events = birth.events.iter().zip(1..);
        let start = Started {
            events: events.map(|(name, number)| event(*name, number)).collect(),
            begins_at: birth.delayed.then_some(Timestamp(400)),
            key: key(birth.key),
            parent: Some(Parent {
                id: "parent".parse().unwrap(),
                run: RunId(9),
                generation: 0,
                task: TaskId(1),
                attempt: 1,
                detached: false,
            }),
            ..started()
        };
        let record = Record::Started(Box::new(start.clone()));
        let bytes = codec::encode(OWNER, Chain::default(), &record);
        let mut instance = Instance::begin(start.clone());
        instance.link(Chain::to(&bytes));
        Self {
            now: 200,
            story: Story {
                history: vec![record],
                written: vec![bytes],
                stood: vec![instance.clone()],
                given: Vec::new(),
                keyed: Vec::new(),
                start_key: start.key,
            },
            instance,
            events: birth.events.len() as u32,
            running: BTreeMap::new(),
            under_way: None,
            next_task: 1,
            updates: BTreeSet::new(),
        }
    }

    fn does(&mut self, deed: &Deed) {
        let (it, now) = (&self.instance, Timestamp(self.now));
        let decided = match deed {
            Deed::Clock(ms) => {
                self.now = self.now.saturating_add_signed((*ms).into());
                return;
            }
            Deed::HostDies => {
                self.running.clear();
                return self.under_way = None;
            }
            Deed::BeginTurn => return self.begin_turn(),
            Deed::EndTurn(asks, end) => return self.end_turn(asks, *end),
            Deed::Event(name, by) => {
                self.events += 1;
                let asked = decide::raise_event(it, event(*name, self.events), key(*by), now);
                return self.request(*by, asked);
            }
            Deed::Cancel(by) => {
                return self.request(*by, decide::request_cancel(it, None, key(*by), now));
            }
            Deed::Update(by) => {
                let asked = decide::request_update(it, name("ask"), json("1"), key(*by), now);
                return self.request(*by, asked);
            }
            Deed::Suspend(by) => {
                let why = Some("a look".into());
                return self.request(*by, decide::suspend(it, why, key(*by), now));
            }
            Deed::Resume(by) => return self.request(*by, decide::resume(it, key(*by), now)),
            Deed::Terminate(all, by) => {
                return self.request(*by, decide::terminate(it, None, *all, key(*by), now));
            }
            Deed::Parent(stands) => decide::end_with_parent(it, *stands, now),
            Deed::FireTimer(nth) => match self.nth_task(*nth, |state| timer(state).is_some()) {
                Some(task) => decide::fire_timer(it, task, now),
                None => return,
            },
            Deed::EndOther(nth, outcome) => match self.end_other(*nth, *outcome) {
                Some(decided) => decided,
                None => return,
            },
            Deed::TimeOut(nth) => match self.nth_task(*nth, |state| attempt(state).is_some()) {
                Some(task) => decide::time_out(it, self.fence(task), now),
                None => return,
            },
            Deed::StartAttempt(nth) => return self.start_attempt(*nth),
            Deed::EndAttempt(nth, outcome) => return self.end_attempt(*nth, *outcome),
            Deed::StopAttempt(nth, begun) => match nth_of(self.running.keys(), *nth) {
                Some(task) => {
                    let fence = self.running.remove(&task).unwrap();
                    decide::stop_attempt(&self.instance, fence, *begun, now)
                }
                None => return,
            },
            Deed::Stall(nth) => {
                let task = nth.and_then(|nth| self.nth_task(nth, |_| true));
                let message = "no way".into();
                decide::stall(it, task, StallReason::ModuleUnusable { message }, now)
            }
            Deed::Move(which) => return self.move_to(*which),
            Deed::Unstall(nth) => match nth_of(it.stalled_tasks().keys(), *nth) {
                Some(task) => decide::unstall(it, task, now),
                None => return,
            },
        };
        if let Ok(record) = decided {
            self.append(record);
        }
    }

    /// The guest is held for that: a turn under way is not taken.
    fn move_to(&mut self, which: u8) {
        let it = &self.instance;
        let to = Move {
            to: Digest::of(&[which]),
            contract: "0.1.0".into(),
            features: 1,
            input_changes_allowed: which == 0,
            turns: it.turns(),
        };
        let moved = decide::move_to(it, TurnFence::of(it), to, Timestamp(self.now));
        if let Ok(record) = moved {
            self.under_way = None;
            self.append(record);
        }
    }

    fn request(&mut self, by: Option<u8>, asked: Result<Record, Refused>) {
        if let Some(key) = key(by) {
            self.story.keyed.push((key, asked.clone()));
        }
        if let Ok(record) = asked {
            self.append(record);
        }
    }

    pub(super) fn append(&mut self, record: Record) {
        let bytes = codec::encode(OWNER, self.instance.chain(), &record);
        let applied = self.instance.apply(&record);
        applied.expect("what was decided can be applied");
        self.instance.link(Chain::to(&bytes));
        self.story.history.push(record);
        self.story.written.push(bytes);
        self.story.stood.push(self.instance.clone());
    }

    /// One of the open tasks of which that holds.
    fn nth_task(&self, nth: u8, holds: impl Fn(&TaskState) -> bool) -> Option<TaskId> {
        let all = self.instance.tasks().iter();
        let found: Vec<_> = all.filter(|(_, task)| holds(&task.state)).collect();
        nth_of(found.iter().map(|(id, _)| *id), nth)
    }

    fn fence(&self, task: TaskId) -> TaskFence {
        let started = self.instance.started();
        TaskFence {
            run: started.run,
            generation: started.generation,
            task,
        }
    }

    fn end_other(&self, nth: u8, outcome: Outcome) -> Option<Result<Record, Refused>> {
        let (it, now) = (&self.instance, Timestamp(self.now));
        let task = self.nth_task(nth, |state| {
            child(state).is_some() || matches!(state, TaskState::Raise { .. })
        })?;
        let (of, outcome) = (self.fence(task), outcome.of());
        Some(match child(&it.tasks()[&task].state) {
            Some(attempt) => decide::end_child(it, of, attempt, outcome, now),
            None => decide::end_task(it, of, outcome, now),
        })
    }

    fn start_attempt(&mut self, nth: u8) {
        let Some((fence, ready_at)) = self.open_attempt(nth) else {
            return;
        };
        let now = Timestamp(self.now);
        if ready_at > now || self.running.contains_key(&fence.task) {
            return;
        }
        let module = Digest::of(b"worker");
        let started = decide::start_attempt(&self.instance, fence, module, now);
        self.running.insert(fence.task, fence);
        self.append(started.unwrap());
    }

    /// The attempt that runs, or that runs contained and is not noted before it ends.
    fn end_attempt(&mut self, nth: u8, outcome: Outcome) {
        let Some((open, _)) = self.open_attempt(nth) else {
            return;
        };
        let fence = self.running.remove(&open.task).unwrap_or(open);
        let now = Timestamp(self.now);
        let end = AttemptEnd {
            module: Digest::of(b"worker"),
            contained: false,
            started_at: now,
            ended_at: now,
            outcome: outcome.of(),
            log: Vec::new(),
            writes: Vec::new(),
        };
        if let Ok(record) = decide::end_attempt(&self.instance, fence, end) {
            self.append(record);
        }
    }

    fn open_attempt(&self, nth: u8) -> Option<(AttemptFence, Timestamp)> {
        let task = self.nth_task(nth, |state| attempt(state).is_some())?;
        let (number, ready_at) = attempt(&self.instance.tasks()[&task].state)?;
        let TaskFence {
            run, generation, ..
        } = self.fence(task);
        let fence = AttemptFence {
            run,
            generation,
            task,
            number,
        };
        Some((fence, ready_at))
    }
}

pub(super) fn spelt(which: u8) -> Name {
    name(NAMES[usize::from(which) % NAMES.len()])
}

pub(super) fn event(which: u8, number: u32) -> Event {
    Event {
        name: spelt(which),
        payload: json(&number.to_string()),
    }
}

fn key(number: Option<u8>) -> Option<String> {
    number.map(|number| format!("k{number}"))
}

fn nth_of<'a>(all: impl ExactSizeIterator<Item = &'a TaskId>, nth: u8) -> Option<TaskId> {
    let count = all.len();
    all.copied().nth(usize::from(nth) % count.max(1))
}

fn timer(state: &TaskState) -> Option<Timestamp> {
    match state {
        TaskState::Timer { fires_at } => Some(*fires_at),
        _ => None,
    }
}

fn attempt(state: &TaskState) -> Option<(u32, Timestamp)> {
    match state {
        TaskState::Activity {
            attempt, ready_at, ..
        } => Some((*attempt, *ready_at)),
        _ => None,
    }
}

fn child(state: &TaskState) -> Option<u32> {
    match state {
        TaskState::Child { attempt, .. } => Some(*attempt),
        _ => None,
    }
}
