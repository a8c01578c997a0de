//! Instances: started, found, shown, waited for, told and asked.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};
use wfhost_core::Status;

use super::{At, Body, Input, Once, One, Parameters, Part, Problem, shown};
use crate::asking::Children;
use crate::follow::Followed;
use crate::host::Host;
use crate::narrate::Narrator;
use crate::serve::{Served, Stopping};
use crate::start::{Reuse, StartRequest};
use crate::starting::RerunRequest;
use crate::view::{self, Called, HistoryRecord, Id};
use crate::{Digest, Event, Failure, InstanceId, Name, Query, Timestamp};

type Answer = Result<Response, Problem>;

/// The longest that a request may wait for an instance.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The most instances of a page.
const PAGE_MAX: usize = 1_000;

/// What a start takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    #[schema(value_type = Called)]
    workflow: Name,
    #[serde(default)]
    input: Value,
    /// Left out: one is made up.
    #[schema(value_type = Option<Id>)]
    id: Option<InstanceId>,
    /// For searching.
    #[serde(default)]
    tags: std::collections::BTreeMap<String, String>,
    /// What happens if the id is in use. Left out: the start is refused.
    #[schema(schema_with = reuse_words)]
    reuse: Option<String>,
    /// The first turn is not before then.
    #[schema(format = DateTime)]
    begins_at: Option<String>,
    /// Events that are there from the start, oldest first.
    #[serde(default)]
    events: Vec<Raised>,
}

fn reuse_words() -> RefOr<Schema> {
    view::one_of_or_null(Reuse::ALL.map(Reuse::as_str))
}

/// An event that comes with a start.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Raised {
    #[schema(value_type = Called)]
    name: Name,
    #[serde(default)]
    payload: Value,
}

/// The instance that was started.
#[derive(Serialize, ToSchema)]
pub(super) struct Created {
    id: Id,
}

/// Starts an instance
#[utoipa::path(
    post, path = "/instances", tag = "instances", operation_id = "start_instance",
    params(Once),
    request_body = Start,
    responses((
        status = 201, description = "It is started, and that is durable.", body = Created,
        headers(("Location" = String, description = "Where it is.")),
    )),
    extensions(("x-problems" = json!([
        "no-such-workflow", "invalid-input", "id-in-use", "key-in-use", "module-removed", "too-large",
    ]))),
)]
pub(super) async fn start(
    State(served): State<Served>,
    Once { key }: Once,
    Body(start): Body<Start>,
) -> Answer {
    let events = start.events.into_iter().map(|event| Event {
        name: event.name,
        payload: crate::Json::of(&event.payload),
    });
    let begins_at = start.begins_at.as_deref();
    let request = StartRequest {
        id: start.id,
        tags: start.tags.into_iter().collect(),
        key,
        reuse: start
            .reuse
            .as_deref()
            .map(reuse)
            .transpose()?
            .unwrap_or_default(),
        begins_at: begins_at.map(|text| time("begins_at", text)).transpose()?,
        events: events.collect(),
        ..StartRequest::new(start.workflow, crate::Json::of(&start.input))
    };
    let id = served.host.start(request).await?;
    Ok(created(&id))
}

pub(super) fn created(id: &InstanceId) -> Response {
    let location = [(header::LOCATION, format!("/api/v1/instances/{id}"))];
    let body = shown(Created { id: id.into() });
    (StatusCode::CREATED, location, body).into_response()
}

fn reuse(word: &str) -> Result<Reuse, Problem> {
    let known = Reuse::ALL.into_iter().find(|it| it.as_str() == word);
    known.ok_or_else(|| {
        let words: Vec<_> = Reuse::ALL.iter().map(|it| it.as_str()).collect();
        Problem::bad_parameter("reuse", &format!("it is one of {}", words.join(", ")))
    })
}

pub(super) fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
        let why = format!("{error}; it takes a time such as 2030-01-31T12:00:00Z");
        Problem::bad_parameter(name, &why)
    })?;
    // Before 1970 there was nothing.
    Ok(Timestamp(time.timestamp_millis().try_into().unwrap_or(0)))
}

/// Which instances are listed, and how many.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    #[param(value_type = Called)]
    workflow: Option<Name>,
    /// Any of these.
    #[param(value_type = Vec<view::Status>, style = Form, explode = false)]
    status: Option<String>,
    /// All of these, each `KEY=VALUE`.
    #[param(schema_with = tags, style = Form, explode = false)]
    tag: Option<String>,
    /// The children of this instance.
    #[param(value_type = Id)]
    parent: Option<InstanceId>,
    /// Those that run on this module; the begin of its digest is enough.
    #[param(value_type = String, pattern = "^(sha256:)?[0-9a-f]{1,64}$")]
    module: Option<String>,
    #[param(value_type = String, format = DateTime)]
    created_after: Option<String>,
    #[param(value_type = String, format = DateTime)]
    created_before: Option<String>,
    newest_first: bool,
    /// The most that are answered at once; 100 if it is left out.
    #[param(value_type = u32, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// What `next` of the page before says.
    after: Option<u64>,
}

fn tags() -> RefOr<Schema> {
    let tag = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[^=,]+=[^,]*$"));
    ArrayBuilder::new().items(tag).into()
}

/// A page of a list of instances.
#[derive(Serialize, ToSchema)]
pub(super) struct Instances {
    instances: Vec<view::Summary>,
    /// Where the next page begins; null if there is none.
    next: Option<u64>,
}

impl Filter {
    fn query(&self, host: &Host) -> Result<Query, Problem> {
        let words = |text: &Option<String>| -> Vec<String> {
            let text = text.as_deref().unwrap_or_default();
            text.split(',')
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let times =
            |name, text: &Option<String>| text.as_deref().map(|it| time(name, it)).transpose();
        let module = self.module.as_deref().map(|start| module(host, start));
        Ok(Query {
            workflow: self.workflow.clone(),
            statuses: words(&self.status)
                .iter()
                .map(|it| status(it))
                .collect::<Result<_, _>>()?,
            tags: words(&self.tag)
                .iter()
                .map(|it| tag(it))
                .collect::<Result<_, _>>()?,
            parent: self.parent.clone(),
            module: module.transpose()?,
            created_from: times("created_after", &self.created_after)?,
            created_before: times("created_before", &self.created_before)?,
            newest_first: self.newest_first,
            limit: page(self.limit)?,
            after: self.after,
            ..Query::default()
        })
    }
}

/// The module whose digest begins so.
pub(super) fn module(host: &Host, start: &str) -> Result<Digest, Problem> {
    let digits = start.strip_prefix("sha256:").unwrap_or(start);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !(1..=64).contains(&digits.len()) || !digits.bytes().all(is_digit) {
        let why = "it is the module's digest, or the begin of it: sha256: and hexadecimal digits";
        return Err(Problem::bad_parameter("module", &why));
    }
    let modules = host.modules()?;
    let mut found = modules
        .iter()
        .filter(|it| it.digest.hex().starts_with(digits));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.digest),
        (None, _) => {
            let detail = format!("there is no module whose digest begins with {digits}");
            Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no-such-module",
                detail,
            ))
        }
        _ => {
            let detail = format!("the digests of several modules begin with {digits}");
            Err(Problem::new(
                StatusCode::CONFLICT,
                "ambiguous-module",
                detail,
            ))
        }
    }
}

/// How many a page has.
pub(super) fn page(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(100),
        Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::bad_parameter(
            "limit",
            &format!("it is 1 to {PAGE_MAX}"),
        )),
    }
}

fn status(word: &str) -> Result<Status, Problem> {
    let known = Status::ALL.into_iter().find(|it| it.as_str() == word);
    known.ok_or_else(|| {
        let words: Vec<_> = Status::ALL.iter().map(|it| it.as_str()).collect();
        Problem::bad_parameter("status", &format!("it is of {}", words.join(", ")))
    })
}

fn tag(text: &str) -> Result<(String, String), Problem> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| Problem::bad_parameter("tag", &"it is KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Lists instances
///
/// By the time of their start, a page at a time.
#[utoipa::path(
    get, path = "/instances", tag = "instances", operation_id = "list_instances",
    params(Filter),
    responses((status = 200, description = "A page of them.", body = Instances)),
    extensions(("x-problems" = json!(["no-such-module", "ambiguous-module"]))),
)]
pub(super) async fn list(
    State(served): State<Served>,
    Parameters(filter): Parameters<Filter>,
) -> Answer {
    let page = served.host.find(&filter.query(&served.host)?).await?;
    let page = Instances {
        instances: page.rows.iter().map(Into::into).collect(),
        next: page.next,
    };
    Ok(shown(page).into_response())
}

/// Whether to wait.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Waiting {
    /// How long, in seconds, to wait until it has ended or rests.
    #[param(value_type = f64, minimum = 0, maximum = 300)]
    wait: Option<f64>,
}

/// Shows an instance
///
/// As it stands; with `wait`, once it has ended or rests, or that time is over.
#[utoipa::path(
    get, path = "/instances/{id}", tag = "instances", operation_id = "show_instance",
    params(One, Waiting),
    responses((status = 200, description = "The instance.", body = view::Instance)),
    extensions(("x-problems" = json!(["no-such-instance"]))),
)]
pub(super) async fn show(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Parameters(Waiting { wait }): Parameters<Waiting>,
) -> Answer {
    if let Some(seconds) = wait {
        let time = Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|time| *time <= WAIT_MAX);
        let time = time.ok_or_else(|| {
            let max = WAIT_MAX.as_secs();
            Problem::bad_parameter("wait", &format!("it is 0 to {max} seconds"))
        })?;
        tokio::select! {
            settled = served.host.wait(&id) => drop(settled?),
            () = tokio::time::sleep(time) => {}
            () = served.stopping.told() => return Err(Problem::stopping()),
        }
    }
    let instance = served.host.instance(&id).await?;
    Ok(Json(view::instance(&instance)).into_response())
}

/// A history.
#[derive(Serialize, ToSchema)]
pub(super) struct History {
    records: Vec<HistoryRecord>,
}

/// Tells the history of an instance
///
/// With `Accept: text/event-stream` each record is a server-sent event named `record`, its data the
/// record as JSON, as it becomes durable, until the instance has ended. Who falls 10,000 records
/// behind is let go.
#[utoipa::path(
    get, path = "/instances/{id}/history", tag = "instances", operation_id = "history",
    params(One),
    responses((
        status = 200, description = "Its records, oldest first.",
        content((History = "application/json"), (String = "text/event-stream")),
    )),
    extensions(("x-problems" = json!(["no-such-instance"]))),
)]
pub(super) async fn history(
    State(served): State<Served>,
    At(One { id }): At<One>,
    headers: HeaderMap,
) -> Answer {
    let accepts = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    if accepts.is_some_and(|it| it.contains("text/event-stream")) {
        let events = sent(Followed::new(&served.host, &id).await?, served.stopping);
        return Ok(Sse::new(events)
            .keep_alive(KeepAlive::default())
            .into_response());
    }
    let rows = tokio::task::spawn_blocking(move || {
        let (mut narrator, mut rows) = (Narrator::default(), Vec::new());
        served.host.history(&id, |record| {
            let told = narrator.next(&record)?;
            rows.push(Narrator::record(&told, &record));
            Ok::<_, Problem>(())
        })?;
        Ok::<_, Problem>(rows)
    });
    let rows = rows
        .await
        .map_err(|_| Problem::from(crate::Error::Unknown))??;
    Ok(shown(History { records: rows }).into_response())
}

/// It holds no host: a client may take its time.
fn sent(
    followed: Followed,
    stopping: Stopping,
) -> impl Stream<Item = Result<SentEvent, Infallible>> + Send {
    futures_util::stream::unfold(
        (followed, stopping),
        |(mut followed, stopping)| async move {
            let next = tokio::select! {
                next = followed.next() => next,
                () = stopping.told() => None,
            };
            let row = next?;
            let event = SentEvent::default().event("record").data(row.to_string());
            Some((Ok(event), (followed, stopping)))
        },
    )
}

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

/// Where a rerun begins.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Again {
    /// The first turn that is taken anew; left out: all are.
    from_turn: Option<u64>,
    /// Left out: one is made up.
    #[schema(value_type = Option<Id>)]
    id: Option<InstanceId>,
    /// On the module that the workflow's name means now, not on that of the original.
    current_module: bool,
}

/// Does an instance again, as a new one
#[utoipa::path(
    post, path = "/instances/{id}/rerun", tag = "instances", operation_id = "rerun",
    params(One),
    request_body = Option<Again>,
    responses((
        status = 201, description = "It is started, and that is durable.", body = Created,
        headers(("Location" = String, description = "Where it is.")),
    )),
    extensions(("x-problems" = json!([
        "no-such-instance", "no-such-turn", "no-such-workflow", "invalid-input", "id-in-use",
        "module-removed",
    ]))),
)]
pub(super) async fn rerun(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Body(again): Body<Again>,
) -> Answer {
    let request = RerunRequest {
        from_turn: again.from_turn,
        id: again.id,
        current_module: again.current_module,
    };
    Ok(created(&served.host.rerun(&id, request).await?))
}

/// Whether children stay.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Purging {
    /// The children stay.
    only: bool,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
pub(super) struct Purged {
    purged: Vec<Id>,
}

/// Removes an instance that has ended
#[utoipa::path(
    delete, path = "/instances/{id}", tag = "instances", operation_id = "purge_instance",
    params(One, Purging),
    responses((status = 200, description = "It is removed with its children.", body = Purged)),
    extensions(("x-problems" = json!(["no-such-instance", "not-ended", "awaited"]))),
)]
pub(super) async fn purge(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Parameters(Purging { only }): Parameters<Purging>,
) -> Answer {
    let children = if only { Children::Not } else { Children::Too };
    let purged = served.host.purge(&id, children).await?;
    let purged = purged.iter().map(Into::into).collect();
    Ok(shown(Purged { purged }).into_response())
}
