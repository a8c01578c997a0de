//! Stores that end after some submissions, and files in memory that outlive them.

use std::sync::Mutex;

use super::audit::audit;
use super::*;
use crate::{Memory, OpenError};

type Do = Box<dyn Fn(&Store) -> Result<(), SubmitError>>;

/// What happens in one life or in many, step by step.
fn steps() -> Vec<Do> {
    let mut steps: Vec<Do> = vec![
        Box::new(|store| start(store, started("a")).map(drop)),
        Box::new(|store| {
            let asked = turn(vec![call(1)], vec![], Step::Waiting);
            submit(store, &id("a"), asked).map(drop)
        }),
        Box::new(|store| {
            let write = StateWrite {
                value: Some(large("x", 70_000)),
                ..set("big", "0")
            };
            submit(store, &id("a"), attempt(1, vec![write])).map(drop)
        }),
        Box::new(|store| {
            Ok(store
                .write_state(vec![set("k", "1")], Timestamp(1))
                .map(drop)?)
        }),
        Box::new(|store| submit(store, &id("a"), completed()).map(drop)),
        Box::new(|store| {
            let begun = ready(store).start(started("a"), |_| Ok(Reuse::Replace(vec![])))?;
            assert_eq!(begun.before.map(|it| it.position), None);
            Ok(())
        }),
    ];
    for number in 0..5 {
        steps.push(Box::new(move |store| {
            submit(
                store,
                &id("a"),
                event("Approval", json(&number.to_string())),
            )
            .map(drop)
        }));
    }
    steps
}

#[test]
fn lives_of_one_submission_make_the_history_of_one_life() {
    let whole = memory();
    for step in steps() {
        step(&whole).unwrap();
    }
    for gathers in [1, u64::MAX] {
        let memory = Memory::default();
        let brief = Options {
            submissions_max: Some(1),
            gather_bytes: gathers,
            ..options()
        };
        for step in steps() {
            let store = Store::on_memory(&memory, brief.clone()).unwrap();
            step(&store).unwrap();
            let position = store.submitted();
            let refused = step(&store);
            assert!(
                matches!(refused, Err(SubmitError::Store(Error::Failed { .. }))),
                "{refused:?}"
            );
            assert_eq!(store.submitted(), position);
            store.wait_durable(position).unwrap();
            assert!(matches!(store.close(), Err(Error::Failed { .. })));
        }
        let store = Store::on_memory(&memory, options()).unwrap();
        assert_eq!(all_records(&store), all_records(&whole));
        assert_eq!(state(&store), state(&whole));
        gather(&store);
        audit(&store);
    }
}

#[test]
fn a_store_whose_submissions_are_used_up_tells_what_is_durable_and_then_that_it_ended() {
    let store = Store::in_memory(Options {
        submissions_max: Some(3),
        ..options()
    })
    .unwrap();
    let told = std::sync::Arc::new(Mutex::new(Vec::new()));
    let note = told.clone();
    store.on_durable(Box::new(move |outcome| {
        note.lock().unwrap().push(outcome.ok())
    }));
    for name in ["a", "b", "c"] {
        start(&store, started(name)).unwrap();
    }
    assert!(start(&store, started("d")).is_err());
    assert!(store.purge(&[id("a")]).is_err());
    store.wait_durable(Position(3)).unwrap();
    assert!(store.wait_durable(Position(4)).is_err());
    assert!(store.close().is_err());
    assert_eq!(*told.lock().unwrap(), [Some(Position(3)), None]);
    assert!(store.look(&id("a"), |_| ()).is_err());
}

#[test]
fn a_file_in_memory_has_one_store_at_a_time_and_outlives_it() {
    let memory = Memory::default();
    let store = Store::on_memory(&memory, options()).unwrap();
    outside(&store, set("k", "1"));
    let second = Store::on_memory(&memory.clone(), options());
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    // A snapshot that somebody still holds does not keep it open, nor lets it go later.
    let snapshot = store.snapshot(Timestamp(0));
    store.close().unwrap();
    drop(store);
    let store = Store::on_memory(&memory, options()).unwrap();
    drop(snapshot);
    assert!(Store::on_memory(&memory, options()).is_err());
    assert_eq!(state(&store), [("k".into(), "1".into(), 1)]);
}
