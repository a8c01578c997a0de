//! Children and their parents, and activities whose time is over.

use super::*;
use crate::RetryPolicy;
use crate::decide::{ParentStands, TaskFence};
use crate::kind;
use crate::record::Parent;

const NOW: Timestamp = Timestamp(1_000);

fn starts(task: u32) -> Command {
    let retry = RetryPolicy {
        max_attempts: 2,
        first_delay: 50,
        backoff: 1.0,
        max_delay: 50,
        jitter: 0.0,
        final_kinds: Vec::new(),
    };
    Command::CallWorkflow {
        task: TaskId(task),
        name: name("Ship"),
        input: Json::null(),
        options: ChildOptions {
            retry: Some(retry),
            ..ChildOptions::default()
        },
    }
}

fn of(task: u32) -> TaskFence {
    TaskFence {
        run: RunId(1),
        generation: 0,
        task: TaskId(task),
    }
}

fn busy() -> Failure {
    Failure::retryable("busy", "try later")
}

fn parent() -> Instance {
    fold([turn(0, vec![starts(1), calls(2), awaits(3)])])
}

/// The parent after the first start of its child has failed.
fn failed_once() -> Instance {
    let mut instance = parent();
    let failed = decide::end_child(&instance, of(1), 1, Err(busy()), NOW).unwrap();
    instance.apply(&failed).unwrap();
    instance
}

#[test]
fn a_child_that_failed_is_started_again_after_its_delay() {
    let again = failed_once();
    let TaskState::Child {
        attempt,
        ready_at,
        last_failure,
        ..
    } = &again.tasks()[&TaskId(1)].state
    else {
        panic!("task 1 is no child");
    };
    assert_eq!((*attempt, *ready_at), (2, Timestamp(1_050)));
    assert_eq!(last_failure, &Some(busy()));
    assert!(again.deliver().inputs.is_empty());
}

#[test]
fn the_last_failure_of_a_child_ends_its_task() {
    let mut instance = failed_once();
    let failed = decide::end_child(&instance, of(1), 2, Err(busy()), NOW).unwrap();
    instance.apply(&failed).unwrap();
    let completed = Input::Completed {
        task: TaskId(1),
        outcome: Err(busy()),
    };
    assert_eq!(instance.deliver().inputs, [completed]);
    assert!(!instance.tasks().contains_key(&TaskId(1)));
}

#[test]
fn a_child_that_succeeded_or_was_ended_from_outside_is_not_started_again() {
    let outcomes = [
        Ok(json("1")),
        Err(Failure::last("broken", "no use")),
        Err(Failure::retryable(kind::CANCELLED, "it was asked to")),
        Err(Failure::retryable(kind::TERMINATED, "it was")),
    ];
    for outcome in outcomes {
        let record = decide::end_child(&parent(), of(1), 1, outcome.clone(), NOW);
        let ended = Happening::TaskEnded {
            task: TaskId(1),
            outcome,
        };
        let accepted = Accepted {
            at: NOW,
            what: ended,
            key: None,
        };
        assert_eq!(record, Ok(Record::Accepted(accepted)));
    }
}

#[test]
fn the_end_of_a_child_that_is_not_waited_for_is_refused() {
    let other_run = TaskFence {
        run: RunId(2),
        ..of(1)
    };
    let other_generation = TaskFence {
        generation: 1,
        ..of(1)
    };
    let cases = [
        (parent(), of(1), 2),
        (failed_once(), of(1), 1),
        (parent(), of(2), 1),
        (parent(), of(4), 1),
        (parent(), other_run, 1),
        (parent(), other_generation, 1),
    ];
    for (instance, of, attempt) in cases {
        for outcome in [Ok(json("1")), Err(busy())] {
            let refused = decide::end_child(&instance, of, attempt, outcome, NOW);
            assert_eq!(refused, Err(Refused::Stale), "{of:?}, attempt {attempt}");
        }
    }
}

fn born_of(detached: bool) -> Parent {
    Parent {
        id: "order-7".parse().unwrap(),
        run: RunId(1),
        generation: 0,
        task: TaskId(1),
        attempt: 1,
        detached,
    }
}

#[test]
fn a_parent_stands_as_its_history_says() {
    let ended = |step| fold([turn_with(0, vec![starts(1)], step)]);
    let terminated = |recursive| {
        let mut instance = parent();
        let end = decide::terminate(&instance, None, recursive, None, NOW).unwrap();
        instance.apply(&end).unwrap();
        instance
    };
    let again = Step::ContinuedAsNew {
        input: Json::null(),
        current_module: false,
    };
    let other_run = |step| {
        let run = RunId(2);
        let mut other = Instance::begin(Started { run, ..started() });
        other.apply(&turn_with(0, vec![starts(1)], step)).unwrap();
        other
    };
    let cases = [
        (parent(), ParentStands::Waits),
        (failed_once(), ParentStands::GaveUp),
        (
            fold([turn(0, vec![starts(1)]), turn(0, vec![cancels(1)])]),
            ParentStands::GaveUp,
        ),
        (fold([turn(0, vec![calls(1)])]), ParentStands::GaveUp),
        (ended(again), ParentStands::GaveUp),
        (other_run(Step::Waiting), ParentStands::Waits),
        (other_run(Step::Cancelled), ParentStands::Waits),
        (ended(Step::Completed(json("1"))), ParentStands::Ended),
        (ended(Step::Failed(busy())), ParentStands::Ended),
        (ended(Step::Cancelled), ParentStands::Ended),
        (
            terminated(false),
            ParentStands::Terminated { recursive: false },
        ),
        (
            terminated(true),
            ParentStands::Terminated { recursive: true },
        ),
    ];
    for (number, (instance, stands)) in cases.into_iter().enumerate() {
        let seen = decide::parent_stands(&instance, &born_of(false));
        assert_eq!(seen, stands, "case {number}");
    }
}

#[test]
fn a_child_ends_with_its_parent_unless_it_is_detached() {
    let child = |parent| {
        Instance::begin(Started {
            parent,
            ..started()
        })
    };
    let cancelled = |what: &str| {
        let reason = Some(format!("its parent `order-7` {what}"));
        decide::request_cancel(&child(None), reason, None, NOW)
    };
    let reason = Some("its parent `order-7` was terminated".to_owned());
    let terminated = decide::terminate(&child(None), reason, true, None, NOW);
    let cases = [
        (ParentStands::Waits, Err(Refused::Stale)),
        (ParentStands::GaveUp, cancelled("gave it up")),
        (ParentStands::Ended, cancelled("has ended")),
        (
            ParentStands::Terminated { recursive: false },
            Err(Refused::Stale),
        ),
        (ParentStands::Terminated { recursive: true }, terminated),
    ];
    for (stands, asked) in cases {
        let end = |child: &Instance| decide::end_with_parent(child, stands, NOW);
        assert_eq!(end(&child(Some(born_of(false)))), asked, "{stands:?}");
        assert_eq!(end(&child(Some(born_of(true)))), Err(Refused::Stale));
        assert_eq!(end(&child(None)), Err(Refused::Stale));
    }
}

#[test]
fn a_child_that_was_asked_to_stop_is_not_asked_again() {
    let mut child = Instance::begin(Started {
        parent: Some(born_of(false)),
        ..started()
    });
    let asked = decide::end_with_parent(&child, ParentStands::GaveUp, NOW).unwrap();
    child.apply(&asked).unwrap();
    let again = decide::end_with_parent(&child, ParentStands::Ended, NOW);
    assert_eq!(again, Err(Refused::Stale));
}

#[test]
fn an_activity_whose_time_is_over_fails_and_not_before() {
    let mut call = calls(1);
    if let Command::CallActivity { options, .. } = &mut call {
        options.total_timeout = Some(500);
    }
    // Asked at 300, so that its time is over at 800.
    let mut instance = fold([turn(0, vec![call, calls(2), awaits(3)])]);
    for (task, now) in [(1, 799), (2, 9_000), (3, 9_000), (4, 9_000)] {
        let early = decide::time_out(&instance, of(task), Timestamp(now));
        assert_eq!(early, Err(Refused::Stale), "task {task} at {now}");
    }
    let stale = TaskFence {
        generation: 1,
        ..of(1)
    };
    let refused = decide::time_out(&instance, stale, Timestamp(800));
    assert_eq!(refused, Err(Refused::Stale));
    let over = decide::time_out(&instance, of(1), Timestamp(800)).unwrap();
    instance.apply(&over).unwrap();
    let inputs = instance.deliver().inputs;
    let [
        Input::Completed {
            task,
            outcome: Err(failure),
        },
    ] = &inputs[..]
    else {
        panic!("{inputs:?}");
    };
    assert_eq!((task.0, failure.kind.as_str()), (1, kind::TIMEOUT));
    assert!(!instance.tasks().contains_key(&TaskId(1)));
}
