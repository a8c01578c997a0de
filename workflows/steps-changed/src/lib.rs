//! A guest of the tests: workflows of the module `steps` as an author might have changed them, so
//! that a history of the old code does not fit them any more.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfhost_sdk::{Context, Result, workflow};

wfhost_sdk::export!(workflows: [rerolls, steps]);

/// The input of [`steps`].
#[derive(Deserialize)]
struct Steps {
    steps: u64,
}

/// As `Steps` of the module `steps`, with a pause between the steps.
#[workflow(name = "Steps")]
async fn steps(ctx: Context, input: Steps) -> Result<u64> {
    for step in 0..input.steps {
        if step > 0 {
            ctx.sleep(Duration::from_millis(1)).await?;
        }
        ctx.activity::<u64>("Echo", &step).await?;
    }
    Ok(input.steps)
}

/// The input of [`rerolls`].
#[derive(Serialize, Deserialize)]
struct Rerolls {
    left: u32,
    rolls: Vec<u64>,
}

/// As `Rerolls` of the module `steps`, with a pause before the roll.
#[workflow(name = "Rerolls")]
async fn rerolls(ctx: Context, mut input: Rerolls) -> Result<Vec<u64>> {
    ctx.sleep(Duration::from_millis(1)).await?;
    ctx.event::<()>("next").await?;
    input.rolls.push(ctx.random());
    Ok(input.rolls)
}
