//! What is accepted is delivered, in order; and what may not be is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::{Input, Instance};
use super::world::Story;
use super::{all_unread, in_every_story, turn};
use crate::decide::{self, AttemptEnd, AttemptFence, ParentStands, Refused, TaskFence, TurnFence};
use crate::record::{Accepted, Asked, Command, Event, Happening, Record, StallReason, Step, Turn};
use crate::{Digest, Json, TaskId, Timestamp};

#[test]
fn inputs_are_delivered_in_the_order_in_which_they_were_accepted() {
    in_every_story(|story| {
        let mut queue = Queue::default();
        let mut given = story.given.iter();
        for (record, stands) in story.history.iter().zip(&story.stood) {
            match record {
                Record::Turn(turn) => queue.turn(turn, &given.next().unwrap().inputs),
                Record::Started(_) => queue.awaited.clear(),
                other => queue.accepted.extend(accepted(other, story, stands)),
            }
            if !stands.status().has_ended() {
                assert_eq!(queue.accepted, queue.without_events(&all_unread(stands)));
            }
        }
    });
}

/// The inputs that wait, without events: those wait for somebody who awaits them.
#[derive(Default)]
struct Queue {
    accepted: VecDeque<Input>,
    /// The tasks of this generation that were to get an event.
    awaited: BTreeSet<TaskId>,
}

impl Queue {
    fn without_events(&self, inputs: &[Input]) -> VecDeque<Input> {
        let is_event =
            |input: &&Input| completed(input).is_some_and(|it| self.awaited.contains(&it));
        inputs.iter().filter(|it| !is_event(it)).cloned().collect()
    }

    fn turn(&mut self, turn: &Turn, given: &[Input]) {
        for input in self.without_events(given) {
            assert_eq!(self.accepted.pop_front(), Some(input));
        }
        for command in &turn.commands {
            if let Command::AwaitEvent { task, .. } = command {
                self.awaited.insert(*task);
            }
            if let Command::Cancel { task } = command {
                self.accepted
                    .retain(|input| completed(input) != Some(*task));
            }
        }
        if let Step::ContinuedAsNew { .. } = turn.step {
            self.accepted.retain(|input| completed(input).is_none());
        }
    }
}

fn completed(input: &Input) -> Option<TaskId> {
    match input {
        Input::Completed { task, .. } => Some(*task),
        _ => None,
    }
}

/// The input that a record brings, events aside.
fn accepted(record: &Record, story: &Story, stands: &Instance) -> Option<Input> {
    let what = match record {
        Record::Accepted(accepted) => &accepted.what,
        Record::Attempt(attempt) if attempt.retry_at.is_none() => {
            // Of a task that was cancelled or whose time was over nobody hears.
            let (task, outcome) = (attempt.task, attempt.outcome.clone());
            let before = &story.stood[stands.records() as usize - 2];
            assert!(before.tasks().contains_key(&task));
            return Some(Input::Completed { task, outcome });
        }
        _ => return None,
    };
    match what.clone() {
        Happening::TimerFired { task } => Some(Input::Completed {
            task,
            outcome: Ok(Json::null()),
        }),
        Happening::TaskEnded { task, outcome } => Some(Input::Completed { task, outcome }),
        Happening::CancelRequested { reason } => Some(Input::CancelRequested { reason }),
        Happening::UpdateRequested { id, name, input } => {
            Some(Input::UpdateRequested { id, name, input })
        }
        Happening::EventRaised(_)
        | Happening::ChildFailed { .. }
        | Happening::Suspended { .. }
        | Happening::Resumed => None,
    }
}

#[test]
fn each_task_completes_at_most_once_and_never_after_its_cancellation_or_its_generation() {
    in_every_story(|story| {
        let mut open = BTreeSet::new();
        let mut given = story.given.iter();
        for (record, stands) in story.history.iter().zip(&story.stood) {
            if let Record::Started(_) = record {
                open.clear();
            }
            if let Record::Turn(turn) = record {
                for task in given.next().unwrap().inputs.iter().filter_map(completed) {
                    assert!(open.remove(&task), "task {task} completes");
                }
                for command in &turn.commands {
                    match command {
                        Command::Cancel { task } => open.remove(task),
                        other => other.task().is_some_and(|task| open.insert(task)),
                    };
                }
            }
            let unread = all_unread(stands);
            let unread: Vec<_> = unread.iter().filter_map(completed).collect();
            let waiting: BTreeSet<_> = stands.tasks().keys().chain(&unread).copied().collect();
            assert_eq!(waiting.len(), stands.tasks().len() + unread.len());
            assert!(waiting.is_subset(&open), "{waiting:?} of {open:?}");
            if stands.status().has_ended() || continues(record) {
                assert!(waiting.is_empty());
            } else {
                assert_eq!(waiting, open, "a task is neither open nor completed");
            }
        }
    });
}

fn continues(record: &Record) -> bool {
    matches!(record, Record::Turn(turn) if matches!(turn.step, Step::ContinuedAsNew { .. }))
}

#[test]
fn a_turn_is_due_exactly_if_there_is_something_to_do_and_nothing_holds_it_back() {
    in_every_story(|story| {
        let mut suspended = false;
        for (record, stands) in story.history.iter().zip(&story.stood) {
            if let Record::Accepted(Accepted { what, .. }) = record {
                match what {
                    Happening::Suspended { .. } => suspended = true,
                    Happening::Resumed => suspended = false,
                    _ => {}
                }
            }
            assert_eq!(stands.suspended().is_some(), suspended);
            let has_work = stands.fresh() || !all_unread(stands).is_empty();
            let moves = !suspended && !stands.status().has_ended();
            assert_eq!(stands.turn_due_at().is_some(), has_work && moves);
        }
    });
}

#[test]
fn after_the_end_nothing_is_accepted() {
    in_every_story(|story| {
        let ended = story.last();
        if !ended.status().has_ended() {
            return;
        }
        assert!(ended.tasks().is_empty() && all_unread(ended).is_empty());
        for before in &story.stood {
            for (index, refused) in everything(before, ended).into_iter().enumerate() {
                assert!(refused.is_err(), "decision {index}: {refused:?}");
            }
        }
    });
}

/// All that may be asked of `ended` by those who last saw it as `before`.
fn everything(before: &Instance, ended: &Instance) -> Vec<Result<Record, Refused>> {
    let now = Timestamp(u64::MAX);
    let started = before.started();
    let (run, generation) = (started.run, started.generation);
    let event = Event {
        name: "go".parse().unwrap(),
        payload: Json::null(),
    };
    let update = "ask".parse().unwrap();
    let stalled = StallReason::ModuleUnusable {
        message: String::new(),
    };
    let turn = decide::take_turn(ended, TurnFence::of(before), turn(now, 0), None);
    let parent = ParentStands::Terminated { recursive: true };
    let mut all = vec![
        turn.map(|mut records| records.remove(0)),
        decide::raise_event(ended, event, None, now),
        decide::request_cancel(ended, None, None, now),
        decide::request_update(ended, update, Json::null(), None, now),
        decide::suspend(ended, None, None, now),
        decide::resume(ended, None, now),
        decide::terminate(ended, None, true, None, now),
        decide::end_with_parent(ended, parent, now),
        decide::stall(ended, None, stalled.clone(), now),
    ];
    for task in before.tasks().keys().copied() {
        let of = TaskFence {
            run,
            generation,
            task,
        };
        let fence = AttemptFence {
            run,
            generation,
            task,
            number: 1,
        };
        let end = AttemptEnd {
            module: Digest::of(b"worker"),
            contained: true,
            started_at: now,
            ended_at: now,
            outcome: Ok(Json::null()),
            log: Vec::new(),
            writes: Vec::new(),
        };
        all.extend([
            decide::fire_timer(ended, task, now),
            decide::time_out(ended, of, now),
            decide::end_task(ended, of, Ok(Json::null()), now),
            decide::end_child(ended, of, 1, Ok(Json::null()), now),
            decide::start_attempt(ended, fence, end.module, now),
            decide::stop_attempt(ended, fence, true, now),
            decide::end_attempt(ended, fence, end),
            decide::stall(ended, Some(task), stalled.clone(), now),
            decide::unstall(ended, task, now),
        ]);
    }
    all
}

#[test]
fn a_request_key_stands_for_one_request_across_all_generations() {
    in_every_story(|story| {
        let mut used: BTreeMap<&str, Asked> = BTreeMap::new();
        used.extend(story.start_key.as_deref().map(|key| (key, Asked::Start)));
        for (key, came) in &story.keyed {
            let before = used.get(key.as_str()).copied();
            match (before, came) {
                (Some(asked), came) => assert_eq!(came, &Err(Refused::Repeated(asked))),
                (None, Ok(record)) => drop(used.insert(key, asked(record))),
                (None, Err(refused)) => {
                    assert!([Refused::Ended, Refused::Stale].contains(refused));
                }
            }
        }
        for (key, asked) in used {
            assert_eq!(story.last().asked(key), Some(asked));
        }
    });
}

fn asked(record: &Record) -> Asked {
    let what = match record {
        Record::Ended(_) => return Asked::Terminate,
        Record::Accepted(accepted) => &accepted.what,
        other => panic!("{other:?} was asked by nobody"),
    };
    match what {
        Happening::EventRaised(_) => Asked::Event,
        Happening::CancelRequested { .. } => Asked::Cancel,
        Happening::UpdateRequested { id, .. } => Asked::Update(*id),
        Happening::Suspended { .. } => Asked::Suspend,
        Happening::Resumed => Asked::Resume,
        other => panic!("{other:?} was asked by nobody"),
    }
}
