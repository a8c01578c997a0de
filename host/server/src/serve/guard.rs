//! Who may call: whoever shows a token that goes far enough, and whoever comes by the local socket;
//! where there are no tokens, programs of this machine, but not a web page that is open in its
//! browser.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Served;
use super::access::{Access, access};
use super::api::Problem;
use super::dapr::DaprError;
use super::local::Local;
use super::token::{Scope, Token};

/// How far the caller of a request may go, as one of its extensions: a command says itself what it
/// needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    scope: Scope,
    token: String,
}

impl Granted {
    /// # Errors
    /// The answer to who may not go so far.
    pub(super) fn check(&self, needed: Scope) -> Result<(), Problem> {
        if self.scope >= needed {
            return Ok(());
        }
        let token = self.token.clone();
        let refusal = Refusal::Scope { token, needed };
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            refusal.why(),
        ))
    }

    fn all() -> Self {
        Self {
            scope: Scope::Deploy,
            token: String::new(),
        }
    }
}

pub(super) async fn guard(
    State(served): State<Served>,
    mut request: Request,
    next: Next,
) -> Response {
    // It sees by itself who calls.
    if served.webhooks.is_signed(request.uri().path()) {
        return next.run(request).await;
    }
    match granted(&served.options.tokens, &request) {
        Err(refusal) => refusal.answer(request.uri().path()),
        Ok(granted) => {
            request.extensions_mut().insert(granted);
            next.run(request).await
        }
    }
}

/// Why a caller is sent away.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It shows no token that there is.
    Unknown,
    /// Its token does not go so far.
    Scope { token: String, needed: Scope },
    /// It comes from a web page, or by a name that is not this machine's.
    Foreign,
}

fn granted(tokens: &[Token], request: &Request) -> Result<Granted, Refusal> {
    // Who can reach the socket is decided by its file's permissions.
    if request.extensions().get::<Local>().is_some() {
        return Ok(Granted::all());
    }
    let route = request.extensions().get::<MatchedPath>();
    let Access::Scope(needed) = access(request.method(), route.map(MatchedPath::as_str)) else {
        return Ok(Granted::all());
    };
    if tokens.is_empty() {
        return match foreign(request.headers()) {
            true => Err(Refusal::Foreign),
            false => Ok(Granted::all()),
        };
    }
    let shown = shown(request.headers());
    let known = shown.and_then(|shown| tokens.iter().find(|token| token.is(shown)));
    match known {
        None => Err(Refusal::Unknown),
        Some(token) if token.scope < needed => Err(Refusal::Scope {
            token: token.name.clone(),
            needed,
        }),
        Some(token) => Ok(Granted {
            scope: token.scope,
            token: token.name.clone(),
        }),
    }
}

fn shown(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name)?.to_str().ok();
    // The name of the scheme may be written in any case.
    let bearer = text("authorization").and_then(|it| it.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let bearer = bearer.map(|(_, token)| token.trim_start());
    bearer.or_else(|| text("dapr-api-token"))
}

impl Refusal {
    fn answer(self, path: &str) -> Response {
        let (status, challenge) = match &self {
            Self::Unknown => (StatusCode::UNAUTHORIZED, Some("Bearer".to_owned())),
            // As RFC 6750 has it.
            Self::Scope { needed, .. } => {
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\"");
                (StatusCode::FORBIDDEN, Some(challenge))
            }
            Self::Foreign => (StatusCode::FORBIDDEN, None),
        };
        let unknown = status == StatusCode::UNAUTHORIZED;
        let why = self.why();
        let mut response = if path.starts_with("/v1.0") {
            let code = if unknown {
                "ERR_UNAUTHORIZED"
            } else {
                "ERR_FORBIDDEN"
            };
            DaprError::new(status, code, why).into_response()
        } else {
            let code = if unknown { "unauthorized" } else { "forbidden" };
            Problem::new(status, code, why).into_response()
        };
        if let Some(challenge) = challenge.and_then(|it| it.parse().ok()) {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    fn why(self) -> String {
        match self {
            Self::Unknown => {
                "this host asks for a token: send it as `Authorization: Bearer …`".into()
            }
            Self::Scope { token, needed } => {
                format!(
                    "the token `{token}` may not do this; it takes one with the scope `{needed}`"
                )
            }
            Self::Foreign => {
                "without a token this host serves only programs of its own machine".into()
            }
        }
    }
}

/// Without a token, whoever can make a browser of this machine send a request could use the host. A
/// page says where it comes from, and one that has its own name resolved to this machine sends that
/// name as the host.
fn foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let host = text(header::HOST).map(str::parse::<Authority>);
    let local = host.is_none_or(|host| host.is_ok_and(|host| is_local(host.host())));
    let origin = text(header::ORIGIN);
    let same = origin.is_none_or(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let authority = authority.and_then(|it| it.parse::<Authority>().ok());
        authority.is_some_and(|it| is_local(it.host()))
    });
    !local || !same
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
            assert_eq!(!foreign(&headers), lets, "{host:?} {origin:?}");
        }
    }

    #[test]
    fn a_token_is_shown_as_http_or_as_dapr_does() {
        for (name, value, token) in [
            ("authorization", "Bearer secret", Some("secret")),
            ("authorization", "bearer secret", Some("secret")),
            ("authorization", "Basic secret", None),
            ("authorization", "secret", None),
            ("dapr-api-token", "secret", Some("secret")),
            ("accept", "secret", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(shown(&headers), token, "{name} {value}");
        }
    }

    #[test]
    fn who_comes_by_the_local_socket_needs_no_token() {
        let tokens = [Token::new("secret")];
        let request = |local: bool| {
            let mut request = Request::new(axum::body::Body::empty());
            if local {
                request.extensions_mut().insert(Local);
            }
            granted(&tokens, &request)
        };
        assert_eq!(request(false), Err(Refusal::Unknown));
        assert_eq!(request(true), Ok(Granted::all()));
    }
}
