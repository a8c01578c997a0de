//! What was acknowledged over HTTP survives the end of the host, however it ends.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::client::{Client, Server};

/// So many callers at once.
const CALLERS: usize = 64;

/// Starts instances from many callers until the host is gone or there are `all`; `at` tells how
/// many were acknowledged each time. Returns the ids that were.
fn start_many(client: &Client, all: usize, at: impl Fn(usize) + Sync) -> BTreeSet<String> {
    let (next, acknowledged) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let gone = AtomicBool::new(false);
    let caller = || {
        while !gone.load(Ordering::SeqCst) {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= all {
                return;
            }
            let id = format!("i{number}");
            let input =
                json!([{ "add": format!("n/{id}") }, { "call": { "name": "Echo", "input": 1 } }]);
            let start = json!({ "workflow": "Script", "id": id, "input": input }).to_string();
            match client.try_call("POST", "/api/v1/instances", &[], &start) {
                Some(answer) if answer.status == 201 => {
                    let mut acknowledged = acknowledged.lock().unwrap();
                    acknowledged.insert(id);
                    at(acknowledged.len());
                }
                _ => gone.store(true, Ordering::SeqCst),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(caller);
        }
    });
    acknowledged.into_inner().unwrap()
}

/// All that were acknowledged complete, and what they did is there once.
fn check(server: &Server, acknowledged: &BTreeSet<String>) {
    for id in acknowledged {
        let shown = server
            .get(&format!("/api/v1/instances/{id}?wait=60"))
            .json();
        assert_eq!(shown["status"], "completed", "{shown}");
    }
    let mut after = String::new();
    let mut counted = BTreeSet::new();
    loop {
        let page = server
            .get(&format!("/api/v1/state?prefix=n/&limit=1000&after={after}"))
            .json();
        for entry in page["entries"].as_array().unwrap() {
            assert_eq!(entry["value"], 1, "{entry}");
            counted.insert(entry["key"].as_str().unwrap()[2..].to_owned());
        }
        match &page["next"] {
            Value::String(next) => after.clone_from(next),
            _ => break,
        }
    }
    assert!(counted.is_superset(acknowledged));
}

#[test]
fn a_start_that_was_acknowledged_survives_kill_and_happens_once() {
    let server = Server::start(&[]);
    let client = server.client();
    let server = Mutex::new(Some(server));
    let again = Mutex::new(None);
    let acknowledged = start_many(&client, 10_000, |count| {
        if count == 2_000 {
            let server = server.lock().unwrap().take();
            *again.lock().unwrap() = server.map(Server::again);
        }
    });
    assert!(acknowledged.len() >= 2_000);
    let server = again.into_inner().unwrap().expect("it was killed");
    check(&server, &acknowledged);
}

#[test]
fn a_host_that_is_told_to_stop_under_load_loses_nothing() {
    let server = Server::start(&[]);
    let acknowledged = start_many(&server.client(), 10_000, |count| {
        if count == 1_000 {
            server.terminate();
        }
    });
    assert!(acknowledged.len() >= 1_000);
    let server = server.served_again();
    check(&server, &acknowledged);
}
