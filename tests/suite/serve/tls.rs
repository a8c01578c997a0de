//! A host that is served by TLS.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::client::Server;
use crate::support::Shell;

/// Writes a new certificate for this machine and its key.
fn renew(shell: &Shell) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    shell.write("cert.pem", made.cert.pem());
    shell.write("key.pem", made.signing_key.serialize_pem());
    made.cert.der().clone()
}

fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(
        client,
        TcpStream::connect(&server.client().address).unwrap(),
    )
}

/// The begin of the answer, or why there is none.
fn health(stream: &mut StreamOwned<ClientConnection, TcpStream>) -> std::io::Result<String> {
    stream.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut told = [0; 12];
    stream.read_exact(&mut told)?;
    Ok(String::from_utf8(told.to_vec()).unwrap())
}

#[test]
fn a_host_is_served_by_tls_and_shows_a_certificate_that_was_renewed() {
    let shell = Shell::new();
    let first = renew(&shell);
    let config = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"";
    let mut server = Server::configured(shell, config, &[]);
    let mut kept = connect(&server, &first);
    assert_eq!(health(&mut kept).unwrap(), "HTTP/1.1 200");
    let second = renew(&server.shell);
    server.hear("the certificate was renewed");
    assert_eq!(
        health(&mut connect(&server, &second)).unwrap(),
        "HTTP/1.1 200"
    );
    assert!(health(&mut connect(&server, &first)).is_err());
    // The rest of the first answer, and another on the same connection.
    let mut rest = [0; 4096];
    assert!(kept.read(&mut rest).unwrap() > 0);
    assert!(health(&mut kept).is_ok(), "the connection was dropped");
    // A plain client is not served.
    assert!(
        server
            .client()
            .try_call("GET", "/api/v1/health", &[], "")
            .is_none()
    );
}

#[test]
fn a_certificate_and_a_key_that_are_no_pair_are_refused_with_why() {
    let shell = Shell::new();
    renew(&shell);
    shell.write(
        "other.pem",
        rcgen::KeyPair::generate().unwrap().serialize_pem(),
    );
    for (certificate, key, why) in [
        (
            "cert.pem",
            "other.pem",
            "the certificate cert.pem and the key other.pem cannot be used together",
        ),
        ("key.pem", "key.pem", "key.pem holds no certificate"),
        (
            "cert.pem",
            "cert.pem",
            "cannot read the private key from cert.pem",
        ),
        (
            "cert.pem",
            "none.pem",
            "cannot read the private key from none.pem",
        ),
    ] {
        let ran = shell.run(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            certificate,
            "--tls-key",
            key,
        ]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(why), "{}\nwithout {why}", ran.err);
    }
    assert_eq!(shell.files(), ["cert.pem", "key.pem", "other.pem"]);
}
