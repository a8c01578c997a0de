//! Dapr's workflow and state API: each route, and each error with its code.

use serde_json::{Value, json};

use super::client::Server;
use super::order;

#[track_caller]
fn error(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let answer = server.client().call(method, path, &[], body);
    let error = answer.json();
    assert!(
        error["message"].as_str().is_some_and(|it| !it.is_empty()),
        "{answer:?}"
    );
    (
        answer.status,
        error["errorCode"].as_str().unwrap().to_owned(),
    )
}

/// A workflow that waits for an event.
fn waiting() -> Value {
    json!([{ "status": "waits" }, { "event": "Go" }])
}

#[test]
fn a_workflow_is_started_shown_paused_resumed_told_and_purged() {
    for version in ["v1.0", "v1.0-beta1", "v1.0-alpha1"] {
        let server = Server::start(&[]);
        let path = |rest: &str| format!("/{version}/workflows/dapr/{rest}");
        let started = server.post(&path("Script/start?instanceID=a"), &waiting());
        assert_eq!(
            (started.status, started.json()),
            (202, json!({ "instanceID": "a" }))
        );
        for (call, status) in [("pause", "SUSPENDED"), ("resume", "RUNNING")] {
            let done = server.post(&path(&format!("a/{call}")), &json!(null));
            assert_eq!((done.status, done.json()), (202, json!({})));
            let shown = server.get(&path("a"));
            assert_eq!(
                (shown.status, &shown.json()["runtimeStatus"]),
                (200, &json!(status))
            );
        }
        // Names of events are compared without regard to case.
        let raised = server.post(&path("a/raiseEvent/go"), &json!({ "x": 1 }));
        assert_eq!((raised.status, raised.json()), (202, json!({})));
        server.get("/api/v1/instances/a?wait=60");
        let shown = server.get(&path("a")).json();
        assert_eq!(shown["runtimeStatus"], "COMPLETED");
        assert_eq!(shown["workflowName"], "Script");
        assert!(
            shown["createdAt"].as_str().unwrap().ends_with('Z'),
            "{shown}"
        );
        let properties = &shown["properties"];
        assert_eq!(properties["dapr.workflow.custom_status"], "\"waits\"");
        assert_eq!(properties["dapr.workflow.output"], "[\"shown\",{\"x\":1}]");
        assert_eq!(properties["dapr.workflow.input"], waiting().to_string());
        assert_eq!(properties.get("dapr.workflow.failure.error_type"), None);
        assert_eq!(server.post(&path("a/terminate"), &json!(null)).status, 202);
        assert_eq!(server.post(&path("a/purge"), &json!(null)).status, 202);
        let gone = error(&server, "GET", &path("a"), "");
        assert_eq!(gone, (404, "ERR_INSTANCE_ID_NOT_FOUND".into()));
    }
}

#[test]
fn the_quickstart_runs_over_daprs_api() {
    let server = Server::start(&[]);
    let stock = json!([{ "key": "Cars", "value":
        { "name": "Cars", "totalCost": 15_000, "quantity": 10 } }]);
    assert_eq!(server.post("/v1.0/state/statestore", &stock).status, 204);
    let start = "/v1.0/workflows/dapr/OrderProcessingWorkflow/start";
    let started = server.post(start, &order()).json();
    let id = started["instanceID"].as_str().unwrap();
    assert_eq!(id.len(), 36, "a UUID");
    server.get(&format!("/api/v1/instances/{id}?wait=60"));
    let shown = server.get(&format!("/v1.0/workflows/dapr/{id}")).json();
    assert_eq!(
        shown["properties"]["dapr.workflow.output"],
        "{\"Processed\":true}"
    );
    let left = server.get("/v1.0/state/statestore/Cars");
    assert_eq!(left.json()["quantity"], 9);
    let failing = json!([{ "call": { "name": "Fails", "input": { "kind": "odd" } } }]);
    let id = server.post("/v1.0/workflows/dapr/Script/start?instanceID=f", &failing);
    assert_eq!(id.status, 202);
    server.get("/api/v1/instances/f?wait=60");
    let shown = server.get("/v1.0/workflows/dapr/f").json();
    assert_eq!(shown["runtimeStatus"], "FAILED");
    assert_eq!(
        shown["properties"]["dapr.workflow.failure.error_type"],
        "odd"
    );
    let message = &shown["properties"]["dapr.workflow.failure.error_message"];
    assert!(
        message.as_str().unwrap().contains("as it was told"),
        "{shown}"
    );
}

#[test]
fn the_calls_of_dapr_1_10_work_with_the_id_in_the_path() {
    let server = Server::start(&[]);
    let path = |rest: &str| format!("/v1.0-alpha1/workflows/dapr/{rest}");
    let both = |id| json!({ "instanceID": id, "instance_id": id });
    // The input in its envelope, and as later releases take it.
    let envelope = json!({ "input": waiting() });
    for (id, input) in [("old", &envelope), ("raw", &waiting())] {
        let started = server.post(&path(&format!("Script/{id}/start")), input);
        assert_eq!((started.status, started.json()), (202, both(id)));
    }
    let order = json!({ "input": order(), "workflow_options": {} });
    let started = server.post(&path("OrderProcessingWorkflow/49caa2d7/start"), &order);
    assert_eq!(started.status, 202, "{started:?}");
    // None: an envelope has nothing else in it.
    let other = json!({ "input": waiting(), "more": 1 });
    let refused = server.post(&path("Script/other/start"), &other).json();
    assert_eq!(refused["errorCode"], "ERR_START_WORKFLOW");

    let shown = server.get(&path("Script/old")).json();
    assert_eq!(shown["runtimeStatus"], "RUNNING");
    assert_eq!(shown["WFInfo"], json!({ "instance_id": "old" }));
    assert_eq!(shown["start_time"], shown["createdAt"]);
    let metadata = &shown["metadata"];
    for (name, value) in [
        ("name", json!("Script")),
        ("runtime_status", json!("RUNNING")),
        ("input", json!(waiting().to_string())),
        ("last_updated", shown["lastUpdatedAt"].clone()),
    ] {
        assert_eq!(metadata[format!("dapr.workflow.{name}")], value, "{shown}");
    }
    assert_eq!(
        server.post(&path("old/terminate"), &json!(null)).status,
        202
    );
    assert_eq!(
        server.get(&path("old")).json()["runtimeStatus"],
        "TERMINATED"
    );
}

#[test]
fn a_workflow_call_that_is_refused_has_daprs_code() {
    let server = Server::start(&[]);
    let w = "/v1.0/workflows/dapr";
    let started = server.post(&format!("{w}/Script/start?instanceID=a"), &waiting());
    assert_eq!(started.status, 202);
    let long = "x".repeat(65);
    for (path, body, status, code) in [
        (
            format!("/Script/start?instanceID={long}"),
            "[]",
            400,
            "ERR_INSTANCE_ID_TOO_LONG",
        ),
        (
            "/Script/start?instanceID=a%20b".into(),
            "[]",
            400,
            "ERR_INSTANCE_ID_INVALID",
        ),
        ("//start".into(), "[]", 400, "ERR_WORKFLOW_NAME_MISSING"),
        (
            "/Script/start?instanceID=a".into(),
            "[]",
            500,
            "ERR_START_WORKFLOW",
        ),
        ("/Nobody/start".into(), "[]", 500, "ERR_START_WORKFLOW"),
        ("/Script/start".into(), "{", 400, "ERR_MALFORMED_REQUEST"),
        (
            "/a/raiseEvent/".into(),
            "1",
            400,
            "ERR_WORKFLOW_EVENT_NAME_MISSING",
        ),
        (
            "/nobody/raiseEvent/go".into(),
            "1",
            500,
            "ERR_RAISE_EVENT_WORKFLOW",
        ),
        ("/nobody/pause".into(), "", 500, "ERR_PAUSE_WORKFLOW"),
        ("/nobody/resume".into(), "", 500, "ERR_RESUME_WORKFLOW"),
        (
            "/nobody/terminate".into(),
            "",
            404,
            "ERR_INSTANCE_ID_NOT_FOUND",
        ),
        ("/nobody/purge".into(), "", 404, "ERR_INSTANCE_ID_NOT_FOUND"),
        ("/a/purge".into(), "", 500, "ERR_PURGE_WORKFLOW"),
        ("/a/dance".into(), "", 404, "ERR_NOT_FOUND"),
    ] {
        let told = error(&server, "POST", &format!("{w}{path}"), body);
        assert_eq!(told, (status, code.to_owned()), "{path}");
    }
    let missing = error(&server, "GET", &format!("{w}/nobody"), "");
    assert_eq!(missing, (404, "ERR_INSTANCE_ID_NOT_FOUND".into()));
    let odd = error(&server, "PUT", &format!("{w}/a/pause"), "");
    assert_eq!(odd, (405, "ERR_METHOD_NOT_ALLOWED".into()));
}

#[test]
fn state_is_written_read_and_removed_under_its_etag() {
    let server = Server::start(&["--state-store", "shop"]);
    let s = "/v1.0/state/shop";
    let call = |method, path: &str, headers: &[&str], body: Value| {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        server
            .client()
            .call(method, &format!("{s}{path}"), headers, &body)
    };
    let item = |key, value, etag: Option<&str>, concurrency: Option<&str>| json!([{ "key": key, "value": value, "etag": etag, "options": { "concurrency": concurrency } }]);
    let etag = || {
        call("GET", "/a", &[], Value::Null)
            .header("etag")
            .unwrap()
            .to_owned()
    };
    assert_eq!(call("POST", "", &[], item("a", 1, None, None)).status, 204);
    let first = etag();
    assert_eq!(
        call(
            "PUT",
            "",
            &[],
            item("a", 2, Some(&first), Some("first-write"))
        )
        .status,
        204
    );
    let stale = call(
        "POST",
        "",
        &[],
        item("a", 3, Some(&first), Some("first-write")),
    );
    assert_eq!(
        (stale.status, &stale.json()["errorCode"]),
        (409, &json!("ERR_STATE_SAVE"))
    );
    assert_eq!(
        call(
            "POST",
            "",
            &[],
            item("a", 3, Some(&first), Some("last-write"))
        )
        .status,
        204
    );
    assert_eq!(
        call("POST", "", &[], item("a", 4, None, Some("first-write"))).status,
        409
    );
    assert_eq!(call("GET", "/a", &[], Value::Null).body, "3");
    assert_eq!(call("GET", "/b", &[], Value::Null).status, 204);

    let stale = format!("if-match: {first}");
    assert_eq!(call("DELETE", "/a", &[&stale], Value::Null).status, 409);
    let now = format!("if-match: {}", etag());
    assert_eq!(call("DELETE", "/a", &[&now], Value::Null).status, 204);
    assert_eq!(call("GET", "/a", &[], Value::Null).status, 204);

    let both = json!({ "operations": [
        { "operation": "upsert", "request": { "key": "x", "value": { "y": 1 } } },
        { "operation": "upsert", "request": { "key": "z", "value": 1, "etag": "999999" } },
    ] });
    assert_eq!(call("POST", "/transaction", &[], both).status, 409);
    assert_eq!(
        call("GET", "/x", &[], Value::Null).status,
        204,
        "all or none"
    );
    let both = json!({ "operations": [
        { "operation": "upsert", "request": { "key": "x", "value": { "y": 1 } } },
        { "operation": "delete", "request": { "key": "z" } },
    ] });
    assert_eq!(call("POST", "/transaction", &[], both).status, 204);
    let bulk = call("POST", "/bulk", &[], json!({ "keys": ["x", "z"] })).json();
    assert_eq!(
        (&bulk[0]["data"], &bulk[1]),
        (&json!({ "y": 1 }), &json!({ "key": "z" }))
    );
}

#[test]
fn a_state_call_that_is_refused_has_daprs_code() {
    let server = Server::start(&[]);
    for (method, path, body, status, code) in [
        ("GET", "other/a", "", 400, "ERR_STATE_STORE_NOT_FOUND"),
        ("POST", "statestore", "{", 400, "ERR_MALFORMED_REQUEST"),
        (
            "POST",
            "statestore",
            "[{\"value\":1}]",
            400,
            "ERR_MALFORMED_REQUEST",
        ),
        (
            "POST",
            "statestore",
            "[{\"key\":\"\",\"value\":1}]",
            400,
            "ERR_STATE_SAVE",
        ),
        (
            "POST",
            "statestore",
            "[{\"key\":\"a\",\"etag\":\"x\"}]",
            400,
            "ERR_STATE_SAVE",
        ),
        (
            "POST",
            "statestore/transaction",
            "{\"operations\":[{\"operation\":\"add\",\"request\":{\"key\":\"a\"}}]}",
            400,
            "ERR_NOT_SUPPORTED_STATE_OPERATION",
        ),
    ] {
        let told = error(&server, method, &format!("/v1.0/state/{path}"), body);
        assert_eq!(told, (status, code.to_owned()), "{path} {body}");
    }
}

#[test]
fn a_client_of_dapr_finds_the_host_well_and_can_stop_it() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/v1.0/healthz").status, 204);
    assert_eq!(server.get("/v1.0/healthz/outbound").status, 204);
    let metadata = server.get("/v1.0/metadata").json();
    let components = metadata["components"].as_array().unwrap().iter();
    let names: Vec<_> = components.map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["statestore", "dapr"]);
    assert_eq!(server.post("/v1.0/shutdown", &json!(null)).status, 204);
    let (code, said) = server.ended();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_text_that_a_client_calls_plain_text_reaches_the_workflow() {
    let server = Server::start(&[]);
    let w = "/v1.0-beta1/workflows/dapr";
    let send = |path: &str, kind: &str, body: &str| {
        let kind = format!("content-type: {kind}");
        server
            .client()
            .call("POST", &format!("{w}{path}"), &[&kind], body)
            .status
    };
    let program = json!([{ "event": "Go" }, { "event": "Go" }, { "event": "Go" }]).to_string();
    let plain = "text/plain;charset=UTF-8";
    // A program that was made JSON by the caller.
    assert_eq!(send("/Script/start?instanceID=t", plain, &program), 202);
    for (kind, body, status) in [
        (plain, "sold, at last", 202),
        (plain, "true", 202),
        ("Text/Plain", "{half", 202),
        ("application/json", "{half", 400),
        ("", "sold", 400),
    ] {
        let sent = send("/t/raiseEvent/Go", kind, body);
        assert_eq!(sent, status, "{kind} {body}");
    }
    server.get("/api/v1/instances/t?wait=60");
    let shown = server.get(&format!("{w}/t")).json();
    assert_eq!(
        shown["properties"]["dapr.workflow.output"],
        r#"["sold, at last",true,"{half"]"#
    );
}

#[test]
fn state_is_written_as_the_javascript_client_writes_it() {
    let server = Server::start(&[]);
    let s = "/v1.0/state/statestore";
    let item = json!({ "key": "a", "value": 1, "etag": null, "options": null, "metadata": null });
    assert_eq!(server.post(&format!("{s}?"), &json!([item])).status, 204);
    let etag = server
        .get(&format!("{s}/a?"))
        .header("etag")
        .unwrap()
        .to_owned();
    let write = |operation: &str, etag: &Value| {
        let request = json!({ "key": "a", "value": 2, "etag": etag, "options": {} });
        let operations = json!([{ "operation": operation, "request": request }]);
        let body = json!({ "operations": operations, "metadata": null });
        server.post(&format!("{s}/transaction"), &body)
    };
    assert_eq!(write("upsert", &json!({ "value": etag })).status, 204);
    assert_eq!(write("delete", &json!({ "value": etag })).status, 409);
    let odd = write("delete", &json!({ "is": etag }));
    assert_eq!(odd.status, 400);
    assert!(odd.body.contains("an etag is a text"), "{odd:?}");
    assert_eq!(server.get(&format!("{s}/a")).body, "2");
    assert_eq!(server.post(s, &json!([])).status, 204);
}

#[test]
fn a_time_to_live_is_read_from_the_url_the_item_and_the_transaction() {
    let server = Server::start(&[]);
    let s = "/v1.0/state/statestore";
    let item = |key: &str, ttl: Value| json!({ "key": key, "value": 1, "metadata": { "ttlInSeconds": ttl } });
    let save = |query: &str, ttl: Value| {
        server
            .post(&format!("{s}{query}"), &json!([item("saved", ttl)]))
            .status
    };
    let transact = |query: &str, own: Value, all: Value| {
        let operation = json!({ "operation": "upsert", "request": item("transacted", own) });
        let body = json!({ "operations": [operation], "metadata": { "ttlInSeconds": all } });
        server
            .post(&format!("{s}/transaction{query}"), &body)
            .status
    };
    let (odd, none) = (json!("odd"), Value::Null);
    // What counts is said first; whether it was looked at shows in what is wrong with it.
    assert_eq!(save("", odd.clone()), 400);
    assert_eq!(save("?metadata.ttlInSeconds=odd", json!(1)), 400);
    assert_eq!(save("?metadata.ttlInSeconds=1", odd.clone()), 204);
    assert_eq!(transact("", none.clone(), odd.clone()), 400);
    assert_eq!(transact("", json!(-1), odd.clone()), 204);
    assert_eq!(
        transact("?metadata.ttlInSeconds=odd", json!(1), json!(1)),
        400
    );
    assert_eq!(transact("", none, json!("1")), 204);

    let kept = json!([{ "key": "kept", "value": 1, "metadata": { "ttlInSeconds": "-1" } }]);
    assert_eq!(server.post(s, &kept).status, 204);
    let program =
        json!([{ "sleep": 1_001 }, { "get": "saved" }, { "get": "transacted" }, { "get": "kept" }]);
    let start = "/v1.0/workflows/dapr/Script/start?instanceID=later";
    assert_eq!(server.post(start, &program).status, 202);
    let ended = server.get("/api/v1/instances/later?wait=60").json();
    assert_eq!(ended["output"], json!(["slept", null, null, 1]), "{ended}");
}

#[test]
fn labels_are_shown_with_the_metadata_and_their_number_and_size_are_bounded() {
    let server = Server::start(&[]);
    let put = |name: &str, text: &str| {
        let path = format!("/v1.0/metadata/{name}");
        let kind = ["content-type: text/plain"];
        server.client().call("PUT", &path, &kind, text)
    };
    assert_eq!(put("team", "cars").status, 204);
    assert_eq!(put("team", "trucks").status, 204);
    assert_eq!(put("daprRuntimeVersion", "0").status, 204);
    let extended = || server.get("/v1.0/metadata").json()["extended"].clone();
    assert_eq!(extended()["team"], "trucks");
    assert_eq!(extended()["daprRuntimeVersion"], env!("CARGO_PKG_VERSION"));
    let large = put("large", &"x".repeat(4_092));
    assert_eq!(large.json()["errorCode"], "ERR_MALFORMED_REQUEST");
    assert_eq!(put("large", &"x".repeat(4_091)).status, 204);
    let refused = (0..64).find(|n| put(&format!("label-{n}"), "").status == 400);
    assert_eq!(refused, Some(61), "after three others");
    assert_eq!(put("team", "cars").status, 204, "one that is there");
}

#[test]
fn what_is_not_served_of_dapr_is_refused_as_its_clients_can_read_it() {
    let server = Server::start(&[]);
    for (method, path, status, code) in [
        ("POST", "/v1.0/publish/pubsub/orders", 404, "ERR_NOT_FOUND"),
        ("GET", "/v1.0/invoke/app/method/pay", 404, "ERR_NOT_FOUND"),
        ("GET", "/v1.0-alpha1/configuration/c", 404, "ERR_NOT_FOUND"),
        ("GET", "/v1.0/state/statestore/a/b", 404, "ERR_NOT_FOUND"),
        ("GET", "/v1.0/workflows", 404, "ERR_NOT_FOUND"),
        (
            "POST",
            "/v1.0/state/statestore/a",
            405,
            "ERR_METHOD_NOT_ALLOWED",
        ),
        ("PUT", "/v1.0/metadata", 405, "ERR_METHOD_NOT_ALLOWED"),
        ("GET", "/v1.0/shutdown", 405, "ERR_METHOD_NOT_ALLOWED"),
        (
            "POST",
            "/v1.0-alpha1/state/statestore/query",
            500,
            "ERR_STATE_STORE_NOT_SUPPORTED",
        ),
        (
            "DELETE",
            "/v1.0/state/statestore/%ff",
            400,
            "ERR_MALFORMED_REQUEST",
        ),
        (
            "POST",
            "/v1.0-alpha1/state/other/query",
            400,
            "ERR_STATE_STORE_NOT_FOUND",
        ),
    ] {
        let told = error(&server, method, path, "{}");
        assert_eq!(told, (status, code.to_owned()), "{method} {path}");
    }
}
