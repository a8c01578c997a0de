//! Deployments under load: every order ends as it should, whatever is swapped meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use wfhost::{Digest, Host, Options, StateWrite, Status, Upload};

use crate::support::{history, json as payload, request, upload};

/// The order workflow and its activities under another digest: with a custom section that nothing
/// looks at.
fn variant(name: u8) -> Upload {
    let mut upload = upload("order-processing");
    upload.bytes.extend([0, 3, 1, b'v', name]);
    upload
}

fn digest(name: u8) -> String {
    Digest::of(&variant(name).bytes).to_string()
}

async fn stocked(dir: &tempfile::TempDir) -> Arc<Host> {
    let host = Host::open(&dir.path().join("orders.redb"), Options::default()).unwrap();
    host.deploy(vec![variant(0)]).await.unwrap();
    // Each customer orders an item of their own, so that the orders do not wait for each other.
    let stock = (0..CALLERS).map(|caller| {
        let value = json!({ "name": item(caller), "totalCost": 15_000, "quantity": 1_000_000 });
        StateWrite {
            key: item(caller),
            value: Some(payload(&value.to_string())),
            expires_at: None,
        }
        .into()
    });
    host.write_state(stock.collect()).await.unwrap();
    Arc::new(host)
}

const CALLERS: usize = 16;

fn item(caller: usize) -> String {
    format!("item-{caller}")
}

/// Orders, one after the other, until it is enough; each must succeed. Returns how many.
async fn order(
    host: Arc<Host>,
    caller: usize,
    enough: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> usize {
    let mut number = 0;
    while !enough.load(Ordering::SeqCst) {
        let id = format!("o-{caller}-{number}");
        let input = json!({ "Name": item(caller), "TotalCost": 1, "Quantity": 1 });
        let start = request("OrderProcessingWorkflow", &id, &input.to_string());
        let settled = host.run(start).await.unwrap();
        assert_eq!(settled.status(), Status::Completed, "{id}");
        assert_eq!(
            settled.instance.output().unwrap().as_str(),
            r#"{"Processed":true}"#
        );
        number += 1;
        done.fetch_add(1, Ordering::SeqCst);
    }
    number
}

/// Has orders made while `swap` is called for each number up to `swaps`, each time after some more
/// orders have ended. Returns how many attempts each module ran.
async fn under_load(
    host: &Arc<Host>,
    swaps: usize,
    swap: impl AsyncFn(usize),
) -> BTreeMap<String, usize> {
    let (enough, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let callers = (0..CALLERS).map(|caller| {
        tokio::spawn(order(
            Arc::clone(host),
            caller,
            Arc::clone(&enough),
            Arc::clone(&done),
        ))
    });
    let callers: Vec<_> = callers.collect();
    for number in 0..swaps {
        let before = done.load(Ordering::SeqCst);
        while done.load(Ordering::SeqCst) < before + 3 {
            assert!(
                callers.iter().all(|it| !it.is_finished()),
                "an order did not succeed"
            );
            tokio::task::yield_now().await;
        }
        swap(number).await;
    }
    enough.store(true, Ordering::SeqCst);
    let mut attempts = BTreeMap::new();
    for (caller, orders) in callers.into_iter().enumerate() {
        for number in 0..orders.await.unwrap() {
            for row in history(host, &format!("o-{caller}-{number}")) {
                if row["record"] == "attempt" {
                    assert_eq!(row["failure"], Value::Null, "{row}");
                    let module = row["module"].as_str().unwrap().to_owned();
                    *attempts.entry(module).or_default() += 1;
                }
            }
        }
    }
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn activities_are_swapped_a_hundred_times_and_no_order_notices() {
    let dir = tempfile::tempdir().unwrap();
    let host = stocked(&dir).await;
    let attempts = under_load(&host, 100, async |number: usize| {
        let next = u8::from(number.is_multiple_of(2));
        host.deploy(vec![variant(next)]).await.unwrap();
    })
    .await;
    // Each says which of the two ran it.
    assert_eq!(attempts.keys().cloned().collect::<Vec<_>>(), {
        let mut both = vec![digest(0), digest(1)];
        both.sort();
        both
    });
    assert!(attempts.values().all(|count| *count > 100), "{attempts:?}");
    assert_eq!(host.deployments(None, 1_000).unwrap().len(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_under_load_is_noticed_by_no_order() {
    let dir = tempfile::tempdir().unwrap();
    let host = stocked(&dir).await;
    under_load(&host, 40, async |number: usize| match number % 2 {
        0 => drop(host.deploy(vec![variant(1)]).await.unwrap()),
        _ => drop(host.rollback(None).await.unwrap()),
    })
    .await;
    let kinds = host.deployments(None, 2).unwrap();
    assert_eq!(kinds[0].kind.as_str(), "rollback");
    let binding = host.bindings().unwrap().remove(0).2;
    assert_eq!(binding.module.to_string(), digest(0));
}
