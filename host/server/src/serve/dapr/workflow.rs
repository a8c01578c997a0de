//! Dapr's workflow API. The name of the workflow component is not checked: there is one engine.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{OriginalUri, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use wfhost_core::{Instance, InstanceId, Status, Trace};

use super::{DaprError, release_1_10};
use crate::asking::Children;
use crate::error::{Error, chain};
use crate::host::Host;
use crate::serve::Served;
use crate::serve::observe::Caller;
use crate::start::StartRequest;
use crate::{Event, Json as Payload};

/// What may stand behind the question mark.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    #[serde(rename = "instanceID")]
    instance_id: Option<String>,
    /// Terminate and purge leave the children alone.
    non_recursive: bool,
}

/// Every call about workflows; which one, the path says.
pub(super) async fn call(
    State(served): State<Served>,
    method: Method,
    Caller(trace): Caller,
    OriginalUri(uri): OriginalUri,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, DaprError> {
    let Query(parameters) = parameters.map_err(|it| DaprError::malformed(it.body_text()))?;
    let path = uri.path();
    let rest = path.split_once("/workflows/").map_or("", |(_, rest)| rest);
    let names = rest
        .split('/')
        .map(decoded)
        .collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let workflows = Workflows {
        host: &served.host,
        trace,
        children: match parameters.non_recursive {
            true => Children::Not,
            false => Children::Too,
        },
    };
    let id = parameters.instance_id.filter(|id| !id.is_empty());
    let body = Body::new(&headers, body);
    if method == Method::GET {
        return match names[..] {
            [_, id] => Ok(Json(workflows.get(id).await?).into_response()),
            [_, _, id] => {
                let shown = release_1_10::shown(workflows.get(id).await?);
                Ok(Json(shown).into_response())
            }
            _ => Err(DaprError::no_such_route(&method, &uri)),
        };
    }
    if method != Method::POST {
        return Err(DaprError::wrong_method(&method, &uri));
    }
    match names[..] {
        [_, id, "raiseEvent", event] => workflows.raise_event(id, event, &body).await,
        [_, id, "raiseEvent"] => workflows.raise_event(id, "", &body).await,
        [_, "start"] => Err(name_missing()),
        [_, name, "start"] => {
            let started = workflows.start(name, id, || body.payload()).await?;
            Ok((StatusCode::ACCEPTED, Json(started)).into_response())
        }
        [_, name, id, "start"] => {
            let input = || body.payload().map(release_1_10::input);
            let started = workflows.start(name, Some(id.to_owned()), input).await?;
            let started = release_1_10::started(started);
            Ok((StatusCode::ACCEPTED, Json(started)).into_response())
        }
        [_, id, "terminate"] | [_, _, id, "terminate"] => workflows.terminate(id).await,
        [_, id, "pause"] => workflows.pause(id).await,
        [_, id, "resume"] => workflows.resume(id).await,
        [_, id, "purge"] => workflows.purge(id).await,
        _ => Err(DaprError::no_such_route(&method, &uri)),
    }
}

fn decoded(segment: &str) -> Result<String, DaprError> {
    let decoded = percent_decode_str(segment).decode_utf8();
    let decoded = decoded.map_err(|_| DaprError::malformed("its path is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// What was sent with a call.
struct Body {
    bytes: Bytes,
    /// Dapr's clients send a text as it stands, and say so.
    is_plain_text: bool,
}

impl Body {
    fn new(headers: &HeaderMap, bytes: Bytes) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|it| it.to_str().ok()?.split(';').next());
        let is_plain_text = kind.is_some_and(|it| it.trim().eq_ignore_ascii_case("text/plain"));
        Self {
            bytes,
            is_plain_text,
        }
    }

    /// JSON as it came; nothing is null. Of plain text, what is no JSON is that text.
    fn payload(&self) -> Result<Payload, DaprError> {
        let text = std::str::from_utf8(&self.bytes).map_err(DaprError::malformed)?;
        if text.trim().is_empty() {
            return Ok(Payload::null());
        }
        match Payload::parse(text.trim()) {
            Ok(payload) => Ok(payload),
            Err(_) if self.is_plain_text => Ok(Payload::of(&Value::from(text))),
            Err(error) => Err(DaprError::malformed(format!("the body is {error}"))),
        }
    }
}

struct Workflows<'a> {
    host: &'a Host,
    /// Where the caller stands in a trace.
    trace: Option<Trace>,
    children: Children,
}

impl Workflows<'_> {
    async fn start(
        &self,
        name: &str,
        id: Option<String>,
        input: impl FnOnce() -> Result<Payload, DaprError>,
    ) -> Result<Value, DaprError> {
        if name.is_empty() {
            return Err(name_missing());
        }
        let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
        let id = instance_id(&id)?;
        let failed = |why: String| {
            let message = format!("error starting workflow '{name}': {why}");
            DaprError::internal("ERR_START_WORKFLOW", message)
        };
        let workflow = name.parse();
        let workflow =
            workflow.map_err(|error: wfhost_core::InvalidName| failed(error.to_string()))?;
        let request = StartRequest {
            id: Some(id),
            trace: self.trace.clone(),
            ..StartRequest::new(workflow, input()?)
        };
        let started = self.host.start(request).await;
        let id = started.map_err(|error| failed(chain(&error)))?;
        Ok(json!({ "instanceID": id.as_str() }))
    }

    async fn get(&self, id: &str) -> Result<Value, DaprError> {
        let found = self.host.instance(&self.known(id)?).await;
        let instance = found.map_err(|error| match error {
            Error::NoSuchInstance { .. } => not_found(id),
            error => {
                let message = format!("error getting workflow '{id}': {}", chain(&error));
                DaprError::internal("ERR_GET_WORKFLOW", message)
            }
        })?;
        Ok(shown(&instance))
    }

    async fn raise_event(&self, id: &str, name: &str, body: &Body) -> Result<Response, DaprError> {
        if name.is_empty() {
            let (code, message) = (
                "ERR_WORKFLOW_EVENT_NAME_MISSING",
                "missing workflow event name",
            );
            return Err(DaprError::bad_request(code, message));
        }
        let failed = |why: String| {
            let message = format!("error raising event on workflow '{id}': {why}");
            DaprError::internal("ERR_RAISE_EVENT_WORKFLOW", message)
        };
        let named = name.parse();
        let event = Event {
            name: named.map_err(|error: wfhost_core::InvalidName| failed(error.to_string()))?,
            payload: body.payload()?,
        };
        let id: InstanceId = id.parse().map_err(|_| failed(no_instance(id)))?;
        let raised = self.host.raise_event(&id, event, None).await;
        raised.map_err(|error| failed(why(&error)))?;
        Ok(accepted())
    }

    async fn pause(&self, id: &str) -> Result<Response, DaprError> {
        let failed = |why: String| {
            let message = format!("error pausing workflow '{id}': {why}");
            DaprError::internal("ERR_PAUSE_WORKFLOW", message)
        };
        let id: InstanceId = id.parse().map_err(|_| failed(no_instance(id)))?;
        let paused = self.host.suspend(&id, None, Children::Not, None).await;
        paused.map_err(|error| failed(why(&error)))?;
        Ok(accepted())
    }

    async fn resume(&self, id: &str) -> Result<Response, DaprError> {
        let failed = |why: String| {
            let message = format!("error resuming workflow '{id}': {why}");
            DaprError::internal("ERR_RESUME_WORKFLOW", message)
        };
        let id: InstanceId = id.parse().map_err(|_| failed(no_instance(id)))?;
        let resumed = self.host.resume(&id, Children::Not, None).await;
        resumed.map_err(|error| failed(why(&error)))?;
        Ok(accepted())
    }

    async fn terminate(&self, id: &str) -> Result<Response, DaprError> {
        let known = self.known(id)?;
        match self.host.terminate(&known, None, self.children, None).await {
            // What has ended need not be ended.
            Ok(()) | Err(Error::Ended { .. }) => Ok(accepted()),
            Err(Error::NoSuchInstance { .. }) => Err(not_found(id)),
            Err(error) => {
                let message = format!("error terminating workflow '{id}': {}", chain(&error));
                Err(DaprError::internal("ERR_TERMINATE_WORKFLOW", message))
            }
        }
    }

    async fn purge(&self, id: &str) -> Result<Response, DaprError> {
        match self.host.purge(&self.known(id)?, self.children).await {
            Ok(_) => Ok(accepted()),
            Err(Error::NoSuchInstance { id: missing }) if missing.as_str() == id => {
                Err(not_found(id))
            }
            Err(error) => {
                let message = format!("error purging workflow '{id}': {}", chain(&error));
                Err(DaprError::internal("ERR_PURGE_WORKFLOW", message))
            }
        }
    }

    /// The id of an instance that should be there; one that no instance can have is not.
    fn known(&self, id: &str) -> Result<InstanceId, DaprError> {
        id.parse().map_err(|_| not_found(id))
    }
}

fn name_missing() -> DaprError {
    let message = "workflow name is not configured";
    DaprError::bad_request("ERR_WORKFLOW_NAME_MISSING", message)
}

fn instance_id(id: &str) -> Result<InstanceId, DaprError> {
    id.parse().map_err(|error| {
        if id.len() > InstanceId::BYTES_MAX {
            let max = InstanceId::BYTES_MAX;
            let message =
                format!("workflow instance ID exceeds the max length of {max} characters");
            return DaprError::bad_request("ERR_INSTANCE_ID_TOO_LONG", message);
        }
        let error: wfhost_core::InvalidId = error;
        DaprError::bad_request("ERR_INSTANCE_ID_INVALID", error.to_string())
    })
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}

fn no_instance(id: &str) -> String {
    format!("unable to find workflow with the provided instance ID: {id}")
}

fn not_found(id: &str) -> DaprError {
    let (status, code) = (StatusCode::NOT_FOUND, "ERR_INSTANCE_ID_NOT_FOUND");
    DaprError::new(status, code, no_instance(id))
}

/// Why something of an instance was refused, without the commands of another client.
fn why(error: &Error) -> String {
    match error {
        Error::NoSuchInstance { id } => no_instance(id.as_str()),
        other => chain(other),
    }
}

/// An instance as Dapr shows it. What is not set is left out.
fn shown(instance: &Instance) -> Value {
    let started = instance.started();
    let failure = instance.failure();
    let failure = failure.as_ref();
    let text = |payload: &Payload| payload.as_str().to_owned();
    let details = failure.and_then(|it| it.details.as_ref());
    let backtrace = details.and_then(|it| it.value()["backtrace"].as_str().map(str::to_owned));
    let properties = [
        ("input", Some(text(instance.first_input()))),
        ("output", instance.output().map(text)),
        ("custom_status", instance.custom_status().map(text)),
        ("failure.error_type", failure.map(|it| it.kind.clone())),
        (
            "failure.error_message",
            failure.map(|it| it.message.clone()),
        ),
        ("failure.stack_trace", backtrace),
    ];
    let properties: Map<String, Value> = properties
        .into_iter()
        .filter_map(|(name, text)| Some((format!("dapr.workflow.{name}"), Value::String(text?))))
        .collect();
    json!({
        "instanceID": started.id.as_str(),
        "workflowName": started.workflow.as_str(),
        "createdAt": started.created_at.to_string(),
        "lastUpdatedAt": instance.updated_at().to_string(),
        "runtimeStatus": status(instance.status()),
        "properties": properties,
    })
}

/// Dapr's words.
fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "PENDING",
        Status::Running => "RUNNING",
        Status::Suspended => "SUSPENDED",
        Status::Completed => "COMPLETED",
        Status::Failed => "FAILED",
        Status::Cancelled => "CANCELED",
        Status::Terminated => "TERMINATED",
        Status::Stalled => "UNKNOWN",
    }
}
