//! What each route asks of its caller, decided here and nowhere else. A route that is not here
//! asks for the most there is.

use axum::http::Method;

use super::token::Scope;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: anybody may ask.
    Open,
    /// A token with this scope.
    Scope(Scope),
}

/// What a request asks of its caller, by the pattern of its route; without one it only learns that
/// there is no such route, which everybody with a token may.
pub(super) fn access(method: &Method, route: Option<&str>) -> Access {
    let Some(route) = route else {
        return Access::Scope(Scope::Read);
    };
    decided(method, route).unwrap_or(Access::Scope(Scope::Deploy))
}

fn decided(method: &Method, route: &str) -> Option<Access> {
    let method = match *method {
        // Answered as a GET is.
        Method::HEAD => "GET",
        ref other => other.as_str(),
    };
    if let Some(route) = route.strip_prefix("/api/v1") {
        return own(method, route);
    }
    // One that is signed is guarded by that instead.
    if (method, route) == ("POST", "/hooks/{name}") {
        return Some(Access::Scope(Scope::Operate));
    }
    if (method, route) == ("GET", "/metrics") {
        return Some(Access::Scope(Scope::Read));
    }
    dapr(method, route)
}

/// Our own API, under `/api/v1`.
fn own(method: &str, route: &str) -> Option<Access> {
    let scope = match (method, route) {
        // Whether the service is up.
        ("GET", "/health") => return Some(Access::Open),
        // How the service is called, which is the same for all hosts of a version.
        ("GET", "/openapi.json") => return Some(Access::Open),
        (
            "GET",
            "/instances"
            | "/instances/{id}"
            | "/instances/{id}/history"
            | "/instances/{id}/why"
            | "/instances/{id}/logs"
            | "/instances/{id}/replay"
            | "/instances/{id}/capsule"
            | "/schedules"
            | "/schedules/{name}"
            | "/schedules/{name}/next"
            | "/state"
            | "/state/{*key}"
            | "/modules"
            | "/modules/{digest}"
            | "/modules/{digest}/bytes"
            | "/modules/{digest}/diff/{to}"
            | "/deployments",
        ) => Scope::Read,
        // Each asks for more itself, as far as it needs it.
        ("POST", "/commands") => Scope::Read,
        // Changes nothing: it is answered by a copy.
        ("POST", "/instances/{id}/queries/{name}") => Scope::Read,
        (
            "POST",
            "/instances"
            | "/instances/{id}/events/{name}"
            | "/instances/{id}/updates/{name}"
            | "/instances/{id}/cancel"
            | "/instances/{id}/terminate"
            | "/instances/{id}/suspend"
            | "/instances/{id}/resume"
            | "/instances/{id}/rerun"
            | "/schedules/{name}/pause"
            | "/schedules/{name}/resume"
            | "/schedules/{name}/trigger",
        ) => Scope::Operate,
        ("DELETE", "/instances" | "/instances/{id}") => Scope::Operate,
        ("PUT" | "DELETE", "/schedules/{name}" | "/state/{*key}") => Scope::Operate,
        (
            "POST",
            "/modules"
            | "/modules/gc"
            | "/instances/{id}/migrate"
            | "/deployments/rollback"
            | "/deployments/promote"
            | "/deployments/abort",
        ) => Scope::Deploy,
        _ => return None,
    };
    Some(Access::Scope(scope))
}

/// Dapr's API.
fn dapr(method: &str, route: &str) -> Option<Access> {
    let scope = match (method, route) {
        ("GET", "/v1.0/healthz" | "/v1.0/healthz/outbound") => return Some(Access::Open),
        ("GET", "/v1.0/metadata" | "/v1.0/state/{store}/{key}") => Scope::Read,
        ("PUT", "/v1.0/metadata/{label}") => Scope::Operate,
        // Refused for every store.
        ("POST" | "PUT", "/v1.0-alpha1/state/{store}/query") => Scope::Read,
        // What else there is of Dapr is refused, whatever it would be.
        (_, "/v1.0/{*rest}" | "/v1.0-beta1/{*rest}" | "/v1.0-alpha1/{*rest}") => Scope::Read,
        // A read, by a list of keys.
        ("POST" | "PUT", "/v1.0/state/{store}/bulk") => Scope::Read,
        ("POST" | "PUT", "/v1.0/state/{store}" | "/v1.0/state/{store}/transaction")
        | ("DELETE", "/v1.0/state/{store}/{key}") => Scope::Operate,
        // Whoever may change what runs may stop it.
        ("POST", "/v1.0/shutdown") => Scope::Deploy,
        (method, route) => match (method, route.strip_suffix("/workflows/{*rest}")?) {
            ("GET", "/v1.0" | "/v1.0-beta1" | "/v1.0-alpha1") => Scope::Read,
            (_, "/v1.0" | "/v1.0-beta1" | "/v1.0-alpha1") => Scope::Operate,
            _ => return None,
        },
    };
    Some(Access::Scope(scope))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;
    use crate::host::{Host, Options};
    use crate::serve::{ServeOptions, Served, Token, router};

    /// The patterns of all routes, which axum tells in its debugging output alone.
    fn routes(router: &axum::Router) -> BTreeSet<String> {
        let shown = format!("{router:?}");
        let quoted = shown.split('"').skip(1).step_by(2);
        // Those that only say that there is no such route.
        let fallbacks = ["/", "/api/v1", "/api/v1/"];
        let routes = quoted.filter(|it| it.starts_with('/') && !it.contains("__private"));
        let routes = routes.filter(|it| !fallbacks.contains(it));
        routes.map(str::to_owned).collect()
    }

    async fn answer(
        router: &axum::Router,
        method: &Method,
        route: &str,
        token: &str,
    ) -> StatusCode {
        let path = route.replace(['{', '}', '*'], "");
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_route_is_decided_and_asks_for_no_less_than_that() {
        let token = |scope: Scope| Token {
            scope,
            ..Token::new(scope.as_str())
        };
        let options = ServeOptions {
            tokens: Scope::ALL.map(token).into(),
            ..ServeOptions::default()
        };
        let served = Served::new(Host::in_memory(Options::default()).unwrap(), options);
        let router = router(served);
        let routes = routes(&router);
        assert!(
            routes.contains("/api/v1/instances/{id}/migrate"),
            "{routes:?}"
        );
        assert!(routes.contains("/v1.0/shutdown"), "{routes:?}");
        for route in &routes {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let method: Method = method.parse().unwrap();
                let most = answer(&router, &method, route, "deploy").await;
                let what = format!("{method} {route}");
                assert!(
                    ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&most),
                    "{what}"
                );
                let decided = decided(&method, route);
                if most != StatusCode::METHOD_NOT_ALLOWED {
                    assert!(decided.is_some(), "{what} is decided nowhere");
                }
                let nobody = answer(&router, &method, route, "other").await;
                let open = decided == Some(Access::Open);
                assert_eq!(nobody != StatusCode::UNAUTHORIZED, open, "{what}");
                for scope in Scope::ALL {
                    let told = answer(&router, &method, route, scope.as_str()).await;
                    let lets = match access(&method, Some(route)) {
                        Access::Open => true,
                        Access::Scope(needed) => scope >= needed,
                    };
                    assert_eq!(told != StatusCode::FORBIDDEN, lets, "{what} with {scope}");
                }
            }
        }
    }

    #[test]
    fn a_route_that_is_not_decided_asks_for_the_most() {
        for route in ["/api/v1/new", "/v2/instances", "/v3/workflows/{*rest}", "/"] {
            let asked = access(&Method::GET, Some(route));
            assert_eq!(asked, Access::Scope(Scope::Deploy), "{route}");
        }
    }
}
