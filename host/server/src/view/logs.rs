//! What guest code has logged, by the turn or the attempt that logged it.

use serde::Serialize;
use utoipa::ToSchema;
use wfhost_core::Name;
use wfhost_core::record::{LogLevel, LogLine, Record};

use super::words::{Called, Digest, Time};
use crate::narrate::Told;

/// How important a line is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LogLevel)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::Trace,
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

/// A line that guest code logged, and who did.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogRow {
    /// When the turn was taken, or the attempt had ended.
    at: Time,
    level: Level,
    message: String,
    /// The turn that logged it, if one did.
    turn: Option<u64>,
    /// The activity of the attempt that logged it, if one did.
    activity: Option<Called>,
    task: Option<u32>,
    attempt: Option<u32>,
    /// The module of the attempt.
    module: Option<Digest>,
    #[serde(skip)]
    line: LogLine,
}

impl LogRow {
    /// What a record has of them.
    pub(crate) fn all(told: &Told, record: &Record) -> Vec<Self> {
        let row = |line: &LogLine| Self {
            at: record.at().into(),
            level: line.level.into(),
            message: line.message.clone(),
            turn: None,
            activity: None,
            task: None,
            attempt: None,
            module: None,
            line: line.clone(),
        };
        match (told, record.original()) {
            (Told::Turn(past), _) => {
                let of_turn = |line| Self {
                    turn: Some(past.number),
                    ..row(line)
                };
                past.turn.log.iter().map(of_turn).collect()
            }
            (Told::Other { activity }, Record::Attempt(attempt)) => {
                let of_attempt = |line| Self {
                    activity: activity.as_ref().map(Into::into),
                    task: Some(attempt.task.0),
                    attempt: Some(attempt.number),
                    module: Some(attempt.module.into()),
                    ..row(line)
                };
                attempt.log.iter().map(of_attempt).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it is wanted by who asks for lines of this level, of this activity.
    pub(crate) fn is_wanted(&self, least: Option<LogLevel>, of: Option<&Name>) -> bool {
        let of_it = |name: &Name| self.activity.as_ref().is_some_and(|it| it.is(name));
        least.is_none_or(|least| self.line.level >= least) && of.is_none_or(of_it)
    }

    /// Who logged it, for people.
    pub(crate) fn source(&self) -> String {
        match (self.turn, self.task, self.attempt) {
            (Some(turn), ..) => format!("turn {turn}"),
            (None, Some(task), Some(attempt)) => {
                let activity = self.activity.as_ref().map_or("an activity", Called::as_str);
                format!("{activity}, task {task}, attempt {attempt}")
            }
            _ => String::new(),
        }
    }

    /// The line as it was logged.
    pub(crate) fn line(&self) -> &LogLine {
        &self.line
    }
}
