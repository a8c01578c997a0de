//! `wfhost new`: what it writes works as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, Shell};

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder in which packages are built as in this checkout: from what it has built, and with the
/// versions that it has locked.
fn shell() -> Shell {
    let shell = Shell::new();
    let cargo = shell.dir.path().join(".cargo");
    std::fs::create_dir(&cargo).unwrap();
    let target = serde_json::json!(checkout().join("target")).to_string();
    let config = format!("[build]\ntarget-dir = {target}\n");
    std::fs::write(cargo.join("config.toml"), config).unwrap();
    shell
}

fn sdk() -> PathBuf {
    checkout().join("guest-sdk")
}

#[test]
fn a_new_package_runs_and_passes_its_tests() {
    let shell = shell();
    let made = shell.run(&["new", "greeting", "--sdk", sdk().to_str().unwrap()]);
    assert!(
        made.err.contains("it depends on the SDK in"),
        "{}",
        made.err
    );
    assert_eq!(made.ok(0), "greeting\n");
    let folder = shell.dir.path().join("greeting");
    std::fs::copy(checkout().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();

    let ran = shell.run(&["run", "greeting", "--input", "\"Ada\"", "--skip-time"]);
    assert!(ran.err.contains("Greeting 1: hello, Ada"), "{}", ran.err);
    assert_eq!(ran.ok(0), "\"Ada does not answer\"\n");

    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--quiet"]).current_dir(folder);
    let tested = Ran::from(cargo.output().expect("Cargo starts")).ok(0);
    assert!(tested.contains("2 passed"), "{tested}");
}

#[test]
fn a_package_that_cannot_be_made_leaves_nothing_behind() {
    let shell = Shell::new();
    shell.write("there", "");
    for (args, why) in [
        (&["there"][..], "`there` is there already"),
        (&["1st"], "cannot name a package"),
        (&["a/b"], "cannot name a package"),
        (&["fn"], "another use for it"),
        (
            &["fine", "--sdk", "."],
            "is not the folder of the package wfhost-sdk",
        ),
        (&["fine", "--sdk", "nowhere"], "nowhere: "),
    ] {
        let made = shell.run(&[&["new"], args].concat());
        assert!(made.err.contains(why), "{args:?}: {}", made.err);
        assert_eq!(made.code, Some(2));
        assert_eq!(shell.files(), ["there"]);
    }
}

#[test]
fn the_sdk_is_that_of_the_checkout_around_it_or_the_published_one() {
    let shell = Shell::new();
    let made = shell.run(&["new", "alone"]);
    assert!(made.err.contains("the published SDK"), "{}", made.err);
    made.ok(0);
    let manifest = |name: &str| {
        let path = shell.dir.path().join(name).join("Cargo.toml");
        std::fs::read_to_string(path).unwrap()
    };
    assert!(manifest("alone").ends_with("wfhost-sdk = \"0.1.0\"\n"));

    // A workspace that does not know the package.
    std::fs::create_dir_all(shell.dir.path().join("guest-sdk/src")).unwrap();
    shell.write("guest-sdk/src/lib.rs", "");
    shell.write("guest-sdk/Cargo.toml", "[package]\nname = \"wfhost-sdk\"\n");
    shell.write("Cargo.toml", "[workspace]\nmembers = [\"flows/*\"]\n");
    std::fs::create_dir(shell.dir.path().join("flows")).unwrap();
    shell.run(&["new", "outside"]).ok(0);
    let text = manifest("outside");
    assert!(
        text.contains("wfhost-sdk = { path = \"../guest-sdk\" }"),
        "{text}"
    );
    assert!(text.ends_with("\n[workspace]\n"), "{text}");

    let mut inside = shell.command(&["new", "inside"]);
    let flows = shell.dir.path().join("flows");
    Ran::from(inside.current_dir(flows).output().unwrap()).ok(0);
    let text = manifest("flows/inside");
    assert!(
        text.contains("wfhost-sdk = { path = \"../../guest-sdk\" }"),
        "{text}"
    );
    assert!(!text.contains("[workspace]"), "{text}");
}
