//! The `log` crate's macros and panics, told to the host.

use core::fmt::Write as _;
use std::panic::PanicHookInfo;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::bindings::workflow::wfhost::durable::log as host;

struct HostLog;

impl Log for HostLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => host::Level::Error,
            Level::Warn => host::Level::Warn,
            Level::Info => host::Level::Info,
            Level::Debug => host::Level::Debug,
            Level::Trace => host::Level::Trace,
        };
        match record.args().as_str() {
            Some(message) => host::write(level, message),
            None => host::write(level, &record.args().to_string()),
        }
    }

    fn flush(&self) {}
}

/// Sends logs and panics to the host from now on. Another call changes nothing.
pub(crate) fn install() {
    if log::set_logger(&HostLog).is_ok() {
        log::set_max_level(LevelFilter::Trace);
        std::panic::set_hook(Box::new(tell_panic));
    }
}

fn tell_panic(panic: &PanicHookInfo<'_>) {
    let mut location = String::new();
    if let Some(at) = panic.location() {
        let _ = write!(location, "{}:{}:{}", at.file(), at.line(), at.column());
    }
    let message = panic
        .payload_as_str()
        .unwrap_or("a panic without a message");
    host::panicked(
        message,
        Some(location.as_str()).filter(|location| !location.is_empty()),
    );
}
