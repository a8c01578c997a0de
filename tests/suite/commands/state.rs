//! The state store from outside.

use serde_json::{Value, json};

use super::{call, check, row, session, steps};

#[test]
fn the_state_store_is_read_and_written_from_outside() {
    let (shell, wasm) = steps();
    let run = format!("run {wasm} --workflow Counter --state 'a b=[1]'");
    session(
        &shell,
        &[
            (&run, 0, "1", &[]),
            ("state get counter", 0, "1", &[]),
            ("state get 'a b'", 0, "[1]", &[]),
            ("state get none", 1, "", &["`none`", "wfhost state list"]),
            ("state set counter 41", 0, "", &[]),
            ("run --workflow Counter", 0, "42", &[]),
            ("state set counter {", 2, "", &["the value: not valid JSON"]),
            ("state set '' 1", 2, "", &["1 to 1,024 bytes"]),
            ("state delete 'a b'", 0, "", &[]),
            ("state delete 'a b'", 0, "", &[]),
            ("state get 'a b'", 1, "", &[]),
            ("state set gone 1 --expires-in 0s", 0, "", &[]),
            ("state get gone", 1, "", &[]),
            ("state set kept 1 --expires-in 1h", 0, "", &[]),
            ("state get kept", 0, "1", &[]),
        ],
    );
    let written = row(&shell, "state set b 2 --json");
    assert_eq!(row(&shell, "state get b --json"), written);
    assert_eq!(
        (&written["key"], &written["value"]),
        (&json!("b"), &json!(2))
    );
    assert!(written["version"].as_u64().unwrap() > 0);
    let keys = |line: &str| -> Vec<Value> {
        let rows = call(&shell, line).rows(0);
        rows.into_iter().map(|mut row| row["key"].take()).collect()
    };
    assert_eq!(keys("state list --json"), ["b", "counter", "kept"]);
    assert_eq!(keys("state list c --json"), ["counter"]);
    let page = call(&shell, "state list --limit 2");
    assert!(
        page.err.contains("--after=counter --limit 2"),
        "{}",
        page.err
    );
    assert_eq!(page.ok(0).lines().count(), 2);
    assert_eq!(
        keys("state list --limit 2 --after=counter --json"),
        ["kept"]
    );
}

#[test]
fn a_write_of_state_holds_only_over_the_version_that_it_names() {
    let (shell, wasm) = steps();
    check(
        (&format!("run {wasm} --workflow Counter"), 0, "1", &[]),
        &shell,
    );
    let version = row(&shell, "state get counter --json")["version"].clone();
    session(
        &shell,
        &[
            ("state set lock 1 --if-version 0", 0, "", &[]),
            (
                "state set lock 2 --if-version 0",
                1,
                "",
                &["`lock` is at version"],
            ),
            ("state get lock", 0, "1", &[]),
            (
                &format!("state set counter 5 --if-version {version}"),
                0,
                "",
                &[],
            ),
            (
                &format!("state delete counter --if-version {version}"),
                1,
                "",
                &["at version"],
            ),
            ("state get counter", 0, "5", &[]),
        ],
    );
}
