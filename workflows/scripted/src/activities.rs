//! The activities that a script may call.

use serde::Deserialize;
use serde_json::Value;
use wfhost_sdk::{ActivityContext, Failure, Result, activity};

/// Returns its input.
#[activity(name = "Echo")]
pub(crate) fn echo(_: ActivityContext, input: Value) -> Result<Value> {
    Ok(input)
}

/// Adds one to the number under a key, and returns the new one.
#[activity(name = "Add")]
pub(crate) fn add(ctx: ActivityContext, key: String) -> Result<u64> {
    let sum = ctx.state().get::<u64>(&key)?.unwrap_or(0) + 1;
    ctx.state().set(&key, &sum)?;
    Ok(sum)
}

/// Fails until the attempt with this number, and returns which it was.
#[activity(name = "Flaky")]
pub(crate) fn flaky(ctx: ActivityContext, until: u32) -> Result<u32> {
    log::info!("attempt {}", ctx.attempt());
    if ctx.attempt() < until {
        return Err(Failure::new("flaky", format!("attempt {} fails", ctx.attempt())).into());
    }
    Ok(ctx.attempt())
}

/// The input of [`fails`].
#[derive(Deserialize)]
pub(crate) struct Fails {
    kind: String,
    #[serde(default)]
    retryable: bool,
}

/// Fails as it is told.
#[activity(name = "Fails")]
pub(crate) fn fails(_: ActivityContext, input: Fails) -> Result<()> {
    let failure = Failure::new(input.kind, "as it was told");
    Err(if input.retryable {
        failure
    } else {
        failure.not_retryable()
    }
    .into())
}

/// Never comes back.
#[activity(name = "Spins")]
pub(crate) fn spins(ctx: ActivityContext, _: Value) -> Result<()> {
    loop {
        std::hint::black_box(&ctx);
    }
}
