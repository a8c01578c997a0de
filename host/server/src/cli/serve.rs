//! `wfhost serve`: the host as a service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use wfhost_core::{Name, Role};

use super::hosting::Hosting;
use super::start::deploy;
use super::telemetry::Telemetry;
use super::wait::Signals;
use super::watch::{self, Watched, swapping};
use super::{DB, Exit, Failure, say, waiting};
use crate::config::{Config, TlsFiles};
use crate::error::Error;
use crate::host::{Host, Options};
use crate::package::upload;
use crate::serve::{LocalSocket, ServeOptions, Tls, Token, serve};

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
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  wfhost serve order.wasm
  wfhost serve --watch workflows/order-processing
  wfhost serve --db orders.redb --listen 127.0.0.1:8080
  wfhost serve --config wfhost.toml
  wfhost serve --config wfhost.toml --check
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
    /// A configuration file, see docs/configuration.md; what is given here wins over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only say whether the configuration and the modules are good
    #[arg(long)]
    check: bool,
    /// Where to listen; port 0 takes any that is free; may be repeated [default: 127.0.0.1:3500]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    listen: Vec<SocketAddr>,
    /// What callers have to show as `Authorization: Bearer …` or `dapr-api-token`
    #[arg(
        long,
        value_name = "TOKEN",
        env = "WFHOST_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Serve by TLS with this certificate, a PEM file; it is read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name by which Dapr's clients call the state store [default: statestore]
    #[arg(long, value_name = "NAME")]
    state_store: Option<String>,
    /// Build and deploy again what changes in this folder: a Cargo package, or a folder of packages
    /// and .wasm files. Instances go along if the new code does the same in the turns they have
    /// taken
    #[arg(long, value_name = "DIR")]
    watch: Option<PathBuf>,
    /// The data file [default: wfhost.redb]
    #[arg(id = "db", long, value_name = "FILE", env = "WFHOST_DB")]
    data_file: Option<PathBuf>,
    #[command(flatten)]
    hosting: Hosting,
    #[command(flatten)]
    telemetry: Telemetry,
}

/// What to serve, and how: the configuration file, and the flags over it.
struct Plan {
    data_file: PathBuf,
    listen: Vec<SocketAddr>,
    modules: Vec<PathBuf>,
    watch: Option<PathBuf>,
    options: Options,
    serving: ServeOptions,
}

impl Serve {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut signals = Signals::listen();
        let check = self.check;
        let plan = self.plan()?;
        // All that can be wrong with the call is found before a data file is made.
        let paths = watch::paths(&plan.modules, plan.watch.as_deref())?;
        let uploads = paths.iter().map(|path| upload(path, false));
        let checked = Host::check(uploads.collect::<Result<Vec<_>, _>>()?, &plan.options)?;
        for address in &plan.listen {
            plan.serving.check(*address)?;
            warn_of_plain(*address, &plan.serving);
        }
        if check {
            say(format_args!("the configuration is good"));
            return Ok(Exit::Ok);
        }
        let listeners = listeners(&plan.listen).await?;
        let path = &plan.data_file;
        let host = waiting(|| Host::open_for(path, &checked, plan.options.clone()))?;
        // Commands wait from here on, and find it.
        let local = local(path);
        deploy(&host, Some(checked)).await?;
        let addresses = listeners.iter().map(TcpListener::local_addr);
        let addresses = addresses.collect::<Result<Vec<_>, _>>();
        let addresses = addresses.map_err(Error::Listen)?;
        let scheme = if plan.serving.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let addresses: Vec<_> = addresses
            .iter()
            .map(|it| format!("{scheme}://{it}"))
            .collect();
        say(format_args!(
            "serving {} on {}; Ctrl-C stops it",
            path.display(),
            addresses.join(", ")
        ));
        warn_of_unknown(&host, &plan.options)?;
        let mut watched = plan.watch.as_deref().map(Watched::new).transpose()?;
        let tls = plan.serving.tls.clone();
        let stop = async {
            tokio::select! {
                () = signals.recv() => {}
                () = renewing(tls) => {}
            }
        };
        let beside = async |host: &Host| swapping(watched.as_mut(), host).await;
        serve(host, listeners, local, plan.serving, stop, beside).await?;
        say_last("stopped; everything is on disk");
        Ok(Exit::Ok)
    }

    /// What the configuration file says, with the flags over it.
    fn plan(self) -> Result<Plan, Failure> {
        let config = self.config.as_deref().map(Config::read).transpose();
        let config = config?.unwrap_or_default();
        self.telemetry.begin_log(&config.telemetry)?;
        raise_file_limit();
        let mut serving = ServeOptions {
            tokens: tokens(self.token.as_deref(), &config)?,
            tls: tls(self.tls_cert.zip(self.tls_key), config.tls.as_ref())?,
            ..ServeOptions::default()
        };
        let state_store = self
            .state_store
            .or(config.state_store.as_ref().map(|it| it.0.clone()));
        serving.state_store = state_store.unwrap_or(serving.state_store);
        serving.webhooks = config.webhooks.clone();
        config.requests.put(&mut serving);
        let mut options = Options {
            limits: config.guests.limits(),
            retention: config.retention.retention(),
            grants: config.grants()?,
            traces: self.telemetry.traces(&config.telemetry)?,
            ..Options::default()
        };
        options.guests_warm_max = config.guests.warm_max.unwrap_or(options.guests_warm_max);
        config.activities.put(&mut options.bounds);
        let (options, _) = self.hosting.options_over(options);
        let listen = match self.listen {
            flags if !flags.is_empty() => flags,
            _ => config.listen.map_or_else(|| vec![LISTEN], |them| them.0),
        };
        // Named on the command line, they stand for all that the file would deploy.
        let modules = match self.paths {
            flags if !flags.is_empty() => flags,
            _ => config.modules,
        };
        Ok(Plan {
            data_file: self
                .data_file
                .or(config.data_file)
                .unwrap_or_else(|| DB.into()),
            listen,
            modules,
            watch: self.watch.or(config.watch),
            options,
            serving,
        })
    }
}

/// An address and a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    let of_name = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    let text = of_name.as_deref().unwrap_or(text);
    text.parse()
        .map_err(|_| "it takes an address and a port, such as 127.0.0.1:3500 or [::1]:3500".into())
}

/// Where a host listens if nobody says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3500);

/// As for those of the configuration file.
const TOKEN_BYTES_MIN: usize = 16;

/// The tokens of the file, or the one of the command line, which may do everything.
fn tokens(flag: Option<&str>, config: &Config) -> Result<Vec<Token>, Failure> {
    match flag {
        None => Ok(config.tokens()?),
        Some(text) if text.trim().is_empty() => Err(Failure::usage(
            "the token is empty; leave it out to serve this machine only",
        )),
        Some(text) if text.len() < TOKEN_BYTES_MIN => Err(Failure::usage(format!(
            "the token has fewer than {TOKEN_BYTES_MIN} characters, and could be guessed; `wfhost token` \
             makes one"
        ))),
        Some(text) => Ok(vec![Token::new(text)]),
    }
}

/// The certificate of the command line, or of the file.
fn tls(flags: Option<(PathBuf, PathBuf)>, file: Option<&TlsFiles>) -> Result<Option<Tls>, Failure> {
    let file = || file.map(|it| (it.certificate.clone(), it.key.clone()));
    let files = flags.or_else(file);
    let tls = files.map(|(certificate, key)| Tls::open(&certificate, &key));
    tls.transpose()
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Connections are files, and the usual limit is meant for programs that have few.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that may not be, the bounds on connections hold below it.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Without it commands say that the file is in use, and take `--server`.
fn local(data_file: &Path) -> Option<LocalSocket> {
    let bound = LocalSocket::bind(data_file);
    bound
        .inspect_err(|error| {
            say(format_args!(
                "there can be no socket beside {}: {error}; commands find this host with --server",
                data_file.display()
            ));
        })
        .ok()
}

/// What others can read as it passes.
fn warn_of_plain(address: SocketAddr, serving: &ServeOptions) {
    if serving.tls.is_none() && !address.ip().is_loopback() {
        say(format_args!(
            "warning: what is sent to {address}, tokens too, can be read on its way; serve by TLS \
             (--tls-cert, --tls-key), or put a proxy that does in front"
        ));
    }
}

/// A name that is written wrongly grants nothing to anybody.
fn warn_of_unknown(host: &Host, options: &Options) -> Result<(), Error> {
    let bindings = host.bindings()?;
    let is_known = |activity: &&Name| {
        let mut activities = bindings.iter().filter(|(role, ..)| *role == Role::Activity);
        activities.any(|(_, name, _)| name == *activity)
    };
    for activity in options.grants.names().filter(|it| !is_known(it)) {
        say(format_args!(
            "warning: something is granted to the activity `{activity}`, which no module offers so far"
        ));
    }
    Ok(())
}

/// How often to look whether the files of the certificate have changed.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(5);

/// Shows a certificate that was renewed to who connects from then on, for as long as this is polled.
async fn renewing(tls: Option<Tls>) {
    let Some(tls) = tls else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(CERTIFICATE_LOOK).await;
        match tls.read_again() {
            Ok(true) => say(format_args!("the certificate was renewed")),
            Ok(false) => {}
            // Perhaps only one of the two is there so far.
            Err(error) => say(format_args!("{error}; the certificate stays as it was")),
        }
    }
}

async fn listeners(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = TcpListener::bind(address).await.map_err(|source| {
            let what = format!("cannot listen on {address}: {source}");
            Failure::new(Exit::Host, what)
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
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
