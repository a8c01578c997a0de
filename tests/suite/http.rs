//! HTTP from an activity, through the allow-list of the command line.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use serde_json::json;

use crate::support::{Shell, module};

/// A server that answers each request so; the address to ask.
fn server(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\npong");
            // Whoever asked may be gone.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn an_activity_reaches_the_hosts_that_the_operator_allows_and_no_others() {
    let shell = Shell::new();
    let (good, bad) = (server("200 OK"), server("503 Out of order"));
    let path = module("http-get");
    let path = path.to_str().unwrap();
    let run = |address: SocketAddr, allowed: SocketAddr| {
        let input = json!({ "url": format!("http://{address}/health") }).to_string();
        let allowed = format!("http://{allowed}");
        let args = ["run", path, "--allow-host", &allowed, "--input", &input];
        shell.run(&[&args[..], &["--skip-time"]].concat())
    };
    let healthy = run(good, good).ok(0);
    assert!(healthy.contains(r#""healthy":true"#), "{healthy}");
    let broken = run(bad, bad).ok(0);
    assert!(broken.contains(r#""status":503"#), "{broken}");
    let refused = run(good, bad);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let remedy = format!("--allow-host http://{good}");
    assert!(refused.err.contains(&remedy), "{}", refused.err);
}
