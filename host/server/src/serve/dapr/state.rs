//! Dapr's state API, on the state store that workflows and activities share.
//!
//! An etag is the version of a value. Unlike with Dapr's stores, several keys of one request are
//! written all or none. Values are JSON.

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wfhost_core::Timestamp;

use super::{At, DaprError};
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
        .route("/v1.0-alpha1/state/{store}/query", post(query).put(query))
}

/// One key to be written.
#[derive(Debug, Deserialize)]
struct Item {
    key: String,
    value: Option<Box<RawValue>>,
    etag: Option<Etag>,
    options: Option<ItemOptions>,
    metadata: Option<Metadata>,
}

/// Text in a save; in a transaction Dapr's JavaScript client has it as `{"value": "…"}`.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "an etag is a text, or {\"value\": …} with a text"
)]
enum Etag {
    Text(String),
    Named { value: String },
}

impl Etag {
    fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Named { value: text } => text,
        }
    }
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

/// What may stand behind the question mark; for all items, whatever they say themselves.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(rename = "metadata.ttlInSeconds")]
    ttl_in_seconds: Option<String>,
}

impl Parameters {
    fn of(read: Result<Query<Self>, QueryRejection>) -> Result<Metadata, DaprError> {
        let Query(read) = read.map_err(|it| DaprError::malformed(it.body_text()))?;
        Ok(Metadata {
            ttl_in_seconds: read.ttl_in_seconds.map(Value::from),
        })
    }
}

#[derive(Debug, Deserialize)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Transaction {
    operations: Vec<Operation>,
    /// For operations that have none of their own.
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    operation: String,
    request: Item,
}

async fn save(
    State(served): State<Served>,
    At(store): At<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    body: Bytes,
) -> Result<StatusCode, DaprError> {
    known_store(&served, &store)?;
    let for_all = Parameters::of(parameters)?;
    let items: Vec<Item> = parsed(&body)?;
    let writes = items.into_iter().map(|item| {
        let expires_at = expires_at(&served, [Some(&for_all), item.metadata.as_ref()])?;
        upsert(item, expires_at)
    });
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
    At((store, key)): At<(String, String)>,
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
    At((store, key)): At<(String, String)>,
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

/// The most that one answer brings, in bytes of values.
const BULK_BYTES_MAX: usize = 32 * 1024 * 1024;

async fn bulk(
    State(served): State<Served>,
    At(store): At<String>,
    body: Bytes,
) -> Result<Json<Vec<Value>>, DaprError> {
    known_store(&served, &store)?;
    let Keys { keys } = parsed(&body)?;
    if keys.len() > KEYS_MAX {
        return Err(DaprError::malformed(format!(
            "{KEYS_MAX} keys are the most"
        )));
    }
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    for key in keys {
        found.push(match served.host.state(&key).await {
            Ok(Some(entry)) => {
                bytes = bytes.saturating_add(entry.value.bytes());
                if bytes > BULK_BYTES_MAX {
                    let why = format!("{BULK_BYTES_MAX} bytes are the most; ask for fewer keys");
                    return Err(DaprError::malformed(why));
                }
                json!({
                    "key": key,
                    "data": entry.value.value(),
                    "etag": entry.version.to_string(),
                })
            }
            Ok(None) => json!({ "key": key }),
            Err(error) => json!({ "key": key, "error": chain(&error) }),
        });
    }
    Ok(Json(found))
}

async fn transact(
    State(served): State<Served>,
    At(store): At<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    body: Bytes,
) -> Result<StatusCode, DaprError> {
    known_store(&served, &store)?;
    let for_all = Parameters::of(parameters)?;
    let Transaction {
        operations,
        metadata,
    } = parsed(&body)?;
    let writes = operations
        .into_iter()
        .map(|it| match it.operation.as_str() {
            "upsert" => {
                let own = it.request.metadata.as_ref();
                let expires_at = expires_at(&served, [Some(&for_all), own, metadata.as_ref()])?;
                upsert(it.request, expires_at)
            }
            "delete" => remove(it.request),
            other => Err(DaprError::bad_request(
                "ERR_NOT_SUPPORTED_STATE_OPERATION",
                format!("operation type {other} not supported; there are `upsert` and `delete`"),
            )),
        });
    let writes = writes.collect::<Result<_, _>>()?;
    write(&served, &store, "ERR_STATE_TRANSACTION", writes).await
}

/// As Dapr answers for a store that cannot do it.
async fn query(State(served): State<Served>, At(store): At<String>) -> DaprError {
    let unable = || {
        let message = format!("state store {store} does not support querying");
        DaprError::internal("ERR_STATE_STORE_NOT_SUPPORTED", message)
    };
    known_store(&served, &store).map_or_else(|error| error, |()| unable())
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

fn upsert(item: Item, expires_at: Option<Timestamp>) -> Result<StateRequest, DaprError> {
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
        expires_at,
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
    let etag = version(item.etag.as_ref().map(Etag::as_str), "ERR_STATE_SAVE")?;
    let concurrency = item
        .options
        .as_ref()
        .and_then(|it| it.concurrency.as_deref());
    Ok(match concurrency {
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

/// The first that says something counts. A time to live of -1 is none.
fn expires_at<const N: usize>(
    served: &Served,
    metadata: [Option<&Metadata>; N],
) -> Result<Option<Timestamp>, DaprError> {
    let mut said = metadata.into_iter().flatten();
    let seconds = match said.find_map(|it| it.ttl_in_seconds.as_ref()) {
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
