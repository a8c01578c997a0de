//! What a kill costs: from the start of a new process to the first step that is new and durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use wfhost_core::record::Record;

use super::super::{Exit, Failure, print};
use super::child::{Child, Part};
use super::folder::{Folder, failed};
use super::latencies::Latencies;
use super::measure::close;
use super::plan::Plan;
use super::{guests, load};
use crate::error::Error;
use crate::host::Host;

/// What fills a file: instances of so many steps of this size, so many between two looks at the
/// file.
const FILL_INSTANCES: u64 = 64;
const FILL_STEPS: u64 = 16;
const FILL_BYTES: usize = 4096;

/// What the kills cost.
pub(super) struct Recovered {
    pub(super) rounds: u32,
    /// With quick repair, and without.
    pub(super) settings: [Setting; 2],
}

impl Recovered {
    /// The setting that a host has by itself for a file of this size.
    pub(super) fn by_default(&self) -> &Setting {
        let [with, without] = &self.settings;
        if without.file_bytes < wfhost_store::Options::default().quick_repair_bytes {
            without
        } else {
            with
        }
    }
}

/// One setting of the data file, over all rounds.
pub(super) struct Setting {
    pub(super) quick_repair: bool,
    /// From the start of the new process to the step.
    pub(super) step: Latencies,
    /// The part of it until the file was open, as that process saw it.
    pub(super) opened: Latencies,
    /// The largest file of the rounds when the host was killed.
    pub(super) file_bytes: u64,
}

struct Round {
    step: Duration,
    opened: Duration,
    file_bytes: u64,
}

/// Kills a host again and again, each time on a new copy of the same file.
///
/// # Errors
/// If a host fails.
pub(super) async fn measure(
    plan: &Arc<Plan>,
    folder: &Folder,
    rounds: u32,
    fill_bytes: u64,
) -> Result<Recovered, Failure> {
    let template = folder.file("template.redb");
    fill(plan, &template, fill_bytes).await?;
    let file = folder.file("data.redb");
    let mut seen = [(true, Vec::new()), (false, Vec::new())];
    // In turn, so that a disk that becomes slower is so for both.
    for _ in 0..rounds {
        for (quick_repair, rounds) in &mut seen {
            rounds.push(round(plan, &template, &file, *quick_repair).await?);
        }
    }
    let settings = seen.map(|(quick_repair, rounds)| Setting {
        quick_repair,
        step: Latencies::of(rounds.iter().map(|it| it.step).collect()),
        opened: Latencies::of(rounds.iter().map(|it| it.opened).collect()),
        file_bytes: rounds.iter().map(|it| it.file_bytes).max().unwrap_or(0),
    });
    Ok(Recovered { rounds, settings })
}

/// Makes a data file with the modules in it, at least so large.
async fn fill(plan: &Plan, file: &Path, bytes: u64) -> Result<(), Failure> {
    let host = Arc::new(guests::create(file, plan.kind).await?);
    let mut first = 0;
    while host.counts().file_bytes < bytes {
        let filling = plan.filling(first, FILL_INSTANCES, FILL_STEPS, FILL_BYTES);
        load::run(&host, &Arc::new(filling)).await?;
        first += FILL_INSTANCES;
    }
    close(host).await
}

async fn round(
    plan: &Plan,
    template: &Path,
    file: &Path,
    quick_repair: bool,
) -> Result<Round, Failure> {
    let quick_repair_bytes = if quick_repair { 0 } else { u64::MAX };
    copy(template.to_owned(), file.to_owned()).await?;
    let mut work = Child::start(Part::Work, plan, file, Some(quick_repair_bytes))?;
    work.line().await?;
    work.kill();
    let file_bytes = std::fs::metadata(file).map_err(failed(file))?.len();
    let begun = Instant::now();
    let mut child = Child::start(Part::Recover, plan, file, Some(quick_repair_bytes))?;
    let line = child.line().await?;
    let step = begun.elapsed();
    child.kill();
    Ok(Round {
        step,
        opened: Duration::from_micros(line["opened_micros"].as_u64().unwrap_or(0)),
        file_bytes,
    })
}

async fn copy(from: PathBuf, to: PathBuf) -> Result<(), Failure> {
    let copied = tokio::task::spawn_blocking(move || {
        std::fs::copy(&from, &to).map_err(failed(&to))?;
        // What is still on its way to the disk would slow down the syncs that are measured.
        std::fs::File::open(&to)
            .and_then(|file| file.sync_all())
            .map_err(failed(&to))
    });
    Ok(copied.await.map_err(|_| Error::Unknown)??)
}

/// In the process that is to be killed: runs the instances, which never end, and says when they have
/// done their steps, on average, durably.
pub(super) async fn work(plan: &Arc<Plan>, host: Arc<Host>) -> Result<Exit, Failure> {
    let mut seen = host.observe();
    let told = async {
        let mut steps = 0;
        while let Some(observed) = seen.recv().await {
            steps += u64::from(is_step(&observed.record));
            if steps == plan.steps_in_all() {
                break;
            }
        }
        // Nobody reads on: what comes until the kill is not to gather in memory.
        drop(seen);
        print("{}")
    };
    tokio::try_join!(load::run(&host, plan), told)?;
    Ok(Exit::Ok)
}

/// In the new process: drives all, and says when the first step of one is durable.
pub(super) async fn recover(host: &Host, opened: Duration) -> Result<Exit, Failure> {
    let mut seen = host.observe();
    let step = async {
        while let Some(observed) = seen.recv().await {
            if is_step(&observed.record) {
                return Ok(());
            }
        }
        Err(Error::Unknown)
    };
    // The first step may be done before all are driven.
    let driven = async {
        match host.drive_all().await {
            Ok(()) => std::future::pending().await,
            failed => failed,
        }
    };
    tokio::select! {
        done = step => done?,
        failed = driven => failed?,
    }
    let micros = opened.as_micros() as u64;
    print(&json!({ "opened_micros": micros }).to_string())?;
    Ok(Exit::Ok)
}

fn is_step(record: &Record) -> bool {
    matches!(record, Record::Attempt(_))
}
