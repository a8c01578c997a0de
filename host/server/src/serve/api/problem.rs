//! Errors over HTTP, as problem details (RFC 9457).

use std::fmt::Display;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use wfhost_store::BindingError;

use crate::error::{Error, chain};

/// Why a request was not done: `type`, `title`, `status`, `detail`, and `code`, a stable word to
/// match on.
#[derive(Debug)]
pub(in crate::serve) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub(in crate::serve) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        Self {
            status,
            code,
            detail,
        }
    }

    pub(super) fn bad_body(why: &dyn Display) -> Self {
        let detail = format!("the body cannot be read: {why}");
        Self::new(StatusCode::BAD_REQUEST, "bad-body", detail)
    }

    pub(super) fn bad_request(detail: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", detail)
    }

    pub(super) fn bad_parameter(name: &str, why: &dyn Display) -> Self {
        Self::bad_request(format!("`{name}`: {why}"))
    }

    pub(in crate::serve) fn stopping() -> Self {
        let detail = "the host stops; ask again once it is back";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        }));
        let mut response = (self.status, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code) = match &error {
            Error::NoSuchInstance { .. } => (StatusCode::NOT_FOUND, "no-such-instance"),
            Error::NoSuchWorkflow { .. } => (StatusCode::NOT_FOUND, "no-such-workflow"),
            Error::NoSuchSchedule { .. } => (StatusCode::NOT_FOUND, "no-such-schedule"),
            Error::InvalidSchedule(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-schedule"),
            Error::TooManySchedules { .. } => (StatusCode::CONFLICT, "too-many-schedules"),
            Error::NoSuchTurn { .. } => (StatusCode::NOT_FOUND, "no-such-turn"),
            Error::Rejected { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "module-rejected"),
            Error::InvalidInput { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-input"),
            Error::IdInUse { .. } => (StatusCode::CONFLICT, "id-in-use"),
            Error::KeyInUse { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "key-in-use"),
            Error::OfferedTwice { .. } => (StatusCode::CONFLICT, "offered-twice"),
            Error::Ended { .. } => (StatusCode::CONFLICT, "ended"),
            Error::NotEnded { .. } => (StatusCode::CONFLICT, "not-ended"),
            Error::Awaited { .. } => (StatusCode::CONFLICT, "awaited"),
            Error::NotBegun { .. } => (StatusCode::CONFLICT, "not-begun"),
            Error::CannotAsk { .. } => (StatusCode::CONFLICT, "cannot-ask"),
            Error::NoSuchModule { .. } => (StatusCode::NOT_FOUND, "no-such-module"),
            Error::NotOffered { .. } => (StatusCode::CONFLICT, "not-offered"),
            Error::NotTheSame { .. } => (StatusCode::CONFLICT, "not-the-same"),
            Error::NotAllTheSame { .. } => (StatusCode::CONFLICT, "not-all-the-same"),
            Error::NoTurnToReset { .. } => (StatusCode::NOT_FOUND, "no-such-turn"),
            Error::Binding(error) if !matches!(error, BindingError::Store(_)) => {
                (StatusCode::CONFLICT, "bindings")
            }
            Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Error::InvalidKey { .. } => (StatusCode::BAD_REQUEST, "invalid-key"),
            Error::WrongVersion { .. } => (StatusCode::PRECONDITION_FAILED, "wrong-version"),
            error if error.is_callers() => (StatusCode::BAD_REQUEST, "bad-request"),
            // What the data file holds, or does not, after that is unknown.
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "host-failed"),
        };
        Self::new(status, code, chain(&error))
    }
}

impl From<wfhost_store::Error> for Problem {
    fn from(error: wfhost_store::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<wfhost_core::BrokenHistory> for Problem {
    fn from(error: wfhost_core::BrokenHistory) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "host-failed", error.to_string())
    }
}
