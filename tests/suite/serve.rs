//! `wfhost serve`: the real binary, called over real connections.

mod api;
mod client;
mod collector;
mod configured;
mod crashes;
mod dapr;
#[cfg(target_os = "linux")]
mod full;
mod limits;
mod observed;
mod openapi;
mod reach;
mod schedules;
mod tls;
mod webhooks;

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::support::Shell;
use client::Server;

/// An order that is in stock.
fn order() -> Value {
    json!({ "Name": "Cars", "TotalCost": 15_000, "Quantity": 1 })
}

#[test]
fn what_cannot_be_served_is_refused_and_leaves_no_file() {
    let shell = Shell::new();
    let exposed = shell.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(exposed.code, Some(2), "{exposed:?}");
    assert!(exposed.err.contains("WFHOST_TOKEN"), "{}", exposed.err);
    let missing = shell.run(&["serve", "missing.wasm", "--listen", "127.0.0.1:0"]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(shell.files().is_empty(), "{:?}", shell.files());
}

#[test]
fn one_host_serves_a_file_and_stops_when_it_is_told() {
    let server = Server::start(&[]);
    let second = server.shell.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, Some(4), "{second:?}");
    assert!(second.err.contains("in use"), "{}", second.err);
    // A request that waits does not keep it.
    let waiting = server.client();
    let start = json!({ "workflow": "Script", "id": "waits", "input": [{ "event": "never" }] });
    assert_eq!(server.post("/api/v1/instances", &start).status, 201);
    let waits = std::thread::spawn(move || waiting.get("/api/v1/instances/waits?wait=100"));
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("everything is on disk"), "{said}");
    // It was told so, or came too late.
    if let Ok(answer) = waits.join() {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
}

/// A client that never sent the rest of its request kept the host: for ever, and then for as long as
/// requests under way may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_go_on_does_not_keep_the_host() {
    for half in [
        "GET /api/v1/heal",
        "POST /api/v1/instances HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n{",
    ] {
        let host = wfhost::Host::in_memory(wfhost::Options::default()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = wfhost::serve::ServeOptions {
            // Nobody waits for that.
            stop_time_max: std::time::Duration::from_secs(3_600),
            ..Default::default()
        };
        let (begun, begins) = tokio::sync::oneshot::channel::<()>();
        let client = std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let whole = "GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n";
            stream.write_all(whole.as_bytes()).unwrap();
            // It is served on this connection.
            let mut told = [0; 12];
            stream.read_exact(&mut told).unwrap();
            assert_eq!(&told, b"HTTP/1.1 200");
            stream.write_all(half.as_bytes()).unwrap();
            begun.send(()).unwrap();
            stream
        });
        let stop = async { begins.await.unwrap() };
        wfhost::serve::serve(host, vec![listener], None, options, stop, async |_| {})
            .await
            .unwrap();
        drop(client.join().unwrap());
    }
}

/// Whoever asked and did not read the answers had a place among the connections for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_answer_makes_room_for_others() {
    let host = wfhost::Host::in_memory(wfhost::Options::default()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = wfhost::serve::ServeOptions {
        connections_max: 1,
        answer_pause_max: std::time::Duration::from_millis(50),
        ..Default::default()
    };
    let served = tokio::task::spawn_blocking(move || {
        let ask = |path: &str| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            stream
        };
        let mut greedy = ask("/api/v1/openapi.json");
        let more = "GET /api/v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
        // More than the system takes for both sides.
        greedy.write_all(more.as_bytes()).unwrap();
        let mut told = [0; 12];
        ask("/api/v1/health").read_exact(&mut told).unwrap();
        assert_eq!(&told, b"HTTP/1.1 200");
        drop(greedy);
    });
    let stop = async { served.await.unwrap() };
    wfhost::serve::serve(host, vec![listener], None, options, stop, async |_| {})
        .await
        .unwrap();
}

#[test]
fn with_a_token_nobody_is_served_who_does_not_show_it() {
    let server = Server::start(&["--token", "secret-of-16-letters"]);
    let list = "/api/v1/instances";
    assert_eq!(server.get("/api/v1/health").status, 200);
    let refused = server.get(list);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    for (header, status) in [
        ("authorization: Bearer secret-of-16-letters", 200),
        ("dapr-api-token: secret-of-16-letters", 200),
        ("authorization: Bearer other", 401),
    ] {
        let answer = server.client().call("GET", list, &[header], "");
        assert_eq!(answer.status, status, "{header}");
    }
}

#[test]
fn a_web_page_of_another_site_is_not_served() {
    let server = Server::start(&[]);
    for (header, status) in [
        ("origin: https://evil.example", 403),
        ("origin: http://localhost:8080", 200),
    ] {
        let answer = server
            .client()
            .call("GET", "/api/v1/instances", &[header], "");
        assert_eq!(answer.status, status, "{header}");
    }
}

#[test]
fn a_file_that_is_watched_is_swapped_when_it_changes() {
    let shell = Shell::new();
    let bytes = |package: &str| std::fs::read(crate::support::module(package)).unwrap();
    std::fs::create_dir(shell.dir.path().join("modules")).unwrap();
    shell.write("modules/a.wasm", bytes("swap"));
    let mut server = Server::serve(shell, vec!["--watch".into(), "modules".into()]);
    let start = json!({ "workflow": "Swap", "id": "a", "input": { "rounds": 1 } });
    assert_eq!(server.post("/api/v1/instances", &start).status, 201);
    let module = |server: &Server| server.get("/api/v1/instances/a").json()["module"].clone();
    let before = module(&server);
    server.hear("watching");
    server.shell.write("modules/a.wasm", "no module");
    server.hear("what was deployed stays");
    server.shell.write("modules/a.wasm", bytes("swap-changed"));
    server.hear("swapped");
    // The instance has gone along.
    server.hear("1 history");
    assert_ne!(module(&server), before);
}

#[test]
fn what_was_left_unfinished_goes_on_when_it_is_served_again() {
    let server = Server::start(&[]);
    let start = json!({ "workflow": "Script", "id": "a", "input": [
        { "sleep": 1 },
        { "event": "go" },
        { "call": { "name": "Echo", "input": "done" } },
    ] });
    assert_eq!(server.post("/api/v1/instances", &start).status, 201);
    let server = server.again();
    assert_eq!(
        server
            .post("/api/v1/instances/a/events/go", &json!(7))
            .status,
        202
    );
    let shown = server.get("/api/v1/instances/a?wait=60").json();
    assert_eq!(shown["output"], json!(["slept", 7, "done"]), "{shown}");
}
