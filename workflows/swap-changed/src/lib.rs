//! A guest of the tests: the workflow of the package `swap` as an author might have changed it. It
//! does the same, but for instances of some kinds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfhost_sdk::{Context, JsonSchema, Result, schemars, workflow};

wfhost_sdk::export!(workflows: [swap]);

/// The input of [`swap`].
#[derive(Serialize, Deserialize, JsonSchema)]
struct Swap {
    rounds: u64,
    #[serde(default)]
    again: u32,
    #[serde(default)]
    kind: String,
    /// It was a larger number before.
    #[serde(default)]
    number: u8,
    #[serde(default)]
    seen: Vec<String>,
}

/// As `Swap` of the package `swap`; of the kind `payload` it calls `Echo` with something else, of
/// the kind `value` it writes something else, of the kind `order` it pauses before the second round.
#[workflow(name = "Swap")]
async fn swap(ctx: Context, mut input: Swap) -> Result<Vec<String>> {
    for round in 0..input.rounds {
        if input.kind == "order" && round == 1 {
            ctx.sleep(Duration::from_millis(1)).await?;
        }
        let sent = round + if input.kind == "payload" { 100 } else { 0 };
        let echoed: u64 = ctx.activity("Echo", &sent).await?;
        let written = round + if input.kind == "value" { 100 } else { 0 };
        ctx.state()
            .set(&format!("swap/{}", ctx.info().id), &written)?;
        let event: u64 = ctx.event("go").await?;
        input.seen.push(format!("new {echoed} {event}"));
    }
    if input.again == 0 {
        return Ok(input.seen);
    }
    input.again -= 1;
    Err(ctx.continue_as_new(&input)?.into())
}
