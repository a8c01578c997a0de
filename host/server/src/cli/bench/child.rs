//! A part of the bench that a process of its own does: one that is killed, or whose memory is to
//! hold nothing else. It says what it has found in lines of JSON on stdout.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use clap::ValueEnum;
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::{Exit, Failure};
use super::plan::Plan;
use super::{guests, park, recover};

/// What a process does for the bench that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// Runs the instances, to be killed.
    Work,
    /// Goes on with them.
    Recover,
    /// Wakes some that are parked.
    Wake,
}

/// Does a part.
///
/// # Errors
/// If the host fails, or an instance does not complete.
pub(super) async fn run(
    part: Part,
    plan: &Arc<Plan>,
    file: &Path,
    quick_repair_bytes: Option<u64>,
) -> Result<Exit, Failure> {
    end_with_the_bench();
    let begun = Instant::now();
    let host = guests::open(file, quick_repair_bytes).await?;
    let opened = begun.elapsed();
    match part {
        Part::Work => recover::work(plan, Arc::new(host)).await,
        Part::Recover => recover::recover(&host, opened).await,
        Part::Wake => park::wake(plan, &host).await,
    }
}

/// Ends this process when the bench that started it is gone, however that has come: nobody else holds
/// the other end of its stdin.
fn end_with_the_bench() {
    std::thread::spawn(|| {
        // An error says the same as the end.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(Exit::Interrupted as i32);
    });
}

/// A process that does a part. It is killed when this is dropped.
pub(super) struct Child {
    process: std::process::Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Child {
    /// Starts one.
    ///
    /// # Errors
    /// If the program that runs cannot be found or started again.
    pub(super) fn start(
        part: Part,
        plan: &Plan,
        file: &Path,
        quick_repair_bytes: Option<u64>,
    ) -> Result<Self, Failure> {
        let part = part.to_possible_value().expect("no part is skipped");
        let not_started = |error| {
            let message = format!("cannot start another wfhost for the bench: {error}");
            Failure::new(Exit::Host, message)
        };
        let mut command = Command::new(std::env::current_exe().map_err(not_started)?);
        command.arg("bench").args(["--part", part.get_name()]);
        command.arg("--file").arg(file).args(plan.arguments());
        if let Some(bytes) = quick_repair_bytes {
            command.arg(format!("--quick-repair-bytes={bytes}"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(not_started)?;
        let stdout = process.stdout.take().expect("it is piped");
        let (told, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines();
            // Ends with the process, or when nobody listens any more.
            for line in lines.map_while(Result::ok) {
                if told.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, lines })
    }

    /// What it says next.
    ///
    /// # Errors
    /// If it ends instead.
    pub(super) async fn line(&mut self) -> Result<Value, Failure> {
        let line = self.lines.recv().await;
        let value = line.and_then(|line| serde_json::from_str(&line).ok());
        match value {
            Some(value) => Ok(value),
            None => Err(self.ended_early()),
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// If it fails.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        // Its stdout is closed when it ends, so that nothing blocks here.
        while self.lines.recv().await.is_some() {}
        match self.process.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.ended_early()),
        }
    }

    /// Kills it, as by `kill -9`, and waits until it is gone.
    pub(super) fn kill(self) {}

    fn ended_early(&mut self) -> Failure {
        let ended = match self.process.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let message = format!("a process of the bench has failed ({ended}); it said why above");
        Failure::new(Exit::Host, message)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that has ended is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
