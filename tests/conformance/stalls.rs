//! What does not move, and what makes it move.

use serde_json::json;

use crate::world::{Do, check};

#[test]
fn what_is_missing_stalls_until_a_module_brings_it() {
    check("stalls/missing", &["scripted"], || {
        vec![
            Do::Start("a", json!([{ "call": { "name": "Missing" } }])),
            Do::Start(
                "b",
                json!([{ "try": [[{ "child": { "program": [], "workflow": "Steps", "id": "c" } }], []] }]),
            ),
            Do::Deploy("missing"),
            Do::Deploy("steps"),
        ]
    });
}

#[test]
fn a_missing_activity_is_given_up_when_its_time_is_over() {
    check("stalls/given-up", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "try": [[{ "call": { "name": "Missing", "total-timeout-ms": 5_000 } }], []] }]),
            ),
            Do::Finish,
        ]
    });
}

#[test]
fn a_panic_and_a_failure_end_an_instance() {
    check("stalls/ends", &["scripted"], || {
        vec![
            Do::Start("a", json!([{ "sleep": 1 }, { "fail": "my-kind" }])),
            Do::Start(
                "b",
                json!([{ "patched": "x" }, { "sleep": 1 }, { "patched": "x" }, { "status": [1] }]),
            ),
            Do::Finish,
        ]
    });
}
