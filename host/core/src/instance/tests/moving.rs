//! Instances that are moved to another module, and those that are reset.

use super::*;
use crate::decide::{Move, ParentStands, TaskFence};
use crate::record::{ActivityOptions, Attempt, AttemptStarted, Parent, Stalled};
use crate::reset::{Cut, Parted};

fn to(module: &str) -> Move {
    Move {
        to: Digest::of(module.as_bytes()),
        contract: "0.2.0".into(),
        features: 7,
        input_changes_allowed: true,
        turns: 2,
    }
}

fn moved(instance: &Instance, module: &str) -> Result<Record, Refused> {
    let fence = TurnFence::of(instance);
    decide::move_to(instance, fence, to(module), Timestamp(900))
}

fn calls_at_most_once(task: u32) -> Command {
    Command::CallActivity {
        task: TaskId(task),
        name: name("Pay"),
        input: json("1"),
        options: ActivityOptions {
            at_most_once: true,
            ..ActivityOptions::default()
        },
    }
}

fn child(task: u32) -> Command {
    Command::CallWorkflow {
        task: TaskId(task),
        name: name("Ship"),
        input: json("1"),
        options: ChildOptions::default(),
    }
}

#[test]
fn a_moved_instance_runs_on_the_other_module_from_there_on() {
    let mut instance = fold([turn(0, vec![awaits(1)]), raised("1"), turn(1, vec![])]);
    let (before, fence) = (instance.clone(), TurnFence::of(&instance));
    instance.apply(&moved(&before, "new").unwrap()).unwrap();
    assert_eq!(instance.module(), Digest::of(b"new"));
    assert_eq!(instance.started().contract, "0.2.0");
    assert_eq!(instance.started().features, 7);
    assert_eq!((before.moved_after(), instance.moved_after()), (0, 2));
    assert_eq!(instance.turns(), 2);
    // A turn of the old code comes too late.
    let Record::Turn(late) = turn(0, vec![]) else {
        unreachable!()
    };
    let late = decide::take_turn(&instance, fence, *late, None);
    assert_eq!(late, Err(Refused::Stale));
}

#[test]
fn a_move_is_refused_if_the_instance_has_gone_on_or_ended_or_is_there() {
    let instance = fold([turn(0, vec![])]);
    let fence = TurnFence::of(&instance);
    let refused = |it: &Instance, module| decide::move_to(it, fence, to(module), Timestamp(1));
    assert_eq!(refused(&instance, "module"), Err(Refused::Stale));
    let on = fold([turn(0, vec![]), turn(0, vec![])]);
    assert_eq!(refused(&on, "new"), Err(Refused::Stale));
    let ended = fold([turn_with(0, vec![], Step::Completed(json("1")))]);
    assert_eq!(refused(&ended, "new"), Err(Refused::Ended));
}

#[test]
fn a_move_ends_the_stall_of_the_code_and_no_other() {
    let stalled = |task| {
        Record::Stalled(Stalled {
            at: Timestamp(1),
            task,
            reason: StallReason::Divergence {
                message: "it differs".into(),
            },
        })
    };
    let mut instance = fold([
        turn(0, vec![child(1), awaits(2)]),
        raised("1"),
        stalled(None),
        stalled(Some(TaskId(1))),
    ]);
    assert_eq!(instance.next_due_at(), None);
    instance.apply(&moved(&instance, "new").unwrap()).unwrap();
    assert_eq!(instance.stalled_code(), None);
    assert!(instance.stalled_tasks().contains_key(&TaskId(1)));
    assert_eq!(instance.next_due_at(), Some(Timestamp(0)));
}

#[test]
fn the_next_generation_goes_on_where_the_last_was_moved_to() {
    let mut instance = fold([turn(0, vec![])]);
    instance.apply(&moved(&instance, "new").unwrap()).unwrap();
    let again = Step::ContinuedAsNew {
        input: json("5"),
        current_module: false,
    };
    let Record::Turn(last) = turn_with(0, vec![], again) else {
        unreachable!()
    };
    let fence = TurnFence::of(&instance);
    for record in decide::take_turn(&instance, fence, *last, None).unwrap() {
        instance.apply(&record).unwrap();
    }
    assert_eq!(instance.module(), Digest::of(b"new"));
    assert_eq!(
        (instance.moved_after(), instance.started().features),
        (0, 7)
    );
}

fn reset(records: &[Record], turn: u64) -> Parted {
    reset_of(started(), records, turn, 2)
}

fn reset_of(start: Started, records: &[Record], turn: u64, run: u128) -> Parted {
    let mut cut = Cut::new(start, turn);
    records.iter().cloned().for_each(|it| cut.take(it));
    cut.part(RunId(run), 5, Timestamp(950)).unwrap()
}

#[test]
fn a_reset_keeps_what_came_and_lists_what_was_done() {
    let ended = |task: u32| {
        Record::Accepted(Accepted {
            at: Timestamp(310),
            what: Happening::TaskEnded {
                task: TaskId(task),
                outcome: Ok(json("3")),
            },
            key: None,
        })
    };
    let timer = Command::CreateTimer {
        task: TaskId(5),
        fires_at: Timestamp(777),
    };
    let records = [
        turn(0, vec![awaits(1), child(2)]),
        raised("1"),
        turn(1, vec![child(3), calls_at_most_once(4), timer]),
        raised("2"),
        ended(2),
        ended(3),
        turn(2, vec![awaits(6)]),
    ];
    let Parted { instance, lost, .. } = reset(&records, 2);
    // The first event was read in a turn that is lost, the second came after it.
    assert_eq!(unread(&instance), ["1:1", "2:3"]);
    assert_eq!(instance.unread_events().len(), 1);
    assert_eq!((instance.turns(), lost.turns), (1, 2));
    let child = &lost.children[0];
    assert_eq!((child.task, child.ended), (TaskId(3), true));
    assert_eq!(child.id.as_ref().unwrap().as_str(), "order-7-0-3");
    let activity = &lost.activities[0];
    assert_eq!((activity.task, activity.completed), (TaskId(4), false));
    assert_eq!(lost.timers[0].fires_at, Timestamp(777));
    assert!(lost.begun_anew.is_empty());
}

/// It had begun before the reset; that it had is known after.
#[test]
fn an_attempt_that_may_run_once_does_not_run_again_after_a_reset() {
    let records = [
        turn(0, vec![calls_at_most_once(1)]),
        Record::AttemptStarted(AttemptStarted {
            task: TaskId(1),
            number: 1,
            module: Digest::of(b"worker"),
            at: Timestamp(301),
        }),
        turn(0, vec![]),
    ];
    let Parted { instance, lost, .. } = reset(&records, 2);
    let TaskState::Activity { starts, stops, .. } = &instance.tasks()[&TaskId(1)].state else {
        panic!("{:?}", instance.tasks());
    };
    assert_eq!((*starts, *stops), (1, 1));
    assert_eq!(lost.begun_anew.len(), 1);
    assert!(lost.begun_anew[0].effectful);
}

#[test]
fn an_attempt_that_ended_since_is_kept_and_what_it_wrote_is_not_written_again() {
    let attempt = Attempt {
        task: TaskId(1),
        number: 1,
        module: Digest::of(b"worker"),
        contained: true,
        started_at: Timestamp(301),
        ended_at: Timestamp(302),
        outcome: Ok(json("8")),
        retry_at: None,
        log: Vec::new(),
        writes: vec![crate::record::StateWrite {
            key: "k".into(),
            value: Some(json("1")),
            expires_at: None,
        }],
    };
    let records = [
        turn(0, vec![calls_at_most_once(1)]),
        turn(0, vec![]),
        Record::Attempt(Box::new(attempt)),
    ];
    let parted = reset(&records, 2);
    assert_eq!(unread(&parted.instance), ["1:8"]);
    assert!(parted.records.iter().all(|it| it.writes().next().is_none()));
    assert!(parted.lost.keys_written.is_empty());
}

fn parent_of(run: u128, task: u32) -> Parent {
    Parent {
        id: "order-7".parse().unwrap(),
        run: RunId(run),
        generation: 0,
        task: TaskId(task),
        attempt: 1,
        detached: false,
    }
}

#[test]
fn children_of_kept_turns_stay_and_those_of_lost_turns_are_given_up() {
    use ParentStands::{GaveUp, Waits};
    let records = [turn(0, vec![child(1), awaits(2)]), turn(0, vec![child(3)])];
    let once = reset(&records, 2);
    // It asks the same again, and then once more something.
    let again: Vec<_> = once
        .records
        .iter()
        .cloned()
        .chain([turn(0, vec![child(3)]), turn(0, vec![child(4)])])
        .collect();
    let asked = again[again.len() - 2..].iter();
    let before = asked.fold(once.instance.clone(), |mut it, record| {
        it.apply(record).unwrap();
        it
    });
    let twice = reset_of(once.started.clone(), &again, 3, 3).instance;
    // It asks for the first once more, under the number that it had.
    let mut start_over = reset_of(once.started, &again, 1, 4).instance;
    start_over.apply(&turn(0, vec![child(1)])).unwrap();
    let cases = [
        (&once.instance, 1, 1, Waits),
        (&once.instance, 1, 3, GaveUp),
        (&before, 1, 3, GaveUp),
        (&before, 2, 3, Waits),
        (&twice, 1, 1, Waits),
        (&twice, 1, 3, GaveUp),
        (&twice, 2, 3, Waits),
        (&twice, 2, 4, GaveUp),
        (&start_over, 1, 1, GaveUp),
        (&start_over, 2, 3, GaveUp),
        (&start_over, 4, 1, Waits),
        // Another instance had the id.
        (&twice, 9, 1, Waits),
    ];
    for (parent, run, task, expected) in cases {
        let found = decide::parent_stands(parent, &parent_of(run, task));
        assert_eq!(found, expected, "run {run}, task {task}");
        let of = TaskFence {
            run: RunId(run),
            generation: 0,
            task: TaskId(task),
        };
        let ends = decide::end_child(parent, of, 1, Ok(json("1")), Timestamp(1));
        let waits = expected == Waits && run != 9;
        assert_eq!(ends.is_ok(), waits, "run {run}, task {task}");
    }
}
