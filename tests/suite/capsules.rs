//! Capsules: what is exported replays anywhere, for ever, and what is no capsule is refused.

mod make;
mod parts;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wfhost::{Capsule, Digest, Error, Narrator, Options, Record, Status};
use wfhost_core::codec::{self, Chain};

use crate::support::{CODE_CACHE, Shell, module};
use parts::{MODULE, RECORD, sealed, sections};

/// Where the capsules are that every version must replay.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capsules");

/// What all of them may take of the repository.
const FOLDER_BYTES_MAX: u64 = 1024 * 1024;

fn options() -> Options {
    Options {
        code_cache: Some(CODE_CACHE.into()),
        ..Options::default()
    }
}

fn kept() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(FOLDER).expect("the folder is there");
    let paths = entries.map(|it| it.unwrap().path());
    let mut kept: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "capsule"))
        .collect();
    kept.sort();
    kept
}

fn read(path: &Path) -> Capsule {
    Capsule::read(std::fs::File::open(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn turns(capsule: &Capsule) -> u64 {
    let records = capsule.records().iter();
    let turns = records.filter(|it| matches!(it.original(), Record::Turn(_)));
    turns.count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn every_capsule_that_was_ever_kept_replays_the_same() {
    let kept = kept();
    assert!(kept.len() >= 5, "there are capsules: {kept:?}");
    let (mut statuses, mut bytes) = (Vec::new(), 0);
    for path in kept {
        bytes += std::fs::metadata(&path).unwrap().len();
        let capsule = read(&path);
        let (expected, id) = (turns(&capsule), capsule.id().clone());
        let host = capsule.into_host(options()).await.unwrap();
        let replayed = host.replay(&id, None).await.unwrap();
        statuses.push(host.instance(&id).await.unwrap().status());
        host.close().await.unwrap();
        let told = format!("{}: {replayed:?}", path.display());
        assert!(replayed.stray.is_none(), "{told}");
        assert!(replayed.turns == expected && expected > 0, "{told}");
    }
    for status in [
        Status::Running,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
    ] {
        assert!(statuses.contains(&status), "{status:?} in {statuses:?}");
    }
    assert!(bytes < FOLDER_BYTES_MAX, "they have {bytes} bytes");
}

/// Three steps of a workflow, in a data file of this shell.
fn run_steps(shell: &Shell) {
    let wasm = module("steps");
    let (wasm, input) = (wasm.to_str().unwrap(), r#"{"steps":3}"#);
    let args = ["run", wasm, "--workflow", "Steps", "--input", input];
    shell.run(&[&args[..], &["--id", "s"]].concat()).ok(0);
}

#[test]
fn a_capsule_replays_as_its_instance_does_and_needs_no_data_file() {
    let shell = Shell::new();
    run_steps(&shell);
    let of_id = shell.run(&["replay", "s", "--step", "--json"]).rows(0);
    let steps = shell.run(&["replay", "s", "--step"]).ok(0);
    let told = shell.run(&["export", "s", "-o", "s.capsule"]).ok(0);
    assert!(
        told.starts_with("exported to s.capsule: "),
        "it says what it did: {told}"
    );
    std::fs::remove_file(shell.dir.path().join("wfhost.redb")).unwrap();

    let of_capsule = shell
        .run(&["replay", "s.capsule", "--step", "--json"])
        .rows(0);
    assert_eq!(of_capsule, of_id);
    let first = &of_capsule[0];
    assert_eq!(
        (&first["number"], &first["same"]),
        (&json!(1), &json!(true))
    );
    assert!(first["at"].is_string() && first["commands"][0]["command"] == "call-activity");
    assert_eq!(of_capsule[1]["inputs"][0]["input"], "completed");
    assert_eq!(of_capsule.last().unwrap()["same"], true);

    assert_eq!(shell.run(&["replay", "s.capsule", "--step"]).ok(0), steps);
    for line in [
        "turn 1  2",
        "    task 1: call activity `Echo`",
        "    wait",
        "    input: task 1: completed with ",
        "    complete with ",
        "the same: 4 turns",
    ] {
        assert!(steps.contains(line), "{line} in\n{steps}");
    }
    assert_eq!(shell.files(), ["s.capsule"]);
}

#[test]
fn a_capsule_replays_on_another_module_up_to_where_both_sides_differ() {
    let shell = Shell::new();
    run_steps(&shell);
    shell.run(&["export", "s", "-o", "s.capsule"]).ok(0);
    let new = module("steps-changed");
    let new = new.to_str().unwrap();
    for source in ["s", "s.capsule"] {
        let replay = shell.run(&["replay", source, new, "--step"]).ok(1);
        let (same, recorded) = replay
            .split_once("not the same; as it was recorded:")
            .unwrap();
        assert!(same.contains("turn 1  ") && !same.contains("turn 2  "));
        for line in [
            "turn 2  ",
            "history: task 2: call activity `Echo`",
            "code:    task 2: create a timer",
        ] {
            assert!(recorded.contains(line), "{line} in\n{replay}");
        }
        assert!(!recorded.contains("turn 3  "), "it stops there: {replay}");
        let rows = shell
            .run(&["replay", source, new, "--step", "--json"])
            .rows(1);
        let same: Vec<_> = rows.iter().map(|row| &row["same"]).collect();
        assert_eq!(same, [&json!(true), &json!(false), &json!(false)]);
    }
}

#[test]
fn exporting_replaces_a_capsule_and_nothing_else() {
    let shell = Shell::new();
    run_steps(&shell);
    shell.write("notes.txt", "mine");
    let refused = shell.run(&["export", "s", "-o", "notes.txt"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("is no capsule"), "{}", refused.err);
    let refused = shell.run(&["export", "s", "-o", "wfhost.redb"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    let refused = shell.run(&["export", "other", "-o", "other.capsule"]);
    assert!(refused.err.contains("there is no instance `other`"));
    let refused = shell.run(&["export", "s", "-o", "no/such/folder/s.capsule"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert_eq!(shell.files(), ["notes.txt", "wfhost.redb"]);

    shell.run(&["export", "s", "-o", "s.capsule"]).ok(0);
    shell.run(&["export", "s", "-o", "s.capsule"]).ok(0);
    let out = shell.command(&["export", "s", "-o", "-"]).output().unwrap();
    assert!(out.status.success());
    shell.write("piped.capsule", &out.stdout);
    shell.run(&["replay", "piped.capsule"]).ok(0);
}

#[test]
fn what_is_no_whole_capsule_is_refused_by_what_it_is() {
    let shell = Shell::new();
    let path = &kept()[0];
    let whole = std::fs::read(path).unwrap();
    let mut newer = whole.clone();
    newer[8] = 2;
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (name, bytes, message) in [
        ("cut.capsule", &whole[..whole.len() / 2], "it is cut off"),
        ("newer.capsule", &newer, "it has the format 2"),
        (
            "flipped.capsule",
            &flipped,
            "it is damaged: its checksum does not fit",
        ),
        ("text.capsule", b"hello", "it is no capsule"),
        ("empty.capsule", b"", "it is no capsule"),
    ] {
        shell.write(name, bytes);
        let replay = shell.run(&["replay", name]);
        assert_eq!(replay.code, Some(2), "{name}: {}", replay.err);
        assert!(
            replay.err.contains(&format!("{name}: {message}")),
            "{}",
            replay.err
        );
    }
    let missing = shell.run(&["replay", "missing.capsule"]);
    assert_eq!(missing.code, Some(2), "{}", missing.err);
}

/// What reading a capsule says that was made of others' sections.
fn refusal(sections: &[(u8, Vec<u8>)]) -> String {
    let read = Capsule::read(&*sealed(sections));
    read.expect_err("it is refused").to_string()
}

#[tokio::test]
async fn a_capsule_with_a_right_checksum_and_wrong_parts_is_refused() {
    let path = kept()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("waiting"));
    let whole = sections(&std::fs::read(path.unwrap()).unwrap());
    assert!(Capsule::read(&*sealed(&whole)).is_ok());
    let module = whole.iter().position(|it| it.0 == MODULE).unwrap();

    let mut other = whole.clone();
    *other[module + 1].1.last_mut().unwrap() ^= 1;
    assert!(refusal(&other).contains("has other bytes"));

    let without = [&whole[..module], &whole[module + 2..]].concat();
    assert!(refusal(&without).contains("it lacks the module sha256:"));
    let headless = &whole[module..];
    assert!(refusal(headless).contains("before the header"));
    let mut gap = whole.clone();
    gap.remove(2);
    assert!(refusal(&gap).contains("record 2 does not follow"));
    let late = [&whole[..1], &whole[module..]].concat();
    assert!(refusal(&late).contains("does not begin with a start"));
    let mut twice = whole.clone();
    twice.insert(0, whole[0].clone());
    assert!(refusal(&twice).contains("a second header"));
    let mut unknown = whole.clone();
    unknown.push((99, Vec::new()));
    assert!(refusal(&unknown).contains("a section of the kind 99"));

    // Code that was compiled before: its digests fit, and it is not taken.
    let compiled = b"\x7fELF compiled before".to_vec();
    let digest = Digest::of(&compiled);
    let mut info: Value = serde_json::from_slice(&whole[module].1).unwrap();
    let old = info["digest"].clone();
    info["component"] = json!(digest.as_bytes());
    assert_ne!(old, info["component"]);
    let mut precompiled = whole[..=module + 1].to_vec();
    precompiled[module].1 = info.to_string().into_bytes();
    precompiled.push((5, compiled));
    let capsule = Capsule::read(&*sealed(&precompiled)).unwrap();
    let replayed = capsule.replay(options(), None).await;
    assert!(
        matches!(replayed, Err(Error::ModuleUnusable { .. })),
        "{replayed:?}"
    );
}

/// Records whose checksums and links are right and whose bodies are not: whatever is in them, it
/// is an error or a history, never a panic.
#[test]
fn records_that_somebody_made_up_are_read_without_panic() {
    let files = kept();
    let whole = sections(&std::fs::read(&files[0]).unwrap());
    let records = || whole.iter().enumerate().filter(|(_, it)| it.0 == RECORD);
    let (mut read, mut refused) = (0, 0);
    for (at, _) in records() {
        for byte in (34..whole[at].1.len()).step_by(7) {
            let mut changed = whole.clone();
            changed[at].1[byte] ^= 0x81;
            let mut chain = Chain::default();
            for (_, body) in changed.iter_mut().filter(|it| it.0 == RECORD) {
                parts::relink(body, chain);
                chain = Chain::to(body);
            }
            match Capsule::read(&*sealed(&changed)) {
                Ok(capsule) => {
                    read += 1;
                    let mut narrator = Narrator::default();
                    for record in capsule.records() {
                        let Ok(told) = narrator.next(record) else {
                            break;
                        };
                        let shown = Narrator::view(&told, record);
                        assert!(shown.is_object());
                        assert!(!Narrator::lines(&told, record).is_empty());
                    }
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
    assert!(codec::decode(&records().next().unwrap().1.1).is_ok());
}
