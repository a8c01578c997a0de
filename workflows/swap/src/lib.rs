//! A guest of the tests: a workflow that waits between its steps, where other code may take over.
//! The package `swap-changed` is that code.

use serde::{Deserialize, Serialize};
use wfhost_sdk::{Context, JsonSchema, Result, schemars, workflow};

wfhost_sdk::export!(workflows: [swap]);

/// The input of [`swap`].
#[derive(Serialize, Deserialize, JsonSchema)]
struct Swap {
    /// How many steps it takes in each generation.
    rounds: u64,
    /// How many generations follow this one.
    #[serde(default)]
    again: u32,
    /// In what the changed code differs.
    #[serde(default)]
    kind: String,
    /// The changed code reads small numbers only.
    #[serde(default)]
    number: u64,
    /// What the generations before have seen.
    #[serde(default)]
    seen: Vec<String>,
}

/// In each round calls `Echo`, waits for the event `go`, and notes which code got it. Returns the
/// notes.
#[workflow(name = "Swap")]
async fn swap(ctx: Context, mut input: Swap) -> Result<Vec<String>> {
    for round in 0..input.rounds {
        let echoed: u64 = ctx.activity("Echo", &round).await?;
        ctx.state()
            .set(&format!("swap/{}", ctx.info().id), &round)?;
        let event: u64 = ctx.event("go").await?;
        input.seen.push(format!("old {echoed} {event}"));
    }
    if input.again == 0 {
        return Ok(input.seen);
    }
    input.again -= 1;
    Err(ctx.continue_as_new(&input)?.into())
}
