//! The way in for requests, which can be closed behind them: a connection may stay open for as long
//! as its client likes, and must not keep the host.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::api::Problem;

/// Leads to the handlers, until it is closed.
#[derive(Clone)]
pub(super) struct Entrance {
    handlers: Arc<Mutex<Option<Router>>>,
    closed: Arc<watch::Sender<bool>>,
}

impl Entrance {
    pub(super) fn new(handlers: Router) -> Self {
        Self {
            handlers: Arc::new(Mutex::new(Some(handlers))),
            closed: Arc::new(watch::Sender::new(false)),
        }
    }

    /// What connections hold.
    pub(super) fn into_router(self) -> Router {
        Router::new().fallback(enter).with_state(self)
    }

    /// Nobody gets in any more, and requests under way are dropped where they wait, be it for the
    /// rest of their own body.
    pub(super) fn close(&self) {
        drop(self.handlers().take());
        self.closed.send_replace(true);
    }

    fn handlers(&self) -> std::sync::MutexGuard<'_, Option<Router>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn enter(State(entrance): State<Entrance>, request: Request) -> Response {
    let mut closed = entrance.closed.subscribe();
    let handlers = entrance.handlers().clone();
    let Some(handlers) = handlers else {
        return Problem::stopping().into_response();
    };
    tokio::select! {
        Ok(response) = handlers.oneshot(request) => response,
        _ = closed.wait_for(|closed| *closed) => Problem::stopping().into_response(),
    }
}
