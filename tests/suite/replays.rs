//! Replay: the same again, or where not.

use serde_json::json;

use crate::support::{Shell, module};

#[test]
fn a_history_replayed_in_two_processes_gives_the_same_commands() {
    let shell = Shell::new();
    let wasm = module("steps");
    let wasm = wasm.to_str().unwrap();
    let args = ["run", wasm, "--workflow", "Deterministic", "--id", "d"];
    shell.run(&args).ok(0);
    let first = shell.run(&["replay", "d", "--json"]).ok(0);
    let second = shell.run(&["replay", "d", "--json"]).ok(0);
    assert_eq!(first, second);
    let last = first.lines().last().unwrap();
    assert!(last.contains(r#""same":true"#), "{last}");
}

#[test]
fn changed_code_is_told_by_turn_history_and_code() {
    let shell = Shell::new();
    let (old, new) = (module("steps"), module("steps-changed"));
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let input = r#"{"steps":3}"#;
    shell
        .run(&[
            "run",
            old,
            "--workflow",
            "Steps",
            "--input",
            input,
            "--id",
            "s",
        ])
        .ok(0);
    let replay = shell.run(&["replay", "s", new]);
    assert_eq!(replay.code, Some(1), "{}", replay.err);
    assert!(replay.out.contains("in turn 2"), "{}", replay.out);
    assert!(
        replay.out.contains("history: task 2: call activity `Echo`"),
        "{}",
        replay.out
    );
    assert!(
        replay.out.contains("code:    task 2: create a timer"),
        "{}",
        replay.out
    );
    let rows = shell.run(&["replay", "s", new, "--json"]).rows(1);
    let last = rows.last().unwrap();
    assert_eq!((&last["same"], &last["turns"]), (&json!(false), &json!(1)));
    assert_eq!(last["reason"]["kind"], "divergence");
    // Its own module still does the same.
    shell.run(&["replay", "s"]).ok(0);
}
