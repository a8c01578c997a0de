//! What an instance answers, does again, and why it is where it is.

use serde_json::json;

use super::{call, check, row, session, steps};
use crate::support::module;

#[test]
fn queries_and_updates_are_answered_by_the_workflow() {
    let (shell, wasm) = steps();
    let start = format!("start {wasm} --workflow TakesUpdates --id u");
    session(
        &shell,
        &[
            (&start, 0, "u", &[]),
            (
                "why u",
                0,
                "u  running\n  it waits for an update or a cancellation\n    → wfhost update u NAME JSON, or: wfhost cancel u",
                &[],
            ),
            ("query u sum", 0, "0", &[]),
            ("update u add 3 --key a", 0, "3", &[]),
            ("update u add 3 --key a", 0, "3", &[]),
            ("update u add 4", 0, "7", &[]),
            ("update u add -1", 1, "", &["negative: cannot add -1"]),
            ("query u sum", 0, "7", &[]),
            (
                "query u sum --json",
                0,
                r#"{"failure":null,"output":7}"#,
                &[],
            ),
            ("query u nope", 1, "", &["unknown-query: "]),
            ("query nobody sum", 2, "", &["`nobody`"]),
            ("update u add {", 2, "", &["the input: not valid JSON"]),
            ("update u add 3", 0, "10", &[]),
            ("wait u", 0, "10", &[]),
            ("update u add 3", 2, "", &["has ended (completed)"]),
        ],
    );
}

#[test]
fn a_rerun_does_again_what_an_instance_did_from_a_turn_on() {
    let (shell, wasm) = steps();
    let run = format!("run {wasm} --workflow Steps --input {{\"steps\":2}} --id s");
    check((&run, 0, "2", &[]), &shell);
    let again: &[&str] = &[
        "`n` does again what `s` did from turn 2 on",
        "wfhost wait n",
    ];
    session(
        &shell,
        &[
            (
                "rerun s --id all --wait",
                0,
                "2",
                &["`all` does again what `s` did", "Started workflow all"],
            ),
            ("rerun s --from-turn 2 --id n", 0, "n", again),
            ("wait n", 0, "2", &["Completed"]),
            ("replay n", 0, "the same: 3 turns", &[]),
            ("rerun s --from-turn 9", 2, "", &["no turn 9", "1 to 3"]),
            ("rerun s --from-turn 2 --id n", 2, "", &["`n` is in use"]),
            ("rerun s --current-module", 2, "", &["--from-turn"]),
            ("rerun nobody", 2, "", &["`nobody`"]),
        ],
    );
    let shown = row(&shell, "show n --json");
    assert_eq!(
        (&shown["reruns"][0]["id"], &shown["reruns"][0]["turns"]),
        (&json!("s"), &json!(1))
    );
    assert!(
        call(&shell, "show n")
            .ok(0)
            .contains("rerun of    s, 1 turn taken over")
    );
    assert_eq!(call(&shell, "rerun s --json").rows(0).len(), 1);
}

#[test]
fn a_rerun_says_what_is_begun_a_second_time() {
    let (shell, wasm) = steps();

    let run = format!("run {wasm} --workflow FanOut --input {{\"width\":3}} --id f");
    check((&run, 0, "3", &[]), &shell);
    let rows = call(&shell, "history f --json").rows(0);
    let is_second = |row: &serde_json::Value| row["record"] == "turn" && row["number"] == 2;
    let before = rows.iter().take_while(|row| !is_second(row));
    let ended = before.filter(|row| row["record"] == "attempt").count();
    let ran = call(&shell, "rerun f --from-turn 2 --id g --wait");
    // What had ended before the second turn is taken over; what was open still is not.

    let begun = ran
        .err
        .lines()
        .filter(|line| line.starts_with("  task "))
        .count();
    assert_eq!(begun + ended, 3, "{}", ran.err);
    assert_eq!(ran.ok(0), "3\n");
}

#[test]
fn why_names_the_reason_and_the_remedy_of_each() {
    let (shell, wasm) = steps();
    let missing = module("missing").to_str().unwrap().to_owned();
    let run = format!("run {wasm} --workflow WaitsForMissing --id m");
    check((&run, 3, "", &["`Missing`", "wfhost run --id=m"]), &shell);
    let why = row(&shell, "why m --json");
    assert_eq!(why["status"], "stalled");
    assert_eq!(
        why["causes"],
        json!([
            {
                "kind": "activity-missing", "message": "no module offers the activity `Missing`",
                "remedy": "add the PATH of a module that offers it to: wfhost run --id=m",
            },
            {
                "kind": "event", "message": "it waits for task 2: event go",
                "remedy": "wfhost raise-event m go JSON",
            },
        ])
    );
    check(("raise-event m go 1", 0, "", &["wfhost wait m"]), &shell);
    check(
        (&format!("run {missing} --id m"), 0, r#"["found",1]"#, &[]),
        &shell,
    );
    check(
        ("run --workflow Panics --id p", 1, "", &["panic: "]),
        &shell,
    );
    let why = call(&shell, "why p").ok(0);
    assert!(
        why.contains("this workflow panics") && why.contains("steps::workflows::panics"),
        "no backtrace: {why}"
    );
    assert!(call(&shell, "why m").ok(0).contains("it completed at "));
    check(("why nobody", 2, "", &["`nobody`"]), &shell);
}
