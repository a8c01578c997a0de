//! Modules: which there are, and new ones.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Parameters, Problem};
use crate::host::Upload;
use crate::serve::Served;
use crate::view;

pub(super) async fn list(State(served): State<Served>) -> Result<Json<Value>, Problem> {
    let bindings = served.host.bindings()?;
    let modules = served.host.modules()?;
    let rows: Vec<_> = modules
        .iter()
        .map(|info| view::module_bound(info, &bindings))
        .collect();
    Ok(Json(json!({ "modules": rows })))
}

/// Where a module comes from, for people.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Origin {
    label: Option<String>,
}

/// Deploys the module that is the body.
pub(super) async fn deploy(
    State(served): State<Served>,
    Parameters(Origin { label }): Parameters<Origin>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let upload = Upload {
        label: label.unwrap_or_else(|| "module.wasm".into()),
        bytes: bytes.into(),
    };
    let deployed = served.host.deploy(vec![upload]).await?;
    let bindings = served.host.bindings()?;
    let modules = deployed
        .modules
        .iter()
        .map(|info| view::module_bound(info, &bindings));
    let moved: Vec<_> = deployed.moved.iter().map(view::moved).collect();
    let body = json!({ "modules": modules.collect::<Vec<_>>(), "moved": moved });
    Ok((StatusCode::CREATED, Json(body)))
}
