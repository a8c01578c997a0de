//! The state store. A value's version is its `ETag`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::condition::{Condition, Held, refused};
use super::{At, Given, Parameters, Problem, shown};
use crate::entries::{StateRequest, check_key};
use crate::error::Error;
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
    let limit = super::filter::page(range.limit)?;
    let found = served
        .host
        .scan_state(&range.prefix, range.after.as_deref(), limit)
        .await?;
    let mut bytes = 0_usize;
    let small = found.iter().take_while(|(_, entry)| {
        let before = bytes;
        bytes = bytes.saturating_add(entry.value.bytes());
        before < PAGE_BYTES_MAX
    });
    let entries: Vec<_> = small.map(|(key, entry)| row(key, entry)).collect();
    let more = found.len() == limit || entries.len() < found.len();
    let last = entries.last().filter(|_| more);
    let next = last.map(|row| row.key.clone());
    Ok(shown(Entries { entries, next }))
}

/// A page ends with the value that reaches so many bytes.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

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
    params(Key, Condition),
    responses(
        (
            status = 200, description = "The value.", body = Value,
            headers(("ETag" = String, description = "Its version in quotation marks.")),
        ),
        (status = 304, description = "It is as `If-None-Match` says that it was."),
    ),
    extensions(("x-problems" = json!(["no-such-key", "invalid-key", "wrong-version"]))),
)]
pub(super) async fn read(
    State(served): State<Served>,
    At(Key { key }): At<Key>,
    condition: Condition,
) -> Result<Response, Problem> {
    check_key(&key)?;
    let entry = served.host.state(&key).await?;
    let entry = entry.ok_or_else(|| {
        let detail = format!("there is no value under `{key}`");
        Problem::new(StatusCode::NOT_FOUND, "no-such-key", detail)
    })?;
    let etag = (header::ETAG, format!("\"{}\"", entry.version));
    match condition.holds(entry.version) {
        Held::NoMatch => Err(refused()),
        Held::Matches => Ok((StatusCode::NOT_MODIFIED, [etag]).into_response()),
        Held::Yes => {
            let kind = (header::CONTENT_TYPE, "application/json".to_owned());
            Ok(([kind, etag], entry.value.as_str().to_owned()).into_response())
        }
    }
}

/// Writes a key of the state store
#[utoipa::path(
    put, path = "/state/{*key}", tag = "state", operation_id = "write_state",
    params(Key, Condition),
    request_body = Value,
    responses((status = 204, description = "It is written, and that is durable.")),
    extensions(("x-problems" = json!(["wrong-version", "invalid-key", "too-large"]))),
)]
pub(super) async fn write(
    State(served): State<Served>,
    At(Key { key }): At<Key>,
    condition: Condition,
    Given(value): Given,
) -> Result<StatusCode, Problem> {
    put(&served, key, &condition, Some(value)).await
}

/// Removes a key of the state store, if it is there
#[utoipa::path(
    delete, path = "/state/{*key}", tag = "state", operation_id = "delete_state",
    params(Key, Condition),
    responses((status = 204, description = "It is not there, and that is durable.")),
    extensions(("x-problems" = json!(["wrong-version", "invalid-key"]))),
)]
pub(super) async fn delete(
    State(served): State<Served>,
    At(Key { key }): At<Key>,
    condition: Condition,
) -> Result<StatusCode, Problem> {
    put(&served, key, &condition, None).await
}

async fn put(
    served: &Served,
    key: String,
    condition: &Condition,
    value: Option<crate::Json>,
) -> Result<StatusCode, Problem> {
    check_key(&key)?;
    let plain = condition.is_empty();
    loop {
        let seen = match condition.version() {
            _ if plain => None,
            Some(version) => Some(version),
            None => {
                let entry = served.host.state(&key).await?;
                Some(entry.map_or(0, |entry| entry.version))
            }
        };
        if seen.is_some_and(|version| condition.holds(version) != Held::Yes) {
            return Err(refused());
        }
        let write = StateWrite {
            key: key.clone(),
            value: value.clone(),
            expires_at: None,
        };
        let if_version = seen;
        match served
            .host
            .write_state(vec![StateRequest { write, if_version }])
            .await
        {
            // Somebody else wrote since it was looked at, and the condition may hold still.
            Err(Error::WrongVersion { .. }) if condition.version().is_none() => {}
            done => {
                done?;
                return Ok(StatusCode::NO_CONTENT);
            }
        }
    }
}
