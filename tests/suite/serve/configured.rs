//! A host that is set up by a configuration file: what is wrong with it, who may call, and what its
//! activities may have of the outside.

use serde_json::json;

use super::client::Server;
use crate::support::{Shell, module};

#[test]
fn what_is_wrong_with_a_configuration_is_told_with_its_line_and_nothing_is_made() {
    for (text, told) in [
        (
            "listn = \"127.0.0.1:0\"",
            "wfhost.toml:1: unknown key `listn`; did you mean `listen`?",
        ),
        (
            "\n[requests]\nhead_time_max = 3",
            "wfhost.toml:3: `requests.head_time_max`: invalid type: integer `3`",
        ),
        (
            "[[tokens]]\nname = \"a\"\nscope = \"read\"\nsecret = { file = \"none\" }",
            "wfhost.toml:4: the secret of the token `a`: cannot read none",
        ),
        (
            "[tls]\ncertificate = \"none.pem\"\nkey = \"none.pem\"",
            "cannot read the certificate from none.pem",
        ),
        ("listen = \"0.0.0.0:0\"", "WFHOST_TOKEN"),
        ("modules = [\"none.wasm\"]", "none.wasm"),
    ] {
        let shell = Shell::new();
        shell.write("wfhost.toml", text);
        let ran = shell.run(&["serve", "--config", "wfhost.toml"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(told), "{}\nwithout {told}", ran.err);
        assert_eq!(shell.files(), ["wfhost.toml"]);
    }
}

#[test]
fn a_good_configuration_is_checked_without_a_data_file_and_flags_win_over_it() {
    let shell = Shell::new();
    let scripted = module("scripted");
    let text =
        format!("data_file = \"data/a.redb\"\nlisten = \"256.0.0.1:0\"\nmodules = [{scripted:?}]");
    shell.write("wfhost.toml", text.replace("256", "127"));
    std::fs::create_dir(shell.dir.path().join("data")).unwrap();
    let ran = shell.run(&["serve", "--config", "wfhost.toml", "--check"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(shell.files(), ["data", "wfhost.toml"]);
    let server = Server::configured(shell, &text.replace("256", "127"), &["--db", "b.redb"]);
    assert_eq!(
        server.shell.files(),
        ["b.redb", "b.redb.sock", "data", "wfhost.toml"]
    );
    let start = json!({ "workflow": "Script", "id": "a", "input": [] });
    assert_eq!(server.post("/api/v1/instances", &start).status, 201);
    let again = server.again();
    assert_eq!(
        again.get("/api/v1/instances/a?wait=60").json()["status"],
        "completed"
    );
}

#[test]
fn a_token_lets_do_what_its_scope_says() {
    let (shell, mut config, mut tokens) = (Shell::new(), String::new(), Vec::new());
    for scope in ["read", "operate", "deploy"] {
        let made = shell.run(&["token", "--scope", scope, &format!("the {scope}er")]);
        tokens.push(made.out.trim().to_owned());
        config.push_str(&made.err);
    }
    assert_eq!(
        tokens.iter().map(String::len).max(),
        Some("wfhost_".len() + 64)
    );
    let server = Server::configured(shell, &config, &[module("scripted").to_str().unwrap()]);
    let start = json!({ "workflow": "Script", "input": [] }).to_string();
    for (method, path, body, needed) in [
        ("GET", "/api/v1/instances", "", 0),
        ("POST", "/api/v1/instances", &start, 1),
        ("PUT", "/api/v1/state/key", "1", 1),
        ("POST", "/api/v1/deployments/promote", "", 2),
        ("GET", "/v1.0/metadata", "", 0),
        ("POST", "/v1.0/workflows/dapr/Script/start", "[]", 1),
    ] {
        for (scope, token) in tokens.iter().enumerate() {
            let shown = format!("authorization: Bearer {token}");
            let answer = server.client().call(method, path, &[&shown], body);
            assert_eq!(
                answer.status == 403,
                scope < needed,
                "{method} {path} {answer:?}"
            );
            if answer.status == 403 {
                let told = answer.json();
                let scope = ["read", "operate", "deploy"][needed];
                assert!(
                    told.to_string().contains(&format!("scope `{scope}`")),
                    "{told}"
                );
                let code = if path.starts_with("/v1.0") {
                    &told["errorCode"]
                } else {
                    &told["code"]
                };
                assert!(code == "forbidden" || code == "ERR_FORBIDDEN", "{told}");
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(challenge.contains("insufficient_scope"), "{challenge}");
            }
        }
        assert_eq!(
            server.client().call(method, path, &[], body).status,
            401,
            "{path}"
        );
    }
}

#[test]
fn a_token_that_there_is_already_is_hashed_unless_it_can_be_guessed() {
    let shell = Shell::new();
    for (token, code) in [("0123456789abcdef\n", 0), ("secret", 2)] {
        let mut command = shell.command(&["token", "old", "--stdin"]);
        shell.write("token", token);
        let file = std::fs::File::open(shell.dir.path().join("token")).unwrap();
        let ran = crate::support::Ran::from(command.stdin(file).output().unwrap());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert_eq!(ran.out, "");
        assert_eq!(
            ran.err.contains("secret = \"sha256:"),
            code == 0,
            "{}",
            ran.err
        );
    }
}

#[test]
fn activities_have_what_they_are_granted_and_workflows_nothing() {
    let shell = Shell::new();
    shell.write("key", "s3cr3t-key\n");
    let config = "
        [grants.\"*\"]
        env = { WHO = \"all\", ZONE = \"UTC\" }
        [grants.Environment]
        env = { WHO = \"its own\" }
        secrets = { KEY = { file = \"key\" } }
        [grants.Add]
        state_read = [\"free/\"]
        state_write = [\"free/\", \"other/\"]";
    let server = Server::configured(shell, config, &[module("scripted").to_str().unwrap()]);
    let wasi = std::fs::read(module("wasi-clock")).unwrap();
    let deployed = server.client().send("/api/v1/modules?force=true", &wasi);
    assert_eq!(deployed.status, 201, "{deployed:?}");
    let run = |id: &str, workflow: &str, input: serde_json::Value| {
        let start = json!({ "workflow": workflow, "id": id, "input": input });
        let started = server.post("/api/v1/instances", &start);
        assert_eq!(started.status, 201, "{started:?}");
        server
            .get(&format!("/api/v1/instances/{id}?wait=60"))
            .json()
    };
    let call = |name: &str, input: serde_json::Value| json!([{ "call": { "name": name, "input": input } }]);
    let seen = run("env", "Script", call("Environment", json!(null)));
    let expected = json!([["KEY", "s3cr3t-key"], ["WHO", "its own"], ["ZONE", "UTC"]]);
    assert_eq!(seen["output"][0], expected, "{seen}");
    // What it printed is recorded without the secret.
    let history = server.get("/api/v1/instances/env/history").json();
    let records = history["records"].as_array().unwrap();
    let log: String = records.iter().map(|it| it["log"].to_string()).collect();
    assert!(
        log.contains("KEY=[secret KEY]") && !log.contains("s3cr3t"),
        "{log}"
    );
    let workflow = run("clock", "WasiClock", json!(null));
    assert_eq!(workflow["output"]["environment"], json!([]), "{workflow}");
    let may = run("may", "Script", call("Add", json!("free/a")));
    assert_eq!(may["output"][0], 1, "{may}");
    let may_not = run("may-not", "Script", call("Add", json!("other/a")));
    let why = may_not["failure"].to_string();
    assert!(
        why.contains("it may not read `other/a` of the state store"),
        "{may_not}"
    );
}
