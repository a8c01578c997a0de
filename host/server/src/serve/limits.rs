//! How much callers may ask for at a time. What would make work that there is no room for is sent
//! away at once, with when to come again, so that nothing piles up: whoever asks knows best whether
//! it still matters by then. What only looks, and what ends the host, is let through.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::{Access, access};
use super::api::Problem;
use super::dapr::DaprError;
use super::recovery::Failed;
use super::token::Scope;
use super::{ServeOptions, Served};

/// When to come again, in seconds: a second is many commits.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Why a request is not taken.
#[derive(Debug)]
pub(super) enum Limit {
    /// Too much is under way.
    Busy(String),
    /// The body is larger than may be.
    TooLarge { bytes_max: usize },
    /// The body does not come, for so long or in that time.
    Slow { pause_max: Duration },
    /// The body broke off.
    Broken(String),
}

pub(super) async fn limit(State(served): State<Served>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if served.host.failure().is_some() {
        // Until the way in leads to the next host.
        return Failed::of(&served.host).answer(&path);
    }
    let answered = match limited(&served, request, next).await {
        Ok(response) => response,
        Err(limit) => limit.answer(&path),
    };
    // Each handler would have to tell it from what else may go wrong.
    if answered.status() == StatusCode::INTERNAL_SERVER_ERROR
        && let Some(failed) = Failed::for_want_of_room(&served.host)
    {
        return failed.answer(&path);
    }
    answered
}

async fn limited(served: &Served, request: Request, next: Next) -> Result<Response, Limit> {
    let route = request.extensions().get::<MatchedPath>();
    let access = access(request.method(), route.map(MatchedPath::as_str));
    let makes_work = access == Access::Scope(Scope::Operate);
    if makes_work {
        // Before its body is waited for.
        strained(served)?;
    }
    let bytes_max = served.webhooks.body_bytes_max(request.uri().path());
    let bytes_max = match access {
        // Whoever need not say who he is has nothing to bring.
        Access::Open => OPEN_BODY_BYTES_MAX,
        Access::Scope(_) => bytes_max.unwrap_or(usize::MAX),
    };
    let bytes_max = bytes_max.min(served.options.body_bytes_max);
    let pause_max = served.options.body_pause_max;
    let time_max = served.options.body_time_max;
    let body = with_body(request, bytes_max, pause_max, &served.room);
    let (request, _room) = tokio::select! {
        // One that is here whole is served, also by a host that stops.
        biased;
        body = tokio::time::timeout(time_max, body) => {
            body.map_err(|_| Limit::Slow { pause_max: time_max })??
        }
        () = served.stopping.told() => return Ok(Problem::stopping().into_response()),
    };
    let _under_way = match makes_work {
        true => Some(place(served)?),
        false => None,
    };
    Ok(next.run(request).await)
}

/// A place for something that makes work and comes otherwise than as a request of its own.
///
/// # Errors
/// The answer to who comes while there is none.
pub(super) fn admit(served: &Served, path: &str) -> Result<OwnedSemaphorePermit, Box<Response>> {
    let sent_away = |limit: Limit| Box::new(limit.answer(path));
    strained(served).map_err(sent_away)?;
    place(served).map_err(sent_away)
}

fn place(served: &Served) -> Result<OwnedSemaphorePermit, Limit> {
    let place = Arc::clone(&served.places).try_acquire_owned();
    place.map_err(|_| {
        let max = served.options.in_flight_max;
        Limit::Busy(format!(
            "{max} requests are under way, and more are not taken"
        ))
    })
}

/// Whether the host has more to do than it should.
fn strained(served: &Served) -> Result<(), Limit> {
    let ServeOptions {
        queued_max,
        undurable_bytes_max,
        ..
    } = *served.options;
    check(served.host.strain(), queued_max, undurable_bytes_max)
}

fn check(
    (queued, undurable_bytes): (usize, u64),
    queued_max: usize,
    undurable_bytes_max: u64,
) -> Result<(), Limit> {
    if queued > queued_max {
        return Err(Limit::Busy(format!("{queued} pieces of work are waiting")));
    }
    if undurable_bytes > undurable_bytes_max {
        return Err(Limit::Busy(format!(
            "{undurable_bytes} bytes are on their way to the disk"
        )));
    }
    Ok(())
}

/// The largest body of a request that anybody may send, in bytes.
const OPEN_BODY_BYTES_MAX: usize = 64 * 1024;

/// Room for the bodies of all requests under way together, in units that fit a semaphore.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// How many bytes a unit of [`Room`] is.
const ROOM_UNIT_BYTES: usize = 1_024;

impl Room {
    /// At least the largest body has room.
    pub(super) fn new(options: &ServeOptions) -> Self {
        let bytes = options.bodies_bytes_max.max(options.body_bytes_max);
        let units = bytes.div_ceil(ROOM_UNIT_BYTES) + 1;
        Self(Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))))
    }

    /// Waits until there is room for so many bytes more.
    async fn take(&self, bytes: usize, held: &mut Option<OwnedSemaphorePermit>) {
        let units = u32::try_from(bytes.div_ceil(ROOM_UNIT_BYTES)).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.0).acquire_many_owned(units).await;
        let more = more.expect("nobody closes it");
        match held {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
    }
}

/// The request once its body is here, so that a slow client holds nothing but its connection; and
/// the room that the body takes.
async fn with_body(
    request: Request,
    bytes_max: usize,
    pause_max: Duration,
    room: &Room,
) -> Result<(Request, Option<OwnedSemaphorePermit>), Limit> {
    let (parts, body) = request.into_parts();
    let mut body = Limited::new(body, bytes_max);
    let (mut frames, mut held) = (Vec::new(), None);
    loop {
        let frame = tokio::time::timeout(pause_max, body.frame()).await;
        let frame = match frame.map_err(|_| Limit::Slow { pause_max })? {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                return Err(Limit::TooLarge { bytes_max });
            }
            Some(Err(error)) => return Err(Limit::Broken(error.to_string())),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let taken = tokio::time::timeout(pause_max, room.take(data.len(), &mut held)).await;
        taken.map_err(|_| Limit::Busy("there is no room for more bodies".into()))?;
        frames.push(data);
    }
    let request = Request::from_parts(parts, Body::from(joined(frames)));
    Ok((request, held))
}

/// Mostly there is one, which is not copied.
fn joined(mut frames: Vec<Bytes>) -> Bytes {
    match frames.len() {
        0 => Bytes::new(),
        1 => frames.swap_remove(0),
        _ => frames.concat().into(),
    }
}

impl Limit {
    fn answer(self, path: &str) -> Response {
        let busy = matches!(self, Self::Busy(_));
        let (status, own, dapr, why) = self.told();
        let mut response = if path.starts_with("/v1.0") {
            DaprError::new(status, dapr, why).into_response()
        } else {
            Problem::new(status, own, why).into_response()
        };
        if busy {
            let after = HeaderValue::from(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
        response
    }

    /// The status, our code, Dapr's, and the words.
    fn told(self) -> (StatusCode, &'static str, &'static str, String) {
        match self {
            Self::Busy(what) => (
                StatusCode::TOO_MANY_REQUESTS,
                "busy",
                "ERR_TOO_MANY_REQUESTS",
                format!("the host is busy: {what}; nothing was done, ask again"),
            ),
            Self::TooLarge { bytes_max } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "ERR_REQUEST_TOO_LARGE",
                format!("the body has more than {bytes_max} bytes, the most that are taken"),
            ),
            Self::Slow { pause_max } => (
                StatusCode::REQUEST_TIMEOUT,
                "slow-body",
                "ERR_REQUEST_TIMEOUT",
                format!("the body did not come within {pause_max:?}"),
            ),
            Self::Broken(error) => (
                StatusCode::BAD_REQUEST,
                "bad-body",
                "ERR_MALFORMED_REQUEST",
                format!("the body cannot be read: {error}"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::host::{Host, Options};
    use crate::serve::router;

    /// Status, `Retry-After` and body of what a host answers that takes no more requests which
    /// change something.
    async fn answer(method: &str, path: &str) -> (StatusCode, Option<String>, serde_json::Value) {
        let options = ServeOptions {
            in_flight_max: 0,
            ..ServeOptions::default()
        };
        let served = Served::new(Host::in_memory(Options::default()).unwrap(), options);
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from("{}")).unwrap();
        let response = router(served).oneshot(request).await.unwrap();
        let after = response.headers().get(header::RETRY_AFTER);
        let after = after.map(|it| it.to_str().unwrap().to_owned());
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            after,
            serde_json::from_slice(&body).unwrap_or_default(),
        )
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_makes_work_is_sent_away_where_there_is_no_room_and_nothing_else_is() {
        for (method, path, code) in [
            ("POST", "/api/v1/instances", "busy"),
            ("POST", "/api/v1/instances/a/events/go", "busy"),
            ("POST", "/api/v1/instances/a/updates/set", "busy"),
            ("PUT", "/api/v1/state/key", "busy"),
            (
                "POST",
                "/v1.0/workflows/dapr/A/start",
                "ERR_TOO_MANY_REQUESTS",
            ),
            ("POST", "/v1.0/state/statestore", "ERR_TOO_MANY_REQUESTS"),
        ] {
            let (status, after, body) = answer(method, path).await;
            assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{path}");
            assert_eq!(after.as_deref(), Some("1"), "{path}");
            assert!(
                body["code"] == code || body["errorCode"] == code,
                "{path} {body}"
            );
        }
        for (method, path) in [
            ("GET", "/api/v1/instances"),
            ("GET", "/v1.0/workflows/dapr/a"),
            ("GET", "/api/v1/health"),
            ("POST", "/v1.0/shutdown"),
        ] {
            let (status, ..) = answer(method, path).await;
            assert_ne!(status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        }
    }

    #[tokio::test]
    async fn bodies_have_no_more_room_than_there_is_and_leave_it() {
        let options = ServeOptions {
            body_bytes_max: 4_096,
            bodies_bytes_max: 4_096,
            ..ServeOptions::default()
        };
        let room = Room::new(&options);
        let body = async |bytes: usize| {
            let request = Request::new(Body::from(vec![b' '; bytes]));
            with_body(request, 4_096, Duration::ZERO, &room).await
        };
        let held = body(4_096).await.unwrap();
        assert!(matches!(body(2_048).await, Err(Limit::Busy(_))));
        // What brings nothing needs none.
        assert!(body(0).await.is_ok());
        drop(held);
        assert!(body(4_096).await.is_ok());
        assert!(matches!(body(4_097).await, Err(Limit::TooLarge { .. })));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_need_not_say_who_he_is_brings_no_large_body() {
        let host = Host::in_memory(Options::default()).unwrap();
        let router = router(Served::new(host, ServeOptions::default()));
        for (bytes, status) in [
            (OPEN_BODY_BYTES_MAX, StatusCode::OK),
            (OPEN_BODY_BYTES_MAX + 1, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let request = Request::get("/api/v1/health").body(Body::from(vec![b' '; bytes]));
            let response = router.clone().oneshot(request.unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{bytes}");
        }
    }

    #[test]
    fn over_its_bounds_the_host_takes_nothing_that_makes_work() {
        for (queued, undurable_bytes, takes) in [
            (0, 0, true),
            (10, 100, true),
            (11, 0, false),
            (0, 101, false),
        ] {
            let checked = check((queued, undurable_bytes), 10, 100);
            assert_eq!(checked.is_ok(), takes, "{queued} {undurable_bytes}");
        }
    }
}
