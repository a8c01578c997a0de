//! Ids, and requests that are made twice.

use serde_json::{Value, json};
use wfhost::{Json, Reuse, StartRequest};

use crate::world::{Do, check, event};

fn start(reuse: Reuse, program: &Value) -> Do {
    // Whoever asks twice for a termination and a start wants one of each.
    let key = (reuse == Reuse::Terminate).then(|| "once".to_owned());
    Do::StartAs(StartRequest {
        id: Some("a".parse().unwrap()),
        reuse,
        key,
        ..StartRequest::new("Script".parse().unwrap(), Json::of(program))
    })
}

#[test]
fn an_id_is_used_again_as_the_start_says() {
    check("ids/reuse", &["scripted"], || {
        let waits = json!([{ "event": "go" }]);
        vec![
            start(Reuse::Refuse, &json!(["now"])),
            start(Reuse::Refuse, &waits),
            start(Reuse::IfFailed, &waits),
            start(Reuse::IfEnded, &json!([{ "fail": "once" }])),
            start(Reuse::IfFailed, &waits),
            start(Reuse::IfEnded, &json!(["now"])),
            start(Reuse::Terminate, &json!([{ "event": "other" }])),
            Do::Finish,
        ]
    });
}

#[test]
fn a_start_may_use_the_instance_that_runs() {
    check("ids/use-running", &["scripted"], || {
        let request = |payload: u32| {
            Do::StartAs(StartRequest {
                id: Some("a".parse().unwrap()),
                reuse: Reuse::UseRunning,
                events: vec![event("go", &json!(payload))],
                ..StartRequest::new(
                    "Script".parse().unwrap(),
                    Json::of(&json!([{ "event": "go" }, { "event": "go" }])),
                )
            })
        };
        vec![request(1), request(2), request(3)]
    });
}

#[test]
fn a_start_with_a_request_key_is_done_once() {
    check("ids/key", &["scripted"], || {
        let request = || {
            Do::StartAs(StartRequest {
                key: Some("order 7".into()),
                ..StartRequest::new("Script".parse().unwrap(), Json::of(&json!(["now"])))
            })
        };
        vec![request(), request(), Do::Finish, request()]
    });
}
