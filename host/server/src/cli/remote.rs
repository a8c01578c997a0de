//! A command that the running host of a data file carries out: found over the socket beside the
//! file, or at an address.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming as Body};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::call::Call;
use super::terminal::{Output, Said, is_gone};
use super::wait::Signals;
use super::wire::{Incoming, PATH, VERSION, VERSION_HEADER};
use super::{Db, Exit, Failure, print, say};
use crate::error::chain;
use crate::serve::{Scope, local};

/// What a connection has to be.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// How long a host may take to be reached.
const REACH_MAX: Duration = Duration::from_secs(10);

/// A running host, reached.
pub(super) struct Remote {
    connection: Box<dyn Connection>,
    /// For people.
    name: String,
    authority: String,
    token: Option<String>,
}

/// The host that a command on this data file goes to, if one runs.
///
/// # Errors
/// If one was named and cannot be reached, or the socket of one is another user's.
pub(super) async fn find(db: &Db) -> Result<Option<Remote>, Failure> {
    // An empty variable of the environment is one that is not set.
    if let Some(server) = db.server.as_ref().filter(|it| !it.is_empty()) {
        return at(server).await.map(Some);
    }
    let connection = local::connect(&db.path).await.map_err(|error| {
        let path = local::path(&db.path);
        let why = format!(
            "a host serves {}, and its socket {} cannot be used: {error}; whoever may write the data \
             file may use it",
            db.path.display(),
            path.display()
        );
        Failure::new(Exit::Host, why)
    })?;
    Ok(connection.map(|connection| Remote {
        connection: Box::new(connection),
        name: format!("the host that serves {}", db.path.display()),
        authority: "localhost".into(),
        token: None,
    }))
}

async fn at(server: &str) -> Result<Remote, Failure> {
    let bad = |why: &str| {
        Failure::usage(format!(
            "--server {server}: {why}; it takes a URL such as http://127.0.0.1:3500"
        ))
    };
    let uri = server.parse::<Uri>();
    let uri = uri.map_err(|error| bad(&error.to_string()))?;
    let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(bad("it begins with neither http:// nor https://")),
    };
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(bad("nothing comes after the host"));
    }
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let host = authority.host().trim_matches(['[', ']']);
    let unreachable = |why: String| {
        let why =
            format!("cannot reach the host at {server}: {why}; does `wfhost serve` run there?");
        Failure::new(Exit::Host, why)
    };
    let late = |_| unreachable(format!("it does not answer within {REACH_MAX:?}"));
    let stream = timeout(REACH_MAX, TcpStream::connect((host, port))).await;
    let stream = stream.map_err(late)?;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    // Commands are small, and somebody waits.
    let _ = stream.set_nodelay(true);
    let connection: Box<dyn Connection> = if tls {
        let secured = timeout(REACH_MAX, secured(stream, host)).await;
        Box::new(secured.map_err(late)?.map_err(unreachable)?)
    } else {
        Box::new(stream)
    };
    Ok(Remote {
        connection,
        name: format!("the host at {server}"),
        authority: authority.to_string(),
        token: std::env::var("WFHOST_TOKEN").ok(),
    })
}

/// Checks the certificate against those that this machine trusts; `SSL_CERT_FILE` names others.
async fn secured(
    stream: TcpStream,
    host: &str,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let mut trusted = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let named = std::env::var_os("SSL_CERT_FILE");
    if let (Some(named), Some(error)) = (named, found.errors.first()) {
        let named = named.to_string_lossy().into_owned();
        return Err(format!("SSL_CERT_FILE {named}: {error}"));
    }
    trusted.add_parsable_certificates(found.certs);
    if trusted.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}"));
        let why = why.unwrap_or_default();
        return Err(format!("this machine trusts no certificates{why}"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let secured = connector.connect(name, stream).await;
    secured.map_err(|error| {
        let why = chain(&error);
        format!(
            "no connection by TLS: {why}; SSL_CERT_FILE names the certificates that are trusted, and a \
             host that serves without TLS is at http://"
        )
    })
}

impl Remote {
    /// Has the host carry out a command, and says here what it says there.
    pub(super) async fn carry_out(self, call: &Call) -> Result<Exit, Failure> {
        call.command.check_served()?;
        let mut signals = Signals::listen();
        let name = self.name.clone();
        let mut told = Told {
            output: call.command.output().map(Output::here).transpose()?,
            exit: None,
            drives: call.command.drives(),
        };
        let carried_out = async {
            let response = self.send(call).await?;
            told.all(response).await
        };
        let ended = tokio::select! {
            ended = carried_out => ended,
            () = signals.recv() => {
                if call.command.drives() {
                    say(format_args!("interrupted; the instance goes on in {name}"));
                }
                return Ok(Exit::Interrupted);
            }
        };
        ended.map_err(|failure| match failure {
            Cut::Failed(failure) => failure,
            Cut::Off(why) => {
                let done = match call.command.scope() {
                    Scope::Read => "",
                    Scope::Operate | Scope::Deploy => "; it may have done what it was asked",
                };
                Failure::new(Exit::Host, format!("{name} was cut off: {why}{done}"))
            }
        })?;
        let exit = told.exit.unwrap_or(Exit::Host);
        if let Some(output) = told.output
            && exit == Exit::Ok
        {
            output.finish()?;
        }
        Ok(exit)
    }

    async fn send(self, call: &Call) -> Result<Response<Body>, Cut> {
        let encoded = call.encode().map_err(cut)?;
        let mut request = Request::post(PATH)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(VERSION_HEADER, VERSION);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(encoded)));
        let request = request.map_err(cut)?;
        let handshake = http1::handshake(TokioIo::new(self.connection)).await;
        let (mut sender, connection) = handshake.map_err(cut)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| match error.is_parse() {
            true => Cut::Failed(Failure::new(
                Exit::Host,
                format!(
                    "{} speaks no HTTP; if it serves by TLS, say https://",
                    self.name
                ),
            )),
            false => cut(error),
        })?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(Cut::Failed(refused(&self.name, response).await))
    }
}

/// Why it does not go on.
enum Cut {
    Failed(Failure),
    Off(String),
}

fn cut(error: impl std::error::Error + 'static) -> Cut {
    Cut::Off(chain(&error))
}

/// What the host says instead of carrying a command out.
async fn refused(name: &str, response: Response<Body>) -> Failure {
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let problem = serde_json::from_slice::<serde_json::Value>(&body);
    let detail = problem
        .ok()
        .and_then(|it| it["detail"].as_str().map(str::to_owned));
    let exit = match status.is_server_error() {
        true => Exit::Host,
        false => Exit::Usage,
    };
    let why = detail.unwrap_or_else(|| format!("it answers {status}, as no wfhost does"));
    let help = match status {
        StatusCode::UNAUTHORIZED => "; WFHOST_TOKEN holds the token that is sent",
        _ => "",
    };
    Failure::new(exit, format!("{name}: {why}{help}"))
}

/// What a command has said so far.
struct Told {
    output: Option<Output>,
    exit: Option<Exit>,
    /// It waits for an instance, whoever reads that.
    drives: bool,
}

impl Told {
    async fn all(&mut self, response: Response<Body>) -> Result<(), Cut> {
        let mut body = response.into_body();
        let mut incoming = Incoming::default();
        while let Some(frame) = body.frame().await {
            if let Some(bytes) = frame.map_err(cut)?.data_ref() {
                incoming.add(bytes);
            }
            while let Some(said) = incoming.next().map_err(cut)? {
                self.one(said).map_err(Cut::Failed)?;
            }
            // As when it had printed that itself; an instance goes on all the same.
            if is_gone() && !self.drives {
                self.exit = Some(Exit::Ok);
                return Ok(());
            }
        }
        match self.exit {
            Some(_) => Ok(()),
            None => Err(Cut::Off("it did not say how the command ended".into())),
        }
    }

    fn one(&mut self, said: Said) -> Result<(), Failure> {
        match said {
            Said::Out(line) => print(&line)?,
            Said::Err(line) => say(format_args!("{line}")),
            Said::Part(part) => {
                if let Some(output) = &mut self.output {
                    let written = output.write_all(&part);
                    written.map_err(|error| {
                        Failure::new(Exit::Host, format!("cannot write the file: {error}"))
                    })?;
                }
            }
            Said::Exit(exit) => self.exit = Some(exit),
        }
        Ok(())
    }
}
