//! The commands, each on a file that nobody holds: what they print, how they leave, what they do.

mod asking;
mod finding;
mod modules;
mod starting;
mod state;
mod telling;

use serde_json::Value;

use crate::support::{Ran, Shell, module};

/// One call in a session: its arguments, its exit status, all of stdout, and what stderr must say.
type Call<'a> = (&'a str, i32, &'a str, &'a [&'a str]);

/// The guest `steps`, in a folder of its own.
fn steps() -> (Shell, String) {
    let wasm = module("steps").to_str().unwrap().to_owned();
    (Shell::new(), wasm)
}

/// Runs a call that is written as in a shell; an argument in ' ' may have spaces in it.
fn call(shell: &Shell, line: &str) -> Ran {
    let mut args = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            args.push(part);
        } else {
            args.extend(part.split_whitespace());
        }
    }
    shell.run(&args)
}

#[track_caller]
fn check((line, code, out, says): Call, shell: &Shell) {
    let ran = call(shell, line);
    assert_eq!(
        (ran.code, ran.out.trim_end()),
        (Some(code), out),
        "{line}\n{}",
        ran.err
    );
    for text in says {
        assert!(
            ran.err.contains(text),
            "{line} does not say `{text}`:\n{}",
            ran.err
        );
    }
}

#[track_caller]
fn session(shell: &Shell, calls: &[Call]) {
    for call in calls {
        check(*call, shell);
    }
}

/// The one JSON object that a call prints.
#[track_caller]
fn row(shell: &Shell, line: &str) -> Value {
    let mut rows = call(shell, line).rows(0);
    assert_eq!(rows.len(), 1, "{line}");
    rows.remove(0)
}

/// The ids that a call lists.
#[track_caller]
fn ids(shell: &Shell, line: &str) -> Vec<String> {
    let rows = call(shell, line).rows(0);
    let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
    rows.iter().map(id).collect()
}
