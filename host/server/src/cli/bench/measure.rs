//! The scenarios in which instances run to their end.

use std::sync::Arc;
use std::time::Duration;

use wfhost_store::Counts;

use super::super::{Exit, Failure};
use super::folder::Folder;
use super::latencies::Latencies;
use super::plan::Plan;
use super::{Scenario, guests, load};
use crate::host::Host;
use crate::process;

/// What a run took.
pub(super) struct Taken {
    /// From the first start to the last end.
    pub(super) wall: Duration,
    pub(super) latencies: Latencies,
    /// Of this process, if the system tells.
    pub(super) cpu: Option<Duration>,
    pub(super) commits: u64,
    pub(super) fsyncs: u64,
    pub(super) bytes_written: u64,
    /// The memory of this process before the first instance.
    pub(super) idle_bytes: Option<u64>,
    /// The most that it was since.
    pub(super) peak_bytes: Option<u64>,
    /// The size of the data file at the end.
    pub(super) file_bytes: u64,
}

/// What a host and its process have used so far.
pub(super) struct Meter {
    counts: Counts,
    cpu: Option<Duration>,
    idle_bytes: Option<u64>,
}

impl Meter {
    /// From here on.
    pub(super) fn start(host: &Host, idle_bytes: Option<u64>) -> Self {
        Self {
            counts: host.counts(),
            cpu: process::cpu(),
            idle_bytes,
        }
    }

    /// Up to here.
    pub(super) fn stop(self, host: &Host, wall: Duration, samples: Vec<Duration>) -> Taken {
        let (before, after) = (self.counts, host.counts());
        let cpu = process::cpu().zip(self.cpu);
        Taken {
            wall,
            latencies: Latencies::of(samples),
            cpu: cpu.map(|(after, before)| after.saturating_sub(before)),
            commits: after.commits - before.commits,
            fsyncs: after.syncs - before.syncs,
            bytes_written: after.bytes_written - before.bytes_written,
            idle_bytes: self.idle_bytes,
            peak_bytes: process::peak_bytes(),
            file_bytes: after.file_bytes,
        }
    }
}

/// Runs the instances of a plan on a new data file.
///
/// # Errors
/// If one does not complete, or the host fails.
pub(super) async fn measure(plan: &Arc<Plan>, folder: &Folder) -> Result<Taken, Failure> {
    let host = guests::create(&folder.file("data.redb"), plan.kind).await?;
    let host = Arc::new(host);
    process::forget_peak();
    let idle_bytes = process::resident_bytes();
    let warm = Arc::new(plan.warm_up());
    load::run(&host, &warm).await?;
    let meter = Meter::start(&host, idle_bytes);
    let seen = load::run(&host, plan).await?;
    let taken = meter.stop(&host, seen.wall, seen.samples);
    if plan.scenario == Scenario::Order {
        check_orders(&host, plan.instances + warm.instances).await?;
    }
    close(host).await?;
    Ok(taken)
}

/// Whether each order was taken once: what it reserved stands in the state.
async fn check_orders(host: &Host, orders: u64) -> Result<(), Failure> {
    const AT_ONCE: usize = 1_000;
    let mut reserved = 0;
    let mut after: Option<String> = None;
    loop {
        let page = host.scan_state("reserved/", after.as_deref(), AT_ONCE);
        let page = page.await?;
        let counts = page
            .iter()
            .filter_map(|(_, entry)| entry.value.value().as_u64());
        reserved += counts.sum::<u64>();
        match page.last() {
            Some((key, _)) if page.len() == AT_ONCE => after = Some(key.clone()),
            _ => break,
        }
    }
    if reserved == orders {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Host,
        format!(
            "{orders} orders have reserved {reserved} items: a bug of wfhost, please report it"
        ),
    ))
}

/// Closes a host that nobody uses any more.
pub(super) async fn close(host: Arc<Host>) -> Result<(), Failure> {
    let host = Arc::into_inner(host).expect("all lanes have ended");
    Ok(host.close().await?)
}
