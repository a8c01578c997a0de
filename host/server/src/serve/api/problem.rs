//! Errors over HTTP, as problem details (RFC 9457).

use std::fmt::Display;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use wfhost_store::BindingError;

use crate::error::{Error, chain};
use crate::view;

/// Why a request was not done: `type`, `title`, `status`, `detail`, and `code`, a stable word to
/// match on, one of [`PROBLEMS`].
#[derive(Debug)]
pub(in crate::serve) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: Option<&'static str>,
    detail: String,
    /// It is rare, and large.
    failure: Option<Box<view::Failure>>,
}

/// All problems that there are: the code, the status, and what has happened. The document describes
/// by this table what an operation may be refused with.
pub(super) const PROBLEMS: &[(&str, u16, &str)] = &[
    ("bad-request", 400, "it cannot be done so"),
    (
        "bad-parameter",
        400,
        "a parameter cannot be read, or there is none of that name",
    ),
    ("bad-header", 400, "a header cannot be read"),
    (
        "bad-body",
        400,
        "the body cannot be read, or has an unknown field",
    ),
    ("invalid-key", 400, "it is no key of the state store"),
    (
        "unauthorized",
        401,
        "the host asks for a token, and this is none",
    ),
    (
        "forbidden",
        403,
        "without a token the host serves only programs of its own machine",
    ),
    ("no-such-route", 404, "there is no such route"),
    ("no-such-instance", 404, "there is no such instance"),
    ("no-such-workflow", 404, "no module offers the workflow"),
    (
        "no-such-turn",
        404,
        "the instance has no such turn in its current generation",
    ),
    ("no-such-module", 404, "there is no such module"),
    ("no-such-key", 404, "there is nothing under the key"),
    (
        "method-not-allowed",
        405,
        "the route does not take this method",
    ),
    ("id-in-use", 409, "another instance has the id"),
    ("ended", 409, "the instance has ended"),
    ("not-ended", 409, "the instance has not ended"),
    (
        "awaited",
        409,
        "the parent of the instance has still to learn of its end",
    ),
    ("not-begun", 409, "the instance has taken no turn yet"),
    (
        "cannot-ask",
        409,
        "no copy of the instance can be brought up to be asked",
    ),
    ("busy", 409, "too much comes in for the instance; try again"),
    ("module-removed", 409, "the module was removed meanwhile"),
    (
        "ambiguous-module",
        409,
        "the digests of several modules begin so",
    ),
    ("offered-twice", 409, "two modules offer the same name"),
    ("not-offered", 409, "the module does not offer the workflow"),
    (
        "not-the-same",
        409,
        "the code does not do what the instance did",
    ),
    (
        "not-all-the-same",
        409,
        "the code does not do what every live instance did",
    ),
    (
        "interface",
        409,
        "it breaks callers, or reaches more of the outside, and that was not allowed",
    ),
    (
        "bindings",
        409,
        "names do not stand so that this could be done",
    ),
    ("wrong-version", 412, "the key is at another version"),
    (
        "too-large",
        413,
        "the body, or a payload in it, is too large",
    ),
    (
        "module-rejected",
        422,
        "the bytes are no module that this host can run",
    ),
    (
        "invalid-input",
        422,
        "the workflow refused its input; nothing was recorded",
    ),
    (
        "key-in-use",
        422,
        "the request key was used for another request",
    ),
    (
        "nowhere",
        422,
        "neither a module nor a turn says where the instance moves",
    ),
    ("refused", 422, "the workflow refused; `failure` says why"),
    (
        "host-failed",
        500,
        "the host failed; whether it was done is unknown",
    ),
    ("stopping", 503, "the host stops; ask again once it is back"),
];

/// Why a request was not done, as a problem detail (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details {
    /// It says nothing; `code` tells problems apart.
    r#type: String,
    /// The same for all of this status.
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What has happened, for a person to read.
    detail: String,
    /// A stable word to match on.
    #[schema(schema_with = codes)]
    code: String,
    /// With `refused`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<view::Failure>,
}

fn codes() -> RefOr<Schema> {
    let codes = PROBLEMS.iter().map(|(code, ..)| *code);
    let codes = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes));
    codes.into()
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
            title: status.canonical_reason(),
            detail,
            failure: None,
        }
    }

    /// A workflow's refusal, with its failure as histories show it.
    pub(super) fn refused(failure: &crate::Failure) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self {
            title: Some("the workflow refused"),
            failure: Some(Box::new(failure.into())),
            ..Self::new(status, "refused", &failure.message)
        }
    }

    pub(super) fn bad_header(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-header", why)
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
        let body = super::shown(Details {
            r#type: "about:blank".into(),
            title: self.title.unwrap_or_default().into(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.into(),
            failure: self.failure.map(|failure| *failure),
        });
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
            Error::ModuleRemoved { .. } => (StatusCode::CONFLICT, "module-removed"),
            Error::Busy { .. } => (StatusCode::CONFLICT, "busy"),
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
