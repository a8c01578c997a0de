//! A rerun stands where its original stood.

use std::collections::BTreeMap;

use super::super::{Input, Instance, Task, TaskState};
use super::world::OWNER;
use super::{all_unread, in_every_story};
use crate::codec::{self, Chain};
use crate::record::{Record, Turn};
use crate::replay::Playback;
use crate::rerun::{self, Fresh};
use crate::{RunId, TaskId, Timestamp};

#[test]
fn a_rerun_stands_where_its_original_stood_before_the_turn_from_which_it_goes_on() {
    in_every_cut(|_, original, rerun| {
        let again = fold(rerun);
        assert_eq!(open_tasks(&again), open_tasks(original));
        assert_eq!(all_unread(&again), all_unread(original));
        assert_eq!(again.unread_events(), original.unread_events());
        let shown = |it: &Instance| {
            (
                (it.turns(), it.updates(), it.open_updates().clone()),
                (it.custom_status().cloned(), it.cancel_requested()),
                (it.first_input().clone(), it.started().generation),
                (it.module(), it.handed.clone()),
            )
        };
        assert_eq!(shown(&again), shown(original));
        assert_eq!((again.suspended(), again.stall()), (None, None));
        assert_ne!(again.started().run, original.started().run);
    });
}

#[test]
fn a_rerun_plays_the_turns_of_its_original() {
    in_every_cut(|before, _, rerun| {
        assert_eq!(turns_of(rerun), turns_of(before));
    });
}

#[test]
fn a_rerun_of_a_rerun_takes_over_the_same() {
    in_every_cut(|_, _, rerun| {
        let Record::Started(first) = &rerun[0] else {
            panic!("it begins with {:?}", rerun[0]);
        };
        let turns = first.reruns.last().unwrap().turns;
        let twice = cut(rerun, turns, 8);
        assert_eq!(twice[1..], rerun[1..]);
        let Record::Started(second) = &twice[0] else {
            panic!("it begins with {:?}", twice[0]);
        };
        assert_eq!(second.reruns, first.reruns);
    });
}

/// Looks at each rerun that can be made of the generation in which a story ends: at the records
/// before the cut, at the original there, and at the records of the rerun.
fn in_every_cut(holds: impl Fn(&[Record], &Instance, &[Record])) {
    in_every_story(|story| {
        let (from, mut turns) = (story.last().generation_from() as usize, 0);
        for (index, record) in story.history.iter().enumerate().skip(from) {
            if let Record::Turn(_) = record {
                let before = &story.history[from..index];
                holds(before, &story.stood[index - 1], &cut(before, turns, 7));
                turns += 1;
            }
        }
    });
}

/// The records of a rerun that takes over those records, with so many turns.
fn cut(before: &[Record], turns: u64, run: u128) -> Vec<Record> {
    let Record::Started(original) = &before[0] else {
        panic!("it begins with {:?}", before[0]);
    };
    let fresh = Fresh {
        id: "again".parse().unwrap(),
        run: RunId(run),
        seed: 5,
        at: Timestamp(9_000),
    };
    let start = Record::Started(Box::new(rerun::start(original, turns, fresh)));
    let copies = before[1..].iter().cloned().filter_map(rerun::copy);
    [start].into_iter().chain(copies).collect()
}

/// The instance that those records make once they are written.
pub(super) fn fold(records: &[Record]) -> Instance {
    let Record::Started(started) = &records[0] else {
        panic!("it begins with {:?}", records[0]);
    };
    let mut instance = Instance::begin(started.as_ref().clone());
    for record in &records[1..] {
        let bytes = codec::encode(OWNER, Chain::default(), record);
        instance
            .apply(&codec::decode(&bytes).unwrap().record)
            .unwrap();
    }
    instance
}

/// The open tasks, without how often their attempts were started and stopped: a rerun starts them
/// anew.
pub(super) fn open_tasks(instance: &Instance) -> BTreeMap<TaskId, Task> {
    let mut tasks = instance.tasks().clone();
    for task in tasks.values_mut() {
        if let TaskState::Activity { starts, stops, .. } = &mut task.state {
            (*starts, *stops) = (0, 0);
        }
    }
    tasks
}

/// The turns in those records: number, inputs and what came of it.
pub(super) fn turns_of(records: &[Record]) -> Vec<(u64, Vec<Input>, Turn)> {
    let mut playback = Playback::default();
    let played = records.iter().filter_map(|record| {
        let past = playback.next(record).unwrap()?;
        assert!(past.delivered.not_before <= past.turn.at);
        Some((past.number, past.delivered.inputs, *past.turn))
    });
    played.collect()
}
