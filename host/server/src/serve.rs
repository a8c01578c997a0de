//! The running host over HTTP: its own API under `/api/v1`, and Dapr's workflow and state API.
//!
//! Handlers only translate: what is done is in [`Host`], and so what is answered is durable.

mod api;
mod dapr;
mod entrance;
mod guard;
mod observe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use guard::Token;

use crate::error::Error;
use crate::host::Host;
use entrance::Entrance;

/// How a host is served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// What callers have to show; nobody has to if it is absent. Only a host that listens on
    /// loopback may be served without.
    pub token: Option<Token>,
    /// By which name Dapr's clients call the state store; under any other they find none.
    pub state_store: String,
    /// The largest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// How long requests under way may take to come to their end once the host stops.
    pub stop_time_max: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            token: None,
            state_store: "statestore".into(),
            // The largest payload and module, and what stands around them.
            body_bytes_max: 72 * 1024 * 1024,
            stop_time_max: Duration::from_secs(10),
        }
    }
}

impl ServeOptions {
    /// Whether a host may be served so at this address: one that others can reach asks for a token.
    ///
    /// # Errors
    /// If it may not.
    pub fn check(&self, address: SocketAddr) -> Result<(), Error> {
        if self.token.is_none() && !address.ip().is_loopback() {
            return Err(Error::Exposed { address });
        }
        Ok(())
    }
}

/// What handlers share.
#[derive(Clone)]
struct Served {
    host: Arc<Host>,
    options: Arc<ServeOptions>,
    /// True once the host stops: who waits for something is told that it has not come.
    stopping: Stopping,
    /// Asks the host to stop.
    stop: Arc<watch::Sender<bool>>,
}

/// Tells when the host stops.
#[derive(Clone)]
struct Stopping(watch::Receiver<bool>);

impl Stopping {
    async fn told(&self) {
        let mut stops = self.0.clone();
        // Without anybody left who could say so, the host has stopped.
        let _ = stops.wait_for(|stops| *stops).await;
    }
}

/// Serves a host until `stop`, which may use it meanwhile, comes back, or a client asks it to stop;
/// then closes it. No request is taken any more, those under way come to their end or are dropped
/// once that takes too long, turns come to theirs, and all that was submitted is made durable.
/// Instances of the data file are driven from the start.
///
/// # Errors
/// If the listener failed, it can be reached from outside of this machine and there is no token, or
/// the data file failed.
pub async fn serve(
    host: Host,
    listener: TcpListener,
    options: ServeOptions,
    stop: impl AsyncFnOnce(&Host),
) -> Result<(), Error> {
    let address = listener.local_addr().map_err(Error::Listen)?;
    options.check(address)?;
    host.drive_all().await?;
    let (tell, stopping) = watch::channel(false);
    let stop_time_max = options.stop_time_max;
    let served = Served {
        host: Arc::new(host),
        options: Arc::new(options),
        stopping: Stopping(stopping),
        stop: Arc::new(tell),
    };
    let entrance = Entrance::new(router(served.clone()));
    let router = entrance.clone().into_router();
    let stopping = served.stopping.clone();
    let server =
        axum::serve(listener, router).with_graceful_shutdown(async move { stopping.told().await });
    let mut server = tokio::spawn(server.into_future());
    let ended = tokio::select! {
        ended = &mut server => Some(ended),
        () = stop(&served.host) => None,
        () = served.stopping.told() => None,
    };
    let _ = served.stop.send(true);
    let ended = match ended {
        Some(ended) => Some(ended),
        None => tokio::time::timeout(stop_time_max, &mut server).await.ok(),
    };
    entrance.close();
    server.abort();
    let listened = match ended {
        Some(Ok(Err(error))) => Err(Error::Listen(error)),
        _ => Ok(()),
    };
    close(served.host).await?;
    listened
}

/// Closes a host that requests may still hold for a moment.
async fn close(mut host: Arc<Host>) -> Result<(), Error> {
    loop {
        match Arc::try_unwrap(host) {
            Ok(host) => return host.close().await,
            // Whoever was dropped lets go of it at its next wait.
            Err(held) => host = held,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn router(served: Served) -> Router {
    Router::new()
        .merge(dapr::routes())
        .nest("/api/v1", api::routes())
        .route("/metrics", axum::routing::get(observe::metrics))
        .fallback(api::no_such_route)
        .layer(DefaultBodyLimit::max(served.options.body_bytes_max))
        .layer(axum::middleware::from_fn_with_state(
            served.clone(),
            guard::guard,
        ))
        // Outermost: who is refused counts as well.
        .layer(axum::middleware::from_fn_with_state(
            served.clone(),
            observe::observe,
        ))
        .with_state(served)
}
