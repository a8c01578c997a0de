//! Schedules, on disk and after a loss of power.

use wfhost_core::schedule::{Outcome, Overlap, Schedule, Standing, Times};

use super::crash::{Disk, Unsynced};
use super::*;
use crate::open::{create_on, open_on};

fn schedule(name: &str) -> Schedule {
    Schedule {
        name: name.parse().unwrap(),
        times: Times::new("30 2 * * *", "Europe/Berlin").unwrap(),
        workflow: "Order".parse().unwrap(),
        input: json(r#"{"a":1}"#),
        tags: vec![("team".into(), "cars".into())],
        overlap: Overlap::QueueOne,
        catch_up_ms: 1,
        catch_up_max: 2,
        until: Some(Timestamp(9)),
    }
}

fn standing(firings: u64) -> Standing {
    let mut standing = Standing::new(Timestamp(1));
    for number in 0..firings {
        let id = "a".parse().unwrap();
        standing.remember(Timestamp(number), Timestamp(7), Outcome::Triggered(id));
    }
    standing
}

#[test]
fn schedules_are_there_when_the_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = Store::open(&path, options()).unwrap();
    assert_eq!(store.schedules().unwrap(), [], "a file without the tables");
    for name in ["b", "a", "c"] {
        store.put_schedule(&schedule(name), &standing(0)).unwrap();
    }
    let changed = [("b".parse().unwrap(), standing(2))];
    store.put_standings(&changed).unwrap();
    store.remove_schedule(&"c".parse().unwrap()).unwrap();
    store.close().unwrap();
    let store = Store::open(&path, options()).unwrap();
    let expected = [(schedule("a"), standing(0)), (schedule("b"), standing(2))];
    assert_eq!(store.schedules().unwrap(), expected);
}

#[test]
fn what_a_schedule_was_told_survives_a_loss_of_power_at_any_step() {
    let name: wfhost_core::schedule::ScheduleName = "a".parse().unwrap();
    let run = |disk: &Disk| {
        let opening = create_on("a.redb".into(), Box::new(disk.clone()), options()).ok();
        let store = opening?.start().ok()?;
        let mut told = 0;
        store.put_schedule(&schedule("a"), &standing(0)).ok()?;
        for firings in 1..4 {
            let changed = [(name.clone(), standing(firings))];
            if store.put_standings(&changed).is_err() {
                return Some(told);
            }
            told = firings;
        }
        Some(told)
    };
    let whole = Disk::default();
    assert_eq!(run(&whole), Some(3));
    let steps = whole.platter().steps;
    let mut seen = std::collections::BTreeSet::new();
    for left in 0..steps {
        let disk = Disk::default();
        disk.platter().steps_left = Some(left);
        let Some(told) = run(&disk) else { continue };
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Some(left)] {
            let bytes = disk.platter().after_power_loss(unsynced);
            let disk = Box::new(Disk::holding(bytes));
            let store = open_on("a.redb".into(), disk, options()).unwrap();
            let stands = store.schedules().unwrap().pop().unwrap().1;
            let firings = stands.firings.len() as u64;
            assert!((told..=told + 1).contains(&firings), "{left}: {told}");
            seen.insert(firings);
        }
    }
    assert!(seen.len() > 2, "{seen:?}");
}
