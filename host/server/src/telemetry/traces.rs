//! Where spans go: a bounded queue, a thread that takes them in batches, and the exporter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _,
};

use super::otlp;
use crate::error::Error;

/// So many spans wait to be sent; the next are dropped.
const WAITING_MAX: usize = 16_384;

/// How long a span waits for others to be sent with.
const SENT_AFTER: Duration = Duration::from_secs(1);

/// Sends the spans of a host to a collector. Clones send to the same.
///
/// Nobody waits for the collector: what it does not take in time is dropped, and counted.
#[derive(Clone)]
pub struct Traces(Arc<Shared>);

struct Shared {
    processor: BatchSpanProcessor,
    tally: Arc<Tally>,
}

/// What has become of spans.
#[derive(Debug, Default)]
struct Tally {
    waiting: AtomicUsize,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// The last batch was not taken.
    failing: AtomicBool,
}

/// What has become of spans so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanCounts {
    /// The collector took them.
    pub(crate) exported: u64,
    /// It did not.
    pub(crate) failed: u64,
    /// They found the queue full.
    pub(crate) dropped: u64,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.0.tally).finish()
    }
}

impl Traces {
    /// To a collector that speaks OTLP over HTTP, at this address: `http://` or `https://`, without
    /// the path `/v1/traces`, which is added. The environment's `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` mean what
    /// OpenTelemetry says. Whether anybody is there is not asked.
    ///
    /// # Errors
    /// If that is no such address.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn otlp(endpoint: &str) -> Result<Self, Error> {
        let mut exporter = otlp::exporter(endpoint)?;
        exporter.set_resource(&resource());
        let tally = Arc::new(Tally::default());
        let sender = Sender {
            exporter: Arc::new(exporter),
            endpoint: endpoint.into(),
            runtime: tokio::runtime::Handle::current(),
            tally: Arc::clone(&tally),
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_MAX)
            .with_scheduled_delay(SENT_AFTER)
            .build();
        let processor = BatchSpanProcessor::new(sender, config);
        Ok(Self(Arc::new(Shared { processor, tally })))
    }

    /// Has a span sent. Never waits.
    pub(crate) fn export(&self, span: SpanData) {
        let tally = &self.0.tally;
        // Counted here, so that the queue behind it is never full.
        let room = |waiting| (waiting < WAITING_MAX).then_some(waiting + 1);
        let (taken, then) = (Ordering::AcqRel, Ordering::Relaxed);
        match tally.waiting.fetch_update(taken, then, room) {
            Ok(_) => self.0.processor.on_end(span),
            Err(_) => drop(tally.dropped.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Waits until all that was exported is sent, for so long at most.
    pub(crate) fn flush(&self, time_max: Duration) {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let traces = self.clone();
        let flushes = std::thread::Builder::new().name("wfhost-flush".into());
        let flushes = flushes.spawn(move || {
            // What was not taken is counted. Nobody may wait any more.
            let _ = traces.0.processor.force_flush();
            let _ = tell.send(());
        });
        if flushes.is_ok() {
            let _ = told.recv_timeout(time_max);
        }
    }

    pub(crate) fn counts(&self) -> SpanCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.0.tally;
        SpanCounts {
            exported: count(&tally.exported),
            failed: count(&tally.failed),
            dropped: count(&tally.dropped),
        }
    }
}

/// What the environment says of this program; else that it is wfhost.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let key = opentelemetry::Key::from_static_str("service.name");
    let unknown = named
        .get(&key)
        .is_none_or(|name| name.as_str().starts_with("unknown_service"));
    if unknown {
        Resource::builder().with_service_name("wfhost").build()
    } else {
        named
    }
}

/// Sends batches in the runtime, which the thread of the queue is not part of, and counts them.
struct Sender<E> {
    exporter: Arc<E>,
    endpoint: Box<str>,
    runtime: tokio::runtime::Handle,
    tally: Arc<Tally>,
}

impl<E> fmt::Debug for Sender<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<E: SpanExporter + 'static> SpanExporter for Sender<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.tally.waiting.fetch_sub(count, Ordering::AcqRel);
        let exporter = Arc::clone(&self.exporter);
        let sent = self
            .runtime
            .spawn(async move { exporter.export(batch).await });
        let sent = match sent.await {
            Ok(sent) => sent,
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        self.tally.came(count as u64, &sent, &self.endpoint);
        sent
    }
}

impl Tally {
    /// Says so in the log when it begins to fail, and when it works again.
    fn came(&self, spans: u64, sent: &OTelSdkResult, endpoint: &str) {
        let counter = match sent {
            Ok(()) => &self.exported,
            Err(_) => &self.failed,
        };
        counter.fetch_add(spans, Ordering::Relaxed);
        let failed = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Err(error) if !failed => tracing::warn!(
                target: "wfhost::traces", endpoint, spans, detail = %error,
                "spans could not be sent; they are lost, and so are others until it works again"
            ),
            Ok(()) if failed => tracing::info!(
                target: "wfhost::traces", endpoint, "spans are sent again"
            ),
            _ => {}
        }
    }
}
