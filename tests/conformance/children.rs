//! Child workflows.

use serde_json::json;
use wfhost::Children;

use crate::world::{Do, check};

#[test]
fn a_child_gives_its_result_or_its_failure() {
    check("children/results", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([
                    { "child": { "program": [{ "call": { "name": "Echo", "input": 7 } }] } },
                    { "try": [[{ "child": { "program": [{ "fail": "sold-out" }], "id": "mine" } }], []] },
                    { "try": [[{ "child": { "program": [], "id": "mine" } }], []] },
                    { "try": [[{ "child": { "program": [], "id": "no good id" } }], []] },
                ]),
            ),
            Do::Finish,
        ]
    });
}

#[test]
fn a_failed_child_is_started_again_under_an_id_of_its_own() {
    check("children/retried", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "try": [[{ "child": {
                    "program": [{ "fail": "flaky" }], "id": "c", "attempts": 3,
                } }], []] }]),
            ),
            Do::Finish,
        ]
    });
}

#[test]
fn children_are_cancelled_with_their_parent_and_may_clean_up() {
    check("children/cancelled", &["scripted"], || {
        let waits = json!([{ "finally": [
            [{ "event": "never" }],
            [{ "call": { "name": "Echo", "input": "child cleans up" } }],
        ] }]);
        vec![
            Do::Start(
                "a",
                json!([{ "all": [
                    [{ "child": { "program": waits, "id": "one" } }],
                    [{ "child": { "program": [{ "child": { "program": waits, "id": "grandchild" } }], "id": "two" } }],
                    [{ "child": { "program": [{ "event": "go" }], "id": "detached", "detached": true } }],
                ] }]),
            ),
            Do::Cancel("a"),
            Do::Raise("detached", "go", json!("alone")),
        ]
    });
}

#[test]
fn a_child_that_its_parent_gives_up_is_cancelled() {
    check("children/given-up", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([
                    { "race": [
                        [{ "child": { "program": [{ "event": "never" }], "id": "slow" } }],
                        [{ "sleep": 1_000 }],
                    ] },
                    { "sleep": 1_000 },
                ]),
            ),
            Do::Finish,
        ]
    });
}

#[test]
fn a_parent_that_ends_takes_its_children_along() {
    check("children/left", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "all": [
                    [{ "child": { "program": [{ "event": "never" }], "id": "left" } }],
                    [{ "sleep": 1_000 }, { "fail": "enough" }],
                ] }, { "event": "never" }]),
            ),
            Do::Start(
                "b",
                json!([
                    { "race": [[{ "child": { "program": [{ "event": "never" }], "id": "c" } }], [{ "event": "go" }]] },
                ]),
            ),
            Do::Terminate("b", Children::Not),
            Do::Cancel("a"),
            Do::Finish,
        ]
    });
}

#[test]
fn a_termination_reaches_the_whole_tree_unless_it_is_not_to() {
    let tree = || {
        json!([{ "child": {
            "program": [{ "child": { "program": [{ "event": "go" }], "id": "leaf" } }], "id": "branch",
        } }])
    };
    check("children/terminated", &["scripted"], || {
        vec![
            Do::Start("root", tree()),
            Do::Terminate("root", Children::Too),
        ]
    });
    check("children/not-terminated", &["scripted"], || {
        vec![
            Do::Start("root", tree()),
            Do::Terminate("root", Children::Not),
            Do::Raise("leaf", "go", json!(1)),
        ]
    });
}

#[test]
fn a_suspension_reaches_children_if_it_is_to() {
    check("children/suspended", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "child": { "program": [{ "event": "go" }], "id": "b" } }]),
            ),
            Do::Suspend("a", Children::Too),
            Do::Raise("b", "go", json!(1)),
            Do::Resume("a", Children::Too),
        ]
    });
}
