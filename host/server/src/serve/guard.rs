//! Who may call: whoever shows the token; without one, programs of this machine, but not a web page
//! that is open in its browser.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use wfhost_core::Digest;

use super::Served;
use super::api::Problem;

/// What a caller has to show, as `Authorization: Bearer …` or, as Dapr's clients do, in
/// `dapr-api-token`. Only its digest is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Digest);

impl Token {
    /// From the text that callers show.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Digest::of(text.as_bytes()))
    }

    /// Digests are compared: how long that takes tells nothing of the token.
    fn is(&self, shown: &str) -> bool {
        Self::new(shown) == *self
    }
}

/// Answers whether the service is up, which anybody may ask.
pub(super) const OPEN: [&str; 3] = ["/api/v1/health", "/v1.0/healthz", "/v1.0/healthz/outbound"];

pub(super) async fn guard(State(served): State<Served>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let refused = if OPEN.contains(&request.uri().path()) {
        None
    } else {
        match &served.options.token {
            Some(token) => missing(token, headers),
            None => foreign(headers),
        }
    };
    match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

fn missing(token: &Token, headers: &HeaderMap) -> Option<Response> {
    let text = |name| headers.get(name)?.to_str().ok();
    let bearer = text("authorization").and_then(|it| it.strip_prefix("Bearer "));
    let shown = bearer.or_else(|| text("dapr-api-token"));
    if shown.is_some_and(|shown| token.is(shown)) {
        return None;
    }
    let problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "this host asks for a token: send it as `Authorization: Bearer …`",
    );
    let mut response = problem.into_response();
    let challenge = header::HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    Some(response)
}

/// Without a token, whoever can make a browser of this machine send a request could use the host. A
/// page says where it comes from, and one that has its own name resolved to this machine sends that
/// name as the host.
fn foreign(headers: &HeaderMap) -> Option<Response> {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let host = text(header::HOST).and_then(|it| it.parse::<Authority>().ok());
    let local = host.is_none_or(|host| is_local(host.host()));
    let origin = text(header::ORIGIN);
    let same = origin.is_none_or(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let authority = authority.and_then(|it| it.parse::<Authority>().ok());
        authority.is_some_and(|it| is_local(it.host()))
    });
    (!local || !same).then(|| {
        let why = "without a token this host serves only programs of its own machine";
        Problem::new(StatusCode::FORBIDDEN, "forbidden", why).into_response()
    })
}

fn is_local(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_another_site_is_refused_and_a_program_of_this_machine_is_not() {
        for (host, origin, lets) in [
            (Some("localhost:3500"), None, true),
            (Some("127.0.0.1:3500"), None, true),
            (Some("[::1]:3500"), Some("http://localhost:8080"), true),
            (None, None, true),
            (Some("evil.example:3500"), None, false),
            (Some("localhost:3500"), Some("https://evil.example"), false),
            (Some("localhost:3500"), Some("null"), false),
            (Some("localhost.evil.example"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, host.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(foreign(&headers).is_none(), lets, "{host:?} {origin:?}");
        }
    }

    #[test]
    fn a_token_is_shown_as_http_or_as_dapr_does() {
        let token = Token::new("secret");
        for (name, value, lets) in [
            ("authorization", "Bearer secret", true),
            ("authorization", "Bearer secre", false),
            ("authorization", "secret", false),
            ("dapr-api-token", "secret", true),
            ("dapr-api-token", "", false),
            ("accept", "secret", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(missing(&token, &headers).is_none(), lets, "{name} {value}");
        }
    }
}
