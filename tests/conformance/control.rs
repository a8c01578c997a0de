//! Cancel, terminate, suspend, resume, rerun.

use serde_json::json;
use wfhost::Children;

use crate::world::{Do, check};

#[test]
fn a_cancelled_workflow_compensates_and_a_terminated_one_does_not() {
    let program = || {
        json!([{ "finally": [
            [{ "call": { "name": "Echo", "input": "booked" } }, { "event": "never" }],
            [{ "sleep": 1_000 }, { "call": { "name": "Flaky", "input": 2, "attempts": 3 } }],
        ] }])
    };
    check("control/cancelled", &["scripted"], || {
        vec![
            Do::Start("cancelled", program()),
            Do::Start("terminated", program()),
            Do::Cancel("cancelled"),
            Do::Cancel("cancelled"),
            Do::Terminate("terminated", Children::Too),
            Do::Terminate("terminated", Children::Too),
            Do::Finish,
            Do::Cancel("cancelled"),
        ]
    });
}

#[test]
fn a_workflow_may_refuse_to_be_cancelled() {
    check("control/refuses", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "try": [[{ "event": "never" }], ["now"]] }, { "event": "go" }]),
            ),
            Do::Cancel("a"),
            Do::Raise("a", "go", json!("went on")),
        ]
    });
}

#[test]
fn a_suspended_instance_takes_its_inputs_later_in_their_order() {
    check("control/suspended", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "all": [
                    [{ "sleep": 1_000 }, "now"],
                    [{ "event": "go" }],
                    [{ "call": { "name": "Flaky", "input": 3, "attempts": 5 } }],
                ] }]),
            ),
            Do::Suspend("a", Children::Not),
            Do::Suspend("a", Children::Not),
            Do::Raise("a", "go", json!(1)),
            Do::Pass(10_000),
            Do::Resume("a", Children::Not),
            Do::Resume("a", Children::Not),
            Do::Finish,
        ]
    });
}

#[test]
fn a_rerun_takes_turns_over_and_goes_its_own_way() {
    check("control/rerun", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([
                    { "call": { "name": "Add", "input": "n" } },
                    "random",
                    { "event": "go" },
                    { "call": { "name": "Add", "input": "n" } },
                    { "get": "n" },
                ]),
            ),
            Do::Raise("a", "go", json!("first time")),
            Do::Rerun("a", 2, "again"),
            Do::Raise("again", "go", json!("second time")),
            Do::Rerun("again", 3, "thrice"),
            Do::Rerun("a", 99, "never"),
            Do::Finish,
        ]
    });
}
