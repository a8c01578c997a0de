//! What a host tells of itself: metrics, its log, traces.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::client::Server;
use super::collector::{Keeper, attribute, hex};
use super::order;
use crate::support::{Shell, module};

const INSTANCES: &str = "/api/v1/instances";

/// A caller's place in a trace.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The samples of a scrape by name and labels, as they are written. Every line must be one of the
/// format, and every sample be of a family whose type is told.
#[track_caller]
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    for line in answer.body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            match (words.next(), words.next()) {
                (Some("TYPE"), Some(family)) => assert!(families.insert(family.to_owned())),
                (Some("HELP" | "UNIT"), Some(_)) | (Some("EOF"), None) => {}
                other => panic!("{other:?}: {line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect(line);
        let plain = name.split('{').next().unwrap();
        let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_info"];
        let known = suffixes.iter().any(|suffix| {
            let family = plain.strip_suffix(suffix);
            family.is_some_and(|family| families.contains(family))
        });
        assert!(known, "of no family: {line}");
        let before = samples.insert(name.to_owned(), value.parse().expect(line));
        assert_eq!(before, None, "twice: {line}");
    }
    samples
}

/// The samples of one name, by their labels.
fn of<'a>(samples: &'a BTreeMap<String, f64>, name: &str) -> BTreeMap<&'a str, f64> {
    let samples = samples.iter().filter_map(|(key, value)| {
        let labels = key.strip_prefix(name)?.strip_prefix('{')?;
        Some((labels.strip_suffix('}')?, *value))
    });
    samples.collect()
}

fn start(server: &Server, id: &str, program: Value) {
    let start = json!({ "workflow": "Script", "id": id, "input": program });
    assert_eq!(server.post(INSTANCES, &start).status, 201);
}

fn settle(server: &Server, id: &str) -> Value {
    server.get(&format!("{INSTANCES}/{id}?wait=60")).json()
}

fn stock(server: &Server) {
    let stock = json!({ "name": "Cars", "totalCost": 15_000, "quantity": 10 }).to_string();
    let put = server
        .client()
        .call("PUT", "/api/v1/state/Cars", &[], &stock);
    assert_eq!(put.status, 204);
}

#[test]
fn the_metrics_tell_exactly_what_was_done() {
    let server = Server::start(&[]);
    let before = scrape(&server);
    assert_eq!(before["wfhost_turns_total"], 0.0);
    assert_eq!(of(&before, "wfhost_instances"), BTreeMap::new());

    stock(&server);
    let sell = json!({ "workflow": "OrderProcessingWorkflow", "id": "sold", "input": order() });
    assert_eq!(server.post(INSTANCES, &sell).status, 201);
    let flaky = json!([{ "try": [
        [{ "call": { "name": "Fails", "input": { "kind": "odd" } } }],
        [{ "call": { "name": "Echo" } }],
    ] }]);
    start(&server, "flaky", flaky);
    start(&server, "fails", json!([{ "fail": "odd" }]));
    start(&server, "waits", json!([{ "event": "never" }]));
    start(&server, "stalls", json!([{ "call": { "name": "Nobody" } }]));
    let ids = ["sold", "flaky", "fails", "stalls"];
    let mut turns: u64 = ids
        .iter()
        .map(|id| settle(&server, id)["turns"].as_u64().unwrap())
        .sum();
    let shown = server.get(&format!("{INSTANCES}/waits")).json();
    turns += shown["turns"].as_u64().unwrap();
    let mut attempts = BTreeMap::<String, f64>::new();
    for id in ids {
        let history = server.get(&format!("{INSTANCES}/{id}/history")).json();
        let records = history["records"].as_array().unwrap().iter();
        for attempt in records.filter(|record| record["record"] == "attempt") {
            let outcome = if attempt["failure"].is_null() {
                "completed"
            } else {
                "failed"
            };
            let activity = attempt["activity"].as_str().unwrap();
            let labels = format!("activity=\"{activity}\",outcome=\"{outcome}\"");
            *attempts.entry(labels).or_default() += 1.0;
        }
    }
    assert!(attempts.contains_key("activity=\"Fails\",outcome=\"failed\""));

    let after = scrape(&server);
    assert_eq!(after["wfhost_turns_total"], turns as f64);
    let counted = of(&after, "wfhost_activity_attempts_total");
    let counted: BTreeMap<_, _> = counted.into_iter().filter(|(_, it)| *it > 0.0).collect();
    let attempts: BTreeMap<_, _> = attempts
        .iter()
        .map(|(key, it)| (key.as_str(), *it))
        .collect();
    assert_eq!(counted, attempts);
    let durations = of(&after, "wfhost_activity_attempt_duration_seconds_count");
    assert_eq!(
        durations.values().sum::<f64>(),
        attempts.values().sum::<f64>()
    );
    let instances = of(&after, "wfhost_instances");
    assert_eq!(
        instances,
        BTreeMap::from([
            (
                "workflow=\"OrderProcessingWorkflow\",status=\"completed\"",
                1.0
            ),
            ("workflow=\"Script\",status=\"completed\"", 1.0),
            ("workflow=\"Script\",status=\"failed\"", 1.0),
            ("workflow=\"Script\",status=\"running\"", 1.0),
            ("workflow=\"Script\",status=\"stalled\"", 1.0),
        ])
    );
    let stalls = of(&after, "wfhost_stalls_total");
    assert_eq!(
        stalls,
        BTreeMap::from([("reason=\"activity-missing\"", 1.0)])
    );
    let started = of(&after, "wfhost_instances_started_total");
    assert_eq!(started["workflow=\"Script\""], 4.0);
    let ended = of(&after, "wfhost_instances_ended_total");
    assert_eq!(ended["workflow=\"Script\",status=\"failed\""], 1.0);
    let guests = of(&after, "wfhost_turn_guests_total");
    assert_eq!(guests["guest=\"new\""], 5.0);
    let records = after["wfhost_commit_records_sum"];
    assert_eq!(after["wfhost_records_total"], records);
    for (name, least) in [
        ("wfhost_commit_duration_seconds_count", 1.0),
        ("wfhost_commit_sync_duration_seconds_sum", f64::MIN_POSITIVE),
        ("process_resident_memory_bytes", 1e6),
        ("wfhost_file_size_bytes", 1.0),
    ] {
        assert!(after[name] >= least, "{name}: {}", after[name]);
    }
    let requests = of(&after, "wfhost_http_request_duration_seconds_count");
    let starts = "method=\"POST\",route=\"/api/v1/instances\",status=\"201\"";
    assert_eq!(requests[starts], 5.0, "{requests:?}");

    // What is gone is not counted any more, and a host that comes back counts what is there.
    let purged = server
        .client()
        .call("DELETE", &format!("{INSTANCES}/sold"), &[], "");
    assert_eq!(purged.status, 200);
    let script = |samples: &BTreeMap<String, f64>| {
        let left = of(samples, "wfhost_instances");
        let left = left.into_iter().map(|(key, it)| (key.to_owned(), it));
        left.collect::<BTreeMap<_, _>>()
    };
    let left = script(&scrape(&server));
    assert_eq!(left.len(), 4, "{left:?}");
    assert_eq!(script(&scrape(&server.again())), left);
}

#[test]
fn metrics_are_guarded_as_the_rest_is() {
    let server = Server::start(&["--token", "secret-of-16-letters"]);
    assert_eq!(server.get("/metrics").status, 401);
    let shown = ["authorization: Bearer secret-of-16-letters"];
    let answer = server.client().call("GET", "/metrics", &shown, "");
    assert_eq!(answer.status, 200);
    // Who was refused counts as well.
    let refused = "route=\"/metrics\",status=\"401\"} 1";
    let lines: Vec<_> = answer
        .body
        .lines()
        .filter(|it| it.contains(refused))
        .collect();
    assert!(lines.iter().any(|it| it.contains("_count{")), "{lines:?}");
    drop(server);
    let server = Server::start(&[]);
    let page = ["origin: https://evil.example"];
    let answer = server.client().call("GET", "/metrics", &page, "");
    assert_eq!(answer.status, 403);
}

#[test]
fn the_log_is_json_line_by_line_and_tells_of_lives_stalls_and_failures() {
    let level = "info,wfhost=debug";
    let server = Server::start(&["--log", "json", "--log-level", level]);
    start(
        &server,
        "a",
        json!([{ "child": { "program": [], "id": "kid" } }]),
    );
    start(&server, "b", json!([{ "fail": "odd" }]));
    let program = json!([{ "call": { "name": "Fails", "input": { "kind": "odd" } } }]);
    start(&server, "c", program);
    start(&server, "d", json!([{ "call": { "name": "Nobody" } }]));
    for id in ["a", "b", "c", "d"] {
        settle(&server, id);
    }
    let run = server.get(&format!("{INSTANCES}/a")).json()["run"].clone();
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let find = |message: &str, field: &str, value: &str| {
        let is = |line: &&Value| line["message"] == message && line[field] == value;
        let found: Vec<_> = lines.iter().filter(is).collect();
        assert_eq!(found.len(), 1, "{message} {value}: {said}");
        found[0].clone()
    };
    let started = find("instance started", "instance", "a");
    assert_eq!(
        (&started["run"], &started["level"]),
        (&run, &json!("DEBUG"))
    );
    assert_eq!(started["workflow"], "Script");
    assert!(started["module"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(find("instance started", "instance", "kid")["parent"], "a");
    let ended = find("instance ended", "instance", "a");
    assert_eq!(
        (&ended["run"], &ended["status"]),
        (&run, &json!("completed"))
    );
    let failed = find("instance ended", "instance", "b");
    assert_eq!(failed["reason"], "odd: as the script says");
    let attempt = find("attempt failed", "instance", "c");
    assert_eq!(attempt["activity"], "Fails");
    assert_eq!(
        (&attempt["attempt"], &attempt["kind"]),
        (&json!(1), &json!("odd"))
    );
    let stalled = find("instance stalled", "instance", "d");
    assert_eq!(
        (&stalled["reason"], &stalled["level"]),
        (&json!("activity-missing"), &json!("WARN"))
    );
    let deployed = lines.iter().find(|it| it["message"] == "deployed").unwrap();
    let names = deployed["names"].as_str().unwrap();
    assert!(names.contains("OrderProcessingWorkflow"), "{names}");
    let request = lines.iter().find(|it| it["route"] == INSTANCES).unwrap();
    assert_eq!(request["status"], 201, "{request}");
    // A turn is no news.
    assert!(!said.contains("turn"), "{said}");
}

#[test]
fn what_cannot_be_observed_so_is_refused_and_leaves_no_file() {
    let shell = Shell::new();
    for (flag, value) in [
        ("--log-level", "loud"),
        ("--log", "xml"),
        ("--otlp-endpoint", "nonsense"),
        ("--otlp-endpoint", "ftp://localhost"),
    ] {
        let refused = shell.run(&["serve", "--listen", "127.0.0.1:0", flag, value]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains(value), "{}", refused.err);
        assert!(shell.files().is_empty(), "{:?}", shell.files());
    }
}

/// Whoever reads the log of a host may stop to do so.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let level = "info,wfhost=debug";
    let mut server = Server::start(&["--log-level", level]);
    // Each is three lines of more than a hundred bytes: more than a pipe takes.
    for number in 0..400 {
        start(&server, &format!("a{number}"), json!([]));
    }
    assert_eq!(settle(&server, "a399")["status"], "completed");
    server.terminate();
    assert_eq!(server.ends(), Some(0));
}

fn traced(collector: &Keeper) -> Server {
    Server::start(&["--otlp-endpoint", &collector.url()])
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Starts a script in the caller's trace.
fn start_traced(server: &Server, id: &str, program: Value) {
    let start = json!({ "workflow": "Script", "id": id, "input": program }).to_string();
    let sent = [PARENT, "tracestate: vendor=1"];
    let started = server.client().call("POST", INSTANCES, &sent, &start);
    assert_eq!(started.status, 201);
}

#[test]
fn an_order_is_a_trace_from_the_caller_through_workflows_to_attempts() {
    let collector = Keeper::start();
    let server = traced(&collector);
    let flaky = json!({ "name": "Flaky", "input": 2, "attempts": 2 });
    let program = json!([
        { "call": { "name": "Echo", "input": 1 } },
        { "child": { "id": "kid", "program": [{ "call": flaky }] } },
    ]);
    start_traced(&server, "a", program);
    assert_eq!(settle(&server, "a")["status"], "completed");
    // Without a trace of its caller, its run is the trace.
    start(&server, "alone", json!([]));
    let run = settle(&server, "alone")["run"].clone();
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");

    let spans = collector.spans(|spans| named(spans, "workflow Script").len() == 3);
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!(ids.len(), spans.len(), "no span comes twice");
    let of = |name: &str, instance: &str| {
        let mut found = named(&spans, name);
        found.retain(|span| attribute(span, "wfhost.instance") == instance);
        found
    };
    let request = spans.iter().find(|span| {
        span.name == "POST /api/v1/instances" && hex(&span.parent_span_id) == "00f067aa0ba902b7"
    });
    let request = request.expect("the request is a child of its caller");
    let [parent] = of("workflow Script", "a")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(parent.parent_span_id, request.span_id);
    assert_eq!(attribute(parent, "wfhost.status"), "completed");
    assert!(parent.end_time_unix_nano >= parent.start_time_unix_nano);
    assert_eq!(parent.trace_state, "vendor=1");
    let [echo] = of("activity Echo", "a")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(echo.parent_span_id, parent.span_id);
    assert_eq!(attribute(echo, "wfhost.outcome"), "completed");
    assert!(attribute(echo, "wfhost.module").starts_with("sha256:"));
    let [child] = of("workflow Script", "kid")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(child.parent_span_id, parent.span_id);
    let attempts = of("activity Flaky", "kid");
    let outcomes: Vec<_> = attempts
        .iter()
        .map(|span| {
            (
                attribute(span, "wfhost.attempt"),
                attribute(span, "wfhost.outcome"),
            )
        })
        .collect();
    let expected = [("1", "failed"), ("2", "completed")];
    assert_eq!(outcomes, expected.map(|(a, b)| (a.into(), b.into())));
    for span in [request, parent, echo, child].into_iter().chain(attempts) {
        assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
    }
    let [alone] = of("workflow Script", "alone")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!(json!(hex(&alone.trace_id)), run);
    assert!(alone.parent_span_id.is_empty(), "{alone:?}");
}

#[test]
fn a_trace_survives_the_death_of_the_host() {
    let collector = Keeper::start();
    let server = traced(&collector);
    let program = json!([
        { "event": "go" },
        { "call": { "name": "Echo", "input": 1 } },
        { "continue": [{ "call": { "name": "Echo", "input": 2 } }] },
    ]);
    start_traced(&server, "a", program);
    let server = server.again();
    let raised = server.post(&format!("{INSTANCES}/a/events/go"), &json!(1));
    assert_eq!(raised.status, 202);
    assert_eq!(settle(&server, "a")["status"], "completed");
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    let of_instance = |spans: &[Span]| {
        let spans = spans.iter();
        let spans = spans.filter(|span| attribute(span, "wfhost.instance") == "a");
        spans.cloned().collect::<Vec<_>>()
    };
    let spans = of_instance(&collector.spans(|spans| of_instance(spans).len() >= 3));
    assert!(
        spans.iter().all(|span| hex(&span.trace_id) == TRACE),
        "{spans:?}"
    );
    let [workflow] = named(&spans, "workflow Script")[..] else {
        panic!("{spans:?}")
    };
    let echoes = named(&spans, "activity Echo");
    assert_eq!(echoes.len(), 2);
    assert!(
        echoes
            .iter()
            .all(|echo| echo.parent_span_id == workflow.span_id)
    );
    assert_ne!(echoes[0].span_id, echoes[1].span_id);
}

#[test]
fn a_request_of_an_activity_carries_the_trace() {
    let (collector, website) = (Keeper::start(), Keeper::start());
    let module = module("http-get").to_str().unwrap().to_owned();
    let check = |exports: bool| {
        let mut arguments = vec![module.clone(), "--allow-host".into(), website.url()];
        if exports {
            arguments.extend(["--otlp-endpoint".into(), collector.url()]);
        }
        let server = Server::serve(Shell::new(), arguments);
        let path = format!("/{exports}");
        let input = json!({ "url": format!("{}{path}", website.url()) });
        let start = json!({ "workflow": "HttpCheckWorkflow", "id": "a", "input": input });
        let sent = [PARENT, "tracestate: vendor=1"];
        let started = server
            .client()
            .call("POST", INSTANCES, &sent, &start.to_string());
        assert_eq!(started.status, 201);
        let shown = settle(&server, "a");
        assert_eq!(shown["output"]["healthy"], true, "{shown}");
        assert_eq!(server.stop().0, Some(0));
        let asked = website.wait(|asked| asked.iter().any(|it| it.path == path));
        let asked = asked.into_iter().find(|it| it.path == path).unwrap();
        assert_eq!(asked.header("tracestate"), Some("vendor=1"));
        asked.header("traceparent").unwrap().to_owned()
    };
    let parent = check(true);
    let spans = collector.spans(|spans| !named(spans, "activity HttpGet").is_empty());
    let attempt = named(&spans, "activity HttpGet")[0];
    assert_eq!(parent, format!("00-{TRACE}-{}-01", hex(&attempt.span_id)));
    // A host that sends no spans passes on what it was told.
    assert_eq!(format!("traceparent: {}", check(false)), PARENT);
}

#[test]
fn a_collector_that_is_not_there_holds_nobody_up() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    // It takes connections, and never answers.
    let server = Server::start(&["--otlp-endpoint", &url]);
    for number in 0..20 {
        start(
            &server,
            &format!("a{number}"),
            json!([{ "call": { "name": "Echo" } }]),
        );
    }
    for number in 0..20 {
        assert_eq!(
            settle(&server, &format!("a{number}"))["status"],
            "completed"
        );
    }
    let spans = scrape(&server);
    assert_eq!(
        of(&spans, "wfhost_spans_total")["outcome=\"exported\""],
        0.0
    );
    let (code, said) = server.stop();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("everything is on disk"), "{said}");
}
