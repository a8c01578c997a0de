//! Connections: taken while there is room for them, each served until its client or the host ends
//! it.
//!
//! Beyond the bound nobody is sent away: who comes then waits in the system's line until another
//! connection ends. One on which no whole head of a request comes for a while is closed, be it the
//! first or the next, so that idle clients do not hold the room.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use super::{LocalSocket, Stopping, Tls};

/// How long to wait for room where the system has none, for files or memory.
const NO_ROOM_WAIT: Duration = Duration::from_millis(100);

/// How often to look whether a connection of a host that stops has still something to bring.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Takes connections and serves them. Cheap to clone; the bound holds for all copies together.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) router: Router,
    pub(super) stopping: Stopping,
    pub(super) tls: Option<Tls>,
    pub(super) head_time_max: Duration,
    pub(super) answer_pause_max: Duration,
    /// One place for each connection that there may be.
    pub(super) places: Arc<Semaphore>,
}

/// Where connections come in.
pub(super) enum Listener {
    Tcp(TcpListener),
    Local(LocalSocket),
}

enum Stream {
    Tcp(TcpStream),
    Local(UnixStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(listener) => Ok(Stream::Tcp(listener.accept().await?.0)),
            Self::Local(socket) => Ok(Stream::Local(socket.listener.accept().await?.0)),
        }
    }
}

impl Connections {
    /// Takes connections until the host stops, and comes back when the last has ended. Dropped, it
    /// ends them where they are.
    pub(super) async fn take(self, listener: Listener) {
        let mut under_way = JoinSet::new();
        loop {
            let (stream, place) = tokio::select! {
                taken = self.next(&listener) => taken,
                Some(_) = under_way.join_next() => continue,
                () = self.stopping.told() => break,
            };
            let connections = self.clone();
            under_way.spawn(async move {
                connections.serve(stream).await;
                drop(place);
            });
        }
        drop(listener);
        while under_way.join_next().await.is_some() {}
    }

    async fn next(&self, listener: &Listener) -> (Stream, OwnedSemaphorePermit) {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.expect("nobody closes it");
        loop {
            match listener.accept().await {
                Ok(stream) => return (stream, place),
                Err(error) if is_of_one(error.kind()) => {}
                Err(_) => tokio::time::sleep(NO_ROOM_WAIT).await,
            }
        }
    }

    async fn serve(&self, stream: Stream) {
        let stream = match stream {
            Stream::Tcp(stream) => stream,
            Stream::Local(stream) => return self.speak(stream).await,
        };
        // Answers are small, and somebody waits for each.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.speak(stream).await;
        };
        let shaken = tokio::time::timeout(self.head_time_max, tls.acceptor().accept(stream));
        let shaken = tokio::select! {
            shaken = shaken => shaken,
            () = self.stopping.told() => return,
        };
        if let Ok(Ok(stream)) = shaken {
            self.speak(stream).await;
        }
    }

    /// Serves what speaks HTTP on a stream.
    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        // Held by each request until its answer is sent.
        let asked = Arc::new(());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (router, asked) = (self.router.clone(), Arc::clone(&asked));
            async move {
                let answer = router.oneshot(request.map(Body::new)).await?;
                Ok::<_, std::convert::Infallible>(answer.map(|body| {
                    body.map_frame(move |frame| {
                        let _ = &asked;
                        frame
                    })
                }))
            }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.head_time_max);
        let mut stream = Box::pin(TimeoutStream::new(stream));
        let answer_pause_max = Some(self.answer_pause_max);
        stream.as_mut().set_write_timeout_pinned(answer_pause_max);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        // A client that breaks off is its own concern.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.stopping.told() => connection.as_mut().graceful_shutdown(),
        }
        // A request of which only a part is here is none yet.
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            if Arc::strong_count(&asked) == 1 {
                return;
            }
        }
    }
}

/// Whether one connection failed, not the listener.
fn is_of_one(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
