//! The state store. A value's version is its `ETag`.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::{At, Input, Parameters, Problem, shown};
use crate::entries::StateRequest;
use crate::serve::Served;
use crate::{Entry, StateWrite};

/// Which keys are listed.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Range {
    /// Those that begin so.
    prefix: String,
    /// What `next` of the page before says.
    #[param(value_type = String)]
    after: Option<String>,
    /// The most that are answered at once; 100 if it is left out.
    #[param(value_type = u32, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of the state store.
#[derive(Serialize, ToSchema)]
pub(super) struct Entries {
    entries: Vec<Row>,
    /// Where the next page begins; null if there is none.
    next: Option<String>,
}

/// A key of the state store.
#[derive(Serialize, ToSchema)]
#[schema(as = StateEntry)]
struct Row {
    key: String,
    value: Value,
    /// Each write gives another, and a later one a greater.
    version: u64,
}

/// Lists keys of the state store with their values
#[utoipa::path(
    get, path = "/state", tag = "state", operation_id = "list_state",
    params(Range),
    responses((status = 200, description = "A page of them, in order.", body = Entries)),
)]
pub(super) async fn list(
    State(served): State<Served>,
    Parameters(range): Parameters<Range>,
) -> Result<Json<Value>, Problem> {
    let limit = super::instances::page(range.limit)?;
    let found = served
        .host
        .scan_state(&range.prefix, range.after.as_deref(), limit)
        .await?;
    let next = found
        .last()
        .filter(|_| found.len() == limit)
        .map(|(key, _)| key.clone());
    let entries = found.iter().map(|(key, entry)| row(key, entry)).collect();
    Ok(shown(Entries { entries, next }))
}

fn row(key: &str, entry: &Entry) -> Row {
    Row {
        key: key.to_owned(),
        value: entry.value.value(),
        version: entry.version,
    }
}

/// The key that a call is about.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Key {
    /// 1 to 1,024 bytes. A `/` may stand in it as it is.
    #[param(min_length = 1, max_length = 1024)]
    key: String,
}

/// Reads a key of the state store
#[utoipa::path(
    get, path = "/state/{*key}", tag = "state", operation_id = "read_state",
    params(Key),
    responses((
        status = 200, description = "The value.", body = Value,
        headers(("ETag" = String, description = "Its version in quotation marks.")),
    )),
    extensions(("x-problems" = json!(["no-such-key", "invalid-key"]))),
)]
pub(super) async fn read(
    State(served): State<Served>,
    At(Key { key }): At<Key>,
) -> Result<Response, Problem> {
    let entry = served.host.state(&key).await?;
    let entry = entry.ok_or_else(|| {
        let detail = format!("there is no value under `{key}`");
        Problem::new(StatusCode::NOT_FOUND, "no-such-key", detail)
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::ETAG, format!("\"{}\"", entry.version)),
    ];
    Ok((headers, entry.value.as_str().to_owned()).into_response())
}

/// Writes a key of the state store
#[utoipa::path(
    put, path = "/state/{*key}", tag = "state", operation_id = "write_state",
    params(Key, If),
    request_body = Option<Value>,
    responses((status = 204, description = "It is written, and that is durable.")),
    extensions(("x-problems" = json!(["wrong-version", "invalid-key", "too-large"]))),
)]
pub(super) async fn write(
    State(served): State<Served>,
    At(Key { key }): At<Key>,
    If(version): If,
    Input(value): Input,
) -> Result<StatusCode, Problem> {
    put(&served, key, version, Some(value)).await
}

/// Removes a key of the state store, if it is there
#[utoipa::path(
    delete, path = "/state/{*key}", tag = "state", operation_id = "delete_state",
    params(Key, If),
    responses((status = 204, description = "It is not there, and that is durable.")),
    extensions(("x-problems" = json!(["wrong-version", "invalid-key"]))),
)]
pub(super) async fn delete(
    State(served): State<Served>,
    At(Key { key }): At<Key>,
    If(version): If,
) -> Result<StatusCode, Problem> {
    put(&served, key, version, None).await
}

async fn put(
    served: &Served,
    key: String,
    if_version: Option<u64>,
    value: Option<crate::Json>,
) -> Result<StatusCode, Problem> {
    let write = StateWrite {
        key,
        value,
        expires_at: None,
    };
    let request = StateRequest { write, if_version };
    served.host.write_state(vec![request]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The version that a key must be at, 0 where there must be nothing.
pub(super) struct If(Option<u64>);

impl IntoParams for If {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let header = |name: &str, what: &str, pattern: &str| {
            let text = ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some(pattern));
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(what))
                .schema(Some(text))
                .build()
        };
        vec![
            header("If-Match", "Only over the version of this ETag.", ETAG),
            header("If-None-Match", "Only where there is nothing.", "^[*]$"),
        ]
    }
}

const ETAG: &str = "^\"[1-9][0-9]{0,18}\"$";

impl FromRequestParts<Served> for If {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Served) -> Result<Self, Problem> {
        expected(&parts.headers).map(Self)
    }
}

/// `If-Match: "VERSION"`, or `If-None-Match: *` where there must be nothing.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|it| it.to_str().unwrap_or("?").trim())
    };
    let none_match = match text(header::IF_NONE_MATCH) {
        None => false,
        Some("*") => true,
        Some(_) => return Err(Problem::bad_header("`If-None-Match` takes `*`")),
    };
    let Some(tag) = text(header::IF_MATCH) else {
        return Ok(none_match.then_some(0));
    };
    let version = version(tag)
        .ok_or_else(|| Problem::bad_header("`If-Match` takes one ETag, as a read gives it"))?;
    if none_match {
        let status = StatusCode::PRECONDITION_FAILED;
        let why = "there cannot be a version, and nothing; nothing was written";
        return Err(Problem::new(status, "wrong-version", why));
    }
    Ok(Some(version))
}

/// The version of an ETag; who sends it without its quotation marks is understood.
fn version(tag: &str) -> Option<u64> {
    let quoted = tag.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let version = quoted.unwrap_or(tag).parse().ok();
    version.filter(|it| *it > 0)
}
