//! Writes to the state on conditions, and values whose time is over.

use super::audit::audit;
use super::*;

#[test]
fn a_write_on_a_condition_is_made_where_every_key_has_its_version() {
    let store = memory();
    let at = Timestamp(100);
    let on = |write: StateWrite, version: u64| (write, Some(version));
    let brief = StateWrite {
        expires_at: Some(at),
        ..set("brief", "1")
    };
    outside(&store, set("a", "1"));
    outside(&store, brief);
    for round in 0..2 {
        let now = store.submitted().0;
        let a = store.state_get("a", at).unwrap().unwrap().version;
        let refused = store.write_state_if(
            vec![
                on(set("a", "2"), a + 7),
                on(set("x", "2"), 1),
                (set("y", "2"), None),
            ],
            at,
        );
        let Err(crate::WriteError::Versions(others)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(others, [("a".to_owned(), a), ("x".to_owned(), 0)]);
        assert_eq!(store.submitted().0, now, "all or none");
        // What has expired counts as absent.
        let written = vec![
            on(set("a", "2"), a),
            on(set("brief", "2"), 0),
            on(delete("x"), 0),
            (set("y", "2"), None),
        ];
        if round == 0 {
            let position = store.write_state_if(written, at).unwrap();
            assert_eq!(position.0, now + 1);
        } else {
            assert!(
                store.write_state_if(written, at).is_err(),
                "`brief` is there by now"
            );
        }
        gather(&store);
    }
}

#[test]
fn of_writers_on_the_same_version_one_wins() {
    let store = Store::in_memory(Options {
        gather_bytes: 500,
        ..options()
    })
    .unwrap();
    let add = |store: &Store| loop {
        let entry = store.state_get("n", Timestamp(1)).unwrap();
        let (value, version) = entry.map_or((0, 0), |it| {
            (it.value.value().as_i64().unwrap(), it.version)
        });
        let write = set("n", &(value + 1).to_string());
        match store.write_state_if(vec![(write, Some(version))], Timestamp(1)) {
            Ok(position) => break store.wait_durable(position).unwrap(),
            Err(crate::WriteError::Versions(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| add(&store)));
        }
    });
    let entry = store.state_get("n", Timestamp(1)).unwrap().unwrap();
    assert_eq!(entry.value.as_str(), "200");
}

#[test]
fn what_has_expired_is_swept_and_nothing_else() {
    let store = memory();
    let until = |key: &str, at: u64| StateWrite {
        value: Some(large("x", 70_000)),
        expires_at: Some(Timestamp(at)),
        ..set(key, "0")
    };
    for (key, at) in [("a", 30), ("b", 10), ("c", 20), ("d", 10), ("e", 99)] {
        outside(&store, until(key, at));
    }
    let rows = |store: &Store| audit(store).state;
    let sweep = |now: u64, limit: usize| store.sweep_expired(Timestamp(now), limit).unwrap();
    assert_eq!(sweep(50, 9), 0, "the log still holds them");
    gather(&store);
    assert_eq!((sweep(9, 9), sweep(50, 0), rows(&store)), (0, 0, 5));
    // Written again, in the log only and gathered.
    outside(&store, set("b", "1"));
    outside(&store, until("c", 40));
    gather(&store);
    outside(&store, set("d", "1"));
    assert_eq!(
        (sweep(30, 1), rows(&store)),
        (1, 4),
        "`d` as it was gathered"
    );
    let early = store.snapshot(Timestamp(29));
    assert_eq!(sweep(30, 9), 0, "a snapshot still shows `a`");
    assert!(early.get("a").unwrap().is_some());
    drop(early);
    assert_eq!((sweep(30, 9), rows(&store)), (1, 3));
    assert_eq!((sweep(50, 9), rows(&store)), (1, 2));
    gather(&store);
    let keys: Vec<_> = state(&store).into_iter().map(|item| item.0).collect();
    assert_eq!(keys, ["b", "d", "e"]);
    rows(&store);
}

#[test]
fn a_sweep_leaves_a_payload_that_the_log_names() {
    let store = memory();
    let value = large("x", 70_000);
    let write = StateWrite {
        value: Some(value.clone()),
        expires_at: Some(Timestamp(10)),
        ..set("k", "0")
    };
    outside(&store, write);
    start(&store, started("a")).unwrap();
    gather(&store);
    outside(&store, set("other", "1"));
    gather(&store);
    let payloads = |store: &Store| audit(store).payloads;
    assert_eq!(payloads(&store), 1, "only the state names it");
    submit(&store, &id("a"), event("Approval", value.clone())).unwrap();
    store.wait_durable(store.submitted()).unwrap();
    assert_eq!(store.sweep_expired(Timestamp(10), 9).unwrap(), 1);
    assert_eq!(payloads(&store), 1);
    assert_eq!(store.history(&id("a")).unwrap().unwrap().len(), 2);
    gather(&store);
    assert_eq!(payloads(&store), 1, "the history names it");
    submit(&store, &id("a"), completed()).unwrap();
    store.purge(&[id("a")]).unwrap();
    assert_eq!(payloads(&store), 0);
}
