//! A host whose data file failed: what callers are told meanwhile, and how it is opened again.
//!
//! After a failed commit nobody knows what is on the disk, so everything above it is dropped and the
//! file is opened again, where what was acknowledged is found. While the disk is full that may take
//! until somebody has made room.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::api::Problem;
use super::dapr::DaprError;
use wfhost_store::OpenError;

use crate::error::Error;
use crate::host::{Host, blocking};

/// How long to wait before the file is opened again, and again.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What callers are told when a host has failed, and while there is none.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    disk_full: bool,
    why: String,
}

impl Failed {
    pub(super) fn of(host: &Host) -> Self {
        let failure = host.failure();
        Self {
            disk_full: failure
                .as_ref()
                .is_some_and(wfhost_store::Error::is_disk_full),
            why: failure.map_or_else(
                || "the host met an error of its own".into(),
                |error| crate::error::chain(&error),
            ),
        }
    }

    /// If a host has failed because the disk is full.
    pub(super) fn for_want_of_room(host: &Host) -> Option<Self> {
        let failed = Self::of(host);
        failed.disk_full.then_some(failed)
    }

    /// Answers every request.
    pub(super) fn router(self) -> Router {
        Router::new().fallback(async move |request: Request| self.answer(request.uri().path()))
    }

    /// The answer to a request, in the shape that its route has.
    pub(super) fn answer(&self, path: &str) -> Response {
        let (status, own, dapr, help) = match self.disk_full {
            true => (
                StatusCode::INSUFFICIENT_STORAGE,
                "disk-full",
                "ERR_DISK_FULL",
                "what was not acknowledged may be lost; make room, the host then goes on by itself",
            ),
            false => (
                StatusCode::SERVICE_UNAVAILABLE,
                "host-failed",
                "ERR_HOST_FAILED",
                "what was not acknowledged may be lost; the host opens its data file again",
            ),
        };
        let why = format!("{}; {help}", self.why);
        let mut response = if path.starts_with("/v1.0") {
            DaprError::new(status, dapr, why).into_response()
        } else {
            Problem::new(status, own, why).into_response()
        };
        let after = HeaderValue::from(1);
        response.headers_mut().insert(header::RETRY_AFTER, after);
        response
    }
}

/// Opens the data file of a host that has failed, and was closed, as soon as that can be done, and
/// drives its instances.
///
/// # Errors
/// If another process has taken the file meanwhile.
pub(super) async fn open_again(
    open: impl Fn() -> Result<Host, Error> + Send + Sync + 'static,
) -> Result<Host, Error> {
    let open = Arc::new(open);
    loop {
        tokio::time::sleep(OPEN_AGAIN_AFTER).await;
        let open = Arc::clone(&open);
        let host = match blocking(move || open()).await {
            Ok(host) => host,
            Err(error @ Error::Open(OpenError::InUse { .. })) => return Err(error),
            Err(_) => continue,
        };
        if host.drive_all().await.is_ok() {
            return Ok(host);
        }
        // It has failed again.
        let _ = host.close().await;
    }
}
