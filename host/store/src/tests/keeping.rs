//! What of a history is kept, and of large payloads.

use super::audit::audit;
use super::*;
use crate::Memory;
use crate::tables::HISTORY;

/// The records that make the next generation of an instance.
fn continued(instance: &Instance) -> Result<Vec<Record>, decide::Refused> {
    let step = Step::ContinuedAsNew {
        input: json(&instance.turns().to_string()),
        current_module: false,
    };
    let Record::Turn(turn) = turn(vec![], vec![], step) else {
        panic!("it is a turn");
    };
    decide::take_turn(instance, decide::TurnFence::of(instance), *turn, None)
}

pub(super) fn continue_as_new(store: &Store, id: &InstanceId) -> Result<Submitted, SubmitError> {
    ready(store).submit_all(id, &ReadSet::default(), continued)
}

#[test]
fn a_thousand_generations_leave_two() {
    let memory = Memory::default();
    let store = Store::on_memory(&memory, options()).unwrap();
    let id = id("a");
    let begin = Started {
        input: large("x", 70_000),
        key: Some("once".into()),
        ..started("a")
    };
    start(&store, begin).unwrap();
    let mut rows_max = 0;
    for generation in 0..1000 {
        submit(
            &store,
            &id,
            event("Approval", json(&generation.to_string())),
        )
        .unwrap();
        continue_as_new(&store, &id).unwrap();
        if generation % 7 == 0 {
            gather(&store);
            rows_max = rows_max.max(audit(&store).history);
        }
        if generation % 100 == 0 {
            assert_eq!(store.history(&id).unwrap().unwrap().len(), 4);
            store.inner.ledger().evict(0);
        }
    }
    assert_eq!(rows_max, 4, "start, event, turn, start");
    let whole = store.look(&id, Clone::clone).unwrap().unwrap();
    assert_eq!(whole.records(), 3001);
    store.close().unwrap();
    let store = Store::on_memory(&memory, options()).unwrap();
    assert_eq!(store.look(&id, Clone::clone).unwrap().unwrap(), whole);
    assert_eq!(list(&store).unwrap()[0].records, 3001);
    assert_eq!(all_records(&store).len(), 4);
    assert_eq!(audit(&store).payloads, 1, "the first input is carried on");
    for from in [0, 7, 2997, 2998, 3000, 3001, 4000] {
        let mut count = 0;
        let counted = store.for_each_record(&id, from, |_, _| {
            count += 1;
            Ok::<(), Error>(())
        });
        assert!(counted.unwrap());
        assert_eq!(count, 3001_u64.saturating_sub(from.max(2997)), "{from}");
    }
}

#[test]
fn a_hole_in_what_is_kept_is_noticed() {
    // What is kept: a start, an event, a turn, a start.
    for missing in 5..9 {
        let store = memory();
        let id = id("a");
        start(&store, started("a")).unwrap();
        // Gathered one by one, so that each has a row of its own, which can be missing.
        for _ in 0..2 {
            continue_as_new(&store, &id).unwrap();
            gather(&store);
            submit(&store, &id, event("Approval", json("1"))).unwrap();
            gather(&store);
        }
        continue_as_new(&store, &id).unwrap();
        gather(&store);
        let seen = |it: &Instance| (it.kept_from(), it.records());
        assert_eq!(store.look(&id, seen).unwrap(), Some((5, 9)));
        store.inner.ledger().evict(0);
        let removed = store.inner.write(|transaction| {
            let mut table = transaction.open_table(HISTORY)?;
            assert!(table.remove((0, 1, missing))?.is_some());
            Ok(())
        });
        removed.unwrap();
        for from in [0, missing, missing + 1] {
            let read = store.for_each_record(&id, from, |_, _| Ok::<(), Error>(()));
            let damaged = matches!(read, Err(Error::Damaged { .. }));
            assert!(damaged || from == 9, "{missing} {from} {read:?}");
        }
        let looked = store.look(&id, |_| ());
        assert!(matches!(looked, Err(Error::Damaged { .. })), "{looked:?}");
    }
}

#[test]
fn more_rows_than_one_transaction_removes_are_as_good_as_gone_at_once() {
    let store = memory();
    let id = id("a");
    let many = |store: &Store| {
        for _ in 0..12_000 {
            submit(store, &id, event("Approval", json("1"))).unwrap();
        }
    };
    start(&store, started("a")).unwrap();
    submit(&store, &id, turn(vec![], vec![], Step::Waiting)).unwrap();
    many(&store);
    let inputs = store.look(&id, |it| it.deliver().inputs.len()).unwrap();
    assert_eq!(inputs, Some(0), "nobody awaits the events");
    gather(&store);
    let forget = |instance: &Instance| {
        let events = instance.unread_events().len();
        let mut records = continued(instance)?;
        if let Some(Record::Started(started)) = records.last_mut() {
            assert_eq!(started.events.len(), events);
            started.events.clear();
        }
        Ok(records)
    };
    for _ in 0..2 {
        store.submit_all(&id, &ReadSet::default(), forget).unwrap();
    }
    let whole = store.look(&id, Clone::clone).unwrap().unwrap();
    let rest = store.inner.gather_up_to(u64::MAX, &store.inner.writing());
    assert!(rest.unwrap(), "some are left");
    let found = audit(&store);
    assert_eq!(found.removed, 1);
    assert!(found.history > 2_000, "{found:?}");
    for _ in 0..2 {
        store.inner.ledger().evict(0);
        assert_eq!(store.look(&id, Clone::clone).unwrap().unwrap(), whole);
        assert_eq!(all_records(&store).len(), 3);
        store.inner.remove_rest().unwrap();
        let found = audit(&store);
        assert_eq!((found.history, found.removed), (3, 0));
    }
    many(&store);
    submit(&store, &id, completed()).unwrap();
    gather(&store);
    let before = store.counts().commits;
    let ids = [id.clone()];
    assert_eq!(store.purge(&ids).unwrap(), ids);
    assert!(store.counts().commits - before >= 3);
    let found = audit(&store);
    assert_eq!((found.history, found.removed), (0, 0));
}

#[test]
fn of_the_writes_from_outside_the_last_is_kept() {
    let memory = Memory::default();
    for round in 0..5 {
        let store = Store::on_memory(&memory, options()).unwrap();
        for number in 0..3 {
            let value = large("x", 70_000 + number);
            let write = StateWrite {
                value: Some(value),
                ..set("big", "0")
            };
            assert_eq!(outside(&store, write).0, round * 3 + number as u64 + 1);
        }
        store.close().unwrap();
        let store = Store::on_memory(&memory, options()).unwrap();
        let found = audit(&store);
        assert_eq!((found.history, found.payloads), (1, 1));
        store.close().unwrap();
    }
}

#[test]
fn a_payload_is_there_as_long_as_something_names_it() {
    let store = memory();
    let id = id("a");
    let [one, two] = ["x", "y"].map(|letter| large(letter, 70_000));
    let write = |value: &Json| StateWrite {
        value: Some(value.clone()),
        ..set("big", "0")
    };
    let payloads = |store: &Store| {
        gather(store);
        audit(store).payloads
    };
    start(&store, started("a")).unwrap();
    submit(
        &store,
        &id,
        turn(vec![call(1), call(2)], vec![], Step::Waiting),
    )
    .unwrap();
    assert_eq!(payloads(&store), 0);
    submit(&store, &id, attempt(1, vec![write(&one)])).unwrap();
    assert_eq!(payloads(&store), 1);
    // Only the history names it, then nobody.
    submit(&store, &id, attempt(2, vec![write(&two)])).unwrap();
    assert_eq!(payloads(&store), 2);
    continue_as_new(&store, &id).unwrap();
    assert_eq!(payloads(&store), 2);
    continue_as_new(&store, &id).unwrap();
    assert_eq!(payloads(&store), 1, "the state names the second");
    // The log names it while the state lets it go: it comes and goes in one gather.
    submit(&store, &id, event("Approval", one.clone())).unwrap();
    store.wait_durable(store.submitted()).unwrap();
    assert_eq!(audit(&store).payloads, 2);
    submit(&store, &id, turn(vec![call(1)], vec![], Step::Waiting)).unwrap();
    submit(&store, &id, attempt(1, vec![delete("big")])).unwrap();
    assert_eq!(payloads(&store), 1);
    let unread = store.look(&id, |it| it.unread_events()[0].payload.clone());
    assert_eq!(unread.unwrap(), Some(one));
}

#[test]
fn a_payload_that_is_removed_and_submitted_again_meanwhile_is_there() {
    let store = Store::in_memory(Options {
        gather_bytes: 100_000,
        commit_bytes: 1,
        ..options()
    })
    .unwrap();
    let value = large("x", 70_000);
    let write = StateWrite {
        value: Some(value.clone()),
        ..set("big", "0")
    };
    let instance = |number: i32| id(&format!("i{number}"));
    for number in 0..60 {
        let id = instance(number);
        start(&store, started(id.as_str())).unwrap();
        submit(
            &store,
            &id,
            turn(vec![call(1), call(2)], vec![], Step::Waiting),
        )
        .unwrap();
        submit(&store, &id, attempt(1, vec![write.clone()])).unwrap();
        let seen = store.state_get("big", Timestamp(0)).unwrap().unwrap();
        assert_eq!(seen.value, value);
        submit(&store, &id, attempt(2, vec![delete("big")])).unwrap();
        submit(&store, &id, completed()).unwrap();
        if number > 0 {
            store.purge(&[instance(number - 1)]).unwrap();
        }
    }
    store.purge(&[instance(59)]).unwrap();
    gather(&store);
    let found = audit(&store);
    assert_eq!((found.history, found.payloads), (0, 0));
}
