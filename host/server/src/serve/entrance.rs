//! The way in for requests: it can lead elsewhere, or be closed, behind those who came in. A
//! connection may stay open for as long as its client likes, and must not keep the host.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::api::Problem;
use super::recovery::Failed;

/// Leads to the handlers, until it is closed.
#[derive(Clone)]
pub(super) struct Entrance {
    /// Where it leads; nowhere once it is closed.
    inside: Arc<Mutex<Option<Inside>>>,
}

/// Handlers, and what those are told who are with them when they go.
#[derive(Clone)]
struct Inside {
    handlers: Router,
    gone: Arc<watch::Sender<Option<Gone>>>,
}

/// Why handlers are gone.
#[derive(Debug, Clone)]
enum Gone {
    Stopped,
    Failed(Failed),
}

impl Inside {
    fn new(handlers: Router) -> Self {
        let gone = Arc::new(watch::Sender::new(None));
        Self { handlers, gone }
    }
}

impl Entrance {
    pub(super) fn new(handlers: Router) -> Self {
        Self {
            inside: Arc::new(Mutex::new(Some(Inside::new(handlers)))),
        }
    }

    /// What connections hold.
    pub(super) fn into_router(self) -> Router {
        Router::new().fallback(enter).with_state(self)
    }

    /// From here on it leads there. Who is in stays there.
    pub(super) fn lead_to(&self, handlers: Router) {
        self.change(Some(Inside::new(handlers)));
    }

    /// The handlers are of no use any more: everybody is told why, those too who are with them.
    pub(super) fn fail(&self, failed: Failed) {
        let before = self.change(Some(Inside::new(failed.clone().router())));
        if let Some(before) = before {
            before.gone.send_replace(Some(Gone::Failed(failed)));
        }
    }

    /// Nobody gets in any more, and requests under way are dropped where they wait, be it for the
    /// rest of their own body.
    pub(super) fn close(&self) {
        if let Some(before) = self.change(None) {
            before.gone.send_replace(Some(Gone::Stopped));
        }
    }

    fn change(&self, to: Option<Inside>) -> Option<Inside> {
        std::mem::replace(&mut *self.inside(), to)
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Option<Inside>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn enter(State(entrance): State<Entrance>, request: Request) -> Response {
    let Some(inside) = entrance.inside().clone() else {
        return Problem::stopping().into_response();
    };
    let Inside { handlers, gone } = inside;
    let mut gone = gone.subscribe();
    let path = request.uri().path().to_owned();
    let told = tokio::select! {
        Ok(response) = handlers.oneshot(request) => return response,
        gone = gone.wait_for(Option::is_some) => gone.ok().and_then(|it| it.clone()),
    };
    match told {
        Some(Gone::Failed(failed)) => failed.answer(&path),
        Some(Gone::Stopped) | None => Problem::stopping().into_response(),
    }
}
