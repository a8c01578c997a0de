//! A guest of the tests: `Steps` as an author might have changed it, so that a history of the old
//! code does not fit it any more.

use std::time::Duration;

use serde::Deserialize;
use wfhost_sdk::{Context, Result, workflow};

wfhost_sdk::export!(workflows: [steps]);

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
