//! An attempt of an activity: a fresh guest, run once and dropped.

use std::time::{Duration, Instant};

use wasmtime::component::InstancePre;
use wfhost_core::record::LogLine;
use wfhost_core::state::{Session, SessionEnd};
use wfhost_core::{Failure, Json, Name, Timestamp, Trace, kind};

use crate::bindings::{activity, timestamp, types};
use crate::engine::Shared;
use crate::grant::Grant;
use crate::guest_log::GuestLog;
use crate::inside::{AttemptRole, Inside, Role, Watch};
use crate::module::instantiate;
use crate::stop_flag::StopFlag;
use crate::trap::{Ended, Stop, ended};

/// One call of an activity.
pub struct AttemptCall {
    /// Which activity of the module.
    pub name: Name,
    /// With what.
    pub input: Json,
    /// The id of the instance that called it.
    pub instance: String,
    /// Counted from 1.
    pub attempt: u32,
    /// The same over all attempts of the task.
    pub idempotency_key: String,
    /// When it begins: what its wall clock shows then.
    pub started_at: Timestamp,
    /// When the attempt will be stopped; told to the guest, and not watched here.
    pub deadline: Option<Timestamp>,
    /// The longest it may run; the host's own limit may be shorter.
    pub time_max: Duration,
    /// Ends the attempt when it is set.
    pub stop: StopFlag,
    /// What it sees of the state.
    pub session: Session,
    /// Where it stands in a trace: its HTTP requests say so, unless the guest says something itself.
    pub trace: Option<Trace>,
}

/// What came of an attempt.
#[derive(Debug)]
pub struct AttemptEnd {
    /// The activity's output or failure, or what became of its guest: `panic`, `trap`, `limit`,
    /// `timeout`, `cancelled` or `invalid-output`.
    pub outcome: Result<Json, Failure>,
    /// What it read and wrote of the state, whatever its outcome.
    pub state: SessionEnd,
    /// What it logged.
    pub log: Vec<LogLine>,
    /// A read met a change: the outcome means nothing. A contained attempt runs again.
    pub state_changed: bool,
    /// The state store failed: the outcome means nothing.
    pub state_failed: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// It ended because `stop` was set.
    pub stopped: bool,
}

/// One call of the test-only import `wfhost:testing/outside`.
#[derive(Debug, Clone)]
pub struct OutsideCall {
    /// What the guest asks.
    pub request: String,
    /// The id of the instance that called the activity.
    pub instance: String,
    /// The attempt's number.
    pub attempt: u32,
    /// The same over all attempts of the task.
    pub idempotency_key: String,
}

/// Runs a contained attempt from birth to end, on this thread.
pub(crate) fn run(
    shared: &Shared,
    module: &InstancePre<Inside>,
    exports: &activity::GuestIndices,
    call: AttemptCall,
) -> AttemptEnd {
    let (name, input) = (call.name.clone(), call.input.as_str().to_owned());
    let invocation = invocation(&call);
    let mut store = store(shared, call);
    let came_back = instantiate(module, &mut store).and_then(|instance| {
        let exports = exports.load(&mut store, &instance)?;
        let returned = exports.call_run(&mut store, name.as_str(), &input, &invocation)?;
        Ok(outcome(store.data(), name.as_str(), returned)?)
    });
    end(store.into_data(), came_back)
}

/// What the guest is told of its call.
pub(crate) fn invocation(call: &AttemptCall) -> activity::Invocation {
    activity::Invocation {
        instance: call.instance.clone(),
        attempt: call.attempt,
        idempotency_key: call.idempotency_key.clone(),
        deadline: timestamp(call.deadline),
    }
}

/// A store for the guest of an attempt, which is watched from now on.
pub(crate) fn store(shared: &Shared, call: AttemptCall) -> wasmtime::Store<Inside> {
    let role = AttemptRole {
        grant: shared.grants.of(&call.name),
        session: call.session,
        started_at: call.started_at,
        started: Instant::now(),
        instance: call.instance,
        attempt: call.attempt,
        idempotency_key: call.idempotency_key,
    };
    let mut store = shared.store(Role::Attempt(Box::new(role)));
    store.data_mut().watch = watch(shared.limits.attempt_time_max, call.time_max, call.stop);
    store
}

/// What the guest returned, checked.
pub(crate) fn outcome(
    inside: &Inside,
    name: &str,
    returned: Result<String, types::Failure>,
) -> Result<Result<Json, Failure>, Stop> {
    inside.outcome(returned, || format!("the output of the activity `{name}`"))
}

/// What is recorded of what it said.
fn without_secrets(
    grant: &Grant,
    outcome: Result<Json, Failure>,
    log: Vec<LogLine>,
) -> (Result<Json, Failure>, Vec<LogLine>) {
    let log = log.into_iter().map(|line| LogLine {
        message: grant.without_secrets(line.message),
        ..line
    });
    let outcome = outcome.map_err(|failure| Failure {
        message: grant.without_secrets(failure.message),
        ..failure
    });
    (outcome, log.collect())
}

fn watch(host_max: Duration, time_max: Duration, stop: StopFlag) -> Watch {
    Watch {
        asked: time_max <= host_max,
        stop: Some(stop),
        ..Watch::new(time_max.min(host_max))
    }
}

/// What came of an attempt whose guest came back, or did not.
pub(crate) fn end(
    mut inside: Inside,
    came_back: wasmtime::Result<Result<Json, Failure>>,
) -> AttemptEnd {
    let (mut state_changed, mut state_failed, mut stopped) = (false, None, false);
    let outcome = came_back.unwrap_or_else(|error| {
        Err(match ended(error, inside.panic.take()) {
            Ended::StateFailed(source) => {
                let failure = Failure::retryable(kind::STATE_CONFLICT, source.to_string());
                state_failed = Some(source);
                failure
            }
            other => {
                state_changed = matches!(other, Ended::StateChanged);
                stopped = matches!(other, Ended::Stopped);
                other.into_failure()
            }
        })
    });
    let log = inside.said(GuestLog::end);
    let (state, grant) = match inside.role {
        Role::Attempt(attempt) => (attempt.session.end(), attempt.grant),
        Role::Workflow(_) | Role::Probe { .. } => Default::default(),
    };
    let (outcome, log) = without_secrets(&grant, outcome, log);
    AttemptEnd {
        outcome,
        state,
        log,
        state_changed,
        state_failed,
        stopped,
    }
}
