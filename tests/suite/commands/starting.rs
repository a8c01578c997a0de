//! Starting, driving, and what bounds it.

use serde_json::json;

use super::{call, check, row, session, steps};

#[test]
fn a_start_is_recorded_and_a_wait_drives_it_to_its_end() {
    let (shell, wasm) = steps();
    let start = format!("start {wasm} --workflow Steps --input {{\"steps\":2}} --id s");
    check((&start, 0, "s", &["wfhost wait s"]), &shell);
    // No activity has run; the first turn has.
    let shown = row(&shell, "show s --json");
    assert_eq!(
        (&shown["status"], &shown["turns"]),
        (&json!("running"), &json!(1))
    );
    assert_eq!(shown["pending"][0]["waits_for"], "activity");
    session(
        &shell,
        &[
            ("wait s", 0, "2", &["Echo, attempt 1", "Completed"]),
            ("wait s", 0, "2", &["had ended before"]),
            ("run --id s", 0, "2", &["had ended before"]),
            (
                "start --workflow Fails --id f --json",
                0,
                r#"{"id":"f"}"#,
                &[],
            ),
            // The results in the order given, the highest status of all.
            ("wait s f", 1, "2", &["my-kind: this workflow fails"]),
            ("wait s nobody", 2, "", &["`nobody`", "wfhost list"]),
            ("wait", 2, "", &["<ID>"]),
            ("start --workflow Nope", 2, "", &["`Nope`", "Steps"]),
            (
                "start --workflow Steps --input 5",
                2,
                "",
                &["refused its input"],
            ),
        ],
    );
}

#[test]
fn a_start_with_a_key_is_done_once() {
    let (shell, wasm) = steps();
    let start = format!("start {wasm} --workflow Counter --key mail-7");
    let id = call(&shell, &start).ok(0);
    let again = call(&shell, &start);
    assert!(again.err.contains("started"), "{}", again.err);
    assert_eq!(again.ok(0), id);
    assert_eq!(
        call(&shell, "run --workflow Counter --key mail-7").ok(0),
        "1\n"
    );
    assert_eq!(
        call(&shell, "run --workflow Counter --key mail-8").ok(0),
        "2\n"
    );
    session(
        &shell,
        &[
            ("start --workflow Counter --id c --key k", 0, "c", &[]),
            (
                "start --workflow Counter --id c --key k",
                0,
                "c",
                &["before"],
            ),
            ("start --workflow Counter --id c", 2, "", &["`c` is in use"]),
            (
                "start --workflow Counter --id c --key other",
                2,
                "",
                &["`c` is in use"],
            ),
            (
                "start --workflow Counter --id c --key k --input 7",
                2,
                "",
                &["`k` was used before"],
            ),
            (
                "start --workflow Sum --id c --key k",
                2,
                "",
                &["`k` was used before"],
            ),
        ],
    );
    assert_eq!(call(&shell, "list --json").rows(0).len(), 3);
}

#[test]
fn a_start_may_begin_later_bring_events_and_carry_tags() {
    let (shell, wasm) = steps();
    let start = format!(
        "start {wasm} --workflow Sum --input {{\"events\":2}} --id s --tag team=billing \
         --event number=1 --event number=20 --at 2999-01-01T00:00:00Z"
    );
    check((&start, 0, "s", &[]), &shell);
    let shown = row(&shell, "show s --json");
    assert_eq!(
        (&shown["status"], &shown["turns"], &shown["tags"]),
        (&json!("pending"), &json!(0), &json!({"team": "billing"}))
    );
    assert_eq!(shown["begins_at"], "2999-01-01T00:00:00.000Z");
    assert_eq!(
        shown["unread_events"][1],
        json!({"name": "number", "payload": 20})
    );
    let lines = call(&shell, "show s").ok(0);
    for text in ["begins at   2999-01-01", "unread      event number 20"] {
        assert!(lines.contains(text), "{lines}");
    }
    let why = row(&shell, "why s --json");
    assert_eq!(why["causes"][0]["kind"], "begins-later", "{why}");
    check(
        (
            "wait s --skip-time",
            0,
            r#"{"sum":21,"order":[1,20]}"#,
            &["time was skipped by 97", "2999-01-01"],
        ),
        &shell,
    );
    for (line, says) in [
        ("start --workflow Sum --at tomorrow", "2030-01-31T12:00:00Z"),
        ("start --workflow Sum --in soon", "10m"),
        (
            "start --workflow Sum --in 1m --at 2999-01-01T00:00:00Z",
            "cannot be used with",
        ),
        ("start --workflow Sum --tag billing", "KEY=VALUE"),
        ("start --workflow Sum --event go", "NAME=JSON"),
        ("start --workflow Sum --event go={", "--event go"),
        ("start --workflow Sum --reuse never", "if-failed"),
    ] {
        check((line, 2, "", &[says]), &shell);
    }
}

#[test]
fn a_workflow_of_a_day_takes_no_time_if_time_is_skipped() {
    let (shell, wasm) = steps();
    let run = format!("run {wasm} --workflow Race --input {{\"seconds\":86400}} --skip-time");
    check(
        (
            &run,
            0,
            r#"{"won":"timer"}"#,
            &["Status: Completed (", "time was skipped by "],
        ),
        &shell,
    );
    // Nothing of that is left to those who do not ask for it.
    let ran = call(&shell, "run --workflow Counter");
    assert!(!ran.err.contains("skipped"), "{}", ran.err);
    assert_eq!(ran.ok(0), "1\n");
}

#[test]
fn attempts_are_bounded_where_that_is_asked() {
    let (shell, wasm) = steps();
    let run = format!(
        "run {wasm} --workflow FanOut --input {{\"width\":20}} --running-max 2 \
         --running-max-per-instance 2 --running-max-of Echo=1"
    );
    check((&run, 0, "190", &[]), &shell);
    for (line, says) in [
        (
            "run --workflow FanOut --running-max 0",
            "0 is not in 1..=65535",
        ),
        ("run --workflow FanOut --running-max-of Echo", "NAME=N"),
        (
            "run --workflow FanOut --running-max-of Echo=0",
            "from 1 to 65535",
        ),
    ] {
        check((line, 2, "", &[says]), &shell);
    }
}

#[test]
fn an_id_is_reused_only_where_that_is_asked() {
    let (shell, wasm) = steps();
    session(
        &shell,
        &[
            (
                &format!("run {wasm} --workflow Counter --id c"),
                0,
                "1",
                &[],
            ),
            // The same call prints the same result; one that takes the id runs again.
            ("run --workflow Counter --id c", 0, "1", &[]),
            (
                "run --workflow Counter --id c --reuse if-failed",
                0,
                "1",
                &[],
            ),
            (
                "start --workflow Counter --id c --reuse if-failed",
                2,
                "",
                &["in use"],
            ),
            (
                "run --workflow Counter --id c --reuse if-ended",
                0,
                "2",
                &[],
            ),
            ("run --workflow Fails --id f", 1, "", &[]),
            (
                "run --workflow Counter --id f --reuse if-failed",
                0,
                "3",
                &[],
            ),
            (
                "start --workflow Sum --input '{\"events\":2}' --id s --event number=1",
                0,
                "s",
                &[],
            ),
            (
                "run --workflow Sum --input '{\"events\":2}' --id s --event number=2 --reuse use-running",
                0,
                r#"{"sum":3,"order":[1,2]}"#,
                &[],
            ),
            ("start --workflow CleansUp --id t", 0, "t", &[]),
            (
                "run --workflow Counter --id t --reuse terminate",
                0,
                "4",
                &[],
            ),
        ],
    );
    assert_eq!(call(&shell, "list --json").rows(0).len(), 4);
}
