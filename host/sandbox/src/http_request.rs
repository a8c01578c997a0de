//! One HTTP request that is allowed: the address is looked up, checked, and that very address
//! connected to.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};
use wfhost_core::record::LogLevel;

use crate::guest_log::SharedLog;
use crate::http_body::{Budget, Counted};
use crate::http_target::{Reach, Scheme, Target};

/// The longest of each wait that the guest sets no limit to; the attempt's own is there as well.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// How requests are encrypted: with the roots that browsers trust.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
});

/// What carries on the connection of a response until its body was read.
type Carrier = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// A response whose body may still come, and its carrier.
pub(crate) type Answer = (http::Response<WasiBody>, Carrier);

type Connection = http1::Connection<TokioIo<Box<dyn Stream>>, Counted<WasiBody>>;

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way of one request.
pub(crate) struct Way {
    pub(crate) target: Target,
    pub(crate) reach: Reach,
    pub(crate) options: RequestOptions,
    pub(crate) budget: Budget,
    pub(crate) log: SharedLog,
    /// Held as long as the connection.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Way {
    /// Sends a request, and comes back with the head of its response.
    pub(crate) async fn send(self, request: http::Request<WasiBody>) -> Result<Answer, Error> {
        let connect_max = self.options.connect_timeout.unwrap_or(WAIT_MAX);
        let connected = timeout(connect_max, self.connect()).await;
        let stream = connected.map_err(|_| Error::ConnectionTimeout)??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;

        let budget = self.budget.clone();
        let request = request.map(|body| Counted::sent(body, budget));
        let sent = sender.send_request(of_path(request)?);
        let first_byte_max = self.options.first_byte_timeout.unwrap_or(WAIT_MAX);
        let head = async {
            let answered = timeout(first_byte_max, sent).await;
            Ok(answered.map_err(|_| Error::ConnectionReadTimeout)??)
        };
        let (response, carrier) = carried(head, connection, self.permit).await?;
        let between_max = self.options.between_bytes_timeout.unwrap_or(WAIT_MAX);
        let response = response
            .map(|body| Counted::received(body, self.budget.clone(), between_max).boxed_unsync());
        Ok((response, carrier))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let stream = self.connect_to(&self.addresses().await?).await?;
        if self.target.scheme == Scheme::Http {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(self.target.host.clone());
        let name = name.map_err(|_| Error::HttpRequestUriInvalid)?;
        let tls = TlsConnector::from(Arc::clone(&TLS));
        let stream = tls.connect(name, stream).await.map_err(|error| {
            self.warn(&format!("failed: {error}"));
            Error::Tls(error)
        })?;
        Ok(Box::new(stream))
    }

    /// Connects to the first address that answers.
    async fn connect_to(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
        let mut failed = Error::DestinationNotFound;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Error::Connect(error),
            }
        }
        Err(failed)
    }

    /// The addresses of the host that the request may go to: at least one.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let Target { host, port, .. } = &self.target;
        let found: Vec<IpAddr> = match self.target.address() {
            Some(address) => vec![address],
            None => {
                let found = tokio::net::lookup_host((host.as_str(), *port)).await;
                let found = found.map_err(|error| {
                    self.warn(&format!("failed: {error}"));
                    Error::DnsError {
                        rcode: Some("address not available".into()),
                        info_code: None,
                    }
                })?;
                found.map(|address| address.ip()).collect()
            }
        };
        let (mut fine, mut refused) = (Vec::new(), None);
        for address in found {
            match self.reach.check(address) {
                Ok(()) => fine.push(SocketAddr::new(address, *port)),
                Err(what) => refused = Some((address, what)),
            }
        }
        if let (true, Some((address, what))) = (fine.is_empty(), refused) {
            self.warn(&format!(
                "refused: {host} is {address}, {what}, which a name must not lead to; \
                 ask for the address itself, and allow that with --allow-host"
            ));
            return Err(Error::DestinationIpProhibited);
        }
        Ok(fine)
    }

    fn warn(&self, what: &str) {
        let message = format!("HTTP request to {} {what}", self.target);
        self.log.with(|log| log.write(LogLevel::Warn, message));
    }
}

/// The request as it is written to the host itself: its URI is the path alone.
fn of_path<B>(mut request: http::Request<B>) -> Result<http::Request<B>, Error> {
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

/// Waits for the head of the response while the connection is carried on, and hands out what
/// carries it on from there.
async fn carried(
    head: impl Future<Output = Result<http::Response<Incoming>, Error>>,
    mut connection: Connection,
    permit: OwnedSemaphorePermit,
) -> Result<(http::Response<Incoming>, Carrier), Error> {
    let mut head = pin!(head);
    let mut ended = false;
    let response = poll_fn(|cx| {
        if let Poll::Ready(response) = head.as_mut().poll(cx) {
            return Poll::Ready(response);
        }
        if ended {
            return Poll::Pending;
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::Hyper(error))),
            Poll::Ready(Ok(())) => {
                ended = true;
                head.as_mut().poll(cx)
            }
        }
    });
    let response = response.await?;
    let carrier = async move {
        let _held = permit;
        if ended {
            return Ok(());
        }
        Ok(connection.await?)
    };
    Ok((response, Box::new(carrier)))
}
