//! `kill -9`: what was shown is never taken back, and nothing happens twice.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Shell, module};

/// How often the process is killed. Each time it is let on until it has shown a few lines more.
const KILLS: u32 = 25;

/// A small generator with a fixed seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been() {
    let wasm = module("order-processing");
    let wasm = wasm.to_str().unwrap();
    let order = r#"{"Name":"Cars","TotalCost":15000,"Quantity":10,"SimulatedWorkSeconds":0.03}"#;
    let mut dice = Dice(7);
    let mut kills = 0;
    let mut orders = 0;
    let shell = Shell::new();
    while kills < KILLS {
        orders += 1;
        let id = format!("order-{orders}");
        let mut shown = Vec::new();
        let instance = loop {
            let args = ["run", wasm, "--input", order, "--id", &id, "--json"];
            let mut command = shell.command(&args);
            let mut child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let let_on = dice.roll(6);
            shown.extend(lines.by_ref().take(let_on as usize).map(Result::unwrap));
            child.kill().unwrap();
            // Whatever it had shown before the signal reached it counts as well.
            let mut rest = lines.map(Result::unwrap).collect::<Vec<_>>();
            let status = child.wait().unwrap();
            let whole = |line: &String| serde_json::from_str::<Value>(line).is_ok();
            rest.retain(whole);
            shown.extend(rest);
            match status.code() {
                None => kills += 1,
                Some(code) => {
                    let mut errors = String::new();
                    child
                        .stderr
                        .take()
                        .unwrap()
                        .read_to_string(&mut errors)
                        .unwrap();
                    assert_eq!(code, 0, "{errors}");
                }
            }
            let done = shown
                .last()
                .is_some_and(|line| line.contains(r#""record":"instance""#));
            if done {
                break serde_json::from_str::<Value>(&shown.pop().unwrap()).unwrap();
            }
        };
        assert_eq!(instance["output"], json!({"Processed": true}), "{instance}");

        // Every line that was ever shown is in the history, in its order, each once.
        let history = shell.run(&["history", &id, "--json"]).rows(0);
        let shown: Vec<Value> = shown
            .iter()
            .map(|line| {
                let mut row: Value = serde_json::from_str(line).unwrap();
                row.as_object_mut().unwrap().remove("instance");
                row
            })
            .collect();
        let mut places = history.iter();
        for row in &shown {
            assert!(
                places.any(|it| it == row),
                "taken back or out of order: {row}"
            );
        }
        check_history(&history);
        assert_eq!(shell.run(&["replay", &id]).code, Some(0));
    }
    let stock = shell
        .run(&["run", wasm, "--input", order, "--id", "last", "--json"])
        .ok(0);
    let left = 100 - 10 * (orders + 1);
    assert!(
        stock.contains(&format!("There are now: {left} Cars left in stock")),
        "{orders} {stock}"
    );
}

/// Turns are numbered without a gap, and no attempt of a task ended twice.
fn check_history(history: &[Value]) {
    let turns: Vec<_> = history
        .iter()
        .filter(|row| row["record"] == "turn")
        .collect();
    for (index, turn) in turns.iter().enumerate() {
        assert_eq!(turn["number"], json!(index + 1));
    }
    let mut seen = BTreeSet::new();
    for row in history.iter().filter(|row| row["record"] == "attempt") {
        assert!(
            seen.insert((row["task"].to_string(), row["attempt"].to_string())),
            "{row}"
        );
    }
}

#[test]
fn ctrl_c_leaves_the_instance_and_says_how_to_go_on() {
    let shell = Shell::new();
    let wasm = module("steps");
    let args = [
        "run",
        wasm.to_str().unwrap(),
        "--workflow",
        "Race",
        "--id",
        "r",
        "--json",
    ];
    let input = ["--input", r#"{"seconds":3600}"#];
    let mut command = shell.command(&[&args[..], &input[..]].concat());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Started and its first turn: now it waits.
    for _ in 0..2 {
        lines.next().unwrap().unwrap();
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let status = child.wait().unwrap();
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert_eq!(status.code(), Some(130), "{errors}");
    assert!(errors.contains("wfhost run --id=r"), "{errors}");
    let shown = shell.run(&["show", "r", "--json"]).rows(0).remove(0);
    assert_eq!(shown["status"], "running");
    assert_eq!(shown["pending"].as_array().unwrap().len(), 2, "{shown}");
}
