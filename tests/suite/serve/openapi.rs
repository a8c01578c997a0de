//! The OpenAPI document: well formed, of every route, and what is answered is as it says.
//!
//! `tests/openapi/run` asks more of it, with a tool that cannot be had everywhere.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::client::{Answer, Server};
use super::order;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

struct Document(Value);

/// An operation of the document.
struct Operation<'a> {
    path: &'a str,
    method: String,
    says: &'a Value,
}

impl Document {
    fn served(server: &Server) -> Self {
        Self(server.get("/api/v1/openapi.json").json())
    }

    fn paths(&self) -> &Map<String, Value> {
        self.0["paths"].as_object().unwrap()
    }

    fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.paths().iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, says)| Operation {
                path,
                method: method.to_uppercase(),
                says,
            })
        })
    }

    /// A schema as one that stands alone.
    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let options = jsonschema::draft202012::options().should_validate_formats(true);
        options.build(&schema).unwrap()
    }

    /// Checks an answer to a call of the operation at `template`: the status is described, and so
    /// are the type and all fields of the body.
    #[track_caller]
    fn check(&self, method: &str, template: &str, answer: &Answer) {
        let place = format!("{method} {template} {}", answer.status);
        let operation = &self.0["paths"][template][method.to_lowercase()];
        let described = &operation["responses"][answer.status.to_string()];
        assert!(
            described.is_object(),
            "{place} is not described: {answer:?}"
        );
        let Some(kind) = answer.header("content-type") else {
            assert!(described["content"].is_null(), "{place} has no body");
            return;
        };
        let schema = &described["content"][kind]["schema"];
        assert!(schema.is_object(), "{place}: {kind} is not described");
        let closed = json!({ "allOf": [schema], "unevaluatedProperties": false });
        let value = answer.json();
        let closed = if *schema == json!({}) {
            schema
        } else {
            &closed
        };
        if let Err(error) = self.validator(closed).validate(&value) {
            panic!("{place}: {error} at {}: {value:#}", error.instance_path());
        }
    }
}

/// All that a `$ref` may name.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|it| references(it, found));
        }
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_the_commands_and_needs_no_token() {
    let server = Server::start(&["--token", "secret-of-16-letters"]);
    let served = server.get("/api/v1/openapi.json");
    assert_eq!(
        (served.status, served.header("content-type")),
        (200, Some("application/json"))
    );
    let printed = server.shell.run(&["openapi"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let printed: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(served.json(), printed);
    assert_eq!(server.get("/api/v1/instances").status, 401);
}

#[test]
fn the_document_is_openapi_3_1() {
    let server = Server::start(&[]);
    let document = Document::served(&server);
    assert_eq!(document.0["openapi"], "3.1.0");
    for field in ["title", "version"] {
        assert!(document.0["info"][field].is_string(), "{field}");
    }
    assert!(!document.0.to_string().contains("u-int"));
    let mut found = BTreeSet::new();
    references(&document.0, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for name in found {
        let place = name.strip_prefix('#').expect("it is in the document");
        assert!(document.0.pointer(place).is_some(), "{name}");
    }
    for (name, schema) in document.0["components"]["schemas"].as_object().unwrap() {
        let known = jsonschema::draft202012::meta::validate(schema);
        assert!(known.is_ok(), "{name}: {known:?}");
        document.validator(schema);
    }
    let mut ids = BTreeSet::new();
    for Operation { path, method, says } in document.operations() {
        let place = format!("{method} {path}");
        assert!(METHODS.contains(&method.as_str()), "{place}");
        assert!(says["summary"].is_string(), "{place} has no summary");
        assert!(ids.insert(says["operationId"].as_str().unwrap()), "{place}");
        let tagged = says["tags"].as_array().unwrap();
        let tags = document.0["tags"].as_array().unwrap();
        let known = |tag: &Value| tags.iter().any(|it| it["name"] == *tag);
        assert!(!tagged.is_empty() && tagged.iter().all(known), "{place}");
        let named = path
            .split('{')
            .skip(1)
            .map(|it| it.split_once('}').unwrap().0);
        let parameters = says["parameters"].as_array().into_iter().flatten();
        let in_path = parameters.filter(|it| it["in"] == "path" && it["required"] == true);
        let described: BTreeSet<_> = in_path.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(named.collect::<BTreeSet<_>>(), described, "{place}");
        for (status, answer) in says["responses"].as_object().unwrap() {
            assert!(status.parse::<u16>().is_ok(), "{place} {status}");
            assert!(answer["description"].is_string(), "{place} {status}");
        }
    }
}

#[test]
fn a_method_that_is_not_described_is_not_taken() {
    let server = Server::start(&[]);
    let document = Document::served(&server);
    for (template, item) in document.paths() {
        let path = template.replace("{id}", "a").replace("{name}", "b");
        let path = path.replace("{key}", "c");
        let takes = |method: &str| item.get(method.to_lowercase()).is_some();
        for method in METHODS.into_iter().filter(|method| !takes(method)) {
            let answer = server.client().call(method, &path, &[], "");
            assert_eq!(answer.status, 405, "{method} {path}");
            let allowed: BTreeSet<_> = answer.header("allow").unwrap().split(',').collect();
            let described = METHODS.into_iter().filter(|method| takes(method));
            // Whoever is read can be asked for the head of what is read.
            let described = described.flat_map(|method| match method {
                "GET" => vec!["GET", "HEAD"],
                method => vec![method],
            });
            assert_eq!(allowed, described.collect(), "{path}");
        }
    }
}

#[test]
fn what_is_answered_is_as_the_document_says() {
    let server = Server::start(&[]);
    let document = Document::served(&server);
    let call = |method: &str, template: &str, path: &str, body: Value| {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let path = format!("/api/v1{path}");
        let answer = server.client().call(method, &path, &[], &body);
        document.check(method, &format!("/api/v1{template}"), &answer);
        answer.status
    };
    let none = Value::Null;
    assert_eq!(call("GET", "/health", "/health", none.clone()), 200);
    let cars = json!({ "name": "Cars", "totalCost": 15_000, "quantity": 10 });
    assert_eq!(call("PUT", "/state/{key}", "/state/Cars", cars), 204);
    assert_eq!(
        call("GET", "/state/{key}", "/state/Cars", none.clone()),
        200
    );
    assert_eq!(
        call("GET", "/state/{key}", "/state/none", none.clone()),
        404
    );
    assert_eq!(call("GET", "/state", "/state?limit=1", none.clone()), 200);
    assert_eq!(call("GET", "/state", "/state?limit=0", none.clone()), 400);

    let instances = |body: Value| call("POST", "/instances", "/instances", body);
    let order = json!({
        "workflow": "OrderProcessingWorkflow", "id": "o", "input": order(),
        "tags": { "team": "a" }, "begins_at": "2001-01-01T00:00:00+02:00",
    });
    assert_eq!(instances(order.clone()), 201);
    assert_eq!(instances(order), 409);
    assert_eq!(instances(json!({ "workflow": "Nobody" })), 404);
    assert_eq!(instances(json!({ "workflow": "Script", "input": 1 })), 422);
    // A list is not the fields in their order.
    assert_eq!(instances(json!(["Script", []])), 400);
    // What it waits for, and what it did, of each kind.
    let script = json!([
        { "add": "n" }, { "call": { "name": "Echo", "input": 1 } }, { "event": "go" },
    ]);
    let waits = json!({ "workflow": "Script", "id": "w", "input": script });
    assert_eq!(instances(waits), 201);
    let of = |method: &str, rest: &str, path: &str, body: Value| {
        let template = format!("/instances/{{id}}{rest}");
        call(method, &template, &format!("/instances/{path}"), body)
    };
    // The one has ended, the other waits for its event.
    for path in ["o?wait=60", "w?wait=0.1"] {
        assert_eq!(of("GET", "", path, none.clone()), 200);
    }
    let collects = json!({ "workflow": "Script", "id": "c", "input": [{ "collect": 3 }] });
    assert_eq!(instances(collects), 201);
    assert_eq!(
        of("POST", "/updates/{name}", "c/updates/add", json!(1)),
        200
    );
    let nothing = "c/queries/nothing";
    assert_eq!(of("POST", "/queries/{name}", nothing, none.clone()), 422);
    assert_eq!(
        of(
            "POST",
            "/suspend",
            "w/suspend",
            json!({ "reason": "lunch" })
        ),
        202
    );
    assert_eq!(of("GET", "", "w", none.clone()), 200);
    assert_eq!(of("POST", "/resume", "w/resume", none.clone()), 202);
    assert_eq!(of("POST", "/events/{name}", "w/events/go", json!(1)), 202);
    assert_eq!(of("GET", "", "w?wait=60", none.clone()), 200);
    assert_eq!(of("POST", "/rerun", "w/rerun", json!({ "id": "r" })), 201);
    assert_eq!(of("POST", "/cancel", "c/cancel", none.clone()), 202);
    assert_eq!(
        of("POST", "/terminate", "r/terminate", json!({ "only": true })),
        202
    );
    assert_eq!(of("POST", "/terminate", "r/terminate", none.clone()), 409);
    for id in ["o", "w", "c", "r"] {
        let path = format!("{id}/history");
        assert_eq!(of("GET", "/history", &path, none.clone()), 200);
    }
    let list = "/instances?tag=team=a&status=completed,running&newest_first=true";
    assert_eq!(call("GET", "/instances", list, none.clone()), 200);
    assert_eq!(of("DELETE", "", "o", none.clone()), 200);
    assert_eq!(of("GET", "", "o", none.clone()), 404);
    assert_eq!(of("GET", "/history", "o/history", none.clone()), 404);
    assert_eq!(of("GET", "", "a%20b", none), 400);
}

#[test]
fn what_modules_answer_is_as_the_document_says() {
    let server = Server::start(&[]);
    let document = Document::served(&server);
    let send = |package: &str, how: &str| {
        let bytes = std::fs::read(crate::support::module(package)).unwrap();
        let path = format!("/api/v1/modules?{how}");
        let answer = server.client().send(&path, &bytes);
        document.check("POST", "/api/v1/modules", &answer);
        answer
    };
    let call = |method: &str, path: &str, body: Value| {
        let answer = server.client().call(method, path, &[], &body.to_string());
        let template = path.replace("/a/", "/{id}/");
        document.check(method, template.split('?').next().unwrap(), &answer);
        answer
    };
    let old = send("swap", "label=swap@1").json()["modules"][0]["digest"].clone();
    let start = json!({ "workflow": "Swap", "id": "a", "input": { "rounds": 1 } });
    assert_eq!(call("POST", "/api/v1/instances", start).status, 201);
    assert_eq!(send("swap-changed", "plan=true&ended=5").status, 200);
    assert_eq!(send("swap-changed", "").status, 409);
    let upgraded = send("swap-changed", "force=true&upgrade=true&require_all=true");
    assert_eq!(upgraded.status, 201, "{upgraded:?}");
    let migrate = "/api/v1/instances/a/migrate";
    assert_eq!(call("POST", migrate, json!({ "to": old })).status, 200);
    assert_eq!(call("POST", migrate, json!({ "to": "ffff" })).status, 404);
    assert_eq!(call("POST", migrate, json!({ "to": "no" })).status, 400);
    assert_eq!(call("POST", migrate, json!({})).status, 422);
    let lost = json!({ "reset_to": 1, "dry_run": true });
    assert_eq!(call("POST", migrate, lost).status, 200);
    let back = "/api/v1/deployments/rollback";
    assert_eq!(call("POST", back, json!({ "by": "ann" })).status, 200);
    let number = upgraded.json()["number"].clone();
    let forward = call("POST", back, json!({ "to": number }));
    assert_eq!(forward.status, 200, "{forward:?}");
    assert_eq!(call("POST", back, json!({ "to": number })).body, "null");
    let promote = "/api/v1/deployments/promote";
    assert_eq!(call("POST", promote, json!({})).status, 409);
    assert_eq!(
        call("GET", "/api/v1/deployments?limit=9", json!(null)).status,
        200
    );
    assert_eq!(call("GET", "/api/v1/modules", json!(null)).status, 200);
    assert_eq!(
        call("GET", "/api/v1/instances/a/history", json!(null)).status,
        200
    );
}
