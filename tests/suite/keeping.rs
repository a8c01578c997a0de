//! What a host lets go of: ended instances after their time, expired state, old generations.

use std::time::Duration;

use wfhost::{Clock, Host, Options, Query, Retention, StateWrite, Status, Timestamp};

use crate::support::{deploy, json as payload, request, run};

#[tokio::test(flavor = "multi_thread")]
async fn ended_instances_and_expired_values_are_kept_as_long_as_they_are_to_be() {
    let day = Duration::from_secs(86_400);
    let clock = Clock::still(Timestamp(1_000));
    let options = Options {
        clock: clock.clone(),
        retention: Retention {
            completed: Some(day),
            ..Retention::default()
        },
        ..Options::default()
    };
    let host = Host::in_memory(options).unwrap();
    deploy(&host, &["steps"]).await;
    run(&host, "Counter", "completed", "null").await;
    run(&host, "Fails", "failed", "null").await;
    host.start(request("CleansUp", "runs", "null"))
        .await
        .unwrap();
    let lease = StateWrite {
        key: "lease".into(),
        value: Some(payload("1")),
        expires_at: Some(Timestamp(1_000 + 86_400_000)),
    };
    host.write_state(vec![lease.into()]).await.unwrap();

    let left = async || {
        host.tidy().await.unwrap();
        let page = host.find(&Query::default()).await.unwrap();
        let ids: Vec<_> = page.rows.iter().map(|row| row.id.to_string()).collect();
        (ids.join(" "), host.state("lease").await.unwrap().is_some())
    };
    assert_eq!(left().await, ("completed failed runs".into(), true));
    clock.advance(day);
    assert_eq!(left().await, ("completed failed runs".into(), false));
    clock.advance(Duration::from_millis(1));
    assert_eq!(left().await, ("failed runs".into(), false));
    // The id is free again.
    let settled = run(&host, "Counter", "completed", "null").await;
    assert_eq!(settled.status(), Status::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_leave_no_growth_in_the_file() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut options = Options::default();
    // Gathered often, so that there is something to let go of.
    options.store.gather_bytes = 64 * 1024;
    let host = Host::open(&dir.path().join("data.redb"), options).unwrap();
    deploy(&host, &["scripted"]).await;
    let records = async |generations: usize| {
        let id = format!("g{generations}");
        let input = format!(r#"{{"left":{generations}}}"#);
        let settled = run(&host, "Generations", &id, &input).await;
        assert_eq!(settled.status(), Status::Completed);
        let mut kept = 0;
        host.history(&id.parse().unwrap(), |_| {
            kept += 1;
            Ok::<_, wfhost::Error>(())
        })
        .unwrap();
        kept
    };
    let few = records(3).await;
    assert_eq!(records(2_000).await, few);
    host.close().await.unwrap();
}
