//! How many instances stand how.

use wfhost_core::{Name, Status};

use super::*;
use crate::Standing;

/// The same counted by hand, in the order of the counts.
fn by_hand(store: &Store) -> BTreeMap<(Name, Status), u64> {
    let mut counts = BTreeMap::new();
    for row in list(store).unwrap() {
        *counts.entry((row.workflow, row.status)).or_default() += 1;
    }
    counts
}

#[track_caller]
fn check(store: &Store) {
    let standings = store.standings().unwrap().into_iter();
    let standings = standings.map(
        |Standing {
             workflow,
             status,
             instances,
         }| ((workflow, status), instances),
    );
    assert_eq!(standings.collect::<BTreeMap<_, _>>(), by_hand(store));
}

fn of(workflow: &str, name: &str) -> Started {
    Started {
        workflow: workflow.parse().unwrap(),
        ..started(name)
    }
}

/// Some on disk only, some in memory only, some changed since they were gathered.
fn many(store: &Store) {
    for number in 0..60 {
        let name = format!("i{number}");
        let workflow = ["Order", "Mail"][number % 2];
        start(store, of(workflow, &name)).unwrap();
        if number % 3 == 0 {
            submit(store, &id(&name), completed()).unwrap();
        }
        if number == 40 {
            gather(store);
        }
    }
    for number in (1..60).step_by(6) {
        let waits = turn(vec![], vec![], Step::Waiting);
        submit(store, &id(&format!("i{number}")), waits).unwrap();
    }
}

#[test]
fn instances_are_counted_as_they_stand_wherever_they_are() {
    let store = memory();
    assert_eq!(store.standings().unwrap(), []);
    many(&store);
    check(&store);
    let store = memory();
    many(&store);
    check(&store);
}

#[test]
fn what_changes_after_the_first_count_counts() {
    let store = memory();
    many(&store);
    check(&store);
    start(&store, of("Order", "late")).unwrap();
    submit(&store, &id("late"), turn(vec![], vec![], Step::Waiting)).unwrap();
    check(&store);
    submit(&store, &id("late"), completed()).unwrap();
    check(&store);
    gather(&store);
    check(&store);
    let purged = ["i0", "i6", "late", "i1"].map(id);
    assert_eq!(store.purge(&purged).unwrap(), purged[..3]);
    check(&store);
    // One that has ended gives its id to another workflow's.
    let again = ready(&store).start(of("Mail", "i12"), |_| Ok(Reuse::Replace(Vec::new())));
    again.unwrap();
    check(&store);
    gather(&store);
    check(&store);
}

#[test]
fn what_changes_while_it_is_counted_counts_once() {
    let store = memory();
    many(&store);
    gather(&store);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..300 {
                let name = format!("j{number}");
                start(&store, of("Order", &name)).unwrap();
                submit(&store, &id(&name), completed()).unwrap();
                if number % 20 == 0 {
                    gather(&store);
                    store.purge(&[id(&name)]).unwrap();
                }
            }
        });
        scope.spawn(|| store.standings().unwrap());
    });
    check(&store);
}
