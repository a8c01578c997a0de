//! A guest of the tests: the standard library's clocks, output, environment and hash order in a
//! workflow. The host answers them with what is the same on replay.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what this guest is for"
)]

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use serde::Serialize;
use wfhost_sdk::{ActivityContext, Context, Result, Timestamp, activity, workflow};

wfhost_sdk::export!(workflows: [wasi_clock], activities: [clock, echo, environment]);

/// Returns its input.
#[activity(name = "Echo")]
fn echo(_: ActivityContext, text: String) -> Result<String> {
    Ok(text)
}

/// Returns what time it is, in milliseconds since 1970.
#[activity(name = "Clock")]
fn clock(_: ActivityContext, _: ()) -> Result<u64> {
    Ok(Timestamp::from(SystemTime::now()).unix_millis())
}

/// Returns its environment, in order, and prints it.
#[activity(name = "Environment")]
fn environment(_: ActivityContext, _: ()) -> Result<Vec<(String, String)>> {
    let mut seen: Vec<_> = std::env::vars().collect();
    seen.sort();
    for (name, value) in &seen {
        println!("{name}={value}");
    }
    Ok(seen)
}

/// What the workflow saw.
#[derive(Serialize)]
struct Readings {
    system_time: [Timestamp; 2],
    elapsed_nanos: [u64; 2],
    hash_order: Vec<String>,
    environment: Vec<(String, String)>,
    arguments: usize,
    echoed: String,
}

/// Reads all that the standard library offers, before and after a step, and returns it.
#[workflow(name = "WasiClock")]
async fn wasi_clock(ctx: Context) -> Result<Readings> {
    let start = Instant::now();
    let before = (SystemTime::now(), elapsed_nanos(start));
    println!("before the step");
    eprintln!("before the step, to stderr");

    let echoed = ctx.activity("Echo", &"echo").await?;

    println!("after the step");
    let map: HashMap<String, ()> = (0..16).map(|number| (number.to_string(), ())).collect();
    Ok(Readings {
        system_time: [before.0.into(), SystemTime::now().into()],
        elapsed_nanos: [before.1, elapsed_nanos(start)],
        hash_order: map.into_keys().collect(),
        environment: std::env::vars().collect(),
        arguments: std::env::args().count(),
        echoed,
    })
}

fn elapsed_nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
