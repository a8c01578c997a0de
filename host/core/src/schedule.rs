//! Schedules: which workflow is started when, and what becomes of a firing.
//!
//! A schedule has *firings*, the times that its cron expression means. Each is decided once, in
//! their order: it starts an instance, waits for one, or is skipped, and why is kept. Up to where
//! that is done is [`Standing::decided_until`]. The instance of a firing has an id that follows from
//! the schedule and the time, so that a host which died before it wrote down what it did finds that
//! instead of doing it again.

mod times;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{DurationMs, InstanceId, Json, Name, Timestamp};

pub use times::{InvalidTimes, Times};

/// The tag by which instances of a schedule are found; its value is the schedule's name.
pub const TAG: &str = "schedule";

/// The tag of such an instance that says when its firing was due.
pub const DUE_TAG: &str = "scheduled_at";

/// A firing that comes so late counts as on time: a host needs a moment to be restarted.
pub const ON_TIME_MS: DurationMs = 10_000;

/// How far back missed firings are made up if a schedule does not say: an hour.
pub const CATCH_UP_DEFAULT_MS: DurationMs = 3_600_000;

/// How many missed firings are made up at once if a schedule does not say.
pub const CATCH_UP_DEFAULT_MAX: u32 = 10;

/// The most that a schedule may say: each is an instance, and all of them are started at once.
pub const CATCH_UP_MAX: u32 = 1_000;

/// So many firings of a schedule are remembered with what became of them.
pub const FIRINGS_KEPT: usize = 50;

/// So many unfinished instances of a schedule are remembered; only with [`Overlap::Allow`] can
/// there be more than a few.
pub const RUNNING_KEPT: usize = 1_000;

/// The name of a schedule: 1 to 64 letters, digits, `_` and `-`, as an instance's id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ScheduleName(Arc<str>);

/// A text that is not the name of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a schedule: use 1 to {max} letters, digits, `_` and `-`",
    max = InstanceId::BYTES_MAX
)]
pub struct InvalidScheduleName(String);

impl ScheduleName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ScheduleName {
    type Err = InvalidScheduleName;

    fn from_str(text: &str) -> Result<Self, InvalidScheduleName> {
        match text.parse::<InstanceId>() {
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidScheduleName(text.chars().take(80).collect())),
        }
    }
}

impl TryFrom<String> for ScheduleName {
    type Error = InvalidScheduleName;
    fn try_from(text: String) -> Result<Self, InvalidScheduleName> {
        text.parse()
    }
}

impl From<ScheduleName> for String {
    fn from(name: ScheduleName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a firing does while an instance of the schedule has not ended. One that is stalled or
/// suspended has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// It starts another instance beside it.
    Allow,
    /// It waits until that has ended; those that come while one waits are skipped.
    QueueOne,
    /// It asks that to cancel, and waits until it has ended. One that comes meanwhile takes its
    /// place.
    CancelOther,
    /// It terminates that, with its children, and starts at once.
    TerminateOther,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Skip,
        Self::Allow,
        Self::QueueOne,
        Self::CancelOther,
        Self::TerminateOther,
    ];

    /// As it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
            Self::QueueOne => "queue-one",
            Self::CancelOther => "cancel-other",
            Self::TerminateOther => "terminate-other",
        }
    }

    /// What becomes of a firing: `is_running` says whether an instance has not ended, `queued`
    /// whether a firing waits for its end.
    #[must_use]
    pub fn decide(self, is_running: bool, queued: bool) -> Decision {
        if !(is_running || queued) {
            return Decision::Start;
        }
        match self {
            Self::Skip => Decision::Skip(SkipReason::Running),
            Self::Allow => Decision::Start,
            Self::QueueOne if queued => Decision::Skip(SkipReason::Queued),
            Self::QueueOne => Decision::Queue,
            Self::CancelOther => Decision::CancelAndQueue,
            Self::TerminateOther => Decision::TerminateAndStart,
        }
    }

    /// Whether a firing that waits may start now.
    #[must_use]
    pub fn lets_queued_start(self, is_running: bool) -> bool {
        self == Self::Allow || !is_running
    }
}

/// What becomes of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Its instance is started.
    Start,
    /// Nothing is started.
    Skip(SkipReason),
    /// It waits until no instance runs.
    Queue,
    /// The same, after those that run were asked to cancel; one that waits is overtaken.
    CancelAndQueue,
    /// Those that run are terminated, then its instance is started.
    TerminateAndStart,
}

/// What a schedule does, as it was set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// When it fires.
    pub times: Times,
    /// The workflow that it starts, as the bindings say at that time.
    pub workflow: Name,
    /// The input of each instance.
    pub input: Json,
    /// Tags of each instance, beside [`TAG`] and [`DUE_TAG`].
    pub tags: Vec<(String, String)>,
    /// What a firing does while an instance has not ended.
    pub overlap: Overlap,
    /// How far back missed firings are made up; 0: not at all.
    pub catch_up_ms: DurationMs,
    /// How many of them at once, the newest; 1 to [`CATCH_UP_MAX`].
    pub catch_up_max: u32,
    /// No firing is after then.
    pub until: Option<Timestamp>,
}

/// A schedule that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Its times are wrong.
    #[error(transparent)]
    Times(#[from] InvalidTimes),
    /// It would make up none or too many at once.
    #[error("the most firings that are made up at once are 1 to {CATCH_UP_MAX}")]
    CatchUp,
    /// A tag is given by the host.
    #[error("the tag `{0}` is given by the host; choose another")]
    Tag(String),
    /// It does not fire any more.
    #[error("it would never fire: there is no such day, or its end is before the next firing")]
    Never,
}

/// Where a schedule stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// When the schedule was first set.
    pub created_at: Timestamp,
    /// When it was last set to something else.
    pub changed_at: Timestamp,
    /// What is to become of firings up to here is decided.
    pub decided_until: Timestamp,
    /// It does not fire, and why.
    pub paused: Option<Paused>,
    /// The firing that waits for an instance to end.
    pub queued: Option<Timestamp>,
    /// Its instances that had not ended when that was last seen, oldest first.
    pub running: Vec<InstanceId>,
    /// The last firings, oldest first.
    pub firings: VecDeque<Firing>,
}

/// A schedule was paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// When.
    pub at: Timestamp,
    /// Why, in the caller's words.
    pub note: Option<String>,
}

/// One firing, or several that were missed, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// When it was due; of several that were missed the first.
    pub due_at: Timestamp,
    /// When that was decided.
    pub at: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It started an instance.
    Started(InstanceId),
    /// Somebody asked for it, out of turn, and it started an instance.
    Triggered(InstanceId),
    /// It started nothing, as the schedule says.
    Skipped(SkipReason),
    /// It could not start anything.
    Failed(String),
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Triggered(_) => "triggered",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
        }
    }
}

/// Why a firing started nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// An instance had not ended.
    Running,
    /// Another firing waited already.
    Queued,
    /// It waited, and a later one took its place.
    Overtaken,
    /// No host fired in time, and what was due up to `until` is not made up.
    Missed {
        /// The last moment of that time.
        until: Timestamp,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("an instance of the schedule had not ended"),
            Self::Queued => f.write_str("another firing waited already"),
            Self::Overtaken => f.write_str("it waited, and a later firing took its place"),
            Self::Missed { until } => write!(
                f,
                "no host fired in time; what was due until {until} is more than the schedule makes up"
            ),
        }
    }
}

impl Standing {
    /// That of a schedule that is set now.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            created_at: now,
            changed_at: now,
            decided_until: now,
            paused: None,
            queued: None,
            running: Vec::new(),
            firings: VecDeque::new(),
        }
    }

    /// Remembers what became of a firing, in place of the oldest that is remembered.
    pub fn remember(&mut self, due_at: Timestamp, at: Timestamp, outcome: Outcome) {
        if let Outcome::Started(id) | Outcome::Triggered(id) = &outcome
            && !self.running.contains(id)
        {
            self.running.push(id.clone());
        }
        self.firings.push_back(Firing {
            due_at,
            at,
            outcome,
        });
        let surplus = self.firings.len().saturating_sub(FIRINGS_KEPT);
        self.firings.drain(..surplus);
        let surplus = self.running.len().saturating_sub(RUNNING_KEPT);
        self.running.drain(..surplus);
    }
}

/// What is due of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// Firings that are not made up: the first of them, and the end of their time.
    pub missed: Option<(Timestamp, Timestamp)>,
    /// Firings that are to be decided, in their order.
    pub firings: Vec<Timestamp>,
}

impl Schedule {
    /// One that says no more than it must.
    #[must_use]
    pub fn new(name: ScheduleName, times: Times, workflow: Name, input: Json) -> Self {
        Self {
            name,
            times,
            workflow,
            input,
            tags: Vec::new(),
            overlap: Overlap::default(),
            catch_up_ms: CATCH_UP_DEFAULT_MS,
            catch_up_max: CATCH_UP_DEFAULT_MAX,
            until: None,
        }
    }

    /// Whether it may be set at `now`.
    ///
    /// # Errors
    /// If a number is out of its range, a tag is the host's own, or it would never fire.
    pub fn check(&self, now: Timestamp) -> Result<(), InvalidSchedule> {
        if !(1..=CATCH_UP_MAX).contains(&self.catch_up_max) {
            return Err(InvalidSchedule::CatchUp);
        }
        let own = |(key, _): &&(String, String)| [TAG, DUE_TAG].contains(&key.as_str());
        if let Some((key, _)) = self.tags.iter().find(own) {
            return Err(InvalidSchedule::Tag(key.clone()));
        }
        match self.after(now) {
            Some(_) => Ok(()),
            None => Err(InvalidSchedule::Never),
        }
    }

    /// Where it stands once it is set at `now` in place of another. Firings that are still to be
    /// decided are forgotten where it is to fire at other times.
    #[must_use]
    pub fn stands_after(&self, before: &Self, standing: &Standing, now: Timestamp) -> Standing {
        let same_times = self.times == before.times && self.until == before.until;
        Standing {
            changed_at: now,
            decided_until: match same_times {
                true => standing.decided_until,
                false => now,
            },
            ..standing.clone()
        }
    }

    /// What is due at `now`. Nothing while it is paused.
    #[must_use]
    pub fn due(&self, standing: &Standing, now: Timestamp) -> Due {
        let Some(first) = self.next(standing).filter(|first| *first <= now) else {
            return Due::default();
        };
        let end = self.until.map_or(now, |until| until.min(now));
        let late_max = self.catch_up_ms.max(ON_TIME_MS);
        let oldest = now.0.saturating_sub(late_max);
        let from = Timestamp(oldest.saturating_sub(1)).max(standing.decided_until);
        let count = match self.catch_up_ms {
            0 => 1,
            _ => self.catch_up_max as usize,
        };
        let firings = self.times.newest(from, end, count);
        let begin = firings.first().map_or(end, |at| Timestamp(at.0 - 1));
        Due {
            missed: (first <= begin).then_some((first, begin)),
            firings,
        }
    }

    /// The next firing that is not decided, if there is one and it is not paused.
    #[must_use]
    pub fn next(&self, standing: &Standing) -> Option<Timestamp> {
        if standing.paused.is_some() {
            return None;
        }
        self.after(standing.decided_until)
    }

    /// The firing after a time, if there is one.
    #[must_use]
    pub fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self.times.next_after(time)?;
        self.until.is_none_or(|until| next <= until).then_some(next)
    }

    /// The firings after a time, at most `count`.
    #[must_use]
    pub fn upcoming(&self, after: Timestamp, count: usize) -> Vec<Timestamp> {
        let next = |at: &Timestamp| self.after(*at);
        std::iter::successors(self.after(after), next)
            .take(count)
            .collect()
    }

    /// The id of the instance that a firing starts.
    #[must_use]
    pub fn instance_of(&self, due_at: Timestamp) -> InstanceId {
        InstanceId::of_firing(self.name.as_str(), due_at)
    }

    /// The tags of that instance.
    #[must_use]
    pub fn tags_of(&self, due_at: Timestamp) -> Vec<(String, String)> {
        let ours = [
            (TAG.to_owned(), self.name.to_string()),
            (DUE_TAG.to_owned(), due_at.to_string()),
        ];
        self.tags.iter().cloned().chain(ours).collect()
    }

    /// Whether an instance with these tags is one of this schedule.
    #[must_use]
    pub fn is_of(&self, tags: &[(String, String)]) -> bool {
        let is_ours = |(key, value): &(String, String)| key == TAG && value == self.name.as_str();
        tags.iter().any(is_ours)
    }
}

#[cfg(test)]
mod tests;
