//! Schedules as they stand.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema as ApiSchema};
use utoipa::{PartialSchema, ToSchema};
use wfhost_core::schedule::{self, Overlap, ScheduleName};

use super::words::{Called, DueTime, Id, Time, all, one_of, tags};
use crate::schedules::Scheduled;

/// The name of a schedule: 1 to 64 letters, digits, `_` and `-`.
#[derive(Serialize, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$", examples("nightly"), as = ScheduleName)]
pub(crate) struct ScheduleId(String);

impl From<&ScheduleName> for ScheduleId {
    fn from(name: &ScheduleName) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// What a firing does while an instance of the schedule has not ended.
#[derive(Serialize)]
pub(crate) struct OverlapWord(&'static str);

impl ToSchema for OverlapWord {
    fn name() -> std::borrow::Cow<'static, str> {
        "Overlap".into()
    }
}

impl PartialSchema for OverlapWord {
    fn schema() -> RefOr<ApiSchema> {
        one_of(
            "What a firing does while an instance of the schedule has not ended.",
            Overlap::ALL.map(Overlap::as_str),
        )
    }
}

/// A schedule as it stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct Schedule {
    name: ScheduleId,
    /// Minute, hour, day of month, month and day of week, perhaps with seconds before them.
    cron: String,
    /// Where these times are meant, as the IANA database names it.
    time_zone: String,
    workflow: Called,
    /// What each instance is started with.
    input: Value,
    /// Tags of each instance, beside `schedule` and `scheduled_at`.
    tags: BTreeMap<String, String>,
    overlap: OverlapWord,
    /// How far back missed firings are made up.
    #[schema(examples("1h"))]
    catch_up: String,
    /// How many of them at once.
    catch_up_max: u32,
    /// It does not fire after then.
    until: Option<DueTime>,
    /// It does not fire until it is resumed.
    paused: Option<Paused>,
    /// When it fires next; null if it is paused or at its end.
    next: Option<DueTime>,
    /// The firing that waits for an instance to end.
    queued: Option<DueTime>,
    /// Its instances that have not ended.
    running: Vec<Id>,
    /// The last firings, the newest first.
    firings: Vec<Firing>,
    created_at: Time,
    changed_at: Time,
}

/// A schedule was paused.
#[derive(Serialize, ToSchema)]
struct Paused {
    at: Time,
    note: Option<String>,
}

/// A firing, or several that were missed, and what became of it.
#[derive(Serialize, ToSchema)]
struct Firing {
    /// When it was due; of several that were missed the first.
    due_at: DueTime,
    /// When that was decided.
    at: Time,
    outcome: FiringOutcome,
    /// The instance that it started.
    id: Option<Id>,
    /// Why it started none.
    why: Option<String>,
}

/// What became of a firing.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FiringOutcome {
    Started,
    /// Somebody asked for it, out of turn.
    Triggered,
    Skipped,
    Failed,
}

impl From<&Scheduled> for Schedule {
    fn from(Scheduled { schedule, standing }: &Scheduled) -> Self {
        Self {
            name: (&schedule.name).into(),
            cron: schedule.times.cron().to_owned(),
            time_zone: schedule.times.time_zone().to_owned(),
            workflow: (&schedule.workflow).into(),
            input: schedule.input.value(),
            tags: tags(&schedule.tags),
            overlap: OverlapWord(schedule.overlap.as_str()),
            catch_up: catch_up(schedule.catch_up_ms),
            catch_up_max: schedule.catch_up_max,
            until: schedule.until.map(Into::into),
            paused: standing.paused.as_ref().map(Into::into),
            next: schedule.next(standing).map(Into::into),
            queued: standing.queued.map(Into::into),
            running: all(&standing.running),
            firings: standing.firings.iter().rev().map(Firing::from).collect(),
            created_at: standing.created_at.into(),
            changed_at: standing.changed_at.into(),
        }
    }
}

impl From<&schedule::Paused> for Paused {
    fn from(paused: &schedule::Paused) -> Self {
        Self {
            at: paused.at.into(),
            note: paused.note.clone(),
        }
    }
}

impl From<&schedule::Firing> for Firing {
    fn from(firing: &schedule::Firing) -> Self {
        use schedule::Outcome;
        let (outcome, id, why) = match &firing.outcome {
            Outcome::Started(id) => (FiringOutcome::Started, Some(id), None),
            Outcome::Triggered(id) => (FiringOutcome::Triggered, Some(id), None),
            Outcome::Skipped(reason) => (FiringOutcome::Skipped, None, Some(reason.to_string())),
            Outcome::Failed(why) => (FiringOutcome::Failed, None, Some(why.clone())),
        };
        Self {
            due_at: firing.due_at.into(),
            at: firing.at.into(),
            outcome,
            id: id.map(Into::into),
            why,
        }
    }
}

/// How far back missed firings are made up, as it is given.
pub(crate) fn catch_up(millis: u64) -> String {
    humantime::format_duration(Duration::from_millis(millis)).to_string()
}
