//! Attempts of activities.
//!
//! A contained attempt runs at once, on the worker: it touches nothing but the state, so its result
//! and its writes are one submission, and a conflict just runs it again. An effectful one is first
//! recorded as started, waits until that and all that it may read is durable, and then runs on a
//! thread of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wfhost_core::decide::{self, AttemptEnd, AttemptFence, Refused};
use wfhost_core::record::StallReason;
use wfhost_core::state::{ReadSet, Session};
use wfhost_core::{Digest, Failure, Instance, Json, Name, Role, TaskState, Timestamp, kind};
use wfhost_sandbox::{AttemptCall, Module};
use wfhost_store::SubmitError;

use super::reserve::{CONFLICTS_MAX, Claim};
use super::slot::Slot;
use super::{Engine, now};

/// After so many deaths of the host in one attempt it is not started again.
const DEATHS_MAX: u32 = 3;

/// An open attempt, as the instance says.
struct Open {
    name: Name,
    input: Json,
    at_most_once: bool,
    starts: u32,
    deadline: Option<Timestamp>,
}

/// What came of running an attempt's code.
enum Ran {
    /// It is to be submitted.
    Ended(Box<AttemptEnd>, ReadSet),
    /// What it read has changed.
    Conflict(Claim),
    /// It was told to stop, or the store failed: nothing is to be submitted.
    Dropped,
}

impl Engine {
    pub(super) fn attempt(self: &Arc<Self>, slot: &Arc<Slot>, fence: AttemptFence) {
        let Ok(Some(Some(open))) = self.store.look(&slot.id, |it| Open::of(it, fence)) else {
            return slot.close_attempt(fence);
        };
        let digest = match self.store.binding(Role::Activity, &open.name) {
            Ok(Some(digest)) => digest,
            Ok(None) => {
                slot.close_attempt(fence);
                return self.stall(
                    slot,
                    StallReason::ActivityMissing {
                        activity: open.name,
                    },
                );
            }
            Err(error) => return self.note(Err(SubmitError::Store(error))),
        };
        match self.module(digest) {
            Err(message) => {
                slot.close_attempt(fence);
                self.stall(slot, StallReason::ModuleUnusable { message });
            }
            Ok(module) if module.contained() => {
                self.contained(slot, fence, &open, &module, digest);
                slot.close_attempt(fence);
            }
            Ok(module) => self.effectful(slot, fence, open, module, digest),
        }
    }

    fn contained(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        fence: AttemptFence,
        open: &Open,
        module: &Module,
        digest: Digest,
    ) {
        let mut reservation = None;
        for conflicts in 1.. {
            let claim = match self.run(slot, fence, open, module, digest) {
                Ran::Dropped => return,
                Ran::Conflict(claim) => claim,
                Ran::Ended(end, reads) => {
                    let claim = Claim::new(&reads, &end.writes);
                    let submitted = if self
                        .reservations
                        .may_write(&end.writes, reservation.as_ref())
                    {
                        self.submit(slot, &reads, |instance| {
                            decide::end_attempt(instance, fence, *end).map(|record| vec![record])
                        })
                    } else {
                        Err(SubmitError::Refused(Refused::Conflict))
                    };
                    match submitted {
                        Err(SubmitError::Refused(Refused::Conflict)) => claim,
                        other => return self.note(other.map(drop)),
                    }
                }
            };
            // Given back first: nobody holds two.
            drop(reservation.take());
            if conflicts >= CONFLICTS_MAX {
                reservation = Some(self.reservations.reserve(claim));
            }
        }
    }

    fn effectful(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        fence: AttemptFence,
        open: Open,
        module: Module,
        digest: Digest,
    ) {
        if open.starts >= DEATHS_MAX {
            slot.close_attempt(fence);
            let reason = StallReason::HostDeaths {
                activity: open.name,
                task: fence.task,
            };
            return self.stall(slot, reason);
        }
        if open.starts > 0 && open.at_most_once {
            let failure = Failure::last(
                kind::INTERRUPTED,
                "the host died while it ran, and it may run at most once",
            );
            let end = ended(digest, false, now(), Err(failure));
            slot.close_attempt(fence);
            return self.end_effectful(slot, fence, end, &ReadSet::default());
        }
        let submitted = self.submit(slot, &ReadSet::default(), |instance| {
            decide::start_attempt(instance, fence, digest, now()).map(|record| vec![record])
        });
        let position = match submitted {
            Ok(position) => position,
            Err(error) => {
                slot.close_attempt(fence);
                return self.note(Err(error));
            }
        };
        slot.begin_job();
        let engine = Arc::clone(self);
        let slot = Arc::clone(slot);
        let runtime = self.runtime.clone();
        self.gate.when_durable(position, move |durable| {
            runtime.spawn_blocking(move || {
                if durable == Ok(()) {
                    engine.run_effectful(&slot, fence, &open, &module, digest);
                }
                slot.close_attempt(fence);
                engine.done(&slot);
            });
        });
        self.store.demand(position);
    }

    fn run_effectful(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        fence: AttemptFence,
        open: &Open,
        module: &Module,
        digest: Digest,
    ) {
        let started_at = now();
        match self.run(slot, fence, open, module, digest) {
            Ran::Dropped => {}
            Ran::Ended(end, reads) => self.end_effectful(slot, fence, *end, &reads),
            Ran::Conflict(_) => {
                let end = ended(digest, false, started_at, Err(conflict()));
                self.end_effectful(slot, fence, end, &ReadSet::default());
            }
        }
    }

    /// An effectful attempt is never run again silently: a conflict is its failure.
    fn end_effectful(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        fence: AttemptFence,
        end: AttemptEnd,
        reads: &ReadSet,
    ) {
        self.reservations.may_write(&end.writes, None);
        let lost = AttemptEnd {
            outcome: Err(conflict()),
            writes: Vec::new(),
            ..end.clone()
        };
        let submit = |end: AttemptEnd, reads: &ReadSet| {
            self.submit(slot, reads, |instance| {
                decide::end_attempt(instance, fence, end).map(|record| vec![record])
            })
        };
        let submitted = match submit(end, reads) {
            Err(SubmitError::Refused(Refused::Conflict)) => submit(lost, &ReadSet::default()),
            other => other,
        };
        self.note(submitted.map(drop));
    }

    fn run(
        self: &Arc<Self>,
        slot: &Slot,
        fence: AttemptFence,
        open: &Open,
        module: &Module,
        digest: Digest,
    ) -> Ran {
        let started_at = now();
        let stop = slot.stop_flag(fence);
        let contained = module.contained();
        if open.deadline.is_some_and(|deadline| deadline <= started_at) {
            let failure =
                Failure::retryable(kind::TIMEOUT, "its time was over before it could start");
            let end = ended(digest, contained, started_at, Err(failure));
            return Ran::Ended(Box::new(end), ReadSet::default());
        }
        let snapshot = self.store.snapshot(started_at);
        if !contained && self.store.wait_durable(snapshot.position()).is_err() {
            return Ran::Dropped;
        }
        let ran = module.attempt(AttemptCall {
            name: open.name.clone(),
            input: open.input.clone(),
            instance: slot.id.to_string(),
            attempt: fence.number,
            idempotency_key: fence.idempotency_key(),
            deadline: open.deadline,
            time_max: open.deadline.map_or(Duration::MAX, |at| {
                Duration::from_millis(at.since(started_at))
            }),
            stop: Arc::clone(&stop),
            session: Session::new(snapshot, started_at),
        });
        if stop.load(Ordering::Acquire) || ran.state_failed.is_some() {
            return Ran::Dropped;
        }
        if ran.state_changed {
            return Ran::Conflict(Claim::of(&ran.state));
        }
        let end = AttemptEnd {
            log: ran.log,
            writes: ran.state.writes,
            ..ended(digest, contained, started_at, ran.outcome)
        };
        Ran::Ended(Box::new(end), ran.state.reads)
    }
}

impl Open {
    fn of(instance: &Instance, fence: AttemptFence) -> Option<Self> {
        decide::open_attempt(instance, fence).ok()?;
        let task = instance.tasks().get(&fence.task)?;
        match &task.state {
            TaskState::Activity {
                name,
                input,
                options,
                starts,
                ..
            } => Some(Self {
                name: name.clone(),
                input: input.clone(),
                at_most_once: options.at_most_once,
                starts: *starts,
                deadline: decide::attempt_deadline(task, now()),
            }),
            _ => None,
        }
    }
}

fn ended(
    module: Digest,
    contained: bool,
    started_at: Timestamp,
    outcome: Result<Json, Failure>,
) -> AttemptEnd {
    AttemptEnd {
        module,
        contained,
        started_at,
        ended_at: now(),
        outcome,
        log: Vec::new(),
        writes: Vec::new(),
    }
}

fn conflict() -> Failure {
    Failure::retryable(
        kind::STATE_CONFLICT,
        "what it had read of the state was changed meanwhile",
    )
}
