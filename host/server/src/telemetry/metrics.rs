//! What is counted as it happens. Counting is an addition to an atomic, or a short lock of one
//! histogram; what has a name is looked up once and kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use wfhost_core::schedule::ScheduleName;
use wfhost_core::{Name, Status};
use wfhost_store::Commit;

/// Label keys with their values.
pub(super) type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// What came of an attempt, for the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    Completed,
    Failed,
    /// The host was closed, and it runs again.
    Stopped,
}

/// Where the guest of a turn came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuestKind {
    /// It was in memory.
    Warm,
    /// It was brought up by replay.
    Replayed,
    /// The turn is its first.
    New,
}

/// All counts of one host.
pub(crate) struct Metrics {
    pub(super) registry: Registry,
    turns: Counter,
    guests: [Counter; 3],
    attempts: Family<Labels<2>, Counter>,
    attempt_seconds: Histograms<1>,
    activities: Handles<Name, Activity>,
    started: Family<Labels<1>, Counter>,
    ended: Family<Labels<2>, Counter>,
    workflows: Handles<Name, Workflow>,
    stalls: Family<Labels<1>, Counter>,
    firings: Family<Labels<2>, Counter>,
    commit_seconds: Histogram,
    sync_seconds: Histogram,
    commit_records: Histogram,
    requests: Histograms<3>,
}

/// The counts of one activity.
struct Activity {
    completed: Counter,
    failed: Counter,
    stopped: Counter,
    seconds: Histogram,
}

/// The counts of one workflow.
struct Workflow {
    started: Counter,
    completed: Counter,
    failed: Counter,
    cancelled: Counter,
    terminated: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("wfhost");
        let guests = Family::<Labels<1>, Counter>::default();
        let metrics = Self {
            turns: Counter::default(),
            guests: ["warm", "replayed", "new"]
                .map(|guest| guests.get_or_create_owned(&[("guest", guest.into())])),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(attempt_buckets),
            activities: Handles::default(),
            started: Family::default(),
            ended: Family::default(),
            workflows: Handles::default(),
            stalls: Family::default(),
            firings: Family::default(),
            commit_seconds: commit_buckets(),
            sync_seconds: commit_buckets(),
            // 1 to 65,536.
            commit_records: Histogram::new(exponential_buckets(1.0, 4.0, 9)),
            requests: Family::new_with_constructor(request_buckets),
            registry: Registry::default(),
        };
        metrics.register(&mut registry, guests);
        Self {
            registry,
            ..metrics
        }
    }

    fn register(&self, registry: &mut Registry, guests: Family<Labels<1>, Counter>) {
        let seconds = || Unit::Seconds;
        registry.register(
            "turns",
            "Turns that workflows have taken",
            self.turns.clone(),
        );
        registry.register(
            "turn_guests",
            "Guests that turns were run on: warm in memory, replayed from the history, or new",
            guests,
        );
        registry.register(
            "activity_attempts",
            "Attempts of activities that have ended",
            self.attempts.clone(),
        );
        registry.register_with_unit(
            "activity_attempt_duration",
            "How long attempts of activities ran",
            seconds(),
            self.attempt_seconds.clone(),
        );
        registry.register(
            "instances_started",
            "Instances that were started",
            self.started.clone(),
        );
        registry.register(
            "instances_ended",
            "Instances that have ended",
            self.ended.clone(),
        );
        registry.register(
            "stalls",
            "How often something of an instance stalled",
            self.stalls.clone(),
        );
        registry.register(
            "schedule_firings",
            "Firings of schedules, by what came of them",
            self.firings.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "How long commits of records took, their syncs included",
            seconds(),
            self.commit_seconds.clone(),
        );
        registry.register_with_unit(
            "commit_sync_duration",
            "How long the syncs of one commit took",
            seconds(),
            self.sync_seconds.clone(),
        );
        registry.register(
            "commit_records",
            "Records that one commit has made durable",
            self.commit_records.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "How long requests took to the head of their answer",
            seconds(),
            self.requests.clone(),
        );
    }

    /// A turn has its place in the log.
    pub(crate) fn turn(&self) {
        self.turns.inc();
    }

    /// A turn is run on such a guest; it may be run again.
    pub(crate) fn guest(&self, kind: GuestKind) {
        self.guests[kind as usize].inc();
    }

    /// An attempt has ended that ran for so long.
    pub(crate) fn attempt(&self, activity: &Name, outcome: AttemptOutcome, time: Duration) {
        let activity = self.activities.get(activity, |name| self.activity(name));
        let count = match outcome {
            AttemptOutcome::Completed => &activity.completed,
            AttemptOutcome::Failed => &activity.failed,
            AttemptOutcome::Stopped => &activity.stopped,
        };
        count.inc();
        activity.seconds.observe(time.as_secs_f64());
    }

    fn activity(&self, name: &Name) -> Activity {
        let count = |outcome: &'static str| {
            let labels = [("activity", text(name)), ("outcome", outcome.into())];
            self.attempts.get_or_create_owned(&labels)
        };
        Activity {
            completed: count("completed"),
            failed: count("failed"),
            stopped: count("stopped"),
            seconds: self
                .attempt_seconds
                .get_or_create_owned(&[("activity", text(name))]),
        }
    }

    pub(crate) fn instance_started(&self, workflow: &Name) {
        self.workflow(workflow).started.inc();
    }

    pub(crate) fn instance_ended(&self, workflow: &Name, status: Status) {
        let counts = self.workflow(workflow);
        match status {
            Status::Completed => counts.completed.inc(),
            Status::Failed => counts.failed.inc(),
            Status::Cancelled => counts.cancelled.inc(),
            Status::Terminated => counts.terminated.inc(),
            Status::Pending | Status::Running | Status::Suspended | Status::Stalled => return,
        };
    }

    fn workflow(&self, workflow: &Name) -> Arc<Workflow> {
        self.workflows.get(workflow, |name| {
            let ended = |status: Status| {
                let labels = [("workflow", text(name)), ("status", status.as_str().into())];
                self.ended.get_or_create_owned(&labels)
            };
            Workflow {
                started: self
                    .started
                    .get_or_create_owned(&[("workflow", text(name))]),
                completed: ended(Status::Completed),
                failed: ended(Status::Failed),
                cancelled: ended(Status::Cancelled),
                terminated: ended(Status::Terminated),
            }
        })
    }

    /// Something has stalled for that reason, as [`wfhost_core::record::StallReason::word`] has it.
    pub(crate) fn stalled(&self, reason: &'static str) {
        self.stalls
            .get_or_create(&[("reason", reason.into())])
            .inc();
    }

    /// A firing of a schedule has come to that.
    pub(crate) fn fired(&self, schedule: &ScheduleName, outcome: &'static str) {
        let labels = [
            ("schedule", schedule.as_str().to_owned().into()),
            ("outcome", outcome.into()),
        ];
        self.firings.get_or_create(&labels).inc();
    }

    pub(crate) fn committed(&self, commit: &Commit) {
        self.commit_seconds.observe(commit.time.as_secs_f64());
        self.sync_seconds.observe(commit.sync_time.as_secs_f64());
        let records = u32::try_from(commit.records).unwrap_or(u32::MAX);
        self.commit_records.observe(f64::from(records));
    }

    pub(crate) fn request(&self, method: &str, route: &str, status: u16, time: Duration) {
        let labels = [
            ("method", method.to_owned().into()),
            ("route", route.to_owned().into()),
            ("status", status.to_string().into()),
        ];
        self.requests
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
    }
}

fn text(name: &Name) -> Cow<'static, str> {
    name.as_str().to_owned().into()
}

/// 0.1 ms to 7 minutes.
fn attempt_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 12))
}

/// 0.5 ms to 1 s.
fn commit_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 12))
}

/// 1 ms to 65 s.
fn request_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 9))
}

/// What belongs to a name, made when the name is first met.
struct Handles<K, T>(RwLock<HashMap<K, Arc<T>>>);

impl<K, T> Default for Handles<K, T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Clone + Eq + Hash, T> Handles<K, T> {
    fn get(&self, key: &K, make: impl FnOnce(&K) -> T) -> Arc<T> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(key) {
            return Arc::clone(known);
        }
        drop(known);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(key.clone());
        Arc::clone(entry.or_insert_with_key(|key| Arc::new(make(key))))
    }
}
