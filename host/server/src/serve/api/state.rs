//! The state store. A value's version is its `ETag`.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{At, Input, Parameters, Problem};
use crate::entries::StateRequest;
use crate::serve::Served;
use crate::{Entry, StateWrite};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Range {
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
}

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
    let rows: Vec<_> = found.iter().map(|(key, entry)| row(key, entry)).collect();
    Ok(Json(json!({ "entries": rows, "next": next })))
}

fn row(key: &str, entry: &Entry) -> Value {
    json!({ "key": key, "value": entry.value.value(), "version": entry.version })
}

pub(super) async fn read(
    State(served): State<Served>,
    At(key): At<String>,
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

pub(super) async fn write(
    State(served): State<Served>,
    At(key): At<String>,
    headers: HeaderMap,
    Input(value): Input,
) -> Result<StatusCode, Problem> {
    put(&served, key, &headers, Some(value)).await
}

pub(super) async fn delete(
    State(served): State<Served>,
    At(key): At<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    put(&served, key, &headers, None).await
}

async fn put(
    served: &Served,
    key: String,
    headers: &HeaderMap,
    value: Option<crate::Json>,
) -> Result<StatusCode, Problem> {
    let write = StateWrite {
        key,
        value,
        expires_at: None,
    };
    let if_version = expected(headers)?;
    let request = StateRequest { write, if_version };
    served.host.write_state(vec![request]).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `If-Match: "VERSION"`, or `If-None-Match: *` where there must be nothing.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|it| it.to_str().unwrap_or("?").trim())
    };
    let bad = |why: &str| Problem::new(StatusCode::BAD_REQUEST, "bad-header", why);
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (None, Some("*")) => Ok(Some(0)),
        (Some(tag), None) => {
            let version = tag.trim_matches('"').parse().ok().filter(|it| *it > 0);
            let why = "`If-Match` takes one ETag, as a read gives it";
            version.map(Some).ok_or_else(|| bad(why))
        }
        _ => Err(bad(
            "it takes `If-Match` with an ETag, or `If-None-Match: *`",
        )),
    }
}
