//! Dapr's metadata API: what of Dapr's this host serves, and the labels that clients put on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use super::{At, DaprError};
use crate::serve::Served;

/// The most labels. They are kept in memory and shown with every answer.
const LABELS_MAX: usize = 64;

/// The longest label, name and text together, in bytes.
const LABEL_BYTES_MAX: usize = 4_096;

/// Labels of the running host. As with Dapr, they are forgotten when it stops.
#[derive(Debug, Clone, Default)]
struct Labels(Arc<Mutex<BTreeMap<String, String>>>);

impl Labels {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, name: String, text: String) -> Result<(), DaprError> {
        if name.len() + text.len() > LABEL_BYTES_MAX {
            let why = format!("a label has at most {LABEL_BYTES_MAX} bytes, its name included");
            return Err(DaprError::malformed(why));
        }
        let mut labels = self.all();
        if labels.len() >= LABELS_MAX && !labels.contains_key(&name) {
            let why = format!("{LABELS_MAX} labels are the most; write over one of them");
            return Err(DaprError::malformed(why));
        }
        labels.insert(name, text);
        Ok(())
    }
}

pub(super) fn routes() -> Router<Served> {
    Router::new()
        .route("/v1.0/metadata", get(show))
        .route("/v1.0/metadata/{label}", put(label))
        .layer(Extension(Labels::default()))
}

/// What Dapr's clients ask to learn what they may call, and whether the host is up.
async fn show(State(served): State<Served>, Extension(labels): Extension<Labels>) -> Json<Value> {
    let version = env!("CARGO_PKG_VERSION");
    let mut extended = labels.all().clone();
    extended.insert("daprRuntimeVersion".into(), version.into());
    Json(json!({
        "id": "wfhost",
        "runtimeVersion": version,
        "enabledFeatures": [],
        "actors": [],
        "extended": extended,
        "components": [
            {
                "name": &served.options.state_store,
                "type": "state.wfhost",
                "version": "v1",
                "capabilities": ["ETAG", "TRANSACTIONAL", "TTL"],
            },
            { "name": "dapr", "type": "workflow.wfhost", "version": "v1", "capabilities": [] },
        ],
    }))
}

/// The body is the text of the label, as it came.
async fn label(
    Extension(labels): Extension<Labels>,
    At(name): At<String>,
    text: Bytes,
) -> Result<StatusCode, DaprError> {
    let text = std::str::from_utf8(&text).map_err(DaprError::malformed)?;
    labels.put(name, text.to_owned())?;
    Ok(StatusCode::NO_CONTENT)
}
