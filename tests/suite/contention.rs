//! Two at once: on one item, and on one data file.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::json;
use wfhost::{StateWrite, Status};

use crate::support::{Shell, host, json as payload, module, request};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_want_the_last_cars_one_gets_them() {
    let host = host(&["order-processing"]).await;
    let stock = payload(r#"{"name":"Cars","totalCost":15000,"quantity":10}"#);
    for round in 0..50 {
        let write = StateWrite {
            key: "Cars".into(),
            value: Some(stock.clone()),
            expires_at: None,
        };
        host.write_state(vec![write.into()]).await.unwrap();
        let order = r#"{"Name":"Cars","TotalCost":15000,"Quantity":10}"#;
        let order = |id: &str| host.run(request("OrderProcessingWorkflow", id, order));
        let (one, other) = (format!("a-{round}"), format!("b-{round}"));
        let (one, other) = tokio::join!(order(&one), order(&other));
        let processed = [one, other].map(|settled| {
            let instance = settled.unwrap().instance;
            assert_eq!(instance.status(), Status::Completed);
            instance.output().unwrap().value()["Processed"] == json!(true)
        });
        assert_eq!(
            processed.iter().filter(|it| **it).count(),
            1,
            "round {round}: {processed:?}"
        );
        let left = host.state("Cars").await.unwrap().unwrap().value.value();
        assert_eq!(left["quantity"], json!(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_want_one_key_all_get_their_turn() {
    const BUYERS: usize = 1_000;
    let host = host(&["steps"]).await;
    let write = StateWrite {
        key: "seats".into(),
        value: Some(payload("600")),
        expires_at: None,
    };
    host.write_state(vec![write.into()]).await.unwrap();
    let ids: Vec<_> = (0..BUYERS)
        .map(|number| format!("buyer-{number}"))
        .collect();
    for id in &ids {
        host.start(request("BuyLast", id, r#"{"key":"seats"}"#))
            .await
            .unwrap();
    }
    let mut sold = 0;
    for id in &ids {
        let settled = host.wait(&id.parse().unwrap()).await.unwrap();
        match settled.status() {
            Status::Completed => sold += 1,
            Status::Failed => {
                assert_eq!(settled.instance.failure().unwrap().kind, "sold-out");
            }
            other => panic!("{id} is {}", other.as_str()),
        }
    }
    assert_eq!(sold, 600);
    assert_eq!(
        host.state("seats").await.unwrap().unwrap().value.as_str(),
        "0"
    );
}

#[test]
fn a_data_file_in_use_is_refused_with_who_uses_it() {
    let shell = Shell::new();
    let wasm = module("steps");
    let input = r#"{"seconds":3600}"#;
    let args = [
        "run",
        wasm.to_str().unwrap(),
        "--workflow",
        "Race",
        "--input",
        input,
        "--json",
    ];
    let mut first = shell.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let second = shell.run(&["list"]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.code, Some(4), "{}", second.err);
    let holder = format!("process {}", first.id());
    assert!(
        second.err.contains(&holder) && second.err.contains("wfhost.redb"),
        "{}",
        second.err
    );
    // Once it is gone, the file is free.
    shell.run(&["list"]).ok(0);
}
