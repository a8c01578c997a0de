//! Dapr's HTTP API for workflows and for state, as Dapr's documentation describes it: the same
//! routes, bodies, statuses and error codes, so that its clients need not be changed.

mod state;
mod workflow;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::json;

use super::Served;

/// Dapr's errors have a code of their own.
#[derive(Debug)]
pub(super) struct DaprError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl DaprError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    fn internal(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message)
    }

    fn malformed(why: impl std::fmt::Display) -> Self {
        let message = format!("failed to read the request: {why}");
        Self::bad_request("ERR_MALFORMED_REQUEST", message)
    }

    fn no_such_route() -> Self {
        let message = "there is no such route; see Dapr's workflow and state API";
        Self::new(StatusCode::NOT_FOUND, "ERR_NOT_FOUND", message)
    }
}

impl IntoResponse for DaprError {
    fn into_response(self) -> Response {
        let body = json!({ "errorCode": self.code, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

pub(super) fn routes() -> Router<Served> {
    let mut routes = Router::new()
        .route("/v1.0/healthz", get(no_content))
        .route("/v1.0/healthz/outbound", get(no_content))
        .route("/v1.0/metadata", get(metadata))
        .route("/v1.0/shutdown", post(shutdown))
        .merge(state::routes());
    for version in ["v1.0", "v1.0-beta1", "v1.0-alpha1"] {
        // A name may be missing, and is told apart by its place.
        let path = format!("/{version}/workflows/{{*rest}}");
        routes = routes.route(&path, any(workflow::call));
    }
    routes
}

async fn no_content() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// What Dapr's clients ask to learn what they may call.
async fn metadata(State(served): State<Served>) -> Json<serde_json::Value> {
    let store = &served.options.state_store;
    Json(json!({
        "id": "wfhost",
        "runtimeVersion": env!("CARGO_PKG_VERSION"),
        "enabledFeatures": [],
        "actors": [],
        "extended": { "daprRuntimeVersion": env!("CARGO_PKG_VERSION") },
        "components": [
            {
                "name": store,
                "type": "state.wfhost",
                "version": "v1",
                "capabilities": ["ETAG", "TRANSACTIONAL", "TTL"],
            },
            { "name": "dapr", "type": "workflow.wfhost", "version": "v1", "capabilities": [] },
        ],
    }))
}

/// The host stops as it does on SIGTERM.
async fn shutdown(State(served): State<Served>) -> StatusCode {
    let _ = served.stop.send(true);
    StatusCode::NO_CONTENT
}
