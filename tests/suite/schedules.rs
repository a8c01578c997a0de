//! Schedules on hosts whose clock stands still until a test moves it.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wfhost::{
    Clock, Event, Host, InstanceId, Options, Outcome, Overlap, Query, Schedule, Scheduled,
    SkipReason, Status, Times, Timestamp,
};

use crate::support::{deploy, json as payload, name};

/// 2030-01-31T12:00:00Z.
const NOON: Timestamp = Timestamp(1_896_091_200_000);
const MINUTE: Duration = Duration::from_secs(60);

/// A host on a file, which may be closed and opened again.
struct World {
    dir: TempDir,
    clock: Clock,
    host: Option<Host>,
}

impl World {
    async fn new() -> Self {
        let mut world = Self {
            dir: TempDir::new().unwrap(),
            clock: Clock::still(NOON),
            host: None,
        };
        world.open(None);
        deploy(world.host(), &["scripted"]).await;
        world.host().drive_all().await.unwrap();
        world
    }

    fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    /// Opens the file; the host dies after so many submissions.
    fn open(&mut self, submissions_max: Option<u64>) {
        let mut options = Options {
            clock: self.clock.clone(),
            ..Options::default()
        };
        options.store.submissions_max = submissions_max;
        let path = self.dir.path().join("data.redb");
        self.host = Some(Host::open(&path, options).unwrap());
    }

    /// Lets time pass while no host runs.
    async fn sleep(&mut self, by: Duration) {
        self.host.take().unwrap().close().await.unwrap();
        self.clock.advance(by);
        self.open(None);
        self.host().drive_all().await.unwrap();
        self.host().quiet().await.unwrap();
    }

    async fn advance(&self, by: Duration) {
        self.host().advance_time(by);
        self.host().quiet().await.unwrap();
    }

    async fn put(&self, schedule: &Schedule) -> Scheduled {
        self.host().put_schedule(schedule.clone()).await.unwrap().0
    }

    async fn tick(&self) -> Scheduled {
        self.host()
            .schedule(&"tick".parse().unwrap())
            .await
            .unwrap()
    }

    /// What became of the firings, the oldest first: by the minute after noon at which they were
    /// due.
    async fn fired(&self) -> Vec<String> {
        let standing = self.tick().await.standing;
        let told = standing.firings.iter().map(|firing| {
            let minute = firing.due_at.since(NOON) / 60_000;
            match &firing.outcome {
                Outcome::Started(id) => {
                    let expected = InstanceId::of_firing("tick", firing.due_at);
                    assert_eq!(*id, expected);
                    format!("{minute} started")
                }
                Outcome::Triggered(_) => format!("{minute} triggered"),
                Outcome::Skipped(SkipReason::Running) => format!("{minute} running"),
                Outcome::Skipped(SkipReason::Queued) => format!("{minute} queued"),
                Outcome::Skipped(SkipReason::Overtaken) => format!("{minute} overtaken"),
                Outcome::Skipped(SkipReason::Missed { until }) => {
                    format!("{minute} to {} missed", until.since(NOON).div_ceil(60_000))
                }
                Outcome::Failed(why) => format!("{minute} failed: {why}"),
            }
        });
        told.collect()
    }

    /// The instance of the firing so many minutes after noon.
    fn id(&self, minute: u64) -> InstanceId {
        InstanceId::of_firing("tick", NOON.after(minute * 60_000))
    }

    async fn status(&self, minute: u64) -> Option<Status> {
        let id = self.id(minute);
        let there = self.host().has_instance(&id).await.unwrap();
        match there {
            true => Some(self.host().instance(&id).await.unwrap().status()),
            false => None,
        }
    }

    async fn go(&self, minute: u64) {
        let event = Event {
            name: name("go"),
            payload: payload("1"),
        };
        let id = self.id(minute);
        self.host().raise_event(&id, event, None).await.unwrap();
        self.host().quiet().await.unwrap();
    }

    async fn counted(&self) -> Value {
        let entry = self.host().state("n").await.unwrap();
        entry.map_or(json!(0), |entry| entry.value.value())
    }
}

/// One that runs this script every minute.
fn every_minute(script: Value) -> Schedule {
    let times = Times::new("* * * * *", "UTC").unwrap();
    let script = payload(&script.to_string());
    Schedule::new("tick".parse().unwrap(), times, name("Script"), script)
}

fn counting() -> Schedule {
    every_minute(json!([{ "add": "n" }]))
}

fn waiting(overlap: Overlap) -> Schedule {
    Schedule {
        overlap,
        ..every_minute(json!([{ "event": "go" }]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_starts_an_instance_that_tells_of_it() {
    let world = World::new().await;
    let set = Schedule {
        tags: vec![("team".into(), "cars".into())],
        ..counting()
    };
    assert_eq!(world.put(&set).await.next(), Some(NOON.after(60_000)));
    world.advance(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(world.fired().await, [""; 0]);
    world.advance(Duration::from_millis(1)).await;
    world.advance(MINUTE).await;
    assert_eq!(world.fired().await, ["1 started", "2 started"]);
    assert_eq!(world.counted().await, 2);
    let query = Query {
        tags: vec![("schedule".into(), "tick".into())],
        limit: 10,
        ..Query::default()
    };
    let found = world.host().find(&query).await.unwrap().rows;
    let ids: Vec<_> = found.into_iter().map(|row| row.id).collect();
    assert_eq!(ids, [world.id(1), world.id(2)]);
    let instance = world.host().instance(&ids[0]).await.unwrap();
    let tags = &instance.started().tags;
    for (key, value) in [
        ("team", "cars"),
        ("scheduled_at", "2030-01-31T12:01:00.000Z"),
    ] {
        assert!(tags.contains(&(key.into(), value.into())), "{tags:?}");
    }
    assert_eq!(world.tick().await.standing.running, []);
}

/// It dies after each submission, also between a start and the note that it was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_firing_starts_one_instance_wherever_the_host_dies() {
    let mut found_again = 0;
    for submissions_max in 1.. {
        let mut world = World::new().await;
        world.put(&counting()).await;
        world.host.take().unwrap().close().await.unwrap();
        world.clock.advance(MINUTE);
        world.open(Some(submissions_max));
        let survived = match world.host().drive_all().await {
            Ok(()) => world.host().quiet().await.is_ok(),
            Err(_) => false,
        };
        drop(world.host.take());
        world.open(None);
        let is_there = world.host().has_instance(&world.id(1)).await.unwrap();
        found_again += usize::from(is_there && world.fired().await.is_empty());
        world.host().drive_all().await.unwrap();
        world.host().quiet().await.unwrap();
        assert_eq!(world.fired().await, ["1 started"], "{submissions_max}");
        assert_eq!(world.counted().await, 1, "{submissions_max}");
        if survived {
            break;
        }
    }
    assert!(found_again > 0, "none died between the two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_while_no_host_ran_is_made_up_as_the_schedule_says() {
    let mut world = World::new().await;
    let set = Schedule {
        overlap: Overlap::Allow,
        catch_up_ms: 3 * 60_000,
        catch_up_max: 3,
        ..counting()
    };
    world.put(&set).await;
    world.sleep(10 * MINUTE).await;
    let expected = ["1 to 8 missed", "8 started", "9 started", "10 started"];
    assert_eq!(world.fired().await, expected);
    assert_eq!(world.counted().await, 3);
    world
        .put(&Schedule {
            catch_up_ms: 0,
            ..set
        })
        .await;
    world.sleep(5 * MINUTE).await;
    let last = &world.fired().await[4..];
    assert_eq!(last, ["11 to 15 missed", "15 started"]);
    world.sleep(2 * MINUTE + Duration::from_secs(30)).await;
    let last = &world.fired().await[6..];
    assert_eq!(last, ["16 to 18 missed"], "half a minute is not on time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_while_an_instance_runs_does_what_the_schedule_says() {
    use Status::{Cancelled, Completed, Running, Terminated};
    for (overlap, statuses, fired) in [
        (
            Overlap::Skip,
            [Some(Running), None, None],
            vec!["1 started", "2 running", "3 running"],
        ),
        (
            Overlap::Allow,
            [Some(Running); 3],
            vec!["1 started", "2 started", "3 started"],
        ),
        (
            Overlap::QueueOne,
            [Some(Running), None, None],
            vec!["1 started", "3 queued"],
        ),
        (
            Overlap::CancelOther,
            [Some(Cancelled), Some(Cancelled), Some(Running)],
            vec!["1 started", "2 started", "3 started"],
        ),
        (
            Overlap::TerminateOther,
            [Some(Terminated), Some(Terminated), Some(Running)],
            vec!["1 started", "2 started", "3 started"],
        ),
    ] {
        let world = World::new().await;
        world.put(&waiting(overlap)).await;
        for _ in 0..3 {
            world.advance(MINUTE).await;
        }
        let found = [
            world.status(1).await,
            world.status(2).await,
            world.status(3).await,
        ];
        assert_eq!(found, statuses, "{overlap:?}");
        assert_eq!(world.fired().await, fired, "{overlap:?}");
        if overlap == Overlap::QueueOne {
            assert_eq!(
                world.tick().await.standing.queued,
                Some(NOON.after(120_000))
            );
            world.go(1).await;
            assert_eq!(world.status(1).await, Some(Completed));
            assert_eq!(world.status(2).await, Some(Running), "it waited for that");
            assert_eq!(world.tick().await.standing.queued, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_that_waits_is_not_lost_with_the_host() {
    let mut world = World::new().await;
    world.put(&waiting(Overlap::QueueOne)).await;
    world.advance(MINUTE).await;
    world.advance(MINUTE).await;
    world.sleep(Duration::ZERO).await;
    assert_eq!(world.status(2).await, None);
    world.go(1).await;
    assert_eq!(world.status(2).await, Some(Status::Running));
    assert_eq!(world.fired().await, ["1 started", "2 started"]);
}

/// Nobody asks whether all is quiet: the host itself hears of the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_hears_of_the_end_that_a_firing_waits_for() {
    let world = World::new().await;
    world.put(&waiting(Overlap::QueueOne)).await;
    world.advance(MINUTE).await;
    world.advance(MINUTE).await;
    let mut observed = world.host().observe();
    let event = Event {
        name: name("go"),
        payload: payload("1"),
    };
    let id = world.id(1);
    world.host().raise_event(&id, event, None).await.unwrap();
    let started = async { while observed.recv().await.unwrap().id != world.id(2) {} };
    let started = tokio::time::timeout(Duration::from_secs(60), started).await;
    started.expect("it starts by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_paused_resumed_changed_triggered_and_deleted_while_it_is_driven() {
    let world = World::new().await;
    let host = world.host();
    let tick = "tick".parse().unwrap();
    world.put(&counting()).await;
    let paused = host
        .pause_schedule(&tick, Some("lunch".into()))
        .await
        .unwrap();
    assert_eq!(paused.next(), None);
    world.advance(5 * MINUTE).await;
    host.resume_schedule(&tick).await.unwrap();
    world.advance(MINUTE).await;
    assert_eq!(
        world.fired().await,
        ["6 started"],
        "what was paused is not made up"
    );

    let changed = Schedule {
        times: Times::new("*/5 * * * *", "UTC").unwrap(),
        ..counting()
    };
    assert_eq!(
        world.put(&changed).await.next(),
        Some(NOON.after(10 * 60_000))
    );
    world.advance(4 * MINUTE).await;
    assert_eq!(world.fired().await, ["6 started", "10 started"]);
    // The same again changes nothing.
    let before = world.tick().await;
    assert_eq!(world.put(&changed).await, before);

    host.pause_schedule(&tick, None).await.unwrap();
    let once = host
        .trigger_schedule(&tick, Some("mail-7".into()))
        .await
        .unwrap();
    let again = host
        .trigger_schedule(&tick, Some("mail-7".into()))
        .await
        .unwrap();
    assert_eq!(once, again);
    // At noon and ten minutes there is a firing; a trigger takes nothing from it.
    let triggered = host.trigger_schedule(&tick, None).await.unwrap();
    assert_ne!(triggered, world.id(10));
    host.quiet().await.unwrap();
    assert_eq!(world.counted().await, 4);
    assert_eq!(world.fired().await[2..], ["10 triggered", "10 triggered"]);

    host.delete_schedule(&tick).await.unwrap();
    world.advance(60 * MINUTE).await;
    assert_eq!(world.counted().await, 4);
    let gone = host.schedule(&tick).await.unwrap_err().to_string();
    assert!(gone.contains("no schedule `tick`"), "{gone}");
    assert!(host.delete_schedule(&tick).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_host_that_drives_all_fires() {
    let mut world = World::new().await;
    world.put(&counting()).await;
    world.host.take().unwrap().close().await.unwrap();
    world.open(None);
    world.advance(MINUTE).await;
    assert_eq!(world.fired().await, [""; 0]);
    world.host().drive_all().await.unwrap();
    world.host().quiet().await.unwrap();
    assert_eq!(world.fired().await, ["1 started"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_is_told_and_the_next_firing_is_tried() {
    let world = World::new().await;
    let host = world.host();
    let with = |workflow: &str, input: &str| Schedule {
        workflow: name(workflow),
        input: payload(input),
        ..counting()
    };
    for (schedule, words) in [
        (with("Nobody", "null"), "no module offers"),
        (with("Script", "7"), "refused its input"),
    ] {
        let told = host.put_schedule(schedule).await.unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    world.put(&counting()).await;
    // Somebody else has the id of the next firing.
    let taken = wfhost::StartRequest {
        id: Some(world.id(1)),
        ..wfhost::StartRequest::new(name("Script"), payload("[]"))
    };
    host.start(taken).await.unwrap();
    world.advance(MINUTE).await;
    world.advance(MINUTE).await;
    let fired = world.fired().await;
    assert!(
        fired[0].contains("1 failed: an instance that is none"),
        "{fired:?}"
    );
    assert_eq!(fired[1..], ["2 started"]);
    assert_eq!(world.counted().await, 1);
}
