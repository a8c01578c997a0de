//! Bad input: a message that says what, where and what to do, and nothing left behind.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{Shell, module};

/// One bad call: its arguments, its exit status, and what its message must say.
fn refused(shell: &Shell, args: &[&str], code: i32, says: &[&str]) {
    let before = shell.files();
    let ran = shell.run(args);
    assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.err);
    assert_eq!(ran.out, "", "{args:?}");
    for text in says {
        assert!(
            ran.err.contains(text),
            "{args:?} does not say `{text}`: {}",
            ran.err
        );
    }
    assert_eq!(shell.files(), before, "{args:?} left something behind");
}

#[test]
fn what_is_no_module_is_refused_by_what_it_is() {
    let shell = Shell::new();
    let order = std::fs::read(module("order-processing")).unwrap();
    shell.write("text.wasm", "not wasm at all");
    shell.write("empty.wasm", "");
    shell.write("truncated.wasm", &order[..order.len() / 2]);
    // A core module: magic, version, nothing else. A component: the same with its own version.
    shell.write("plain.wasm", b"\0asm\x01\0\0\0");
    shell.write("foreign.wasm", b"\0asm\x0d\0\x01\0");
    std::fs::create_dir(shell.dir.path().join("folder")).unwrap();

    refused(
        &shell,
        &["run", "none.wasm"],
        2,
        &["none.wasm", "No such file"],
    );
    refused(
        &shell,
        &["run", "text.wasm"],
        2,
        &["text.wasm", "WebAssembly"],
    );
    refused(&shell, &["run", "empty.wasm"], 2, &["empty.wasm"]);
    refused(&shell, &["run", "truncated.wasm"], 2, &["truncated.wasm"]);
    refused(
        &shell,
        &["run", "plain.wasm"],
        2,
        &["plain.wasm", "component"],
    );
    refused(
        &shell,
        &["run", "foreign.wasm"],
        2,
        &["foreign.wasm", "wfhost:durable"],
    );
    refused(&shell, &["run", "folder"], 2, &["folder", "Cargo.toml"]);
    refused(&shell, &["build", "folder"], 2, &["folder", "Cargo.toml"]);
}

#[test]
fn a_wrong_call_is_refused_before_anything_is_opened() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let wasm = wasm.to_str().unwrap();
    shell.write("bad.json", "{\"Name\": \"Cars\",\n  oops}");

    refused(
        &shell,
        &["run", wasm, "--input", "{\"a\":1,\n oops}"],
        2,
        &["--input", "line 2 column 2"],
    );
    refused(
        &shell,
        &["run", wasm, "--input", "@bad.json"],
        2,
        &["bad.json", "line 2 column 3"],
    );
    refused(
        &shell,
        &["run", wasm, "--input", "@none.json"],
        2,
        &["none.json"],
    );
    refused(&shell, &["run", wasm, "--state", "Cars"], 2, &["KEY=JSON"]);
    refused(
        &shell,
        &["run", wasm, "--state", "Cars={"],
        2,
        &["--state Cars", "line 1"],
    );
    refused(
        &shell,
        &["run", wasm, "--id", "a b"],
        2,
        &["a b", "letters, digits"],
    );
    refused(&shell, &["run"], 2, &["PATH", "--id"]);
    refused(
        &shell,
        &["run", "--id", "a"],
        2,
        &["wfhost.redb", "no data file"],
    );
    for look in ["list", "modules"] {
        refused(&shell, &[look], 2, &["no data file"]);
    }
    for look in ["show", "history", "replay"] {
        refused(&shell, &[look, "a"], 2, &["no data file"]);
    }
}

#[test]
fn an_input_that_does_not_fit_names_the_field_and_records_nothing() {
    let shell = Shell::new();
    let wasm = module("order-processing");
    let wasm = wasm.to_str().unwrap();
    let order = r#"{"Name":"Cars","TotalCost":"much"}"#;
    refused(&shell, &["run", wasm, "--input", order], 2, &["TotalCost"]);
    shell
        .run(&[
            "run",
            wasm,
            "--id",
            "first",
            "--input",
            r#"{"Name":"Cars","TotalCost":1}"#,
        ])
        .ok(0);
    let ran = shell.run(&["run", wasm, "--id", "a", "--input", order]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("TotalCost"), "{}", ran.err);
    assert_eq!(shell.run(&["list", "--json"]).rows(0).len(), 1);
    // The id is still free.
    shell
        .run(&[
            "run",
            "--id",
            "a",
            "--input",
            r#"{"Name":"Cars","TotalCost":1}"#,
        ])
        .ok(0);
}

#[test]
fn an_unknown_name_is_told_with_those_there_are() {
    let shell = Shell::new();
    let wasm = module("steps");
    let wasm = wasm.to_str().unwrap();
    refused(
        &shell,
        &["run", wasm, "--workflow", "Nope"],
        2,
        &["`Nope`", "FanOut"],
    );
    refused(&shell, &["run", wasm], 2, &["--workflow", "FanOut"]);
    shell.run(&["run", wasm, "--workflow", "Counter"]).ok(0);
    refused(
        &shell,
        &["run", "--workflow", "Nope"],
        2,
        &["`Nope`", "FanOut"],
    );
    for look in ["show", "history", "replay"] {
        let ran = shell.run(&[look, "nobody"]);
        assert_eq!(ran.code, Some(2));
        assert!(
            ran.err.contains("`nobody`") && ran.err.contains("wfhost list"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn an_unknown_activity_stalls_the_instance_and_keeps_it() {
    let shell = Shell::new();
    let (steps, missing) = (module("steps"), module("missing"));
    let args = [
        "run",
        steps.to_str().unwrap(),
        "--workflow",
        "CallsUnknown",
        "--id",
        "u",
    ];
    let ran = shell.run(&args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""));
    assert!(
        ran.err.contains("`Missing`") && ran.err.contains("wfhost run --id=u"),
        "{}",
        ran.err
    );
    let shown = shell.run(&["show", "u", "--json"]).rows(0).remove(0);
    assert_eq!(
        (&shown["status"], &shown["reason"]["kind"]),
        (&json!("stalled"), &json!("activity-missing"))
    );
    assert_eq!(shell.run(&["run", "--id", "u"]).code, Some(3));
    assert_eq!(
        shell
            .run(&["run", missing.to_str().unwrap(), "--id", "u"])
            .ok(0),
        "\"found\"\n"
    );
}

#[test]
fn a_file_that_is_not_ours_is_left_as_it_is() {
    let shell = Shell::new();
    let wasm = module("steps");
    let wasm = wasm.to_str().unwrap();
    for (name, bytes) in [("text.redb", "not a database"), ("empty.redb", "")] {
        shell.write(name, bytes);
        refused(
            &shell,
            &["run", wasm, "--workflow", "Counter", "--db", name],
            4,
            &[name, "not a data file of wfhost"],
        );
        refused(&shell, &["list", "--db", name], 4, &[name]);
        assert_eq!(
            std::fs::read_to_string(shell.dir.path().join(name)).unwrap(),
            bytes
        );
    }
    refused(
        &shell,
        &[
            "run",
            wasm,
            "--workflow",
            "Counter",
            "--db",
            "none/data.redb",
        ],
        4,
        &["none"],
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let shell = Shell::new();
    let folder = shell.dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    let may_write_anyway = std::fs::write(folder.join("probe"), "").is_ok();
    let wasm = module("steps");
    // The superuser may write anywhere but in the kernel's own folders.
    let db = if may_write_anyway {
        "/sys/data.redb"
    } else {
        "folder/data.redb"
    };
    refused(
        &shell,
        &[
            "run",
            wasm.to_str().unwrap(),
            "--workflow",
            "Counter",
            "--db",
            db,
        ],
        4,
        &[db, "cannot"],
    );
}

#[test]
fn a_refused_call_changes_nothing_in_the_data_file() {
    let shell = Shell::new();
    let (steps, missing) = (module("steps"), module("missing"));
    let (steps, missing) = (steps.to_str().unwrap(), missing.to_str().unwrap());
    shell
        .run(&["run", steps, "--workflow", "Counter", "--id", "c"])
        .ok(0);
    let modules = shell.run(&["modules", "--json"]).ok(0);
    // An input that the code of a new module refuses, and two modules for one name.
    let changed = module("steps-changed");
    let changed = changed.to_str().unwrap();
    refused(
        &shell,
        &["run", changed, "--workflow", "Steps"],
        2,
        &["refused its input"],
    );
    refused(
        &shell,
        &["run", steps, changed, "--workflow", "Steps"],
        2,
        &["both offer", "Rerolls"],
    );
    assert_eq!(shell.run(&["modules", "--json"]).ok(0), modules);
    // Another input for an instance there is: the module is not deployed either.
    refused(
        &shell,
        &["run", missing, "--id", "c", "--input", "5"],
        2,
        &["another input"],
    );
    assert_eq!(shell.run(&["modules", "--json"]).ok(0), modules);
    // An input that the code refuses: the state is not written either.
    let bad = [
        "run",
        "--workflow",
        "Steps",
        "--input",
        "{}",
        "--state",
        "counter=41",
    ];
    refused(&shell, &bad, 2, &["steps"]);
    assert_eq!(shell.run(&["run", "--workflow", "Counter"]).ok(0), "2\n");
}
