//! A host that drives every instance of its file, and holds in memory only those that move.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use wfhost::{Clock, Event, Host, InstanceId, Options, Query, Status, Timestamp};

use crate::support::{deploy, json as payload, request};

const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: u64 = 86_400_000;

fn options(clock: &Clock) -> Options {
    Options {
        clock: clock.clone(),
        guests_warm_max: 0,
        ..Options::default()
    }
}

fn clock() -> Clock {
    Clock::still(Timestamp(1_000_000))
}

/// A host in memory that drives all.
async fn driving(clock: &Clock) -> Host {
    let host = Host::in_memory(options(clock)).unwrap();
    deploy(&host, &["scripted"]).await;
    host.drive_all().await.unwrap();
    host
}

async fn start(host: &Host, id: &str, program: serde_json::Value) -> InstanceId {
    let request = request("Script", id, &program.to_string());
    host.start(request).await.unwrap()
}

async fn raise(host: &Host, id: &InstanceId) {
    let event = Event {
        name: "go".parse().unwrap(),
        payload: payload("1"),
    };
    host.raise_event(id, event, None).await.unwrap();
}

async fn status(host: &Host, id: &InstanceId) -> Status {
    host.instance(id).await.unwrap().status()
}

async fn advance(host: &Host, by: Duration) {
    host.advance_time(by);
    host.quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_later_a_host_that_was_restarted_wakes_what_waits_for_that() {
    let (dir, clock) = (TempDir::new().unwrap(), clock());
    let path = dir.path().join("data.redb");
    let host = Host::open(&path, options(&clock)).unwrap();
    deploy(&host, &["scripted"]).await;
    let sleeps = start(&host, "sleeps", json!([{ "sleep": DAY_MS }])).await;
    let longer = start(&host, "longer", json!([{ "sleep": DAY_MS + 1 }])).await;
    host.close().await.unwrap();

    let host = Host::open(&path, options(&clock)).unwrap();
    host.drive_all().await.unwrap();
    host.quiet().await.unwrap();
    assert_eq!(host.instances_in_memory(), 0);
    let due = Timestamp(1_000_000 + DAY_MS);
    assert_eq!(host.next_timer(), Some(due));
    advance(&host, DAY - Duration::from_secs(1)).await;
    // It is near, and in memory for that.
    assert_eq!(
        (host.instances_in_memory(), host.next_timer()),
        (2, Some(due))
    );
    assert_eq!(status(&host, &sleeps).await, Status::Running);
    advance(&host, Duration::from_secs(1)).await;
    assert_eq!(status(&host, &sleeps).await, Status::Completed);
    assert_eq!(status(&host, &longer).await, Status::Running);
    host.close().await.unwrap();

    // One that is overdue when the host starts.
    clock.advance(DAY);
    let host = Host::open(&path, options(&clock)).unwrap();
    host.drive_all().await.unwrap();
    assert_eq!(
        host.wait(&longer).await.unwrap().status(),
        Status::Completed
    );
    host.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_told_to_a_parked_instance_wakes_it() {
    let host = driving(&clock()).await;
    let waits = json!([{ "event": "go" }]);
    let [raised, cancelled, asked, resumed] = [
        start(&host, "raised", waits.clone()).await,
        start(&host, "cancelled", waits.clone()).await,
        start(&host, "asked", json!([{ "collect": 1 }])).await,
        start(&host, "resumed", waits).await,
    ];
    host.suspend(&resumed, None, wfhost::Children::Not, None)
        .await
        .unwrap();
    raise(&host, &resumed).await;
    host.quiet().await.unwrap();
    assert_eq!(host.instances_in_memory(), 0);

    // Somebody waits before, somebody after.
    let before = async { host.wait(&raised).await.unwrap().status() };
    let (status, ()) = tokio::join!(before, raise(&host, &raised));
    assert_eq!(status, Status::Completed);
    host.cancel(&cancelled, None, None).await.unwrap();
    let status = host.wait(&cancelled).await.unwrap().status();
    assert_eq!(status, Status::Cancelled);
    let add = "add".parse().unwrap();
    let answer = host.update(&asked, add, payload("1"), None).await.unwrap();
    assert_eq!(answer.unwrap(), payload("1"));
    assert_eq!(host.wait(&asked).await.unwrap().status(), Status::Completed);
    host.resume(&resumed, wfhost::Children::Not, None)
        .await
        .unwrap();
    let status = host.wait(&resumed).await.unwrap().status();
    assert_eq!(status, Status::Completed);
    host.quiet().await.unwrap();
    assert_eq!(host.instances_in_memory(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_from_another_instance_wakes_a_parked_one() {
    let host = driving(&clock()).await;
    let waits = start(
        &host,
        "waits",
        json!([{ "event": "go" }, { "sleep": DAY_MS }]),
    )
    .await;
    host.quiet().await.unwrap();
    start(&host, "tells", json!([{ "raise": ["waits", "go", 1] }])).await;
    host.quiet().await.unwrap();
    assert_eq!(host.instances_in_memory(), 0);
    advance(&host, DAY).await;
    assert_eq!(status(&host, &waits).await, Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_that_wait_take_no_more_memory_than_their_guests() {
    let clock = clock();
    let options = Options {
        guests_warm_max: 10,
        ..options(&clock)
    };
    let host = Host::in_memory(options).unwrap();
    deploy(&host, &["scripted"]).await;
    host.drive_all().await.unwrap();
    let mut ids = Vec::new();
    for number in 0..1_000u64 {
        let program = match number % 2 {
            0 => json!([{ "sleep": DAY_MS + number }]),
            _ => json!([{ "event": "go" }]),
        };
        ids.push(start(&host, &format!("i{number}"), program).await);
    }
    host.quiet().await.unwrap();
    assert!(host.instances_in_memory() <= 10);
    for id in ids.iter().skip(1).step_by(2) {
        raise(&host, id).await;
    }
    host.quiet().await.unwrap();
    advance(&host, 2 * DAY).await;
    assert_eq!(host.instances_in_memory(), 0);
    let query = Query {
        statuses: vec![Status::Completed],
        limit: 2_000,
        ..Query::default()
    };
    assert_eq!(host.find(&query).await.unwrap().rows.len(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_a_child_and_a_timer_is_parked_and_woken_by_either() {
    let host = driving(&clock()).await;
    let race = |child: serde_json::Value| {
        json!([{ "race": [
            [{ "child": { "program": [child], "attempts": 2 } }],
            [{ "sleep": 2 * DAY_MS }],
        ] }])
    };
    let by_timer = start(&host, "timer", race(json!({ "event": "go" }))).await;
    let by_child = start(&host, "child", race(json!({ "sleep": DAY_MS }))).await;
    host.quiet().await.unwrap();
    assert_eq!(host.instances_in_memory(), 0);
    advance(&host, DAY).await;
    assert_eq!(status(&host, &by_child).await, Status::Completed);
    assert_eq!(status(&host, &by_timer).await, Status::Running);
    advance(&host, DAY).await;
    assert_eq!(status(&host, &by_timer).await, Status::Completed);
    host.quiet().await.unwrap();
    assert_eq!(host.instances_in_memory(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_runs_for_the_second_time_does_not_hide_a_timer() {
    let host = driving(&clock()).await;
    let child =
        json!({ "attempts": 2, "id": "c", "program": [{ "event": "go" }, { "fail": "no" }] });
    let program = json!([{ "race": [[{ "child": child }], [{ "sleep": 2 * DAY_MS }]] }]);
    let parent = start(&host, "p", program).await;
    host.quiet().await.unwrap();
    raise(&host, &"c".parse().unwrap()).await;
    // It fails before time passes, and is due again a second later.
    host.quiet().await.unwrap();
    advance(&host, DAY).await;
    let again = host.find(&Query::default()).await.unwrap().rows;
    assert_eq!(again.len(), 3, "the child was started again: {again:?}");
    advance(&host, DAY).await;
    assert_eq!(status(&host, &parent).await, Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_time_passes_by_nobody_who_is_parked() {
    let host = driving(&clock()).await;
    let mut ids = Vec::new();
    for days in [3, 1, 2] {
        ids.push(
            start(
                &host,
                &format!("d{days}"),
                json!([{ "sleep": days * DAY_MS }, "now"]),
            )
            .await,
        );
    }
    host.quiet().await.unwrap();
    assert_eq!(host.instances_in_memory(), 0);
    host.skip_time(true);
    host.quiet().await.unwrap();
    for (id, days) in ids.iter().zip([3, 1, 2]) {
        let instance = host.instance(id).await.unwrap();
        let output = instance.output().map(wfhost::Json::value);
        assert_eq!(output, Some(json!(["slept", days * DAY_MS])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_wakes_what_is_stalled_for_it() {
    let host = driving(&clock()).await;
    let stalls = start(&host, "stalls", json!([{ "call": { "name": "Missing" } }])).await;
    host.quiet().await.unwrap();
    assert_eq!(status(&host, &stalls).await, Status::Stalled);
    assert_eq!(host.instances_in_memory(), 0);
    deploy(&host, &["missing"]).await;
    host.quiet().await.unwrap();
    assert_eq!(status(&host, &stalls).await, Status::Completed);
}
