//! Modules while a host runs: rolled out by share, rolled back, removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wfhost::{
    Children, DeployOptions, DeploymentKind, Digest, Event, GcOptions, Host, InstanceId, Names,
    Options, Query, Record, Share, Status, Upload,
};

use crate::support::{history, json, name, output, request, run, upload};

/// The guest `steps` under another digest: with a custom section that nothing looks at.
fn variant(number: u8) -> Upload {
    let mut upload = upload("steps");
    upload.bytes.extend([0, 3, 1, b'v', number]);
    upload
}

fn digest(number: u8) -> Digest {
    Digest::of(&variant(number).bytes)
}

async fn deploy(host: &Host, number: u8, share: Option<&str>) {
    let options = DeployOptions {
        by: Some("ann".into()),
        share: share.map(|share| share.parse().unwrap()),
        ..DeployOptions::default()
    };
    let checked = Host::check(vec![variant(number)], &Options::default()).unwrap();
    host.deploy_with(checked, options).await.unwrap();
}

/// The modules of an instance and of its attempts.
fn modules_of(host: &Host, id: &InstanceId) -> BTreeSet<Digest> {
    let mut modules = BTreeSet::new();
    host.history(id, |record| {
        match record {
            Record::Started(started) => drop(modules.insert(started.module)),
            Record::Attempt(attempt) => drop(modules.insert(attempt.module)),
            _ => {}
        }
        Ok::<_, wfhost::Error>(())
    })
    .unwrap();
    modules
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_and_its_activities_run_on_the_side_that_its_id_says() {
    let host = Host::in_memory(Options::default()).unwrap();
    deploy(&host, 1, None).await;
    deploy(&host, 2, Some("40%")).await;
    let share: Share = "40%".parse().unwrap();
    let expected = |id: &InstanceId| digest(if share.holds(id) { 2 } else { 1 });
    let mut sides = BTreeSet::new();
    for number in 0..20 {
        let id = format!("i{number}");
        output(&host, "Steps", &id, r#"{"steps":2}"#).await;
        let id = id.parse().unwrap();
        assert_eq!(modules_of(&host, &id), [expected(&id)].into());
        sides.insert(expected(&id));
        // A child has an id of its own.
        let parent = format!("p{number}");
        let input = r#"{"workflow":"Steps","input":{"steps":1}}"#;
        output(&host, "Parent", &parent, input).await;
        let child = format!("{parent}-0-1").parse().unwrap();
        assert_eq!(modules_of(&host, &child), [expected(&child)].into());
    }
    assert_eq!(sides.len(), 2);
    let by = || Some("bob".to_owned());
    host.promote(Names::All, by()).await.unwrap();
    output(&host, "Steps", "after", r#"{"steps":1}"#).await;
    let after = "after".parse().unwrap();
    assert_eq!(modules_of(&host, &after), [digest(2)].into());
    // The roll-out, then the candidate beside it.
    host.rollback(by()).await.unwrap();
    host.rollback(by()).await.unwrap();
    output(&host, "Steps", "back", r#"{"steps":1}"#).await;
    let back = "back".parse().unwrap();
    assert_eq!(modules_of(&host, &back), [digest(1)].into());
    let kinds: Vec<_> = host.deployments(None, 9).unwrap();
    let kinds: Vec<_> = kinds.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["rollback", "rollback", "promote", "deploy", "deploy"]
    );
    let newest = &host.deployments(None, 1).unwrap()[0];
    assert!(matches!(newest.kind, DeploymentKind::Rollback { of } if of.0 == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_on_on_the_current_module_lets_the_one_before_go() {
    let options = Options {
        // Each turn brings the guest up from the file.
        guests_warm_max: 0,
        ..Options::default()
    };
    let host = Host::in_memory(options).unwrap();
    deploy(&host, 1, None).await;
    let id: InstanceId = "r".parse().unwrap();
    host.start(request("Rerolls", "r", r#"{"left":4}"#))
        .await
        .unwrap();
    let all = GcOptions {
        keep_for_rollback: false,
        dry_run: false,
    };
    for number in 2..=4 {
        deploy(&host, number, None).await;
        let kept = host.collect_modules(all).await.unwrap().kept;
        assert_eq!(kept.len(), 2, "the one that it runs on, and the bound one");
        let next = Event {
            name: name("next"),
            payload: json("null"),
        };
        host.raise_event(&id, next, None).await.unwrap();
        host.quiet().await.unwrap();
        let row = &host.find(&Query::default()).await.unwrap().rows[0];
        assert_eq!(
            (row.module, u32::from(number) - 1),
            (digest(number), row.generation)
        );
        let went = host.collect_modules(all).await.unwrap().removed;
        assert_eq!(went.len(), 1);
        assert_eq!(went[0].digest, digest(number - 1));
    }
}

/// Every instance comes to its end, whatever is deployed and removed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn orders_end_well_while_modules_come_and_go() {
    let host = Arc::new(Host::in_memory(Options::default()).unwrap());
    deploy(&host, 0, None).await;
    let over = Arc::new(AtomicBool::new(false));
    let starts = (0..4).map(|side| {
        let host = Arc::clone(&host);
        tokio::spawn(async move {
            for number in 0..40 {
                let id = format!("i{side}-{number}");
                let input = r#"{"workflow":"Steps","input":{"steps":2}}"#;
                let settled = run(&host, "Parent", &id, input).await;
                assert_eq!(
                    settled.status(),
                    Status::Completed,
                    "{:?}",
                    history(&host, &id)
                );
                let id = id.parse().unwrap();
                host.purge(&id, Children::Too).await.unwrap();
            }
        })
    });
    let starts: Vec<_> = starts.collect();
    let swaps = tokio::spawn({
        let (host, over) = (Arc::clone(&host), Arc::clone(&over));
        async move {
            let (mut removed, mut number) = (0, 0);
            while !over.load(Ordering::Acquire) {
                number = (number + 1) % 100;
                deploy(&host, number, (number % 3 == 0).then_some("50%")).await;
                let options = GcOptions {
                    keep_for_rollback: false,
                    dry_run: false,
                };
                removed += host.collect_modules(options).await.unwrap().removed.len();
            }
            removed
        }
    });
    for started in starts {
        started.await.unwrap();
    }
    over.store(true, Ordering::Release);
    assert!(swaps.await.unwrap() > 0);
}
