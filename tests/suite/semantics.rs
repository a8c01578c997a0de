//! What durable execution means, on real guests.

use serde_json::json;
use wfhost::{Children, Event, Host, StallReason, StateWrite, Status};

use crate::support::{deploy, history, host, json as payload, name, output, request, run};

#[tokio::test(flavor = "multi_thread")]
async fn steps_one_after_the_other_and_all_at_once() {
    let host = host(&["steps"]).await;
    assert_eq!(
        output(&host, "Steps", "s", r#"{"steps":100}"#).await,
        json!(100)
    );
    assert_eq!(
        output(&host, "FanOut", "f", r#"{"width":200}"#).await,
        json!(19_900)
    );
    let large = r#"{"steps":2,"payload_bytes":200000}"#;
    assert_eq!(output(&host, "Steps", "large", large).await, json!(2));
}

async fn raise(host: &Host, id: &str, event: &str, value: &str) {
    let event = Event {
        name: name(event),
        payload: payload(value),
    };
    host.raise_event(&id.parse().unwrap(), event, None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_buffered_and_come_in_their_order() {
    let host = host(&["steps"]).await;
    host.start(request("Sum", "s", r#"{"events":3}"#))
        .await
        .unwrap();
    for value in ["1", "20", "300"] {
        // Names of events are compared without regard to case.
        raise(&host, "s", "NUMBER", value).await;
    }
    let settled = host.wait(&"s".parse().unwrap()).await.unwrap();
    let expected = json!({"sum": 321, "order": [1, 20, 300]});
    assert_eq!(settled.instance.output().unwrap().value(), expected);

    let event = Event {
        name: name("number"),
        payload: payload("1"),
    };
    let late = host
        .raise_event(&"s".parse().unwrap(), event, None)
        .await
        .unwrap_err();
    assert_eq!(late.to_string(), "the instance `s` has ended (completed)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_is_won_by_the_event_or_by_the_timer() {
    let host = host(&["steps"]).await;
    assert_eq!(
        output(&host, "Race", "t", r#"{"seconds":0.01}"#).await,
        json!({"won": "timer"})
    );
    host.start(request("Race", "e", r#"{"seconds":3600}"#))
        .await
        .unwrap();
    raise(&host, "e", "go", "[7]").await;
    let settled = host.wait(&"e".parse().unwrap()).await.unwrap();
    let expected = json!({"won": "event", "payload": [7]});
    assert_eq!(settled.instance.output().unwrap().value(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_futures_cancel_their_tasks() {
    let host = host(&["steps"]).await;
    assert_eq!(output(&host, "Cancels", "c", "null").await, json!("echo"));
    let cancelled: Vec<_> = history(&host, "c")
        .iter()
        .flat_map(|row| row["commands"].as_array().cloned().unwrap_or_default())
        .filter(|command| command["command"] == "cancel")
        .map(|command| command["task"].clone())
        .collect();
    assert_eq!(cancelled, [json!(1), json!(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_activity_is_tried_again_by_its_policy() {
    let host = host(&["steps"]).await;
    assert_eq!(
        output(&host, "Retries", "r", r#"{"attempts":3}"#).await,
        json!(3)
    );
    let rows = history(&host, "r");
    let attempts: Vec<_> = rows
        .iter()
        .filter(|row| row["record"] == "attempt")
        .collect();
    assert_eq!(attempts.len(), 3);
    for (index, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt["attempt"], json!(index + 1));
        assert_eq!(attempt["failure"].is_null(), index == 2, "{attempt}");
        // One key over all attempts.
        let keys = [&attempts[0], attempt].map(|it| {
            let line = it["log"][0]["message"].as_str().unwrap();
            line.split_once("with key ").unwrap().1.to_owned()
        });
        assert_eq!(keys[0], keys[1]);
    }
    // More failures than the policy allows.
    let settled = run(&host, "Retries", "never", r#"{"attempts":9}"#).await;
    let failure = settled.instance.failure().unwrap();
    assert_eq!(
        (settled.status(), failure.kind.as_str()),
        (Status::Failed, "flaky")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_reads_and_writes_the_state_in_its_turn() {
    let host = host(&["steps"]).await;
    for expected in 1..=3 {
        let id = format!("c{expected}");
        assert_eq!(output(&host, "Counter", &id, "null").await, json!(expected));
    }
    let turn = history(&host, "c2")
        .into_iter()
        .find(|row| row["record"] == "turn")
        .unwrap();
    assert_eq!(turn["state"][0]["found"]["value"], json!(1), "{turn}");
    assert!(
        host.replay(&"c2".parse().unwrap(), None)
            .await
            .unwrap()
            .stray
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_that_race_in_their_turns_lose_no_count() {
    let host = host(&["steps"]).await;
    let ids: Vec<_> = (0..60).map(|number| format!("c{number}")).collect();
    let mut starts = Vec::new();
    for id in &ids {
        starts.push(host.start(request("Counter", id, "null")));
    }
    futures::future::try_join_all(starts).await.unwrap();
    for id in &ids {
        let settled = host.wait(&id.parse().unwrap()).await.unwrap();
        assert_eq!(settled.status(), Status::Completed);
    }
    assert_eq!(
        host.state("counter").await.unwrap().unwrap().value.as_str(),
        "60"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_carries_kind_message_and_details() {
    let host = host(&["steps"]).await;
    let failure = run(&host, "Fails", "f", "null")
        .await
        .instance
        .failure()
        .unwrap();
    assert_eq!(
        (failure.kind.as_str(), failure.message.as_str()),
        ("my-kind", "this workflow fails")
    );
    assert_eq!(failure.details.unwrap().value(), json!({"answer": 42}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failure_that_names_file_and_line() {
    let host = host(&["steps"]).await;
    let settled = run(&host, "Panics", "p", "null").await;
    let failure = settled.instance.failure().unwrap();
    assert_eq!(
        (settled.status(), failure.kind.as_str()),
        (Status::Failed, "panic")
    );
    assert!(
        failure.message.contains("this workflow panics"),
        "{}",
        failure.message
    );
    assert!(
        failure.message.contains("workflows.rs:"),
        "{}",
        failure.message
    );
    let backtrace = failure.details.unwrap().value().to_string();
    assert!(
        backtrace.contains("panics"),
        "no function is named: {backtrace}"
    );
    // The same again.
    assert!(
        host.replay(&"p".parse().unwrap(), None)
            .await
            .unwrap()
            .stray
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_activity_stalls_until_a_module_brings_it() {
    let host = host(&["steps"]).await;
    let settled = run(&host, "CallsUnknown", "u", "null").await;
    assert_eq!(settled.status(), Status::Stalled);
    let reason = settled.instance.stall().cloned().unwrap();
    assert_eq!(
        reason,
        StallReason::ActivityMissing {
            activity: name("Missing")
        }
    );
    deploy(&host, &["missing"]).await;
    let settled = host.wait(&"u".parse().unwrap()).await.unwrap();
    assert_eq!(settled.instance.output().unwrap().value(), json!("found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_keeps_its_workflow_and_takes_the_newest_activities() {
    let host = host(&["steps"]).await;
    let old = host.modules().unwrap()[0].digest;
    host.start(request("Sum", "s", r#"{"events":1}"#))
        .await
        .unwrap();
    deploy(&host, &["steps-changed"]).await;
    raise(&host, "s", "number", "5").await;
    let settled = host.wait(&"s".parse().unwrap()).await.unwrap();
    assert_eq!(
        (settled.status(), settled.instance.module()),
        (Status::Completed, old)
    );
    // A new start takes the new code, which waits between its steps.
    output(&host, "Steps", "new", r#"{"steps":2}"#).await;
    assert!(
        history(&host, "new")
            .iter()
            .any(|row| row["input"] == "timer-fired")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_workflow_cleans_up_and_a_terminated_one_does_not() {
    let host = host(&["steps"]).await;
    for id in ["cancelled", "terminated"] {
        host.start(request("CleansUp", id, "null")).await.unwrap();
    }
    let [cancelled, terminated] = ["cancelled", "terminated"].map(|id| id.parse().unwrap());
    host.cancel(&cancelled, Some("changed my mind".into()), None)
        .await
        .unwrap();
    host.terminate(&terminated, Some("enough".into()), Children::Too, None)
        .await
        .unwrap();
    let settled = host.wait(&cancelled).await.unwrap();
    assert_eq!(settled.status(), Status::Cancelled);
    let attempts = |id: &str| {
        history(&host, id)
            .iter()
            .filter(|it| it["record"] == "attempt")
            .count()
    };
    assert_eq!(attempts("cancelled"), 1);
    let settled = host.wait(&terminated).await.unwrap();
    assert_eq!(settled.status(), Status::Terminated);
    assert_eq!(settled.instance.failure().unwrap().message, "enough");
    assert_eq!(attempts("terminated"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_events_survive_continue_as_new() {
    let host = host(&["steps"]).await;
    host.start(request("Continues", "c", r#"{"left":3}"#))
        .await
        .unwrap();
    for value in ["1", "2", "3"] {
        raise(&host, "c", "next", value).await;
    }
    let settled = host.wait(&"c".parse().unwrap()).await.unwrap();
    assert_eq!(settled.instance.output().unwrap().value(), json!([1, 2, 3]));
    assert_eq!(settled.instance.started().generation, 3);
    assert!(
        host.replay(&"c".parse().unwrap(), None)
            .await
            .unwrap()
            .stray
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_answers_its_parent() {
    let host = host(&["steps"]).await;
    let child =
        |workflow: &str, input: &str| format!(r#"{{"workflow":"{workflow}","input":{input}}}"#);
    let result = output(&host, "Parent", "p", &child("Steps", r#"{"steps":3}"#)).await;
    assert_eq!(result, json!({"result": 3}));
    let failed = output(&host, "Parent", "q", &child("Fails", "null")).await;
    assert_eq!(failed, json!({"kind": "my-kind"}));
    let child = host.instance(&"p-0-1".parse().unwrap()).await.unwrap();
    assert_eq!(child.started().parent.as_ref().unwrap().id.as_str(), "p");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_closed_goes_on_where_it_was() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("data.redb");
    let id = "s".parse().unwrap();
    let open = || Host::open(&file, wfhost::Options::default()).unwrap();
    let first = open();
    deploy(&first, &["steps"]).await;
    first
        .start(request("Sum", "s", r#"{"events":2}"#))
        .await
        .unwrap();
    raise(&first, "s", "number", "1").await;
    let write = StateWrite {
        key: "k".into(),
        value: Some(payload("[1]")),
        expires_at: None,
    };
    first.write_state(vec![write.into()]).await.unwrap();
    first.close().await.unwrap();

    let second = open();
    assert_eq!(
        second.state("k").await.unwrap().unwrap().value.as_str(),
        "[1]"
    );
    second.drive(&id).unwrap();
    raise(&second, "s", "number", "2").await;
    let settled = second.wait(&id).await.unwrap();
    assert_eq!(
        settled.instance.output().unwrap().value(),
        json!({"sum": 3, "order": [1, 2]})
    );
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_activity_is_not_forgotten_while_other_work_goes_on() {
    let host = host(&["steps"]).await;
    // One branch calls an activity that is not there, the other waits for an event.
    let id = host
        .start(request("WaitsForMissing", "m", "null"))
        .await
        .unwrap();
    assert_eq!(host.wait(&id).await.unwrap().status(), Status::Stalled);
    raise(&host, "m", "go", "1").await;
    assert_eq!(host.wait(&id).await.unwrap().status(), Status::Stalled);
    deploy(&host, &["missing"]).await;
    let settled = host.wait(&id).await.unwrap();
    assert_eq!(
        settled.instance.output().unwrap().value(),
        json!(["found", 1])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_of_a_termination() {
    let host = host(&["steps"]).await;
    let id = host.start(request("CleansUp", "t", "null")).await.unwrap();
    let (settled, terminated) = tokio::join!(
        host.wait(&id),
        host.terminate(&id, None, Children::Too, None)
    );
    terminated.unwrap();
    assert_eq!(settled.unwrap().status(), Status::Terminated);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_generation_has_random_numbers_of_its_own_and_replays_on_its_own_module() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("data.redb");
    let id = "r".parse().unwrap();
    let first = Host::open(&file, wfhost::Options::default()).unwrap();
    deploy(&first, &["steps"]).await;
    first
        .start(request("Rerolls", "r", r#"{"left":2}"#))
        .await
        .unwrap();
    // From the second generation on it runs on another module.
    deploy(&first, &["steps-changed"]).await;
    raise(&first, "r", "next", "null").await;
    first.close().await.unwrap();

    let second = Host::open(&file, wfhost::Options::default()).unwrap();
    second.drive(&id).unwrap();
    raise(&second, "r", "next", "null").await;
    let settled = second.wait(&id).await.unwrap();
    assert_eq!(
        settled.status(),
        Status::Completed,
        "{:?}",
        settled.instance.stall()
    );
    let rolls = settled.instance.output().unwrap().value();
    let rolls = rolls.as_array().unwrap();
    assert_eq!(rolls.len(), 2);
    assert_ne!(rolls[0], rolls[1]);
    assert!(second.replay(&id, None).await.unwrap().stray.is_none());
    second.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_from_one_workflow_to_another_arrives_once() {
    let host = host(&["steps"]).await;
    host.start(request("Sum", "target", r#"{"events":2}"#))
        .await
        .unwrap();
    let input = r#"{"instance":"target","events":[3,4]}"#;
    assert_eq!(
        output(&host, "Raises", "sender", input).await,
        json!(["sent", "sent"])
    );
    let settled = host.wait(&"target".parse().unwrap()).await.unwrap();
    let expected = json!({"sum": 7, "order": [3, 4]});
    assert_eq!(settled.instance.output().unwrap().value(), expected);
    let late = output(&host, "Raises", "late", input).await;
    assert_eq!(late, json!(["ended", "ended"]));
    let nobody = r#"{"instance":"nobody","events":[1]}"#;
    assert_eq!(
        output(&host, "Raises", "lost", nobody).await,
        json!(["no-such-instance"])
    );
}
