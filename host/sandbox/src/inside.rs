//! What stands beside a guest in its `wasmtime::Store`: its role, its log, its limits.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;
use wfhost_core::{Failure, Json, Name, Timestamp};

use crate::bindings::{log, types};
use crate::birth::Birth;
use crate::grant::Grant;
use crate::guest_log::{GuestLog, cut};
use crate::http::Http;
use crate::limits::Limits;
use crate::past::Past;
use crate::random::Stream;
use crate::stop_flag::StopFlag;
use crate::trap::Stop;
use crate::wasi_io::Pollables;
use wfhost_core::record::{Command, StateCall};
use wfhost_core::state::Session;

/// Longest kind of a failure, and longest message, in bytes; the rest is cut.
const KIND_BYTES_MAX: usize = 200;
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The host's side of one guest.
pub(crate) struct Inside {
    pub(crate) limits: Arc<Limits>,
    pub(crate) role: Role,
    pub(crate) log: GuestLog,
    /// What the guest said about its panic.
    pub(crate) panic: Option<String>,
    pub(crate) watch: Watch,
    pub(crate) pollables: Pollables,
    /// What an attempt that may make HTTP requests needs for them.
    pub(crate) http: Option<Box<Http>>,
    /// Bytes of payloads that this turn or attempt has handed over or got.
    run_bytes: Cell<usize>,
    memory_bytes: usize,
    table_elements: usize,
}

/// What the guest is here for.
pub(crate) enum Role {
    /// To say what it offers.
    Probe {
        at: Timestamp,
        random: Stream,
    },
    Workflow(Box<WorkflowRole>),
    Attempt(Box<AttemptRole>),
}

/// One instance's guest.
pub(crate) struct WorkflowRole {
    pub(crate) birth: Birth,
    /// Turns that were begun, live or taken again.
    pub(crate) turns: u64,
    pub(crate) now: Timestamp,
    pub(crate) last_task: u32,
    /// The first answers of `patched`.
    pub(crate) patches: std::collections::BTreeMap<String, bool>,
    pub(crate) random: Stream,
    pub(crate) wasi_random: Stream,
    pub(crate) mode: Mode,
}

/// What a workflow's guest does just now.
pub(crate) enum Mode {
    /// It comes to life, or waits.
    Idle,
    /// It answers beside its turns; says what it answers.
    Asked(&'static str),
    Live(Live),
    Replay(Past),
}

/// What a turn has asked so far.
pub(crate) struct Live {
    pub(crate) commands: Vec<Command>,
    pub(crate) state: Vec<StateCall>,
    pub(crate) session: Session,
}

/// One attempt of an activity.
pub(crate) struct AttemptRole {
    pub(crate) grant: Arc<Grant>,
    pub(crate) session: Session,
    /// What its wall clock shows when it begins.
    pub(crate) started_at: Timestamp,
    pub(crate) started: Instant,
    pub(crate) instance: String,
    pub(crate) attempt: u32,
    pub(crate) idempotency_key: String,
}

/// When a run must end.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) until: Instant,
    pub(crate) time_max: Duration,
    /// The end was asked for by the caller, not by the host's own limit.
    pub(crate) asked: bool,
    pub(crate) stop: Option<StopFlag>,
}

impl Watch {
    pub(crate) fn new(time_max: Duration) -> Self {
        Self {
            until: Instant::now() + time_max,
            time_max,
            asked: false,
            stop: None,
        }
    }

    /// Whether the run may go on.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.stop.as_ref().is_some_and(StopFlag::is_set) {
            return Err(Stop::Stopped);
        }
        if Instant::now() < self.until {
            return Ok(());
        }
        let message = format!("it ran for more than {:?}", self.time_max);
        Err(if self.asked {
            Stop::Timeout(message)
        } else {
            Stop::Limit(message)
        })
    }

    /// Comes back when the run must end, for one that waits.
    pub(crate) async fn over(&self) -> Stop {
        loop {
            let time = tokio::time::sleep_until(self.until.into());
            match &self.stop {
                Some(stop) => tokio::select! { () = stop.wait() => (), () = time => () },
                None => time.await,
            }
            if let Err(over) = self.check() {
                return over;
            }
        }
    }
}

impl Inside {
    pub(crate) fn new(limits: Arc<Limits>, role: Role) -> Self {
        Self {
            log: GuestLog::new(limits.log_bytes_max),
            watch: Watch::new(limits.turn_time_max),
            role,
            panic: None,
            pollables: Pollables::default(),
            http: None,
            run_bytes: Cell::new(0),
            memory_bytes: 0,
            table_elements: 0,
            limits,
        }
    }

    /// The workflow that asks `what` of its context.
    pub(crate) fn workflow(&mut self, what: &str) -> Result<&mut WorkflowRole, Stop> {
        match &mut self.role {
            Role::Workflow(workflow) => Ok(workflow),
            Role::Attempt(_) => Err(Stop::Forbidden(format!(
                "an activity called `context.{what}`, which only a workflow may"
            ))),
            Role::Probe { .. } => Err(nothing_while_probed(what)),
        }
    }

    /// The time that the guest sees, since 1970.
    pub(crate) fn wall_clock(&self) -> Duration {
        match &self.role {
            Role::Probe { at, .. } => Duration::from_millis(at.0),
            Role::Workflow(workflow) => Duration::from_millis(workflow.now.0),
            Role::Attempt(attempt) => {
                Duration::from_millis(attempt.started_at.0) + attempt.started.elapsed()
            }
        }
    }

    /// The time that the guest sees, since it started, in nanoseconds.
    pub(crate) fn monotonic_clock(&self) -> u64 {
        let since = match &self.role {
            Role::Probe { .. } => Duration::ZERO,
            Role::Workflow(workflow) => {
                Duration::from_millis(workflow.now.since(workflow.birth.started_at))
            }
            Role::Attempt(attempt) => attempt.started.elapsed(),
        };
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Fills `bytes` with what `wasi:random` gives.
    pub(crate) fn fill_random(&mut self, bytes: &mut [u8]) -> wasmtime::Result<()> {
        match &mut self.role {
            Role::Probe { random, .. } => random.fill(bytes),
            Role::Workflow(workflow) => workflow.wasi_random.fill(bytes),
            Role::Attempt(_) => getrandom::fill(bytes)
                .map_err(|error| Stop::Forbidden(format!("no random numbers: {error}")))?,
        }
        Ok(())
    }

    /// The environment that the guest sees.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        match &self.role {
            Role::Attempt(attempt) => attempt.grant.variables(),
            // It would not be the same on another day, or on another host.
            Role::Workflow(_) | Role::Probe { .. } => Vec::new(),
        }
    }

    /// The log that counts: requests under way write to the same one.
    pub(crate) fn said<T>(&mut self, write: impl FnOnce(&mut GuestLog) -> T) -> T {
        match &self.http {
            Some(http) => http.log.with(write),
            None => write(&mut self.log),
        }
    }

    /// What the guest hands over, checked where it is made.
    pub(crate) fn payload(&self, text: String, what: impl Fn() -> String) -> Result<Json, Stop> {
        let (bytes, bytes_max) = (text.len(), self.limits.payload_bytes_max);
        if bytes > bytes_max {
            let what = what();
            return Err(Stop::InvalidOutput(format!(
                "{what} has {bytes} bytes, more than the limit of {bytes_max}"
            )));
        }
        self.spend(bytes)?;
        Json::parse(text).map_err(|error| Stop::InvalidOutput(format!("{} is {error}", what())))
    }

    /// Counts bytes of payloads that go in or out.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), Stop> {
        let (spent, bytes_max) = (self.run_bytes.get() + bytes, self.limits.run_bytes_max);
        self.run_bytes.set(spent);
        if spent > bytes_max {
            let message = format!("its payloads have more than {bytes_max} bytes together");
            return Err(Stop::Limit(message));
        }
        Ok(())
    }

    /// A new turn begins to count.
    pub(crate) fn begin_counting(&self) {
        self.run_bytes.set(0);
    }

    /// A failure that the guest hands over.
    pub(crate) fn failure(&self, failure: types::Failure) -> Result<Failure, Stop> {
        let details = failure.details.map(|text| {
            self.payload(text, || {
                format!("the details of the failure `{}`", failure.kind)
            })
        });
        Ok(Failure {
            details: details.transpose()?,
            kind: cut(failure.kind, KIND_BYTES_MAX),
            message: cut(failure.message, MESSAGE_BYTES_MAX),
            retryable: failure.retryable,
        })
    }

    /// An output or a failure that the guest hands over.
    pub(crate) fn outcome(
        &self,
        outcome: Result<String, types::Failure>,
        what: impl Fn() -> String,
    ) -> Result<Result<Json, Failure>, Stop> {
        match outcome {
            Ok(text) => self.payload(text, what).map(Ok),
            Err(failure) => self.failure(failure).map(Err),
        }
    }
}

/// A name that the guest hands over.
pub(crate) fn name(text: &str, of: &str) -> Result<Name, Stop> {
    text.parse()
        .map_err(|error| Stop::InvalidOutput(format!("the name of {of}: {error}")))
}

pub(crate) fn nothing_while_probed(what: &str) -> Stop {
    Stop::Forbidden(format!(
        "`{what}` was called while the module said what it offers, where nothing may be asked"
    ))
}

impl types::Host for Inside {}

impl log::Host for Inside {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.said(|log| log.write(level.into(), message));
        Ok(())
    }

    fn panicked(&mut self, message: String, location: Option<String>) -> wasmtime::Result<()> {
        let message = match location {
            Some(location) => format!("{message}, at {location}"),
            None => message,
        };
        self.panic = Some(cut(message, MESSAGE_BYTES_MAX));
        Ok(())
    }
}

/// Growth over a limit traps: a guest never sees that it was refused.
impl ResourceLimiter for Inside {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Over a maximum of the module's own, growth fails as the module's author wrote it.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.memory_bytes + desired.saturating_sub(current);
        let max = self.limits.memory_bytes_max;
        if total > max {
            let message = format!("it asked for {total} bytes of memory, the limit is {max}");
            return Err(Stop::Limit(message).into());
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        match error.downcast_ref::<std::io::Error>() {
            Some(_) => Err(Stop::NoRoom(format!("the host has no more memory: {error}")).into()),
            None => Ok(()),
        }
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.table_elements + desired.saturating_sub(current);
        let max = self.limits.table_elements_max;
        if total > max {
            let message = format!("it asked for {total} table elements, the limit is {max}");
            return Err(Stop::Limit(message).into());
        }
        self.table_elements = total;
        Ok(true)
    }
}
