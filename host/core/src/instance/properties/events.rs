//! No event is lost.

use std::collections::BTreeMap;

use super::super::{Input, Instance, Task, TaskState};
use super::{all_unread, in_every_story};
use crate::record::{Command, Event, Happening, Record, Step, Turn};
use crate::{Name, TaskId};

/// The name and the number of an event.
pub(super) type Known = (String, u64);

/// A name as it is to be compared.
fn folded(name: &Name) -> String {
    name.as_str().to_lowercase()
}

fn known(event: &Event) -> Known {
    let number = event.payload.value().as_u64().unwrap();
    (folded(&event.name), number)
}

pub(super) fn unread_events(instance: &Instance) -> Vec<Known> {
    instance.unread_events().iter().map(known).collect()
}

/// The events that tasks of `awaited` were handed, among these inputs.
fn handed(inputs: &[Input], awaited: &BTreeMap<TaskId, String>) -> Vec<(TaskId, Known)> {
    let one = |input: &Input| match input {
        Input::Completed {
            task,
            outcome: Ok(payload),
        } => {
            let name = awaited.get(task)?;
            Some((*task, (name.clone(), payload.value().as_u64().unwrap())))
        }
        _ => None,
    };
    inputs.iter().filter_map(one).collect()
}

#[test]
fn no_event_is_lost_or_read_twice() {
    in_every_story(|story| {
        let mut ledger = Ledger::default();
        let mut given = story.given.iter();
        for (record, stands) in story.history.iter().zip(&story.stood) {
            let put_back = match record {
                Record::Turn(turn) => ledger.turn(turn, &given.next().unwrap().inputs),
                Record::Started(started) if started.generation == 0 => {
                    ledger.raised.extend(started.events.iter().map(known));
                    false
                }
                Record::Accepted(accepted) => {
                    if let Happening::EventRaised(event) = &accepted.what {
                        ledger.raised.push(known(event));
                    }
                    false
                }
                _ => false,
            };
            ledger.balances(stands, put_back);
        }
    });
}

/// What became of the events that were raised.
#[derive(Default)]
struct Ledger {
    raised: Vec<Known>,
    /// In the generations before, in the order read.
    read: Vec<Known>,
    /// In this generation; a cancellation puts them back.
    held: Vec<(TaskId, Known)>,
    /// The tasks of this generation that were to get an event.
    awaited: BTreeMap<TaskId, String>,
    /// Those that were handed one and have not read it.
    handed: Vec<(TaskId, Known)>,
    ever_put_back: bool,
}

impl Ledger {
    /// Takes a turn in. Says whether it put an event back.
    fn turn(&mut self, turn: &Turn, given: &[Input]) -> bool {
        self.held.extend(handed(given, &self.awaited));
        let mut put_back = false;
        for command in &turn.commands {
            match command {
                Command::AwaitEvent { task, name } => {
                    self.awaited.insert(*task, folded(name));
                }
                Command::Cancel { task } => {
                    put_back |= self.awaited.remove(task).is_some();
                    self.held.retain(|(of, _)| of != task);
                }
                _ => {}
            }
        }
        if let Step::ContinuedAsNew { .. } = turn.step {
            self.read
                .extend(self.held.drain(..).map(|(_, event)| event));
            self.awaited.clear();
        }
        self.ever_put_back |= put_back;
        put_back
    }

    fn balances(&mut self, stands: &Instance, put_back: bool) {
        let before = std::mem::take(&mut self.handed);
        let waiting = unread_events(stands);
        self.handed = handed(&all_unread(stands), &self.awaited);
        assert!(
            waiting.is_sorted_by_key(|(_, number)| number),
            "{waiting:?}"
        );
        if !put_back {
            let new = self.handed.iter().filter(|it| !before.contains(it));
            for (task, (name, number)) in new {
                let of_name = |other: &&Known| other.0 == *name;
                assert!(waiting.iter().filter(of_name).all(|it| it.1 > *number));
                assert!(awaiting(stands, name).all(|other| other > *task));
            }
        }
        for (name, _) in &waiting {
            assert_eq!(awaiting(stands, name).count(), 0, "{name:?} is kept back");
        }
        let held = self.held.iter().chain(&self.handed).map(|(_, event)| event);
        let all: Vec<_> = self
            .read
            .iter()
            .chain(held)
            .chain(&waiting)
            .cloned()
            .collect();
        let mut sorted = all.clone();
        sorted.sort_by_key(|(_, number)| *number);
        if stands.status().has_ended() {
            sorted.dedup();
            assert_eq!(sorted.len(), all.len(), "read twice: {all:?}");
            return;
        }
        assert_eq!(sorted, self.raised);
        if !self.ever_put_back {
            let by_name = |events: &[Known]| {
                let mut events = events.to_vec();
                events.sort_by(|one, other| one.0.cmp(&other.0));
                events
            };
            assert_eq!(by_name(&all), by_name(&self.raised), "out of order");
        }
    }
}

/// The open tasks that await that event.
fn awaiting<'a>(stands: &'a Instance, name: &'a str) -> impl Iterator<Item = TaskId> + 'a {
    let awaits = |task: &Task| match &task.state {
        TaskState::Event { name: of } => folded(of) == *name,
        _ => false,
    };
    let tasks = stands.tasks().iter();
    tasks
        .filter(move |(_, task)| awaits(task))
        .map(|(id, _)| *id)
}
