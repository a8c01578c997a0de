//! The state store.

use serde_json::json;

use crate::world::{Do, check};

#[test]
fn turns_and_attempts_read_and_write_in_their_order() {
    check("state/order", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([
                    { "add": "k" },
                    { "call": { "name": "Add", "input": "k" } },
                    { "add": "k" },
                    { "get": "k" },
                    { "get": "nothing" },
                    { "add": "kk" },
                    { "scan": "k" },
                ]),
            ),
            Do::Start(
                "b",
                json!([{ "all": [
                [{ "call": { "name": "Add", "input": "k" } }, { "add": "k" }],
                [{ "add": "k" }, { "call": { "name": "Add", "input": "k" } }],
            ] }, { "get": "k" }]),
            ),
            Do::Finish,
        ]
    });
}

#[test]
fn a_value_expires() {
    check("state/expires", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([
                    { "lend": ["k", "here", 2_000] },
                    { "sleep": 1_999 },
                    { "get": "k" },
                    { "sleep": 1 },
                    { "get": "k" },
                    { "scan": "" },
                ]),
            ),
            Do::Finish,
        ]
    });
}
