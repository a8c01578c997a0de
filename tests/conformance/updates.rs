//! Updates: requests that the running workflow answers.

use serde_json::json;

use crate::world::{Do, check};

#[test]
fn updates_are_answered_in_their_order_and_may_be_refused() {
    check("updates/answered", &["scripted"], || {
        vec![
            Do::Start("a", json!([{ "collect": 20 }])),
            Do::Update("a", json!(5)),
            Do::Update("a", json!("no number")),
            Do::Update("a", json!(8)),
            Do::Update("a", json!(7)),
            Do::Update("a", json!(1)),
            Do::Update("nobody", json!(1)),
        ]
    });
}
