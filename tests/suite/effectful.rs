//! Effectful attempts: they wait for durability, run at least once or at most once, and apply their
//! writes once.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use serde_json::json;
use tempfile::TempDir;
use wfhost::{Host, Options, Outside, StateWrite, Status};

use crate::support::{deploy, history, json as payload, request, run};

fn options(
    outside: impl Fn(&str, &str) -> Result<String, String> + Send + Sync + 'static,
) -> Options {
    let outside: Outside = Arc::new(move |call| outside(&call.request, &call.idempotency_key));
    Options {
        outside: Some(outside),
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_the_outside_happens_after_all_before_it_is_durable() {
    let host = Arc::new(std::sync::OnceLock::<Arc<Host>>::new());
    let seen = Arc::clone(&host);
    let options = options(move |request, _| {
        // What the world may see of this attempt is on disk before it is called.
        let host = seen.get().expect("set before the start");
        assert_eq!(host.durable(), host.submitted(), "{request}");
        Ok(request.to_uppercase())
    });
    let opened = Arc::new(Host::in_memory(options).unwrap());
    assert!(host.set(Arc::clone(&opened)).is_ok());
    deploy(&opened, &["outside"]).await;
    let settled = run(
        &opened,
        "CallsOutside",
        "o",
        r#"{"requests":["a","b","c"]}"#,
    )
    .await;
    assert_eq!(
        settled.instance.output().unwrap().value(),
        json!(["A", "B", "C"])
    );
    assert_eq!(
        opened.state("sent").await.unwrap().unwrap().value.as_str(),
        "3"
    );
    let attempts = history(&opened, "o")
        .into_iter()
        .filter(|row| row["record"] == "attempt");
    assert!(
        attempts.clone().count() == 3
            && attempts
                .into_iter()
                .all(|it| it["contained"] == json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_an_effectful_attempt_is_its_failure_and_its_policy_decides() {
    let (called, calls) = mpsc::channel::<mpsc::Sender<()>>();
    let called = std::sync::Mutex::new(called);
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let options = options(move |_, _| {
        // The first call is held until somebody else has written what it had read.
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            let (go_on, wait) = mpsc::channel();
            called.lock().unwrap().send(go_on).unwrap();
            wait.recv().unwrap();
        }
        Ok("answer".into())
    });
    let host = Host::in_memory(options).unwrap();
    deploy(&host, &["outside"]).await;
    let id = host
        .start(request("CallsOutside", "o", r#"{"requests":["a"]}"#))
        .await
        .unwrap();
    let go_on = tokio::task::spawn_blocking(move || calls.recv().unwrap())
        .await
        .unwrap();
    let write = StateWrite {
        key: "sent".into(),
        value: Some(payload("10")),
        expires_at: None,
    };
    host.write_state(vec![write.into()]).await.unwrap();
    go_on.send(()).unwrap();
    let settled = host.wait(&id).await.unwrap();
    assert_eq!(settled.status(), Status::Completed);
    assert_eq!(
        host.state("sent").await.unwrap().unwrap().value.as_str(),
        "11"
    );
    let rows = history(&host, "o");
    let kinds: Vec<_> = rows
        .iter()
        .filter(|row| row["record"] == "attempt")
        .map(|row| row["failure"]["kind"].clone())
        .collect();
    assert_eq!(kinds, [json!("state-conflict"), json!(null)]);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// The name of the variable that turns this test binary into the host that dies.
const DIES: &str = "WFHOST_TEST_DIES_IN";

/// Runs `CallsOutside` in this process on a file, and dies in its first call to the outside.
#[tokio::test(flavor = "multi_thread")]
async fn host_that_dies_in_a_call_to_the_outside() {
    let Some(dir) = std::env::var_os(DIES) else {
        return;
    };
    let file = std::path::Path::new(&dir).join("data.redb");
    let at_most_once = std::env::var("AT_MOST_ONCE").unwrap();
    let host = Host::open(&file, options(|_, _| std::process::abort())).unwrap();
    let id = "o".parse().unwrap();
    if host.has_instance(&id).await.unwrap() {
        host.drive(&id).unwrap();
    } else {
        deploy(&host, &["outside"]).await;
        let input = format!(r#"{{"requests":["a"],"at_most_once":{at_most_once}}}"#);
        host.start(request("CallsOutside", "o", &input))
            .await
            .unwrap();
    }
    host.wait(&id).await.unwrap();
    // Stalled or failed without another call.
    host.close().await.unwrap();
}

fn die(dir: &TempDir, at_most_once: bool) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "effectful::host_that_dies_in_a_call_to_the_outside",
    ]);
    child
        .env(DIES, dir.path())
        .env("AT_MOST_ONCE", at_most_once.to_string());
    let status = child
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    !status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_the_hosts_death_cut_off_runs_again_under_its_number_and_key() {
    let dir = TempDir::new().unwrap();
    assert!(die(&dir, false));
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let options = options(move |_, key| {
        tell.lock().unwrap().send(key.to_owned()).unwrap();
        Ok("late".into())
    });
    let host = Host::open(&dir.path().join("data.redb"), options).unwrap();
    let id = "o".parse().unwrap();
    host.drive(&id).unwrap();
    let settled = host.wait(&id).await.unwrap();
    assert_eq!(settled.instance.output().unwrap().value(), json!(["late"]));
    assert_eq!(
        host.state("sent").await.unwrap().unwrap().value.as_str(),
        "1"
    );
    let run = settled.instance.started().run;
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [format!("{run}-0-1")]);
    let rows = history(&host, "o");
    let numbers = |record: &str| -> Vec<_> {
        rows.iter()
            .filter(|row| row["record"] == record)
            .map(|row| row["attempt"].clone())
            .collect()
    };
    assert_eq!(numbers("attempt-started"), [json!(1), json!(1)]);
    assert_eq!(numbers("attempt"), [json!(1)]);
    host.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_may_run_at_most_once_fails_as_interrupted() {
    let dir = TempDir::new().unwrap();
    assert!(die(&dir, true));
    let host = Host::open(
        &dir.path().join("data.redb"),
        options(|_, _| unreachable!()),
    )
    .unwrap();
    let id = "o".parse().unwrap();
    host.drive(&id).unwrap();
    let settled = host.wait(&id).await.unwrap();
    let failure = settled.instance.failure().unwrap();
    assert_eq!(
        (settled.status(), failure.kind.as_str()),
        (Status::Failed, "interrupted")
    );
    assert_eq!(host.state("sent").await.unwrap(), None);
    host.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_three_deaths_in_one_attempt_the_instance_stalls() {
    let dir = TempDir::new().unwrap();
    for death in 1..=3 {
        assert!(die(&dir, false), "it did not die the {death}. time");
    }
    assert!(!die(&dir, false), "it was started a fourth time");
    let host = Host::open(
        &dir.path().join("data.redb"),
        options(|_, _| unreachable!()),
    )
    .unwrap();
    let instance = host.instance(&"o".parse().unwrap()).await.unwrap();
    assert_eq!(instance.stall().unwrap().word(), "host-deaths");
    host.close().await.unwrap();
}
