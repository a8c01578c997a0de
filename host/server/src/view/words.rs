//! The small things that the others are made of: times, names, failures.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use wfhost_core::record::{self, Rerun, StallReason};
use wfhost_core::{Failure as Failed, InstanceId, Json, Name, RunId, Timestamp, Trace};

/// A time in UTC, as RFC 3339 writes it.
#[derive(Serialize, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2030-01-31T12:00:00.000Z"))]
pub(crate) struct Time(String);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at.to_string())
    }
}

/// When something is due, as RFC 3339 writes it; after the year 9999, which that cannot write, so
/// many `ms after 1970`.
#[derive(Serialize, ToSchema)]
#[schema(value_type = String, examples("2030-01-31T12:00:00.000Z"))]
pub(crate) struct DueTime(String);

impl From<Timestamp> for DueTime {
    fn from(at: Timestamp) -> Self {
        Self(at.to_string())
    }
}

/// The id of an instance: 1 to 64 letters, digits, `_` and `-`.
#[derive(Serialize, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$", examples("order-7"))]
pub(crate) struct Id(String);

impl From<&InstanceId> for Id {
    fn from(id: &InstanceId) -> Self {
        Self(id.as_str().to_owned())
    }
}

/// The name of a workflow, an activity or an event: 1 to 200 bytes without control characters.
#[derive(Serialize, ToSchema)]
#[schema(
    value_type = String, min_length = 1, max_length = 200,
    pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", examples("OrderProcessingWorkflow"),
    as = Name
)]
pub(crate) struct Called(String);

impl Called {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is(&self, name: &Name) -> bool {
        self.0 == name.as_str()
    }
}

impl From<&Name> for Called {
    fn from(name: &Name) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// One start of an instance: 128 bits in hexadecimal.
#[derive(Serialize, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
pub(crate) struct Run(String);

impl From<RunId> for Run {
    fn from(run: RunId) -> Self {
        Self(run.to_string())
    }
}

/// A SHA-256 digest; of its bytes, the name of a module.
#[derive(Serialize, ToSchema)]
#[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
pub(crate) struct Digest(String);

impl From<wfhost_core::Digest> for Digest {
    fn from(digest: wfhost_core::Digest) -> Self {
        Self(digest.to_string())
    }
}

/// Where an instance stands.
#[derive(Serialize)]
pub(crate) struct Status(&'static str);

impl From<wfhost_core::Status> for Status {
    fn from(status: wfhost_core::Status) -> Self {
        Self(status.as_str())
    }
}

impl ToSchema for Status {}

impl PartialSchema for Status {
    fn schema() -> RefOr<Schema> {
        one_of(
            "Where an instance stands.",
            wfhost_core::Status::ALL.map(wfhost_core::Status::as_str),
        )
    }
}

/// One of these words.
pub(super) fn one_of<const N: usize>(what: &str, words: [&str; N]) -> RefOr<Schema> {
    let words = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(what))
        .enum_values(Some(words));
    words.into()
}

/// One of these words, or null.
pub(crate) fn one_of_or_null<const N: usize>(words: [&str; N]) -> RefOr<Schema> {
    let words = words.into_iter().map(Value::from).chain([Value::Null]);
    let words = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(words));
    words.into()
}

/// What a name is for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Workflow,
    Activity,
}

impl From<wfhost_core::Role> for Role {
    fn from(role: wfhost_core::Role) -> Self {
        match role {
            wfhost_core::Role::Workflow => Self::Workflow,
            wfhost_core::Role::Activity => Self::Activity,
        }
    }
}

/// Why an instance does not move.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reason {
    /// A stable word to match on, such as `activity-missing`, `divergence` or `limit`.
    pub(super) kind: String,
    /// For a person to read.
    pub(super) message: String,
}

impl From<&StallReason> for Reason {
    fn from(reason: &StallReason) -> Self {
        Self {
            kind: reason.word().to_owned(),
            message: reason.to_string(),
        }
    }
}

/// How guest code failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Failure {
    /// A stable word to match on, such as `out-of-stock`.
    kind: String,
    /// For a person to read.
    message: String,
    /// Whether another attempt may succeed.
    retryable: bool,
    /// Whatever else its author gave.
    details: Value,
}

impl From<&Failed> for Failure {
    fn from(failure: &Failed) -> Self {
        Self {
            kind: failure.kind.clone(),
            message: failure.message.clone(),
            retryable: failure.retryable,
            details: payload(failure.details.as_ref()),
        }
    }
}

/// What came of something: an output or a failure, the other one is null.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// The output, if it did not fail.
    pub(super) output: Value,
    /// How it failed.
    pub(super) failure: Option<Failure>,
}

impl From<&Result<Json, Failed>> for Outcome {
    fn from(outcome: &Result<Json, Failed>) -> Self {
        Self {
            output: payload(outcome.as_ref().ok()),
            failure: outcome.as_ref().err().map(Into::into),
        }
    }
}

/// A payload, or null.
pub(super) fn payload(payload: Option<&Json>) -> Value {
    payload.map_or(Value::Null, Json::value)
}

/// A named message to an instance.
#[derive(Serialize, ToSchema)]
pub(crate) struct Event {
    name: Called,
    payload: Value,
}

impl From<&record::Event> for Event {
    fn from(event: &record::Event) -> Self {
        Self {
            name: (&event.name).into(),
            payload: event.payload.value(),
        }
    }
}

/// The instance that a child answers to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Parent {
    id: Id,
    run: Run,
    /// The task of the parent that waits for this child.
    task: u32,
    /// The child outlives its parent.
    detached: bool,
    /// Which start of the child this is, from 1.
    attempt: u32,
}

impl From<&record::Parent> for Parent {
    fn from(parent: &record::Parent) -> Self {
        Self {
            id: (&parent.id).into(),
            run: parent.run.into(),
            task: parent.task.0,
            detached: parent.detached,
            attempt: parent.attempt,
        }
    }
}

/// An instance whose first turns another took over.
#[derive(Serialize, ToSchema)]
pub(crate) struct RerunOf {
    id: Id,
    run: Run,
    /// Up to which turn of the generation, from 1, they are its turns.
    turns: u64,
}

impl From<&Rerun> for RerunOf {
    fn from(rerun: &Rerun) -> Self {
        Self {
            id: (&rerun.id).into(),
            run: rerun.run.into(),
            turns: rerun.turns,
        }
    }
}

pub(super) fn tags(tags: &[(String, String)]) -> BTreeMap<String, String> {
    tags.iter().cloned().collect()
}

/// The id of a trace, as `traceparent` has it.
pub(super) fn trace(trace: &Trace) -> String {
    format!("{:032x}", trace.id)
}

/// Each as it is shown.
pub(super) fn all<'a, T: 'a, V: From<&'a T>>(things: &'a [T]) -> Vec<V> {
    things.iter().map(V::from).collect()
}
