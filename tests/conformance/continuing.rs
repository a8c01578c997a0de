//! Continue-as-new.

use serde_json::json;
use wfhost::Children;

use crate::world::{Do, check};

#[test]
fn unread_events_and_requests_move_along_and_old_tasks_never_arrive() {
    check("continuing/moves-along", &["scripted"], || {
        let third = json!([{ "event": "go" }, { "collect": 5 }, "now"]);
        let second = json!([
            { "event": "go" },
            { "race": [[{ "sleep": 60_000 }], [{ "event": "next" }]] },
            { "continue": third },
        ]);
        vec![
            Do::Start(
                "a",
                json!([
                    { "status": "first" },
                    { "race": [
                        [{ "sleep": 1_000 }, { "sleep": 2_000 }],
                        [{ "event": "next" }],
                        [{ "call": { "name": "Flaky", "input": 9, "attempts": 10 } }],
                    ] },
                    { "continue": second },
                ]),
            ),
            Do::Suspend("a", Children::Not),
            Do::Raise("a", "next", json!(1)),
            Do::Raise("a", "GO", json!(2)),
            Do::Raise("a", "go", json!(3)),
            Do::Resume("a", Children::Not),
            Do::Raise("a", "next", json!(4)),
            Do::Update("a", json!(5)),
            Do::Finish,
        ]
    });
}

#[test]
fn only_the_last_two_generations_are_kept() {
    check("continuing/generations", &["scripted"], || {
        let mut program = json!([{ "call": { "name": "Add", "input": "n" } }]);
        for _ in 0..6 {
            program = json!([{ "call": { "name": "Add", "input": "n" } }, { "continue": program }]);
        }
        vec![Do::Start("a", program), Do::Finish]
    });
}

#[test]
fn a_generation_leaves_its_children() {
    check("continuing/children", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([
                    { "race": [
                        [{ "child": { "program": [{ "event": "never" }], "id": "old" } }],
                        [{ "event": "go" }, { "continue": [{ "child": { "program": ["now"] } }] }],
                    ] },
                ]),
            ),
            Do::Raise("a", "go", json!(1)),
            Do::Finish,
        ]
    });
}
