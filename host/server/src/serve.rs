//! The running host over HTTP: its own API under `/api/v1`, and Dapr's workflow and state API.
//!
//! Handlers only translate: what is done is in [`Host`], and so what is answered is durable.

mod access;
mod api;
mod commands;
mod connections;
mod dapr;
mod entrance;
mod guard;
mod limits;
pub(crate) mod local;
mod observe;
mod recovery;
mod tls;
mod token;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use local::LocalSocket;
pub use tls::{Tls, TlsError};
pub use token::{Hashed, InvalidSecret, Scope, Token};
pub use webhooks::{
    SignatureEncoding, SignatureOptions, TimestampOptions, WebhookEvent, WebhookOptions,
    WebhookStart,
};

use crate::cli::served::Commands;
use crate::cli::wire;
use crate::error::Error;
use crate::host::Host;
use connections::{Connections, Listener};
use entrance::Entrance;
use limits::Room;
use local::Local;
use recovery::{Failed, open_again};
use webhooks::Webhooks;

/// How a host is served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// What callers have to show, one of them; nobody has to if there are none. Only a host that
    /// listens on loopback may be served without.
    pub tokens: Vec<Token>,
    /// Connections are by TLS, with this certificate, if there is one.
    pub tls: Option<Tls>,
    /// By which name Dapr's clients call the state store; under any other they find none.
    pub state_store: String,
    /// The largest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// All bodies of requests under way together, in bytes. Who comes then waits for room.
    pub bodies_bytes_max: usize,
    /// How long a body may pause on its way before its request is given up.
    pub body_pause_max: Duration,
    /// How long the whole body of a request may take on its way, however it comes.
    pub body_time_max: Duration,
    /// How long a client may take nothing of an answer before its connection is closed.
    pub answer_pause_max: Duration,
    /// How long a connection may take to bring the whole head of a request, its first or its next,
    /// before it is closed.
    pub head_time_max: Duration,
    /// How many connections there may be at a time. Who comes then waits until another ends.
    pub connections_max: usize,
    /// How many requests that change something may be under way at a time. Others are not taken.
    pub in_flight_max: usize,
    /// With more pieces of work waiting than this, none is taken that makes more.
    pub queued_max: usize,
    /// The same, with more bytes on their way to the disk. At twice as many the host itself waits
    /// for the disk.
    pub undurable_bytes_max: u64,
    /// How long requests under way may take to come to their end once the host stops.
    pub stop_time_max: Duration,
    /// What requests of other services do, under `/hooks/{name}`.
    pub webhooks: Vec<WebhookOptions>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            tls: None,
            state_store: "statestore".into(),
            // The largest payload and module, and what stands around them.
            body_bytes_max: 72 * 1024 * 1024,
            bodies_bytes_max: 512 * 1024 * 1024,
            body_pause_max: Duration::from_secs(30),
            body_time_max: Duration::from_mins(10),
            answer_pause_max: Duration::from_mins(1),
            head_time_max: Duration::from_secs(30),
            // With what else a host opens below the 1,024 files that a process usually may.
            connections_max: 900,
            in_flight_max: 1_024,
            // Some seconds of work.
            queued_max: 16_384,
            undurable_bytes_max: 32 * 1024 * 1024,
            stop_time_max: Duration::from_secs(10),
            webhooks: Vec::new(),
        }
    }
}

impl ServeOptions {
    /// Whether a host may be served so at this address: one that others can reach asks for a token,
    /// and webhooks are such that they can be served.
    ///
    /// # Errors
    /// If it may not.
    pub fn check(&self, address: SocketAddr) -> Result<(), Error> {
        if self.tokens.is_empty() && !address.ip().is_loopback() {
            return Err(Error::Exposed { address });
        }
        Webhooks::new(&self.webhooks).map(drop)
    }
}

/// The OpenAPI 3.1 document of the host's own API, as a running host serves it under
/// `/api/v1/openapi.json`. It is the same for all hosts of this version.
#[must_use]
pub fn openapi() -> serde_json::Value {
    api::document()
}

/// What handlers share.
#[derive(Clone)]
struct Served {
    host: Arc<Host>,
    options: Arc<ServeOptions>,
    webhooks: Webhooks,
    /// True once the host stops: who waits for something is told that it has not come.
    stopping: Stopping,
    /// Asks the host to stop.
    stop: Arc<watch::Sender<bool>>,
    /// One for each request that may be under way and changes something.
    places: Arc<Semaphore>,
    /// For what requests bring.
    room: Room,
    /// Those that other processes were given.
    commands: Commands,
}

impl Served {
    fn new(host: Host, options: ServeOptions) -> Self {
        let (tell, stopping) = watch::channel(false);
        Self {
            host: Arc::new(host),
            webhooks: Webhooks::default(),
            places: Arc::new(Semaphore::new(options.in_flight_max)),
            room: Room::new(&options),
            options: Arc::new(options),
            stopping: Stopping(stopping),
            stop: Arc::new(tell),
            commands: Commands::default(),
        }
    }

    /// The host, and what makes the same of another host.
    fn without_host(self) -> (impl FnOnce(Host) -> Self, Arc<Host>) {
        let Self {
            host,
            options,
            webhooks,
            stopping,
            stop,
            places,
            room,
            commands,
        } = self;
        let with = |host| Self {
            host: Arc::new(host),
            options,
            webhooks,
            stopping,
            stop,
            places,
            room,
            commands,
        };
        (with, host)
    }
}

/// Tells when the host stops.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    pub(crate) async fn told(&self) {
        let mut stops = self.0.clone();
        // Without anybody left who could say so, the host has stopped.
        let _ = stops.wait_for(|stops| *stops).await;
    }
}

/// Serves a host at these addresses, and to commands of this machine by the `local` socket, until
/// `stop` comes back, or a client asks it to stop; then closes
/// it. No request is taken any more, those under way come to their end or are dropped once that takes
/// too long, turns come to theirs, and all that was submitted is made durable. Instances of the data
/// file are driven from the start.
///
/// If the data file fails, because its disk is full or otherwise, callers are told so, and the host
/// is opened again as soon as it can be; what was acknowledged is there. `beside` runs meanwhile with
/// the host, and is begun anew with the next one.
///
/// # Errors
/// If the host can be reached from outside of this machine and there is no token, or the data file
/// failed and could not be opened again until the end.
pub async fn serve(
    host: Host,
    listeners: Vec<TcpListener>,
    local: Option<LocalSocket>,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
    beside: impl AsyncFnMut(&Host),
) -> Result<(), Error> {
    for listener in &listeners {
        options.check(listener.local_addr().map_err(Error::Listen)?)?;
    }
    host.drive_all().await?;
    let stop_time_max = options.stop_time_max;
    let webhooks = Webhooks::new(&options.webhooks)?;
    let served = Served {
        webhooks,
        ..Served::new(host, options)
    };
    let (tell, stopping) = (Arc::clone(&served.stop), served.stopping.clone());
    let entrance = Entrance::new(router(served.clone()));
    let mut taking = take(&served, &entrance, listeners, local);
    let mut current = Ok(served);
    tokio::select! {
        () = keep(&mut current, &entrance, beside) => {}
        () = stop => {}
        () = stopping.told() => {}
    }
    let _ = tell.send(true);
    let all = async { while taking.join_next().await.is_some() {} };
    // Those that take longer are dropped.
    let _ = tokio::time::timeout(stop_time_max, all).await;
    entrance.close();
    taking.shutdown().await;
    match current {
        Ok(served) => close(served.host).await,
        Err(failure) => Err(failure),
    }
}

/// Keeps a host served: one that has failed is opened again. Comes back if that cannot be done;
/// `current` is the host, or how it has failed.
async fn keep(
    current: &mut Result<Served, Error>,
    entrance: &Entrance,
    mut beside: impl AsyncFnMut(&Host),
) {
    while let Ok(served) = current {
        let again = served.host.opening_again();
        let beside = async {
            beside(&served.host).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = served.host.failed() => {}
            () = beside => {}
        }
        let failure = served.host.failure().map_or(Error::Unknown, Error::Store);
        tracing::error!(
            target: "wfhost::host",
            detail = crate::error::chain(&failure),
            "callers are sent away until the data file can be opened again"
        );
        entrance.fail(Failed::of(&served.host));
        let Ok(failed) = std::mem::replace(current, Err(failure)) else {
            return;
        };
        let (next, host) = failed.without_host();
        // It has failed; there is nothing more to learn of it.
        let _ = close(host).await;
        let Some(again) = again else { return };
        let next = match open_again(again).await {
            Ok(host) => next(host),
            Err(taken) => {
                *current = Err(taken);
                return;
            }
        };
        tracing::info!(target: "wfhost::host", "the data file is open again, and all goes on");
        entrance.lead_to(router(next.clone()));
        *current = Ok(next);
    }
}

/// Takes connections at each of the addresses, and those of commands of this machine, which have
/// room of their own.
fn take(
    served: &Served,
    entrance: &Entrance,
    listeners: Vec<TcpListener>,
    local: Option<LocalSocket>,
) -> JoinSet<()> {
    let router = entrance.clone().into_router();
    let connections = Connections {
        router: router.clone(),
        stopping: served.stopping.clone(),
        tls: served.options.tls.clone(),
        head_time_max: served.options.head_time_max,
        answer_pause_max: served.options.answer_pause_max,
        places: Arc::new(Semaphore::new(served.options.connections_max)),
    };
    let nearby = Connections {
        router: router.layer(Extension(Local)),
        places: Arc::new(Semaphore::new(LOCAL_CONNECTIONS_MAX)),
        ..connections.clone()
    };
    let tcp = listeners
        .into_iter()
        .map(|it| connections.clone().take(Listener::Tcp(it)));
    let mut taking: JoinSet<_> = tcp.collect();
    if let Some(local) = local {
        taking.spawn(nearby.take(Listener::Local(local)));
    }
    taking
}

/// As many commands as may be carried out, and some that are told so.
const LOCAL_CONNECTIONS_MAX: usize = 300;

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
        .merge(api::routes())
        .route(wire::PATH, post(commands::carry_out))
        .route("/hooks/{name}", post(webhooks::receive))
        .route("/metrics", axum::routing::get(observe::metrics))
        .fallback(api::no_such_route)
        // Bodies are here already, and no larger than they may be.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(
            served.clone(),
            limits::limit,
        ))
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
