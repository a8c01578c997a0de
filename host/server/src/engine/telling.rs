//! What the engine tells of what happens: counts at once, lines of the log and spans once it is
//! durable.

use std::sync::Arc;
use std::time::Instant;

use opentelemetry_sdk::trace::SpanData;
use wfhost_core::decide::{AttemptEnd, AttemptFence};
use wfhost_core::record::Record;
use wfhost_core::{Deployment, Failure, Instance, Name, Position, Status};
use wfhost_store::Submitted;

use super::Engine;
use crate::telemetry::{About, AttemptDone, AttemptOutcome, Event, Events};

/// How much there is to do at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) jobs_short: usize,
    pub(crate) jobs_long: usize,
    pub(crate) attempts_running: usize,
    pub(crate) attempts_waiting: usize,
    pub(crate) guests_warm: usize,
    pub(crate) instances_driven: usize,
}

/// An instance has ended, or something of it has stalled.
pub(super) struct TurningPoint {
    event: Option<Event>,
    span: Option<SpanData>,
}

/// An attempt that runs, for when it has ended.
pub(super) struct Measured {
    pub(super) activity: Name,
    pub(super) about: About,
    begun: Instant,
}

impl Measured {
    pub(super) fn begin(activity: Name, about: About) -> Self {
        Self {
            activity,
            about,
            begun: Instant::now(),
        }
    }
}

impl Engine {
    pub(crate) fn load(&self) -> Load {
        let (jobs_short, jobs_long) = self.queue.lengths();
        let (attempts_running, attempts_waiting) = self.doorway.lengths();
        Load {
            jobs_short,
            jobs_long,
            attempts_running,
            attempts_waiting,
            guests_warm: self.warm.len(),
            instances_driven: self.slots().len(),
        }
    }

    /// What is to be told of records that an instance has just taken in. Called in the store's
    /// critical section.
    pub(super) fn turning_point(
        &self,
        instance: &Instance,
        records: &[Arc<Record>],
    ) -> Option<TurningPoint> {
        let stalled = records.iter().find_map(|record| match record.as_ref() {
            Record::Stalled(stalled) => Some(&stalled.reason),
            _ => None,
        });
        if let Some(reason) = stalled {
            self.telemetry.metrics.stalled(reason.word());
            let event = Events::want_troubles().then(|| Event::Stalled {
                about: About::of(instance),
                reason: reason.word(),
                message: reason.to_string(),
            });
            return Some(TurningPoint { event, span: None });
        }
        instance.status().has_ended().then(|| self.end_of(instance))
    }

    fn end_of(&self, instance: &Instance) -> TurningPoint {
        let (status, metrics) = (instance.status(), &self.telemetry.metrics);
        metrics.instance_ended(&instance.started().workflow, status);
        let wanted = Events::want_end(status);
        if !wanted && self.telemetry.traces.is_none() {
            let (event, span) = (None, None);
            return TurningPoint { event, span };
        }
        let about = About::of(instance);
        let failure = instance.failure().filter(|_| status != Status::Completed);
        let why = failure
            .as_ref()
            .map(|it| format!("{}: {}", it.kind, it.message));
        let span = self
            .telemetry
            .instance_done(&about, instance, why.as_deref());
        let event = wanted.then_some(Event::Ended { about, status, why });
        TurningPoint { event, span }
    }

    pub(super) fn tell_turning_point(&self, it: TurningPoint, position: Position) {
        self.tell_when_durable(position, it.event, it.span);
    }

    /// An instance was started, and its first records have their place.
    pub(crate) fn tell_start(&self, submitted: &Submitted) {
        let Some(Record::Started(started)) = submitted.records.first().map(AsRef::as_ref) else {
            return;
        };
        self.telemetry.metrics.instance_started(&started.workflow);
        if Events::want_lives() {
            let about = About {
                id: started.id.clone(),
                run: started.run,
                workflow: started.workflow.clone(),
                module: started.module,
                trace: None,
            };
            let parent = started.parent.as_ref().map(|parent| parent.id.clone());
            let event = Event::Started { about, parent };
            self.tell_when_durable(submitted.position, Some(event), None);
        }
    }

    /// Something brought modules or moved bindings, and is durable.
    pub(crate) fn tell_deployed(&self, deployment: &Deployment) {
        if Events::want_deployments() {
            let event = Event::Deployed(deployment.clone());
            self.telemetry.events.send(event);
        }
    }

    /// The end of an attempt, before it is known whether it counts.
    pub(super) fn attempt_done(
        &self,
        measured: &Measured,
        fence: AttemptFence,
        end: &AttemptEnd,
    ) -> AttemptDone {
        let failed = |failure: &Failure| (failure.kind.clone(), failure.message.clone());
        AttemptDone {
            activity: measured.activity.clone(),
            fence,
            module: end.module,
            started_at: end.started_at,
            ended_at: end.ended_at,
            failed: end.outcome.as_ref().err().map(failed),
        }
    }

    /// An attempt has ended, and that has its place.
    pub(super) fn tell_attempt(&self, measured: &Measured, done: AttemptDone, position: Position) {
        let outcome = match &done.failed {
            None => AttemptOutcome::Completed,
            Some(_) => AttemptOutcome::Failed,
        };
        self.count_attempt(measured, outcome);
        let about = &measured.about;
        let span = self.telemetry.attempt_done(about, &done);
        let failed = done.failed.filter(|_| Events::want_troubles());
        let event = failed.map(|(kind, message)| Event::AttemptFailed {
            about: About {
                module: done.module,
                ..about.clone()
            },
            activity: done.activity,
            task: done.fence.task.0,
            attempt: done.fence.number,
            kind,
            message,
        });
        self.tell_when_durable(position, event, span);
    }

    pub(super) fn count_attempt(&self, measured: &Measured, outcome: AttemptOutcome) {
        let time = measured.begun.elapsed();
        let metrics = &self.telemetry.metrics;
        metrics.attempt(&measured.activity, outcome, time);
    }

    fn tell_when_durable(&self, position: Position, event: Option<Event>, span: Option<SpanData>) {
        if event.is_none() && span.is_none() {
            return;
        }
        let telemetry = Arc::clone(&self.telemetry);
        self.gate.when_durable(position, move |durable| {
            if durable.is_err() {
                return;
            }
            if let Some(event) = event {
                telemetry.events.send(event);
            }
            if let (Some(span), Some(traces)) = (span, &telemetry.traces) {
                traces.export(span);
            }
        });
    }
}
