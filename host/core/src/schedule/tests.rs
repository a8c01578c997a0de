//! What is due, and what becomes of it.

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_system(humantime::parse_rfc3339(text).unwrap())
}

fn minute(minute: u64) -> Timestamp {
    at("2030-01-31T12:00:00Z").after(minute * 60_000)
}

fn every_minute() -> Schedule {
    let times = Times::new("* * * * *", "UTC").unwrap();
    let (name, workflow) = ("tick".parse().unwrap(), "Tick".parse().unwrap());
    Schedule {
        catch_up_ms: 10 * 60_000,
        catch_up_max: 3,
        ..Schedule::new(name, times, workflow, Json::null())
    }
}

/// What is due a number of minutes after the schedule was set: whether some are missed up to that
/// minute, and which are not.
fn due(schedule: &Schedule, now: Timestamp) -> (Option<[u64; 2]>, Vec<u64>) {
    let due = schedule.due(&Standing::new(minute(0)), now);
    let since = |at: Timestamp| at.since(minute(0)).div_ceil(60_000);
    let missed = due
        .missed
        .map(|(first, until)| [since(first), since(until)]);
    (missed, due.firings.into_iter().map(since).collect())
}

#[test]
fn missed_firings_are_made_up_as_far_back_and_as_many_as_the_schedule_says() {
    let with = |catch_up_ms, catch_up_max| Schedule {
        catch_up_ms,
        catch_up_max,
        ..every_minute()
    };
    let minutes = 60_000;
    for (schedule, now, missed, firings) in [
        (with(10 * minutes, 3), minute(0), None, vec![]),
        (with(10 * minutes, 3), minute(1), None, vec![1]),
        (with(10 * minutes, 3), minute(3), None, vec![1, 2, 3]),
        // More than it takes: the newest.
        (
            with(10 * minutes, 3),
            minute(5),
            Some([1, 3]),
            vec![3, 4, 5],
        ),
        // Longer ago than it looks back; the one at the edge is in.
        (with(2 * minutes, 9), minute(5), Some([1, 3]), vec![3, 4, 5]),
        (
            with(2 * minutes, 9),
            minute(5).after(1),
            Some([1, 4]),
            vec![4, 5],
        ),
        (with(0, 9), minute(5), Some([1, 5]), vec![5]),
        // On time is what is a little late.
        (
            with(0, 9),
            minute(5).after(ON_TIME_MS),
            Some([1, 5]),
            vec![5],
        ),
        (
            with(0, 9),
            minute(5).after(ON_TIME_MS + 1),
            Some([1, 6]),
            vec![],
        ),
    ] {
        let what = format!(
            "{} {} at {now}",
            schedule.catch_up_ms, schedule.catch_up_max
        );
        assert_eq!(due(&schedule, now), (missed, firings), "{what}");
    }
}

#[test]
fn nothing_is_due_after_the_end_or_while_it_is_paused() {
    let schedule = Schedule {
        until: Some(minute(2)),
        ..every_minute()
    };
    assert_eq!(due(&schedule, minute(5)), (None, vec![1, 2]));
    assert_eq!(schedule.upcoming(minute(0), 5), [minute(1), minute(2)]);
    let mut standing = Standing::new(minute(0));
    standing.decided_until = minute(2);
    assert_eq!(schedule.next(&standing), None);
    assert_eq!(schedule.due(&standing, minute(9)), Due::default());
    let paused = Standing {
        paused: Some(Paused {
            at: minute(0),
            note: None,
        }),
        ..Standing::new(minute(0))
    };
    assert_eq!(schedule.due(&paused, minute(5)), Due::default());
    // A clock that was put back brings nothing again.
    let standing = Standing::new(minute(9));
    assert_eq!(every_minute().due(&standing, minute(5)), Due::default());
}

#[test]
fn what_becomes_of_a_firing_follows_from_the_policy_and_from_what_runs() {
    use Decision::{CancelAndQueue, Queue, Skip, Start, TerminateAndStart};
    // Nothing runs; something runs; something runs and another firing waits.
    for (overlap, idle, runs, waits) in [
        (
            Overlap::Skip,
            Start,
            Skip(SkipReason::Running),
            Skip(SkipReason::Running),
        ),
        (Overlap::Allow, Start, Start, Start),
        (Overlap::QueueOne, Start, Queue, Skip(SkipReason::Queued)),
        (Overlap::CancelOther, Start, CancelAndQueue, CancelAndQueue),
        (
            Overlap::TerminateOther,
            Start,
            TerminateAndStart,
            TerminateAndStart,
        ),
    ] {
        let decided = [(false, false), (true, false), (true, true)];
        let decided = decided.map(|(runs, waits)| overlap.decide(runs, waits));
        assert_eq!(decided, [idle, runs, waits], "{overlap:?}");
        assert_eq!(
            serde_json::to_value(overlap).unwrap(),
            overlap.as_str(),
            "it is written in one way"
        );
    }
}

#[test]
fn only_the_last_firings_are_remembered() {
    let mut standing = Standing::new(minute(0));
    for number in 1..=1_200 {
        let id = InstanceId::of_firing("tick", minute(number));
        standing.remember(minute(number), minute(number), Outcome::Started(id));
    }
    assert_eq!(standing.firings.len(), FIRINGS_KEPT);
    assert_eq!(standing.firings.back().unwrap().due_at, minute(1_200));
    assert_eq!(standing.running.len(), RUNNING_KEPT);
}

#[test]
fn a_firing_has_one_id_that_fits() {
    let mut schedule = every_minute();
    let id = schedule.instance_of(minute(0));
    assert_eq!(id.as_str(), "tick-20300131T120000Z");
    schedule.name = "x".repeat(64).parse().unwrap();
    let long = schedule.instance_of(minute(0));
    assert_eq!(long.as_str().len(), 64);
    assert_ne!(long, schedule.instance_of(minute(1)));
    for bad in ["", "a b", "a/b", &"x".repeat(65)] {
        assert!(bad.parse::<ScheduleName>().is_err(), "{bad}");
    }
}

#[test]
fn what_cannot_be_set_is_refused() {
    assert_eq!(every_minute().check(minute(0)), Ok(()));
    let tag = |key: &str| vec![(key.to_owned(), "a".to_owned())];
    for (schedule, words) in [
        (
            Schedule {
                catch_up_max: 0,
                ..every_minute()
            },
            "1 to 1000",
        ),
        (
            Schedule {
                tags: tag(TAG),
                ..every_minute()
            },
            "the tag `schedule`",
        ),
        (
            Schedule {
                until: Some(minute(0)),
                ..every_minute()
            },
            "never fire",
        ),
        (
            Schedule {
                times: Times::new("0 0 30 2 *", "UTC").unwrap(),
                ..every_minute()
            },
            "never fire",
        ),
    ] {
        let told = schedule.check(minute(0)).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_change_of_its_times_counts_from_the_change_and_another_forgets_nothing() {
    let before = every_minute();
    let standing = Standing::new(minute(0));
    let input = Schedule {
        input: Json::parse("1").unwrap(),
        ..every_minute()
    };
    let times = Schedule {
        times: Times::new("*/2 * * * *", "UTC").unwrap(),
        ..every_minute()
    };
    for (after, decided_until) in [(input, minute(0)), (times, minute(5))] {
        let stands = after.stands_after(&before, &standing, minute(5));
        assert_eq!(stands.decided_until, decided_until);
        assert_eq!(
            (stands.created_at, stands.changed_at),
            (minute(0), minute(5))
        );
    }
}
