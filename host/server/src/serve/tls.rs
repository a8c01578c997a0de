//! TLS: a certificate and its key from files, which may be replaced while the host runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

/// What a host shows to clients that connect by TLS. Copies share what was read last.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
}

/// Where a certificate and its key are.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
}

/// Why there is no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("cannot read {what} from {}: {source}", .path.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: PemError,
    },
    /// There is no certificate in the file.
    #[error("{} holds no certificate in PEM form", .path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// The two are no pair, or are of no use.
    #[error(
        "the certificate {} and the key {} cannot be used together: {source}",
        .certificate.display(), .key.display()
    )]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.files.certificate)
            .field("key", &self.files.key)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads a certificate, with those that lead to its root, and its private key, both as PEM.
    ///
    /// # Errors
    /// If a file cannot be read or holds something else, or the two are no pair.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider: Arc::new(ring::default_provider()),
        };
        // In this order: what is written meanwhile is read again.
        let written = files.written();
        let (pair, provider) = (Arc::new(files.read()?), Arc::clone(&files.provider));
        let shown = Arc::new(Shown(RwLock::new(Read { pair, written })));
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|source| files.unusable(source))?;
        let resolver = Arc::clone(&shown) as Arc<dyn ResolvesServerCert>;
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            files: Arc::new(files),
            shown,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// Reads the files again if one was written since they were read. Connections that there are go
    /// on as they are; new ones see what was read. Says whether the certificate is another one.
    ///
    /// # Errors
    /// As [`Tls::open`]; then what was read before stays, until a file is written again.
    pub fn read_again(&self) -> Result<bool, TlsError> {
        let written = self.files.written();
        if std::mem::replace(&mut self.shown.change().written, written) == written {
            return Ok(false);
        }
        let found = Arc::new(self.files.read()?);
        let mut shown = self.shown.change();
        let other = shown.pair.cert != found.cert;
        shown.pair = found;
        Ok(other)
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// When the files were last written, the certificate and the key.
type Written = [Option<SystemTime>; 2];

impl Files {
    fn written(&self) -> Written {
        [&self.certificate, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|it| it.modified()).ok())
    }

    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let unreadable = |what, path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Unreadable { what, path, source }
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate);
        let chain = chain.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(unreadable("the certificate", &self.certificate))?;
        if chain.is_empty() {
            let path = self.certificate.clone();
            return Err(TlsError::NoCertificate { path });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(unreadable("the private key", &self.key))?;
        let pair = CertifiedKey::from_der(chain, key, &self.provider);
        pair.map_err(|source| self.unusable(source))
    }

    fn unusable(&self, source: rustls::Error) -> TlsError {
        TlsError::Unusable {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        }
    }
}

/// What is shown now.
#[derive(Debug)]
struct Shown(RwLock<Read>);

/// What was read last, and how the files were then.
#[derive(Debug)]
struct Read {
    pair: Arc<CertifiedKey>,
    written: Written,
}

impl Shown {
    fn change(&self) -> RwLockWriteGuard<'_, Read> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown.pair))
    }
}
