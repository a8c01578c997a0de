//! What is due, and when.

use super::*;
use crate::record::Parent;
use crate::{DurationMs, RetryPolicy, Work};

fn sleeps(task: u32, until: u64) -> Command {
    Command::CreateTimer {
        task: TaskId(task),
        fires_at: Timestamp(until),
    }
}

fn calls_within(task: u32, total_timeout: DurationMs) -> Command {
    Command::CallActivity {
        task: TaskId(task),
        name: name("Pay"),
        input: Json::null(),
        options: ActivityOptions {
            total_timeout: Some(total_timeout),
            ..ActivityOptions::default()
        },
    }
}

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

fn stalled(task: Option<u32>) -> Record {
    let reason = StallReason::Limit {
        message: "too long".into(),
    };
    let any = fold([turn(0, vec![calls(1), starts(1), starts(2)])]);
    decide::stall(&any, task.map(TaskId), reason, Timestamp(1)).unwrap()
}

fn child_failed(task: u32, retry_at: u64) -> Record {
    Record::Accepted(Accepted {
        at: Timestamp(350),
        what: Happening::ChildFailed {
            task: TaskId(task),
            failure: Failure::retryable("busy", "try later"),
            retry_at: Timestamp(retry_at),
        },
        key: None,
    })
}

fn suspended() -> Record {
    Record::Accepted(Accepted {
        at: Timestamp(350),
        what: Happening::Suspended { reason: None },
        key: None,
    })
}

#[test]
fn what_time_brings_is_due_at_its_time_and_what_goes_on_unseen_when_a_host_starts() {
    // What happened; when it is due; whether it is at the start of a host. Turns are at 300.
    let rows: Vec<(Vec<Record>, Option<u64>, bool)> = vec![
        (vec![], Some(0), false),
        (vec![turn(0, vec![])], None, false),
        (vec![turn(0, vec![awaits(1)])], None, false),
        (vec![turn(0, vec![awaits(1)]), raised("1")], Some(0), false),
        (
            vec![
                turn(0, vec![awaits(1), sleeps(2, 900)]),
                suspended(),
                raised("1"),
            ],
            Some(900),
            false,
        ),
        (
            vec![turn(0, vec![sleeps(1, 900), sleeps(2, 800)])],
            Some(800),
            false,
        ),
        (
            vec![turn(0, vec![calls(1), sleeps(2, 900)])],
            Some(300),
            false,
        ),
        (vec![turn(0, vec![calls_within(1, 40)])], Some(300), false),
        // A child may run for years.
        (vec![turn(0, vec![starts(1)])], None, true),
        (
            vec![turn(0, vec![starts(1), sleeps(2, 900)])],
            Some(900),
            true,
        ),
        (
            vec![
                turn(0, vec![starts(1), sleeps(2, 900)]),
                child_failed(1, 400),
            ],
            Some(400),
            false,
        ),
        // What is stalled is tried again by somebody else.
        (vec![turn(0, vec![calls(1)]), stalled(Some(1))], None, true),
        (
            vec![
                turn(0, vec![calls_within(1, 40), sleeps(2, 900)]),
                stalled(Some(1)),
            ],
            Some(340),
            true,
        ),
        (
            vec![
                turn(0, vec![awaits(1), sleeps(2, 900)]),
                raised("1"),
                stalled(None),
            ],
            Some(900),
            true,
        ),
        (
            vec![
                turn(0, vec![starts(1), sleeps(2, 900)]),
                turn_with(0, vec![], Step::Cancelled),
            ],
            None,
            false,
        ),
    ];
    for (records, due, at_start) in rows {
        let instance = fold(records.clone());
        assert_eq!(instance.next_due_at(), due.map(Timestamp), "{records:?}");
        assert_eq!(instance.is_due_at_start(), at_start, "{records:?}");
    }
}

#[test]
fn one_that_begins_later_is_due_then() {
    let begins_at = Some(Timestamp(5_000));
    let later = Instance::begin(Started {
        begins_at,
        ..started()
    });
    assert_eq!(later.next_due_at(), begins_at);
}

#[test]
fn a_child_looks_at_its_parent_when_a_host_starts_until_it_has_ended() {
    let child = |detached: bool| {
        Instance::begin(Started {
            parent: Some(Parent {
                id: "order-6".parse().unwrap(),
                run: RunId(2),
                generation: 0,
                task: TaskId(1),
                attempt: 1,
                detached,
            }),
            ..started()
        })
    };
    let mut attached = child(false);
    assert!(attached.is_due_at_start() && !child(true).is_due_at_start());
    let end = turn_with(0, vec![], Step::Completed(Json::null()));
    attached.apply(&end).unwrap();
    assert!(!attached.is_due_at_start());
}

#[test]
fn an_activity_asks_for_its_attempt_and_for_its_end() {
    let instance = fold([turn(0, vec![calls_within(1, 40), awaits(2)])]);
    let asks = |task| {
        instance
            .work_of(TaskId(task))
            .map(|(work, at)| (work, at.0))
    };
    let asked: Vec<_> = asks(1).collect();
    assert!(
        matches!(
            asked[..],
            [(Work::Attempt(_), 300), (Work::Deadline(_), 340)]
        ),
        "{asked:?}"
    );
    assert_eq!(asks(2).count() + asks(9).count(), 0);
}
