//! What one caller can take up of a host.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::client::Server;
use crate::support::Shell;

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(&server.client().address).unwrap()
}

/// What comes until the host closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_connection_that_brings_no_request_is_closed() {
    let server = Server::configured(Shell::new(), "[requests]\nhead_time_max = \"500ms\"", &[]);
    let mut silent = connect(&server);
    let mut half = connect(&server);
    half.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: loc")
        .unwrap();
    let mut idle = connect(&server);
    idle.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(rest(&mut silent), "");
    assert_eq!(rest(&mut half), "");
    let answer = rest(&mut idle);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_body_that_does_not_go_on_or_is_too_large_is_refused() {
    let config = "[requests]\nbody_pause_max = \"500ms\"\nbody_bytes_max = 1000";
    let server = Server::configured(Shell::new(), config, &[]);
    for (path, code) in [
        ("/api/v1/instances", "slow-body"),
        ("/v1.0/state/statestore", "ERR_REQUEST_TIMEOUT"),
    ] {
        let mut slow = connect(&server);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\nconnection: close\r\n\r\n{{"
        );
        slow.write_all(head.as_bytes()).unwrap();
        let answer = rest(&mut slow);
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains(code),
            "{answer}"
        );
    }
    let large = "x".repeat(1001);
    let answer = server
        .client()
        .call("PUT", "/api/v1/state/key", &[], &large);
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (413, Some("too-large"))
    );
    let fits = format!("{:>1000}", 1);
    assert_eq!(
        server
            .client()
            .call("PUT", "/api/v1/state/key", &[], &fits)
            .status,
        204
    );
}

#[test]
fn who_comes_when_all_connections_are_taken_waits_for_one_to_end() {
    let config = "[requests]\nconnections_max = 1\nhead_time_max = \"500ms\"";
    let server = Server::configured(Shell::new(), config, &[]);
    let mut first = connect(&server);
    // It holds the only place from here on.
    let health = b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    first.write_all(health).unwrap();
    let mut told = [0; 12];
    first.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 200");
    assert_eq!(server.get("/api/v1/health").status, 200);
    // Which ended before the second was served.
    first.set_nonblocking(true).unwrap();
    let mut rest = Vec::new();
    first.read_to_end(&mut rest).expect("it has ended");
}
