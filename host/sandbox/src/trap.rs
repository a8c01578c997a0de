//! How a guest's run ends when it does not come back: what stopped it, and what that is called.

use std::error::Error as StdError;

use wasmtime::{Trap, WasmBacktrace};
use wfhost_core::replay::Divergence;
use wfhost_core::state::ReadError;
use wfhost_core::{Failure, Json, kind};

/// Why the host ended a guest's run, carried through the guest's frames.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the state has changed since it was first read")]
    StateChanged,
    #[error("cannot read the state")]
    StateFailed(#[source] Box<dyn StdError + Send + Sync>),
    /// A limit of the host; names it and its value.
    #[error("{0}")]
    Limit(String),
    /// The host lacks memory, for whatever reason that is not the guest's.
    #[error("{0}")]
    NoRoom(String),
    /// The time that the call allowed is over.
    #[error("{0}")]
    Timeout(String),
    #[error("it was stopped from outside")]
    Stopped,
    #[error("the code differs from its history")]
    Diverged(Box<Divergence>),
    /// What the guest handed over is not what the contract says.
    #[error("{0}")]
    InvalidOutput(String),
    /// The guest asked what it may not ask.
    #[error("{0}")]
    Forbidden(String),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Changed => Self::StateChanged,
            ReadError::Failed(source) => Self::StateFailed(source),
        }
    }
}

/// How a run ended, by what the caller does.
#[derive(Debug)]
pub(crate) enum Ended {
    StateChanged,
    StateFailed(Box<dyn StdError + Send + Sync>),
    Limit(String),
    NoRoom(String),
    Timeout(String),
    Stopped,
    Diverged(Box<Divergence>),
    /// The guest's own fault.
    Failed(Failure),
}

impl Ended {
    /// What happened, in words.
    pub(crate) fn message(self) -> String {
        self.into_failure().message
    }

    /// What happened, as the outcome of a call.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Limit(message) => Failure::last(kind::LIMIT, message),
            Self::NoRoom(message) => Failure::retryable(kind::LIMIT, message),
            Self::Timeout(message) => Failure::retryable(kind::TIMEOUT, message),
            Self::Stopped => Failure::last(kind::CANCELLED, Stop::Stopped.to_string()),
            Self::StateChanged => {
                Failure::retryable(kind::STATE_CONFLICT, Stop::StateChanged.to_string())
            }
            Self::StateFailed(source) => {
                Failure::retryable(kind::STATE_CONFLICT, source.to_string())
            }
            Self::Diverged(divergence) => Failure::last(kind::TRAP, divergence.to_string()),
        }
    }
}

/// Reads the error that a call of the guest ended with. `panic` is what the guest said about
/// its panic, if it did.
pub(crate) fn ended(error: wasmtime::Error, panic: Option<String>) -> Ended {
    let frames = error.downcast_ref().map(frames).unwrap_or_default();
    let error = match error.downcast::<Stop>() {
        Ok(stop) => return stopped(stop, &frames),
        Err(error) => error,
    };
    if let Some(panic) = panic {
        return Ended::Failed(failure(kind::PANIC, panic, &frames));
    }
    let place = frames.first().map(|name| format!(", in {name}"));
    let place = place.unwrap_or_default();
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Ended::Limit(format!("the stack is full{place}")),
        Some(trap) => Ended::Failed(failure(kind::TRAP, format!("{trap}{place}"), &frames)),
        None => {
            let cause = error.root_cause();
            Ended::Failed(failure(kind::TRAP, format!("{cause}{place}"), &frames))
        }
    }
}

fn stopped(stop: Stop, frames: &[String]) -> Ended {
    match stop {
        Stop::StateChanged => Ended::StateChanged,
        Stop::StateFailed(source) => Ended::StateFailed(source),
        Stop::Limit(message) => Ended::Limit(message),
        Stop::NoRoom(message) => Ended::NoRoom(message),
        Stop::Timeout(message) => Ended::Timeout(message),
        Stop::Stopped => Ended::Stopped,
        Stop::Diverged(mut divergence) => {
            divergence.backtrace = (!frames.is_empty()).then(|| frames.join("\n"));
            Ended::Diverged(divergence)
        }
        Stop::InvalidOutput(message) => Ended::Failed(Failure {
            retryable: false,
            ..failure(kind::INVALID_OUTPUT, message, frames)
        }),
        Stop::Forbidden(message) => Ended::Failed(failure(kind::TRAP, message, frames)),
    }
}

fn failure(kind: &str, message: String, frames: &[String]) -> Failure {
    let details = serde_json::json!({ "backtrace": frames });
    Failure {
        details: Some(Json::of(&details)),
        ..Failure::retryable(kind, message)
    }
}

/// The names of the guest's functions, innermost first.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let frames = backtrace.frames().iter();
    let names = frames.map(|frame| match frame.func_name() {
        Some(name) => readable(name),
        None => format!("function {}", frame.func_index()),
    });
    names.filter(|name| !is_machinery(name)).collect()
}

/// What stands between a panic's place and its trap in every Rust program, and helps nobody.
fn is_machinery(name: &str) -> bool {
    const MACHINERY: [&str; 8] = [
        "std::panicking::",
        "core::panicking::",
        "std::process::abort",
        "std::sys::",
        "__rustc",
        "__rust_",
        "rust_panic",
        "abort",
    ];
    MACHINERY.iter().any(|start| name.starts_with(start))
}

/// A symbol as a person reads it: demangled, without its hash.
fn readable(symbol: &str) -> String {
    let demangled = format!("{:#}", rustc_demangle::demangle(symbol));
    // The linker demangles names itself and leaves the hash: `::h` and sixteen digits.
    match demangled.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name.to_owned()
        }
        Some(_) | None => demangled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_readable() {
        let cases = [
            ("order::reserve::h0123456789abcdef", "order::reserve"),
            ("_ZN5order7reserve17h0123456789abcdefE", "order::reserve"),
            ("_RNvC5order7reserve", "order::reserve"),
            ("plain", "plain"),
        ];
        for (symbol, name) in cases {
            assert_eq!(readable(symbol), name);
        }
    }
}
