//! What histories make of an instance.

mod children;
mod due;
mod generations;
mod moving;
mod requests;

use super::*;
use crate::Digest;
use crate::RunId;
use crate::decide::{self, Refused, TurnFence};

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn started() -> Started {
    Started {
        id: "order-7".parse().unwrap(),
        run: RunId(1),
        generation: 0,
        workflow: name("Order"),
        module: Digest::of(b"module"),
        contract: "0.1.0".into(),
        features: 1,
        seed: 1,
        input: Json::null(),
        parent: None,
        tags: Vec::new(),
        at: Timestamp(100),
        created_at: Timestamp(100),
        events: Vec::new(),
        begins_at: None,
        key: None,
        carried: None,
        reruns: Vec::new(),
        trace: None,
    }
}

pub(super) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn raised(payload: &str) -> Record {
    let event = Event {
        name: name("go"),
        payload: json(payload),
    };
    Record::Accepted(Accepted {
        at: Timestamp(200),
        what: Happening::EventRaised(event),
        key: None,
    })
}

fn awaits(task: u32) -> Command {
    Command::AwaitEvent {
        task: TaskId(task),
        name: name("GO"),
    }
}

fn cancels(task: u32) -> Command {
    Command::Cancel { task: TaskId(task) }
}

fn turn_with(inputs: u32, commands: Vec<Command>, step: Step) -> Record {
    let at = Timestamp(300);
    let (state, log) = (Vec::new(), Vec::new());
    Record::Turn(Box::new(Turn {
        at,
        inputs,
        commands,
        state,
        step,
        log,
    }))
}

fn turn(inputs: u32, commands: Vec<Command>) -> Record {
    turn_with(inputs, commands, Step::Waiting)
}

fn fold(records: impl IntoIterator<Item = Record>) -> Instance {
    let mut instance = Instance::begin(started());
    for record in records {
        instance.apply(&record).unwrap();
    }
    instance
}

/// The completions that are unread, as `task:payload`.
fn unread(instance: &Instance) -> Vec<String> {
    let one = |input: &Input| match input {
        Input::Completed {
            task,
            outcome: Ok(json),
        } => format!("{task}:{json}"),
        other => format!("{other:?}"),
    };
    instance.deliver().inputs.iter().map(one).collect()
}

#[test]
fn an_event_that_comes_before_anyone_waits_is_kept() {
    let instance = fold([
        turn(0, vec![]),
        raised("1"),
        raised("2"),
        turn(0, vec![awaits(1)]),
    ]);
    assert_eq!(unread(&instance), ["1:1"]);
    assert_eq!(instance.unread_events().len(), 1);
}

#[test]
fn events_go_to_those_who_wait_oldest_to_oldest() {
    let instance = fold([
        turn(0, vec![awaits(1), awaits(2)]),
        raised("1"),
        raised("2"),
    ]);
    assert_eq!(unread(&instance), ["1:1", "2:2"]);
}

#[test]
fn a_cancelled_wait_puts_its_event_back_in_its_place() {
    // Delivered, and the guest dropped the future without looking.
    let delivered = [turn(0, vec![awaits(1)]), raised("1"), raised("2")];
    let instance = fold(
        delivered
            .clone()
            .into_iter()
            .chain([turn(1, vec![cancels(1), awaits(2)])]),
    );
    assert_eq!(unread(&instance), ["2:1"]);
    // Not yet delivered.
    let instance = fold(
        delivered
            .into_iter()
            .chain([turn(0, vec![cancels(1), awaits(2)])]),
    );
    assert_eq!(unread(&instance), ["2:1"]);
    assert_eq!(instance.unread_events()[0].payload, json("2"));
}

#[test]
fn an_event_that_goes_back_reaches_the_next_who_waits() {
    let instance = fold([
        turn(0, vec![awaits(1), awaits(2)]),
        raised("1"),
        turn(0, vec![cancels(1)]),
    ]);
    assert_eq!(unread(&instance), ["2:1"]);
}

#[test]
fn unread_events_move_to_the_next_generation_and_its_tasks_do_not() {
    let input = json("1");
    let step = Step::ContinuedAsNew {
        input,
        current_module: false,
    };
    let before = fold([turn(0, vec![awaits(1)]), raised("1"), raised("2")]);
    let Record::Turn(last) = turn_with(0, vec![awaits(2)], step) else {
        unreachable!()
    };
    let records = decide::take_turn(&before, TurnFence::of(&before), *last, None).unwrap();
    let mut after = before;
    for record in &records {
        after.apply(record).unwrap();
    }
    assert!(after.tasks().is_empty());
    assert_eq!(after.started().generation, 1);
    let payloads: Vec<_> = after
        .unread_events()
        .into_iter()
        .map(|it| it.payload)
        .collect();
    assert_eq!(payloads, [json("1"), json("2")]);
    assert_eq!((after.turns(), after.fresh()), (2, true));
}

#[test]
fn a_turn_is_never_before_the_timers_that_it_tells_of() {
    let timer = Command::CreateTimer {
        task: TaskId(1),
        fires_at: Timestamp(900),
    };
    let before = fold([turn(0, vec![timer])]);
    assert_eq!(
        decide::fire_timer(&before, TaskId(1), Timestamp(899)),
        Err(Refused::Stale)
    );
    let fired = decide::fire_timer(&before, TaskId(1), Timestamp(900)).unwrap();
    let mut after = before;
    after.apply(&fired).unwrap();
    // The clock has gone back since.
    let not_before = after.deliver().not_before;
    assert_eq!(
        decide::turn_time(not_before, Timestamp(500)),
        Timestamp(900)
    );
}

#[test]
fn a_turn_of_a_guest_that_stands_elsewhere_is_refused() {
    let before = fold([turn(0, vec![awaits(1)]), raised("1")]);
    let fence = TurnFence::of(&before);
    let Record::Turn(next) = turn(1, vec![]) else {
        unreachable!()
    };
    assert!(decide::take_turn(&before, fence, (*next).clone(), None).is_ok());
    let elsewhere = [
        TurnFence { turns: 0, ..fence },
        TurnFence {
            generation: 1,
            ..fence
        },
        TurnFence {
            run: RunId(2),
            ..fence
        },
        TurnFence {
            module: Digest::of(b"other"),
            ..fence
        },
    ];
    for fence in elsewhere {
        let refused = decide::take_turn(&before, fence, (*next).clone(), None);
        assert_eq!(refused, Err(Refused::Stale), "{fence:?}");
    }
}

#[test]
fn nothing_follows_the_end() {
    let mut ended = fold([turn_with(0, vec![awaits(1)], Step::Completed(Json::null()))]);
    assert_eq!(ended.status(), Status::Completed);
    assert!(ended.tasks().is_empty() && ended.turn_due_at().is_none());
    let before = ended.clone();
    assert!(ended.apply(&raised("1")).is_err());
    assert_eq!(ended, before);
}

#[test]
fn a_turn_that_takes_more_than_there_is_breaks_the_history() {
    let mut instance = fold([turn(0, vec![])]);
    let error = instance.apply(&turn(1, vec![])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the history is broken: record 2: a turn took more inputs than there were"
    );
}

fn calls(task: u32) -> Command {
    Command::CallActivity {
        task: TaskId(task),
        name: name("Pay"),
        input: Json::null(),
        options: ActivityOptions::default(),
    }
}

#[test]
fn a_stalled_task_stays_so_while_others_move() {
    let reason = StallReason::ActivityMissing {
        activity: name("Pay"),
    };
    let mut instance = fold([turn(0, vec![calls(1), awaits(2)])]);
    let stall = |instance: &Instance| {
        decide::stall(instance, Some(TaskId(1)), reason.clone(), Timestamp(1))
    };
    let record = stall(&instance).unwrap();
    instance.apply(&record).unwrap();
    assert_eq!(stall(&instance), Err(Refused::Stale));
    instance.apply(&raised("1")).unwrap();
    instance.apply(&turn(1, vec![])).unwrap();
    assert_eq!(
        (instance.status(), instance.stall()),
        (Status::Stalled, Some(&reason))
    );
    let record = decide::unstall(&instance, TaskId(1), Timestamp(2)).unwrap();
    instance.apply(&record).unwrap();
    assert_eq!(instance.status(), Status::Running);
    assert_eq!(
        decide::unstall(&instance, TaskId(1), Timestamp(3)),
        Err(Refused::Stale)
    );
}

#[test]
fn a_stalled_code_is_tried_again_by_its_next_turn() {
    let reason = StallReason::Limit {
        message: "too long".into(),
    };
    let mut instance = fold([turn(0, vec![])]);
    let stall = decide::stall(&instance, None, reason, Timestamp(1)).unwrap();
    instance.apply(&stall).unwrap();
    assert_eq!(instance.status(), Status::Stalled);
    instance.apply(&turn(0, vec![])).unwrap();
    assert_eq!(instance.status(), Status::Running);
}

#[test]
fn a_cancellation_that_no_turn_has_taken_reaches_the_next_generation() {
    let cancel = Happening::CancelRequested { reason: None };
    let cancel = Record::Accepted(Accepted {
        at: Timestamp(200),
        what: cancel,
        key: None,
    });
    let before = fold([turn(0, vec![awaits(1)]), raised("1"), cancel]);
    let step = Step::ContinuedAsNew {
        input: Json::null(),
        current_module: false,
    };
    let Record::Turn(last) = turn_with(1, vec![], step) else {
        unreachable!()
    };
    let records = decide::take_turn(&before, TurnFence::of(&before), *last, None).unwrap();
    let mut after = before.clone();
    for record in &records {
        after.apply(record).unwrap();
    }
    after.apply(&turn(0, vec![])).unwrap();
    assert_eq!(
        after.deliver().inputs,
        [Input::CancelRequested { reason: None }]
    );
    assert!(after.cancel_requested());
    assert_ne!(after.started().seed, before.started().seed);
}
