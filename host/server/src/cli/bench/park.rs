//! Many that only wait: what they cost, what it takes to open a file full of them, and whether they
//! are alive.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{Exit, Failure, print};
use super::child::{Child, Part};
use super::folder::{Folder, failed};
use super::latencies::{Latencies, millis};
use super::measure::{Meter, Taken, close};
use super::plan::{Plan, waking};
use super::{guests, load};
use crate::host::Host;
use crate::process;

/// How many are woken at the end.
const WOKEN_MAX: u64 = 100;

/// What the parked ones took.
pub(super) struct Parked {
    /// Until all of them wait. The latencies are those of the durable starts.
    pub(super) taken: Taken,
    /// The size of the closed file.
    pub(super) file_bytes: u64,
    /// What the memory of the process has grown by while they wait.
    pub(super) grown_bytes: Option<u64>,
    /// From the start of a new process until it drives all of them.
    pub(super) ready: Duration,
    /// The memory of that process before it drives them.
    pub(super) idle_bytes: Option<u64>,
    /// The memory of that process while it does.
    pub(super) driven_bytes: Option<u64>,
    /// What each of some of them took from an event to its durable end, in that process, as
    /// [`Latencies::json`] has it.
    pub(super) waking: Value,
    /// How many those were.
    pub(super) woken: u64,
}

/// Parks the instances of a plan, and looks at them from a new process.
///
/// # Errors
/// If one does not wake, or a host fails.
pub(super) async fn measure(plan: &Arc<Plan>, folder: &Folder) -> Result<Parked, Failure> {
    let file = folder.file("data.redb");
    let (taken, grown_bytes) = park(plan, &file).await?;
    let file_bytes = std::fs::metadata(&file).map_err(failed(&file))?.len();
    let begun = Instant::now();
    let mut child = Child::start(Part::Wake, plan, &file, None)?;
    let driven = child.line().await?;
    let ready = begun.elapsed();
    let driven_bytes = child.line().await?;
    let woken = child.line().await?;
    child.end().await?;
    Ok(Parked {
        taken,
        file_bytes,
        grown_bytes,
        ready,
        idle_bytes: driven["idle_bytes"].as_u64(),
        driven_bytes: driven_bytes["driven_bytes"].as_u64(),
        waking: woken["latency_ms"].clone(),
        woken: woken["instances"].as_u64().unwrap_or(0),
    })
}

async fn park(plan: &Arc<Plan>, file: &Path) -> Result<(Taken, Option<u64>), Failure> {
    let host = Arc::new(guests::create(file, plan.kind).await?);
    // A host that serves a file drives all in it, and lets go of those that wait.
    host.drive_all().await?;
    process::forget_peak();
    let idle_bytes = process::resident_bytes();
    let meter = Meter::start(&host, idle_bytes);
    let begun = Instant::now();
    let seen = load::run(&host, plan).await?;
    host.quiet().await?;
    let taken = meter.stop(&host, begun.elapsed(), seen.samples);
    let now = process::resident_bytes().zip(idle_bytes);
    let grown = now.map(|(now, idle)| now.saturating_sub(idle));
    close(host).await?;
    Ok((taken, grown))
}

/// In the new process: drives all, says so, and wakes some.
pub(super) async fn wake(plan: &Plan, host: &Host) -> Result<Exit, Failure> {
    let idle_bytes = process::resident_bytes();
    host.drive_all().await?;
    print(&json!({ "idle_bytes": idle_bytes }).to_string())?;
    host.quiet().await?;
    let driven_bytes = process::resident_bytes();
    print(&json!({ "driven_bytes": driven_bytes }).to_string())?;
    let woken = plan.instances.min(WOKEN_MAX);
    let mut samples = Vec::new();
    for number in 0..woken {
        // Spread over all of them: the first may still be warm.
        let id = plan.id(number * (plan.instances / woken));
        let begun = Instant::now();
        host.raise_event(&id, waking(), None).await?;
        load::completed(&host.wait(&id).await?)?;
        samples.push(begun.elapsed());
    }
    let latency_ms = Latencies::of(samples).json();
    print(&json!({ "instances": woken, "latency_ms": latency_ms }).to_string())?;
    Ok(Exit::Ok)
}

impl Parked {
    /// Bytes on disk of each.
    pub(super) fn bytes_each(&self, plan: &Plan) -> u64 {
        self.file_bytes / plan.instances
    }

    pub(super) fn json(&self, plan: &Plan) -> Value {
        json!({
            "file_bytes": self.file_bytes,
            "file_bytes_per_instance": self.bytes_each(plan),
            "rss_growth_bytes": self.grown_bytes,
            "reopened": {
                "ready_ms": millis(self.ready),
                "rss_bytes": { "idle": self.idle_bytes, "driven": self.driven_bytes },
            },
            "woken": { "instances": self.woken, "latency_ms": self.waking },
        })
    }
}
