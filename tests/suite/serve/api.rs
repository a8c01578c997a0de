//! The host's own API, route by route.

use serde_json::{Value, json};

use super::client::Server;
use super::order;

const INSTANCES: &str = "/api/v1/instances";

#[track_caller]
fn problem(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let answer = server.client().call(method, path, &[], body);
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    assert!(problem["detail"].as_str().is_some_and(|it| !it.is_empty()));
    (answer.status, problem["code"].as_str().unwrap().to_owned())
}

#[test]
fn an_order_is_started_waited_for_followed_and_removed() {
    let server = Server::start(&[]);
    let stock = json!({ "name": "Cars", "totalCost": 15_000, "quantity": 10 });
    let stocked = server
        .client()
        .call("PUT", "/api/v1/state/Cars", &[], &stock.to_string());
    assert_eq!(stocked.status, 204);
    let start = json!({
        "workflow": "OrderProcessingWorkflow", "id": "o", "input": order(), "tags": { "team": "a" },
    });
    let started = server.post(INSTANCES, &start);
    assert_eq!(
        (started.status, started.json()),
        (201, json!({ "id": "o" }))
    );
    assert_eq!(started.header("location"), Some("/api/v1/instances/o"));
    let shown = server.get("/api/v1/instances/o?wait=60").json();
    assert_eq!(shown["status"], "completed", "{shown}");
    assert_eq!(shown["output"], json!({ "Processed": true }));

    let sent = ["accept: text/event-stream"];
    let followed = server
        .client()
        .call("GET", "/api/v1/instances/o/history", &sent, "");
    let data = |line: &str| line.strip_prefix("data: ").map(str::to_owned);
    let mut events: Vec<Value> = followed
        .body
        .lines()
        .filter_map(data)
        .map(|row| serde_json::from_str(&row).unwrap())
        .collect();
    // The instance has ended, and it was not cut off.
    assert!(followed.body.contains("event: end"), "{followed:?}");
    assert_eq!(events.pop(), Some(json!({})));
    let history = server.get("/api/v1/instances/o/history").json();
    assert_eq!(Value::from(events), history["records"]);

    let left = server.get("/api/v1/state/Cars");
    assert_eq!(left.json()["quantity"], 9);
    let list = server
        .get("/api/v1/instances?status=completed&tag=team=a&workflow=OrderProcessingWorkflow");
    assert_eq!(list.json()["instances"][0]["id"], "o");
    assert_eq!(
        server.get("/api/v1/instances?tag=team=b").json()["instances"],
        json!([])
    );
    let purged = server
        .client()
        .call("DELETE", "/api/v1/instances/o", &[], "");
    assert_eq!(purged.json(), json!({ "purged": ["o"] }));
    assert_eq!(
        problem(&server, "GET", "/api/v1/instances/o", ""),
        (404, "no-such-instance".into())
    );
}

#[test]
fn who_follows_is_told_as_it_happens() {
    let server = Server::start(&[]);
    let start = json!({ "workflow": "Script", "id": "a", "input": [{ "event": "go" }] });
    assert_eq!(server.post(INSTANCES, &start).status, 201);
    let client = server.client();
    let followed = std::thread::spawn(move || {
        let sent = ["accept: text/event-stream"];
        client.call("GET", "/api/v1/instances/a/history", &sent, "")
    });
    assert_eq!(
        server
            .post("/api/v1/instances/a/events/go", &json!("now"))
            .status,
        202
    );
    let told = followed.join().unwrap().body;
    for part in ["\"record\":\"started\"", "\"now\"", "\"completed\""] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn an_instance_is_suspended_asked_rerun_and_stopped() {
    let server = Server::start(&[]);
    let start = |id: &str, input: Value| {
        let start = json!({ "workflow": "Script", "id": id, "input": input });
        assert_eq!(server.post(INSTANCES, &start).status, 201);
    };
    let status = |id: &str| server.get(&format!("/api/v1/instances/{id}")).json()["status"].clone();
    let post = |path: &str, body: Value| server.post(&format!("/api/v1/instances/{path}"), &body);
    start("a", json!([{ "event": "go" }]));
    assert_eq!(post("a/suspend", json!({ "reason": "lunch" })).status, 202);
    assert_eq!(status("a"), "suspended");
    assert_eq!(post("a/resume", json!({})).status, 202);
    assert_eq!(post("a/events/go", json!(1)).status, 202);
    let shown = server.get("/api/v1/instances/a?wait=60").json();
    assert_eq!(shown["output"], json!([1]));
    let again = post("a/rerun", json!({ "id": "b" }));
    assert_eq!((again.status, again.json()), (201, json!({ "id": "b" })));
    assert_eq!(
        post("b/terminate", json!({ "reason": "enough" })).status,
        202
    );
    assert_eq!(status("b"), "terminated");
    start("c", json!([{ "collect": 3 }]));
    assert_eq!(post("c/updates/add", json!(1)).body, "1");
    assert_eq!(
        post("c/queries/nothing", json!(null)).json()["code"],
        "refused"
    );
    assert_eq!(post("c/cancel", json!({})).status, 202);
    let shown = server.get("/api/v1/instances/c?wait=60").json();
    assert_eq!(shown["status"], "cancelled");
}

#[test]
fn a_request_key_makes_a_call_once() {
    let server = Server::start(&[]);
    let key = ["idempotency-key: mail-7"];
    let start = json!({ "workflow": "Script", "input": [{ "add": "n" }] }).to_string();
    let ids = [(); 3].map(|()| server.client().call("POST", INSTANCES, &key, &start).json());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let id = ids[0]["id"].as_str().unwrap();
    server.get(&format!("/api/v1/instances/{id}?wait=60"));
    assert_eq!(server.get("/api/v1/state/n").body, "1");
}

#[test]
fn a_value_of_the_state_is_written_over_the_version_that_was_read() {
    let server = Server::start(&[]);
    let call = |method, headers: &[&str], body| {
        server
            .client()
            .call(method, "/api/v1/state/a/b", headers, body)
    };
    assert_eq!(call("PUT", &["if-none-match: *"], "1").status, 204);
    assert_eq!(call("PUT", &["if-none-match: *"], "2").status, 412);
    let etag = call("GET", &[], "").header("etag").unwrap().to_owned();
    let over = format!("if-match: {etag}");
    assert_eq!(call("PUT", &[&over], "3").status, 204);
    let stale = call("DELETE", &[&over], "");
    assert_eq!(
        (stale.status, &*stale.json()["code"].to_string()),
        (412, "\"wrong-version\"")
    );
    let entries = server.get("/api/v1/state?prefix=a/").json()["entries"].clone();
    assert_eq!(
        (&entries[0]["key"], &entries[0]["value"]),
        (&json!("a/b"), &json!(3))
    );
    assert_eq!(call("DELETE", &[], "").status, 204);
    assert_eq!(
        problem(&server, "GET", "/api/v1/state/a/b", ""),
        (404, "no-such-key".into())
    );
}

#[test]
fn what_is_wrong_with_a_call_is_told_with_a_code() {
    let server = Server::start(&[]);
    let order = json!({ "workflow": "OrderProcessingWorkflow", "input": "no order" }).to_string();
    let start = json!({ "workflow": "Script", "id": "a", "input": [{ "event": "go" }] });
    assert_eq!(server.post(INSTANCES, &start).status, 201);
    let start = start.to_string();
    for (method, path, body, status, code) in [
        ("POST", INSTANCES, "{", 400, "bad-body"),
        (
            "POST",
            INSTANCES,
            "{\"workflw\":\"Script\"}",
            400,
            "bad-body",
        ),
        (
            "POST",
            INSTANCES,
            "{\"workflow\":\"Nobody\"}",
            404,
            "no-such-workflow",
        ),
        ("POST", INSTANCES, &order, 422, "invalid-input"),
        ("POST", INSTANCES, &start, 409, "id-in-use"),
        ("GET", "/api/v1/instances?limit=0", "", 400, "bad-parameter"),
        (
            "GET",
            "/api/v1/instances?status=odd",
            "",
            400,
            "bad-parameter",
        ),
        (
            "GET",
            "/api/v1/instances?colour=red",
            "",
            400,
            "bad-parameter",
        ),
        ("GET", "/api/v1/instances/a%20b", "", 400, "bad-parameter"),
        (
            "GET",
            "/api/v1/instances/a?wait=1e9",
            "",
            400,
            "bad-parameter",
        ),
        ("PUT", INSTANCES, "", 405, "method-not-allowed"),
        ("PUT", "/api/v1/state/Cars", "", 400, "bad-body"),
        ("GET", "/api/v1/nothing", "", 404, "no-such-route"),
        ("GET", "/nothing", "", 404, "no-such-route"),
        (
            "POST",
            "/api/v1/instances/nobody/events/go",
            "",
            404,
            "no-such-instance",
        ),
        ("DELETE", "/api/v1/instances/a", "", 409, "not-ended"),
        (
            "POST",
            "/api/v1/modules",
            "no module",
            422,
            "module-rejected",
        ),
        (
            "POST",
            "/api/v1/instances/a/rerun",
            "{\"from_turn\":9}",
            404,
            "no-such-turn",
        ),
    ] {
        let told = problem(&server, method, path, body);
        assert_eq!(told, (status, code.to_owned()), "{method} {path} {body}");
    }
}

#[test]
fn a_module_is_planned_deployed_and_rolled_back_on_the_running_host() {
    let server = Server::start(&[]);
    let send = |package: &str, how: &str| {
        let bytes = std::fs::read(crate::support::module(package)).unwrap();
        server
            .client()
            .send(&format!("/api/v1/modules?{how}"), &bytes)
    };
    let deployed = send("swap", "label=swap@1&by=ann");
    assert_eq!(deployed.status, 201, "{deployed:?}");
    let old = deployed.json()["modules"][0]["digest"].clone();
    let start = json!({ "workflow": "Swap", "id": "a", "input": { "rounds": 1 } });
    assert_eq!(server.post(INSTANCES, &start).status, 201);

    let plan = send("swap-changed", "plan=true");
    assert_eq!(plan.status, 200, "{plan:?}");
    assert_eq!(
        plan.json()["plan"]["live"]["verdicts"]["same"],
        1,
        "{plan:?}"
    );
    let refused = send("swap-changed", "by=bob");
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("interface"))
    );
    assert_eq!(send("swap-changed", "weight=much").status, 400);
    let upgraded = send("swap-changed", "force=true&upgrade=true").json();
    assert_eq!(upgraded["upgraded"]["moved"], 1, "{upgraded}");
    let new = &upgraded["modules"][0]["digest"];
    assert_eq!(server.get("/api/v1/instances/a").json()["module"], *new);

    let back = server.post("/api/v1/instances/a/migrate", &json!({ "to": old }));
    assert_eq!(
        (back.status, &back.json()["verdict"]),
        (200, &json!("same"))
    );
    let missing = server.post("/api/v1/instances/a/migrate", &json!({ "to": "ffff" }));
    assert_eq!(missing.status, 404, "{missing:?}");
    let undone = server.post("/api/v1/deployments/rollback", &json!({ "by": "cat" }));
    assert_eq!((undone.status, &undone.json()["by"]), (200, &json!("cat")));
    assert_eq!(undone.json()["moved"][0]["to"]["module"], old);
    let told = server.post("/api/v1/deployments/promote", &json!({}));
    assert_eq!(
        (told.status, &told.json()["code"]),
        (409, &json!("bindings"))
    );
    let listed = server.get("/api/v1/deployments?limit=2").json();
    assert_eq!(listed["deployments"][0], undone.json());
    let modules = server.get("/api/v1/modules").json();
    let labels = modules["modules"].as_array().unwrap().iter();
    assert!(
        labels.into_iter().any(|it| it["label"] == "swap@1"),
        "{modules}"
    );
}
