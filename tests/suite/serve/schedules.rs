//! Schedules over HTTP and as commands, and a host that is killed while they fire.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Server;
use crate::support::{Shell, module};

const TICK: &str = "/api/v1/schedules/tick";

fn call(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = server.client().call(method, path, &[], &body);
    let json = if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()
    };
    (answer.status, json)
}

/// One that will not fire for long.
fn yearly() -> Value {
    json!({
        "cron": "0 12 1 1 *", "time_zone": "Europe/Berlin", "workflow": "Script",
        "input": [{ "add": "n" }], "tags": { "team": "cars" }, "overlap": "queue-one",
        "catch_up": "2h", "catch_up_max": 3, "until": "2999-01-01T00:00:00Z",
    })
}

#[test]
fn a_schedule_is_set_shown_told_and_deleted() {
    let server = Server::start(&[]);
    let (status, set) = call(&server, "PUT", TICK, &yearly());
    assert_eq!(status, 201, "{set}");
    for (field, value) in yearly().as_object().unwrap() {
        let value = match field.as_str() {
            "until" => &json!("2999-01-01T00:00:00.000Z"),
            _ => value,
        };
        assert_eq!(&set[field], value, "{field}");
    }
    assert!(
        set["next"]
            .as_str()
            .unwrap()
            .ends_with("-01-01T11:00:00.000Z"),
        "{set}"
    );
    assert_eq!(call(&server, "PUT", TICK, &yearly()), (200, set.clone()));
    assert_eq!(call(&server, "GET", TICK, &Value::Null), (200, set.clone()));
    let other = json!({ "cron": "@daily", "workflow": "Script", "input": [] });
    assert_eq!(
        call(&server, "PUT", "/api/v1/schedules/other", &other).0,
        201
    );
    let list = |query: &str| server.get(&format!("/api/v1/schedules{query}")).json();
    let names = |list: &Value| {
        let rows = list["schedules"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&list("")), ["other", "tick"]);
    let page = list("?limit=1");
    assert_eq!(
        (names(&page), &page["next"]),
        (vec!["other".into()], &json!("other"))
    );
    assert_eq!(names(&list("?after=other")), ["tick"]);
    let next = server.get(&format!("{TICK}/next?limit=3")).json();
    assert_eq!(next["times"].as_array().unwrap().len(), 3, "{next}");
    assert_eq!(next["times"][0], set["next"]);

    let (status, paused) = call(
        &server,
        "POST",
        &format!("{TICK}/pause"),
        &json!({ "note": "lunch" }),
    );
    assert_eq!((status, &paused["paused"]["note"]), (200, &json!("lunch")));
    assert_eq!(paused["next"], Value::Null);
    let (status, triggered) = call(&server, "POST", &format!("{TICK}/trigger"), &Value::Null);
    assert_eq!(status, 201, "{triggered}");
    let id = triggered["id"].as_str().unwrap();
    let ended = server
        .get(&format!("/api/v1/instances/{id}?wait=60"))
        .json();
    assert_eq!(
        (&ended["status"], &ended["tags"]["schedule"]),
        (&json!("completed"), &json!("tick"))
    );
    let (_, resumed) = call(&server, "POST", &format!("{TICK}/resume"), &Value::Null);
    assert_eq!(resumed["firings"][0]["outcome"], "triggered", "{resumed}");
    assert_eq!(resumed["next"], set["next"]);
    assert_eq!(
        call(&server, "DELETE", TICK, &Value::Null),
        (204, Value::Null)
    );
}

#[test]
fn what_is_wrong_with_a_schedule_is_told_with_a_code() {
    let server = Server::start(&[]);
    let with = |field: &str, value: Value| {
        let mut body = yearly();
        body[field] = value;
        body
    };
    for (method, path, body, status, code) in [
        (
            "PUT",
            TICK,
            with("cron", json!("0 12 * *")),
            422,
            "invalid-schedule",
        ),
        (
            "PUT",
            TICK,
            with("cron", json!("0 0 30 2 *")),
            422,
            "invalid-schedule",
        ),
        (
            "PUT",
            TICK,
            with("time_zone", json!("Mars")),
            422,
            "invalid-schedule",
        ),
        (
            "PUT",
            TICK,
            with("catch_up_max", json!(0)),
            422,
            "invalid-schedule",
        ),
        (
            "PUT",
            TICK,
            with("tags", json!({ "schedule": "a" })),
            422,
            "invalid-schedule",
        ),
        (
            "PUT",
            TICK,
            with("until", json!("2001-01-01T00:00:00Z")),
            422,
            "invalid-schedule",
        ),
        (
            "PUT",
            TICK,
            with("until", json!("soon")),
            400,
            "bad-parameter",
        ),
        (
            "PUT",
            TICK,
            with("catch_up", json!("long")),
            400,
            "bad-parameter",
        ),
        (
            "PUT",
            TICK,
            with("overlap", json!("never")),
            400,
            "bad-body",
        ),
        ("PUT", TICK, with("colour", json!("red")), 400, "bad-body"),
        (
            "PUT",
            TICK,
            with("workflow", json!("Nobody")),
            404,
            "no-such-workflow",
        ),
        ("PUT", TICK, with("input", json!(7)), 422, "invalid-input"),
        (
            "PUT",
            "/api/v1/schedules/a%20b",
            yearly(),
            400,
            "bad-parameter",
        ),
        ("GET", TICK, Value::Null, 404, "no-such-schedule"),
        ("DELETE", TICK, Value::Null, 404, "no-such-schedule"),
        (
            "POST",
            "/api/v1/schedules/tick/trigger",
            Value::Null,
            404,
            "no-such-schedule",
        ),
        (
            "GET",
            "/api/v1/schedules/tick/next?limit=0",
            Value::Null,
            400,
            "bad-parameter",
        ),
    ] {
        let (found, problem) = call(&server, method, path, &body);
        assert_eq!(
            (found, &problem["code"]),
            (status, &json!(code)),
            "{method} {path} {body}"
        );
    }
}

/// Asks until it is so.
fn until<T>(ask: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::yield_now();
    }
}

/// The instances that a schedule's firings started.
fn started(server: &Server) -> BTreeSet<String> {
    let shown = server.get(TICK).json();
    let firings = shown["firings"].as_array().unwrap().iter();
    let started = firings.filter(|it| it["outcome"] == "started");
    started
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_host_that_is_killed_while_a_schedule_fires_starts_each_instance_once() {
    let mut server = Server::start(&[]);
    let tick = json!({
        "cron": "* * * * * *", "workflow": "Script", "overlap": "allow",
        "input": [{ "add": "n" }],
    });
    assert_eq!(call(&server, "PUT", TICK, &tick).0, 201);
    for lives in 1..4 {
        // Killed as soon as it is seen: what is seen was written, or is about to be.
        until(|| (started(&server).len() >= lives).then_some(()));
        server = server.again();
    }
    let (status, _) = call(&server, "POST", &format!("{TICK}/pause"), &Value::Null);
    assert_eq!(status, 200);
    let list = server
        .get("/api/v1/instances?tag=schedule=tick&limit=1000")
        .json();
    let rows = list["instances"].as_array().unwrap().iter();
    let ids: BTreeSet<_> = rows
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect();
    for id in &ids {
        let ended = server
            .get(&format!("/api/v1/instances/{id}?wait=60"))
            .json();
        assert_eq!(ended["status"], "completed", "{ended}");
    }
    assert_eq!(started(&server), ids, "each is known to the schedule");
    assert_eq!(server.get("/api/v1/state/n").json(), json!(ids.len()));
}

#[test]
fn schedules_are_managed_by_commands_on_the_file() {
    let shell = Shell::new();
    let wasm = module("scripted");
    let deployed = shell.run(&["deploy", wasm.to_str().unwrap()]);
    assert_eq!(deployed.code, Some(0), "{deployed:?}");
    let set = |more: &[&str]| {
        let set = [
            "schedules",
            "set",
            "nightly",
            "--cron",
            "30 2 * * *",
            "--time-zone",
            "Europe/Berlin",
        ];
        let set = set
            .iter()
            .chain(&["--workflow", "Script", "--input", "[]"])
            .chain(more);
        shell.run(&set.copied().collect::<Vec<_>>())
    };
    let preview = set(&["--dry-run"]).ok(0);
    assert_eq!(preview.lines().count(), 5, "{preview}");
    assert_eq!(shell.run(&["schedules"]).ok(0), "");
    let line = set(&["--overlap", "queue-one"]).ok(0);
    assert!(
        line.contains("'30 2 * * *' in Europe/Berlin  Script  next"),
        "{line}"
    );
    assert_eq!(shell.run(&["schedules"]).ok(0), line);
    let paused = shell
        .run(&["schedules", "pause", "nightly", "--note", "lunch"])
        .ok(0);
    assert!(paused.trim_end().ends_with("paused"), "{paused}");
    let id = shell.run(&["schedules", "trigger", "nightly"]).ok(0);
    assert!(id.starts_with("nightly-"), "{id}");
    let shown = shell.run(&["schedules", "show", "nightly"]).ok(0);
    for words in [
        "overlap queue-one",
        ": lunch",
        &format!("triggered {}", id.trim_end()),
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let row = &shell.run(&["schedules", "list", "--json"]).rows(0)[0];
    assert_eq!(
        (&row["name"], &row["overlap"]),
        (&json!("nightly"), &json!("queue-one"))
    );
    assert_eq!(shell.run(&["schedules", "resume", "nightly"]).ok(0), line);
    shell.run(&["schedules", "delete", "nightly"]).ok(0);
    for (more, words) in [
        (&["--cron", "30 2 * *"][..], "not a cron expression"),
        (&["--time-zone", "berlin"], "did you mean `Europe/Berlin`?"),
        (&["--catch-up-max", "0"], "catch-up-max"),
        (&["--overlap", "never"], "skip"),
    ] {
        let mut args = vec![
            "schedules",
            "set",
            "a",
            "--workflow",
            "Script",
            "--input",
            "[]",
        ];
        if more[0] != "--cron" {
            args.extend(["--cron", "@daily"]);
        }
        args.extend(more);
        let ran = shell.run(&args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let gone = shell.run(&["schedules", "show", "nightly"]);
    assert_eq!(gone.code, Some(2), "{gone:?}");
}
