//! Activities that make HTTP requests, against real servers on this machine.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use wfhost_core::record::{Command, LogLevel};
use wfhost_core::{Failure, kind};
use wfhost_sandbox::{AttemptEnd, Grants, Limits, Module, Sandbox, StopFlag};

use crate::guests::{NOW, attempted, birth, built, call, json, loaded_in, sandbox, taken};

/// The module `http-get` in a host that allows some names of this machine, loaded once.
fn http_get() -> Module {
    static HTTP_GET: OnceLock<Module> = OnceLock::new();
    let allowed = [
        "127.0.0.1:*",
        "http://localhost:*",
        "0x7f000001:*",
        "x.example:8080",
    ];
    HTTP_GET
        .get_or_init(|| allowing(sandbox(), &allowed))
        .clone()
}

fn allowing(sandbox: Sandbox, allowed: &[&str]) -> Module {
    let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
    loaded_in(
        &sandbox.with_grants(Grants::default().with_allowed_hosts(allowed)),
        &built("http-get"),
    )
}

fn page(url: &str) -> String {
    serde_json::json!({ "url": url }).to_string()
}

fn get(module: &Module, url: &str) -> AttemptEnd {
    attempted(module, call("HttpGet", &page(url)))
}

fn failed(end: &AttemptEnd) -> &Failure {
    end.outcome.as_ref().unwrap_err()
}

fn warnings(end: &AttemptEnd) -> Vec<&str> {
    let warnings = end.log.iter().filter(|line| line.level == LogLevel::Warn);
    warnings.map(|line| line.message.as_str()).collect()
}

/// A server that answers its first request so, and then says what it was asked.
fn server(answer: String) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = head(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        asked
    });
    (port, asked)
}

fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_activity_gets_the_answer_of_a_host_that_is_allowed() {
    let (port, asked) = server(answer("404 Not Found", "no such page"));
    assert!(!http_get().contained());
    let end = get(
        &http_get(),
        &format!("http://127.0.0.1:{port}/page?a=b#part"),
    );
    assert_eq!(
        end.outcome.unwrap(),
        json(r#"{"status":404,"body":"no such page"}"#)
    );
    assert!(end.log[0].message.starts_with("GET http://127.0.0.1:"));
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /page?a=b HTTP/1.1\r\n"), "{asked}");
    for header in [
        format!("host: 127.0.0.1:{port}\r\n"),
        "idempotency-key: run-0-1\r\n".into(),
    ] {
        assert!(asked.contains(&header), "{asked}");
    }
}

#[test]
fn localhost_is_reached_where_it_is_allowed_by_its_name() {
    let (port, _) = server(answer("200 OK", "hello"));
    let end = get(&http_get(), &format!("http://localhost:{port}"));
    assert_eq!(
        end.outcome.unwrap(),
        json(r#"{"status":200,"body":"hello"}"#)
    );
}

#[test]
fn a_redirect_is_the_answer_and_is_not_followed() {
    let moved =
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
    let (port, _) = server(moved.into());
    let end = get(&http_get(), &format!("http://127.0.0.1:{port}"));
    assert_eq!(end.outcome.unwrap(), json(r#"{"status":302,"body":""}"#));
}

#[test]
fn a_host_that_is_not_allowed_is_denied_and_the_log_says_how_to_allow_it() {
    let nowhere = allowing(sandbox(), &[]);
    for (module, url, refused, pattern) in [
        (
            &nowhere,
            "http://127.0.0.1",
            "http://127.0.0.1:80",
            "http://127.0.0.1",
        ),
        (
            &http_get(),
            "https://x.example/",
            "https://x.example:443",
            "https://x.example",
        ),
        (
            &http_get(),
            "http://y.example:81",
            "http://y.example:81",
            "http://y.example:81",
        ),
        (
            &http_get(),
            "https://localhost",
            "https://localhost:443",
            "https://localhost",
        ),
    ] {
        let end = get(module, url);
        let failed = failed(&end);
        assert_eq!(
            (failed.kind.as_str(), failed.retryable),
            ("http-denied", false)
        );
        assert!(failed.message.contains("HttpRequestDenied"), "{failed:?}");
        let warning = format!(
            "HTTP request to {refused} refused: the host is not allowed; \
             start the host with --allow-host {pattern}"
        );
        assert_eq!(warnings(&end), [warning]);
    }
}

#[test]
fn a_name_that_leads_into_the_hosts_own_network_is_refused() {
    // A name by its form, which every resolver takes for 127.0.0.1 without asking anybody.
    let end = get(&http_get(), "http://0x7f000001:8080/");
    assert_eq!(failed(&end).kind, "http-denied");
    assert!(failed(&end).message.contains("DestinationIpProhibited"));
    let [warning] = warnings(&end)[..] else {
        panic!("{end:?}");
    };
    let why = "http://0x7f000001:8080 refused: 0x7f000001 is 127.0.0.1, a loopback address";
    assert!(warning.contains(why), "{warning}");
}

#[test]
fn a_server_that_never_answers_is_left_when_the_attempt_must_end() {
    for time_max in [Duration::from_secs(60), Duration::from_millis(30)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut asks = call("HttpGet", &page(&format!("http://127.0.0.1:{port}")));
        asks.time_max = time_max;
        let stops = time_max > Duration::from_secs(1);
        let stop = if stops {
            asks.stop.clone()
        } else {
            StopFlag::default()
        };
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            head(&mut stream);
            stop.set();
            // The guest hangs up: nothing of the attempt is left.
            stream.read(&mut [0]).unwrap()
        });
        let end = attempted(&http_get(), asks);
        assert_eq!(end.stopped, stops, "{end:?}");
        let kind = if stops {
            kind::CANCELLED
        } else {
            kind::TIMEOUT
        };
        assert_eq!(failed(&end).kind, kind);
        assert_eq!(server.join().unwrap(), 0);
    }
}

#[test]
fn a_body_over_the_limit_breaks_off_and_the_log_says_why() {
    let small = Sandbox::new(Limits {
        http_body_bytes_max: 10,
        ..Limits::default()
    });
    let (port, _) = server(answer("200 OK", "more than ten bytes"));
    let module = allowing(small.unwrap(), &["127.0.0.1:*"]);
    let end = get(&module, &format!("http://127.0.0.1:{port}"));
    assert_eq!(failed(&end).kind, "http");
    let warning = "its HTTP requests and responses have more than 10 bytes together";
    assert_eq!(warnings(&end), [warning]);
}

#[test]
fn a_connection_over_the_limit_is_refused() {
    let none = Sandbox::new(Limits {
        http_connections_max: 0,
        ..Limits::default()
    });
    let end = get(
        &allowing(none.unwrap(), &["127.0.0.1:*"]),
        "http://127.0.0.1:9",
    );
    assert!(
        failed(&end).message.contains("ConnectionLimitReached"),
        "{end:?}"
    );
}

#[test]
fn a_server_that_is_not_there_or_breaks_off_is_a_failure_that_may_be_tried_again() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap().port();
    drop(closed);
    let (broken, _) = server("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart".into());
    for port in [nobody, broken] {
        let end = get(&http_get(), &format!("http://127.0.0.1:{port}"));
        assert_eq!(
            (failed(&end).kind.as_str(), failed(&end).retryable),
            ("http", true)
        );
    }
}

#[test]
fn a_url_that_is_none_is_the_callers_mistake() {
    for url in ["example.com", "ftp://example.com", "http://a b"] {
        let end = get(&http_get(), url);
        let failed = failed(&end);
        assert_eq!(
            (failed.kind.as_str(), failed.retryable),
            ("invalid-url", false)
        );
    }
}

#[test]
fn a_module_with_http_is_let_in_whatever_is_allowed_and_its_workflow_calls_the_activity() {
    let bytes = built("http-get");
    let info = sandbox()
        .prepare(&bytes, "http-get.wasm", NOW)
        .unwrap()
        .info;
    assert!(!info.contained);
    assert!(
        info.imports
            .iter()
            .any(|it| it.starts_with("wasi:http/types@0.2."))
    );

    let birth = birth("HttpCheckWorkflow", &page("https://x.example"));
    let turn = taken(&mut http_get().guest(birth).unwrap(), &[]);
    let [Command::CallActivity { name, options, .. }] = &turn.commands[..] else {
        panic!("{turn:?}");
    };
    assert_eq!(name.as_str(), "HttpGet");
    assert_eq!(options.attempt_timeout, Some(10_000));
    assert!(options.retry.is_some());
}
