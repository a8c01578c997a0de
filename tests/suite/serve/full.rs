//! A disk that is full: nothing is acknowledged that is not on it, and once there is room again the
//! host goes on.

use std::collections::BTreeSet;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use super::client::Server;

/// How large the files of the host may become; `None` is no limit.
fn limit_files(server: &Server, bytes_max: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
    let limit = Rlimit {
        current: bytes_max,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn a_full_disk_is_told_takes_nothing_that_was_acknowledged_and_does_not_end_the_host() {
    let server = Server::start(&["--db", "a.redb"]);
    let file = server.shell.dir.path().join("a.redb");
    limit_files(&server, Some(file.metadata().unwrap().len()));
    let mut acknowledged = BTreeSet::new();
    let full = loop {
        let id = format!("i{}", acknowledged.len());
        // No two are the same, which would be kept once.
        let large = format!("{id}{}", "x".repeat(200_000));
        let input = json!([{ "call": { "name": "Echo", "input": large } }]);
        let start = json!({ "workflow": "Script", "id": id, "input": input });
        let answer = server.post("/api/v1/instances", &start);
        if answer.status != 201 {
            break answer;
        }
        acknowledged.insert(id);
        assert!(acknowledged.len() < 10_000, "the limit does not hold");
    };
    assert_eq!(full.status, 507, "{full:?}");
    assert_eq!(full.json()["code"], "disk-full");
    assert_eq!(full.header("retry-after"), Some("1"));
    // Somebody makes room.
    limit_files(&server, None);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while server.get("/api/v1/health").status != 200 {
        assert!(std::time::Instant::now() < until, "it does not go on");
        std::thread::yield_now();
    }
    for id in &acknowledged {
        let shown = server
            .get(&format!("/api/v1/instances/{id}?wait=60"))
            .json();
        assert_eq!(shown["status"], "completed", "{id}");
    }
    let start = json!({ "workflow": "Script", "id": "after", "input": [] });
    assert_eq!(server.post("/api/v1/instances", &start).status, 201);
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn daprs_clients_are_told_of_a_full_disk_in_their_own_words() {
    let server = Server::start(&["--db", "a.redb"]);
    let file = server.shell.dir.path().join("a.redb");
    limit_files(&server, Some(file.metadata().unwrap().len()));
    let full = (0..10_000).find_map(|number| {
        let item = json!([{ "key": format!("k{number}"), "value": format!("{number}{}", "x".repeat(200_000)) }]);
        let answer = server.post("/v1.0/state/statestore", &item);
        (answer.status != 204).then_some(answer)
    });
    let full = full.expect("the limit holds");
    assert_eq!(full.status, 507, "{full:?}");
    assert_eq!(full.json()["errorCode"], "ERR_DISK_FULL");
}
