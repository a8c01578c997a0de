//! How many attempts run at once, and that one that hangs is let go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};

use serde_json::{Value, json};
use wfhost::{Bounds, Children, Event, Host, Options, Outside, Status};

use crate::support::{deploy, history, json as payload, name, request};

/// So many calls of the outside at once.
fn calls(count: usize) -> String {
    let call = json!([{ "call": { "name": "CallOutside", "input": "x", "attempts": 9 } }]);
    json!([{ "all": vec![call; count] }]).to_string()
}

async fn most_at_once(bounds: Bounds, instances: usize, meet: usize) -> usize {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, seen) = (Arc::clone(&inside), Arc::clone(&most));
    // Nobody leaves before so many are in, so that a bound that is too low is noticed as well.
    let barrier = Barrier::new(meet);
    let outside: Outside = Arc::new(move |_| {
        let now = counted.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(now, Ordering::SeqCst);
        barrier.wait();
        counted.fetch_sub(1, Ordering::SeqCst);
        // Failing keeps the attempts from fighting for the key that they count under.
        Err("again".to_owned())
    });
    let options = Options {
        outside: Some(outside),
        bounds,
        ..Options::default()
    };
    let host = Host::in_memory(options).unwrap();
    deploy(&host, &["scripted", "outside"]).await;
    let once = calls(12 / instances).replace("\"attempts\":9", "\"attempts\":1");
    for number in 0..instances {
        let id = format!("i{number}");
        host.start(request("Script", &id, &once)).await.unwrap();
    }
    for number in 0..instances {
        let id = format!("i{number}").parse().unwrap();
        let settled = host.wait(&id).await.unwrap();
        assert_eq!(settled.status(), Status::Failed);
    }
    most.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_attempts_run_at_once_than_they_may() {
    let host = Bounds {
        running_max: 3,
        ..Bounds::default()
    };
    assert_eq!(most_at_once(host, 1, 3).await, 3);
    let by_name = Bounds {
        running_by_name_max: [(name("CallOutside"), 2)].into(),
        ..Bounds::default()
    };
    assert_eq!(most_at_once(by_name, 2, 2).await, 2);
    let by_instance = Bounds {
        running_per_instance_max: 2,
        ..Bounds::default()
    };
    assert_eq!(most_at_once(by_instance, 2, 4).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_is_let_go_when_nobody_waits_for_it_any_more() {
    let (called, calls) = mpsc::channel::<()>();
    let (let_go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let outside: Outside = Arc::new(move |_| {
        called.send(()).unwrap();
        // Until the test is over.
        let _ = held.lock().unwrap().recv();
        Ok("too late".to_owned())
    });
    let options = Options {
        outside: Some(outside),
        bounds: Bounds {
            running_max: 1,
            ..Bounds::default()
        },
        ..Options::default()
    };
    let host = Host::in_memory(options).unwrap();
    deploy(&host, &["scripted", "outside"]).await;
    let hangs = json!({ "call": { "name": "CallOutside", "input": "x" } });
    let program = json!([
        { "race": [[hangs], [{ "event": "go" }]] },
        // There is room for one attempt: this one runs only if the other was really stopped.
        { "call": { "name": "Echo", "input": "after" } },
    ]);
    let id = host
        .start(request("Script", "a", &program.to_string()))
        .await
        .unwrap();
    calls.recv().unwrap();
    let go = Event {
        name: name("go"),
        payload: payload("1"),
    };
    host.raise_event(&id, go, None).await.unwrap();
    let settled = host.wait(&id).await.unwrap();
    let output = settled.instance.output().unwrap().value();
    assert_eq!(output, json!([{ "won": 1, "with": [1] }, "after"]));
    drop(let_go);
    let wrote = |row: &Value| row["writes"].as_array().is_some_and(|it| !it.is_empty());
    assert!(!history(&host, "a").iter().any(wrote));
    assert!(host.state("sent").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_never_come_back_hold_nobody_else_up() {
    let host = Host::in_memory(Options::default()).unwrap();
    deploy(&host, &["scripted"]).await;
    let call = |activity| json!([{ "call": { "name": activity, "input": 1 } }]).to_string();
    // More than there are workers.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut spinning = Vec::new();
    for number in 0..workers + 2 {
        let id = format!("spins-{number}");
        let begun = host.start(request("Script", &id, &call("Spins"))).await;
        spinning.push(begun.unwrap());
    }
    let settled = host.run(request("Script", "echo", &call("Echo"))).await;
    assert_eq!(settled.unwrap().status(), Status::Completed);
    // They are stopped, or closing would wait for them.
    for id in spinning {
        let ended = host.terminate(&id, None, Children::Too, None).await;
        ended.unwrap();
    }
    host.close().await.unwrap();
}
