//! The quickstart: its lines, its results, its stock.

use serde_json::json;

use crate::support::{Shell, module};

const ORDER: &str = r#"{"Name":"Cars","TotalCost":15000,"Quantity":10}"#;

#[test]
fn an_order_prints_the_quickstarts_lines_and_takes_its_cars() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let wasm = wasm.to_str().unwrap();
    let ran = shell.run(&["run", wasm, "--input", ORDER, "--id", "49caa2d7"]);
    assert_eq!(ran.out, "{\"Processed\":true}\n", "{}", ran.err);
    assert_eq!(ran.code, Some(0));
    let expected = [
        "Starting workflow 49caa2d7 purchasing 10 Cars",
        "Your workflow has started. Here is the status of the workflow: Running",
        "Received order 49caa2d7 for 10 Cars at $15000",
        "Reserving inventory for order 49caa2d7 of 10 Cars",
        "There are: 100, Cars available for purchase",
        "Processing payment: 49caa2d7 for 10 Cars at $15000",
        "Payment for request ID '49caa2d7' processed successfully",
        "Checking Inventory for: Order# 49caa2d7 for 10 Cars",
        "There are now: 90 Cars left in stock",
        "Order 49caa2d7 has completed!",
        "Workflow Status: Completed",
    ];
    let mut lines = ran.err.lines();
    for line in expected {
        assert!(
            lines.any(|it| it.contains(line)),
            "`{line}` is missing or out of order:\n{}",
            ran.err
        );
    }

    let order = r#"{"Name":"Cars","TotalCost":150000,"Quantity":100}"#;
    let ran = shell.run(&[
        "run",
        "--workflow",
        "OrderProcessingWorkflow",
        "--input",
        order,
    ]);
    assert!(
        ran.err.contains("Insufficient inventory for Cars"),
        "{}",
        ran.err
    );
    assert_eq!(ran.ok(0), "{\"Processed\":false}\n");
}

#[test]
fn an_item_that_nobody_stocks_is_insufficient() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let order = r#"{"Name":"Boats","TotalCost":1}"#;
    let ran = shell.run(&["run", wasm.to_str().unwrap(), "--input", order]);
    assert!(
        ran.err.contains("Insufficient inventory for Boats"),
        "{}",
        ran.err
    );
    assert_eq!(ran.ok(0), "{\"Processed\":false}\n");
}

#[test]
fn a_run_as_json_is_its_history_and_then_the_instance() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let args = [
        "run",
        wasm.to_str().unwrap(),
        "--input",
        ORDER,
        "--id",
        "a",
        "--json",
    ];
    let mut rows = shell.run(&args).rows(0);
    let instance = rows.pop().unwrap();
    assert_eq!(instance["record"], "instance");
    assert_eq!(instance["status"], "completed");
    assert_eq!(instance["output"], json!({"Processed": true}));
    assert_eq!(
        instance["input"],
        serde_json::from_str::<serde_json::Value>(ORDER).unwrap()
    );
    for row in &mut rows {
        assert_eq!(
            row.as_object_mut().unwrap().remove("instance"),
            Some(json!("a"))
        );
    }
    assert_eq!(rows, shell.run(&["history", "a", "--json"]).rows(0));

    let mut shown = shell.run(&["show", "a", "--json"]).rows(0).remove(0);
    shown["record"] = json!("instance");
    assert_eq!(shown, instance);
}

#[test]
fn an_id_names_one_instance_for_ever() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let wasm = wasm.to_str().unwrap();
    let first = shell
        .run(&["run", wasm, "--input", ORDER, "--id", "a"])
        .ok(0);

    // The same call, a call without a path, and the same input written otherwise: the same result.
    let spaced = r#"{ "TotalCost":15000, "Quantity":10, "Name":"Cars" }"#;
    for args in [
        &["run", wasm, "--input", ORDER, "--id", "a"][..],
        &["run", "--id", "a"],
        &["run", "--id", "a", "--input", spaced],
    ] {
        assert_eq!(shell.run(args).ok(0), first);
    }
    let history = shell.run(&["history", "a", "--json"]).ok(0);
    assert_eq!(
        history
            .matches("There are now: 90 Cars left in stock")
            .count(),
        1,
        "{history}"
    );

    let other = shell.run(&[
        "run",
        "--id",
        "a",
        "--input",
        r#"{"Name":"Boats","TotalCost":1}"#,
    ]);
    assert!(
        other.err.contains("started with another input"),
        "{}",
        other.err
    );
    assert_eq!(other.code, Some(2));
}

#[test]
fn state_given_on_the_command_line_is_there_before_the_start() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let stock = r#"Cars={"name":"Cars","totalCost":15000,"quantity":3}"#;
    let args = [
        "run",
        wasm.to_str().unwrap(),
        "--input",
        ORDER,
        "--state",
        stock,
    ];
    assert_eq!(shell.run(&args).ok(0), "{\"Processed\":false}\n");
}

#[test]
fn list_show_and_modules_tell_what_is_there() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    shell
        .run(&["run", wasm.to_str().unwrap(), "--input", ORDER, "--id", "a"])
        .ok(0);
    let rows = shell.run(&["list", "--json"]).rows(0);
    assert_eq!(
        (rows.len(), &rows[0]["id"], &rows[0]["status"]),
        (1, &json!("a"), &json!("completed"))
    );
    let modules = shell.run(&["modules", "--json"]).rows(0);
    assert_eq!(modules[0]["digest"], rows[0]["module"]);
    assert_eq!(
        modules[0]["workflows"][0]["name"],
        "OrderProcessingWorkflow"
    );
    assert_eq!(modules[0]["contained"], json!(true));
    assert!(shell.run(&["list"]).ok(0).contains("completed"));
    assert!(
        shell
            .run(&["show", "a"])
            .ok(0)
            .contains("{\"Processed\":true}")
    );
    assert!(
        shell
            .run(&["modules"])
            .ok(0)
            .contains("ProcessPaymentActivity")
    );
    assert!(
        shell
            .run(&["history", "a"])
            .ok(0)
            .contains("call activity `ProcessPaymentActivity`")
    );
}
