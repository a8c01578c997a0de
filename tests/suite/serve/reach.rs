//! The commands and a running host: they find it, and say what they would say without it.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::client::Server;
use crate::support::{Ran, Shell, module};

/// A call, without the words that are about where the data is.
fn ran(shell: &Shell, line: &[&str]) -> (Option<i32>, String) {
    let Ran { code, out, .. } = shell.run(line);
    (code, out)
}

/// What a person does with orders and their data, and what comes of it that is not about time.
fn session(shell: &Shell) -> Vec<(Option<i32>, String)> {
    let (orders, script) = (module("order-processing"), module("scripted"));
    let (orders, script) = (orders.to_str().unwrap(), script.to_str().unwrap());
    shell.write(
        "order.json",
        r#"{"Name":"Cars","TotalCost":15000,"Quantity":1}"#,
    );
    let stock = r#"{"name":"Cars","totalCost":15000,"quantity":9}"#;
    let steps = r#"[{"event":"go"},{"call":{"name":"Echo","input":"done"}}]"#;
    let lines: &[&[&str]] = &[
        &["state", "set", "Cars", stock],
        &["start", orders, "--id", "one", "--input", "@order.json"],
        &["wait", "one", "--quiet"],
        &[
            "start",
            "--id",
            "one",
            "--workflow",
            "Script",
            "--input",
            "[]",
        ],
        &["run", orders, "--id", "two", "--input", "@order.json"],
        &["run", orders, "--id", "three", "--input", "@missing.json"],
        &["state", "get", "Cars"],
        &["state", "get", "Boats"],
        &["state", "set", "Boats", "{"],
        &[
            "start",
            script,
            "--id",
            "s",
            "--workflow",
            "Script",
            "--input",
            steps,
        ],
        &["raise-event", "s", "go", "7"],
        &["wait", "s"],
        &["raise-event", "s", "go", "7"],
        &["raise-event", "nobody", "go"],
        &["replay", "one"],
        &["replay", "s", script],
        &["logs", "nobody"],
        &["list", "--limit", "1", "--after", "0"],
        &["purge", "one"],
        &["show", "one"],
        &["export", "two", "-o", "two.capsule"],
        &["replay", "two.capsule"],
        &["modules", "gc"],
    ];
    let done = lines.iter().map(|line| ran(shell, line));
    let mut done: Vec<_> = done.collect();
    for (_, out) in &mut done {
        // Times, and the size of what holds them.
        let lines = out.lines().filter(|it| !it.contains("20"));
        let parts = lines.flat_map(|line| line.split(", "));
        *out = parts.filter(|it| !it.contains(" bytes in all")).collect();
    }
    done
}

#[test]
fn commands_do_the_same_on_a_file_and_with_the_host_that_serves_it() {
    let alone = Shell::new();
    // Somebody has to make the file.
    alone
        .run(&["deploy", module("scripted").to_str().unwrap()])
        .ok(0);
    let server = Server::serve(Shell::new(), vec![module("scripted").display().to_string()]);
    let (expected, found) = (session(&alone), session(&server.shell));
    assert_eq!(found, expected);
    let codes: Vec<_> = found.iter().map(|(code, _)| code.unwrap()).collect();
    assert_eq!(codes[..8], [0, 0, 0, 2, 0, 2, 0, 1], "{found:?}");
}

#[test]
fn a_host_elsewhere_is_found_by_its_address_and_asks_for_its_token() {
    let server = Server::start(&["--token", "a-secret-of-many-letters"]);
    let elsewhere = Shell::new();
    let url = format!("http://{}", server.address());
    let call = |token: Option<&str>, line: &[&str]| {
        let mut command = elsewhere.command(line);
        command.env("WFHOST_SERVER", &url);
        if let Some(token) = token {
            command.env("WFHOST_TOKEN", token);
        }
        Ran::from(command.output().unwrap())
    };
    let token = Some("a-secret-of-many-letters");
    let start = [
        "start",
        "--workflow",
        "Script",
        "--id",
        "a",
        "--input",
        "[]",
    ];
    for (token, code) in [(None, 2), (Some("other"), 2), (token, 0)] {
        let ran = call(token, &start);
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
    assert_eq!(call(token, &["wait", "a"]).ok(0).trim(), "[]");
    let out = call(token, &["export", "a", "-o", "a.capsule"]);
    out.ok(0);
    assert_eq!(elsewhere.files(), ["a.capsule"]);
    // On its own machine nobody has to show it, whatever name the file has there.
    let link = server.shell.dir.path().join("link.redb");
    std::os::unix::fs::symlink("wfhost.redb", &link).unwrap();
    let list = ["list", "--json", "--db", "link.redb"];
    assert_eq!(server.shell.run(&list).rows(0).len(), 1);
    assert_eq!(server.shell.run(&["wait", "a"]).ok(0).trim(), "[]");
    for (url, says) in [
        ("localhost:3500", "it begins with neither"),
        ("http://127.0.0.1:1", "cannot reach"),
        ("http://127.0.0.1/api", "nothing comes after"),
    ] {
        let ran = elsewhere.run(&["list", "--server", url]);
        assert!(ran.code == Some(2) || ran.code == Some(4), "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }
}

#[test]
fn what_is_for_a_host_of_its_own_is_refused_by_a_running_one() {
    let server = Server::start(&[]);
    let start = json!({ "workflow": "Script", "id": "a", "input": [] });
    server.post("/api/v1/instances", &start);
    for (line, flag) in [
        (vec!["wait", "a", "--skip-time"], "--skip-time"),
        (
            vec!["run", "--id", "a", "--allow-host", "x.org"],
            "--allow-host",
        ),
        (vec!["run", "--id", "a", "--watch", "."], "--watch"),
    ] {
        let ran = server.shell.run(&line);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(flag), "{ran:?}");
    }
    // And what needs a running one says so without.
    let alone = Shell::new();
    alone
        .run(&["deploy", module("scripted").to_str().unwrap()])
        .ok(0);
    for line in [vec!["watch"], vec!["logs", "a", "--follow"]] {
        let ran = alone.run(&line);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains("no host serves"), "{ran:?}");
    }
}

#[test]
fn the_socket_has_the_rights_of_the_file_and_is_gone_with_the_host() {
    let server = Server::start(&[]);
    let mode = |name: &str| {
        let path = server.shell.dir.path().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o666
    };
    assert_eq!(mode("wfhost.redb.sock"), mode("wfhost.redb"));
    let server = server.again();
    // One that was killed leaves it over, and nobody is misled.
    let shell = server.kill();
    assert!(shell.files().contains(&"wfhost.redb.sock".to_owned()));
    shell.run(&["list"]).ok(0);
    let server = Server::serve(shell, Vec::new());
    let list = server.shell.run(&["list", "--json"]);
    assert_eq!(list.rows(0), Vec::<Value>::new());
    server.terminate();
    assert_eq!(server.end().files(), ["wfhost.redb"]);
}

#[test]
fn logs_are_followed_until_the_instance_has_ended() {
    let server = Server::start(&[]);
    let input = r#"{"Name":"Cars","TotalCost":15000,"Quantity":1}"#;
    let steps = r#"[{"event":"go"}]"#;
    for (workflow, id, input) in [
        ("OrderProcessingWorkflow", "a", input),
        ("Script", "b", steps),
    ] {
        let start = [
            "start",
            "--workflow",
            workflow,
            "--id",
            id,
            "--input",
            input,
        ];
        server.shell.run(&start).ok(0);
    }
    server.shell.run(&["wait", "a"]);
    let rows = server.shell.run(&["logs", "a", "--json"]).rows(0);
    assert_eq!(rows[0]["turn"], json!(1), "{}", rows[0]);
    let of_attempt = rows.iter().find(|row| row["attempt"] == json!(1));
    let of_attempt = of_attempt.unwrap();
    assert!(of_attempt["message"].is_string(), "{of_attempt}");
    let name = of_attempt["activity"].as_str().unwrap();
    let of_one = server
        .shell
        .run(&["logs", "a", "--json", "--activity", name]);
    assert!(
        of_one
            .rows(0)
            .iter()
            .all(|row| row["activity"] == json!(name))
    );
    let follow = server.shell.command(&["logs", "b", "--follow"]);
    let mut follow = { follow }.stdout(Stdio::piped()).spawn().unwrap();
    server.shell.run(&["raise-event", "b", "go"]).ok(0);
    assert_eq!(follow.wait().unwrap().code(), Some(0));
}

#[test]
fn a_host_that_stops_tells_who_waits_and_a_caller_who_goes_ends_his_command() {
    let server = Server::start(&[]);
    let start = json!({ "workflow": "Script", "id": "a", "input": [{ "event": "never" }] });
    server.post("/api/v1/instances", &start);
    let mut watch = server
        .shell
        .command(&["watch", "--json", "--interval", "100ms"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = [0; 64];
    watch
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut shown)
        .unwrap();
    assert!(shown.starts_with(b"{"), "{shown:?}");
    watch.kill().unwrap();
    watch.wait().unwrap();
    let mut waits = server.shell.command(&["wait", "a"]);
    let mut waits = waits.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(waits.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.contains("Going on with"), "{line}");
    let (code, _) = server.stop();
    assert_eq!(code, Some(0));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("the host stops"), "{rest}");
    assert_eq!(waits.wait().unwrap().code(), Some(4));
}

#[test]
fn a_command_needs_as_much_of_its_token_as_the_route_that_does_the_same() {
    let shell = Shell::new();
    let secret = |scope: &str| format!("the-secret-for-{scope}");
    let mut config = format!(
        "listen = \"127.0.0.1:0\"\nmodules = [{:?}]\n",
        module("scripted")
    );
    for scope in ["read", "operate", "deploy"] {
        shell.write(scope, secret(scope));
        config += &format!(
            "[[tokens]]\nname = \"{scope}\"\nscope = \"{scope}\"\nsecret = {{ file = \"{scope}\" }}\n"
        );
    }
    let server = Server::configured(shell, &config, &[]);
    let url = format!("http://{}", server.address());
    let orders = module("order-processing");
    let orders = orders.to_str().unwrap();
    for (line, needed) in [
        (
            vec![
                "start",
                "--workflow",
                "Script",
                "--id",
                "a",
                "--input",
                "[]",
            ],
            "operate",
        ),
        (vec!["wait", "a"], "read"),
        (vec!["export", "a", "-o", "a.capsule"], "read"),
        (vec!["state", "list"], "read"),
        (vec!["state", "set", "k", "1"], "operate"),
        (vec!["purge", "a"], "operate"),
        (vec!["start", orders, "--id", "o"], "deploy"),
        (vec!["modules", "gc"], "deploy"),
    ] {
        let mut lets = false;
        for scope in ["read", "operate", "deploy"] {
            lets |= scope == needed;
            let mut command = server.shell.command(&line);
            command.env("WFHOST_SERVER", &url);
            command.env("WFHOST_TOKEN", secret(scope));
            let ran = Ran::from(command.output().unwrap());
            let refused = ran.err.contains("it takes one with the scope");
            assert_eq!(refused, !lets, "{line:?} with {scope}: {ran:?}");
            assert!(!refused || ran.code == Some(2), "{ran:?}");
            if lets {
                break;
            }
        }
    }
}

#[test]
fn a_file_that_is_named_wins_over_a_host_that_the_environment_names() {
    let shell = Shell::new();
    shell
        .run(&["deploy", module("scripted").to_str().unwrap()])
        .ok(0);
    let nobody = "http://127.0.0.1:1";
    for (line, code) in [
        (vec!["list", "--db", "wfhost.redb"], 0),
        (vec!["list", "--db=wfhost.redb"], 0),
        (vec!["modules", "list", "--db", "wfhost.redb"], 0),
        (vec!["list"], 4),
        (vec!["list", "--db", "wfhost.redb", "--server", nobody], 4),
    ] {
        let mut command = shell.command(&line);
        command.env("WFHOST_SERVER", nobody);
        let ran = Ran::from(command.output().unwrap());
        assert_eq!(ran.code, Some(code), "{line:?}: {ran:?}");
    }
}

/// Commands that did not wait for signals themselves were deaf to them, and what has no end went on
/// though nobody read it.
#[test]
fn a_command_ends_when_it_is_told_to_and_when_nobody_reads_it() {
    let server = Server::start(&[]);
    // It accepts, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut list = server
        .shell
        .command(&["list", "--server", &url])
        .spawn()
        .unwrap();
    let _asked = silent.accept().unwrap();
    let kill = std::process::Command::new("kill")
        .args(["-INT", &list.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(list.wait().unwrap().code(), Some(130));
    let mut watch = server
        .shell
        .command(&["watch", "--json", "--interval", "100ms"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = [0; 1];
    watch
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut shown)
        .unwrap();
    drop(watch.stdout.take());
    assert_eq!(watch.wait().unwrap().code(), Some(0));
}
