//! Files that are there, are not there, or are something else.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use super::*;
use crate::OpenError;

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, options())
}

fn error(path: &Path) -> OpenError {
    open(path).err().unwrap()
}

#[test]
fn a_new_file_is_complete_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    assert!(matches!(
        Store::open_existing(&path, options()),
        Err(OpenError::Missing { .. })
    ));
    open(&path).unwrap().close().unwrap();
    let names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(names, ["a.redb"]);
    Store::open_existing(&path, options()).unwrap();
}

#[test]
fn many_who_create_the_same_file_at_once_get_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let opened: usize = std::thread::scope(|scope| {
        let open_it = || match open(&path) {
            Ok(store) => {
                let taken = store.write_state(vec![set("k", "1")], Timestamp(1));
                store.wait_durable(taken.unwrap()).unwrap();
                1
            }
            Err(OpenError::InUse { .. }) => 0,
            Err(error) => panic!("{error}"),
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(open_it)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(opened >= 1);
    let store = open(&path).unwrap();
    assert_eq!(
        store.submitted().0 as usize,
        opened,
        "nobody's file was lost"
    );
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn a_file_that_is_not_ours_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(
        path("text"),
        "redbeard was a pirate, and this is his whole story",
    )
    .unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("header");
    for name in ["other", "unclean"] {
        let other = redb::Database::create(path(name)).unwrap();
        let transaction = other.begin_write().unwrap();
        transaction.open_table(table).unwrap().insert(1, 1).unwrap();
        transaction.commit().unwrap();
        if name == "unclean" {
            // As after a crash: opening it would repair it.
            fs::copy(path(name), path("crashed")).unwrap();
        }
    }
    for name in ["empty", "text", "other", "crashed"] {
        let before = fs::read(path(name)).unwrap();
        let error = error(&path(name));
        assert!(
            matches!(error, OpenError::NotOurs { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(fs::read(path(name)).unwrap(), before, "{name}");
    }
    assert!(matches!(error(folder.path()), OpenError::NotOurs { .. }));
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = open(&path).unwrap();
    let mut header = crate::tables::header();
    header[8] = 9;
    let newer = store.inner.write(|transaction| {
        let mut table = transaction.open_table(crate::tables::HEADER)?;
        table.insert(0, header.as_slice())?;
        Ok(())
    });
    newer.unwrap();
    drop(store);
    let before = fs::read(&path).unwrap();
    let error = error(&path);
    assert!(
        matches!(
            error,
            OpenError::UnknownFormat {
                found: 9,
                known: 4,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = error(&folder.path().join("no/where/a.redb"));
    assert!(matches!(error, OpenError::NoFolder { .. }), "{error}");
    assert!(
        error.to_string().ends_with("no/where; create it first"),
        "{error}"
    );
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = open(&path).unwrap();
    outside(&store, set("k", "1"));
    store.close().unwrap();
    let whole = fs::read(&path).unwrap();
    for bytes in [9, 100, 320, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..bytes]).unwrap();
        let error = error(&path);
        assert!(
            matches!(error, OpenError::Unusable(Error::Damaged { .. })),
            "{bytes}: {error:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), whole[..bytes], "{bytes}");
    }
}

/// What redb keeps for itself, and the keys of rows, carry no checksum of ours: there a row may be
/// missing or stand under another key. What is read is never another record or value, and nothing
/// panics or hangs, as a value whose version lay beyond the end of the log once did.
#[test]
fn a_flipped_byte_never_makes_another_record_or_value() {
    let folder = tempfile::tempdir().unwrap();
    let [path, damaged] = ["a.redb", "b.redb"].map(|name| folder.path().join(name));
    let store = open(&path).unwrap();
    for number in 0..20 {
        start(&store, started(&format!("i{number}"))).unwrap();
        outside(&store, set(&format!("k{number}"), &number.to_string()));
    }
    let module = deploying::module("one", "Order");
    store
        .deploy(vec![module], None, None, Timestamp(1))
        .unwrap();
    store.close().unwrap();
    // Everything that a caller can read of a file.
    let read = |path: &Path| -> Result<_, Box<dyn std::error::Error>> {
        let store = open(path)?;
        let mut histories = Vec::new();
        for row in list(&store)? {
            histories.push(store.history(&row.id)?);
        }
        let state = store.state_list("", None, 99, Timestamp(0))?;
        let values: Vec<_> = state.into_iter().map(|(_, entry)| entry).collect();
        store.bindings()?;
        store.deployments(None, 9)?;
        Ok((histories, values, store.modules()?))
    };
    let (histories, values, modules) = read(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut noticed = 0;
    for at in used.iter().step_by(97) {
        let mut bytes = whole.clone();
        bytes[*at] ^= 0x10;
        fs::write(&damaged, &bytes).unwrap();
        let Ok(found) = read(&damaged) else {
            noticed += 1;
            continue;
        };
        assert!(
            found
                .0
                .iter()
                .all(|it| it.is_none() || histories.contains(it)),
            "byte {at}"
        );
        assert!(found.1.iter().all(|it| values.contains(it)), "byte {at}");
        assert!(found.2.iter().all(|it| modules.contains(it)), "byte {at}");
    }
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn a_file_that_this_process_has_open_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = open(&path).unwrap();
    assert!(matches!(error(&path), OpenError::InUse { .. }));
    // A snapshot that somebody still holds does not keep the file open.
    let snapshot = store.snapshot(Timestamp(0));
    store.close().unwrap();
    open(&path).unwrap();
    assert!(snapshot.get("k").is_err());
}

/// Not a test: the process that the next test starts. It holds the file named by the environment
/// until its input ends.
#[test]
fn holds_a_file_for_another_test() {
    let Some(path) = std::env::var_os("WFHOST_STORE_TEST_HOLDS") else {
        return;
    };
    let _store = open(Path::new(&path)).unwrap();
    std::io::stderr().write_all(b"open\n").unwrap();
    std::io::stdin().lines().for_each(drop);
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_that_has_the_file_open_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let mut holder = Process::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tests::opening::holds_a_file_for_another_test",
            "--nocapture",
        ])
        .env("WFHOST_STORE_TEST_HOLDS", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stderr.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "open"));
    let error = error(&path);
    let OpenError::InUse {
        holder: Some(named),
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(
        named.starts_with(&format!("process {} (", holder.id())),
        "{named}"
    );
    assert!(
        error.to_string().contains("is in use by process"),
        "{error}"
    );
    drop(holder.stdin.take());
    holder.wait().unwrap();
    open(&path).unwrap();
}
