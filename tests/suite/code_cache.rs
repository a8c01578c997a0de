//! Compiled code that one command leaves to the next.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, Shell, module};

/// Runs an order, in an environment that is changed so.
fn run(shell: &Shell, change: impl Fn(&mut Command)) -> String {
    let path = module("order-processing");
    let input = r#"{"Name":"Cars","TotalCost":1000,"Quantity":1}"#;
    let mut command = shell.command(&["run", path.to_str().unwrap(), "--input", input]);
    change(&mut command);
    Ran::from(command.output().unwrap()).ok(0)
}

/// The files of compiled code in a folder.
fn codes(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "code"))
        .collect()
}

#[test]
fn a_second_run_takes_what_the_first_has_compiled_and_mends_what_is_damaged() {
    let shell = Shell::new();
    let folder = shell.dir.path().join("cache");
    let run = || {
        run(&shell, |command| {
            command.env("WFHOST_CACHE_DIR", &folder);
        })
    };
    let first = run();
    let codes = codes(&folder);
    assert_eq!(codes.len(), 1, "{codes:?}");
    let written = fs::read(&codes[0]).unwrap();
    // What is taken is not written again: it stays the same file.
    let same = shell.dir.path().join("same");
    fs::hard_link(&codes[0], &same).unwrap();
    assert_eq!(run(), first);
    fs::write(&same, "damaged").unwrap();
    assert_eq!(fs::read(&codes[0]).unwrap(), b"damaged");
    assert_eq!(run(), first);
    assert_eq!(fs::read(&codes[0]).unwrap().len(), written.len());
}

#[test]
fn code_is_kept_where_the_user_keeps_such_things_unless_nothing_shall_be_kept() {
    let shell = Shell::new();
    let (home, caches) = (shell.dir.path().join("home"), shell.dir.path().join("xdg"));
    let of_user = |command: &mut Command| {
        command.env("HOME", &home).env("XDG_CACHE_HOME", &caches);
    };
    run(&shell, |command| {
        of_user(command);
        command.env("WFHOST_CACHE_DIR", "");
    });
    assert!(!home.exists() && !caches.exists());
    run(&shell, |command| {
        of_user(command);
        command.env_remove("WFHOST_CACHE_DIR");
    });
    assert!(!home.exists());
    assert_eq!(codes(&caches.join("wfhost")).len(), 1);
}
