//! When a schedule fires: a cron expression in a time zone.
//!
//! The expression is read and searched by `croner`, the rules of time zones come with `chrono-tz`,
//! so that no host depends on what its machine has installed. What a clock that is put forward or
//! back means is decided as Vixie's cron does it, here, since `croner` does so only where an
//! expression names a single time of day:
//!
//! - An expression that names times of day (its hour and minute do not begin with `*`) means each
//!   of them once a day. One that the clock skips is made up at the first moment after; one that
//!   comes twice counts the first time.
//! - Any other means what the clock shows: nothing at a time that it skips, and twice what comes
//!   twice.

use std::fmt;

use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Timelike};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::parser::{CronParser, Year};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The longest cron expression, in bytes.
const CRON_BYTES_MAX: usize = 256;

/// The longest time that a clock skips, in minutes; whole days were, at the date line.
const GAP_MINUTES_MAX: u32 = 2 * 24 * 60;

/// A cron expression in a time zone.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Times {
    expression: String,
    zone: Tz,
    cron: Cron,
    /// It names times of day.
    of_day: bool,
}

/// As it stands in the data file.
#[derive(Serialize, Deserialize)]
struct Written {
    cron: String,
    time_zone: String,
}

/// Times that a schedule cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimes {
    /// It is not a cron expression.
    #[error(
        "`{expression}` is not a cron expression: {why}; it takes minute, hour, day of month, month \
         and day of week, with seconds before them if they matter, or a word such as @hourly"
    )]
    Cron {
        /// What was given.
        expression: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such time zone.
    #[error("`{name}` is not a time zone: {}", hint(.like))]
    Zone {
        /// What was given.
        name: String,
        /// One that may have been meant.
        like: Option<&'static str>,
    },
}

fn hint(like: &Option<&'static str>) -> String {
    match like {
        Some(like) => format!("did you mean `{like}`?"),
        None => "it takes a name of the IANA database such as Europe/Berlin".into(),
    }
}

impl Times {
    /// Reads a cron expression, and the name of a time zone in the IANA database.
    ///
    /// # Errors
    /// If one of them is wrong.
    pub fn new(expression: &str, time_zone: &str) -> Result<Self, InvalidTimes> {
        let expression = expression.trim();
        let invalid = |why: String| InvalidTimes::Cron {
            expression: expression.chars().take(80).collect(),
            why,
        };
        if expression.len() > CRON_BYTES_MAX {
            return Err(invalid(format!("it has more than {CRON_BYTES_MAX} bytes")));
        }
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let cron = parser.parse(expression);
        Ok(Self {
            cron: cron.map_err(|error| invalid(plain(&error.to_string())))?,
            zone: zone(time_zone)?,
            of_day: names_times_of_day(expression),
            expression: expression.to_owned(),
        })
    }

    /// The cron expression, as it was given.
    #[must_use]
    pub fn cron(&self) -> &str {
        &self.expression
    }

    /// The name of the time zone.
    #[must_use]
    pub fn time_zone(&self) -> &'static str {
        self.zone.name()
    }

    /// The first firing after a time; none if there is none before the year 5000. It is on a whole
    /// second.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let seconds = i64::try_from(time.0 / 1_000).ok()?;
        let start = DateTime::from_timestamp(seconds, 0)?.with_timezone(&self.zone);
        if self.of_day {
            return self.next_of_day(&start);
        }
        let next = self.cron.find_next_occurrence(&start, false).ok()?;
        timestamp(&next)
    }

    fn next_of_day(&self, start: &DateTime<Tz>) -> Option<Timestamp> {
        let mut shown = start.naive_local();
        loop {
            shown = self.cron.find_next_occurrence(&shown, false).ok()?;
            let at = self.first_at(shown)?;
            if at > *start {
                return timestamp(&at);
            }
        }
    }

    /// The first moment at which the clock shows this time, or a later one if it skips that.
    fn first_at(&self, shown: NaiveDateTime) -> Option<DateTime<Tz>> {
        if let Some(at) = self.earliest(shown) {
            return Some(at);
        }
        // The clock is put forward by whole minutes.
        let minute = |number: u32| {
            let later = shown.checked_add_signed(Duration::minutes(i64::from(number)))?;
            later.with_second(0)
        };
        let minutes = (1..=GAP_MINUTES_MAX).filter_map(minute);
        let mut found = minutes.filter_map(|shown| self.earliest(shown));
        found.next()
    }

    fn earliest(&self, shown: NaiveDateTime) -> Option<DateTime<Tz>> {
        match self.zone.from_local_datetime(&shown) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at),
            LocalResult::None => None,
        }
    }

    /// The last firings after `after` and up to `until`, at most `count`, in their order. The work
    /// grows with `count`, not with the time.
    #[must_use]
    pub fn newest(&self, after: Timestamp, until: Timestamp, count: usize) -> Vec<Timestamp> {
        let firings = |from: u64| {
            let next = |at: &Timestamp| self.next_after(*at);
            let all = std::iter::successors(self.next_after(Timestamp(from)), next);
            all.take_while(|at| *at <= until)
        };
        let has_enough = |from: u64| firings(from).take(count).count() == count;
        let mut from = after.0;
        if has_enough(from) {
            // The latest time from which there are enough: from there on there are no more.
            let mut beyond = until.0;
            while beyond - from > 1 {
                let middle = from + (beyond - from) / 2;
                if has_enough(middle) {
                    from = middle;
                } else {
                    beyond = middle;
                }
            }
        }
        firings(from).collect()
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.expression, self.zone.name())
    }
}

impl TryFrom<Written> for Times {
    type Error = InvalidTimes;
    fn try_from(written: Written) -> Result<Self, InvalidTimes> {
        Self::new(&written.cron, &written.time_zone)
    }
}

impl From<Times> for Written {
    fn from(times: Times) -> Self {
        Self {
            time_zone: times.time_zone().to_owned(),
            cron: times.expression,
        }
    }
}

/// Whether neither hours nor minutes nor seconds begin with `*`.
fn names_times_of_day(expression: &str) -> bool {
    if expression.starts_with('@') {
        return !expression.eq_ignore_ascii_case("@hourly");
    }
    let fields: Vec<_> = expression.split_whitespace().collect();
    let of_time = fields.len().saturating_sub(3);
    fields[..of_time].iter().all(|it| !it.starts_with('*'))
}

fn zone(name: &str) -> Result<Tz, InvalidTimes> {
    name.parse().map_err(|_| {
        let meant = |it: &&Tz| {
            let known = it.name();
            let city = known.rsplit('/').next().unwrap_or(known);
            known.eq_ignore_ascii_case(name) || city.eq_ignore_ascii_case(name)
        };
        InvalidTimes::Zone {
            name: name.chars().take(80).collect(),
            like: TZ_VARIANTS.iter().find(meant).map(|it| it.name()),
        }
    })
}

fn timestamp(at: &DateTime<Tz>) -> Option<Timestamp> {
    u64::try_from(at.timestamp_millis()).ok().map(Timestamp)
}

/// What `croner` says, without its headline and its full stop.
fn plain(message: &str) -> String {
    let (_, what) = message.split_once(": ").unwrap_or(("", message));
    what.trim_end_matches('.').replace("CronPattern", "it")
}

#[cfg(test)]
mod tests;
