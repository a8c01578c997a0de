//! Instances that go back to an earlier turn.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use serde_json::{Value, json};
use tempfile::TempDir;
use wfhost::{
    Children, Digest, Event, Host, InstanceId, Options, ResetRequest, Status, Verdict, view,
};

use crate::support::{deploy, history, host, json as payload, name, request, upload};

fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn digest(package: &str) -> Digest {
    Digest::of(&upload(package).bytes)
}

fn to(to_turn: u64) -> ResetRequest {
    ResetRequest {
        to_turn,
        module: None,
        allow_input_changes: false,
        dry_run: false,
    }
}

async fn raise(host: &Host, to: &str, event: &str, number: u64) {
    let event = Event {
        name: name(event),
        payload: payload(&number.to_string()),
    };
    host.raise_event(&id(to), event, None).await.unwrap();
}

async fn start(host: &Host, workflow: &str, of: &str, input: Value) {
    let start = request(workflow, of, &input.to_string());
    host.start(start).await.unwrap();
    host.quiet().await.unwrap();
}

async fn output(host: &Host, of: &str) -> Value {
    let instance = host.wait(&id(of)).await.unwrap().instance;
    let output = instance.output().cloned();
    output
        .unwrap_or_else(|| panic!("{of}: {:?} {:?}", instance.status(), instance.failure()))
        .value()
}

async fn run_of(host: &Host, of: &str) -> wfhost::RunId {
    host.instance(&id(of)).await.unwrap().started().run
}

async fn replays_the_same(host: &Host, of: &str) {
    let replayed = host.replay(&id(of), None).await.unwrap();
    assert_eq!(replayed.stray, None, "{of}");
}

/// The parent waits for it all the time, and so does somebody outside.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_goes_back_and_its_parent_gets_its_result_after_a_restart_too() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data.redb");
    let options = || Options {
        guests_warm_max: 0,
        ..Options::default()
    };
    let host = Host::open(&path, options()).unwrap();
    deploy(&host, &["steps", "swap"]).await;
    host.drive_all().await.unwrap();
    let child = json!({ "workflow": "Swap", "input": { "rounds": 3 } });
    start(&host, "Parent", "p", child).await;
    let child = "p-0-1";
    for number in 1..=2 {
        raise(&host, child, "go", number).await;
    }
    host.quiet().await.unwrap();
    let before = host.instance(&id(child)).await.unwrap();
    assert_eq!(before.turns(), 6);

    let dry = ResetRequest {
        dry_run: true,
        ..to(3)
    };
    let submitted = host.submitted();
    let would = host.reset(&id(child), dry).await.unwrap();
    assert_eq!((would.run, host.submitted()), (None, submitted));
    let done = host.reset(&id(child), to(3)).await.unwrap();
    assert_eq!(done.lost, would.lost);
    assert_eq!(done.verdict, Verdict::Same);
    let lost = view::reset(&id(child), &done)["lost"].clone();
    assert_eq!(lost["turns"], 4);
    let calls = lost["activities"].as_array().unwrap().len();
    assert_eq!(
        (calls, &lost["activities"][0]["completed"]),
        (2, &json!(true))
    );
    assert_eq!(lost["keys_written"], json!(["swap/p-0-1"]));
    host.quiet().await.unwrap();

    // Both events were read again.
    let after = host.instance(&id(child)).await.unwrap();
    assert_eq!(after.turns(), 6);
    assert_eq!(after.started().parent, before.started().parent);
    assert_eq!(Some(after.started().run), done.run);
    assert_ne!(after.started().run, before.started().run);
    let waits = id(child);
    let waited = {
        let waited = host.wait(&waits);
        let mut waited = std::pin::pin!(waited);
        tokio::select! {
            biased;
            _ = &mut waited => panic!("it does not end by itself"),
            () = std::future::ready(()) => {}
        }
        host.reset(&id(child), to(5)).await.unwrap();
        raise(&host, child, "go", 3).await;
        waited.await.unwrap()
    };
    assert_eq!(waited.status(), Status::Completed);
    let expected = json!(["old 0 1", "old 1 2", "old 2 3"]);
    assert_eq!(output(&host, "p").await, json!({ "result": expected }));
    replays_the_same(&host, child).await;
    let rows = history(&host, child);
    let resets: Vec<_> = rows.iter().filter(|row| row["record"] == "reset").collect();
    assert_eq!(resets.len(), 2);
    assert_eq!(resets[0]["turn"], 5);
    assert_eq!(
        (&resets[1]["turn"], &resets[1]["copied"]),
        (&json!(3), &json!(true))
    );
    host.close().await.unwrap();

    let host = Host::open(&path, options()).unwrap();
    replays_the_same(&host, child).await;
    assert_eq!(output(&host, "p").await, json!({ "result": expected }));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_with_other_code_that_does_the_same_in_the_turns_that_are_kept() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data.redb");
    let host = Host::open(&path, Options::default()).unwrap();
    deploy(&host, &["steps", "swap"]).await;
    let input = |kind| json!({ "rounds": 2, "kind": kind });
    for kind in ["order", "payload"] {
        start(&host, "Swap", kind, input(kind)).await;
        raise(&host, kind, "go", 0).await;
    }
    host.quiet().await.unwrap();
    deploy(&host, &["swap-changed"]).await;
    let on = |to_turn| ResetRequest {
        module: Some(digest("swap-changed")),
        ..to(to_turn)
    };
    let refused = async |of: &str, request| {
        let before = host.submitted();
        let error = host.reset(&id(of), request).await.unwrap_err();
        assert!(error.is_callers(), "{error}");
        assert_eq!(host.submitted(), before);
        error.to_string()
    };
    let diverges = refused("order", on(4)).await;
    assert!(
        diverges.contains("code:    task 3: create a timer"),
        "{diverges}"
    );
    let input = refused("payload", on(3)).await;
    assert!(input.contains("if input changes are allowed"), "{input}");
    let elsewhere = ResetRequest {
        module: Some(digest("steps")),
        ..to(1)
    };
    assert!(refused("order", elsewhere).await.contains("does not offer"));
    for turn in [0, 5] {
        let none = refused("order", to(turn)).await;
        assert!(none.contains("it may be to 1 to 4"), "{none}");
    }
    assert!(
        refused("nobody", to(1))
            .await
            .contains("there is no instance")
    );

    host.reset(&id("order"), on(3)).await.unwrap();
    let allowed = ResetRequest {
        allow_input_changes: true,
        ..on(3)
    };
    let done = host.reset(&id("payload"), allowed).await.unwrap();
    assert!(matches!(done.verdict, Verdict::InputChanged(_)));
    // On its own code again, which was allowed to differ.
    host.quiet().await.unwrap();
    host.reset(&id("payload"), to(3)).await.unwrap();
    host.quiet().await.unwrap();
    host.close().await.unwrap();

    let host = Host::open(&path, Options::default()).unwrap();
    for kind in ["order", "payload"] {
        let instance = host.instance(&id(kind)).await.unwrap();
        assert_eq!(instance.module(), digest("swap-changed"));
        host.drive(&id(kind)).unwrap();
        raise(&host, kind, "go", 7).await;
    }
    assert_eq!(output(&host, "order").await, json!(["new 0 0", "new 1 7"]));
    let payload = json!(["new 0 0", "new 101 7"]);
    assert_eq!(output(&host, "payload").await, payload);
    for kind in ["order", "payload"] {
        replays_the_same(&host, kind).await;
    }
    let ended = host.reset(&id("order"), to(1)).await.unwrap_err();
    assert!(ended.to_string().contains("has ended"), "{ended}");
}

/// A child that is kept answers to the new run; one that is lost is cancelled, and gives way to the
/// one that the new run starts under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_keeps_the_children_of_its_kept_turns_and_no_others() {
    for suspended in [false, true] {
        let host = host(&["scripted"]).await;
        host.drive_all().await.unwrap();
        let child = |id: &str| {
            // It does something before it waits, and does not let its cancellation through.
            let calls = json!({ "call": { "name": "Echo", "input": 1 } });
            let program =
                json!([calls, { "finally": [[{ "event": id }], [{ "event": "still" }]] }]);
            json!([{ "child": { "program": program, "id": id } }])
        };
        let late = json!([{ "event": "go" }, child("lost")[0]]);
        let program = json!([{ "all": [child("kept"), late] }]);
        start(&host, "Script", "p", program).await;
        raise(&host, "p", "go", 1).await;
        host.quiet().await.unwrap();
        let (kept, lost) = (run_of(&host, "kept").await, run_of(&host, "lost").await);
        if suspended {
            host.suspend(&id("p"), None, Children::Not, None)
                .await
                .unwrap();
        }
        let done = host.reset(&id("p"), to(2)).await.unwrap();
        assert_eq!(done.lost.children.len(), 1);
        assert_eq!(done.lost.children[0].id, Some(id("lost")));
        assert!(!done.lost.children[0].ended);
        host.quiet().await.unwrap();
        if suspended {
            let lost = host.instance(&id("lost")).await.unwrap();
            assert!(lost.cancel_requested() && !lost.status().has_ended());
            assert!(lost.cancel_reason().unwrap().contains("gave it up"));
            host.resume(&id("p"), Children::Not, None).await.unwrap();
            host.quiet().await.unwrap();
        }
        assert_eq!(run_of(&host, "kept").await, kept);
        let again = host.instance(&id("lost")).await.unwrap();
        assert_ne!(again.started().run, lost);
        assert_eq!(again.turns(), 2);
        raise(&host, "kept", "kept", 2).await;
        raise(&host, "lost", "lost", 3).await;
        assert_eq!(
            output(&host, "p").await,
            json!([[[[1, [2]]], [1, [1, [3]]]]])
        );
        replays_the_same(&host, "p").await;
    }
}

/// The parent was terminated after its reset: what answers to it ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_child_ends_with_its_parent() {
    let host = host(&["scripted"]).await;
    let kept = json!([{ "child": { "program": [{ "event": "never" }], "id": "kept" } }]);
    let late = json!([{ "event": "go" }, { "event": "never" }]);
    start(&host, "Script", "p", json!([{ "all": [kept, late] }])).await;
    raise(&host, "p", "go", 1).await;
    host.quiet().await.unwrap();
    host.reset(&id("p"), to(2)).await.unwrap();
    host.terminate(&id("p"), None, Children::Too, None)
        .await
        .unwrap();
    let kept = host.wait(&id("kept")).await.unwrap();
    assert_eq!(kept.status(), Status::Terminated);
}

/// What its attempt does later is refused: it belongs to a run that is over.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_a_lost_turn_is_fenced_out() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let (seen, calls) = mpsc::channel();
    let seen = Mutex::new(seen);
    let count = AtomicU32::new(0);
    let options = Options {
        outside: Some(Arc::new(move |call| {
            let told = (call.request.clone(), call.idempotency_key.clone());
            seen.lock().unwrap().send(told).unwrap();
            if call.request == "b" && count.fetch_add(1, Ordering::SeqCst) == 0 {
                // Until the test is over.
                let _ = gone.lock().unwrap().recv();
                return Ok("too late".into());
            }
            Ok(call.request.to_uppercase())
        })),
        ..Options::default()
    };
    let host = Host::in_memory(options).unwrap();
    deploy(&host, &["outside"]).await;
    let input = json!({ "requests": ["a", "b", "c"] });
    let start = request("CallsOutside", "o", &input.to_string());
    host.start(start).await.unwrap();
    let next = || calls.recv().unwrap();
    assert_eq!(next().0, "a");
    let (first, key) = next();
    assert_eq!(first, "b");
    let done = host.reset(&id("o"), to(2)).await.unwrap();
    let activity = &done.lost.activities[0];
    assert_eq!((activity.attempts, activity.effectful), (1, true));
    assert!(!activity.completed);
    let (again, new_key) = next();
    assert_eq!(again, "b");
    assert_ne!(new_key, key);
    assert_eq!(output(&host, "o").await, json!(["A", "B", "C"]));
    go.send(()).unwrap();
    host.quiet().await.unwrap();
    assert_eq!(output(&host, "o").await, json!(["A", "B", "C"]));
    replays_the_same(&host, "o").await;
}
