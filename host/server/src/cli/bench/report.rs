//! What was measured, for people and as JSON.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Scenario;
use super::disk::Disk;
use super::latencies::{millis, millis_text};
use super::measure::Taken;
use super::park::Parked;
use super::plan::Plan;
use super::recover::{Recovered, Setting};

/// What a scenario found.
pub(super) enum Measured {
    Load(Taken),
    Park(Parked),
    Recover(Recovered),
}

/// All that is told of a run.
pub(super) struct Report {
    pub(super) plan: Arc<Plan>,
    pub(super) disk: Disk,
    pub(super) measured: Measured,
}

impl Report {
    /// One object. Numbers that do not apply are null.
    pub(super) fn json(&self) -> Value {
        let plan = &self.plan;
        let mut object = json!({
            "instances_per_second": null,
            "steps_per_second": null,
            "latency_ms": { "p50": null, "p90": null, "p99": null, "max": null },
            "cpu_ms_per_instance": null,
            "commits": null,
            "fsyncs": null,
            "bytes_written": null,
            "rss_bytes": { "idle": null, "peak": null },
            "disk": {
                "append_fdatasync_per_second": rounded(self.disk.appends_per_second),
                "group_commit_per_second": rounded(self.disk.records_per_second),
            },
        });
        if let Some(taken) = self.taken() {
            object["instances_per_second"] = rounded(per_second(plan.instances, taken)).into();
            if plan.steps > 0 {
                let steps = per_second(plan.steps_in_all(), taken);
                object["steps_per_second"] = rounded(steps).into();
            }
            object["latency_ms"] = taken.latencies.json();
            object["cpu_ms_per_instance"] = cpu_each(taken, plan).map(rounded).into();
            object["commits"] = taken.commits.into();
            object["fsyncs"] = taken.fsyncs.into();
            object["bytes_written"] = taken.bytes_written.into();
            object["rss_bytes"] = json!({ "idle": taken.idle_bytes, "peak": taken.peak_bytes });
        }
        match &self.measured {
            Measured::Load(_) => {}
            Measured::Park(parked) => object["park"] = parked.json(plan),
            Measured::Recover(recovered) => {
                object["latency_ms"] = recovered.by_default().step.json();
                let settings = recovered.settings.iter().map(Setting::json);
                object["recover"] = settings.collect();
            }
        }
        object
    }

    /// Lines, each figure beside its limit where there is one.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.title(), String::new()];
        if let Some(taken) = self.taken() {
            self.load(taken, &mut lines);
        }
        match &self.measured {
            Measured::Load(taken) => {
                row(&mut lines, "data file", &bytes(taken.file_bytes));
            }
            Measured::Park(parked) => self.park(parked, &mut lines),
            Measured::Recover(recovered) => recover(recovered, &mut lines),
        }
        let Disk {
            append, writers, ..
        } = self.disk;
        lines.push(String::new());
        row(
            &mut lines,
            "disk alone",
            &format!(
                "append 4 KiB and fdatasync: {} (median), {}/s; groups of up to {writers} records of \
                 256 bytes: {} records/s",
                millis_text(append),
                rate(self.disk.appends_per_second),
                rate(self.disk.records_per_second),
            ),
        );
        lines
    }

    fn taken(&self) -> Option<&Taken> {
        match &self.measured {
            Measured::Load(taken) => Some(taken),
            Measured::Park(parked) => Some(&parked.taken),
            Measured::Recover(_) => None,
        }
    }

    fn title(&self) -> String {
        let plan = &self.plan;
        let mut title = format!(
            "{}, {}: {} instances, {} at a time",
            plan.scenario.as_str(),
            plan.kind.as_str(),
            grouped(plan.instances),
            grouped(plan.concurrency as u64)
        );
        let steps = grouped(plan.steps);
        match plan.scenario {
            Scenario::Park => {}
            Scenario::Recover => title.push_str(&format!(", killed after {steps} steps each")),
            _ => title.push_str(&format!(", {steps} steps each")),
        }
        if plan.payload_bytes > 0 {
            let bytes = grouped(plan.payload_bytes as u64);
            title.push_str(&format!(", texts of {bytes} bytes"));
        }
        title
    }

    fn load(&self, taken: &Taken, lines: &mut Vec<String>) {
        let (plan, disk) = (&self.plan, &self.disk);
        let instances = per_second(plan.instances, taken);
        row(lines, "instances", &format!("{}/s", rate(instances)));
        if plan.steps > 0 {
            let steps = per_second(plan.steps_in_all(), taken);
            let records = rate(disk.records_per_second);
            let text = format!(
                "{}/s; the disk alone {records} records/s in groups",
                rate(steps)
            );
            row(lines, "steps", &text);
        }
        let append = millis_text(disk.append);
        let text = format!("{}; the disk alone {append} a sync", taken.latencies.text());
        row(lines, "latency", &text);
        if let Some((cpu, each)) = taken.cpu.zip(cpu_each(taken, plan)) {
            let busy = cpu.as_secs_f64() / taken.wall.as_secs_f64();
            let text =
                format!("{each:.3} ms an instance, {busy:.2} cores busy, the bench's own work too");
            row(lines, "processor", &text);
        }
        let each = taken.commits as f64 / plan.instances as f64;
        let text = format!("{}, {each:.3} an instance", grouped(taken.commits));
        row(lines, "commits", &text);
        let text = format!(
            "{}, {}/s; the disk alone {}/s one by one",
            grouped(taken.fsyncs),
            rate(per_second(taken.fsyncs, taken)),
            rate(disk.appends_per_second)
        );
        row(lines, "fsyncs", &text);
        let mut text = bytes(taken.bytes_written);
        text.push_str(&format!(
            ", {} bytes an instance",
            grouped(taken.bytes_written / plan.instances)
        ));
        if plan.steps > 0 {
            let each = taken.bytes_written / plan.steps_in_all();
            text.push_str(&format!(", {} a step", grouped(each)));
        }
        row(lines, "written", &text);
        if let Some((idle, peak)) = taken.idle_bytes.zip(taken.peak_bytes) {
            let text = format!("{} idle, {} at most", bytes(idle), bytes(peak));
            row(lines, "memory", &text);
        }
    }

    fn park(&self, parked: &Parked, lines: &mut Vec<String>) {
        let plan = &self.plan;
        let text = format!(
            "{} closed, {} bytes an instance",
            bytes(parked.file_bytes),
            grouped(parked.bytes_each(plan))
        );
        row(lines, "data file", &text);
        if let Some(grown) = parked.grown_bytes {
            let each = grouped(grown / plan.instances);
            let text = format!(
                "{} more while they wait, {each} bytes an instance",
                bytes(grown)
            );
            row(lines, "memory", &text);
        }
        let mut text = format!(
            "a new process drives all after {}",
            millis_text(parked.ready)
        );
        if let Some((idle, driven)) = parked.idle_bytes.zip(parked.driven_bytes) {
            text.push_str(&format!(
                ", and grows from {} to {}",
                bytes(idle),
                bytes(driven)
            ));
        }
        row(lines, "reopened", &text);
        let woken = &parked.waking;
        let text = format!(
            "{} by an event, each through after p50 {} ms, max {} ms",
            grouped(parked.woken),
            woken["p50"],
            woken["max"]
        );
        row(lines, "woken", &text);
    }
}

fn recover(recovered: &Recovered, lines: &mut Vec<String>) {
    lines.push(format!(
        "from the start of a new process to the first new step that is durable, {} kills each:",
        grouped(recovered.rounds.into())
    ));
    for setting in &recovered.settings {
        let name = match setting.quick_repair {
            true => "quick repair",
            false => "without",
        };
        let text = format!(
            "p50 {}, max {}; the file of {} is open after {}",
            millis_text(setting.step.percentile(50)),
            millis_text(setting.step.max()),
            bytes(setting.file_bytes),
            millis_text(setting.opened.percentile(50)),
        );
        row(lines, name, &text);
    }
}

impl Setting {
    fn json(&self) -> Value {
        json!({
            "quick_repair": self.quick_repair,
            "first_step_ms": self.step.json(),
            "open_ms": { "p50": millis(self.opened.percentile(50)), "max": millis(self.opened.max()) },
            "file_bytes": self.file_bytes,
        })
    }
}

fn row(lines: &mut Vec<String>, name: &str, text: &str) {
    lines.push(format!("{name:<14}{text}"));
}

fn per_second(count: u64, taken: &Taken) -> f64 {
    count as f64 / taken.wall.as_secs_f64()
}

/// Milliseconds of the processor.
fn cpu_each(taken: &Taken, plan: &Plan) -> Option<f64> {
    let cpu = taken.cpu?;
    Some(cpu.as_secs_f64() * 1_000.0 / plan.instances as f64)
}

/// To a thousandth: what is beyond was not measured.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// A rate, for people.
fn rate(number: f64) -> String {
    if number < 100.0 {
        format!("{number:.1}")
    } else {
        grouped(number.round() as u64)
    }
}

/// A whole number with a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// An amount of memory or disk, for people.
fn bytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), shown);
        }
        assert_eq!(rate(0.25), "0.2");
        assert_eq!(rate(2_400.4), "2,400");
        assert_eq!(rounded(0.123_456), 0.123);
    }
}
