//! The `log` crate's macros and panics, told to the host.

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::host::log as host;

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

/// Sends logs to the host from now on, and the panics of a guest. Another call changes nothing.
///
/// Outside of Wasm panics stay with whoever runs the tests, and so do the logs if a logger is
/// installed already.
pub(crate) fn install() {
    if log::set_logger(&HostLog).is_ok() {
        log::set_max_level(LevelFilter::Trace);
        #[cfg(target_family = "wasm")]
        std::panic::set_hook(Box::new(tell_panic));
    }
}

#[cfg(target_family = "wasm")]
fn tell_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let location = panic
        .location()
        .map(|at| format!("{}:{}:{}", at.file(), at.line(), at.column()));
    let message = panic
        .payload_as_str()
        .unwrap_or("a panic without a message");
    host::panicked(message, location.as_deref());
}
