//! Dapr's HTTP API for workflows and for state, as Dapr's documentation describes it: the same
//! routes, bodies, statuses and error codes, so that its clients need not be changed.

mod metadata;
mod release_1_10;
mod state;
mod workflow;

use axum::Json;
use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde::de::DeserializeOwned;
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

    fn no_such_route(method: &Method, uri: &Uri) -> Self {
        let message = format!(
            "there is no `{method} {}`: of Dapr's API this host serves workflows, state, health, metadata and shutdown",
            uri.path()
        );
        Self::new(StatusCode::NOT_FOUND, "ERR_NOT_FOUND", message)
    }

    fn wrong_method(method: &Method, uri: &Uri) -> Self {
        let message = format!("`{}` does not take {method}", uri.path());
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "ERR_METHOD_NOT_ALLOWED", message)
    }
}

impl IntoResponse for DaprError {
    fn into_response(self) -> Response {
        let body = json!({ "errorCode": self.code, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

/// What the path names.
struct At<T>(T);

impl<T: DeserializeOwned + Send> FromRequestParts<Served> for At<T> {
    type Rejection = DaprError;

    async fn from_request_parts(parts: &mut Parts, served: &Served) -> Result<Self, DaprError> {
        let read = Path::from_request_parts(parts, served).await;
        let Path(names) = read.map_err(|it| DaprError::malformed(it.body_text()))?;
        Ok(Self(names))
    }
}

pub(super) fn routes() -> Router<Served> {
    let mut routes = Router::new()
        .route("/v1.0/healthz", get(no_content))
        .route("/v1.0/healthz/outbound", get(no_content))
        .route("/v1.0/shutdown", post(shutdown))
        .merge(metadata::routes())
        .merge(state::routes());
    for version in ["v1.0", "v1.0-beta1", "v1.0-alpha1"] {
        // A name may be missing, and is told apart by its place.
        let path = format!("/{version}/workflows/{{*rest}}");
        routes = routes.route(&path, any(workflow::call));
        // What else there is of Dapr is refused as Dapr's clients can read it.
        routes = routes.route(&format!("/{version}/{{*rest}}"), any(unknown));
    }
    routes.method_not_allowed_fallback(wrong_method)
}

async fn unknown(method: Method, uri: Uri) -> DaprError {
    DaprError::no_such_route(&method, &uri)
}

async fn wrong_method(method: Method, uri: Uri) -> DaprError {
    DaprError::wrong_method(&method, &uri)
}

async fn no_content() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The host stops as it does on SIGTERM.
async fn shutdown(State(served): State<Served>) -> StatusCode {
    let _ = served.stop.send(true);
    StatusCode::NO_CONTENT
}
