//! What is due of one schedule at one time, done.

use std::sync::Arc;

use wfhost_core::decide::{self, Refused};
use wfhost_core::record::{Record, Started};
use wfhost_core::schedule::{Decision, Outcome, Schedule, SkipReason, Standing};
use wfhost_core::{Instance, InstanceId, Position, Role, Timestamp};
use wfhost_store::{Store, SubmitError};

use super::{Scheduled, Schedules};
use crate::checked::check_size;
use crate::engine::Engine;
use crate::error::{Error, chain};
use crate::start::{self, Reuse};

/// One schedule at one time. What it does is submitted; where the schedule stands then is for the
/// caller to write down.
pub(super) struct Round<'a> {
    engine: &'a Arc<Engine>,
    payload_bytes_max: usize,
    schedule: &'a Schedule,
    before: &'a Standing,
    standing: Standing,
    now: Timestamp,
    /// The last position of what was done.
    position: Position,
}

impl<'a> Round<'a> {
    pub(super) fn new(schedules: &'a Schedules, scheduled: &'a Scheduled, now: Timestamp) -> Self {
        Self {
            engine: &schedules.engine,
            payload_bytes_max: schedules.payload_bytes_max,
            schedule: &scheduled.schedule,
            before: &scheduled.standing,
            standing: scheduled.standing.clone(),
            now,
            position: Position::default(),
        }
    }

    /// Decides what is due. Says where the schedule stands then, and up to which position that
    /// depends on the log; nothing if all is as it was.
    pub(super) async fn decide(mut self) -> Result<Option<(Standing, Position)>, Error> {
        let due = self.schedule.due(&self.standing, self.now);
        if self.standing.queued.is_some() && self.standing.paused.is_none() {
            self.start_queued().await?;
        }
        if let Some((first, until)) = due.missed {
            self.miss(first, until)?;
        }
        for due_at in &due.firings {
            self.fire(*due_at).await?;
        }
        if due != Default::default() {
            self.standing.decided_until = self.now;
        }
        let changed = self.standing != *self.before;
        Ok(changed.then_some((self.standing, self.position)))
    }

    async fn start_queued(&mut self) -> Result<(), Error> {
        forget_ended(&self.engine.store, &mut self.standing)?;
        let runs = !self.standing.running.is_empty();
        if !self.schedule.overlap.lets_queued_start(runs) {
            return Ok(());
        }
        match self.standing.queued.take() {
            Some(due_at) => self.start(due_at).await,
            None => Ok(()),
        }
    }

    /// Firings that are not made up. The host may have died after it started some of them.
    fn miss(&mut self, first: Timestamp, until: Timestamp) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(due_at) = next.filter(|due_at| *due_at <= until) {
            if !self.was_started(due_at)? {
                let missed = Outcome::Skipped(SkipReason::Missed { until });
                self.remember(due_at, missed);
                return Ok(());
            }
            next = self.schedule.after(due_at);
        }
        Ok(())
    }

    async fn fire(&mut self, due_at: Timestamp) -> Result<(), Error> {
        if self.was_started(due_at)? {
            return Ok(());
        }
        forget_ended(&self.engine.store, &mut self.standing)?;
        let runs = !self.standing.running.is_empty();
        let queued = self.standing.queued.is_some();
        match self.schedule.overlap.decide(runs, queued) {
            Decision::Start => self.start(due_at).await,
            Decision::Skip(reason) => {
                let skipped = Outcome::Skipped(reason);
                self.remember(due_at, skipped);
                Ok(())
            }
            Decision::Queue => {
                self.standing.queued = Some(due_at);
                Ok(())
            }
            Decision::CancelAndQueue => {
                let (reason, now) = (self.reason(due_at), self.now);
                self.overtake_queued();
                self.standing.queued = Some(due_at);
                self.tell_running(|instance| {
                    decide::request_cancel(instance, Some(reason.clone()), None, now)
                })
            }
            Decision::TerminateAndStart => {
                let (reason, now) = (self.reason(due_at), self.now);
                self.overtake_queued();
                self.tell_running(|instance| {
                    decide::terminate(instance, Some(reason.clone()), true, None, now)
                })?;
                self.start(due_at).await
            }
        }
    }

    fn reason(&self, due_at: Timestamp) -> String {
        let name = &self.schedule.name;
        format!("the schedule `{name}` starts its instance of {due_at}")
    }

    fn overtake_queued(&mut self) {
        if let Some(before) = self.standing.queued.take() {
            let overtaken = Outcome::Skipped(SkipReason::Overtaken);
            self.remember(before, overtaken);
        }
    }

    /// Tells something to all instances that run; one that has ended meanwhile needs it no more.
    fn tell_running(
        &mut self,
        decide: impl Fn(&Instance) -> Result<Record, Refused>,
    ) -> Result<(), Error> {
        for id in &self.standing.running {
            match self.engine.tell_instance(id, &decide) {
                Ok(position) => self.position = self.position.max(position),
                Err(SubmitError::Refused(_) | SubmitError::NoSuchInstance(_)) => {}
                Err(error) => return Err((id.clone(), error).into()),
            }
        }
        Ok(())
    }

    /// Whether a firing has started its instance before; if so, that is remembered.
    fn was_started(&mut self, due_at: Timestamp) -> Result<bool, Error> {
        let id = self.schedule.instance_of(due_at);
        let is_ours = self.is_ours(&id)? == Some(true);
        if is_ours {
            self.position = self.engine.store.submitted().max(self.position);
            let started = Outcome::Started(id);
            self.standing.remember(due_at, self.now, started);
        }
        Ok(is_ours)
    }

    /// Whether an instance is one of the schedule, if there is one of that id.
    fn is_ours(&self, id: &InstanceId) -> Result<Option<bool>, Error> {
        let seen = self
            .engine
            .store
            .look(id, |it| self.schedule.is_of(&it.started().tags));
        Ok(seen?)
    }

    async fn start(&mut self, due_at: Timestamp) -> Result<(), Error> {
        if self.was_started(due_at)? {
            return Ok(());
        }
        let id = self.schedule.instance_of(due_at);
        let outcome = match self.begin(id.clone(), due_at).await {
            Ok(position) => {
                self.position = self.position.max(position);
                Outcome::Started(id)
            }
            Err(error @ (Error::Store(_) | Error::State(_) | Error::Unknown)) => return Err(error),
            Err(Error::IdInUse { id, .. }) => {
                let why = format!("an instance that is none of the schedule has the id `{id}`");
                Outcome::Failed(why)
            }
            Err(error) => Outcome::Failed(chain(&error)),
        };
        if let Outcome::Failed(why) = &outcome {
            tracing::warn!(
                target: "wfhost::schedule",
                schedule = %self.schedule.name, due_at = %due_at, detail = why,
                "a firing has failed"
            );
        }
        self.remember(due_at, outcome);
        Ok(())
    }

    fn remember(&mut self, due_at: Timestamp, outcome: Outcome) {
        let metrics = &self.engine.telemetry.metrics;
        metrics.fired(&self.schedule.name, outcome.word());
        self.standing.remember(due_at, self.now, outcome);
    }

    async fn begin(&self, id: InstanceId, due_at: Timestamp) -> Result<Position, Error> {
        let (engine, schedule) = (self.engine, self.schedule);
        engine.room().await;
        let workflow = schedule.workflow.clone();
        let module = engine
            .store
            .hold_bound(Role::Workflow, &workflow, &id)?
            .ok_or_else(|| Error::NoSuchWorkflow {
                name: workflow.to_string(),
                known: Vec::new(),
            })?;
        let input = schedule.input.clone();
        check_size(Some(&input), self.payload_bytes_max, || "the input".into())?;
        let started = Started {
            tags: schedule.tags_of(due_at),
            ..start::fresh(id, workflow, module.module(), input, self.now)
        };
        let begun = engine.start(started, module, Reuse::Refuse).await;
        begun.map_err(|_| Error::Unknown)?
    }

    /// Starts an instance out of turn. Says where the schedule stands then, unless the same request
    /// has started it before.
    pub(super) async fn trigger(
        &mut self,
        key: Option<&str>,
    ) -> Result<(InstanceId, Position, Option<Standing>), Error> {
        let (id, due_at) = match key {
            Some(key) => {
                let key = format!("{}\n{key}", self.schedule.name);
                (
                    InstanceId::of_request(&self.schedule.workflow, &key),
                    self.now,
                )
            }
            None => self.free_id()?,
        };
        if self.is_ours(&id)? == Some(true) {
            return Ok((id, self.engine.store.submitted(), None));
        }
        let position = self.begin(id.clone(), due_at).await?;
        forget_ended(&self.engine.store, &mut self.standing)?;
        let triggered = Outcome::Triggered(id.clone());
        self.remember(due_at, triggered);
        Ok((id, position, Some(self.standing.clone())))
    }

    /// An id of this moment that nobody has, nor a firing will have: those are on whole seconds.
    fn free_id(&self) -> Result<(InstanceId, Timestamp), Error> {
        let mut at = self.now;
        loop {
            let id = self.schedule.instance_of(at);
            if !at.0.is_multiple_of(1_000) && self.is_ours(&id)?.is_none() {
                return Ok((id, at));
            }
            at = at.after(1);
        }
    }
}

/// Forgets instances that have ended, or are gone.
pub(super) fn forget_ended(store: &Store, standing: &mut Standing) -> Result<(), Error> {
    let mut running = Vec::new();
    for id in &standing.running {
        if !has_ended(store, id)? {
            running.push(id.clone());
        }
    }
    standing.running = running;
    Ok(())
}

/// Whether an instance has ended, or is gone.
pub(super) fn has_ended(store: &Store, id: &InstanceId) -> Result<bool, Error> {
    let ended = store.look(id, |it| it.status().has_ended())?;
    Ok(ended.unwrap_or(true))
}
