//! What `wfhost serve` tells of itself: its log on stderr, and where its traces go.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Builder;

use super::Failure;
use crate::config::{LogFormat, Observing};
use crate::error::Error;
use crate::telemetry::Traces;

/// How a host is observed from outside.
#[derive(Args, Clone)]
pub(super) struct Telemetry {
    /// How the log is written to stderr: lines for people, or a JSON object a line [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Observing")]
    log: Option<LogFormat>,
    /// What is logged: off, error, warn, info, debug or trace; or that by part, such as
    /// info,wfhost::http=debug [default: info]
    #[arg(
        long,
        value_name = "LEVEL",
        env = "WFHOST_LOG_LEVEL",
        help_heading = "Observing"
    )]
    log_level: Option<String>,
    /// Send traces to this collector, as OTLP over HTTP: http://localhost:4318
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        help_heading = "Observing"
    )]
    otlp_endpoint: Option<String>,
}

/// Whether all that this process says on stderr is JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Whether what is said goes to the log.
pub(super) fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

impl Telemetry {
    /// Has this process log from here on.
    ///
    /// # Errors
    /// If the level is none.
    pub(super) fn begin_log(&self, file: &Observing) -> Result<(), Failure> {
        let level = said(&self.log_level).or(file.log_level.as_ref().map(|it| it.0.as_str()));
        let filter = filter(level.unwrap_or_default())?;
        let format = self.log.or(file.log).unwrap_or_default();
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        let begun = match format {
            LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
        // A program that has called this as a library and logs already goes on doing so.
        if begun.is_ok() {
            JSON.store(format == LogFormat::Json, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Where traces go.
    ///
    /// # Errors
    /// If that is no address of a collector.
    pub(super) fn traces(&self, file: &Observing) -> Result<Option<Traces>, Error> {
        let of_file = file.otlp_endpoint.as_ref().map(|it| it.0.as_str());
        let endpoint = said(&self.otlp_endpoint).or(of_file);
        endpoint.map(Traces::otlp).transpose()
    }
}

/// What was given; an empty variable of the environment is one that is not set.
fn said(given: &Option<String>) -> Option<&str> {
    let given = given.as_deref().map(str::trim);
    given.filter(|given| !given.is_empty())
}

fn filter(level: &str) -> Result<EnvFilter, Failure> {
    let level = if level.is_empty() { "info" } else { level };
    let known = Builder::default().parse(level).map_err(|error| {
        Failure::usage(format!(
            "`{level}` is no level of the log: {error}; use off, error, warn, info, debug or trace, \
             or that by part, such as info,wfhost::http=debug"
        ))
    })?;
    // A single word that is no level would be taken for the name of a part.
    let word = level.trim();
    let plain = word.chars().all(|it| it.is_ascii_alphanumeric());
    if plain && word.parse::<tracing::level_filters::LevelFilter>().is_err() {
        return Err(Failure::usage(format!(
            "`{level}` is no level of the log; use off, error, warn, info, debug or trace"
        )));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_directives_and_nothing_else() {
        for (level, fine) in [
            ("info", true),
            ("OFF", true),
            ("warn,wfhost::http=debug", true),
            ("verbose", false),
            ("", true),
            ("wfhost=loud", false),
        ] {
            assert_eq!(filter(level).is_ok(), fine, "{level}");
        }
    }
}
