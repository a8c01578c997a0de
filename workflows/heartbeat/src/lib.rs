//! Beats at intervals: a workflow that may run for years without its history growing.
//!
//! ```console
//! $ wfhost run workflows/heartbeat --input '{"every_ms":200,"beats":25}'
//! {"beats":25,"stopped":false}
//! ```
//!
//! Without `beats` it goes on until the event `stop` comes.
//!
//! Look here for: a durable timer in a loop, an event that ends it, and continue-as-new.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfhost_sdk::{
    ActivityContext, Context, JsonSchema, Result, activity, schemars, select, workflow,
};

wfhost_sdk::export!(workflows: [heartbeat], activities: [beat]);

/// Beats before the workflow starts over. Its history, and the replay after a crash, are no longer than
/// these; much fewer would start over for nothing.
const BEATS_PER_GENERATION: u64 = 10;

/// The input: how to beat, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Rhythm {
    /// The time from one beat to the next, in milliseconds.
    every_ms: u64,
    /// How many beats in all; without end if left out.
    beats: Option<u64>,
    /// How many there were in the generations before; 0 at the start.
    #[serde(default)]
    done: u64,
}

/// The result.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Beaten {
    /// How many beats there were.
    beats: u64,
    /// Whether the event `stop` ended it.
    stopped: bool,
}

/// Beats until it has beaten so often, or the event `stop` comes.
#[workflow]
async fn heartbeat(ctx: Context, mut rhythm: Rhythm) -> Result<Beaten> {
    let every = Duration::from_millis(rhythm.every_ms);
    // From one due time to the next, so that what a beat takes does not add up.
    let mut due = ctx.now();
    for _ in 0..BEATS_PER_GENERATION {
        if rhythm.beats.is_some_and(|beats| rhythm.done >= beats) {
            return Ok(rhythm.ended(false));
        }
        due += every;
        select! {
            stop = ctx.event::<Option<String>>("stop") => {
                log::info!("stopped: {}", stop?.unwrap_or_default());
                return Ok(rhythm.ended(true));
            }
            slept = ctx.sleep_until(due) => slept?,
        }
        rhythm.done += 1;
        ctx.call::<beat>(&rhythm.done).await?;
        ctx.set_custom_status(&rhythm.done)?;
    }
    // A fresh history from here on; a `stop` that nobody has read yet moves along.
    Err(ctx.continue_as_new(&rhythm)?.into())
}

impl Rhythm {
    fn ended(&self, stopped: bool) -> Beaten {
        Beaten {
            beats: self.done,
            stopped,
        }
    }
}

/// Says that the workflow is alive.
#[activity]
fn beat(ctx: ActivityContext, number: u64) -> Result<()> {
    log::info!("{} beats: {number}", ctx.id());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wfhost_sdk::testing::{self, End, Scenario};

    fn rhythm(beats: Option<u64>) -> Scenario<heartbeat> {
        let rhythm = Rhythm {
            every_ms: 60_000,
            beats,
            done: 0,
        };
        testing::workflow(rhythm).real_activity::<beat>()
    }

    #[test]
    fn it_beats_so_often_over_several_generations() {
        for (beats, generations) in [(0, 0), (9, 0), (10, 1), (25, 2)] {
            let report = rhythm(Some(beats)).run();
            let stopped = false;
            assert_eq!(report.output().unwrap(), &Beaten { beats, stopped });
            assert_eq!(report.generation(), generations);
            assert_eq!(report.elapsed(), Duration::from_secs(60) * beats as u32);
        }
    }

    #[test]
    fn a_stop_ends_it_at_once_in_whichever_generation() {
        for (minutes, beats) in [(0, 0), (5, 4), (300, 299)] {
            let report = rhythm(None)
                .event_at(Duration::from_secs(60 * minutes), "stop", "enough")
                .run();
            let stopped = true;
            assert_eq!(report.output().unwrap(), &Beaten { beats, stopped });
        }
    }

    #[test]
    fn the_next_generation_knows_how_far_it_came() {
        let report = rhythm(None).single_generation().run();
        let next = json!({ "every_ms": 60_000, "beats": null, "done": 10 });
        assert_eq!(report.end(), &End::ContinuedAsNew(next));
    }
}
