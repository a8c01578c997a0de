//! The tables of limits. A key that is left out keeps its default; each is one or more.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Deserialize;
use wfhost_core::Name;
use wfhost_sandbox::Limits;

use super::value::{Text, Time};
use crate::engine::Bounds;
use crate::serve::ServeOptions;
use crate::tidy::Retention;

/// Takes over what was said.
fn put<T>(said: Option<impl Into<T>>, place: &mut T) {
    if let Some(said) = said {
        *place = said.into();
    }
}

impl From<Time> for std::time::Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

/// `[tls]`: PEM files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// The certificate, and those that lead to its root.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// `[telemetry]`: what the host tells of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Observing {
    pub(crate) log: Option<LogFormat>,
    pub(crate) log_level: Option<Text>,
    pub(crate) otlp_endpoint: Option<Text>,
}

/// How lines of the log are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// `[requests]`: what callers may take up.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Requests {
    body_bytes_max: Option<NonZeroUsize>,
    bodies_bytes_max: Option<NonZeroUsize>,
    body_pause_max: Option<Time>,
    body_time_max: Option<Time>,
    answer_pause_max: Option<Time>,
    head_time_max: Option<Time>,
    connections_max: Option<NonZeroUsize>,
    in_flight_max: Option<NonZeroUsize>,
    queued_max: Option<NonZeroUsize>,
    undurable_bytes_max: Option<NonZeroU64>,
    stop_time_max: Option<Time>,
}

impl Requests {
    pub(crate) fn put(&self, options: &mut ServeOptions) {
        put(self.body_bytes_max, &mut options.body_bytes_max);
        put(self.bodies_bytes_max, &mut options.bodies_bytes_max);
        put(self.body_pause_max, &mut options.body_pause_max);
        put(self.body_time_max, &mut options.body_time_max);
        put(self.answer_pause_max, &mut options.answer_pause_max);
        put(self.head_time_max, &mut options.head_time_max);
        put(self.connections_max, &mut options.connections_max);
        put(self.in_flight_max, &mut options.in_flight_max);
        put(self.queued_max, &mut options.queued_max);
        put(self.undurable_bytes_max, &mut options.undurable_bytes_max);
        put(self.stop_time_max, &mut options.stop_time_max);
    }
}

/// `[guests]`: how far guests may go, and how many stay in memory.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Guests {
    pub(crate) warm_max: Option<usize>,
    memory_bytes_max: Option<NonZeroUsize>,
    table_elements_max: Option<NonZeroUsize>,
    guests_max: Option<NonZeroU32>,
    stack_bytes_max: Option<NonZeroUsize>,
    payload_bytes_max: Option<NonZeroUsize>,
    run_bytes_max: Option<NonZeroUsize>,
    commands_per_turn_max: Option<NonZeroUsize>,
    log_bytes_max: Option<NonZeroUsize>,
    turn_time_max: Option<Time>,
    attempt_time_max: Option<Time>,
    http_body_bytes_max: Option<NonZeroU64>,
    http_connections_max: Option<NonZeroUsize>,
    module_bytes_max: Option<NonZeroUsize>,
}

impl Guests {
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        put(self.memory_bytes_max, &mut limits.memory_bytes_max);
        put(self.table_elements_max, &mut limits.table_elements_max);
        put(self.guests_max, &mut limits.guests_max);
        put(self.stack_bytes_max, &mut limits.stack_bytes_max);
        put(self.payload_bytes_max, &mut limits.payload_bytes_max);
        put(self.run_bytes_max, &mut limits.run_bytes_max);
        put(
            self.commands_per_turn_max,
            &mut limits.commands_per_turn_max,
        );
        put(self.log_bytes_max, &mut limits.log_bytes_max);
        put(self.turn_time_max, &mut limits.turn_time_max);
        put(self.attempt_time_max, &mut limits.attempt_time_max);
        put(self.http_body_bytes_max, &mut limits.http_body_bytes_max);
        put(self.http_connections_max, &mut limits.http_connections_max);
        put(self.module_bytes_max, &mut limits.module_bytes_max);
        limits
    }
}

/// `[activities]`: how many attempts run at once.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Activities {
    running_max: Option<NonZeroUsize>,
    running_per_instance_max: Option<NonZeroUsize>,
    running_by_name_max: BTreeMap<Name, NonZeroUsize>,
}

impl Activities {
    pub(crate) fn put(&self, bounds: &mut Bounds) {
        put(self.running_max, &mut bounds.running_max);
        let of_instance = self.running_per_instance_max;
        put(of_instance, &mut bounds.running_per_instance_max);
        let by_name = self.running_by_name_max.iter();
        bounds.running_by_name_max = by_name
            .map(|(name, max)| (name.clone(), max.get()))
            .collect();
    }
}

/// `[retention]`: how long ended instances are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retained {
    /// For those that are not named.
    all: Option<Time>,
    completed: Option<Time>,
    failed: Option<Time>,
    cancelled: Option<Time>,
    terminated: Option<Time>,
}

impl Retained {
    pub(crate) fn retention(&self) -> Retention {
        let of = |named: Option<Time>| named.or(self.all).map(|time| time.0);
        Retention {
            completed: of(self.completed),
            failed: of(self.failed),
            cancelled: of(self.cancelled),
            terminated: of(self.terminated),
        }
    }
}
