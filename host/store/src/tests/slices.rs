//! Gathering a part of the log: records that share rows, and what the log and the tables tell
//! together.

use redb::{ReadableDatabase, ReadableTableMetadata};

use super::audit::audit;
use super::keeping::continue_as_new;
use super::*;
use crate::Memory;
use crate::tables::{HISTORY, LOG};

/// How many rows the histories and the log have.
fn rows(store: &Store) -> (u64, u64) {
    let database = store.inner.database();
    let read = database.as_ref().unwrap().begin_read().unwrap();
    let log = read.open_table(LOG).unwrap().len().unwrap();
    (read.open_table(HISTORY).unwrap().len().unwrap(), log)
}

fn slice(store: &Store, records: u64) {
    let writing = store.inner.writing();
    store.inner.gather_up_to(records, &writing).unwrap();
}

fn commit(store: &Store) {
    store.wait_durable(store.submitted()).unwrap();
}

#[test]
fn records_that_come_together_share_rows_and_are_read_from_any_of_them_on() {
    let store = memory();
    start(&store, started("a")).unwrap();
    for number in 0..500 {
        submit(&store, &id("a"), event("E", json(&number.to_string()))).unwrap();
    }
    let whole = store.history(&id("a")).unwrap().unwrap();
    commit(&store);
    let (_, log) = rows(&store);
    assert!(log < 10, "{log}");
    gather(&store);
    store.inner.ledger().evict(0);
    let (history, log) = rows(&store);
    assert!(history < 20 && log == 0, "{history} {log}");
    for from in (0..=501).step_by(7) {
        let mut read = Vec::new();
        let each = |_, record| {
            read.push(record);
            Ok::<(), Error>(())
        };
        store.for_each_record(&id("a"), from, each).unwrap();
        assert_eq!(read, whole[from as usize..], "from {from}");
    }
}

#[test]
fn a_row_never_holds_records_of_two_generations() {
    let store = memory();
    start(&store, started("a")).unwrap();
    for _ in 0..3 {
        continue_as_new(&store, &id("a")).unwrap();
    }
    gather(&store);
    assert_eq!(rows(&store).0, 2, "the last two");
}

#[test]
fn what_is_gathered_goes_to_the_end_of_a_row_of_the_log() {
    let store = memory();
    for name in ["a", "b", "c", "d"] {
        start(&store, started(name)).unwrap();
        submit(&store, &id(name), event("E", json("1"))).unwrap();
        commit(&store);
    }
    let after = |records: u64| {
        slice(&store, records);
        rows(&store)
    };
    // One record is wanted, its row has two.
    assert_eq!(after(1), (1, 3));
    assert_eq!(after(3), (3, 1));
    // What is not in the log is moved at once, or goes there.
    submit(&store, &id("a"), event("E", json("2"))).unwrap();
    assert_eq!(after(1), (4, 1));
    assert_eq!(after(9), (5, 0));
}

/// Whatever is gathered, and however much of it, the store says the same, also when it is opened
/// again as it stands.
#[test]
fn any_slices_tell_the_same_as_none() {
    // A small generator, so that each run is the same: xorshift.
    for seed in 1..60_u64 {
        let mut coin = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut toss = |sides: u64| {
            coin ^= coin << 13;
            coin ^= coin >> 7;
            coin ^= coin << 17;
            coin % sides
        };
        let memory = Memory::default();
        let sliced = Store::on_memory(&memory, options()).unwrap();
        let plain = self::memory();
        let mut number = 0;
        for _ in 0..80 {
            number += 1;
            let name = ["a", "b", "c", "d", "e"][toss(5) as usize];
            let (what, big) = (toss(12), toss(9) == 0);
            for store in [&sliced, &plain] {
                deed(store, name, what, number, big);
            }
            match toss(6) {
                0 => slice(&sliced, 1 + number % 7),
                1 => gather(&sliced),
                2 | 3 => commit(&sliced),
                _ => {}
            }
        }
        let told = |store: &Store| {
            let kept = all_records(store);
            let current = kept.into_iter().filter(|(_, record)| {
                // Of what nobody needs more may be left.
                !matches!(record, Record::StateWritten(_))
            });
            let current: BTreeMap<_, _> = current.collect();
            (current, state(store), list(store).unwrap())
        };
        let expected = told(&plain);
        assert_eq!(told(&sliced), expected, "seed {seed}");
        commit(&sliced);
        audit(&sliced);
        // As a crash would leave it.
        let crashed = memory.copied();
        let reopened = Store::on_memory(&crashed, options()).unwrap();
        assert_eq!(told(&reopened), expected, "seed {seed}, opened again");
        gather(&reopened);
        assert_eq!(told(&reopened), expected, "seed {seed}, gathered");
        audit(&reopened);
    }
}

/// Something that may happen to an instance, if it can.
fn deed(store: &Store, name: &str, what: u64, number: u64, big: bool) {
    let id = id(name);
    let payload = if big {
        large("x", 70_000 + (number % 3) as usize)
    } else {
        json(&number.to_string())
    };
    let begin = || Started {
        input: payload.clone(),
        ..started(name)
    };
    let lives = store.look(&id, |it| !it.status().has_ended()).unwrap();
    match (what, lives) {
        (0, _) => drop(outside(store, set("outside", &number.to_string()))),
        (_, None) => drop(start(store, begin()).unwrap()),
        (1..=4, Some(false)) => {
            let replace = |_: &Instance| Ok(Reuse::Replace(Vec::new()));
            ready(store).start(begin(), replace).unwrap();
        }
        (_, Some(false)) => {}
        (1, _) => drop(continue_as_new(store, &id).unwrap()),
        (2, _) => drop(submit(store, &id, completed()).unwrap()),
        (3..=5, _) => {
            let asked = turn(vec![call(1)], vec![], Step::Waiting);
            submit(store, &id, asked).unwrap();
            let writes = vec![set(name, &number.to_string()), delete("outside")];
            submit(store, &id, attempt(1, writes)).unwrap();
        }
        _ => drop(submit(store, &id, event("E", payload)).unwrap()),
    }
}
