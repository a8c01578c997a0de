//! External events: none is lost, none comes twice.

use serde_json::json;
use wfhost::Children;

use crate::world::{Do, check, event};

#[test]
fn events_wait_for_the_workflow_in_their_order_and_without_regard_to_case() {
    check("events/buffered", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "sleep": 1_000 }, { "event": "Go" }, { "event": "go" }, { "event": "other" }]),
            ),
            Do::Raise("a", "GO", json!(1)),
            Do::Raise("a", "other", json!({ "x": [1, 2] })),
            Do::Raise("a", "go", json!(2)),
            Do::Finish,
            Do::Raise("a", "go", json!("too late")),
            Do::Raise("nobody", "go", json!(0)),
        ]
    });
}

#[test]
fn an_event_and_a_timer_that_come_together_are_taken_in_the_order_accepted() {
    check("events/race", &["scripted"], || {
        let race = json!([
            { "race": [[{ "event": "go" }], [{ "sleep": 1_000 }]] },
            { "race": [[{ "sleep": 500 }], [{ "event": "go" }]] },
            { "race": [[{ "event": "go" }], [{ "sleep": 60_000 }]] },
        ]);
        vec![
            Do::Start("a", race),
            Do::Suspend("a", Children::Not),
            Do::Raise("a", "go", json!("first")),
            Do::Pass(2_000),
            Do::Raise("a", "go", json!("second")),
            Do::Resume("a", Children::Not),
            Do::Finish,
        ]
    });
}

#[test]
fn an_event_whose_wait_was_dropped_goes_back_to_its_place() {
    check("events/put-back", &["scripted"], || {
        let program = json!([
            { "race": [
                [{ "event": "go" }, { "event": "never" }],
                [{ "event": "stop" }],
            ] },
            { "race": [[{ "event": "go" }], [{ "sleep": 1_000 }]] },
        ]);
        vec![
            Do::Start("a", program),
            Do::Suspend("a", Children::Not),
            Do::Raise("a", "stop", json!("stop")),
            Do::Raise("a", "go", json!("one")),
            Do::Raise("a", "go", json!("two")),
            Do::Resume("a", Children::Not),
            Do::Finish,
        ]
    });
}

#[test]
fn an_event_with_a_request_key_is_raised_once() {
    check("events/key", &["scripted"], || {
        vec![
            Do::Start("a", json!([{ "event": "go" }, { "event": "go" }])),
            Do::RaiseOnce("a", "go", json!(1), "k1"),
            Do::RaiseOnce("a", "go", json!(1), "k1"),
            Do::RaiseOnce("a", "go", json!(2), "k2"),
            Do::RaiseOnce("a", "go", json!(2), "k2"),
        ]
    });
}

#[test]
fn events_come_with_a_start_and_from_other_workflows() {
    check("events/between", &["scripted"], || {
        let mut request = wfhost::StartRequest::new(
            "Script".parse().unwrap(),
            wfhost::Json::of(&json!([{ "event": "n" }, { "event": "n" }, { "event": "n" }])),
        );
        request.id = Some("sink".parse().unwrap());
        request.events = vec![event("n", &json!("with the start"))];
        vec![
            Do::StartAs(request),
            Do::Start(
                "source",
                json!([
                    { "raise": ["sink", "N", 1] },
                    { "raise": ["sink", "n", 2] },
                    { "sleep": 1 },
                    { "try": [[{ "raise": ["sink", "n", 3] }], []] },
                    { "try": [[{ "raise": ["nobody", "n", 4] }], []] },
                    { "raise": ["source", "self", 5] },
                    { "event": "self" },
                ]),
            ),
            Do::Finish,
        ]
    });
}
