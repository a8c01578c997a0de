//! What the host tells of itself: what it counts, what it logs, and the spans of traces.
//!
//! The engine reports here what has its place in the log; what leaves the process waits until that
//! is durable, and never keeps a worker or the writer: queues are bounded, and what does not fit is
//! dropped and counted.

mod events;
mod metrics;
mod otlp;
mod scrape;
mod spans;
mod traces;

use std::time::{Duration, Instant};

pub(crate) use events::{Event, Events};
pub(crate) use metrics::{AttemptOutcome, GuestKind, Metrics};
pub(crate) use spans::{About, AttemptDone, attempt_span, caller, instance_span};
pub use traces::Traces;

/// How long closing a host waits for lines of the log and for spans that have not left.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// All that one host tells of itself.
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    /// Absent: nobody wants spans.
    pub(crate) traces: Option<Traces>,
}

impl Telemetry {
    pub(crate) fn new(traces: Option<Traces>) -> Self {
        Self {
            metrics: Metrics::new(),
            events: Events::default(),
            traces,
        }
    }

    /// Sends off what is left. Blocks, for [`FLUSH_MAX`] where nobody takes it.
    pub(crate) fn close(&self) {
        let until = Instant::now() + FLUSH_MAX;
        self.events.close(FLUSH_MAX);
        if let Some(traces) = &self.traces {
            traces.flush(until.saturating_duration_since(Instant::now()));
        }
    }
}
