//! Dapr's state API, on the state store that workflows and activities share.
//!
//! An etag is the version of a value. Unlike with Dapr's stores, several keys of one request are
//! written all or none. Values are JSON.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wfhost_core::Timestamp;

use super::DaprError;
use crate::entries::StateRequest;
use crate::error::{Error, chain};
use crate::serve::Served;
use crate::{Json as Payload, StateWrite};

/// The most keys of one request.
const KEYS_MAX: usize = 10_000;

pub(super) fn routes() -> Router<Served> {
    Router::new()
        .route("/v1.0/state/{store}", post(save).put(save))
        .route("/v1.0/state/{store}/bulk", post(bulk).put(bulk))
        .route(
            "/v1.0/state/{store}/transaction",
            post(transact).put(transact),
        )
        .route("/v1.0/state/{store}/{key}", get(read).delete(delete))
}

/// One key to be written.
#[derive(Debug, Deserialize)]
struct Item {
    key: String,
    value: Option<Box<RawValue>>,
    etag: Option<String>,
    #[serde(default)]
    options: ItemOptions,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
struct ItemOptions {
    concurrency: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    /// Text in Dapr's examples, a number in some clients.
    #[serde(rename = "ttlInSeconds")]
    ttl_in_seconds: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Transaction {
    operations: Vec<Operation>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    operation: String,
    request: Item,
}

async fn save(
    State(served): State<Served>,
    Path(store): Path<String>,
    body: Bytes,
) -> Result<StatusCode, DaprError> {
    known_store(&served, &store)?;
    let items: Vec<Item> = parsed(&body)?;
    let writes = items.into_iter().map(|item| upsert(&served, item));
    write(
        &served,
        &store,
        "ERR_STATE_SAVE",
        writes.collect::<Result<_, _>>()?,
    )
    .await
}

async fn read(
    State(served): State<Served>,
    Path((store, key)): Path<(String, String)>,
) -> Result<Response, DaprError> {
    known_store(&served, &store)?;
    let entry = served.host.state(&key).await.map_err(|error| {
        let message = format!(
            "failed getting {key} from state store {store}: {}",
            chain(&error)
        );
        DaprError::internal("ERR_STATE_GET", message)
    })?;
    Ok(match entry {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(entry) => {
            let headers = [
                (header::CONTENT_TYPE, "application/json".to_owned()),
                (header::ETAG, entry.version.to_string()),
            ];
            (headers, entry.value.as_str().to_owned()).into_response()
        }
    })
}

async fn delete(
    State(served): State<Served>,
    Path((store, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, DaprError> {
    known_store(&served, &store)?;
    let etag = headers
        .get(header::IF_MATCH)
        .map(|it| it.to_str().map(str::to_owned));
    let etag = etag
        .transpose()
        .map_err(|_| bad_etag("ERR_STATE_DELETE", "?"))?;
    let request = StateRequest {
        write: removal(key),
        if_version: version(etag.as_deref(), "ERR_STATE_DELETE")?,
    };
    write(&served, &store, "ERR_STATE_DELETE", vec![request]).await
}

async fn bulk(
    State(served): State<Served>,
    Path(store): Path<String>,
    body: Bytes,
) -> Result<Json<Vec<Value>>, DaprError> {
    known_store(&served, &store)?;
    let Keys { keys } = parsed(&body)?;
    if keys.len() > KEYS_MAX {
        return Err(DaprError::malformed(format!(
            "{KEYS_MAX} keys are the most"
        )));
    }
    let mut found = Vec::new();
    for key in keys {
        found.push(match served.host.state(&key).await {
            Ok(Some(entry)) => json!({
                "key": key,
                "data": entry.value.value(),
                "etag": entry.version.to_string(),
            }),
            Ok(None) => json!({ "key": key }),
            Err(error) => json!({ "key": key, "error": chain(&error) }),
        });
    }
    Ok(Json(found))
}

async fn transact(
    State(served): State<Served>,
    Path(store): Path<String>,
    body: Bytes,
) -> Result<StatusCode, DaprError> {
    known_store(&served, &store)?;
    let Transaction { operations } = parsed(&body)?;
    let writes = operations
        .into_iter()
        .map(|it| match it.operation.as_str() {
            "upsert" => upsert(&served, it.request),
            "delete" => remove(it.request),
            other => Err(DaprError::bad_request(
                "ERR_NOT_SUPPORTED_STATE_OPERATION",
                format!("operation type {other} not supported; there are `upsert` and `delete`"),
            )),
        });
    let writes = writes.collect::<Result<_, _>>()?;
    write(&served, &store, "ERR_STATE_TRANSACTION", writes).await
}

fn known_store(served: &Served, store: &str) -> Result<(), DaprError> {
    if store == served.options.state_store {
        return Ok(());
    }
    let known = &served.options.state_store;
    let message = format!("state store {store} is not found; there is `{known}`");
    Err(DaprError::bad_request("ERR_STATE_STORE_NOT_FOUND", message))
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> Result<T, DaprError> {
    serde_json::from_slice(body).map_err(DaprError::malformed)
}

fn upsert(served: &Served, item: Item) -> Result<StateRequest, DaprError> {
    let if_version = expected(&item)?;
    let value = item.value.map_or_else(
        || Ok(Payload::null()),
        |it| {
            Payload::parse(it.get()).map_err(|error| {
                DaprError::malformed(format!("the value of `{}` is {error}", item.key))
            })
        },
    );
    let write = StateWrite {
        key: item.key,
        value: Some(value?),
        expires_at: expires_at(served, &item.metadata)?,
    };
    Ok(StateRequest { write, if_version })
}

fn remove(item: Item) -> Result<StateRequest, DaprError> {
    let if_version = expected(&item)?;
    let write = removal(item.key);
    Ok(StateRequest { write, if_version })
}

fn removal(key: String) -> StateWrite {
    StateWrite {
        key,
        value: None,
        expires_at: None,
    }
}

/// Under first-write an item without an etag must be new.
fn expected(item: &Item) -> Result<Option<u64>, DaprError> {
    let etag = version(item.etag.as_deref(), "ERR_STATE_SAVE")?;
    Ok(match item.options.concurrency.as_deref() {
        Some("last-write") => None,
        Some("first-write") => Some(etag.unwrap_or(0)),
        None | Some("") => etag,
        Some(other) => {
            let why = format!("unrecognized concurrency {other}; it is first-write or last-write");
            return Err(DaprError::malformed(why));
        }
    })
}

fn version(etag: Option<&str>, code: &'static str) -> Result<Option<u64>, DaprError> {
    let etag = etag
        .map(|it| it.trim_matches('"'))
        .filter(|it| !it.is_empty());
    let version = etag.map(|it| it.parse().map_err(|_| bad_etag(code, it)));
    version.transpose()
}

fn bad_etag(code: &'static str, etag: &str) -> DaprError {
    let message = format!("invalid etag value {etag}: it is the number that a read gave");
    DaprError::bad_request(code, message)
}

/// A time to live of -1 is none.
fn expires_at(served: &Served, metadata: &Metadata) -> Result<Option<Timestamp>, DaprError> {
    let seconds = match &metadata.ttl_in_seconds {
        None => return Ok(None),
        Some(Value::String(text)) => text.trim().parse::<i64>().ok(),
        Some(other) => other.as_i64(),
    };
    match seconds {
        Some(-1) => Ok(None),
        Some(seconds @ 1..) => {
            let millis = seconds.unsigned_abs().saturating_mul(1_000);
            Ok(Some(served.host.now().after(millis)))
        }
        _ => Err(DaprError::malformed(
            "ttlInSeconds is a number of seconds from 1, or -1",
        )),
    }
}

async fn write(
    served: &Served,
    store: &str,
    code: &'static str,
    writes: Vec<StateRequest>,
) -> Result<StatusCode, DaprError> {
    let failed = |why: &str| format!("failed writing to state store {store}: {why}");
    if writes.len() > KEYS_MAX {
        return Err(DaprError::malformed(format!(
            "{KEYS_MAX} keys are the most"
        )));
    }
    match served.host.write_state(writes).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error @ Error::WrongVersion { .. }) => {
            let message = failed(&format!("possible etag mismatch: {error}"));
            Err(DaprError::new(StatusCode::CONFLICT, code, message))
        }
        Err(error) if error.is_callers() => {
            Err(DaprError::bad_request(code, failed(&chain(&error))))
        }
        Err(error) => Err(DaprError::internal(code, failed(&chain(&error)))),
    }
}
