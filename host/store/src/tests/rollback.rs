//! Going back to what was before.

use redb::ReadableTable;
use wfhost_core::{Deployment, DeploymentKind, DeploymentNumber};

use super::crash::{Disk, Unsynced};
use super::deploying::{assert_bindings, bindings, deploy, deploy_all, module, offering};
use super::*;
use crate::open::{create_on, open_on};
use crate::{BindingError, GcOptions, Names};

fn back(store: &Store) -> Result<Deployment, BindingError> {
    store.rollback(Some("ann"), Timestamp(9))
}

fn back_to(store: &Store, number: u64) -> Result<Option<Deployment>, BindingError> {
    store.rollback_to(DeploymentNumber(number), None, Timestamp(9))
}

#[test]
fn each_rollback_goes_one_further_back_until_nothing_is_bound() {
    let store = memory();
    deploy(&store, "one");
    deploy_all(&store, vec![offering("two", &["Order"], &["Pay"])], None);
    deploy_all(&store, vec![module("three", "Order")], Some(700));
    store.promote(&Names::All, None, Timestamp(6)).unwrap();
    assert_bindings(&store, &["Order:three", "Pay:two"]);
    let chain: [(u64, &[&str]); 4] = [
        (4, &["Order:two+three 700", "Pay:two"]),
        (3, &["Order:two", "Pay:two"]),
        (2, &["Order:one"]),
        (1, &[]),
    ];
    for (of, expected) in chain {
        let made = back(&store).unwrap();
        let of = DeploymentNumber(of);
        assert_eq!(made.kind, DeploymentKind::Rollback { of });
        assert_eq!(made.by.as_deref(), Some("ann"));
        assert!(!made.moved.is_empty() && made.modules.is_empty());
        assert_bindings(&store, expected);
    }
    let refused = back(&store).unwrap_err();
    assert!(matches!(refused, BindingError::NothingToUndo), "{refused}");
    assert_eq!(store.deployments(None, 99).unwrap().len(), 8);
}

#[test]
fn what_is_deployed_after_a_rollback_stands_on_what_that_went_back_to() {
    let store = memory();
    for label in ["one", "two", "three"] {
        deploy(&store, label);
    }
    back(&store).unwrap();
    back(&store).unwrap();
    assert_bindings(&store, &["Order:one"]);
    deploy(&store, "four");
    back(&store).unwrap();
    assert_bindings(&store, &["Order:one"]);
    back(&store).unwrap();
    assert_bindings(&store, &[]);
    assert!(back(&store).is_err());
}

/// What each deployment of a random past left is what going back to it brings.
#[test]
fn any_past_state_is_brought_back_by_its_number() {
    for seed in 1..30u64 {
        let mut coin = seed;
        let mut toss = |sides: u64| {
            coin ^= coin << 13;
            coin ^= coin >> 7;
            coin ^= coin << 17;
            coin % sides
        };
        let store = memory();
        let mut states: Vec<Vec<String>> = vec![vec![]];
        for _ in 0..40 {
            let label = ["one", "two", "three", "four"][toss(4) as usize];
            let names: &[&str] = [&["Order"][..], &["Ship"], &["Order", "Ship"]][toss(3) as usize];
            let made = match toss(7) {
                0 | 1 => back(&store).ok(),
                2 if states.len() > 1 => {
                    let number = 1 + toss(states.len() as u64 - 1);
                    let made = back_to(&store, number).unwrap();
                    assert_eq!(bindings(&store), states[number as usize], "{seed}");
                    made
                }
                3 => store.promote(&Names::All, None, Timestamp(1)).ok(),
                4 => store.abort(&Names::All, None, Timestamp(1)).ok(),
                5 => {
                    let new = offering(&format!("{label}-{names:?}"), names, &[]);
                    deploy_all(&store, vec![new], Some(100))
                }
                _ => {
                    let new = offering(&format!("{label}-{names:?}"), names, &[]);
                    deploy_all(&store, vec![new], None)
                }
            };
            if let Some(made) = made {
                assert_eq!(made.number.0 as usize, states.len());
                states.push(bindings(&store));
            }
            assert_eq!(states.last(), Some(&bindings(&store)));
        }
        assert!(states.len() > 10, "{seed}");
    }
}

#[test]
fn going_back_to_a_number_says_what_it_cannot_do() {
    let store = memory();
    let none = back_to(&store, 1).unwrap_err();
    let told = none.to_string();
    assert_eq!(told, "there is no deployment 1; there is none at all");
    deploy(&store, "one");
    deploy(&store, "two");
    for number in [0, 3] {
        let told = back_to(&store, number).unwrap_err().to_string();
        let expected = format!("there is no deployment {number}; there are 1 to 2");
        assert_eq!(told, expected);
    }
    assert_eq!(back_to(&store, 2).unwrap(), None, "all stands so");
    back_to(&store, 1).unwrap();
    assert_bindings(&store, &["Order:one"]);
    back_to(&store, 2).unwrap();
    assert_bindings(&store, &["Order:two"]);
    // The second counts again.
    back(&store).unwrap();
    assert_bindings(&store, &["Order:one"]);
}

#[test]
fn a_deployment_that_moved_nothing_is_not_what_a_rollback_undoes() {
    let store = memory();
    deploy(&store, "one");
    deploy(&store, "two");
    // It brings a module, and another that has all its names.
    let made = deploy_all(
        &store,
        vec![module("three", "Order"), module("two", "Order")],
        None,
    );
    assert!(made.unwrap().moved.is_empty());
    back(&store).unwrap();
    assert_bindings(&store, &["Order:one"]);
}

#[test]
fn a_rollback_that_needs_a_module_that_was_removed_is_refused() {
    let store = memory();
    deploy(&store, "one");
    deploy(&store, "two");
    let gc = |keep_for_rollback| {
        let options = GcOptions {
            keep_for_rollback,
            ..GcOptions::default()
        };
        store.gc(options).unwrap().removed.len()
    };
    assert_eq!(gc(true), 0, "the next rollback needs it");
    assert_eq!(gc(false), 1);
    for refused in [back(&store).unwrap_err(), back_to(&store, 1).unwrap_err()] {
        assert!(
            matches!(&refused, BindingError::ModuleRemoved { module, .. } if *module == Digest::of(b"one")),
            "{refused}"
        );
    }
    assert_bindings(&store, &["Order:two"]);
    deploy(&store, "one");
    assert_bindings(&store, &["Order:one"]);
    back(&store).unwrap();
    assert_bindings(&store, &["Order:two"]);
    back(&store).unwrap();
    assert_bindings(&store, &["Order:one"]);
}

#[test]
fn a_binding_that_does_not_stand_as_it_was_left_is_not_moved() {
    let store = memory();
    deploy(&store, "one");
    deploy(&store, "two");
    // No way leads here but a row that was lost.
    let lost = store.inner.write(|transaction| {
        let mut table = transaction.open_table(crate::tables::DEPLOYMENTS)?;
        let row = table.get((0, 1))?.unwrap().value().to_vec();
        let mut row: Deployment = crate::tables::read_json_row("deployments", &row)?;
        row.number = DeploymentNumber(2);
        let row = crate::tables::write_json_row(&row);
        table.insert((0, 2), row.as_slice())?;
        Ok(())
    });
    lost.unwrap();
    // It says of itself that the first counts.
    let refused = back(&store).unwrap_err();
    assert!(
        matches!(refused, BindingError::MovedSince { .. }),
        "{refused}"
    );
    assert_bindings(&store, &["Order:two"]);
}

/// Deployments of all kinds until the power fails. Returns the states that were left for certain,
/// and the one that was to come.
fn deploy_and_go_back(store: &Store) -> (Vec<Vec<String>>, Option<Vec<String>>) {
    let both = |label| offering(label, &["Order", "Ship"], &[]);
    let steps: [(&dyn Fn() -> bool, &[&str]); 7] = [
        (
            &|| {
                let modules = vec![both("one")];
                store.deploy(modules, None, None, Timestamp(1)).is_ok()
            },
            &["Order:one", "Ship:one"],
        ),
        (
            &|| {
                let modules = vec![both("two"), offering("pay", &[], &["Pay"])];
                store.deploy(modules, None, None, Timestamp(1)).is_ok()
            },
            &["Order:two", "Ship:two", "Pay:pay"],
        ),
        (&|| back(store).is_ok(), &["Order:one", "Ship:one"]),
        (
            &|| {
                let share = Some(wfhost_core::Share::new(5).unwrap());
                store
                    .deploy(vec![both("two")], share, None, Timestamp(1))
                    .is_ok()
            },
            &["Order:one+two 5", "Ship:one+two 5"],
        ),
        (
            &|| store.promote(&Names::All, None, Timestamp(1)).is_ok(),
            &["Order:two", "Ship:two"],
        ),
        (&|| back_to(store, 1).is_ok(), &["Order:one", "Ship:one"]),
        (
            &|| store.gc(GcOptions::default()).is_ok(),
            &["Order:one", "Ship:one"],
        ),
    ];
    let owned = |state: &[&str]| state.iter().map(|it| (*it).to_owned()).collect();
    let mut left = vec![vec![]];
    for (step, state) in steps {
        let state: Vec<String> = owned(state);
        if !step() {
            return (left, Some(state));
        }
        left.push(state);
    }
    (left, None)
}

#[test]
fn a_crash_leaves_all_of_a_deployment_or_nothing() {
    let run = |steps: Option<u64>| {
        let disk = Disk::default();
        let store = create_on("disk".into(), Box::new(disk.clone()), options()).unwrap();
        let store = store.start().unwrap();
        disk.platter().steps = 0;
        disk.platter().steps_left = steps;
        let states = deploy_and_go_back(&store);
        (disk, states)
    };
    let steps = run(None).0.platter().steps;
    assert!(steps > 40, "{steps}");
    for step in 0..steps {
        let (disk, (left, under_way)) = run(Some(step));
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some(step)] {
            let bytes = disk.platter().after_power_loss(unsynced);
            let disk = Disk::holding(bytes);
            let store = open_on("disk".into(), Box::new(disk), options()).unwrap();
            let now = bindings(&store);
            let last = left.last().unwrap();
            assert!(
                now == *last || Some(&now) == under_way.as_ref(),
                "{step}: {now:?}"
            );
            let rows = store.deployments(None, 99).unwrap().len();
            // The collection is none.
            assert!((left.len() - 1..=left.len()).contains(&(rows + usize::from(left.len() == 8))));
            for info in store.modules().unwrap() {
                assert!(store.module_bytes(info.digest).unwrap().is_some());
            }
            deploy(&store, "next");
            back(&store).unwrap();
            assert_eq!(bindings(&store), now);
        }
    }
}
