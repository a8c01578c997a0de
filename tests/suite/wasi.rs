//! Modules for wasm32-wasip2: what their standard library drags in is inert.

use serde_json::Value;

use crate::support::{Shell, host, module, output};

#[test]
fn clocks_hash_maps_and_prints_of_a_wasi_workflow_replay_the_same() {
    let shell = Shell::new();
    let wasm = module("wasi-clock");
    let ran = shell.run(&["run", wasm.to_str().unwrap(), "--id", "w"]);
    let result: Value = serde_json::from_str(&ran.out).expect(&ran.err);
    assert!(result.is_object(), "{result}");
    // Two processes, and neither is the one that ran it.
    for _ in 0..2 {
        let replay = shell.run(&["replay", "w"]);
        assert!(
            replay.out.starts_with("the same"),
            "{}{}",
            replay.out,
            replay.err
        );
        assert_eq!(replay.code, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wasi_workflow_sees_the_time_of_its_turn() {
    let host = host(&["wasi-clock"]).await;
    let result = output(&host, "WasiClock", "w", "null").await;
    let created = host
        .instance(&"w".parse().unwrap())
        .await
        .unwrap()
        .started()
        .at;
    // `Instant` counts from the start, by the time of the turns as well.
    assert_eq!(result["system_time"][0], created.to_string());
    assert_eq!(result["elapsed_nanos"][0], 0);
}

#[test]
fn a_workflow_that_opens_files_is_refused_by_the_name_of_the_import() {
    let shell = Shell::new();
    let wasm = module("wasi-files");
    let ran = shell.run(&["run", wasm.to_str().unwrap()]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("wasi:filesystem/"), "{}", ran.err);
    assert_eq!(shell.files(), Vec::<String>::new());
}
