//! What wasmtime makes of `wit/`: the types and traits of the contract, and what they become in
//! our own words.

use wfhost_core::record::{ActivityOptions, ChildOptions, Entry, LogLevel};
use wfhost_core::{Failure, Input, RetryPolicy, Timestamp};

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "module",
    imports: { default: trappable },
});

pub(crate) use exports::wfhost::durable::{activity, workflow};
pub(crate) use wfhost::durable::{context, log, state, types};

/// The package of the contract.
pub(crate) const PACKAGE: &str = "wfhost:durable/";

/// The version of the contract that this code serves.
pub(crate) const VERSION: &str = "0.1.0";

/// The interfaces of the contract that a module may import.
pub(crate) const OFFERED: [&str; 4] = ["types", "context", "state", "log"];

fn finite(number: f64, or: f64) -> f64 {
    if number.is_finite() { number } else { or }
}

impl From<types::RetryPolicy> for RetryPolicy {
    fn from(policy: types::RetryPolicy) -> Self {
        Self {
            max_attempts: policy.max_attempts,
            first_delay: policy.first_delay,
            // What is no number would differ from itself on replay.
            backoff: finite(policy.backoff, 1.0),
            max_delay: policy.max_delay,
            jitter: finite(policy.jitter, 0.0),
            final_kinds: policy.final_kinds,
        }
    }
}

impl From<context::ActivityOptions> for ActivityOptions {
    fn from(options: context::ActivityOptions) -> Self {
        Self {
            retry: options.retry.map(Into::into),
            attempt_timeout: options.attempt_timeout,
            total_timeout: options.total_timeout,
            at_most_once: options.at_most_once,
        }
    }
}

impl From<context::ChildOptions> for ChildOptions {
    fn from(options: context::ChildOptions) -> Self {
        Self {
            id: options.id,
            retry: options.retry.map(Into::into),
            tags: options.tags,
            detached: options.detached,
            same_deployment: options.same_deployment,
        }
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Trace => Self::Trace,
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}

impl From<Entry> for state::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            value: entry.value.as_str().to_owned(),
            version: entry.version,
        }
    }
}

impl From<&Failure> for types::Failure {
    fn from(failure: &Failure) -> Self {
        Self {
            kind: failure.kind.clone(),
            message: failure.message.clone(),
            retryable: failure.retryable,
            details: failure
                .details
                .as_ref()
                .map(|json| json.as_str().to_owned()),
        }
    }
}

impl From<&Input> for workflow::Input {
    fn from(input: &Input) -> Self {
        match input {
            Input::Completed { task, outcome } => Self::Completed(workflow::Completion {
                task: task.0,
                outcome: match outcome {
                    Ok(json) => Ok(json.as_str().to_owned()),
                    Err(failure) => Err(failure.into()),
                },
            }),
            Input::CancelRequested { reason } => Self::CancelRequested(reason.clone()),
            Input::UpdateRequested { id, name, input } => Self::UpdateRequested(workflow::Update {
                id: *id,
                name: name.as_str().to_owned(),
                input: input.as_str().to_owned(),
            }),
        }
    }
}

/// A deadline as the contract writes it.
pub(crate) fn timestamp(time: Option<Timestamp>) -> Option<u64> {
    time.map(|time| time.0)
}
