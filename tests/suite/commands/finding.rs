//! Lists, and what is let go.

use super::{call, check, ids, session, steps};
use crate::support::Shell;

/// Five ended instances and a running one, some of them tagged.
fn several() -> Shell {
    let (shell, wasm) = steps();
    check(
        (
            &format!("run {wasm} --workflow Counter --id c1 --tag n=odd"),
            0,
            "1",
            &[],
        ),
        &shell,
    );
    for (line, code, out) in [
        ("run --workflow Counter --id c2 --tag n=even", 0, "2"),
        ("run --workflow Counter --id c3 --tag n=odd", 0, "3"),
        ("run --workflow Fails --id f", 1, ""),
        ("start --workflow CleansUp --id r", 0, "r"),
        (
            r#"run --workflow Parent --input {"workflow":"Counter","input":null} --id p"#,
            0,
            r#"{"result":4}"#,
        ),
    ] {
        check((line, code, out, &[]), &shell);
    }
    shell
}

#[test]
fn a_list_shows_what_fits_all_filters() {
    let shell = several();
    let modules = call(&shell, "modules --json").rows(0);
    let digest = modules[0]["digest"].as_str().unwrap().to_owned();
    let all = ["c1", "c2", "c3", "f", "r", "p", "p-0-1"];
    let short = &digest[..20];
    for (filters, expected) in [
        ("", &all[..]),
        ("--workflow Counter", &["c1", "c2", "c3", "p-0-1"]),
        ("--status failed,running", &["f", "r"]),
        ("--status failed --status running", &["f", "r"]),
        ("--tag n=odd", &["c1", "c3"]),
        ("--tag n=odd --tag n=even", &[]),
        ("--workflow Counter --status failed", &[]),
        ("--parent p", &["p-0-1"]),
        (&format!("--module {digest}"), &all),
        (&format!("--module {short}"), &all),
        ("--created-after 1h", &all),
        ("--created-before 1h", &[]),
        ("--created-after 2999-01-01T00:00:00Z", &[]),
        ("--newest-first --limit 2", &["p-0-1", "p"]),
    ] {
        let found = ids(&shell, &format!("list --json {filters}"));
        assert_eq!(found, expected, "{filters}");
    }
    for (line, says) in [
        ("list --module sha256:zz", "wfhost modules"),
        ("list --status done", "completed"),
        ("list --limit 0", "1.."),
        ("list --created-after soon", "2h"),
    ] {
        check((line, 2, "", &[says]), &shell);
    }
}

#[test]
fn a_list_comes_page_by_page_and_says_how_to_go_on() {
    let shell = several();
    let mut command = "list --json --limit 3 --workflow Counter".to_owned();
    let mut found = Vec::new();
    loop {
        let ran = call(&shell, &command);
        let next = ran.err.clone();
        let rows = ran.rows(0);
        found.extend(
            rows.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        match next.trim().strip_prefix("there are more: wfhost ") {
            Some(next) => command = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ["c1", "c2", "c3", "p-0-1"]);
    assert!(command.contains("--after"), "there was one page only");
}

#[test]
fn what_is_purged_is_gone_and_what_has_not_ended_is_kept() {
    let shell = several();
    session(
        &shell,
        &[
            ("purge", 2, "", &["--older-than"]),
            ("purge c1 --status failed", 2, "", &["not both"]),
            ("purge --status running", 2, "", &["terminate it first"]),
            ("purge r", 2, "", &["`r` has not ended (running)"]),
            ("purge c1 r", 2, "", &["`r` has not ended"]),
            ("purge nobody", 2, "", &["`nobody`"]),
            (
                "purge --workflow Counter --tag n=odd --dry-run",
                0,
                "c1\nc3",
                &["would be purged"],
            ),
            (
                "purge --status completed --older-than 1h",
                0,
                "",
                &["0 instances purged"],
            ),
            ("purge c2", 0, "c2", &["1 instance purged"]),
            ("show c2", 2, "", &["`c2`"]),
            (
                "purge --tag n=odd --json",
                0,
                "{\"id\":\"c1\"}\n{\"id\":\"c3\"}",
                &[],
            ),
            (
                "purge p --children --dry-run",
                0,
                "p-0-1\np",
                &["nothing was changed"],
            ),
            ("purge p --children", 0, "p-0-1\np", &["2 instances purged"]),
            ("purge --status failed,cancelled", 0, "f", &[]),
        ],
    );
    assert_eq!(ids(&shell, "list --json"), ["r"]);
    check(("run --workflow Counter --id c1", 0, "5", &[]), &shell);
}
