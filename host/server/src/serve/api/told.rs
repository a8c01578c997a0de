//! What an instance is told and asked: events, requests to stop or to go on, queries, updates.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, At, Body, Input, Once, One, Part, Problem, shown};
use crate::asking::Children;
use crate::serve::Served;
use crate::{Event, Failure};

/// Raises an event to an instance
///
/// The body is its payload; none is null. Events are kept until they are read, first in, first out.
#[utoipa::path(
    post, path = "/instances/{id}/events/{name}", tag = "instances", operation_id = "raise_event",
    params(Part, Once),
    request_body = Option<Value>,
    responses((status = 202, description = "It will happen, and that is durable.", body = Nothing)),
    extensions(("x-problems" = json!(["no-such-instance", "ended", "key-in-use", "too-large"]))),
)]
pub(super) async fn raise_event(
    State(served): State<Served>,
    At(Part { id, name }): At<Part>,
    Once { key }: Once,
    Input(payload): Input,
) -> Answer {
    let event = Event { name, payload };
    served.host.raise_event(&id, event, key).await?;
    Ok(done())
}

/// No fields.
#[derive(Serialize, ToSchema)]
struct Nothing {}

fn done() -> Response {
    (StatusCode::ACCEPTED, shown(Nothing {})).into_response()
}

/// What a request to stop, or to go on, may say.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Control {
    /// Why, for people.
    reason: Option<String>,
    /// Not to the children.
    only: bool,
}

impl Control {
    fn children(&self) -> Children {
        if self.only {
            Children::Not
        } else {
            Children::Too
        }
    }
}

/// Cancels an instance
///
/// Its code is told at its next wait, so that it can compensate; its children are cancelled with it.
#[utoipa::path(
    post, path = "/instances/{id}/cancel", tag = "instances", operation_id = "cancel_instance",
    params(One, Once),
    request_body = Option<Control>,
    responses((status = 202, description = "It will happen, and that is durable.", body = Nothing)),
    extensions(("x-problems" = json!(["no-such-instance", "ended", "key-in-use"]))),
)]
pub(super) async fn cancel(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Once { key }: Once,
    Body(Control { reason, .. }): Body<Control>,
) -> Answer {
    served.host.cancel(&id, reason, key).await?;
    Ok(done())
}

/// Terminates an instance
///
/// Its code is not asked.
#[utoipa::path(
    post, path = "/instances/{id}/terminate", tag = "instances", operation_id = "terminate_instance",
    params(One, Once),
    request_body = Option<Control>,
    responses((status = 202, description = "It will happen, and that is durable.", body = Nothing)),
    extensions(("x-problems" = json!(["no-such-instance", "ended", "key-in-use"]))),
)]
pub(super) async fn terminate(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Once { key }: Once,
    Body(control): Body<Control>,
) -> Answer {
    let children = control.children();
    served
        .host
        .terminate(&id, control.reason, children, key)
        .await?;
    Ok(done())
}

/// Suspends an instance
///
/// Its inputs are held back until it is resumed.
#[utoipa::path(
    post, path = "/instances/{id}/suspend", tag = "instances", operation_id = "suspend_instance",
    params(One, Once),
    request_body = Option<Control>,
    responses((status = 202, description = "It will happen, and that is durable.", body = Nothing)),
    extensions(("x-problems" = json!(["no-such-instance", "ended", "key-in-use"]))),
)]
pub(super) async fn suspend(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Once { key }: Once,
    Body(control): Body<Control>,
) -> Answer {
    let children = control.children();
    served
        .host
        .suspend(&id, control.reason, children, key)
        .await?;
    Ok(done())
}

/// Resumes an instance
///
/// What was held back is delivered in order. A stalled one is tried again.
#[utoipa::path(
    post, path = "/instances/{id}/resume", tag = "instances", operation_id = "resume_instance",
    params(One, Once),
    request_body = Option<Control>,
    responses((status = 202, description = "It will happen, and that is durable.", body = Nothing)),
    extensions(("x-problems" = json!(["no-such-instance", "ended", "key-in-use"]))),
)]
pub(super) async fn resume(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Once { key }: Once,
    Body(control): Body<Control>,
) -> Answer {
    served.host.resume(&id, control.children(), key).await?;
    Ok(done())
}

/// Asks an instance something
///
/// The body is the input, none is null; the answer is the output. A copy of its code answers, and
/// nothing changes.
#[utoipa::path(
    post, path = "/instances/{id}/queries/{name}", tag = "instances", operation_id = "query",
    params(Part),
    request_body = Option<Value>,
    responses((status = 200, description = "What it answers.", body = Value)),
    extensions(("x-problems" = json!([
        "no-such-instance", "not-begun", "cannot-ask", "refused", "too-large",
    ]))),
)]
pub(super) async fn query(
    State(served): State<Served>,
    At(Part { id, name }): At<Part>,
    Input(input): Input,
) -> Answer {
    Ok(answered(served.host.query(&id, &name, &input).await?))
}

/// Has an instance do something and answer
///
/// The body is the input, none is null; the answer is the output. It is answered once the instance
/// has answered.
#[utoipa::path(
    post, path = "/instances/{id}/updates/{name}", tag = "instances", operation_id = "update",
    params(Part, Once),
    request_body = Option<Value>,
    responses((status = 200, description = "What it answers.", body = Value)),
    extensions(("x-problems" = json!([
        "no-such-instance", "ended", "cannot-ask", "refused", "key-in-use", "too-large",
    ]))),
)]
pub(super) async fn update(
    State(served): State<Served>,
    At(Part { id, name }): At<Part>,
    Once { key }: Once,
    Input(input): Input,
) -> Answer {
    tokio::select! {
        answer = served.host.update(&id, name, input, key) => Ok(answered(answer?)),
        () = served.stopping.told() => Err(Problem::stopping()),
    }
}

/// What a workflow answers; its refusal is a failure as histories show it.
fn answered(answer: Result<crate::Json, Failure>) -> Response {
    match answer {
        Ok(answer) => {
            let kind = [(header::CONTENT_TYPE, "application/json")];
            (kind, answer.as_str().to_owned()).into_response()
        }
        Err(failure) => Problem::refused(&failure).into_response(),
    }
}
