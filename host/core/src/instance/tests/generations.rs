//! Generations that stand alone, and reruns that take over the turns of another instance.

use super::*;
use crate::record::{AttemptStopped, Parent, Rerun, StateWritten, Unstalled};
use crate::rerun::{self, Fresh};

/// The turn that ends a generation, and the start of the next.
fn continued(instance: &Instance, inputs: u32, next: Option<Digest>) -> Vec<Record> {
    let step = Step::ContinuedAsNew {
        input: json("5"),
        current_module: next.is_some(),
    };
    let Record::Turn(last) = turn_with(inputs, vec![], step) else {
        unreachable!()
    };
    decide::take_turn(instance, TurnFence::of(instance), *last, next).unwrap()
}

fn applied(mut instance: Instance, records: &[Record]) -> Instance {
    for record in records {
        instance.apply(record).unwrap();
    }
    instance
}

fn accepted(what: Happening) -> Record {
    let (at, key) = (Timestamp(200), Some("one".to_owned()));
    Record::Accepted(Accepted { at, what, key })
}

fn update(id: u32) -> Happening {
    Happening::UpdateRequested {
        id,
        name: name("ask"),
        input: json("1"),
    }
}

#[test]
fn the_start_of_a_generation_says_all_that_those_before_left() {
    let status = Command::SetCustomStatus { status: json("8") };
    let reason = Some("a look".to_owned());
    let before = fold([
        turn(0, vec![awaits(1), calls(2), status]),
        raised("1"),
        raised("2"),
        accepted(update(1)),
        accepted(Happening::Suspended { reason }),
    ]);
    let records = continued(&before, 1, None);
    let whole = applied(before, &records);
    let Record::Started(start) = &records[1] else {
        panic!("{records:?}");
    };
    let alone = Instance::begin_at(start.as_ref().clone(), 7);
    assert_eq!((whole.kept_from(), whole.generation_from()), (0, 7));
    assert_eq!((alone.kept_from(), alone.generation_from()), (7, 7));
    assert_eq!(alone.records(), 8);
    for it in [whole, alone] {
        assert_eq!((it.turns(), it.updates(), it.fresh()), (2, 1, true));
        assert_eq!(it.first_input(), &Json::null());
        assert_eq!(
            (it.started().generation, &it.started().input),
            (1, &json("5"))
        );
        assert_eq!(it.custom_status(), Some(&json("8")));
        assert_eq!(it.unread_events().len(), 1);
        assert!(it.suspended().is_some() && it.tasks().is_empty());
        assert!(it.open_updates().contains(&1));
        assert_eq!(it.asked("one"), Some(Asked::Suspend));
        assert_eq!(it.deliver_first(9).not_before, Timestamp(300));
        assert_eq!(it.deliver_first(9).inputs.len(), 1);
    }
}

#[test]
fn a_generation_moves_to_another_module_only_if_one_is_given() {
    let before = fold([turn(0, vec![])]);
    let other = Digest::of(b"other");
    for (next, module) in [(None, before.module()), (Some(other), other)] {
        let after = applied(before.clone(), &continued(&before, 0, next));
        assert_eq!(after.module(), module);
    }
}

#[test]
fn only_two_generations_are_kept() {
    let mut instance = fold([turn(0, vec![])]);
    for kept in [(0, 3), (3, 5), (5, 7)] {
        let records = continued(&instance, 0, None);
        instance = applied(instance, &records);
        assert_eq!((instance.kept_from(), instance.generation_from()), kept);
    }
}

#[test]
fn a_later_generation_waits_for_no_time_and_is_no_rerun() {
    let before = Instance::begin(Started {
        begins_at: Some(Timestamp(250)),
        reruns: vec![taken_over("first", 1)],
        ..started()
    });
    let after = applied(before.clone(), &continued(&before, 0, None));
    assert_eq!(after.started().begins_at, None);
    assert_eq!(after.turn_due_at(), Some(Timestamp::default()));
    assert!(after.started().reruns.is_empty());
}

fn fresh() -> Fresh {
    Fresh {
        id: "again".parse().unwrap(),
        run: RunId(2),
        seed: 77,
        at: Timestamp(9_000),
    }
}

fn taken_over(id: &str, turns: u64) -> Rerun {
    Rerun {
        id: id.parse().unwrap(),
        run: RunId(1),
        parent: None,
        seed: 1,
        turns,
    }
}

#[test]
fn a_rerun_is_an_instance_of_its_own_that_knows_its_original() {
    let parent = Parent {
        id: "parent".parse().unwrap(),
        run: RunId(9),
        generation: 0,
        task: TaskId(1),
        attempt: 1,
        detached: false,
    };
    let original = Started {
        parent: Some(parent.clone()),
        key: Some("one".into()),
        begins_at: Some(Timestamp(250)),
        tags: vec![("colour".into(), "red".into())],
        ..started()
    };
    let rerun = rerun::start(&original, 3, fresh());
    let origin = Rerun {
        parent: Some(parent.id),
        ..taken_over("order-7", 3)
    };
    let expected = Started {
        id: fresh().id,
        run: fresh().run,
        seed: fresh().seed,
        created_at: fresh().at,
        parent: None,
        key: None,
        begins_at: None,
        reruns: vec![origin],
        ..original
    };
    assert_eq!(rerun, expected);
}

#[test]
fn a_rerun_of_a_rerun_names_each_instance_whose_turns_it_takes_over() {
    let original = Started {
        id: "third".parse().unwrap(),
        reruns: vec![taken_over("first", 2), taken_over("second", 5)],
        ..started()
    };
    let cases = [
        (1, vec![("first", 1)]),
        (2, vec![("first", 2)]),
        (3, vec![("first", 2), ("second", 3)]),
        (5, vec![("first", 2), ("second", 5)]),
        (6, vec![("first", 2), ("second", 5), ("third", 6)]),
    ];
    for (turns, named) in cases {
        let expected: Vec<_> = named.iter().map(|(id, to)| taken_over(id, *to)).collect();
        let rerun = rerun::start(&original, turns, fresh());
        assert_eq!(rerun.reruns, expected, "{turns} turns");
    }
}

/// A generation began while its instance was suspended. Its rerun was so too, and stayed so: the
/// resumption is not copied.
#[test]
fn a_rerun_of_a_generation_that_began_suspended_is_not() {
    let reason = Some("a look".to_owned());
    let before = fold([accepted(Happening::Suspended { reason })]);
    let records = continued(&before, 0, None);
    let Record::Started(start) = &records[1] else {
        panic!("{records:?}");
    };
    let rerun = Instance::begin(rerun::start(start, 0, fresh()));
    assert_eq!(rerun.suspended(), None);
    // The original's request keys are not its own.
    assert_eq!((rerun.turns(), rerun.asked("one")), (1, None));
}

#[test]
fn a_rerun_copies_what_the_guest_was_told_and_what_it_did() {
    let at = Timestamp(1);
    let task = TaskId(1);
    let failure = Failure::last("broken", "no use");
    let attempt = Attempt {
        task,
        number: 1,
        module: Digest::of(b"worker"),
        contained: true,
        started_at: at,
        ended_at: at,
        outcome: Ok(json("1")),
        retry_at: None,
        log: Vec::new(),
        writes: Vec::new(),
    };
    let taken = [
        turn(0, vec![awaits(1)]),
        raised("1"),
        Record::Attempt(Box::new(attempt)),
        accepted(Happening::TimerFired { task }),
        accepted(Happening::TaskEnded {
            task,
            outcome: Ok(json("1")),
        }),
        accepted(Happening::ChildFailed {
            task,
            failure,
            retry_at: at,
        }),
        accepted(Happening::CancelRequested { reason: None }),
        accepted(update(1)),
    ];
    for record in taken {
        let mut inner = record.clone();
        if let Record::Accepted(accepted) = &mut inner {
            accepted.key = None;
        }
        let copied = Record::Copied(Box::new(inner));
        assert_eq!(rerun::copy(record), Some(copied.clone()));
        assert_eq!(rerun::copy(copied.clone()), Some(copied));
    }
    let reason = StallReason::Limit {
        message: "too long".into(),
    };
    let how = EndedHow::Terminated {
        reason: None,
        recursive: false,
    };
    let left = [
        Record::Started(Box::new(started())),
        accepted(Happening::Suspended { reason: None }),
        accepted(Happening::Resumed),
        Record::AttemptStarted(AttemptStarted {
            task,
            number: 1,
            module: Digest::of(b"worker"),
            at,
        }),
        Record::AttemptStopped(AttemptStopped {
            task,
            number: 1,
            begun: true,
            at,
        }),
        Record::Stalled(crate::record::Stalled {
            at,
            task: None,
            reason,
        }),
        Record::Unstalled(Unstalled { at, task }),
        Record::Ended(Ended { at, how, key: None }),
        Record::StateWritten(StateWritten {
            at,
            writes: Vec::new(),
        }),
    ];
    for record in left {
        assert_eq!(rerun::copy(record.clone()), None, "{record:?}");
    }
}

#[test]
fn a_copy_does_what_its_original_did_and_writes_nothing() {
    let write = crate::record::StateWrite {
        key: "k".into(),
        value: Some(json("1")),
        expires_at: None,
    };
    let mut written = turn(1, vec![awaits(2)]);
    if let Record::Turn(turn) = &mut written {
        turn.state.push(crate::record::StateCall::Write {
            write,
            if_version: None,
            refused: None,
        });
    }
    let records = [turn(0, vec![awaits(1)]), raised("1"), raised("2"), written];
    let copies: Vec<_> = records.iter().cloned().filter_map(rerun::copy).collect();
    assert_eq!(fold(copies.clone()), fold(records.clone()));
    assert_eq!(records[3].writes().count(), 1);
    assert_eq!(copies[3].writes().count(), 0);
}
