//! A closed loop: so many lanes, each with one instance at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use wfhost_core::Status;

use super::super::{Exit, Failure, text};
use super::Scenario;
use super::plan::Plan;
use crate::error::Error;
use crate::host::{Host, Settled};

/// What the lanes saw.
pub(super) struct Seen {
    /// From the first start to the last end.
    pub(super) wall: Duration,
    /// Of each instance, in no order.
    pub(super) samples: Vec<Duration>,
}

/// Runs all instances of a plan. One that is to be parked is through once its start is durable.
///
/// # Errors
/// If one does not complete, or the host fails.
pub(super) async fn run(host: &Arc<Host>, plan: &Arc<Plan>) -> Result<Seen, Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..plan.concurrency {
        lanes.spawn(lane(Arc::clone(host), Arc::clone(plan), Arc::clone(&next)));
    }
    let mut samples = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        samples.extend(lane.map_err(|_| Error::Unknown)??);
    }
    Ok(Seen {
        wall: begun.elapsed(),
        samples,
    })
}

/// Takes one instance after the other, until none is left.
async fn lane(
    host: Arc<Host>,
    plan: Arc<Plan>,
    next: Arc<AtomicU64>,
) -> Result<Vec<Duration>, Failure> {
    let mut samples = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.instances {
            return Ok(samples);
        }
        let begun = Instant::now();
        one(&host, &plan, number).await?;
        samples.push(begun.elapsed());
    }
}

async fn one(host: &Host, plan: &Plan, number: u64) -> Result<(), Failure> {
    let request = plan.request(number);
    match plan.scenario {
        Scenario::Park => {
            host.start(request).await?;
            Ok(())
        }
        Scenario::Events => {
            let id = host.start(request).await?;
            for step in 0..plan.steps {
                let event = plan.event(number * plan.steps + step);
                host.raise_event(&id, event, None).await?;
            }
            completed(&host.wait(&id).await?)
        }
        _ => completed(&host.run(request).await?),
    }
}

/// Whether an instance did what it should.
///
/// # Errors
/// If it ended otherwise, or is stalled.
pub(super) fn completed(settled: &Settled) -> Result<(), Failure> {
    let instance = &settled.instance;
    if settled.status() == Status::Completed {
        return Ok(());
    }
    let why = match (instance.failure(), instance.stall()) {
        (Some(failure), _) => format!(": {}", text::failure(&failure)),
        (None, Some(reason)) => format!(": {reason}"),
        (None, None) => String::new(),
    };
    Err(Failure::new(
        Exit::Failed,
        format!(
            "the instance {} is {}, so nothing was measured{why}",
            instance.started().id,
            settled.status().as_str()
        ),
    ))
}
