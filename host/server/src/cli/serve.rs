//! `wfhost serve`: the host as a service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;

use super::hosting::Hosting;
use super::start::deploy;
use super::telemetry::Telemetry;
use super::wait::Signals;
use super::watch::{self, Watched, swapping};
use super::{Db, Exit, Failure, say, waiting};
use crate::error::Error;
use crate::host::{Host, Options};
use crate::package::upload;
use crate::serve::{ServeOptions, Token, serve};

/// Run the host as a service, over HTTP
///
/// Goes on with every unfinished instance of the data file, and serves until it is told to stop:
/// then it takes no more requests, lets turns come to their end, makes everything durable and
/// leaves, within 12 seconds. Its own API is under /api/v1; Dapr's workflow and state API are under
/// /v1.0, so that Dapr's clients find what they expect.
///
/// Without a token it serves programs of this machine only: listening elsewhere is refused, and so
/// is what a web page sends.
///
/// It logs to stderr, shows its figures to Prometheus under /metrics, and sends traces to a
/// collector if it is given one.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost serve order.wasm
  wfhost serve --watch workflows/order-processing
  wfhost serve --db orders.redb --listen 127.0.0.1:8080
  WFHOST_TOKEN=\"$(cat token)\" wfhost serve --listen 0.0.0.0:3500
  wfhost serve --log json --log-level info,wfhost::http=debug
  wfhost serve --otlp-endpoint http://localhost:4318
  curl http://127.0.0.1:3500/metrics
  curl -X POST http://127.0.0.1:3500/api/v1/instances -d '{\"workflow\":\"OrderProcessingWorkflow\",\"input\":{…}}'
  curl 'http://127.0.0.1:3500/api/v1/instances/order-7?wait=30'
  curl -X POST http://127.0.0.1:3500/v1.0/workflows/dapr/OrderProcessingWorkflow/start -d '{…}'

Exit status: 0 it was told to stop, 2 usage or bad input, 4 the host failed (file, disk, network).")]
pub(super) struct Serve {
    /// Modules to deploy first: .wasm files, or folders of Cargo packages, which are compiled
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3500")]
    listen: SocketAddr,
    /// What callers have to show as `Authorization: Bearer …` or `dapr-api-token`
    #[arg(
        long,
        value_name = "TOKEN",
        env = "WFHOST_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// The name by which Dapr's clients call the state store
    #[arg(long, value_name = "NAME", default_value = "statestore")]
    state_store: String,
    /// Build and deploy again what changes in this folder: a Cargo package, or a folder of packages
    /// and .wasm files. Instances go along if the new code does the same in the turns they have
    /// taken
    #[arg(long, value_name = "DIR")]
    watch: Option<PathBuf>,
    #[command(flatten)]
    db: Db,
    #[command(flatten)]
    hosting: Hosting,
    #[command(flatten)]
    telemetry: Telemetry,
}

impl Serve {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut signals = Signals::listen();
        self.telemetry.begin_log()?;
        if self
            .token
            .as_ref()
            .is_some_and(|token| token.trim().is_empty())
        {
            return Err(Failure::usage(
                "the token is empty; leave it out to serve this machine only",
            ));
        }
        let (hosting, _) = self.hosting.options();
        let options = Options {
            traces: self.telemetry.traces()?,
            ..hosting
        };
        // All that can be wrong with the call is found before a data file is made.
        let paths = watch::paths(&self.paths, self.watch.as_deref())?;
        let uploads = paths.iter().map(|path| upload(path, false));
        let checked = Host::check(uploads.collect::<Result<Vec<_>, _>>()?, &options)?;
        let serving = ServeOptions {
            token: self.token.as_deref().map(Token::new),
            state_store: self.state_store.clone(),
            ..ServeOptions::default()
        };
        let listener = TcpListener::bind(self.listen).await.map_err(|source| {
            Failure::new(
                Exit::Host,
                format!("cannot listen on {}: {source}", self.listen),
            )
        })?;
        serving.check(self.listen)?;
        let host = waiting(|| Host::open_for(&self.db.path, &checked, options.clone()))?;
        deploy(&host, Some(checked)).await?;
        let address = listener.local_addr().map_err(Error::Listen)?;
        say(format_args!(
            "serving {} on http://{address}; Ctrl-C stops it",
            self.db.path.display()
        ));
        let watched = self.watch.as_deref().map(Watched::new).transpose()?;
        let stop = async move |host: &Host| {
            tokio::select! {
                () = signals.recv() => {}
                () = swapping(watched, host) => {}
            }
        };
        serve(host, listener, serving, stop).await?;
        say_last("stopped; everything is on disk");
        Ok(Exit::Ok)
    }
}

/// How long the last line may take.
const SAID_MAX: Duration = Duration::from_millis(500);

/// Says the last line. Whoever reads stderr may have stopped doing so, and must not keep the
/// process.
fn say_last(line: &'static str) {
    let (tell, told) = sync_channel(1);
    std::thread::spawn(move || {
        say(format_args!("{line}"));
        // Nobody may wait any more.
        let _ = tell.send(());
    });
    let _ = told.recv_timeout(SAID_MAX);
}
