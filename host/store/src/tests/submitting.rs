//! Submitting: order, refusals, durability.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use wfhost_core::Status;
use wfhost_core::decide::Refused;

use super::*;

const fn shared_between_threads<T: Send + Sync>() {}
const _: () = shared_between_threads::<Store>();

#[test]
fn many_threads_get_dense_positions_and_each_instance_its_own_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = Store::open(
        &path,
        Options {
            gather_bytes: 20_000,
            commit_bytes: 3_000,
            live_max: 3,
            ..options()
        },
    )
    .unwrap();
    let barrier = Barrier::new(8);
    let positions = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, barrier, positions) = (&store, &barrier, &positions);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..60 {
                    let id = id(&format!("i{}", (thread + round) % 8));
                    let taken = match start(store, started(id.as_str())) {
                        Err(SubmitError::InUse { .. }) => {
                            submit(store, &id, event("Approval", json(&round.to_string())))
                        }
                        taken => taken,
                    };
                    positions.lock().unwrap().push(taken.unwrap().position);
                    if round % 20 == 0 {
                        store.wait_durable(store.submitted()).unwrap();
                    }
                }
            });
        }
    });
    let mut positions = positions.into_inner().unwrap();
    positions.sort();
    assert_eq!(positions, (1..=480).map(Position).collect::<Vec<_>>());
    let records = all_records(&store);
    assert_eq!(records.len(), 480);
    store.close().unwrap();
    let store = Store::open_existing(&path, options()).unwrap();
    assert_eq!(all_records(&store), records);
}

#[test]
fn an_id_in_use_is_refused_live_ended_and_gathered() {
    let store = memory();
    start(&store, started("a")).unwrap();
    let status = |store: &Store| match start(store, started("a")) {
        Err(SubmitError::InUse { status }) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(&store), Status::Pending);
    let done = turn(vec![], vec![], Step::Completed(json("1")));
    submit(&store, &id("a"), done).unwrap();
    assert_eq!(status(&store), Status::Completed);
    gather(&store);
    assert_eq!(status(&store), Status::Completed);
}

#[test]
fn what_is_refused_changes_nothing() {
    let store = memory();
    start(&store, started("a")).unwrap();
    let nobody = submit(&store, &id("b"), event("Approval", json("1")));
    assert!(matches!(nobody, Err(SubmitError::NoSuchInstance(_))));
    assert_eq!(store.look(&id("b"), |_| ()).unwrap(), None);
    assert_eq!(store.history(&id("b")).unwrap(), None);
    let refused = store.submit(&id("a"), &ReadSet::default(), |_| Err(Refused::Stale));
    assert!(matches!(refused, Err(SubmitError::Refused(Refused::Stale))));
    let again = Record::Started(Box::new(started("a")));
    let both = store.submit_all(&id("a"), &ReadSet::default(), |_| {
        Ok(vec![event("Approval", json("1")), again])
    });
    assert!(matches!(both, Err(SubmitError::Impossible(_))));
    let later = Started {
        generation: 1,
        ..started("c")
    };
    assert!(matches!(
        start(&store, later),
        Err(SubmitError::Impossible(_))
    ));
    assert_eq!(store.submitted(), Position(1));
    assert_eq!(all_records(&store).len(), 1);
}

#[test]
fn several_records_stand_together() {
    let store = memory();
    start(&store, started("a")).unwrap();
    let step = Step::ContinuedAsNew {
        input: json("2"),
        current_module: false,
    };
    let next = Started {
        generation: 1,
        input: json("2"),
        ..started("a")
    };
    let submitted = store.submit_all(&id("a"), &ReadSet::default(), |_| {
        Ok(vec![
            turn(vec![], vec![], step),
            Record::Started(Box::new(next)),
        ])
    });
    let submitted = submitted.unwrap();
    assert_eq!(
        (submitted.position, submitted.records.len()),
        (Position(3), 2)
    );
    for _ in 0..2 {
        assert_eq!(all_records(&store).len(), 3);
        let generation = store.look(&id("a"), |it| it.started().generation).unwrap();
        assert_eq!(generation, Some(1));
        gather(&store);
        store.inner.ledger().evict(0);
    }
    assert_eq!(list(&store).unwrap()[0].number, 1);
}

#[test]
fn a_commit_takes_all_that_was_submitted_with_one_sync() {
    let store = memory();
    let told = Arc::new(AtomicU64::new(0));
    let note = told.clone();
    store.on_durable(Box::new(move |position| {
        note.store(position.unwrap().0, Ordering::SeqCst);
    }));
    for number in 0..50 {
        start(&store, started(&format!("i{number}"))).unwrap();
    }
    assert_eq!(store.durable(), Position(0));
    let before = store.counts();
    store.wait_durable(Position(10)).unwrap();
    assert_eq!(store.durable(), Position(50));
    let after = store.counts();
    assert_eq!(
        (after.commits, after.syncs),
        (before.commits + 1, before.syncs + 1)
    );
    store.close().unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 50);
}

#[test]
fn at_the_bound_of_undurable_bytes_submitting_waits_for_a_commit() {
    let store = Store::in_memory(Options {
        undurable_bytes_max: 1000,
        commit_bytes: u64::MAX,
        ..options()
    })
    .unwrap();
    for number in 0..100 {
        start(&store, started(&format!("i{number}"))).unwrap();
        let undurable = store.inner.ledger().undurable_bytes;
        assert!(undurable < 1300, "{undurable}");
    }
    assert!(store.counts().commits > 5);
}

#[test]
fn a_closed_store_takes_nothing_and_has_lost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = Store::open(&path, options()).unwrap();
    let submitted = start(&store, started("a")).unwrap();
    store.close().unwrap();
    store.close().unwrap();
    store.wait_durable(submitted.position).unwrap();
    assert!(matches!(
        start(&store, started("b")),
        Err(SubmitError::Store(Error::Closed { .. }))
    ));
    assert!(matches!(list(&store), Err(Error::Closed { .. })));
    let store = Store::open_existing(&path, options()).unwrap();
    assert_eq!(list(&store).unwrap().len(), 1);
    drop(store);
    let store = Store::open_existing(&path, options()).unwrap();
    assert_eq!(store.counts().log_bytes, 0, "closing gathers");
}

#[test]
fn a_panic_of_a_callers_closure_harms_nobody_else() {
    let store = memory();
    start(&store, started("a")).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.submit(&id("a"), &ReadSet::default(), |_| {
            panic!("the caller's own")
        })
    }));
    assert!(panicked.is_err());
    submit(&store, &id("a"), event("Approval", json("1"))).unwrap();
    assert_eq!(all_records(&store).len(), 2);
}
