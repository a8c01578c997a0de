//! The state: snapshots, conflicts, versions, expiry.

use wfhost_core::decide::Refused;
use wfhost_core::state::{Range, ReadError, Session};

use super::*;

/// A store with the keys `a`, `b`, `c` and an instance `i`.
fn abc() -> Store {
    let store = memory();
    start(&store, started("i")).unwrap();
    for key in ["a", "b", "c"] {
        outside(&store, set(key, "1"));
    }
    store
}

fn keys(at: Position, keys: &[&str]) -> ReadSet {
    ReadSet {
        at,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ranges: vec![],
    }
}

fn range(at: Position, prefix: &str, after: Option<&str>, last: Option<&str>) -> ReadSet {
    ReadSet {
        at,
        keys: vec![],
        ranges: vec![Range {
            prefix: prefix.into(),
            after: after.map(Into::into),
            last: last.map(Into::into),
        }],
    }
}

/// Whether what was read conflicts with a write made since.
fn conflicts(gathers: usize, reads: impl Fn(Position) -> ReadSet, write: StateWrite) -> bool {
    let store = abc();
    gather(&store);
    let snapshot = store.snapshot(Timestamp(0));
    let reads = reads(snapshot.position());
    outside(&store, write);
    for round in 0..gathers {
        gather(&store);
        start(&store, started(&format!("unrelated{round}"))).unwrap();
    }
    drop(snapshot);
    let before = all_records(&store).len();
    let record = event("Approval", json("1"));
    match store.submit(&id("i"), &reads, |_| Ok(record)) {
        Err(SubmitError::Refused(Refused::Conflict)) => {
            assert_eq!(all_records(&store).len(), before);
            true
        }
        done => {
            done.unwrap();
            false
        }
    }
}

#[test]
fn what_was_read_and_has_changed_since_is_a_conflict() {
    for gathers in 0..3 {
        let check = |expected: bool, write: StateWrite, reads: &dyn Fn(Position) -> ReadSet| {
            let shown = format!("{gathers} gathers, {write:?}, {:?}", reads(Position(0)));
            assert_eq!(conflicts(gathers, reads, write), expected, "{shown}");
        };
        check(true, set("a", "2"), &|at| keys(at, &["c", "a"]));
        check(true, set("a", "1"), &|at| keys(at, &["a"]));
        check(true, delete("a"), &|at| keys(at, &["a"]));
        check(true, set("x", "2"), &|at| keys(at, &["x"]));
        check(true, delete("x"), &|at| keys(at, &["x"]));
        check(false, set("b", "2"), &|at| keys(at, &["a", "x"]));
        check(false, set("b", "2"), &|_| ReadSet::default());
        check(true, set("b", "2"), &|at| range(at, "", None, None));
        check(true, delete("b"), &|at| range(at, "", None, Some("b")));
        check(true, set("bb", "2"), &|at| range(at, "b", None, None));
        check(false, set("bb", "2"), &|at| range(at, "", None, Some("b")));
        check(false, set("b", "2"), &|at| range(at, "", Some("b"), None));
        check(false, set("b", "2"), &|at| range(at, "a", None, None));
    }
}

#[test]
fn a_read_set_older_than_what_is_remembered_is_a_conflict() {
    let store = abc();
    gather(&store);
    let at = store.submitted();
    for _ in 0..3 {
        outside(&store, set("unrelated", "1"));
        gather(&store);
    }
    let submit = |reads: ReadSet| {
        let record = event("Approval", json("1"));
        store.submit(&id("i"), &reads, |_| Ok(record))
    };
    assert!(matches!(
        submit(keys(at, &["a"])),
        Err(SubmitError::Refused(Refused::Conflict))
    ));
    submit(keys(at, &[])).unwrap();
    submit(keys(store.submitted(), &["a"])).unwrap();
}

#[test]
fn a_read_set_outlives_its_snapshot_by_a_gather() {
    for (changed, conflicts) in [("a", true), ("b", false)] {
        let store = abc();
        let at = store.snapshot(Timestamp(0)).position();
        outside(&store, set(changed, "2"));
        gather(&store);
        let record = event("Approval", json("1"));
        let submitted = store.submit(&id("i"), &keys(at, &["a"]), |_| Ok(record));
        assert_eq!(submitted.is_err(), conflicts, "{submitted:?}");
    }
}

#[test]
fn a_snapshot_shows_its_position_or_says_that_it_cannot() {
    for gathers in 0..4 {
        let store = abc();
        if gathers > 0 {
            gather(&store);
        }
        let snapshot = store.snapshot(Timestamp(0));
        let scan = |prefix: &str, after: Option<&str>, limit| {
            let items = snapshot.scan(prefix, after, limit)?;
            Ok::<Vec<String>, ReadError>(items.into_iter().map(|item| item.0).collect())
        };
        outside(&store, set("b", "2"));
        outside(&store, delete("c"));
        outside(&store, set("x", "2"));
        for _ in 1..gathers {
            gather(&store);
            outside(&store, set("z", "2"));
        }
        assert_eq!(snapshot.get("a").unwrap().unwrap().version, 2);
        assert_eq!(snapshot.get("y").unwrap(), None);
        for changed in ["b", "c", "x"] {
            assert!(
                matches!(snapshot.get(changed), Err(ReadError::Changed)),
                "{changed}"
            );
        }
        assert_eq!(scan("", None, 1).unwrap(), ["a"]);
        assert_eq!(scan("a", None, 9).unwrap(), ["a"]);
        assert_eq!(scan("d", None, 9).unwrap(), [""; 0]);
        for (prefix, after, limit) in [
            ("", None, 2),
            ("", Some("b"), 9),
            ("c", None, 9),
            ("x", None, 1),
        ] {
            let found = scan(prefix, after, limit);
            assert!(
                matches!(found, Err(ReadError::Changed)),
                "{prefix} {after:?} {found:?}"
            );
        }
    }
}

#[test]
fn what_no_snapshot_needs_is_forgotten() {
    let store = memory();
    for round in 0..10 {
        outside(&store, set(&round.to_string(), "1"));
        gather(&store);
    }
    let known = || store.inner.ledger().overlay.len();
    assert!(known() <= 2, "{}", known());
    let snapshot = store.snapshot(Timestamp(0));
    for round in 10..20 {
        outside(&store, set(&round.to_string(), "1"));
        gather(&store);
    }
    assert!(known() >= 10, "{}", known());
    drop(snapshot);
    outside(&store, set("last", "1"));
    gather(&store);
    assert!(known() <= 2, "{}", known());
    assert_eq!(state(&store).len(), 21);
}

#[test]
fn too_many_changes_are_forgotten_though_a_snapshot_needs_them() {
    let store = Store::in_memory(Options {
        changes_max: 3,
        ..options()
    })
    .unwrap();
    outside(&store, set("a", "1"));
    outside(&store, set("b", "1"));
    gather(&store);
    let snapshot = store.snapshot(Timestamp(0));
    outside(&store, delete("b"));
    for round in 0..9 {
        outside(&store, set(&round.to_string(), "1"));
    }
    gather(&store);
    assert_eq!(store.inner.ledger().overlay.len(), 0);
    assert_eq!(snapshot.get("a").unwrap().unwrap().version, 1);
    assert!(matches!(snapshot.get("b"), Err(ReadError::Changed)));
    assert!(matches!(snapshot.get("1"), Err(ReadError::Changed)));
    assert!(matches!(
        snapshot.scan("c", None, 9),
        Err(ReadError::Changed)
    ));
}

#[test]
fn a_scan_merges_memory_and_disk_page_by_page() {
    let store = memory();
    let key = |number: usize| format!("k{number:05}");
    for number in (0..3000).step_by(2) {
        outside(&store, set(&key(number), "0"));
    }
    gather(&store);
    for number in (0..3000).step_by(3) {
        outside(&store, set(&key(number), "1"));
    }
    for number in (0..3000).step_by(5) {
        outside(&store, delete(&key(number)));
    }
    outside(&store, set("a", "1"));
    outside(&store, set("z", "1"));
    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    for number in 0..3000 {
        match number {
            _ if number % 5 == 0 => {}
            _ if number % 3 == 0 => drop(expected.insert(key(number), "1")),
            _ if number % 2 == 0 => drop(expected.insert(key(number), "0")),
            _ => {}
        }
    }
    let check = |store: &Store| {
        for limit in [1, 2, 999, 1000, 1001, 5000] {
            let snapshot = store.snapshot(Timestamp(0));
            let mut found = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let items = snapshot.scan("k", after.as_deref(), limit).unwrap();
                found.extend(
                    items
                        .iter()
                        .map(|(key, it)| (key.clone(), it.value.to_string())),
                );
                if items.len() < limit || found.len() > 20 && limit < 3 {
                    break;
                }
                after = items.last().map(|item| item.0.clone());
            }
            let expected = expected
                .iter()
                .map(|(key, value)| (key.clone(), (*value).to_owned()));
            let expected: Vec<_> = expected.take(found.len().max(1)).collect();
            assert_eq!(found, expected, "{limit}");
        }
        assert_eq!(state(store).len(), expected.len() + 2);
    };
    check(&store);
    gather(&store);
    check(&store);
}

#[test]
fn a_value_that_has_expired_is_absent_in_memory_and_on_disk() {
    let store = memory();
    outside(
        &store,
        StateWrite {
            expires_at: Some(Timestamp(100)),
            ..set("k", "1")
        },
    );
    for _ in 0..2 {
        for (now, there) in [(99, true), (100, false), (101, false)] {
            let now = Timestamp(now);
            assert_eq!(store.state_get("k", now).unwrap().is_some(), there, "{now}");
            assert_eq!(
                store.state_list("", None, 9, now).unwrap().len(),
                usize::from(there)
            );
        }
        gather(&store);
    }
}

#[test]
fn a_version_is_the_position_of_the_write() {
    let store = abc();
    submit(&store, &id("i"), turn(vec![call(1)], vec![], Step::Waiting)).unwrap();
    let position = submit(&store, &id("i"), attempt(1, vec![set("a", "2")]))
        .unwrap()
        .position;
    for _ in 0..2 {
        assert_eq!(
            store.state_get("a", Timestamp(0)).unwrap().unwrap().version,
            position.0
        );
        gather(&store);
    }
}

#[test]
fn a_session_that_lost_a_race_is_refused_and_wins_the_next_time() {
    let store = abc();
    let id = id("i");
    submit(&store, &id, turn(vec![call(1)], vec![], Step::Waiting)).unwrap();
    let take_one = |store: &Store| {
        let mut session = Session::new(store.snapshot(Timestamp(0)), Timestamp(0));
        let left = session
            .get("a")
            .unwrap()
            .unwrap()
            .value
            .value()
            .as_i64()
            .unwrap();
        session
            .write(set("a", &(left - 1).to_string()), None)
            .unwrap()
            .unwrap();
        session.end()
    };
    let first = take_one(&store);
    outside(&store, set("a", "10"));
    let lost = store.submit(&id, &first.reads, |_| Ok(attempt(1, first.writes)));
    assert!(matches!(lost, Err(SubmitError::Refused(Refused::Conflict))));
    let second = take_one(&store);
    store
        .submit(&id, &second.reads, |_| Ok(attempt(1, second.writes)))
        .unwrap();
    let left = store.state_get("a", Timestamp(0)).unwrap().unwrap();
    assert_eq!(left.value.as_str(), "9");
}

#[test]
fn readers_meet_no_gap_while_others_write_and_gather() {
    let store = Store::in_memory(Options {
        gather_bytes: 2000,
        ..options()
    })
    .unwrap();
    start(&store, started("i")).unwrap();
    let first = ["a", "b", "c"].map(|key| set(key, "0"));
    store.write_state(first.into(), Timestamp(1)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..2000 {
                // Always one key of `a` and `x`, and both of `b` and `c` alike.
                let value = round.to_string();
                let there = if round % 2 == 0 {
                    ["a", "x"]
                } else {
                    ["x", "a"]
                };
                let writes = vec![
                    delete(there[0]),
                    set(there[1], &value),
                    set("b", &value),
                    set("c", &value),
                ];
                let position = store.write_state(writes, Timestamp(1)).unwrap();
                if round % 50 == 0 {
                    store.wait_durable(position).unwrap();
                }
            }
        });
        let mut seen = 0;
        while !writer.is_finished() || seen == 0 {
            let Ok(items) = store.snapshot(Timestamp(0)).scan("", None, 10) else {
                continue;
            };
            seen += 1;
            let keys: Vec<&str> = items.iter().map(|item| item.0.as_str()).collect();
            assert!(
                keys == ["a", "b", "c"] || keys == ["b", "c", "x"],
                "{keys:?}"
            );
            let [b, c] = ["b", "c"].map(|key| &items.iter().find(|item| item.0 == key).unwrap().1);
            assert_eq!(b, c);
            let history = store.history(&id("i")).unwrap().unwrap();
            assert_eq!(history.len(), 1);
        }
    });
    assert!(store.counts().gathers > 3);
}
