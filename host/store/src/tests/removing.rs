//! Purging.

use super::audit::audit;
use super::crash::{Disk, Unsynced};
use super::*;
use crate::open::{create_on, open_on};

fn ended(store: &Store, name: &str) -> InstanceId {
    let id = id(name);
    start(
        store,
        Started {
            input: large("x", 70_000),
            ..started(name)
        },
    )
    .unwrap();
    submit(store, &id, completed()).unwrap();
    id
}

#[test]
fn what_has_ended_is_purged_wholly_and_its_id_is_free() {
    let store = memory();
    for gathered in [false, true] {
        let [a, b] = ["a", "b"].map(|name| ended(&store, name));
        start(&store, started("c")).unwrap();
        if gathered {
            gather(&store);
            store.look(&a, |_| ()).unwrap();
        }
        let asked = [id("c"), a.clone(), id("nobody"), a.clone()];
        assert_eq!(store.purge(&asked).unwrap(), asked[1..2]);
        assert_eq!(store.durable(), store.submitted());
        assert_eq!(store.look(&a, |_| ()).unwrap(), None);
        assert_eq!(store.history(&a).unwrap(), None);
        assert!(matches!(
            submit(&store, &a, event("Approval", json("1"))),
            Err(SubmitError::NoSuchInstance(_))
        ));
        let names: Vec<_> = list(&store)
            .unwrap()
            .into_iter()
            .map(|row| row.id)
            .collect();
        assert_eq!(names, [b.clone(), id("c")]);
        let found = audit(&store);
        assert_eq!((found.history, found.payloads, found.removed), (3, 1, 0));
        start(&store, started("a")).unwrap();
        for id in [a, id("c")] {
            submit(&store, &id, completed()).unwrap();
        }
        let all = ["a", "b", "c"].map(id);
        assert_eq!(store.purge(&all).unwrap(), all);
        let found = audit(&store);
        assert_eq!((found.history, found.payloads, found.removed), (0, 0, 0));
        assert_eq!(store.purge(&all).unwrap(), []);
    }
}

#[test]
fn an_instance_that_is_in_use_while_it_is_purged_does_not_come_back() {
    let store = memory();
    let id = ended(&store, "a");
    gather(&store);
    // Somebody is about to look at it.
    let loading = store.inner.begin_loading(&id);
    let (bound, ledger) = store.inner.bring_up(&id).unwrap();
    drop(ledger);
    drop(bound);
    assert_eq!(store.inner.ledger().number_of(&id), Some(1));
    let ids = [id.clone()];
    assert_eq!(store.purge(&ids).unwrap(), ids);
    drop(loading);
    assert_eq!(store.look(&id, |_| ()).unwrap(), None);
    start(&store, started("a")).unwrap();
}

#[test]
fn readers_and_starters_meet_whole_instances_while_others_are_purged() {
    let store = Store::in_memory(Options {
        gather_bytes: 3_000,
        commit_bytes: 500,
        live_max: 2,
        ..options()
    })
    .unwrap();
    let names = ["a", "b", "c"];
    std::thread::scope(|scope| {
        let lives = scope.spawn(|| {
            for round in 0..200 {
                for name in names {
                    let begin = Started {
                        input: large(["x", "y"][round % 2], 66_000),
                        ..started(name)
                    };
                    ready(&store)
                        .start(begin, |_| Ok(Reuse::Replace(vec![])))
                        .unwrap();
                    submit(&store, &id(name), completed()).unwrap();
                }
                if round % 3 == 0 {
                    store.purge(&names.map(id)).unwrap();
                }
            }
        });
        while !lives.is_finished() {
            for name in names {
                let history = store.history(&id(name)).unwrap();
                let records = history.map_or(0, |history| history.len());
                assert!(records <= 2, "{records}");
                store.look(&id(name), Instance::status).unwrap();
            }
            assert!(list(&store).unwrap().len() <= 3);
        }
    });
    gather(&store);
    let found = audit(&store);
    assert_eq!((found.history, found.removed), (6, 0));
}

#[test]
fn a_file_does_not_grow_over_lives_that_are_purged() {
    let store = memory();
    let mut bytes = Vec::new();
    for round in 0..40 {
        let ids: Vec<_> = (0..50)
            .map(|number| ended(&store, &format!("i{round}-{number}")))
            .collect();
        assert_eq!(store.purge(&ids).unwrap().len(), 50);
        bytes.push(store.counts().file_bytes);
    }
    // Where pages come to lie depends on when commits fall; forty lives would take megabytes.
    assert!(bytes[39] < 2 * bytes[4], "{bytes:?}");
    audit(&store);
}

/// Twelve instances end, and some are purged, until the power fails. Returns what was purged for
/// certain, and what was to be.
fn live_and_purge(store: &Store) -> (Vec<InstanceId>, Vec<InstanceId>) {
    let ids: Vec<_> = (0..12).map(|number| format!("i{number}")).collect();
    for name in &ids {
        if start(store, started(name)).is_err() || submit(store, &id(name), completed()).is_err() {
            return (vec![], vec![]);
        }
    }
    let mut done = Vec::new();
    for some in ids.chunks(4) {
        let some: Vec<_> = some.iter().map(|name| id(name)).collect();
        if store.purge(&some).is_err() {
            return (done, some);
        }
        done.extend(some);
        if done.len() == 8 {
            break;
        }
    }
    (done, vec![])
}

#[test]
fn after_a_crash_what_was_purged_is_gone_and_the_rest_is_whole() {
    let run = |steps: Option<u64>| {
        let disk = Disk::default();
        let store = create_on("disk".into(), Box::new(disk.clone()), options()).unwrap();
        let store = store.start().unwrap();
        disk.platter().steps = 0;
        disk.platter().steps_left = steps;
        let purged = live_and_purge(&store);
        (disk, purged)
    };
    let steps = run(None).0.platter().steps;
    assert!(steps > 20, "{steps}");
    for step in 0..steps {
        let (disk, (done, under_way)) = run(Some(step));
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some(step)] {
            let bytes = disk.platter().after_power_loss(unsynced);
            let disk = Disk::holding(bytes);
            let store = open_on("disk".into(), Box::new(disk), options()).unwrap();
            all_records(&store);
            let there: Vec<_> = list(&store)
                .unwrap()
                .into_iter()
                .map(|row| row.id)
                .collect();
            assert!(done.iter().all(|id| !there.contains(id)), "{step}");
            let left = under_way.iter().filter(|id| there.contains(id)).count();
            assert!([0, under_way.len()].contains(&left), "{step}: {left}");
            audit(&store);
            start(&store, started("next")).unwrap();
            gather(&store);
            assert_eq!(audit(&store).removed, 0, "what was left is removed");
        }
    }
}

/// Two at once made it look as if nothing was being removed: what a reader missed was then damage.
#[test]
fn who_reads_while_two_remove_knows_that_something_may_be_gone() {
    let store = Store::in_memory(options()).unwrap();
    let inner = &store.inner;
    inner.removing(|| {
        inner.removing(|| {
            let both = inner.removals();
            assert!(inner.may_have_removed(both));
        });
        let one = inner.removals();
        assert!(inner.may_have_removed(one));
    });
    let none = inner.removals();
    assert!(!inner.may_have_removed(none));
    inner.removing(|| ());
    assert!(inner.may_have_removed(none));
}
