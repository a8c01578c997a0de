//! The host's own API: everything that the command line can do with a running host.
//!
//! Bodies are JSON, as in [`crate::view`]. Errors are problem details (RFC 9457) with a stable
//! `code`. `Idempotency-Key` on a start, an event, a cancellation, a termination, a suspension, a
//! resumption, an update or a trigger of a schedule makes it happen once, however often it is sent.

mod condition;
mod document;
mod filter;
mod instances;
mod look;
mod modules;
mod problem;
mod schedules;
mod state;
mod told;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Number, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use document::document;
pub(super) use problem::Problem;

use super::Served;
use crate::view::{Called, Id};
use crate::{InstanceId, Json as Payload, Name};

type Answer = Result<Response, Problem>;

/// Where the API is.
const ROOT: &str = "/api/v1";

pub(super) fn routes() -> Router<Served> {
    let (routes, _) = described().split_for_parts();
    let routes = routes
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_route);
    Router::new().nest(ROOT, routes)
}

/// The routes with what their attributes say of them. A route is a handler with `#[utoipa::path]`
/// and a line here: what is not described is not served.
fn described() -> OpenApiRouter<Served> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(openapi))
        .routes(routes!(
            instances::list,
            instances::start,
            instances::purge_all
        ))
        .routes(routes!(instances::show, instances::purge))
        .routes(routes!(instances::history))
        .routes(routes!(look::why))
        .routes(routes!(look::logs))
        .routes(routes!(look::replay))
        .routes(routes!(look::capsule))
        .routes(routes!(told::raise_event))
        .routes(routes!(told::query))
        .routes(routes!(told::update))
        .routes(routes!(told::cancel))
        .routes(routes!(told::terminate))
        .routes(routes!(told::suspend))
        .routes(routes!(told::resume))
        .routes(routes!(instances::rerun))
        .routes(routes!(modules::migrate))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::show, schedules::put, schedules::delete))
        .routes(routes!(schedules::next))
        .routes(routes!(schedules::pause))
        .routes(routes!(schedules::resume))
        .routes(routes!(schedules::trigger))
        .routes(routes!(state::list))
        .routes(routes!(state::read, state::write, state::delete))
        .routes(routes!(modules::list, modules::deploy))
        .routes(routes!(modules::collect))
        .routes(routes!(modules::show))
        .routes(routes!(modules::bytes))
        .routes(routes!(modules::diff))
        .routes(routes!(modules::deployments))
        .routes(routes!(modules::rollback))
        .routes(routes!(modules::promote))
        .routes(routes!(modules::abort))
}

/// That a host is there.
#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(pattern = "^ok$")]
    status: String,
    /// The host's version.
    version: String,
}

/// Says that the host is there
#[utoipa::path(
    get, path = "/health", tag = "service", operation_id = "health", security(()),
    responses((status = 200, description = "It is.", body = Health)),
)]
async fn health() -> Json<Value> {
    shown(Health {
        status: "ok".into(),
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// This document
///
/// It tells what every host of this version can do, and nothing of this one, so anybody may read it.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Value)),
)]
async fn openapi() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, document::text())
}

/// An answer, its fields by name.
fn shown(view: impl Serialize) -> Json<Value> {
    Json(crate::view::json(view))
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

/// The instance that a call is about.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct One {
    #[param(value_type = Id)]
    id: InstanceId,
}

/// The instance that a call is about, and what of it.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Part {
    #[param(value_type = Id)]
    id: InstanceId,
    #[param(value_type = Called)]
    name: Name,
}

/// A body of named fields; an empty one has none of them. Unknown names are refused.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<Served> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, served: &Served) -> Result<Self, Problem> {
        let Raw(text) = Raw::from_request(request, served).await?;
        let text = if text.is_empty() { "{}" } else { &text };
        // A list would be read as the fields in their order.
        if !text.starts_with('{') {
            return Err(Problem::bad_body(&"it is an object with named fields"));
        }
        let fields = serde_json::from_str(text);
        fields.map(Self).map_err(|error| Problem::bad_body(&error))
    }
}

/// A whole number of a body, if it is there. JSON knows one kind of numbers: 3.0 is 3.
fn whole<'de, D: Deserializer<'de>>(number: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(number)? else {
        return Ok(None);
    };
    let float = number.as_f64().filter(|it| it.fract() == 0.0);
    let float = float.filter(|it| (0.0..u64::MAX as f64).contains(it));
    let whole = number.as_u64().or(float.map(|it| it as u64));
    let none = || D::Error::custom(format!("{number} is no whole number from 0 on"));
    whole.map(Some).ok_or_else(none)
}

/// A body that is one payload, and not left out.
struct Given(Payload);

impl FromRequest<Served> for Given {
    type Rejection = Problem;

    async fn from_request(request: Request, served: &Served) -> Result<Self, Problem> {
        let Raw(text) = Raw::from_request(request, served).await?;
        let payload = Payload::parse(text);
        payload.map(Self).map_err(|error| Problem::bad_body(&error))
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
        let Whole(bytes) = Whole::from_request(request, served).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Problem::bad_body(&error))?;
        Ok(Self(text.trim().to_owned()))
    }
}

/// A body as it came.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(super) struct Whole(pub(super) Bytes);

impl FromRequest<Served> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, served: &Served) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, served).await;
        bytes.map(Self).map_err(|rejection| {
            let code = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => "too-large",
                _ => "bad-body",
            };
            Problem::new(rejection.status(), code, rejection.body_text())
        })
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

/// Makes a request happen once, however often it is sent.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
struct Once {
    /// A key of the caller's own choice. A request with a key that was used for the same thing
    /// before changes nothing, and is answered as that was.
    #[param(
        rename = "Idempotency-Key",
        required = false,
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    key: Option<String>,
}

/// The longest request key, in bytes. Keys are remembered as long as their instance.
pub(super) const KEY_BYTES_MAX: usize = 255;

impl FromRequestParts<Served> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Served) -> Result<Self, Problem> {
        let Some(key) = parts.headers.get("idempotency-key") else {
            return Ok(Self { key: None });
        };
        let fits = |key: &&str| (1..=KEY_BYTES_MAX).contains(&key.len());
        let key = key.to_str().ok().filter(fits).ok_or_else(|| {
            let why = format!("`Idempotency-Key` is 1 to {KEY_BYTES_MAX} characters of plain text");
            Problem::bad_header(why)
        })?;
        Ok(Self {
            key: Some(key.to_owned()),
        })
    }
}
