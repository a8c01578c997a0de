//! One instance with much to do.

use serde_json::json;
use wfhost::{Query, Status};

use crate::support::{host, output, request};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_activities_of_one_instance_come_back() {
    let host = host(&["steps"]).await;
    let sum = output(&host, "FanOut", "f", r#"{"width":10000}"#).await;
    assert_eq!(sum, json!(10_000 * 9_999 / 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_children_of_one_parent_end_and_are_found_by_it() {
    let host = host(&["scripted"]).await;
    let child = json!([{ "child": { "program": ["now"] } }]);
    let program = json!([{ "all": vec![child; 1_000] }]).to_string();
    let id = host.start(request("Script", "p", &program)).await.unwrap();
    let settled = host.wait(&id).await.unwrap();
    assert_eq!(settled.status(), Status::Completed);
    let mut query = Query {
        parent: Some(id),
        statuses: vec![Status::Completed],
        limit: 300,
        ..Query::default()
    };
    let mut found = 0;
    loop {
        let page = host.find(&query).await.unwrap();
        found += page.rows.len();
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_timers_of_one_instance_fire() {
    let host = host(&["scripted"]).await;
    let sleeps: Vec<_> = (0..10_000).map(|n| json!([{ "sleep": n % 50 }])).collect();
    let program = json!([{ "all": sleeps }]).to_string();
    let id = host.start(request("Script", "t", &program)).await.unwrap();
    assert_eq!(host.wait(&id).await.unwrap().status(), Status::Completed);
}
