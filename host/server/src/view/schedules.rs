//! Schedules as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use wfhost_core::schedule::{Firing, Outcome};
use wfhost_core::{InstanceId, Timestamp};

use super::tags;
use crate::schedules::Scheduled;

/// A schedule: `name`, `cron`, `time_zone`, `workflow`, `input`, `tags`, `overlap`, `catch_up`,
/// `catch_up_max`, `until`, `paused` (`at`, `note`), `next`, `queued` (the firing that waits),
/// `running` (ids), `firings` (the newest first), `created_at`, `changed_at`.
#[must_use]
pub fn schedule(scheduled: &Scheduled) -> Value {
    let Scheduled { schedule, standing } = scheduled;
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let paused = standing.paused.as_ref();
    let running = standing.running.iter().map(InstanceId::as_str);
    json!({
        "name": schedule.name.as_str(),
        "cron": schedule.times.cron(),
        "time_zone": schedule.times.time_zone(),
        "workflow": schedule.workflow.as_str(),
        "input": schedule.input.value(),
        "tags": tags(&schedule.tags),
        "overlap": schedule.overlap.as_str(),
        "catch_up": catch_up(schedule.catch_up_ms),
        "catch_up_max": schedule.catch_up_max,
        "until": time(schedule.until),
        "paused": paused.map(|it| json!({ "at": it.at.to_string(), "note": it.note })),
        "next": time(scheduled.next()),
        "queued": time(standing.queued),
        "running": running.collect::<Vec<_>>(),
        "firings": standing.firings.iter().rev().map(firing).collect::<Vec<_>>(),
        "created_at": standing.created_at.to_string(),
        "changed_at": standing.changed_at.to_string(),
    })
}

/// How far back missed firings are made up, as it is given.
pub(crate) fn catch_up(millis: u64) -> String {
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}

/// A firing: `due_at`, `at`, `outcome` (`started`, `triggered`, `skipped`, `failed`), `id` of the
/// instance that it started, and else `why`.
fn firing(firing: &Firing) -> Value {
    let (outcome, id, why) = match &firing.outcome {
        Outcome::Started(id) => ("started", Some(id.as_str()), None),
        Outcome::Triggered(id) => ("triggered", Some(id.as_str()), None),
        Outcome::Skipped(reason) => ("skipped", None, Some(reason.to_string())),
        Outcome::Failed(why) => ("failed", None, Some(why.clone())),
    };
    json!({
        "due_at": firing.due_at.to_string(),
        "at": firing.at.to_string(),
        "outcome": outcome,
        "id": id,
        "why": why,
    })
}
