//! The metrics as text: what was counted, and how the host stands at the moment.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::Labels;
use crate::engine::{Engine, Load};
use crate::error::Error;
use crate::host::{Host, blocking};
use crate::process;

/// A figure of the moment.
type Now = Gauge<u64, AtomicU64>;

impl Host {
    /// What the host has counted since it was opened, and how it stands now, as OpenMetrics text
    /// (`application/openmetrics-text; version=1.0.0`), which Prometheus reads. The first call
    /// reads the row of each instance of the data file.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn metrics(&self) -> Result<String, Error> {
        let engine = std::sync::Arc::clone(self.engine());
        blocking(move || text(&engine)).await
    }
}

fn text(engine: &Engine) -> Result<String, Error> {
    let mut host = Registry::with_prefix("wfhost");
    let mut process = Registry::with_prefix("process");
    register_instances(&mut host, engine)?;
    register_store(&mut host, engine);
    register_load(&mut host, &engine.load());
    register_spans(&mut host, engine);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    host.register("build", "The running program", Info::new(version));
    register_process(&mut process);
    let mut text = String::new();
    let written = encode_registry(&mut text, &engine.telemetry.metrics.registry)
        .and_then(|()| encode_registry(&mut text, &host))
        .and_then(|()| encode_registry(&mut text, &process))
        .and_then(|()| encode_eof(&mut text));
    written.expect("writing to memory does not fail");
    Ok(text)
}

fn register_instances(registry: &mut Registry, engine: &Engine) -> Result<(), Error> {
    let instances = Family::<Labels<2>, Now>::default();
    for standing in engine.store.standings()? {
        let workflow = standing.workflow.as_str().to_owned().into();
        let status = standing.status.as_str().into();
        instances
            .get_or_create(&[("workflow", workflow), ("status", status)])
            .set(standing.instances);
    }
    let help = "Instances in the data file, by where they stand";
    registry.register("instances", help, instances);
    Ok(())
}

fn register_store(registry: &mut Registry, engine: &Engine) {
    let counts = engine.store.counts();
    for (name, help, unit, count) in [
        ("commits", "Transactions", None, counts.commits),
        (
            "gathers",
            "Transactions that moved records from the log to the histories",
            None,
            counts.gathers,
        ),
        (
            "records",
            "Records that were ever submitted to the data file",
            None,
            counts.records,
        ),
        ("file_syncs", "Syncs of the data file", None, counts.syncs),
        (
            "file_written",
            "Bytes written to the data file",
            Some(Unit::Bytes),
            counts.bytes_written,
        ),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(count);
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, counter),
            None => registry.register(name, help, counter),
        }
    }
    for (name, help, bytes) in [
        ("file_size", "The size of the data file", counts.file_bytes),
        (
            "log_size",
            "Log that is not moved to the histories yet",
            counts.log_bytes,
        ),
        (
            "log_undurable",
            "Log that is not durable yet",
            counts.undurable_bytes,
        ),
    ] {
        registry.register_with_unit(name, help, Unit::Bytes, now(bytes));
    }
    let help = "Records that are not durable yet";
    registry.register("log_undurable_records", help, now(counts.undurable_records));
}

fn register_load(registry: &mut Registry, load: &Load) {
    let jobs = Family::<Labels<1>, Now>::default();
    for (kind, count) in [("short", load.jobs_short), ("long", load.jobs_long)] {
        jobs.get_or_create(&[("kind", kind.into())])
            .set(count as u64);
    }
    registry.register("queue_jobs", "Jobs that wait for a worker", jobs);
    for (name, help, count) in [
        (
            "attempts_running",
            "Attempts of activities that were let in",
            load.attempts_running,
        ),
        (
            "attempts_waiting",
            "Attempts of activities that the bounds keep out",
            load.attempts_waiting,
        ),
        (
            "guests_warm",
            "Guests of workflows in memory",
            load.guests_warm,
        ),
        (
            "instances_driven",
            "Instances in memory because something is due for them soon",
            load.instances_driven,
        ),
    ] {
        registry.register(name, help, now(count as u64));
    }
}

fn register_spans(registry: &mut Registry, engine: &Engine) {
    let dropped: Counter = Counter::default();
    dropped.inc_by(engine.telemetry.events.dropped());
    let help = "Lines of the log that were dropped because they were not taken fast enough";
    registry.register("log_lines_dropped", help, dropped);
    let Some(traces) = &engine.telemetry.traces else {
        return;
    };
    let spans = Family::<Labels<1>, Counter>::default();
    let counts = traces.counts();
    for (outcome, count) in [
        ("exported", counts.exported),
        ("failed", counts.failed),
        ("dropped", counts.dropped),
    ] {
        spans
            .get_or_create(&[("outcome", outcome.into())])
            .inc_by(count);
    }
    let help = "Spans that the collector took, that it did not, and that found the queue full";
    registry.register("spans", help, spans);
}

fn register_process(registry: &mut Registry) {
    if let Some(bytes) = process::resident_bytes() {
        let help = "Memory of the process";
        registry.register_with_unit("resident_memory", help, Unit::Bytes, now(bytes));
    }
    if let Some(cpu) = process::cpu() {
        let counter: Counter<f64, AtomicU64> = Counter::default();
        counter.inc_by(cpu.as_secs_f64());
        let help = "Processor time of the process";
        registry.register_with_unit("cpu", help, Unit::Seconds, counter);
    }
}

fn now(figure: u64) -> Now {
    let gauge = Now::default();
    gauge.set(figure);
    gauge
}
