//! Commands that other processes were given, carried out here: see [`crate::cli::served`].
//!
//! Not part of the API: both sides have to be of the same version. Programs use the routes beside it.

use std::convert::Infallible;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;

use super::Served;
use super::api::Problem;
use super::guard::Granted;
use super::limits;
use super::local::Local;
use super::token::Scope;
use crate::cli::served::Received;
use crate::cli::wire::{self, VERSION, VERSION_HEADER};

pub(super) async fn carry_out(
    State(served): State<Served>,
    Extension(granted): Extension<Granted>,
    local: Option<Extension<Local>>,
    headers: HeaderMap,
    encoded: Bytes,
) -> Result<Response, Problem> {
    let theirs = headers.get(VERSION_HEADER).and_then(|it| it.to_str().ok());
    if theirs != Some(VERSION) {
        let theirs = theirs.unwrap_or("unknown");
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "other-version",
            format!(
                "the host is wfhost {VERSION}, and the command is of version {theirs}; use that \
                 version of the command, or the HTTP API"
            ),
        ));
    }
    let received = Received::decode(&encoded).map_err(|why| {
        let why = format!("no command of this version: {why}");
        Problem::new(StatusCode::BAD_REQUEST, "bad-command", why)
    })?;
    granted.check(received.scope())?;
    let place = match received.scope() {
        Scope::Read => None,
        Scope::Operate | Scope::Deploy => match limits::admit(&served, wire::PATH) {
            Ok(place) => Some(place),
            Err(busy) => return Ok(*busy),
        },
    };
    let Served {
        host,
        stopping,
        commands,
        ..
    } = served;
    let said = commands.carry_out(host, stopping, received, local.is_some(), place);
    let said = said.ok_or_else(|| {
        let why = "the host carries out as many commands as it may; try again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why)
    })?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    let body = Body::from_stream(said.map(Ok::<_, Infallible>));
    Ok((kind, body).into_response())
}
