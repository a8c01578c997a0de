//! The host's own API: everything that the command line can do with a running host.
//!
//! Bodies are JSON, as in [`crate::view`]. Errors are problem details (RFC 9457) with a stable
//! `code`. `Idempotency-Key` on a start, an event, a cancellation, a termination, a suspension, a
//! resumption, an update or a trigger of a schedule makes it happen once, however often it is sent.

mod instances;
mod modules;
mod problem;
mod schedules;
mod state;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) use problem::Problem;

use super::Served;
use crate::Json as Payload;

pub(super) fn routes() -> Router<Served> {
    let one = "/instances/{id}";
    let of_one = |rest: &str| format!("{one}/{rest}");
    Router::new()
        .route("/health", get(health))
        .route("/instances", get(instances::list).post(instances::start))
        .route(one, get(instances::show).delete(instances::purge))
        .route(&of_one("history"), get(instances::history))
        .route(&of_one("events/{name}"), post(instances::raise_event))
        .route(&of_one("queries/{name}"), post(instances::query))
        .route(&of_one("updates/{name}"), post(instances::update))
        .route(&of_one("cancel"), post(instances::cancel))
        .route(&of_one("terminate"), post(instances::terminate))
        .route(&of_one("suspend"), post(instances::suspend))
        .route(&of_one("resume"), post(instances::resume))
        .route(&of_one("rerun"), post(instances::rerun))
        .merge(schedule_routes())
        .route("/state", get(state::list))
        .route(
            "/state/{*key}",
            get(state::read).put(state::write).delete(state::delete),
        )
        .route(&of_one("migrate"), post(modules::migrate))
        .route("/modules", get(modules::list).post(modules::deploy))
        .route("/deployments", get(modules::deployments))
        .route("/deployments/rollback", post(modules::rollback))
        .route("/deployments/promote", post(modules::promote))
        .route("/deployments/abort", post(modules::abort))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_route)
}

fn schedule_routes() -> Router<Served> {
    let one = "/schedules/{name}";
    let of_one = |rest: &str| format!("{one}/{rest}");
    Router::new()
        .route("/schedules", get(schedules::list))
        .route(
            one,
            get(schedules::show)
                .put(schedules::put)
                .delete(schedules::delete),
        )
        .route(&of_one("next"), get(schedules::next))
        .route(&of_one("pause"), post(schedules::pause))
        .route(&of_one("resume"), post(schedules::resume))
        .route(&of_one("trigger"), post(schedules::trigger))
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

pub(super) async fn no_such_route(uri: Uri) -> Problem {
    let detail = format!("there is no route `{}`", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "no-such-route", detail)
}

async fn method_not_allowed(uri: Uri) -> Problem {
    let detail = format!("`{}` does not take this method", uri.path());
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Problem::new(status, "method-not-allowed", detail)
}

/// A body of named fields; an empty one has none of them. Unknown names are refused.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<Served> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, served: &Served) -> Result<Self, Problem> {
        let Raw(text) = Raw::from_request(request, served).await?;
        let text = if text.is_empty() { "{}" } else { &text };
        let fields = serde_json::from_str(text);
        fields.map(Self).map_err(|error| Problem::bad_body(&error))
    }
}

/// A body that is one payload; an empty one is null.
struct Input(Payload);

impl FromRequest<Served> for Input {
    type Rejection = Problem;

    async fn from_request(request: Request, served: &Served) -> Result<Self, Problem> {
        let Raw(text) = Raw::from_request(request, served).await?;
        if text.is_empty() {
            return Ok(Self(Payload::null()));
        }
        let payload = Payload::parse(text);
        payload.map(Self).map_err(|error| Problem::bad_body(&error))
    }
}

/// A body as trimmed text.
struct Raw(String);

impl FromRequest<Served> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, served: &Served) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, served).await;
        let bytes = bytes.map_err(|rejection| {
            Problem::new(rejection.status(), "bad-body", rejection.body_text())
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Problem::bad_body(&error))?;
        Ok(Self(text.trim().to_owned()))
    }
}

/// What stands behind the question mark. Unknown names are refused.
struct Parameters<T>(T);

impl<T: DeserializeOwned> FromRequestParts<Served> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        let read = Query::from_request_parts(parts, served).await;
        let Query(parameters) =
            read.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Self(parameters))
    }
}

/// What the path names.
struct At<T>(T);

impl<T: DeserializeOwned + Send> FromRequestParts<Served> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, Problem> {
        let read = Path::from_request_parts(parts, served).await;
        let Path(names) = read.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Self(names))
    }
}

/// The request key, if one was sent.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let key = headers.get("idempotency-key").map(|it| it.to_str());
    let key = key.transpose().map_err(|_| {
        let status = StatusCode::BAD_REQUEST;
        Problem::new(status, "bad-header", "`Idempotency-Key` is plain text")
    })?;
    Ok(key.map(str::to_owned))
}
