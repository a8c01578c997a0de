//! Modules by the command line: deployed, looked at before, rolled out and back, removed, taken out;
//! and instances that are moved.

use serde_json::Value;

use super::call;
use wfhost::{Event, Host, Options};

use crate::support::{Shell, deploy, json, module, name, request};

/// The guest `swap` and its next version, in a folder, under the names `old.wasm` and `new.wasm`.
fn versions() -> Shell {
    let shell = Shell::new();
    for (package, name) in [("swap", "old.wasm"), ("swap-changed", "new.wasm")] {
        shell.write(name, std::fs::read(module(package)).unwrap());
    }
    shell
}

/// An instance that does something else in its second round on the new version, and one that does
/// the same; both wait there.
fn instances(shell: &Shell) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let path = shell.dir.path().join("wfhost.redb");
        let host = Host::open(&path, Options::default()).unwrap();
        deploy(&host, &["swap", "scripted"]).await;
        for kind in ["order", "same"] {
            let input = format!(r#"{{"rounds":2,"kind":"{kind}"}}"#);
            let id = host.start(request("Swap", kind, &input)).await.unwrap();
            let event = Event {
                name: name("go"),
                payload: json("1"),
            };
            host.raise_event(&id, event, None).await.unwrap();
        }
        host.quiet().await.unwrap();
        host.close().await.unwrap();
    });
}

fn row(shell: &Shell, line: &str) -> Value {
    call(shell, line).rows(0).remove(0)
}

fn module_of(shell: &Shell, id: &str) -> String {
    row(shell, &format!("show {id} --json"))["module"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_plan_says_who_does_not_do_the_same_and_an_upgrade_moves_the_others() {
    let shell = versions();
    instances(&shell);
    let before = module_of(&shell, "same");
    let plan = call(&shell, "deploy new.wasm --plan");
    assert_eq!(plan.code, Some(1), "{plan:?}");
    for part in ["order diverges", "history:", "code:", "2 histories"] {
        assert!(plan.out.contains(part), "{part}: {}", plan.out);
    }
    assert_eq!(
        call(&shell, "modules --json").rows(0).len(),
        2,
        "nothing is deployed"
    );

    let refused = call(&shell, "deploy new.wasm --force --upgrade --require-all");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(
        call(&shell, "modules --json").rows(0).len(),
        2,
        "nothing is deployed"
    );

    let deployed = row(&shell, "deploy new.wasm --force --upgrade --by bob --json");
    assert_eq!(deployed["number"], 2, "{deployed}");
    assert_eq!(deployed["upgraded"]["moved"], 1, "{deployed}");
    assert_eq!(module_of(&shell, "order"), before);
    assert_ne!(module_of(&shell, "same"), before);
    for id in ["order", "same"] {
        call(&shell, &format!("raise-event {id} go 2")).ok(0);
        call(&shell, &format!("wait {id}")).ok(0);
    }
}

#[test]
fn what_was_deployed_is_listed_rolled_back_and_removed_when_nothing_needs_it() {
    let shell = versions();
    call(&shell, "deploy old.wasm --by ann --label swap@1").ok(0);
    call(&shell, "deploy new.wasm --force --by bob --label swap@2").ok(0);
    let deployments = call(&shell, "modules deployments --json").rows(0);
    let by: Vec<_> = deployments.iter().map(|it| it["by"].clone()).collect();
    assert_eq!(by, ["bob", "ann"]);
    let modules = call(&shell, "modules list --json").rows(0);
    let labels: Vec<_> = modules.iter().map(|it| it["label"].clone()).collect();
    assert_eq!(labels, ["swap@1", "swap@2"]);

    assert_eq!(row(&shell, "modules rollback --json")["kind"], "rollback");
    let undone = call(&shell, "modules rollback");
    assert_eq!(undone.code, Some(0), "{undone:?}");
    let nothing = call(&shell, "modules rollback");
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    call(&shell, "modules rollback --to 2").ok(0);

    let digest = modules[0]["digest"].as_str().unwrap();
    let kept = row(&shell, "modules gc --dry-run --json");
    assert_eq!(
        kept["removed"],
        serde_json::json!([]),
        "the next rollback needs it: {kept}"
    );
    let gone = row(&shell, "modules gc --forget-rollback --json");
    assert_eq!(gone["removed"][0]["digest"], digest, "{gone}");
    assert_eq!(call(&shell, "modules --json").rows(0).len(), 1);
    let missing = call(&shell, &format!("modules show {digest}"));
    assert_eq!(missing.code, Some(2), "{missing:?}");
}

#[test]
fn a_module_is_rolled_out_to_a_share_and_then_to_all_or_to_none() {
    let shell = versions();
    call(&shell, "deploy old.wasm").ok(0);
    let out = row(&shell, "deploy new.wasm --force --weight 25% --json");
    let candidate = &out["moved"][0]["to"]["candidate"];
    assert_eq!(candidate["share"], "25%", "{out}");
    let aborted = row(&shell, "modules abort --json");
    assert_eq!(
        aborted["moved"][0]["to"]["candidate"],
        Value::Null,
        "{aborted}"
    );
    let nothing = call(&shell, "modules promote");
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    call(&shell, "deploy new.wasm --force --weight 25%").ok(0);
    let promoted = row(&shell, "modules promote --json");
    let to = &promoted["moved"][0]["to"];
    assert_eq!(
        (&to["module"], &to["candidate"]),
        (&candidate["module"], &Value::Null)
    );
    for bad in ["0%x", "101%", "-1%", ""] {
        let refused = call(&shell, &format!("deploy new.wasm '--weight={bad}'"));
        assert_eq!(refused.code, Some(2), "{bad}: {refused:?}");
    }
}

#[test]
fn a_module_is_taken_out_of_the_file_as_it_went_in() {
    let shell = versions();
    call(&shell, "deploy old.wasm").ok(0);
    let digest = row(&shell, "modules --json")["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    call(
        &shell,
        &format!("modules export {} -o out.wasm", &digest[..20]),
    )
    .ok(0);
    let bytes = |name: &str| std::fs::read(shell.dir.path().join(name)).unwrap();
    assert_eq!(bytes("out.wasm"), bytes("old.wasm"));
    let refused = call(&shell, "modules export ffff -o other.wasm");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(!shell.files().contains(&"other.wasm".to_owned()));
}

#[test]
fn an_instance_is_moved_by_hand_or_goes_back_to_a_turn() {
    let shell = versions();
    instances(&shell);
    call(&shell, "deploy new.wasm --force").ok(0);
    let modules = call(&shell, "modules --json").rows(0);
    let new = modules[2]["digest"].as_str().unwrap();
    let refused = call(&shell, &format!("migrate order --to {new}"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("history:"), "{}", refused.err);
    let moved = row(&shell, &format!("migrate same --to {new} --json"));
    assert_eq!(
        (&moved["moved"], &moved["verdict"]),
        (&true.into(), &"same".into())
    );
    assert_eq!(module_of(&shell, "same"), new);

    let lost = row(
        &shell,
        &format!("migrate order --to {new} --reset-to 1 --dry-run --json"),
    );
    assert_eq!(lost["run"], Value::Null, "{lost}");
    assert!(lost["lost"]["turns"].as_u64() >= Some(1), "{lost}");
    let done = row(
        &shell,
        &format!("migrate order --to {new} --reset-to 1 --json"),
    );
    assert_eq!(module_of(&shell, "order"), new);
    assert_eq!(row(&shell, "show order --json")["run"], done["run"]);
    // What was asked of it is still there to be read.
    call(&shell, "raise-event order go 2").ok(0);
    call(&shell, "wait order").ok(0);
}

#[test]
fn what_callers_of_today_could_not_meet_is_refused_unless_it_is_forced() {
    let shell = versions();
    call(&shell, "deploy old.wasm").ok(0);
    // Its input reads smaller numbers.
    let refused = call(&shell, "deploy new.wasm");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.out.contains("number"), "{refused:?}");
    assert!(refused.err.contains("--force"), "{refused:?}");
    assert_eq!(call(&shell, "modules --json").rows(0).len(), 1);
    let plan = call(&shell, "deploy new.wasm --plan --json");
    assert_eq!(plan.code, Some(1), "{plan:?}");
    let changes = &plan.rows(1)[0]["interface"]["modules"][0]["definitions"][0]["changes"];
    assert_eq!(changes[0]["impact"], "breaks", "{changes}");
    call(&shell, "deploy new.wasm --force").ok(0);
    let modules = call(&shell, "modules --json").rows(0);
    let digests = modules.iter().map(|it| it["digest"].as_str().unwrap());
    let digests = digests.collect::<Vec<_>>().join(" ");
    let diff = call(&shell, &format!("modules diff {digests}"));
    assert_eq!(diff.code, Some(1), "{diff:?}");
}

#[test]
fn what_a_module_wants_to_reach_is_told() {
    let shell = versions();
    shell.write("http.wasm", std::fs::read(module("http-get")).unwrap());
    // It takes nothing over, so it is given what it may reach when it is hosted.
    let told = call(&shell, "deploy http.wasm --json").rows(0);
    let gained = &told[0]["interface"]["modules"][0]["gained"];
    assert_eq!(*gained, serde_json::json!(["wasi:http/outgoing-handler"]));
}
