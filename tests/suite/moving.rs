//! Instances that go on with other code: the plan, the upgrade, and the move by hand.

use serde_json::{Value, json};
use tempfile::TempDir;
use wfhost::{
    Checked, Clock, DeployOptions, Digest, Error, Event, Host, InstanceId, MigrateRequest, Options,
    Plan, PlanOptions, Status, Timestamp, Upgrade, UpgradeOptions, Upload, Verdict, view,
};

use crate::support::{deploy, history, host, json as payload, name, request, upload};

fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn checked(packages: &[&str]) -> Checked {
    let uploads = packages.iter().map(|package| upload(package)).collect();
    Host::check(uploads, &Options::default()).unwrap()
}

/// The same code under another digest.
fn variant(package: &str, number: u8) -> Upload {
    let mut upload = upload(package);
    // A section of a name that nobody knows.
    upload.bytes.extend([0, 3, 1, b'v', number]);
    upload
}

fn digest(package: &str) -> Digest {
    Digest::of(&upload(package).bytes)
}

async fn raise(host: &Host, to: &str, number: u64) {
    let event = Event {
        name: name("go"),
        payload: payload(&number.to_string()),
    };
    host.raise_event(&id(to), event, None).await.unwrap();
}

/// An instance of `Swap` that has taken so many rounds and waits in the next.
async fn waiting(host: &Host, of: &str, input: Value, rounds: u64) {
    let start = request("Swap", of, &input.to_string());
    host.start(start).await.unwrap();
    for number in 0..rounds {
        raise(host, of, number).await;
    }
    host.quiet().await.unwrap();
}

fn two_rounds(kind: &str) -> Value {
    json!({ "rounds": 2, "kind": kind })
}

/// One of each kind, named by it; each waits in its second round, but for `first` and `number`.
async fn one_of_each(host: &Host) {
    for kind in ["same", "payload", "value", "order"] {
        waiting(host, kind, two_rounds(kind), 1).await;
    }
    waiting(host, "first", two_rounds("order"), 0).await;
    let number = json!({ "rounds": 2, "number": 300 });
    waiting(host, "number", number, 0).await;
}

/// The verdict on each instance that is listed.
fn words(compared: &wfhost::Compared) -> Vec<(String, &'static str)> {
    let all = compared.instances.iter();
    all.map(|it| (it.id.to_string(), it.verdict.word()))
        .collect()
}

fn expected() -> Vec<(String, &'static str)> {
    let listed = [
        ("payload", "input-changed"),
        ("value", "input-changed"),
        ("order", "diverges"),
        ("number", "interface-changed"),
        ("same", "same"),
        ("first", "same"),
    ];
    listed.map(|(id, word)| (id.to_owned(), word)).to_vec()
}

async fn output(host: &Host, of: &str) -> Value {
    let settled = host.wait(&id(of)).await.unwrap();
    let instance = settled.instance;
    let output = instance.output().cloned();
    output
        .unwrap_or_else(|| panic!("{of}: {:?} {:?}", instance.status(), instance.failure()))
        .value()
}

async fn replays_the_same(host: &Host, of: &str) {
    let replayed = host.replay(&id(of), None).await.unwrap();
    assert_eq!(replayed.stray, None, "{of}");
}

async fn module(host: &Host, of: &str) -> Digest {
    host.instance(&id(of)).await.unwrap().module()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_names_each_instance_that_does_not_do_the_same_and_changes_nothing() {
    let host = host(&["steps", "swap"]).await;
    waiting(&host, "ended", two_rounds("order"), 2).await;
    one_of_each(&host).await;
    let before = (host.modules().unwrap(), host.submitted());
    let options = PlanOptions {
        ended_sample: 10,
        ..PlanOptions::default()
    };
    let plan = host.plan(&checked(&["swap-changed"]), options).await;
    let plan = plan.unwrap();
    assert_eq!(words(&plan.live), expected());
    assert_eq!(plan.live.histories, 6);
    let verdict = |of: &str| {
        let mut all = plan.live.instances.iter();
        &all.find(|it| it.id.as_str() == of).unwrap().verdict
    };
    let Verdict::Diverges(divergence) = verdict("order") else {
        panic!("{:?}", verdict("order"));
    };
    // The first turn of the second round.
    assert_eq!((divergence.turn, divergence.place), (3, 1));
    assert_eq!(divergence.history, "task 3: call activity `Echo` with 1");
    assert!(
        divergence.code.starts_with("task 3: create a timer"),
        "{}",
        divergence.code
    );
    let Verdict::InputChanged(change) = verdict("payload") else {
        panic!("{:?}", verdict("payload"));
    };
    assert_eq!((change.turn, change.place), (1, 1));
    assert_eq!(change.code, "task 1: call activity `Echo` with 100");
    let Verdict::InterfaceChanged { turn: 1, message } = verdict("number") else {
        panic!("{:?}", verdict("number"));
    };
    assert!(message.contains("300"), "{message}");
    let ended = plan.ended.as_ref().unwrap();
    assert_eq!(words(ended), [("ended".to_owned(), "diverges")]);
    let row = view::plan(&plan);
    assert_eq!(row["live"]["verdicts"]["input-changed"], 2);
    assert_eq!(row["live"]["instances"][2]["turn"], 3);
    assert_eq!((host.modules().unwrap(), host.submitted()), before);
}

/// A plan counts all and lists as many as it may: first those that differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_lists_no_more_than_it_may() {
    let host = host(&["steps", "swap"]).await;
    one_of_each(&host).await;
    let options = PlanOptions {
        listed_max: 4,
        ..PlanOptions::default()
    };
    let plan = host.plan(&checked(&["swap-changed"]), options).await;
    let live = plan.unwrap().live;
    assert_eq!((live.histories, live.unlisted), (6, 2));
    assert_eq!(words(&live), expected()[..4]);
}

/// One that has not begun has no turns to compare, but its input must be read.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_begins_later_is_tried_with_its_input() {
    let host = host(&["steps", "swap"]).await;
    for (of, number) in [("fits", 3), ("does-not", 300)] {
        let input = json!({ "rounds": 1, "number": number }).to_string();
        let mut start = request("Swap", of, &input);
        start.begins_at = Some(Timestamp(u64::MAX / 2));
        host.start(start).await.unwrap();
    }
    let before = host.submitted();
    let changed = checked(&["swap-changed"]);
    let plan = host.plan(&changed, PlanOptions::default()).await;
    let live = plan.unwrap().live;
    let expected = [("does-not", "interface-changed"), ("fits", "same")];
    assert_eq!(
        words(&live),
        expected.map(|(id, word)| (id.to_owned(), word))
    );
    assert_eq!((live.turns, host.submitted()), (0, before));
}

async fn upgraded(host: &Host, allow_input_changes: bool) -> wfhost::Compared {
    let options = DeployOptions {
        upgrade: Some(Upgrade {
            allow_input_changes,
        }),
        ..DeployOptions::default()
    };
    let deployed = host.deploy_with(checked(&["swap-changed"]), options).await;
    let deployed = deployed.unwrap();
    assert!(deployed.plan.is_none());
    deployed.upgraded.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_moves_what_does_the_same_and_all_end_right_after_a_restart_too() {
    for allow in [false, true] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("data.redb");
        // No guest stays in memory: each comes back by replay.
        let options = || Options {
            guests_warm_max: if allow { 512 } else { 0 },
            ..Options::default()
        };
        let host = Host::open(&path, options()).unwrap();
        deploy(&host, &["steps", "swap"]).await;
        one_of_each(&host).await;
        let compared = upgraded(&host, allow).await;
        assert_eq!(words(&compared), expected());
        let moved: Vec<_> = compared.instances.iter().filter(|it| it.moved).collect();
        assert_eq!(compared.moved as usize, moved.len());
        let moves = |of: &str| match of {
            "same" | "first" => true,
            "payload" | "value" => allow,
            _ => false,
        };
        for of in ["same", "first", "payload", "value", "order", "number"] {
            let now = if moves(of) { "swap-changed" } else { "swap" };
            assert_eq!(module(&host, of).await, digest(now), "{of}");
            assert_eq!(moved.iter().any(|it| it.id == id(of)), moves(of), "{of}");
        }
        raise(&host, "same", 7).await;
        assert_eq!(output(&host, "same").await, json!(["new 0 0", "new 1 7"]));
        host.close().await.unwrap();

        let host = Host::open(&path, options()).unwrap();
        host.drive_all().await.unwrap();
        for of in ["payload", "value", "order"] {
            raise(&host, of, 7).await;
        }
        for of in ["first", "number"] {
            raise(&host, of, 6).await;
            raise(&host, of, 7).await;
        }
        // What was sent is recorded, so what was echoed in the past stays what it was.
        let value = if allow { "new" } else { "old" };
        let one =
            |code: &str, first: u64| json!([format!("{code} 0 {first}"), format!("{code} 1 7")]);
        assert_eq!(output(&host, "payload").await, one(value, 0));
        assert_eq!(output(&host, "value").await, one(value, 0));
        assert_eq!(output(&host, "order").await, one("old", 0));
        assert_eq!(output(&host, "first").await, one("new", 6));
        assert_eq!(output(&host, "number").await, one("old", 6));
        for of in ["same", "first", "payload", "value", "order", "number"] {
            replays_the_same(&host, of).await;
        }
        let row = history(&host, "same");
        let row = row.iter().find(|row| row["record"] == "moved").unwrap();
        assert_eq!(row["from"], digest("swap").to_string());
        assert_eq!(row["to"], digest("swap-changed").to_string());
        assert_eq!(
            (&row["turns"], &row["input_changes_allowed"]),
            (&json!(4), &json!(allow))
        );
        host.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_requires_all_is_refused_and_changes_nothing() {
    let host = host(&["steps", "swap"]).await;
    one_of_each(&host).await;
    let before = (
        host.modules().unwrap(),
        host.bindings().unwrap(),
        host.submitted(),
    );
    let options = DeployOptions {
        upgrade: Some(Upgrade {
            allow_input_changes: true,
        }),
        require_all: true,
        ..DeployOptions::default()
    };
    let refused = host.deploy_with(checked(&["swap-changed"]), options.clone());
    let Err(Error::NotAllTheSame { unqualified, plan }) = refused.await else {
        panic!("it is deployed");
    };
    assert_eq!((unqualified, words(&plan.live)), (2, expected()));
    let after = (
        host.modules().unwrap(),
        host.bindings().unwrap(),
        host.submitted(),
    );
    assert_eq!(before, after);
    for of in ["order", "number"] {
        host.terminate(&id(of), None, wfhost::Children::Too, None)
            .await
            .unwrap();
    }
    let options = DeployOptions {
        plan: Some(PlanOptions::default()),
        ..options
    };
    let deployed = host.deploy_with(checked(&["swap-changed"]), options).await;
    let deployed = deployed.unwrap();
    let plan: Plan = deployed.plan.unwrap();
    assert_eq!(plan.live.verdicts.unqualified(true), 0);
    assert_eq!(deployed.upgraded.unwrap().moved, 4);
}

/// An upgrade long after the deployment, of one workflow or of all.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_follows_the_bindings() {
    let host = host(&["steps", "swap"]).await;
    waiting(&host, "same", two_rounds(""), 1).await;
    let options = |workflow| UpgradeOptions {
        workflows: vec![name(workflow)],
        ..UpgradeOptions::default()
    };
    let nothing = host.upgrade(UpgradeOptions::default()).await.unwrap();
    assert_eq!(nothing.histories, 0);
    deploy(&host, &["swap-changed"]).await;
    let others = host.upgrade(options("Steps")).await.unwrap();
    assert_eq!(others.histories, 0);
    let unknown = host.upgrade(options("Nothing")).await;
    assert!(matches!(unknown, Err(Error::NoSuchWorkflow { .. })));
    let moved = host.upgrade(options("Swap")).await.unwrap();
    assert_eq!((moved.moved, moved.turns), (1, 4));
}

fn to(digest: Digest) -> MigrateRequest {
    MigrateRequest {
        to: digest,
        allow_input_changes: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_moved_back_and_forth_and_replays_the_same_over_generations() {
    let host = host(&["steps", "swap"]).await;
    deploy(&host, &["swap-changed"]).await;
    let (old, new) = (digest("swap"), digest("swap-changed"));
    let input = json!({ "rounds": 2, "again": 1 });
    let first = host.start(request("Swap", "s", &input.to_string())).await;
    first.unwrap();
    host.quiet().await.unwrap();
    let started_on = module(&host, "s").await;
    let other = if started_on == old { new } else { old };
    for (number, on) in [other, started_on, other].into_iter().enumerate() {
        let moved = host.migrate(&id("s"), to(on)).await.unwrap();
        assert_eq!((moved.to, moved.moved), (on, true));
        let again = host.migrate(&id("s"), to(on)).await.unwrap();
        assert_eq!((again.moved, again.from), (false, on));
        replays_the_same(&host, "s").await;
        if number < 2 {
            raise(&host, "s", number as u64).await;
            host.quiet().await.unwrap();
        }
    }
    // The next generation went on where the first was last; it is moved once more.
    let instance = host.instance(&id("s")).await.unwrap();
    assert_eq!(
        (instance.started().generation, instance.module()),
        (1, other)
    );
    raise(&host, "s", 8).await;
    host.quiet().await.unwrap();
    host.migrate(&id("s"), to(started_on)).await.unwrap();
    raise(&host, "s", 9).await;
    let seen = output(&host, "s").await;
    assert_eq!(seen.as_array().unwrap().len(), 4);
    let replayed = host.replay(&id("s"), None).await.unwrap();
    assert_eq!((replayed.stray, replayed.turns), (None, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_cannot_be_says_why() {
    let host = host(&["steps", "swap-changed"]).await;
    deploy(&host, &["swap"]).await;
    one_of_each(&host).await;
    let before = host.submitted();
    let refused = async |of: &str, on| {
        let error = host.migrate(&id(of), to(on)).await.unwrap_err();
        assert!(error.is_callers(), "{error}");
        error.to_string()
    };
    let changed = digest("swap-changed");
    let diverges = refused("order", changed).await;
    assert!(
        diverges.contains("history: task 3: call activity"),
        "{diverges}"
    );
    assert!(
        diverges.contains("code:    task 3: create a timer"),
        "{diverges}"
    );
    let input = refused("payload", changed).await;
    assert!(input.contains("if input changes are allowed"), "{input}");
    let nowhere = refused("same", Digest::of(b"nowhere")).await;
    assert!(nowhere.contains("holds no module"), "{nowhere}");
    let other = refused("same", digest("steps")).await;
    assert!(
        other.contains("does not offer the workflow `Swap`"),
        "{other}"
    );
    assert!(
        refused("nobody", changed)
            .await
            .contains("there is no instance")
    );
    assert_eq!(host.submitted(), before);
    raise(&host, "same", 7).await;
    output(&host, "same").await;
    assert!(refused("same", changed).await.contains("has ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_stalled_by_its_code_goes_on_with_code_that_does_the_same() {
    let host = host(&["steps", "swap"]).await;
    waiting(&host, "original", two_rounds("order"), 1).await;
    deploy(&host, &["swap-changed"]).await;
    let again = wfhost::RerunRequest {
        from_turn: Some(4),
        id: Some(id("stalled")),
        current_module: true,
        trace: None,
    };
    host.rerun(&id("original"), again).await.unwrap();
    raise(&host, "stalled", 5).await;
    let settled = host.wait(&id("stalled")).await.unwrap();
    assert_eq!(settled.status(), Status::Stalled);
    let moved = host.migrate(&id("stalled"), to(digest("swap"))).await;
    assert_eq!(moved.unwrap().verdict, Verdict::Same);
    assert_eq!(
        output(&host, "stalled").await,
        json!(["old 0 0", "old 1 5"])
    );
    replays_the_same(&host, "stalled").await;
}

/// Whatever an instance is in the middle of, it goes on with it after the move.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_disturbs_nothing_that_is_under_way() {
    let clock = Clock::still(Timestamp(1_000_000));
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    let host = Host::in_memory(options).unwrap();
    deploy(&host, &["steps"]).await;
    host.drive_all().await.unwrap();
    let child = json!({ "workflow": "Race", "input": { "seconds": 7200 } });
    let starts = [
        ("Race", "sleeps", json!({ "seconds": 3600 })),
        ("Parent", "parent", child),
        ("TakesUpdates", "updates", Value::Null),
        ("WaitsForMissing", "misses", Value::Null),
        ("CleansUp", "cleans", Value::Null),
        ("Sum", "suspended", json!({ "events": 1 })),
    ];
    for (workflow, of, input) in &starts {
        let start = request(workflow, of, &input.to_string());
        host.start(start).await.unwrap();
    }
    let updates = id("updates");
    let update = async |number| {
        let answer = host
            .update(&updates, name("add"), payload(number), None)
            .await;
        answer.unwrap().unwrap()
    };
    update("3").await;
    let suspended = id("suspended");
    host.suspend(&suspended, None, wfhost::Children::Not, None)
        .await
        .unwrap();
    let event = Event {
        name: name("number"),
        payload: payload("4"),
    };
    host.raise_event(&suspended, event, None).await.unwrap();
    host.quiet().await.unwrap();
    let in_memory = host.instances_in_memory();

    let uploads = vec![variant("steps", 1)];
    let checked = Host::check(uploads, &Options::default()).unwrap();
    let on = checked.modules().next().unwrap().digest;
    let options = DeployOptions {
        upgrade: Some(Upgrade::default()),
        require_all: true,
        ..DeployOptions::default()
    };
    let deployed = host.deploy_with(checked, options).await.unwrap();
    // The child among them.
    assert_eq!(deployed.upgraded.unwrap().moved, 7);
    host.quiet().await.unwrap();
    assert!(host.instances_in_memory() <= in_memory);
    for (_, of, _) in &starts {
        assert_eq!(module(&host, of).await, on, "{of}");
    }
    let instance = host.instance(&suspended).await.unwrap();
    assert_eq!(instance.status(), Status::Suspended);

    let (query, nothing) = (name("sum"), payload("null"));
    let sum = host.query(&updates, &query, &nothing).await;
    assert_eq!(sum.unwrap().unwrap().value(), json!(3));
    update("7").await;
    assert_eq!(output(&host, "updates").await, json!(10));
    host.resume(&suspended, wfhost::Children::Not, None)
        .await
        .unwrap();
    assert_eq!(output(&host, "suspended").await["sum"], json!(4));
    host.cancel(&id("cleans"), None, None).await.unwrap();
    let cleaned = host.wait(&id("cleans")).await.unwrap();
    assert_eq!(cleaned.status(), Status::Cancelled);
    host.advance_time(std::time::Duration::from_secs(7_200));
    assert_eq!(output(&host, "sleeps").await, json!({ "won": "timer" }));
    let result = json!({ "result": { "won": "timer" } });
    assert_eq!(output(&host, "parent").await, result);
    let missing = host.wait(&id("misses")).await.unwrap();
    assert_eq!(missing.status(), Status::Stalled);
    for (_, of, _) in &starts {
        replays_the_same(&host, of).await;
    }
}

/// A thousand that wait, some of them where the changed code differs.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_the_plan_names_those_that_diverge_and_all_end_right() {
    const ALL: usize = 1_000;
    let diverges = |number: usize| number % 10 == 3;
    let host = host(&["steps", "swap"]).await;
    host.drive_all().await.unwrap();
    for number in 0..ALL {
        let kind = if diverges(number) { "order" } else { "" };
        let start = request("Swap", &format!("s{number}"), &two_rounds(kind).to_string());
        host.start(start).await.unwrap();
    }
    for number in 0..ALL {
        raise(&host, &format!("s{number}"), 1).await;
    }
    host.quiet().await.unwrap();
    let options = DeployOptions {
        plan: Some(PlanOptions::default()),
        upgrade: Some(Upgrade::default()),
        require_all: false,
        ..DeployOptions::default()
    };
    let deployed = host.deploy_with(checked(&["swap-changed"]), options).await;
    let deployed = deployed.unwrap();
    let (plan, upgraded) = (deployed.plan.unwrap(), deployed.upgraded.unwrap());
    for compared in [&plan.live, &upgraded] {
        assert_eq!(compared.histories, ALL as u64);
        assert_eq!(
            (compared.verdicts.same, compared.verdicts.diverges),
            (900, 100)
        );
        // Two turns of those that differ were the same, all four of the others.
        assert_eq!(compared.turns, 900 * 4 + 100 * 2);
        let named = compared.instances.iter().take(100);
        for (at, one) in named.enumerate() {
            assert_eq!(one.id, id(&format!("s{}", at * 10 + 3)));
            let turn = match &one.verdict {
                Verdict::Diverges(divergence) => divergence.turn,
                other => panic!("{other:?}"),
            };
            assert_eq!(turn, 3);
        }
    }
    assert_eq!((plan.live.moved, upgraded.moved), (0, 900));
    for number in 0..ALL {
        raise(&host, &format!("s{number}"), 2).await;
    }
    for number in 0..ALL {
        let code = if diverges(number) { "old" } else { "new" };
        let expected = json!([format!("{code} 0 1"), format!("{code} 1 2")]);
        assert_eq!(
            output(&host, &format!("s{number}")).await,
            expected,
            "{number}"
        );
    }
}
