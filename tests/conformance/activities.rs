//! Activities: retries, timeouts, failures, fan-out.

use serde_json::{Value, json};

use crate::world::{Do, check};

fn scenario(name: &str, program: Value) {
    let steps = || vec![Do::Start("a", program.clone()), Do::Finish];
    check(&format!("activities/{name}"), &["scripted"], steps);
}

#[test]
fn a_failed_attempt_is_followed_by_another_after_a_growing_delay() {
    scenario(
        "retried",
        json!([{ "call": { "name": "Flaky", "input": 4, "attempts": 5 } }]),
    );
}

#[test]
fn retries_end_with_their_number_their_kind_or_a_failure_that_none_can_mend() {
    let call = |kind: &str, retryable: bool| {
        let input = json!({ "kind": kind, "retryable": retryable });
        json!({ "call": {
            "name": "Fails", "input": input, "attempts": 3, "final-kind": "hopeless",
        } })
    };
    let tries = [("any", true), ("hopeless", true), ("any", false)];
    let tries = tries.map(|(kind, retryable)| json!({ "try": [[call(kind, retryable)], []] }));
    scenario("not-retried", json!(tries));
}

#[test]
fn the_total_timeout_ends_the_retries_before_their_number_does() {
    scenario(
        "total-timeout",
        json!([{ "try": [[{ "call": {
            "name": "Flaky", "input": 99, "attempts": 50, "total-timeout-ms": 10_000,
        } }], []] }]),
    );
}

#[test]
fn an_attempt_that_takes_too_long_is_stopped() {
    scenario(
        "attempt-timeout",
        json!([{ "try": [[{ "call": {
            "name": "Spins", "attempts": 2, "attempt-timeout-ms": 30,
        } }], []] }]),
    );
}

#[test]
fn many_run_at_once_and_come_back_in_some_order_that_replays() {
    let calls: Vec<_> = (0..12)
        .map(|number| json!([{ "call": { "name": "Echo", "input": number } }]))
        .collect();
    scenario("fan-out", json!([{ "all": calls }]));
}

#[test]
fn the_loser_of_a_race_is_dropped_and_never_comes_back() {
    scenario(
        "race",
        json!([
            { "race": [
                [{ "call": { "name": "Flaky", "input": 9, "attempts": 10 } }],
                [{ "sleep": 2_500 }],
            ] },
            { "call": { "name": "Echo", "input": "after" } },
        ]),
    );
}
