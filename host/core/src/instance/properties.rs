//! What holds for every instance, whatever is done to it.

mod deeds;
mod events;
mod guest;
mod inputs;
mod reruns;
mod resets;
mod world;

use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::{Input, Instance};
use crate::codec::{self, Chain};
use crate::record::{Accepted, Happening, Moved, Record, Reset, StateWritten, Step, Turn};
use crate::{Digest, RunId, Timestamp};
use events::unread_events;
use world::{OWNER, Story};

/// Tells many stories, the same in each run unless `PROPTEST_RNG_SEED` is set, and looks at each.
fn in_every_story(holds: impl Fn(&Story)) {
    let usual = Config::default();
    let rng_seed = match usual.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    let config = Config {
        rng_seed,
        failure_persistence: None,
        ..usual
    };
    let told = TestRunner::new(config).run(&(deeds::births(), deeds::deeds()), |(birth, deeds)| {
        holds(&Story::of(&birth, &deeds));
        Ok(())
    });
    if let Err(error) = told {
        panic!("{error}");
    }
}

fn all_unread(instance: &Instance) -> Vec<Input> {
    instance.deliver_first(usize::MAX).inputs
}

#[test]
fn every_decision_can_be_applied_and_what_cannot_changes_nothing() {
    // The world itself applies each decision.
    in_every_story(|story| {
        for stands in &story.stood {
            for impossible in impossible(stands) {
                let mut after = stands.clone();
                assert!(after.apply(&impossible).is_err(), "{impossible:?}");
                assert_eq!(&after, stands, "{impossible:?}");
            }
        }
    });
}

/// Records that no instance which stands so can have next.
fn impossible(stands: &Instance) -> Vec<Record> {
    let at = Timestamp(1);
    let inputs = all_unread(stands).len() as u32 + 1;
    let event = Record::Accepted(Accepted {
        at,
        what: Happening::Resumed,
        key: None,
    });
    let copy = |record: &Record| Record::Copied(Box::new(record.clone()));
    let greedy = Record::Turn(Box::new(turn(at, inputs)));
    let mut found = vec![
        Record::Started(Box::new(stands.started().clone())),
        Record::StateWritten(StateWritten {
            at,
            writes: Vec::new(),
        }),
        copy(&copy(&event)),
        moved(Digest::of(b"no module of its"), at),
        copy(&greedy),
        greedy,
    ];
    if !stands.fresh() {
        found.push(reset(at));
    }
    if stands.status().has_ended() {
        found.push(moved(stands.module(), at));
        found.push(event);
    }
    found
}

fn moved(from: Digest, at: Timestamp) -> Record {
    Record::Moved(Moved {
        at,
        from,
        to: Digest::of(b"elsewhere"),
        contract: "0.1.0".into(),
        features: 1,
        input_changes_allowed: false,
        turns: 0,
    })
}

fn reset(at: Timestamp) -> Record {
    Record::Reset(Reset {
        at,
        run: RunId(5),
        turn: 1,
        turns_lost: 1,
        tasks_kept: 0,
    })
}

fn turn(at: Timestamp, inputs: u32) -> Turn {
    Turn {
        at,
        inputs,
        commands: Vec::new(),
        state: Vec::new(),
        step: Step::Waiting,
        log: Vec::new(),
    }
}

#[test]
fn the_fold_of_what_is_written_is_the_instance_at_every_cut() {
    in_every_story(|story| {
        let mut folded: Option<Instance> = None;
        let mut before = Chain::default();
        for (index, bytes) in story.written.iter().enumerate() {
            let read = codec::decode(bytes).unwrap();
            assert_eq!((read.owner, read.chain), (OWNER, before));
            assert_eq!(read.record, story.history[index]);
            let mut next = match (folded, read.record) {
                (None, Record::Started(started)) => Instance::begin(*started),
                (None, other) => panic!("{other:?} begins nothing"),
                (Some(mut instance), record) => {
                    instance.apply(&record).unwrap();
                    instance
                }
            };
            before = Chain::to(bytes);
            next.link(before);
            assert_eq!(next, story.stood[index]);
            folded = Some(next);
        }
    });
}

#[test]
fn the_kept_part_of_a_history_tells_the_whole_instance() {
    in_every_story(|story| {
        for (cut, stands) in story.stood.iter().enumerate() {
            let from_kept = fold_from(story, stands.kept_from(), cut);
            assert_eq!(&from_kept, stands);
            // The generation alone does not know where the one before it began.
            let mut from_generation = fold_from(story, stands.generation_from(), cut);
            from_generation.begun[0] = stands.begun[0];
            assert_eq!(&from_generation, stands);
        }
    });
}

fn fold_from(story: &Story, from: u64, to: usize) -> Instance {
    let mut instance = Instance::begin_at(story.start(from), from);
    let rest = from as usize + 1..=to;
    for record in &story.history[rest] {
        instance.apply(record).unwrap();
    }
    instance.link(Chain::to(&story.written[to]));
    instance
}

#[test]
fn a_new_generation_takes_over_all_but_its_tasks() {
    in_every_story(|story| {
        for (stood, record) in story.stood.iter().zip(&story.history[1..]) {
            let Record::Started(started) = record else {
                continue;
            };
            let next = Instance::begin_at(started.as_ref().clone(), 0);
            let (was, is) = (stood.started(), next.started());
            assert_eq!(was.generation + 1, is.generation);
            assert_eq!((&was.id, was.run), (&is.id, is.run));
            assert_eq!((&was.parent, &was.tags), (&is.parent, &is.tags));
            assert_eq!(was.created_at, is.created_at);
            let shown = |it: &Instance| {
                (
                    (it.turns(), it.updates(), it.first_input().clone()),
                    (it.suspended().cloned(), it.custom_status().cloned()),
                    (it.deliver_first(0).not_before, all_unread(it)),
                    (unread_events(it), it.keys.clone()),
                )
            };
            assert_eq!(shown(stood), shown(&next));
            assert!(next.fresh() && next.tasks().is_empty());
        }
    });
}
