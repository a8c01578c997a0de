//! Histories, lists, and what stays in memory.

use wfhost_core::Status;

use super::*;
use crate::tables::{add_to_history_row, checked};

fn history(store: &Store, id: &InstanceId) -> Vec<Record> {
    store.history(id).unwrap().unwrap()
}

fn from(store: &Store, id: &InstanceId, index: u64) -> Vec<Record> {
    let mut records = Vec::new();
    let each = |_, record| {
        records.push(record);
        Ok::<(), Error>(())
    };
    assert!(store.for_each_record(id, index, each).unwrap());
    records
}

#[test]
fn a_history_is_the_same_before_and_after_a_gather_and_across_it() {
    let store = memory();
    let id = id("a");
    let mut expected = vec![Record::Started(Box::new(started("a")))];
    start(&store, started("a")).unwrap();
    for round in 0..6 {
        let record = event("Approval", json(&round.to_string()));
        submit(&store, &id, record.clone()).unwrap();
        expected.push(record);
        if round == 2 {
            gather(&store);
        }
        assert_eq!(history(&store, &id), expected);
        for index in 0..=expected.len() {
            assert_eq!(
                from(&store, &id, index as u64),
                expected[index..],
                "{round} {index}"
            );
        }
    }
    gather(&store);
    assert_eq!(history(&store, &id), expected);
    for index in 0..=expected.len() + 1 {
        let rest = expected.get(index..).unwrap_or_default();
        assert_eq!(from(&store, &id, index as u64), rest);
    }
}

#[test]
fn a_visitor_may_call_the_store_and_may_stop() {
    let store = memory();
    start(&store, started("a")).unwrap();
    let stopped = store.for_each_record(&id("a"), 0, |position, _| {
        assert_eq!(store.submitted(), position);
        Err(Error::Closed {
            path: "enough".into(),
        })
    });
    assert!(stopped.is_err());
}

#[test]
fn numbering_goes_on_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = Store::open(&path, options()).unwrap();
    start(&store, started("a")).unwrap();
    outside(&store, set("k", "1"));
    store.close().unwrap();
    for round in 0..3 {
        let store = Store::open_existing(&path, options()).unwrap();
        assert_eq!(store.submitted(), Position(2 + 2 * round));
        assert_eq!(store.durable(), store.submitted());
        submit(&store, &id("a"), event("Approval", json("1"))).unwrap();
        let position = outside(&store, set("k", "2"));
        assert_eq!(position, Position(4 + 2 * round));
        all_records(&store);
        assert_eq!(history(&store, &id("a")).len() as u64, 2 + round);
        store.close().unwrap();
    }
}

#[test]
fn a_list_has_a_row_an_instance_in_the_order_of_creation() {
    let store = memory();
    let names = |store: &Store| -> Vec<String> {
        let rows = list(store).unwrap().into_iter();
        rows.map(|row| format!("{} {} {}", row.id, row.status.as_str(), row.records))
            .collect()
    };
    start(&store, started("z")).unwrap();
    start(&store, started("m")).unwrap();
    gather(&store);
    start(&store, started("a")).unwrap();
    let done = turn(vec![], vec![], Step::Completed(json("1")));
    submit(&store, &id("m"), done).unwrap();
    let expected = ["z pending 1", "m completed 2", "a pending 1"];
    assert_eq!(names(&store), expected);
    gather(&store);
    assert_eq!(names(&store), expected);
    assert_eq!(store.unfinished().unwrap(), [id("z"), id("a")]);
    let row = list(&store).unwrap().remove(1);
    assert_eq!((row.number, row.position, row.turns), (2, Position(4), 1));
    assert_eq!(row.tags, started("m").tags);
}

#[test]
fn an_ended_instance_leaves_memory_and_is_found_on_disk() {
    let store = memory();
    let id = id("a");
    start(&store, started("a")).unwrap();
    submit(
        &store,
        &id,
        turn(vec![], vec![], Step::Completed(json("1"))),
    )
    .unwrap();
    gather(&store);
    assert_eq!(store.inner.ledger().number_of(&id), None);
    assert_eq!(
        store.look(&id, Instance::status).unwrap(),
        Some(Status::Completed)
    );
    assert_eq!(history(&store, &id).len(), 2);
    let refused = store.submit(&id, &ReadSet::default(), |instance| {
        decide::terminate(instance, None, false, None, Timestamp(50))
    });
    assert!(matches!(
        refused,
        Err(SubmitError::Refused(decide::Refused::Ended))
    ));
}

#[test]
fn instances_that_nobody_looks_at_leave_memory_and_come_back() {
    let store = Store::in_memory(Options {
        live_max: 4,
        ..options()
    })
    .unwrap();
    for number in 0..20 {
        start(&store, started(&format!("i{number}"))).unwrap();
    }
    gather(&store);
    let in_memory = |number: i32| {
        let id = id(&format!("i{number}"));
        store.inner.ledger().number_of(&id).is_some()
    };
    assert!((0..20).filter(|number| in_memory(*number)).count() <= 4);
    assert!(in_memory(19) && !in_memory(0));
    for number in 0..20 {
        let id = id(&format!("i{number}"));
        submit(&store, &id, event("Approval", json("1"))).unwrap();
        assert_eq!(store.look(&id, Instance::records).unwrap(), Some(2));
    }
    assert_eq!(all_records(&store).len(), 40);
}

#[test]
fn a_large_payload_stands_once_and_is_put_back_everywhere() {
    for commits_first in [true, false] {
        check_large_payload(commits_first);
    }
}

fn check_large_payload(commits_first: bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let options = Options {
        commit_bytes: u64::MAX,
        gather_bytes: u64::MAX,
        ..options()
    };
    let store = Store::open(&path, options.clone()).unwrap();
    let payload = large("x", 100_000);
    let first = Started {
        input: payload.clone(),
        ..started("a")
    };
    start(&store, first).unwrap();
    let write = StateWrite {
        value: Some(payload.clone()),
        ..set("big", "0")
    };
    for _ in 0..20 {
        submit(&store, &id("a"), event("Approval", payload.clone())).unwrap();
        outside(&store, write.clone());
    }
    let written = store.inner.ledger().rows_after(Position(0));
    assert!(written.iter().all(|row| row.record.len() < 1000));
    let check = |store: &Store, from_outside: usize| {
        let records = all_records(store);
        assert_eq!(records.len(), 21 + from_outside);
        assert!(records.into_values().all(|mut record| {
            record
                .payloads_mut()
                .into_iter()
                .all(|json| *json == payload)
        }));
        assert_eq!(
            store
                .look(&id("a"), |it| it.first_input().clone())
                .unwrap()
                .unwrap(),
            payload
        );
        let entry = store.state_get("big", Timestamp(0)).unwrap().unwrap();
        assert_eq!((entry.value, entry.version), (payload.clone(), 41));
    };
    check(&store, 20);
    if commits_first {
        store.wait_durable(store.submitted()).unwrap();
        check(&store, 20);
    }
    gather(&store);
    check(&store, 1);
    store.close().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 2_000_000);
    check(&Store::open_existing(&path, options).unwrap(), 1);
}

/// Changes a row behind the store's back.
fn tamper(store: &Store, change: impl Fn(&mut Vec<u8>)) {
    let owner = 1;
    store
        .inner
        .write(|transaction| {
            let mut table = transaction.open_table(crate::tables::HISTORY)?;
            let mut row = table.remove((0, owner, 1))?.unwrap().value().to_vec();
            change(&mut row);
            if !row.is_empty() {
                table.insert((0, owner, 1), row.as_slice())?;
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_history_that_was_changed_is_noticed() {
    let again = |position: u64, record: &Record| {
        let record = codec::encode(1, codec::Chain::default(), record);
        let mut row = Vec::new();
        add_to_history_row(&mut row, position, &record);
        checked(row)
    };
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: [Change; 4] = [
        Box::new(|row| row[50] ^= 1),
        Box::new(|row| row.truncate(20)),
        Box::new(Vec::clear),
        // A whole record, only not the one that was there.
        Box::new(move |row| *row = again(2, &event("Approval", json("9")))),
    ];
    for change in changes {
        for last in [2, 1] {
            let store = memory();
            start(&store, started("a")).unwrap();
            gather(&store);
            for _ in 0..last {
                submit(&store, &id("a"), event("Approval", json("1"))).unwrap();
                gather(&store);
            }
            store.inner.ledger().evict(0);
            tamper(&store, &change);
            let read = store.history(&id("a"));
            assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
            let looked = store.look(&id("a"), |_| ());
            assert!(matches!(looked, Err(Error::Damaged { .. })), "{looked:?}");
        }
    }
}

#[test]
fn a_log_that_was_changed_does_not_open() {
    let event = || event("Approval", json("9"));
    let alone = |record: &Record| codec::encode(1, codec::Chain::default(), record);
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: [Change; 4] = [
        Box::new(|row| row[40] ^= 1),
        Box::new(|row| row.truncate(20)),
        Box::new(Vec::clear),
        // A whole record that does not link to the one before it.
        Box::new(move |row| *row = alone(&event())),
    ];
    for change in changes {
        for last in [2, 3] {
            let folder = tempfile::tempdir().unwrap();
            let [path, crashed] = ["a", "b"].map(|name| folder.path().join(name));
            let store = Store::open(&path, options()).unwrap();
            start(&store, started("a")).unwrap();
            store.wait_durable(store.submitted()).unwrap();
            for _ in 1..last {
                submit(&store, &id("a"), event()).unwrap();
                store.wait_durable(store.submitted()).unwrap();
            }
            let changed = store.inner.write(|transaction| {
                let mut log = transaction.open_table(crate::tables::LOG)?;
                let mut row = log.remove((0, 2))?.unwrap().value().to_vec();
                change(&mut row);
                if !row.is_empty() {
                    log.insert((0, 2), row.as_slice())?;
                }
                Ok(())
            });
            changed.unwrap();
            std::fs::copy(&path, &crashed).unwrap();
            let opened = Store::open_existing(&crashed, options());
            let lost_its_end = last == 2 && opened.as_ref().is_ok_and(|it| it.submitted().0 == 1);
            let refused = matches!(
                opened,
                Err(crate::OpenError::Unusable(Error::Damaged { .. }))
            );
            assert!(refused || lost_its_end);
        }
    }
}
