//! Compiled code in a folder: taken from there if it is authentic, compiled again if it is not, and
//! the module runs right in any case.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use wfhost_sandbox::{Limits, Sandbox};

use crate::guests::{HAND_WRITTEN, HandWritten, NOW};

/// An empty folder for the user alone, whatever the umask says.
fn empty() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.permissions(fs::Permissions::from_mode(0o700));
    builder.tempdir().unwrap()
}

/// Runs the module of this name, as a process that has just begun would; says how often it compiled.
#[track_caller]
fn run(folder: &Path, name: &str) -> u64 {
    let module = HandWritten {
        name,
        ..HAND_WRITTEN
    };
    // With few guests, so that each test has the addresses for some sandboxes.
    let limits = Limits {
        guests_max: 4,
        ..Limits::default()
    };
    let sandbox = Sandbox::new(limits)
        .unwrap()
        .with_code_cache(folder.to_owned());
    let prepared = sandbox.prepare(&module.bytes(), "test.wasm", NOW).unwrap();
    assert_eq!(prepared.info.workflows[0].name.as_str(), name);
    sandbox
        .load(prepared.info.digest, &prepared.component.unwrap())
        .unwrap();
    sandbox.compilations()
}

/// The files of compiled code in a folder.
fn codes(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "code"))
        .collect()
}

/// The one file of compiled code in a folder.
#[track_caller]
fn code(folder: &Path) -> PathBuf {
    let mut codes = codes(folder);
    assert_eq!(codes.len(), 1, "{codes:?}");
    codes.remove(0)
}

/// Runs a module, does something to the folder, and runs it again: it compiles so often, and the
/// folder is good again afterwards.
#[track_caller]
fn check(compilations: u64, change: impl Fn(&Path)) {
    let folder = empty();
    let folder = folder.path();
    assert_eq!(run(folder, "name"), 1);
    change(folder);
    assert_eq!(run(folder, "name"), compilations);
    assert_eq!(run(folder, "name"), 0);
    code(folder);
}

/// Changes the bytes of the one file of compiled code.
fn changed(change: impl Fn(&mut Vec<u8>)) -> impl Fn(&Path) {
    move |folder| {
        let path = code(folder);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_one_sandbox_has_compiled_the_next_takes_from_the_folder() {
    check(0, |_| ());
}

#[test]
fn a_flipped_bit_anywhere_has_it_compiled_again() {
    let places: [fn(usize) -> usize; 5] =
        [|_| 0, |_| 31, |_| 32, |bytes| bytes / 2, |bytes| bytes - 1];
    for place in places {
        check(
            1,
            changed(|bytes| {
                let at = place(bytes.len());
                bytes[at] ^= 1;
            }),
        );
    }
}

#[test]
fn a_file_that_is_cut_off_or_goes_on_has_it_compiled_again() {
    for kept in [0, 31, 32, 1000] {
        check(1, changed(|bytes| bytes.truncate(kept)));
    }
    check(1, changed(|bytes| bytes.truncate(bytes.len() - 1)));
    check(1, changed(|bytes| bytes.push(0)));
}

#[test]
fn a_file_too_large_to_be_read_has_it_compiled_again() {
    check(1, |folder| {
        let file = File::options().write(true).open(code(folder)).unwrap();
        file.set_len(1 << 40).unwrap();
    });
}

#[test]
fn code_that_was_made_with_another_key_does_not_count() {
    check(1, |folder| {
        let other = empty();
        run(other.path(), "name");
        fs::copy(code(other.path()), code(folder)).unwrap();
    });
    check(1, |folder| fs::remove_file(folder.join("key")).unwrap());
}

#[test]
fn a_key_that_is_damaged_or_that_others_may_know_is_replaced() {
    check(1, |folder| {
        File::create(folder.join("key")).unwrap();
    });
    check(1, |folder| set_mode(&folder.join("key"), 0o640));
}

#[test]
fn the_code_of_another_component_does_not_count() {
    let folder = empty();
    let folder = folder.path();
    run(folder, "name");
    let its_path = code(folder);
    assert_eq!(run(folder, "else"), 1);
    let mut both = codes(folder);
    both.retain(|path| *path != its_path);
    fs::copy(&both[0], its_path).unwrap();
    assert_eq!(run(folder, "name"), 1);
    assert_eq!((run(folder, "name"), run(folder, "else")), (0, 0));
}

#[test]
fn a_folder_that_is_missing_is_made_for_the_user_alone() {
    let outer = empty();
    let folder = outer.path().join("of/some/depth");
    assert_eq!((run(&folder, "name"), run(&folder, "name")), (1, 0));
    let modes = [&folder, &folder.join("key"), &code(&folder)].map(|path| mode(path));
    assert_eq!(modes, [0o700, 0o600, 0o600]);
}

#[test]
fn without_a_folder_it_runs_all_the_same() {
    let outer = empty();
    let file = outer.path().join("file");
    File::create(&file).unwrap();
    for folder in [file.clone(), file.join("below")] {
        assert_eq!((run(&folder, "name"), run(&folder, "name")), (1, 1));
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_read() {
    let folder = empty();
    run(folder.path(), "name");
    set_mode(folder.path(), 0o500);
    let compilations = (run(folder.path(), "name"), run(folder.path(), "else"));
    set_mode(folder.path(), 0o700);
    assert_eq!(compilations, (0, 1));
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    for open in [0o770, 0o707] {
        let folder = empty();
        set_mode(folder.path(), open);
        assert_eq!(run(folder.path(), "name"), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        set_mode(folder.path(), 0o755);
        assert_eq!(
            (run(folder.path(), "name"), run(folder.path(), "name")),
            (1, 0)
        );
        set_mode(folder.path(), open);
        assert_eq!(run(folder.path(), "name"), 1);
    }
}

#[test]
fn sandboxes_that_begin_at_once_agree_on_a_key() {
    for _ in 0..8 {
        let folder = empty();
        let together = Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    together.wait();
                    run(folder.path(), "name")
                });
            }
        });
        assert_eq!(run(folder.path(), "name"), 0);
        // The key and the code: nothing is left of who was slower.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

/// A file that was used last so long ago.
fn aged(path: &Path, bytes: u64, age: Duration) {
    let file = File::create(path).unwrap();
    file.set_len(bytes).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn what_was_not_used_for_longest_goes_once_there_are_too_many() {
    let folder = empty();
    let folder = folder.path();
    run(folder, "name");
    let used = code(folder);
    aged(&folder.join("x.other"), 1, 1000 * DAY);
    for days in 1..=70 {
        aged(&folder.join(format!("{days}.code")), 1, days * DAY);
    }
    File::open(&used)
        .unwrap()
        .set_modified(SystemTime::now() - 100 * DAY)
        .unwrap();
    assert_eq!(run(folder, "name"), 0);
    assert_eq!(run(folder, "else"), 1);
    assert_eq!(codes(folder).len(), 64);
    let there = |name: &str| folder.join(name).exists();
    assert!(used.exists() && there("62.code") && !there("63.code") && there("x.other"));
    assert_eq!((run(folder, "name"), run(folder, "else")), (0, 0));
}

#[test]
fn what_was_not_used_for_longest_goes_once_it_is_too_much() {
    let folder = empty();
    let folder = folder.path();
    for days in 1..=5 {
        aged(&folder.join(format!("{days}.code")), 60 << 20, days * DAY);
    }
    run(folder, "name");
    let there = |name: &str| folder.join(name).exists();
    assert!(there("4.code") && !there("5.code"));
    assert_eq!(run(folder, "name"), 0);
}

#[test]
fn a_file_whose_time_is_still_to_come_does_not_stay_for_ever() {
    let folder = empty();
    let folder = folder.path();
    for number in 0..64 {
        let file = File::create(folder.join(format!("{number}.code"))).unwrap();
        file.set_modified(SystemTime::now() + DAY).unwrap();
    }
    run(folder, "name");
    assert_eq!((codes(folder).len(), run(folder, "name")), (64, 0));
}

#[test]
fn what_somebody_began_to_write_and_left_is_removed() {
    let folder = empty();
    let (left, begun) = (
        folder.path().join("new-left"),
        folder.path().join("new-begun"),
    );
    aged(&left, 1, DAY);
    aged(&begun, 1, Duration::ZERO);
    run(folder.path(), "name");
    assert!(!left.exists() && begun.exists());
}
