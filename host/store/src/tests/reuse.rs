//! Ids that are used again, and reruns.

use std::sync::{Arc, Mutex};

use wfhost_core::record::{Ended, EndedHow, Moved, Rerun};
use wfhost_core::reset::Cut;
use wfhost_core::{Status, rerun};

use super::audit::audit;
use super::crash::{Disk, Unsynced};
use super::keeping::continue_as_new;
use super::*;
use crate::open::{create_on, open_on};

fn terminated() -> Record {
    Record::Ended(Ended {
        at: Timestamp(50),
        how: EndedHow::Terminated {
            reason: None,
            recursive: true,
        },
        key: None,
    })
}

/// A start of `a` whose input is this number.
fn life(number: u64) -> Started {
    Started {
        run: RunId(u128::from(number)),
        input: large("x", 70_000 + number as usize),
        ..started("a")
    }
}

fn replace(store: &Store, number: u64) {
    ready(store)
        .start(life(number), |old| {
            let ended = old.status().has_ended();
            Ok(Reuse::Replace(if ended {
                vec![]
            } else {
                vec![terminated()]
            }))
        })
        .unwrap();
}

fn check(store: &Store, number: u64, records: usize) {
    let row = &list(store).unwrap()[..];
    assert_eq!(row.len(), 1);
    assert_eq!(row[0].run, RunId(u128::from(number)));
    let history = store.history(&id("a")).unwrap().unwrap();
    assert_eq!(history[0], Record::Started(Box::new(life(number))));
    assert_eq!(history.len(), records);
    let run = store.look(&id("a"), |it| it.started().run).unwrap();
    assert_eq!(run, Some(RunId(u128::from(number))));
}

#[test]
fn a_start_may_replace_what_has_its_id_wherever_that_is() {
    // The old one: only in memory, on disk, on disk with an end in the log, gone from memory.
    for old in 0..4 {
        for gathers in [false, true] {
            let disk = Disk::default();
            let store = create_on("disk".into(), Box::new(disk.clone()), options()).unwrap();
            let store = store.start().unwrap();
            start(&store, life(1)).unwrap();
            if old > 0 {
                gather(&store);
            }
            if old > 1 {
                submit(&store, &id("a"), completed()).unwrap();
            }
            if old > 2 {
                gather(&store);
            }
            replace(&store, 2);
            check(&store, 2, 1);
            submit(&store, &id("a"), event("Approval", json("1"))).unwrap();
            if gathers {
                gather(&store);
                let found = audit(&store);
                assert_eq!((found.history, found.payloads), (2, 1));
            }
            check(&store, 2, 2);
            store.wait_durable(store.submitted()).unwrap();
            let crashed = Disk::holding(disk.platter().after_power_loss(Unsynced::Lost));
            let store = open_on("disk".into(), Box::new(crashed), options()).unwrap();
            check(&store, 2, 2);
            replace(&store, 3);
            gather(&store);
            check(&store, 3, 1);
            assert_eq!(audit(&store).history, 1);
        }
    }
}

#[test]
fn many_lives_between_two_gathers_leave_the_last() {
    let store = memory();
    start(&store, life(1)).unwrap();
    gather(&store);
    for number in 2..12 {
        replace(&store, number);
    }
    check(&store, 11, 1);
    gather(&store);
    check(&store, 11, 1);
    let found = audit(&store);
    assert_eq!((found.history, found.payloads, found.removed), (1, 1, 0));
}

#[test]
fn who_listens_hears_of_the_end_before_the_start() {
    let store = memory();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = heard.clone();
    store.on_submit(move |id, submitted| {
        let kinds = submitted
            .records
            .iter()
            .map(|it| matches!(**it, Record::Ended(_)));
        let kinds: Vec<bool> = kinds.collect();
        note.lock()
            .unwrap()
            .push((id.to_string(), submitted.position, kinds));
    });
    start(&store, started("a")).unwrap();
    let begun = ready(&store).start(life(2), |_| Ok(Reuse::Replace(vec![terminated()])));
    let begun = begun.unwrap();
    assert_eq!(begun.before.unwrap().position, Position(2));
    assert_eq!(begun.submitted.position, Position(3));
    let expected = [(1, false), (2, true), (3, false)];
    let expected = expected.map(|(at, ended)| ("a".to_owned(), Position(at), vec![ended]));
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[test]
fn what_a_start_may_not_replace_stays_as_it_is() {
    let store = memory();
    start(&store, started("a")).unwrap();
    let alive = ready(&store).start(life(2), |_| Ok(Reuse::Replace(vec![])));
    assert!(
        matches!(alive, Err(SubmitError::Impossible(_))),
        "{alive:?}"
    );
    let refused = ready(&store).start(life(2), |_| Err(decide::Refused::Stale));
    assert!(
        matches!(refused, Err(SubmitError::Refused(_))),
        "{refused:?}"
    );
    let later = Started {
        generation: 1,
        ..life(2)
    };
    let later = ready(&store).start(later, |_| Ok(Reuse::Replace(vec![terminated()])));
    assert!(
        matches!(later, Err(SubmitError::Impossible(_))),
        "{later:?}"
    );
    assert_eq!(store.submitted(), Position(1));
    let status = store.look(&id("a"), Instance::status).unwrap();
    assert_eq!(status, Some(Status::Pending));
}

#[test]
fn a_rerun_takes_its_copies_in_with_its_start() {
    let store = memory();
    let copies = vec![
        rerun::copy(turn(vec![call(1)], vec![], Step::Waiting)).unwrap(),
        rerun::copy(attempt(1, vec![set("k", "1")])).unwrap(),
    ];
    let start = Started {
        generation: 3,
        reruns: vec![Rerun {
            id: id("original"),
            run: RunId(9),
            parent: None,
            seed: 4,
            turns: 1,
        }],
        ..started("a")
    };
    let wrong = vec![turn(vec![], vec![], Step::Waiting)];
    let wrong = ready(&store).start_rerun(start.clone(), wrong, |_| Ok(Reuse::Refuse));
    assert!(
        matches!(wrong, Err(SubmitError::Impossible(_))),
        "{wrong:?}"
    );
    let begun = ready(&store)
        .start_rerun(start, copies.clone(), |_| Ok(Reuse::Refuse))
        .unwrap();
    assert_eq!(begun.submitted.records.len(), 3);
    assert_eq!(begun.submitted.position, Position(3));
    for _ in 0..2 {
        assert_eq!(all_records(&store).len(), 3);
        assert_eq!(state(&store), [], "copies write nothing");
        gather(&store);
        store.inner.ledger().evict(0);
    }
    assert_eq!(store.history(&id("a")).unwrap().unwrap()[1..], copies);
    audit(&store);
}

/// What was submitted, by position, with the instance that it belongs to.
type Witness = Arc<Mutex<BTreeMap<Position, (InstanceId, Record)>>>;

/// Lives and generations under two ids, until the power fails.
fn live_on(store: &Store) -> Result<(), Box<dyn std::error::Error>> {
    for number in 1..5 {
        for name in ["a", "b"] {
            let begin = Started {
                id: id(name),
                ..life(number)
            };
            ready(store).start(begin, |old| {
                let ended = old.status().has_ended();
                Ok(Reuse::Replace(if ended {
                    vec![]
                } else {
                    vec![terminated()]
                }))
            })?;
            submit(store, &id(name), event("Approval", large(name, 66_000)))?;
            for _ in 0..number {
                continue_as_new(store, &id(name))?;
            }
        }
        if number % 2 == 0 {
            store.inner.gather()?;
            submit(store, &id("a"), completed())?;
        }
        store.wait_durable(store.submitted())?;
    }
    Ok(())
}

/// The instances that these records make.
fn instances(records: &[(InstanceId, Record)]) -> BTreeMap<InstanceId, Instance> {
    let mut instances: BTreeMap<InstanceId, Instance> = BTreeMap::new();
    for (id, record) in records {
        match record {
            Record::Started(started) if started.generation == 0 => {
                instances.insert(id.clone(), Instance::begin(started.as_ref().clone()));
            }
            record => instances.get_mut(id).unwrap().apply(record).unwrap(),
        }
    }
    instances
}

#[test]
fn whatever_a_crash_leaves_of_lives_and_generations_is_the_fold_of_a_prefix() {
    let run = |steps: Option<u64>| {
        let disk = Disk::default();
        let store = create_on("disk".into(), Box::new(disk.clone()), options()).unwrap();
        let store = store.start().unwrap();
        let witness = Witness::default();
        let note = witness.clone();
        store.on_submit(move |id, submitted| {
            let first = submitted.position.0 + 1 - submitted.records.len() as u64;
            for (at, record) in (first..).zip(&submitted.records) {
                let noted = (id.clone(), record.as_ref().clone());
                note.lock().unwrap().insert(Position(at), noted);
            }
        });
        disk.platter().steps = 0;
        disk.platter().steps_left = steps;
        let ended = live_on(&store);
        assert!(ended.is_ok() || steps.is_some(), "{ended:?}");
        (disk, witness, store.durable())
    };
    let steps = run(None).0.platter().steps;
    for step in (0..steps).step_by(2) {
        let (disk, witness, told) = run(Some(step));
        let submitted: Vec<_> = witness.lock().unwrap().values().cloned().collect();
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some(step)] {
            let disk = Disk::holding(disk.platter().after_power_loss(unsynced));
            let store = open_on("disk".into(), Box::new(disk), options()).unwrap();
            let last = store.submitted();
            assert!(told <= last);
            audit(&store);
            for gathers in [true, false] {
                let expected = instances(&submitted[..last.0 as usize]);
                assert_eq!(list(&store).unwrap().len(), expected.len());
                for (id, mut expected) in expected {
                    let found = store.look(&id, Clone::clone).unwrap().unwrap();
                    expected.link(found.chain());
                    assert_eq!(found, expected, "{step} {unsynced:?}");
                }
                all_records(&store);
                if gathers {
                    gather(&store);
                    store.inner.ledger().evict(0);
                    assert_eq!(audit(&store).removed, 0);
                }
            }
        }
    }
}

/// A turn was taken, the instance was moved, and went back before that turn, on another module
/// still. It is found by the module that runs it, whatever has been gathered.
#[test]
fn a_reset_takes_the_place_of_its_own_instance_and_is_found_by_its_module() {
    let moved = |from: Digest, to: Digest| {
        Record::Moved(Moved {
            at: Timestamp(60),
            from,
            to,
            contract: "0.1.0".into(),
            features: 1,
            input_changes_allowed: false,
            turns: 1,
        })
    };
    let found = |store: &Store, module: Digest| {
        let query = Query {
            module: Some(module),
            ..Query::default()
        };
        store.find(&query).unwrap().rows.len()
    };
    let [first, second, third] = [started("a").module, Digest::of(b"2"), Digest::of(b"3")];
    for gathers in [false, true] {
        let disk = Disk::default();
        let store = create_on("disk".into(), Box::new(disk.clone()), options()).unwrap();
        let store = store.start().unwrap();
        start(&store, life(1)).unwrap();
        let waits = turn(vec![call(1)], vec![], Step::Waiting);
        submit(&store, &id("a"), waits).unwrap();
        submit(&store, &id("a"), moved(first, second)).unwrap();
        if gathers {
            gather(&store);
        }
        assert_eq!([first, second].map(|it| found(&store, it)), [0, 1]);
        let mut cut = Cut::new(life(1), 1);
        let history = store.history(&id("a")).unwrap().unwrap();
        history.into_iter().skip(1).for_each(|it| cut.take(it));
        let parted = cut.part(RunId(2), 5, Timestamp(70)).unwrap();
        let mut records = parted.records;
        records.push(moved(first, third));
        let begun = store.start_rerun(parted.started, records, |_| {
            Ok(Reuse::Replace(vec![terminated()]))
        });
        assert_eq!(begun.unwrap().submitted.records.len(), 3);
        store.wait_durable(store.submitted()).unwrap();
        let platter = disk.platter().after_power_loss(Unsynced::Lost);
        let crashed = create_on_again(platter);
        for store in [store, crashed] {
            for _ in 0..2 {
                let modules = [first, second, third].map(|it| found(&store, it));
                assert_eq!(modules, [0, 0, 1]);
                let seen = store.look(&id("a"), |it| {
                    (it.started().run, it.turns(), it.former_runs().count())
                });
                assert_eq!(seen.unwrap(), Some((RunId(2), 0, 1)));
                assert_eq!(store.history(&id("a")).unwrap().unwrap().len(), 3);
                gather(&store);
                store.inner.ledger().evict(0);
            }
            audit(&store);
        }
    }
}

fn create_on_again(platter: Vec<u8>) -> Store {
    let disk = Box::new(Disk::holding(platter));
    open_on("disk".into(), disk, options()).unwrap()
}
