//! What modules say of their inputs and outputs, and what a deployment would change.

use serde_json::json;
use wfhost::{Fate, Host, Impact, Options};

use crate::support::{Shell, host, module, upload};

fn checked(packages: &[&str]) -> wfhost::Checked {
    let uploads = packages.iter().map(|package| upload(package)).collect();
    Host::check(uploads, &Options::default()).unwrap()
}

#[test]
fn the_schemas_of_a_module_are_shown() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let input = r#"{"Name":"Cars","TotalCost":15000,"Quantity":10}"#;
    let args = ["run", wasm.to_str().unwrap(), "--input", input];
    shell.run(&args).ok(0);
    let shown = shell.run(&["modules", "--json"]).rows(0).remove(0);
    let workflow = &shown["workflows"][0];
    let input = &workflow["input_schema"];
    assert_eq!(input["required"], json!(["Name", "TotalCost"]));
    assert_eq!(input["properties"]["Quantity"]["default"], 1);
    assert_eq!(
        input["properties"]["SimulatedWorkSeconds"]["type"],
        "number"
    );
    let output = &workflow["output_schema"];
    assert_eq!(output["properties"]["Processed"]["type"], "boolean");
    let activities = shown["activities"].as_array().unwrap();
    for activity in activities {
        assert!(activity["input_schema"].is_object(), "{activity}");
        assert!(activity["output_schema"].is_object(), "{activity}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_compared_with_what_the_names_mean_now() {
    let host = host(&["order-processing"]).await;
    let same = host
        .interface_diff(&checked(&["order-processing"]))
        .unwrap();
    let fates = |diff: &wfhost::InterfaceDiff| -> Vec<(String, Fate)> {
        let definitions = diff.modules.iter().flat_map(|it| &it.definitions);
        definitions
            .map(|it| (it.name.to_string(), it.fate))
            .collect()
    };
    assert!(fates(&same).iter().all(|it| it.1 == Fate::Unmoved));

    let new = host.interface_diff(&checked(&["order-approval"])).unwrap();
    let old = host.modules().unwrap()[0].digest;
    let fates = fates(&new);
    for (name, fate) in [
        ("OrderApprovalWorkflow", Fate::Added),
        ("RequestApprovalActivity", Fate::Added),
        ("NotifyActivity", Fate::Replaced { from: old }),
        ("OrderProcessingWorkflow", Fate::Removed { stays_on: old }),
    ] {
        let expected = (name.to_owned(), fate);
        assert!(fates.contains(&expected), "{expected:?} in {fates:?}");
    }
    // Both are made of the same steps.
    assert_eq!(new.changes().count(), 0, "{new}");
    assert_eq!(new.gains().count(), 0);
    assert_eq!(new.modules[0].was_contained, Some(true));
    let view = wfhost::view::interface_diff(&new);
    assert_eq!(view["modules"][0]["label"], "order-approval.wasm");

    let http = host.interface_diff(&checked(&["http-get"])).unwrap();
    assert_eq!(http.modules[0].gained, ["wasi:http/outgoing-handler"]);
    assert_eq!(http.modules[0].was_contained, None);
    host.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_without_schemas_claims_nothing() {
    let host = host(&["steps"]).await;
    let diff = host.interface_diff(&checked(&["steps-changed"])).unwrap();
    let definitions = diff.modules.iter().flat_map(|it| &it.definitions);
    assert!(
        definitions
            .clone()
            .any(|it| matches!(it.fate, Fate::Replaced { .. }))
    );
    assert!(
        diff.changes().all(|(_, it)| it.impact != Impact::Breaks),
        "{diff}"
    );
    host.close().await.unwrap();
}
