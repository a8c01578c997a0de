//! Instances: started, found, shown, waited for, told and asked.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use serde::Deserialize;
use serde_json::{Value, json};
use wfhost_core::Status;

use super::{At, Body, Input, Parameters, Problem, key};
use crate::asking::Children;
use crate::follow::Followed;
use crate::host::Host;
use crate::narrate::Narrator;
use crate::serve::observe::Caller;
use crate::serve::{Served, Stopping};
use crate::start::{Reuse, StartRequest};
use crate::starting::RerunRequest;
use crate::{Digest, Event, Failure, InstanceId, Name, Query, Timestamp, view};

type Answer = Result<Response, Problem>;

/// The longest that a request may wait for an instance.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The most instances of a page.
const PAGE_MAX: usize = 1_000;

/// What a start takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    workflow: Name,
    #[serde(default)]
    input: Value,
    id: Option<InstanceId>,
    #[serde(default)]
    tags: std::collections::BTreeMap<String, String>,
    reuse: Option<String>,
    begins_at: Option<String>,
    #[serde(default)]
    events: Vec<Raised>,
}

/// An event that comes with a start.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raised {
    name: Name,
    #[serde(default)]
    payload: Value,
}

pub(super) async fn start(
    State(served): State<Served>,
    Caller(trace): Caller,
    headers: HeaderMap,
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
        key: key(&headers)?,
        reuse: start
            .reuse
            .as_deref()
            .map(reuse)
            .transpose()?
            .unwrap_or_default(),
        begins_at: begins_at.map(|text| time("begins_at", text)).transpose()?,
        events: events.collect(),
        trace,
        ..StartRequest::new(start.workflow, crate::Json::of(&start.input))
    };
    let id = served.host.start(request).await?;
    Ok(created(&id))
}

fn created(id: &InstanceId) -> Response {
    let location = [(header::LOCATION, format!("/api/v1/instances/{id}"))];
    let body = Json(json!({ "id": id.as_str() }));
    (StatusCode::CREATED, location, body).into_response()
}

fn reuse(word: &str) -> Result<Reuse, Problem> {
    let known = Reuse::ALL.into_iter().find(|it| it.as_str() == word);
    known.ok_or_else(|| {
        let words: Vec<_> = Reuse::ALL.iter().map(|it| it.as_str()).collect();
        Problem::bad_parameter("reuse", &format!("it is one of {}", words.join(", ")))
    })
}

fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let time = humantime::parse_rfc3339(text);
    time.map(Timestamp::from_system).map_err(|error| {
        let why = format!("{error}; it takes a time in UTC such as 2030-01-31T12:00:00Z");
        Problem::bad_parameter(name, &why)
    })
}

/// Which instances are listed, and how many. Several statuses and tags are divided by commas.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    workflow: Option<Name>,
    status: Option<String>,
    /// `KEY=VALUE`.
    tag: Option<String>,
    parent: Option<InstanceId>,
    module: Option<String>,
    created_after: Option<String>,
    created_before: Option<String>,
    newest_first: bool,
    limit: Option<usize>,
    after: Option<u64>,
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
    let modules = host.modules()?;
    let mut found = modules
        .iter()
        .filter(|it| it.digest.to_string().starts_with(start));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.digest),
        (None, _) => Err(Problem::bad_parameter("module", &"there is no such module")),
        _ => Err(Problem::bad_parameter(
            "module",
            &"several modules begin so",
        )),
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

pub(super) async fn list(
    State(served): State<Served>,
    Parameters(filter): Parameters<Filter>,
) -> Answer {
    let page = served.host.find(&filter.query(&served.host)?).await?;
    let rows: Vec<_> = page.rows.iter().map(view::summary).collect();
    Ok(Json(json!({ "instances": rows, "next": page.next })).into_response())
}

/// How long to wait for it to rest, in seconds.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Waiting {
    wait: Option<f64>,
}

/// Shows an instance as it stands; with `wait`, once it has ended or rests, or that time is over.
pub(super) async fn show(
    State(served): State<Served>,
    At(id): At<InstanceId>,
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

/// The history of an instance; as server-sent events, one a record, as they become durable, until
/// it has ended.
pub(super) async fn history(
    State(served): State<Served>,
    At(id): At<InstanceId>,
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
            rows.push(Narrator::view(&told, &record));
            Ok::<_, Problem>(())
        })?;
        Ok::<_, Problem>(rows)
    });
    let rows = rows
        .await
        .map_err(|_| Problem::from(crate::Error::Unknown))??;
    Ok(Json(json!({ "records": rows })).into_response())
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

pub(super) async fn raise_event(
    State(served): State<Served>,
    At((id, name)): At<(InstanceId, Name)>,
    headers: HeaderMap,
    Input(payload): Input,
) -> Answer {
    let event = Event { name, payload };
    served.host.raise_event(&id, event, key(&headers)?).await?;
    Ok(done())
}

fn done() -> Response {
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}

/// What a request to stop, or to go on, may say.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Control {
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

pub(super) async fn cancel(
    State(served): State<Served>,
    At(id): At<InstanceId>,
    headers: HeaderMap,
    Body(Control { reason, .. }): Body<Control>,
) -> Answer {
    served.host.cancel(&id, reason, key(&headers)?).await?;
    Ok(done())
}

pub(super) async fn terminate(
    State(served): State<Served>,
    At(id): At<InstanceId>,
    headers: HeaderMap,
    Body(control): Body<Control>,
) -> Answer {
    let (children, key) = (control.children(), key(&headers)?);
    served
        .host
        .terminate(&id, control.reason, children, key)
        .await?;
    Ok(done())
}

pub(super) async fn suspend(
    State(served): State<Served>,
    At(id): At<InstanceId>,
    headers: HeaderMap,
    Body(control): Body<Control>,
) -> Answer {
    let (children, key) = (control.children(), key(&headers)?);
    served
        .host
        .suspend(&id, control.reason, children, key)
        .await?;
    Ok(done())
}

pub(super) async fn resume(
    State(served): State<Served>,
    At(id): At<InstanceId>,
    headers: HeaderMap,
    Body(control): Body<Control>,
) -> Answer {
    served
        .host
        .resume(&id, control.children(), key(&headers)?)
        .await?;
    Ok(done())
}

pub(super) async fn query(
    State(served): State<Served>,
    At((id, name)): At<(InstanceId, Name)>,
    Input(input): Input,
) -> Answer {
    Ok(answered(served.host.query(&id, &name, &input).await?))
}

pub(super) async fn update(
    State(served): State<Served>,
    At((id, name)): At<(InstanceId, Name)>,
    headers: HeaderMap,
    Input(input): Input,
) -> Answer {
    let key = key(&headers)?;
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
        Err(failure) => {
            let body = json!({
                "type": "about:blank",
                "title": "the workflow refused",
                "status": 422,
                "detail": failure.message,
                "code": "refused",
                "failure": view::failure(&failure),
            });
            let kind = [(header::CONTENT_TYPE, "application/problem+json")];
            (StatusCode::UNPROCESSABLE_ENTITY, kind, body.to_string()).into_response()
        }
    }
}

/// Where a rerun begins.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Again {
    from_turn: Option<u64>,
    id: Option<InstanceId>,
    current_module: bool,
}

pub(super) async fn rerun(
    State(served): State<Served>,
    At(id): At<InstanceId>,
    Caller(trace): Caller,
    Body(again): Body<Again>,
) -> Answer {
    let request = RerunRequest {
        from_turn: again.from_turn,
        id: again.id,
        current_module: again.current_module,
        trace,
    };
    Ok(created(&served.host.rerun(&id, request).await?))
}

/// Whether children stay.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Purging {
    only: bool,
}

pub(super) async fn purge(
    State(served): State<Served>,
    At(id): At<InstanceId>,
    Parameters(Purging { only }): Parameters<Purging>,
) -> Answer {
    let children = if only { Children::Not } else { Children::Too };
    let purged = served.host.purge(&id, children).await?;
    let purged: Vec<_> = purged.iter().map(InstanceId::as_str).collect();
    Ok(Json(json!({ "purged": purged })).into_response())
}
