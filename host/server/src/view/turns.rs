//! What a turn was given, and what it did.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wfhost_core::record::{self, Entry};
use wfhost_core::{Input, RetryPolicy};

use super::words::{DueTime, Failure, Outcome, all, payload};

/// One input that a turn was given.
#[derive(Serialize, ToSchema)]
#[serde(tag = "input", rename_all = "kebab-case")]
pub(super) enum GivenInput {
    Completed {
        task: u32,
        output: Value,
        failure: Option<Failure>,
    },
    CancelRequested {
        reason: Option<String>,
    },
    UpdateRequested {
        /// Its number.
        id: u32,
        name: String,
        value: Value,
    },
}

impl From<&Input> for GivenInput {
    fn from(input: &Input) -> Self {
        match input {
            Input::Completed { task, outcome } => {
                let Outcome { output, failure } = outcome.into();
                let task = task.0;
                Self::Completed {
                    task,
                    output,
                    failure,
                }
            }
            Input::CancelRequested { reason } => Self::CancelRequested {
                reason: reason.clone(),
            },
            Input::UpdateRequested { id, name, input } => Self::UpdateRequested {
                id: *id,
                name: name.to_string(),
                value: input.value(),
            },
        }
    }
}

/// One thing that a workflow asked of the world.
#[derive(Serialize, ToSchema)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(super) enum Command {
    CallActivity {
        task: u32,
        name: String,
        input: Value,
        options: ActivityOptions,
    },
    CallWorkflow {
        task: u32,
        name: String,
        input: Value,
        options: ChildOptions,
    },
    CreateTimer {
        task: u32,
        fires_at: DueTime,
    },
    AwaitEvent {
        task: u32,
        name: String,
    },
    /// To another instance.
    RaiseEvent {
        task: u32,
        /// To whom.
        id: String,
        name: String,
        payload: Value,
    },
    /// No completion of this task.
    Cancel {
        task: u32,
    },
    AnswerUpdate {
        /// The update's number.
        id: u32,
        output: Value,
        failure: Option<Failure>,
    },
    SetCustomStatus {
        status: Value,
    },
    /// The code has this change, and so has the instance from here on.
    Patched {
        /// The change's name.
        id: String,
    },
}

impl From<&record::Command> for Command {
    fn from(command: &record::Command) -> Self {
        use record::Command as Asked;
        match command {
            Asked::CallActivity {
                task,
                name,
                input,
                options,
            } => Self::CallActivity {
                task: task.0,
                name: name.to_string(),
                input: input.value(),
                options: options.into(),
            },
            Asked::CallWorkflow {
                task,
                name,
                input,
                options,
            } => Self::CallWorkflow {
                task: task.0,
                name: name.to_string(),
                input: input.value(),
                options: options.into(),
            },
            Asked::CreateTimer { task, fires_at } => Self::CreateTimer {
                task: task.0,
                fires_at: (*fires_at).into(),
            },
            Asked::AwaitEvent { task, name } => Self::AwaitEvent {
                task: task.0,
                name: name.to_string(),
            },
            Asked::RaiseEvent {
                task,
                instance,
                event,
            } => Self::RaiseEvent {
                task: task.0,
                id: instance.clone(),
                name: event.name.to_string(),
                payload: event.payload.value(),
            },
            Asked::Cancel { task } => Self::Cancel { task: task.0 },
            Asked::AnswerUpdate { id, outcome } => {
                let Outcome { output, failure } = outcome.into();
                let id = *id;
                Self::AnswerUpdate {
                    id,
                    output,
                    failure,
                }
            }
            Asked::SetCustomStatus { status } => Self::SetCustomStatus {
                status: status.value(),
            },
            Asked::Patched { id } => Self::Patched { id: id.clone() },
        }
    }
}

/// How an activity is run.
#[derive(Serialize, ToSchema)]
pub(super) struct ActivityOptions {
    /// Null: a failed attempt is not followed by another.
    retry: Option<Retry>,
    /// The longest one attempt may take, in milliseconds.
    attempt_timeout: Option<u64>,
    /// The longest all attempts may take together, in milliseconds.
    total_timeout: Option<u64>,
    /// An attempt that the host's death cut off fails instead of running again.
    at_most_once: bool,
}

impl From<&record::ActivityOptions> for ActivityOptions {
    fn from(options: &record::ActivityOptions) -> Self {
        Self {
            retry: options.retry.as_ref().map(Into::into),
            attempt_timeout: options.attempt_timeout,
            total_timeout: options.total_timeout,
            at_most_once: options.at_most_once,
        }
    }
}

/// How a child is started.
#[derive(Serialize, ToSchema)]
pub(super) struct ChildOptions {
    /// Null: it is derived from the parent's.
    id: Option<String>,
    /// Null: a failed child is not followed by another.
    retry: Option<Retry>,
    /// Keys with their values.
    tags: Vec<Vec<String>>,
    /// It outlives its parent.
    detached: bool,
    /// It runs on the modules that its parent's deployment bound.
    same_deployment: bool,
}

impl From<&record::ChildOptions> for ChildOptions {
    fn from(options: &record::ChildOptions) -> Self {
        let tags = options.tags.iter().cloned();
        Self {
            id: options.id.clone(),
            retry: options.retry.as_ref().map(Into::into),
            tags: tags.map(|(key, value)| vec![key, value]).collect(),
            detached: options.detached,
            same_deployment: options.same_deployment,
        }
    }
}

/// When a failure is followed by another try.
#[derive(Serialize, ToSchema)]
#[schema(as = RetryPolicy)]
struct Retry {
    /// Attempts in all, the first included; 0 is no limit.
    max_attempts: u32,
    /// In milliseconds.
    first_delay: u64,
    /// What each delay is multiplied by for the next.
    backoff: f64,
    /// In milliseconds.
    max_delay: u64,
    /// Share of each delay that is random, 0 to 1.
    jitter: f64,
    /// Kinds of failure that no retry follows.
    final_kinds: Vec<String>,
}

impl From<&RetryPolicy> for Retry {
    fn from(policy: &RetryPolicy) -> Self {
        Self {
            max_attempts: policy.max_attempts,
            first_delay: policy.first_delay,
            backoff: policy.backoff,
            max_delay: policy.max_delay,
            jitter: policy.jitter,
            final_kinds: policy.final_kinds.clone(),
        }
    }
}

/// One call of a turn to the state store.
#[derive(Serialize, ToSchema)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub(super) enum StateCall {
    Get {
        key: String,
        found: Option<Found>,
    },
    Scan {
        prefix: String,
        after: Option<String>,
        limit: u32,
        found: Vec<FoundKey>,
    },
    Set(GuardedWrite),
    Delete(GuardedWrite),
}

/// A value of the state store, as a turn found it.
#[derive(Serialize, ToSchema)]
#[schema(as = FoundEntry)]
pub(super) struct Found {
    value: Value,
    version: u64,
}

/// A key of the state store, as a turn found it.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundKey {
    key: String,
    entry: Found,
}

/// A write that may ask for a version.
#[derive(Serialize, ToSchema)]
pub(super) struct GuardedWrite {
    #[serde(flatten)]
    write: StateWrite,
    /// Only over this version; 0: only where there is nothing.
    if_version: Option<u64>,
    /// The version that was in the way.
    refused: Option<u64>,
}

/// A write to the state store.
#[derive(Serialize, ToSchema)]
pub(super) struct StateWrite {
    key: String,
    /// Null as well if the key is deleted.
    value: Value,
    /// From when on the value counts as absent.
    expires_at: Option<DueTime>,
}

impl From<&record::StateCall> for StateCall {
    fn from(call: &record::StateCall) -> Self {
        match call {
            record::StateCall::Get { key, found } => Self::Get {
                key: key.clone(),
                found: found.as_ref().map(Into::into),
            },
            record::StateCall::Scan {
                prefix,
                after,
                limit,
                found,
            } => Self::Scan {
                prefix: prefix.clone(),
                after: after.clone(),
                limit: *limit,
                found: all(found),
            },
            record::StateCall::Write {
                write,
                if_version,
                refused,
            } => {
                let call = GuardedWrite {
                    write: write.into(),
                    if_version: *if_version,
                    refused: *refused,
                };
                match write.value {
                    Some(_) => Self::Set(call),
                    None => Self::Delete(call),
                }
            }
        }
    }
}

impl From<&Entry> for Found {
    fn from(entry: &Entry) -> Self {
        Self {
            value: entry.value.value(),
            version: entry.version,
        }
    }
}

impl From<&(String, Entry)> for FoundKey {
    fn from((key, entry): &(String, Entry)) -> Self {
        Self {
            key: key.clone(),
            entry: entry.into(),
        }
    }
}

impl From<&record::StateWrite> for StateWrite {
    fn from(write: &record::StateWrite) -> Self {
        Self {
            key: write.key.clone(),
            value: payload(write.value.as_ref()),
            expires_at: write.expires_at.map(Into::into),
        }
    }
}

/// How a turn came back.
#[derive(Serialize, ToSchema)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub(super) enum Step {
    /// Nothing more to do until another input comes.
    Waiting,
    Completed {
        output: Value,
    },
    Failed {
        failure: Failure,
    },
    Cancelled,
    /// The workflow goes on as a new generation.
    ContinuedAsNew {
        input: Value,
        /// On the module that the name means then, not on this one.
        current_module: bool,
    },
}

impl From<&record::Step> for Step {
    fn from(step: &record::Step) -> Self {
        match step {
            record::Step::Waiting => Self::Waiting,
            record::Step::Completed(output) => Self::Completed {
                output: output.value(),
            },
            record::Step::Failed(failure) => Self::Failed {
                failure: failure.into(),
            },
            record::Step::Cancelled => Self::Cancelled,
            record::Step::ContinuedAsNew {
                input,
                current_module,
            } => Self::ContinuedAsNew {
                input: input.value(),
                current_module: *current_module,
            },
        }
    }
}
