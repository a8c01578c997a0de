//! What is told of requests, the trace that they come from, and the metrics over HTTP.

use std::convert::Infallible;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wfhost_core::Trace;

use super::Served;
use super::access::{Access, access};
use super::api::Problem;
use crate::telemetry::{self, Event, Events};

/// Where Prometheus asks.
const METRICS: &str = "/metrics";

/// The place in a trace that what a request begins has; none if the caller told of no trace.
#[derive(Clone)]
pub(super) struct Caller(pub(super) Option<Trace>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let told = parts.extensions.get::<Self>().cloned();
        Ok(told.unwrap_or(Self(None)))
    }
}

/// Counts, logs and traces a request.
pub(super) async fn observe(
    State(served): State<Served>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let telemetry = &served.host.telemetry;
    let method = known(request.method());
    let path = request.uri().path().to_owned();
    let route = route(&request);
    let caller = telemetry::caller(request.headers());
    // Those who look whether the host is there do so all the time.
    let open = access(request.method(), route.as_deref()) == Access::Open;
    let looks = open || path == METRICS;
    let span = telemetry.request_begun(caller.as_ref());
    let span = span.filter(|_| !looks);
    let below = |caller: Trace| match &span {
        Some(span) => caller.below(span.id()),
        None => caller,
    };
    request.extensions_mut().insert(Caller(caller.map(below)));
    let response = next.run(request).await;
    let (status, time) = (response.status().as_u16(), begun.elapsed());
    let label = route.as_deref().unwrap_or("none");
    telemetry.metrics.request(method, label, status, time);
    if let Some(span) = span {
        telemetry.request_done(span, method, (route.as_deref(), &path), status);
    }
    if Events::want_requests() {
        telemetry.events.send(Event::Request {
            method,
            route: label.to_owned(),
            path,
            status,
            time,
        });
    }
    response
}

/// The route that a request goes to, as the router has it; none if there is no such route.
fn route(request: &Request) -> Option<String> {
    let matched = request.extensions().get::<MatchedPath>()?.as_str();
    // What a nested router does not have leads to its own fallback.
    (!matched.contains("__private")).then(|| matched.to_owned())
}

/// A method, of which there are few.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// The metrics as OpenMetrics text.
pub(super) async fn metrics(State(served): State<Served>) -> Result<Response, Problem> {
    let text = served.host.metrics().await?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
