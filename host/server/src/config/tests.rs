//! The example of the documentation, and what is told of mistakes.

use std::path::Path;

use super::*;
use crate::host::Options;
use crate::serve::{Scope, ServeOptions};

/// The example of the documentation, where each key stands.
fn example() -> String {
    let page = include_str!("../../../../docs/configuration.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn parse(text: &str) -> Result<Config, Mistake> {
    Config::parse(Source::new(Path::new("wfhost.toml"), text.to_owned()))
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let mistake = match parse(text) {
        Err(mistake) => mistake.to_string(),
        Ok(config) => {
            let tokens = config.tokens().map(drop);
            let mistake = tokens.and_then(|()| config.grants().map(drop));
            mistake.unwrap_err().to_string()
        }
    };
    assert!(mistake.contains(expected), "{mistake}\nwithout\n{expected}");
}

#[test]
fn the_example_of_the_documentation_is_read_as_it_says() {
    let mut config = parse(&example()).unwrap_or_else(|mistake| panic!("{mistake}"));
    config.resolve();
    assert_eq!(config.data_file.as_deref(), Some(Path::new("orders.redb")));
    assert_eq!(config.listen.as_ref().unwrap().0.len(), 2);
    assert_eq!(config.tokens.len(), 3);
    let mut serving = ServeOptions::default();
    config.requests.put(&mut serving);
    let mut options = Options::default();
    config.activities.put(&mut options.bounds);
    // What it shows are the defaults, where there are any.
    let default = ServeOptions::default();
    assert_eq!(format!("{serving:?}"), format!("{default:?}"));
    assert_eq!(
        format!("{:?}", config.guests.limits()),
        format!("{:?}", options.limits)
    );
    assert_eq!(config.guests.warm_max, Some(options.guests_warm_max));
    assert_eq!(
        options.bounds.running_max,
        Options::default().bounds.running_max
    );
}

#[test]
fn the_example_of_the_documentation_has_each_key_that_there_is() {
    let example = example();
    for table in [
        "",
        "[tls]",
        "[[tokens]]",
        "[requests]",
        "[guests]",
        "[activities]",
        "[retention]",
        "[telemetry]",
        "[grants.\"*\"]",
    ] {
        let mistake = parse(&format!("{table}\nnone_such = 1"))
            .unwrap_err()
            .to_string();
        let (_, known) = mistake.split_once("(known are ").expect(&mistake);
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        assert!(known.len() > 1, "{mistake}");
        for key in known {
            let stands = |line: &str| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{key} = "))
                    || line.trim_start_matches('[').starts_with(key)
            };
            assert!(
                example.lines().any(stands),
                "`{key}` of {table} is in no example"
            );
        }
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_its_table_and_the_nearest_known_one() {
    check(
        "\n\nlistn = \"127.0.0.1:1\"",
        "wfhost.toml:3: unknown key `listn`; did you mean `listen`?",
    );
    check(
        "[requests]\nbody_byte_max = 1",
        "wfhost.toml:2: unknown key `body_byte_max` in [requests]; did you mean `body_bytes_max`?",
    );
    check(
        "[grants.Notify]\nhost = []",
        "wfhost.toml:2: unknown key `host` in [grants.Notify]; did you mean `hosts`?",
    );
    check(
        "zzz = 1",
        "wfhost.toml:1: unknown key `zzz` (known are `data_file`,",
    );
    check(
        "[[tokens]]\nname = \"a\"\nscope = \"read\"\nsecret = { evn = \"A\" }",
        "wfhost.toml:4: unknown key `evn` in [tokens[0].secret]; did you mean `env`?",
    );
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_its_line_and_what_would_fit() {
    check(
        "listen = \"here\"",
        "wfhost.toml:1: `listen`: invalid socket address",
    );
    check(
        "listen = []",
        "wfhost.toml:1: `listen`: invalid length 0, expected one or more",
    );
    check("listen = 3500", "expected a text or a list of texts");
    check(
        "\n[requests]\nhead_time_max = \"soon\"",
        "wfhost.toml:3: `requests.head_time_max`: invalid value: string \"soon\", expected a length of time",
    );
    check(
        "[requests]\nhead_time_max = \"0s\"",
        "expected a length of time",
    );
    check(
        "[requests]\nconnections_max = 0",
        "expected a whole number from 1",
    );
    check(
        "[guests]\nmemory_bytes_max = -1",
        "wfhost.toml:2: `guests.memory_bytes_max`: invalid value: integer `-1`",
    );
    check(
        "[activities]\nrunning_by_name_max = { \"a b\" = 0 }",
        "wfhost.toml:2: ",
    );
    check("state_store = \" \"", "expected a text that is not empty");
    check(
        "[tls]\nkey = \"a\"",
        "wfhost.toml:1: `tls`: missing field `certificate`",
    );
    check(
        "[grants.\"*\"]\nhosts = [\"ftp://x\"]",
        "the scheme is neither http nor https",
    );
    check(
        "[grants.\"*\"]\nenv = { \"\" = \"a\" }",
        "can be no variable",
    );
    check("data_file = ", "wfhost.toml:1: ");
    check("a = 1\na = 2", "wfhost.toml:2: ");
}

#[test]
fn a_token_that_can_be_guessed_or_is_there_twice_is_refused() {
    let secret = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let token = |name: &str, scope: &str, secret: &str| {
        format!("[[tokens]]\nname = \"{name}\"\nscope = \"{scope}\"\nsecret = {secret}\n")
    };
    let hashed = format!("\"{secret}\"");
    check(
        &token("a", "read", "\"plain\""),
        "wfhost.toml:4: `tokens[0].secret`: it is not `sha256:` with 64",
    );
    check(
        &token("a", "all", &hashed),
        "there is no scope `all`; it is one of `read`, `operate`, `deploy`",
    );
    let twice = token("a", "read", &hashed) + &token("b", "read", &hashed);
    check(
        &twice,
        "the tokens `a` and `b` have the same name or secret",
    );
    check(
        &token("a", "read", "{ env = \"WFHOST_NONE_SUCH\" }"),
        "wfhost.toml:4: the secret of the token `a`: the environment variable WFHOST_NONE_SUCH",
    );
    check(&token("a", "read", "{}"), "it takes either `env`");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wfhost.toml");
    std::fs::write(&path, token("a", "operate", "{ file = \"token\" }")).unwrap();
    std::fs::write(folder.path().join("token"), "short\n").unwrap();
    let mistake = Config::read(&path).unwrap().tokens().unwrap_err();
    assert!(
        mistake
            .to_string()
            .contains("it has 5 characters, 16 are the least"),
        "{mistake}"
    );
    std::fs::write(folder.path().join("token"), "0123456789abcdef\n").unwrap();
    let [token]: [_; 1] = Config::read(&path)
        .unwrap()
        .tokens()
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!((token.name.as_str(), token.scope), ("a", Scope::Operate));
    assert_eq!(
        token.secret,
        crate::serve::Hashed::of_text("0123456789abcdef").unwrap()
    );
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wfhost.toml");
    let text = "data_file = \"a.redb\"\nmodules = [\"/abs.wasm\", \"b\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"";
    std::fs::write(&path, text).unwrap();
    let config = Config::read(&path).unwrap();
    assert_eq!(config.data_file, Some(folder.path().join("a.redb")));
    assert_eq!(
        config.modules,
        [Path::new("/abs.wasm").to_owned(), folder.path().join("b")]
    );
    assert_eq!(config.tls.unwrap().key, folder.path().join("k"));
}
