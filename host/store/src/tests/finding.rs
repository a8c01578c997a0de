//! Finding instances.

use wfhost_core::Status;
use wfhost_core::record::Parent;

use super::audit::audit;
use super::*;

/// A number that looks random.
fn mixed(number: u64, below: u64) -> u64 {
    let digest = Digest::of(&number.to_le_bytes());
    u64::from(digest.as_bytes()[0]) * 256 % below + u64::from(digest.as_bytes()[1]) % below
}

fn some(number: u64) -> Started {
    let parent = Parent {
        id: id(&format!("parent{}", number % 11)),
        run: RunId(1),
        generation: 0,
        task: TaskId(1),
        attempt: 1,
        detached: false,
    };
    // The clock goes back now and then.
    let created_at = Timestamp(1000 + number * 10 - mixed(number, 7) * 5);
    Started {
        workflow: ["Order", "Mail"][number as usize % 2].parse().unwrap(),
        module: Digest::of(&[(number % 5) as u8]),
        parent: number.is_multiple_of(3).then_some(parent),
        tags: vec![
            (
                "team".into(),
                ["cars", "bikes"][number as usize / 2 % 2].into(),
            ),
            ("n".into(), (number % 7).to_string()),
        ],
        at: created_at,
        created_at,
        ..started(&format!("i{number}"))
    }
}

/// Instances of all kinds; some only in memory, some changed since they were gathered, some gone.
fn many(store: &Store) {
    for number in 0..600 {
        start(store, some(number)).unwrap();
        let id = id(&format!("i{number}"));
        if number % 4 == 1 {
            submit(store, &id, completed()).unwrap();
        }
        if number == 250 || number == 400 {
            gather(store);
        }
    }
    for number in (0..600).step_by(6) {
        let id = id(&format!("i{number}"));
        submit(store, &id, turn(vec![], vec![], Step::Waiting)).unwrap();
    }
    for number in (1..600).step_by(20) {
        let again = Started {
            workflow: "Again".parse().unwrap(),
            ..some(number)
        };
        ready(store)
            .start(again, |_| Ok(Reuse::Replace(vec![])))
            .unwrap();
    }
}

/// The rows of all instances, each asked for by its id.
fn every(store: &Store) -> Vec<Summary> {
    let rows = (0..600).map(|number| {
        let id = id(&format!("i{number}"));
        let (_loading, mut ledger) = store.inner.bring_up(&id).unwrap();
        ledger.look(&id).unwrap().summary()
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| row.number);
    rows
}

fn queries() -> Vec<Query> {
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let all = Query::default();
    vec![
        all.clone(),
        Query {
            workflow: Some("Mail".parse().unwrap()),
            ..all.clone()
        },
        Query {
            statuses: vec![Status::Running, Status::Completed, Status::Running],
            ..all.clone()
        },
        Query {
            statuses: vec![Status::Pending],
            updated_before: Some(Timestamp(4000)),
            ..all.clone()
        },
        Query {
            tags: vec![tag("team", "cars"), tag("n", "3")],
            ..all.clone()
        },
        Query {
            tags: vec![tag("team", "planes")],
            ..all.clone()
        },
        Query {
            parent: Some(id("parent3")),
            module: Some(Digest::of(&[0])),
            ..all.clone()
        },
        Query {
            module: Some(Digest::of(&[2])),
            statuses: vec![Status::Completed],
            workflow: Some("Order".parse().unwrap()),
            ..all.clone()
        },
        Query {
            created_from: Some(Timestamp(3000)),
            ..all.clone()
        },
        Query {
            created_before: Some(Timestamp(3000)),
            ..all.clone()
        },
        Query {
            created_from: Some(Timestamp(2500)),
            created_before: Some(Timestamp(2600)),
            statuses: vec![Status::Pending, Status::Completed],
            ..all.clone()
        },
        Query {
            due_at_start: true,
            statuses: vec![Status::Pending],
            ..all.clone()
        },
        Query {
            created_from: Some(Timestamp(9_000_000)),
            ..all.clone()
        },
        Query {
            created_from: Some(Timestamp(3000)),
            created_before: Some(Timestamp(2000)),
            ..all
        },
    ]
}

/// What a look at every row finds.
fn expected(rows: &[Summary], query: &Query) -> Vec<Summary> {
    let has = |row: &&Summary| {
        query.workflow.as_ref().is_none_or(|it| *it == row.workflow)
            && (query.statuses.is_empty() || query.statuses.contains(&row.status))
            && query.tags.iter().all(|it| row.tags.contains(it))
            && (query.parent.is_none() || query.parent == row.parent)
            && query.module.is_none_or(|it| it == row.module)
            && query.created_from.is_none_or(|it| row.created_at >= it)
            && query.created_before.is_none_or(|it| row.created_at < it)
            && query.updated_before.is_none_or(|it| row.updated_at < it)
            && (row.due_at_start || !query.due_at_start)
    };
    let mut rows: Vec<Summary> = rows.iter().filter(has).cloned().collect();
    if query.newest_first {
        rows.reverse();
    }
    rows
}

fn pages(store: &Store, query: &Query) -> Vec<Summary> {
    let mut query = query.clone();
    let mut rows = Vec::new();
    loop {
        let page = store.find(&query).unwrap();
        assert!(page.rows.len() <= query.limit);
        rows.extend(page.rows);
        if page.next.is_none() {
            return rows;
        }
        query.after = page.next;
    }
}

#[test]
fn every_query_finds_page_by_page_what_a_look_at_every_row_finds() {
    let store = memory();
    many(&store);
    let mut rows = every(&store);
    for round in 0..3 {
        let mut found = 0;
        for query in queries() {
            for (limit, newest_first) in [(1, false), (7, true), (100, false), (10_000, true)] {
                let query = Query {
                    limit,
                    newest_first,
                    ..query.clone()
                };
                let expected = expected(&rows, &query);
                found += expected.len();
                assert_eq!(pages(&store, &query), expected, "{round} {query:?}");
            }
        }
        assert!(found > 3000, "{found}");
        gather(&store);
        audit(&store);
        if round == 1 {
            let ended = rows.iter().filter(|row| row.status == Status::Completed);
            let ended: Vec<_> = ended.map(|row| row.id.clone()).step_by(3).collect();
            assert_eq!(store.purge(&ended).unwrap(), ended);
            rows.retain(|row| !ended.contains(&row.id));
            audit(&store);
        }
    }
}

#[test]
fn a_row_that_moves_between_pages_is_met_once() {
    let store = memory();
    for number in 0..10 {
        start(&store, started(&format!("i{number}"))).unwrap();
    }
    let mut query = Query {
        statuses: vec![Status::Pending, Status::Running],
        limit: 3,
        ..Query::default()
    };
    let mut met = Vec::new();
    loop {
        let page = store.find(&query).unwrap();
        met.extend(page.rows.into_iter().map(|row| row.id.to_string()));
        for number in 0..10 {
            let id = id(&format!("i{number}"));
            submit(&store, &id, turn(vec![], vec![], Step::Waiting)).unwrap();
        }
        gather(&store);
        query.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..10).map(|number| format!("i{number}")).collect();
    assert_eq!(met, expected);
}

#[test]
fn what_has_not_ended_is_found_over_more_than_one_transaction() {
    let store = memory();
    for number in 0..2500 {
        start(&store, started(&format!("i{number}"))).unwrap();
        if number % 2 == 0 {
            submit(&store, &id(&format!("i{number}")), completed()).unwrap();
        }
    }
    for _ in 0..2 {
        let unfinished = store.unfinished().unwrap();
        assert_eq!(unfinished.len(), 1250);
        assert!(unfinished[..2] == [id("i1"), id("i3")]);
        // Few of the walked pass.
        let few = Query {
            statuses: vec![Status::Completed],
            workflow: Some("Mail".parse().unwrap()),
            limit: 10,
            ..Query::default()
        };
        assert_eq!(store.find(&few).unwrap(), crate::Page::default());
        gather(&store);
    }
}
