//! `wfhost bench`: how much this host does on this machine and this disk, each figure beside its
//! limit.

mod child;
mod disk;
mod folder;
mod guests;
mod latencies;
mod load;
mod measure;
mod park;
mod plan;
mod recover;
mod report;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum, value_parser};

use super::wait::Signals;
use super::{Exit, Failure, print, say};
use child::Part;
use disk::Disk;
use folder::Folder;
use plan::Plan;
use report::{Measured, Report};

/// Measure this host on this disk
///
/// Runs workflows that come with wfhost in this process, on a new data file with the settings that
/// every command has: what counts as done is on disk. A closed loop: each of so many lanes starts
/// its next instance when its last one has ended, and the time from the call to the durable end is
/// the latency. Some instances run beforehand and are not counted. What the disk does without
/// wfhost is measured in the same folder just before.
///
/// With --kind effectful the activities call an outside world that is made up and answers at once.
/// The host cannot know that: it writes down each attempt before it calls, so that this is the
/// cost of an attempt that can be lost or done twice, without the cost of what it would do.
///
/// The figures of the processor and of memory are those of the whole process, which starts the
/// instances as well. Commits, fsyncs and bytes are those from the first start to the last end;
/// what the host tidies up later, at most a few megabytes of its log, weighs less in longer runs.
/// Files are removed at the end.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  wfhost bench                                         orders, contained, 64 at once
  wfhost bench --concurrency 1 --instances 500         what one order takes
  wfhost bench --kind effectful
  wfhost bench --items 1                               all orders contend for one item
  wfhost bench --scenario steps --instances 1 --concurrency 1 --steps 1000
  wfhost bench --scenario park --instances 100000
  wfhost bench --scenario recover --fill 1000000000 --rounds 10
  wfhost bench --dir /mnt/data --json | jq .latency_ms.p99

--json prints one object: instances_per_second, steps_per_second, latency_ms {p50, p90, p99, max},
cpu_ms_per_instance, commits, fsyncs, bytes_written, rss_bytes {idle, peak}, disk
{append_fdatasync_per_second, group_commit_per_second}. What does not apply, or this system does not
tell, is null. park adds park {file_bytes, file_bytes_per_instance, rss_growth_bytes, reopened
{ready_ms, rss_bytes {idle, driven}}, woken {instances, latency_ms}}; recover adds recover, for each
setting {quick_repair, first_step_ms, open_ms {p50, max}, file_bytes}, and its latency_ms are the
first_step_ms of the setting that a host has by itself for a file of that size.

Exit status: 0 it was measured, 1 an instance did not complete, 2 usage, 4 the host failed, 130
interrupted.")]
pub(super) struct Bench {
    /// What the instances do
    #[arg(long, value_enum, value_name = "NAME", default_value = "order")]
    scenario: Scenario,
    /// How many instances [default: 10000 of order and park, else 100]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=plan::INSTANCES_MAX))]
    instances: Option<u64>,
    /// How many of them at a time
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..), default_value = "64")]
    concurrency: u16,
    /// Steps of an instance; in recover those that each has done, on average, when the host is
    /// killed [default: 100 of steps, fan-out and recover, 10 of events and timers; an order has 5]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=plan::STEPS_MAX))]
    steps: Option<u64>,
    /// How large a text goes into each step, and comes out of it in steps, fan-out and recover; or
    /// the event, or the input of one that is parked [default: 0]
    #[arg(long, value_name = "N")]
    payload_bytes: Option<usize>,
    /// Items that the orders are for; those of one item contend for it [default: one an order]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    items: Option<u64>,
    /// What the activities can reach
    #[arg(long, value_enum, value_name = "KIND", default_value = "contained")]
    kind: Kind,
    /// How often recover kills the host, with and without quick repair each [default: 5]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000))]
    rounds: Option<u32>,
    /// How large the data file of recover is beforehand, with instances that have ended
    #[arg(long, value_name = "BYTES")]
    fill: Option<u64>,
    /// Where the data file is; the disk under it is what is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// What this process does for another bench.
    #[arg(long, hide = true, value_enum, requires = "file")]
    part: Option<Part>,
    /// On which data file.
    #[arg(long, hide = true)]
    file: Option<PathBuf>,
    /// From which size of the file on commits keep what makes opening quick.
    #[arg(long, hide = true)]
    quick_repair_bytes: Option<u64>,
}

/// What the instances do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Sell an order: five activities in a row, one read of the state, two writes
    Order,
    /// Call activities, one after the other
    Steps,
    /// Call activities, all at once
    FanOut,
    /// Wait for events, which the bench raises one after the other, each durably
    Events,
    /// Wait for timers of 1 ms, one after the other
    Timers,
    /// Wait for a day or an event: what many that only wait cost
    Park,
    /// Call activities while the host is killed, and go on in a new process
    Recover,
}

impl Scenario {
    /// As the command line writes it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Steps => "steps",
            Self::FanOut => "fan-out",
            Self::Events => "events",
            Self::Timers => "timers",
            Self::Park => "park",
            Self::Recover => "recover",
        }
    }
}

/// What the activities can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Nothing but the state: an attempt is one commit with its result, done once
    Contained,
    /// An outside world, which is made up and does nothing
    Effectful,
}

impl Kind {
    /// As the command line writes it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Contained => "contained",
            Self::Effectful => "effectful",
        }
    }
}

impl Bench {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut signals = Signals::listen();
        let plan = Arc::new(Plan::new(&self)?);
        guests::are_there()?;
        if let Some((part, file)) = self.part.zip(self.file.as_ref()) {
            let done = child::run(part, &plan, file, self.quick_repair_bytes);
            return tokio::select! {
                done = done => done,
                () = signals.recv() => Ok(Exit::Interrupted),
            };
        }
        let folder = Folder::new(&self.dir)?;
        if let Some(kind) = folder.memory_kind() {
            say(format_args!(
                "{} is on {kind}, in memory, where a sync costs nothing: the figures are not those \
                 of a disk; name a folder on one with --dir",
                self.dir.display()
            ));
        }
        // Whoever interrupts loses nothing but the figures. The folder goes after all that uses it.
        let report = tokio::select! {
            report = self.measure(plan, &folder) => report?,
            () = signals.recv() => {
                say(format_args!("interrupted; nothing was measured"));
                return Ok(Exit::Interrupted);
            }
        };
        if self.json {
            print(&report.json().to_string())?;
        } else {
            for line in report.lines() {
                print(&line)?;
            }
        }
        Ok(Exit::Ok)
    }

    async fn measure(&self, plan: Arc<Plan>, folder: &Folder) -> Result<Report, Failure> {
        let disk = Disk::measure(folder).await?;
        let measured = match plan.scenario {
            Scenario::Park => Measured::Park(park::measure(&plan, folder).await?),
            Scenario::Recover => {
                let rounds = self.rounds.unwrap_or(5);
                let fill_bytes = self.fill.unwrap_or(0);
                Measured::Recover(recover::measure(&plan, folder, rounds, fill_bytes).await?)
            }
            _ => Measured::Load(measure::measure(&plan, folder).await?),
        };
        Ok(Report {
            plan,
            disk,
            measured,
        })
    }
}
