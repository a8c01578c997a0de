//! Finding the instances that are due.

use super::audit::audit;
use super::*;
use crate::{Due, DuePlace, Memory};

fn timer(task: u32, fires_at: u64) -> Command {
    Command::CreateTimer {
        task: TaskId(task),
        fires_at: Timestamp(fires_at),
    }
}

fn child(task: u32) -> Command {
    Command::CallWorkflow {
        task: TaskId(task),
        name: "Ship".parse().unwrap(),
        input: json("1"),
        options: Default::default(),
    }
}

fn waits(store: &Store, name: &str, commands: Vec<Command>) {
    start(store, started(name)).unwrap();
    submit(store, &id(name), turn(commands, vec![], Step::Waiting)).unwrap();
}

/// All that are due up to a time, page by page, as `time:id`.
fn due(store: &Store, until: u64, limit: usize) -> Vec<String> {
    due_after(store, None, until, limit)
}

fn due_after(store: &Store, mut after: Option<DuePlace>, until: u64, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = store.due(after, Timestamp(until), limit).unwrap();
        assert!(page.is_sorted() && page.len() <= limit);
        let told = |Due { place, id }: &Due| format!("{}:{id}", place.at.0);
        found.extend(page.iter().map(told));
        if page.len() < limit {
            return found;
        }
        after = page.last().map(|due| due.place);
    }
}

#[test]
fn what_is_due_is_found_in_the_order_of_time_in_memory_and_on_disk() {
    let store = memory();
    start(&store, started("new")).unwrap();
    waits(&store, "late", vec![timer(1, 900)]);
    waits(&store, "parked", vec![]);
    waits(&store, "parent", vec![child(1), timer(2, 700)]);
    waits(&store, "soon", vec![timer(1, 500), timer(2, 800)]);
    start(&store, started("ended")).unwrap();
    submit(&store, &id("ended"), completed()).unwrap();
    for _ in 0..2 {
        for limit in [1, 2, 100] {
            let all = ["0:new", "500:soon", "700:parent", "900:late"];
            assert_eq!(due(&store, u64::MAX, limit), all);
            assert_eq!(due(&store, 900, limit), all);
            assert_eq!(due(&store, 899, limit), all[..3]);
            let later = Some(DuePlace::after(Timestamp(500)));
            assert_eq!(due_after(&store, later, u64::MAX, limit), all[2..]);
            assert_eq!(due_after(&store, later, 500, limit), [""; 0]);
            assert_eq!(due_after(&store, later, 400, limit), [""; 0]);
            let end = Some(DuePlace::after(Timestamp(u64::MAX)));
            assert_eq!(due_after(&store, end, u64::MAX, limit), [""; 0]);
        }
        let at_start = Query {
            due_at_start: true,
            ..Query::default()
        };
        let found = store.find(&at_start).unwrap().rows;
        assert!(found.iter().map(|row| row.id.as_str()).eq(["parent"]));
        gather(&store);
        audit(&store);
    }
}

#[test]
fn what_memory_knows_counts_over_what_stands_on_disk() {
    let store = memory();
    for (name, fires_at) in [("a", 100), ("b", 200), ("c", 300)] {
        waits(&store, name, vec![timer(1, fires_at)]);
    }
    gather(&store);
    submit(
        &store,
        &id("a"),
        turn(vec![timer(2, 50)], vec![], Step::Waiting),
    )
    .unwrap();
    submit(&store, &id("b"), completed()).unwrap();
    let moved = turn(
        vec![Command::Cancel { task: TaskId(1) }, timer(2, 400)],
        vec![],
        Step::Waiting,
    );
    submit(&store, &id("c"), moved).unwrap();
    for _ in 0..2 {
        for limit in [1, 100] {
            assert_eq!(due(&store, 1_000, limit), ["50:a", "400:c"]);
        }
        gather(&store);
        audit(&store);
    }
    submit(&store, &id("a"), completed()).unwrap();
    gather(&store);
    assert_eq!(store.purge(&[id("a")]).unwrap(), [id("a")]);
    assert_eq!(due(&store, 1_000, 100), ["400:c"]);
    audit(&store);
}

#[test]
fn many_are_found_over_more_than_one_transaction_and_after_reopening() {
    let memory = Memory::default();
    let store = Store::on_memory(&memory, options()).unwrap();
    let mut expected = Vec::new();
    for number in 0..3_000u64 {
        let fires_at = 100 + number * 7 % 3_000;
        let name = format!("i{number}");
        waits(&store, &name, vec![timer(1, fires_at)]);
        expected.push((fires_at, name));
    }
    gather(&store);
    // Most of the walked rows do not count any more.
    for (fires_at, name) in &mut expected[..2_500] {
        *fires_at += 10_000;
        let moved = vec![Command::Cancel { task: TaskId(1) }, timer(2, *fires_at)];
        submit(&store, &id(name), turn(moved, vec![], Step::Waiting)).unwrap();
    }
    expected.sort();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(at, name)| format!("{at}:{name}"))
        .collect();
    assert_eq!(due(&store, u64::MAX, 400), expected);
    store.close().unwrap();
    let store = Store::on_memory(&memory, options()).unwrap();
    assert_eq!(due(&store, u64::MAX, 5_000), expected);
    audit(&store);
}
