//! What is told to an instance: events, cancellation, the end, a pause.

use serde_json::json;

use super::{check, ids, row, session, steps};

#[test]
fn events_are_raised_once_for_a_key() {
    let (shell, wasm) = steps();
    let start = format!("start {wasm} --workflow Sum --input {{\"events\":3}} --id s");
    shell.write("payload.json", "300\n");
    let wait: &[&str] = &["`number` is there for `s`", "wfhost wait s"];
    session(
        &shell,
        &[
            (&start, 0, "s", &[]),
            ("raise-event s number 1 --key a", 0, "", wait),
            ("raise-event s number 1 --key a", 0, "", wait),
            ("raise-event s number 20", 0, "", wait),
            ("cancel s --key a", 2, "", &["`a` was used before"]),
            (
                "raise-event s number {",
                2,
                "",
                &["the payload: not valid JSON"],
            ),
            ("raise-event nobody number", 2, "", &["`nobody`"]),
        ],
    );
    // Two that no turn has taken are kept in their order.
    let shown = row(&shell, "raise-event s unread @payload.json --json");
    assert_eq!(
        shown["unread_events"],
        json!([{"name": "number", "payload": 20}, {"name": "unread", "payload": 300}])
    );
    let why = row(&shell, "why s --json");
    assert_eq!(why["causes"][0]["kind"], "turn", "{why}");
    session(
        &shell,
        &[
            ("raise-event s number @payload.json", 0, "", wait),
            ("wait s", 0, r#"{"sum":321,"order":[1,20,300]}"#, &[]),
            ("raise-event s number 1", 2, "", &["has ended (completed)"]),
        ],
    );
}

#[test]
fn a_cancelled_instance_cleans_up_and_a_terminated_one_does_not() {
    let (shell, wasm) = steps();
    let start = format!("start {wasm} --workflow CleansUp --id c");
    session(
        &shell,
        &[
            (&start, 0, "c", &[]),
            ("start --workflow CleansUp --id t", 0, "t", &[]),
            (
                "cancel c --reason 'out of stock' --key k",
                0,
                "",
                &["wfhost wait c"],
            ),
            ("cancel c --key k", 0, "", &["asked to stop"]),
            (
                "wait c",
                1,
                "",
                &["Echo, attempt 1", "cancelled: out of stock"],
            ),
            ("terminate t --reason enough", 0, "", &["`t` is terminated"]),
            ("terminate t", 2, "", &["has ended (terminated)"]),
            ("wait t", 1, "", &["terminated: enough"]),
        ],
    );
    let why = row(&shell, "why t --json");
    assert_eq!(why["causes"][0]["kind"], "terminated");
    assert_eq!(
        why["causes"][0]["remedy"],
        "start it anew with: wfhost rerun t"
    );
}

#[test]
fn children_end_with_their_parent_unless_it_is_said_otherwise() {
    let (shell, wasm) = steps();
    let parent = r#"{"workflow":"CleansUp","input":null}"#;
    let start = |id: &str| format!("start --workflow Parent --input {parent} --id {id}");
    let first = format!("start {wasm} --workflow Parent --input {parent} --id a");
    let child_of = |id: &str| format!("{id}-0-1");
    check((&first, 0, "a", &[]), &shell);
    check((&start("b"), 0, "b", &[]), &shell);
    check((&start("c"), 0, "c", &[]), &shell);
    // A start may leave before the child is there; driving brings it.
    for id in ["a", "b", "c"] {
        let child = child_of(id);
        let why = row(&shell, &format!("why {id} --json"));
        assert_eq!(why["causes"][0]["kind"], "workflow", "{why}");
        assert_eq!(why["causes"][0]["remedy"], format!("wfhost why {child}"));
    }
    let listed = ids(&shell, "list --parent a --json");
    assert_eq!(listed, [child_of("a")]);
    session(
        &shell,
        &[
            ("terminate a", 0, "", &["with it 1 child instance"]),
            ("terminate b --no-children", 0, "", &["`b` is terminated"]),
            ("cancel c", 0, "", &[]),
            ("wait c", 1, "", &["cancelled"]),
            ("wait b", 1, "", &["terminated"]),
        ],
    );
    for (id, status) in [
        ("a-0-1", "terminated"),
        ("b-0-1", "running"),
        ("c-0-1", "cancelled"),
    ] {
        let shown = row(&shell, &format!("show {id} --json"));
        assert_eq!(shown["status"], status, "{id}");
    }
}

#[test]
fn a_suspended_instance_rests_until_it_is_resumed() {
    let (shell, wasm) = steps();
    let start = format!("start {wasm} --workflow Sum --input {{\"events\":1}} --id s");
    session(
        &shell,
        &[
            (&start, 0, "s", &[]),
            (
                "suspend s --reason 'the bank is closed'",
                0,
                "",
                &["wfhost resume s"],
            ),
            ("raise-event s number 7", 0, "", &["wfhost resume s"]),
            (
                "wait s",
                3,
                "",
                &["suspended: the bank is closed", "wfhost resume s"],
            ),
            ("run --id s", 3, "", &["wfhost resume s"]),
            ("update s add 1", 3, "", &["suspended", "wfhost resume s"]),
        ],
    );
    let shown = row(&shell, "show s --json");
    assert_eq!(shown["suspended"], json!({"reason": "the bank is closed"}));
    let why = row(&shell, "why s --json");
    assert_eq!(
        why["causes"][0],
        json!({
            "kind": "suspended", "message": "it is suspended: the bank is closed",
            "remedy": "wfhost resume s",
        })
    );
    session(
        &shell,
        &[
            ("resume s --key r", 0, "", &["wfhost wait s"]),
            ("resume s --key r", 0, "", &["wfhost wait s"]),
            ("wait s", 0, r#"{"sum":7,"order":[7]}"#, &[]),
        ],
    );
}
