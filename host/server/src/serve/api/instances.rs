//! Instances: started, found, shown, waited for, done again and removed.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

use super::filter::{EndedStatus, Filter, Tag, statuses, tags, time};
use super::{Answer, At, Body, Once, One, Parameters, Problem, shown, whole};
use crate::asking::Children;
use crate::follow::Followed;
use crate::narrate::{Narrator, Told};
use crate::serve::observe::Caller;
use crate::serve::{Served, Stopping};
use crate::start::{Reuse, StartRequest};
use crate::starting::RerunRequest;
use crate::view::{self, Called, HistoryRecord, Id};
use crate::{Event, InstanceId, Name, Query, Record};

/// The longest that a request may wait for an instance.
const WAIT_MAX: Duration = Duration::from_secs(300);

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
#[schema(as = StartEvent)]
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
        "bad-parameter", "no-such-workflow", "invalid-input", "id-in-use", "key-in-use",
        "module-removed", "too-large",
    ]))),
)]
pub(super) async fn start(
    State(served): State<Served>,
    Once { key }: Once,
    Caller(trace): Caller,
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
        trace,
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

/// A page of a list of instances.
#[derive(Serialize, ToSchema)]
pub(super) struct Instances {
    instances: Vec<view::Summary>,
    /// Where the next page begins; null if there is none.
    next: Option<u64>,
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
/// record as JSON, as it becomes durable, until the instance has ended, which an event named `end` tells. Who falls
/// 10,000 records behind is let go.
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
    if asks_for_events(&headers) {
        let seen = Followed::new(&served.host, &id).await?;
        let events = followed(seen, served.stopping, |told, record| {
            let row = Narrator::view(told, record).to_string();
            vec![SentEvent::default().event("record").data(row)]
        });
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

pub(super) fn asks_for_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    accepts.is_some_and(|it| it.contains("text/event-stream"))
}

/// What there is to send of each record. It holds no host: a client may take its time.
pub(super) fn followed(
    followed: Followed,
    stopping: Stopping,
    events: impl Fn(&Told, &Record) -> Vec<SentEvent> + Send,
) -> impl Stream<Item = Result<SentEvent, Infallible>> + Send {
    let records = futures_util::stream::unfold(Some((followed, stopping)), |state| async move {
        let (mut followed, stopping) = state?;
        let next = tokio::select! {
            next = followed.next() => next,
            () = stopping.told() => return None,
        };
        match next {
            Some(next) => Some((Some(next), Some((followed, stopping)))),
            // Who was let go, or is told no more since the host stops, sees no such end.
            None if followed.has_ended() => Some((None, None)),
            None => None,
        }
    });
    records.flat_map(move |next| {
        let sent = match next {
            Some((told, record)) => events(&told, &record),
            None => vec![SentEvent::default().event("end").data("{}")],
        };
        futures_util::stream::iter(sent.into_iter().map(Ok))
    })
}

/// Where a rerun begins.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Rerun)]
pub(super) struct Again {
    /// The first turn that is taken anew; left out: all are.
    #[serde(deserialize_with = "whole")]
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

/// Which instances that have ended are removed: at least one of these says it, and all must fit.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PurgingAll {
    #[param(value_type = Called)]
    workflow: Option<Name>,
    /// Any of these.
    #[param(value_type = Vec<EndedStatus>, style = Form, explode = false)]
    status: Option<String>,
    /// All of these, each `KEY=VALUE`.
    #[param(value_type = Vec<Tag>, style = Form, explode = false)]
    tag: Option<String>,
    /// Those to which nothing has happened since.
    #[param(value_type = String, format = DateTime)]
    updated_before: Option<String>,
    /// Removes none, and says which would be.
    dry_run: bool,
}

/// Removes instances that have ended
#[utoipa::path(
    delete, path = "/instances", tag = "instances", operation_id = "purge_instances",
    params(PurgingAll),
    responses((status = 200, description = "Those that fit are removed.", body = Purged)),
    extensions(("x-problems" = json!(["bad-parameter"]))),
)]
pub(super) async fn purge_all(
    State(served): State<Served>,
    Parameters(chosen): Parameters<PurgingAll>,
) -> Answer {
    let query = chosen.query()?;
    let purged = match chosen.dry_run {
        false => served.host.purge_all(query).await?,
        true => served.host.purgeable(query).await?,
    };
    let purged = purged.iter().map(Into::into).collect();
    Ok(shown(Purged { purged }).into_response())
}

impl PurgingAll {
    fn query(&self) -> Result<Query, Problem> {
        let statuses = statuses(self.status.as_deref())?;
        if let Some(status) = statuses.iter().find(|it| !it.has_ended()) {
            let why = format!("what is {} has not ended", status.as_str());
            return Err(Problem::bad_parameter("status", &why));
        }
        let before = self.updated_before.as_deref();
        let query = Query {
            workflow: self.workflow.clone(),
            tags: tags(self.tag.as_deref())?,
            updated_before: before.map(|it| time("updated_before", it)).transpose()?,
            statuses,
            ..Query::default()
        };
        let says_nothing = query.workflow.is_none()
            && query.tags.is_empty()
            && query.statuses.is_empty()
            && query.updated_before.is_none();
        if says_nothing {
            let why = "say at least one of workflow, status, tag and updated_before";
            return Err(Problem::bad_request(why.to_owned()));
        }
        Ok(query)
    }
}
