//! The activities: one that works, and several that do not.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wfhost_sdk::{ActivityContext, Failure, Result, activity};

/// Returns its input.
#[activity(name = "Echo")]
pub(crate) fn echo(_: ActivityContext, input: Value) -> Result<Value> {
    Ok(input)
}

/// Fails always.
#[activity(name = "Fail")]
pub(crate) fn fail(_: ActivityContext, _: Value) -> Result<()> {
    Err(Failure::new("always", "this activity fails always").into())
}

/// The input of [`flaky_until`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Flaky {
    pub(crate) attempts: u32,
}

/// Fails until the attempt with this number, and returns which attempt it was.
#[activity(name = "FlakyUntil")]
pub(crate) fn flaky_until(ctx: ActivityContext, input: Flaky) -> Result<u32> {
    log::info!(
        "attempt {} with key {}",
        ctx.attempt(),
        ctx.idempotency_key()
    );
    if ctx.attempt() < input.attempts {
        let message = format!("attempt {} of {} fails", ctx.attempt(), input.attempts);
        return Err(Failure::new("flaky", message).into());
    }
    Ok(ctx.attempt())
}

/// Panics.
#[activity(name = "PanicActivity")]
pub(crate) fn panic_activity(_: ActivityContext, _: Value) -> Result<()> {
    panic!("this activity panics")
}

/// The input of [`take_one`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Take {
    pub(crate) key: String,
}

/// Takes one from the number under a key, and returns how many are left.
#[activity(name = "TakeOne")]
pub(crate) fn take_one(ctx: ActivityContext, Take { key }: Take) -> Result<u64> {
    let there: u64 = ctx.state().get(&key)?.unwrap_or(0);
    let Some(left) = there.checked_sub(1) else {
        let message = format!("nothing is left under {key:?}");
        return Err(Failure::new("sold-out", message).not_retryable().into());
    };
    ctx.state().set(&key, &left)?;
    log::info!("{left} left");
    Ok(left)
}
