//! Finding those that ended longest ago.

use wfhost_core::Status;

use super::audit::audit;
use super::*;
use crate::tables::{INSTANCES, NAMESPACE};
use crate::{EndedPlace, Memory};

/// An instance that came to its end then.
fn ends(store: &Store, name: &str, at: u64, step: Step) {
    start(store, started(name)).unwrap();
    let Record::Turn(mut end) = turn(vec![], vec![], step) else {
        panic!("it is a turn");
    };
    end.at = Timestamp(at);
    submit(store, &id(name), Record::Turn(end)).unwrap();
}

fn completes(store: &Store, name: &str, at: u64) {
    ends(store, name, at, Step::Completed(json("1")));
}

/// All that ended so before a time, page by page, as `time:id`.
fn ended(store: &Store, status: Status, before: u64, limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store
            .ended(status, Timestamp(before), after, limit)
            .unwrap();
        let places: Vec<_> = page.iter().map(EndedPlace::of).collect();
        assert!(places.is_sorted() && page.len() <= limit);
        let told = page
            .iter()
            .map(|row| format!("{}:{}", row.updated_at.0, row.id));
        found.extend(told);
        if page.len() < limit {
            return found;
        }
        after = places.last().copied();
    }
}

#[test]
fn those_that_ended_are_found_in_the_order_of_time_in_memory_and_on_disk() {
    let store = memory();
    start(&store, started("runs")).unwrap();
    completes(&store, "late", 900);
    completes(&store, "soon", 300);
    ends(&store, "cancelled", 200, Step::Cancelled);
    completes(&store, "same", 900);
    completes(&store, "first", 100);
    for _ in 0..2 {
        for limit in [1, 2, 100] {
            let all = ["100:first", "300:soon", "900:late", "900:same"];
            assert_eq!(ended(&store, Status::Completed, u64::MAX, limit), all);
            assert_eq!(ended(&store, Status::Completed, 901, limit), all);
            assert_eq!(ended(&store, Status::Completed, 900, limit), all[..2]);
            assert_eq!(ended(&store, Status::Completed, 100, limit), [""; 0]);
            assert_eq!(ended(&store, Status::Completed, 0, limit), [""; 0]);
            let cancelled = ended(&store, Status::Cancelled, 900, limit);
            assert_eq!(cancelled, ["200:cancelled"]);
            for status in [Status::Failed, Status::Running, Status::Pending] {
                assert_eq!(ended(&store, status, u64::MAX, limit), [""; 0]);
            }
        }
        gather(&store);
        audit(&store);
    }
    store.purge(&["late", "first"].map(id)).unwrap();
    let rest = ended(&store, Status::Completed, u64::MAX, 100);
    assert_eq!(rest, ["300:soon", "900:same"]);
    audit(&store);
}

/// Makes the rows of instances unreadable: whoever reads one fails.
fn damage(store: &Store, ids: impl Iterator<Item = InstanceId>) {
    let damaged = store.inner.write(|transaction| {
        let mut table = transaction.open_table(INSTANCES)?;
        for id in ids {
            table.insert((NAMESPACE, id.as_str()), b"damaged".as_slice())?;
        }
        Ok(())
    });
    damaged.unwrap();
}

/// Once a minute all that had ever ended were read, to let go of a few.
#[test]
fn what_is_not_yet_due_is_not_read() {
    let memory = Memory::default();
    let store = Store::on_memory(&memory, options()).unwrap();
    for number in 0..3_000u64 {
        completes(&store, &format!("i{number}"), 1_000 + number * 7 % 3_000);
        if number % 10 == 0 {
            ends(&store, &format!("c{number}"), 500, Step::Cancelled);
        }
    }
    gather(&store);
    let before = 1_020;
    let expected = ended(&store, Status::Completed, before, 100);
    assert_eq!(expected.len(), 20);
    let due = |number: &u64| 1_000 + number * 7 % 3_000 < before;
    let others = (0..3_000).filter(|number| !due(number));
    damage(&store, others.map(|number| id(&format!("i{number}"))));
    assert_eq!(ended(&store, Status::Completed, before, 7), expected);
    let query = Query {
        statuses: vec![Status::Completed, Status::Failed, Status::Completed],
        updated_before: Some(Timestamp(before)),
        limit: 6,
        ..Query::default()
    };
    let mut found = Vec::new();
    for newest_first in [false, true] {
        let mut query = Query {
            newest_first,
            ..query.clone()
        };
        let mut numbers = Vec::new();
        loop {
            let page = store.find(&query).unwrap();
            numbers.extend(page.rows.iter().map(|row| row.number));
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(numbers.len(), 20);
        found.push(numbers);
    }
    assert!(found[0].is_sorted() && found[0].iter().rev().eq(&found[1]));
    // What is asked is narrower otherwise, or they are not few: the others are read.
    for other in [
        Query {
            updated_before: Some(Timestamp(u64::MAX)),
            ..query.clone()
        },
        Query {
            statuses: vec![Status::Completed, Status::Running],
            ..query.clone()
        },
        Query {
            module: Some(Digest::of(b"module")),
            ..query
        },
    ] {
        let other = Query {
            limit: 5_000,
            ..other
        };
        assert!(matches!(store.find(&other), Err(Error::Damaged { .. })));
    }
}

#[test]
fn few_or_many_that_ended_before_a_time_are_found_alike() {
    let store = memory();
    for number in 0..2_500u64 {
        completes(&store, &format!("i{number}"), 10_000 - number);
    }
    gather(&store);
    for number in 2_500..2_520 {
        completes(&store, &format!("i{number}"), 10_000 - number);
    }
    for before in [8_600, 9_000, 9_001, 9_002, 20_000] {
        let query = Query {
            statuses: vec![Status::Completed],
            updated_before: Some(Timestamp(before)),
            limit: 5_000,
            ..Query::default()
        };
        let found = store.find(&query).unwrap().rows;
        let expected = (0..2_520).filter(|number| 10_000 - number < before);
        let expected = expected.map(|number| format!("i{number}"));
        assert!(found.iter().map(|row| row.id.to_string()).eq(expected));
    }
}
