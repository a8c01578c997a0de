//! Workflows run in tests: virtual time, scripted worlds, and what a report tells.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use wfhost_sdk::testing::{self, End};
use wfhost_sdk::{
    ActivityContext, Context, Error, Failure, Result, RetryPolicy, activity, join, select, workflow,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits for an event or gives up, in a loop; each event is worth its number.
#[workflow]
async fn collect(ctx: Context, goal: u32) -> Result<u32> {
    let mut sum = 0;
    while sum < goal {
        ctx.set_custom_status(&sum)?;
        sum += select! {
            number = ctx.event::<u32>("number") => number?,
            slept = ctx.sleep(seconds(60)) => {
                slept?;
                log::info!("nothing for a minute");
                ctx.call::<give>(&1).await?
            }
        };
    }
    Ok(sum)
}

#[activity]
fn give(ctx: ActivityContext, number: u32) -> Result<u32> {
    let given = ctx.state().get::<u32>("given")?.unwrap_or(0) + 1;
    ctx.state().set("given", &given)?;
    if given > 1 {
        return Err(Failure::new("enough", "given once already").into());
    }
    Ok(number)
}

#[test]
fn time_jumps_from_one_thing_to_the_next() {
    let report = testing::workflow::<collect>(10)
        .event("NUMBER", &2)
        .event_at(seconds(70), "number", &7)
        .real_activity::<give>()
        .run();
    assert_eq!(report.output().unwrap(), &10);
    assert_eq!(report.elapsed(), seconds(70));
    assert_eq!(report.log()[0].message, "nothing for a minute");
    assert_eq!(report.custom_status(), Some(json!(3)));
    let call = &report.activities()[0];
    assert_eq!((call.name.as_str(), &call.input), ("give", &json!(1)));
    assert_eq!(call.asked_at.to_string(), "2026-01-01T00:01:00.000Z");
}

#[test]
fn the_state_that_a_failed_attempt_wrote_is_dropped() {
    let scenario = || testing::workflow::<collect>(5).real_activity::<give>();
    let report = scenario().run();
    assert_eq!(report.failure().unwrap().kind(), "enough");
    assert_eq!(report.state("given"), Some(1));
    let report = scenario().state("given", &9).run();
    assert_eq!(report.elapsed(), seconds(60));
    assert_eq!(report.state("given"), Some(9));
}

#[test]
fn a_run_can_be_looked_at_while_it_waits() {
    let report = testing::workflow::<collect>(5).run_until(seconds(30));
    assert_eq!(
        report.waits_for(),
        [
            "the event \"number\"",
            "the timer of 2026-01-01T00:01:00.000Z"
        ]
    );
    assert_eq!(report.elapsed(), seconds(30));
    let failure = report.output().unwrap_err();
    assert_eq!(
        failure.message(),
        "the workflow still waits for the event \"number\" and the timer of \
         2026-01-01T00:01:00.000Z"
    );
}

#[test]
fn a_cancellation_is_shown_to_the_workflow() {
    let report = testing::workflow::<collect>(5).cancel_at(seconds(3)).run();
    assert_eq!(report.end(), &End::Cancelled);
    assert_eq!(report.output().unwrap_err().kind(), "cancelled");
    assert_eq!(report.elapsed(), seconds(3));
}

#[test]
#[should_panic(
    expected = "called the activity \"give\", of which this test says nothing: add \
                `.activity(\"give\", |input: Input| Ok(output))`"
)]
fn an_activity_that_is_not_scripted_is_named_with_what_to_add() {
    testing::workflow::<collect>(5).run();
}

#[test]
#[should_panic(expected = "is not done after 100000 turns")]
fn a_workflow_without_end_ends_its_test() {
    testing::workflow::<collect>(u32::MAX)
        .activity("give", |_: u32| Ok(0))
        .run();
}

/// Calls an activity by a policy, and tells what came of it.
#[workflow]
async fn tries(ctx: Context, limits: (u64, u64)) -> Result<String> {
    let call = ctx
        .activity::<u32>("Try", &())
        .retry(RetryPolicy::attempts(5).never_on("final"))
        .attempt_timeout(seconds(limits.0))
        .total_timeout(seconds(limits.1));
    Ok(match call.await {
        Ok(number) => number.to_string(),
        Err(failure) => failure.kind().to_owned(),
    })
}

#[test]
fn retries_and_timeouts_run_in_virtual_time() {
    // Limits of an attempt and of all, what an attempt takes, how many fail as what; the
    // outcome, the attempts and the seconds that passed.
    for (limits, takes, failures, kind, outcome, attempts, elapsed) in [
        ((9, 99), 0, 0, "busy", "0", 1, 0),
        ((9, 99), 0, 3, "busy", "3", 4, 1 + 2 + 4),
        ((9, 99), 0, 9, "busy", "busy", 5, 1 + 2 + 4 + 8),
        ((9, 99), 0, 9, "final", "final", 1, 0),
        ((9, 99), 2, 1, "busy", "1", 2, 2 + 1 + 2),
        ((1, 99), 2, 0, "busy", "timeout", 5, 5 + 1 + 2 + 4 + 8),
        ((9, 7), 0, 9, "busy", "busy", 3, 1 + 2),
        ((9, 6), 5, 9, "busy", "busy", 1, 5),
        ((9, 8), 5, 9, "busy", "timeout", 2, 8),
    ] {
        let mut failed = 0;
        let report = testing::workflow::<tries>(limits)
            .takes("Try", seconds(takes))
            .activity("Try", move |(): ()| {
                if failed < failures {
                    failed += 1;
                    return Err(Error::new(kind, "it failed"));
                }
                Ok(failed)
            })
            .run();
        let case = format!("{limits:?}, {takes}, {failures}, {kind}");
        assert_eq!(report.output().unwrap(), outcome, "{case}");
        assert_eq!(report.activities()[0].attempts, attempts, "{case}");
        assert_eq!(report.elapsed(), seconds(elapsed), "{case}");
    }
}

/// Counts generations, and gathers one event in each.
#[workflow]
async fn gathers(ctx: Context, mut numbers: Vec<u32>) -> Result<Vec<u32>> {
    let mut unread = Box::pin(ctx.event::<u32>("number"));
    let _ = futures::poll!(&mut unread);
    ctx.sleep(seconds(1)).await?;
    // The event was handed over meanwhile, but nobody read it.
    drop(unread);
    numbers.push(ctx.event("number").await?);
    if numbers.len() == 3 {
        return Ok(numbers);
    }
    Err(ctx.continue_as_new(&numbers)?.into())
}

#[test]
fn generations_follow_each_other_and_no_event_is_lost() {
    let scenario = || {
        testing::workflow::<gathers>(Vec::new())
            .event("number", &1)
            .event("number", &2)
            .event_at(seconds(2), "number", &3)
    };
    let report = scenario().run();
    assert_eq!(report.output().unwrap(), &[1, 2, 3]);
    assert_eq!(report.generation(), 2);
    assert_eq!(report.elapsed(), seconds(3));

    let report = scenario().single_generation().run();
    assert_eq!(report.end(), &End::ContinuedAsNew(json!([1])));
}

/// Is approved by an update, and tells about itself meanwhile.
#[workflow]
async fn approval(ctx: Context) -> Result<String> {
    let by = Rc::new(RefCell::new(None));
    let (given, asked) = (Rc::clone(&by), Rc::clone(&by));
    ctx.on_validated_update(
        "approve",
        |name: &String| match name.as_str() {
            "" => Err(Error::new("nameless", "say who you are")),
            _ => Ok(()),
        },
        move |name: String| Ok(given.replace(Some(name))),
    );
    let clock = ctx.clone();
    ctx.on_query("by", move |(): ()| {
        Ok((asked.borrow().clone(), clock.now()))
    });
    ctx.until(|| by.borrow().is_some()).await?;
    Ok(by.take().unwrap_or_default())
}

#[test]
fn updates_and_queries_are_answered_at_their_time() {
    let report = testing::workflow::<approval>(())
        .update_at(seconds(1), "approve", "")
        .update_at(seconds(1), "refuse", "")
        .query_at(seconds(2), "by", &())
        .update_at(seconds(3), "approve", "Ada")
        .run();
    assert_eq!(report.output().unwrap(), "Ada");
    let outcomes: Vec<_> = report
        .updates()
        .iter()
        .map(|update| update.outcome.as_ref().map_err(Failure::kind))
        .collect();
    assert_eq!(
        outcomes,
        [Err("nameless"), Err("unknown-update"), Ok(&Value::Null)]
    );
    let answer = report.queries()[0].outcome.as_ref().unwrap();
    assert_eq!(answer, &json!([null, "2026-01-01T00:00:02.000Z"]));

    let waiting = testing::workflow::<approval>(()).run();
    assert_eq!(
        waiting.waits_for(),
        ["an update: it has asked for nothing else"]
    );
    let (by, _): (Option<String>, String) = waiting.query("by", &()).unwrap();
    assert_eq!(by, None);
    assert_eq!(
        waiting.query::<Value>("why", &()).unwrap_err().kind(),
        "unknown-query"
    );
}

/// Reaches everything else that a context has.
#[workflow]
async fn everything(ctx: Context) -> Result<Value> {
    let info = ctx.info();
    let (one, two) = join!(
        ctx.child::<u32>("Double", &4),
        ctx.child::<u32>("Double", &5).id("five").detached(),
    );
    ctx.raise_event("other", "hello", &1).await?;
    ctx.raise_event(ctx.id(), "hello", &2).await?;
    ctx.state().set("key", "value")?;
    Ok(json!({
        "id": info.id,
        "workflow": info.workflow,
        "generation": info.generation,
        "children": [one?, 0],
        "detached": two?,
        "event": ctx.event::<u32>("hello").await?,
        "patched": [ctx.patched("new"), ctx.patched("newer")],
        "random": ctx.random() != ctx.random(),
        "uuid": ctx.uuid(),
        "keys": ctx.state().scan::<String>("k", 10)?.len(),
    }))
}

#[test]
fn whatever_a_workflow_can_ask_is_answered_the_same_each_time() {
    let run = || {
        testing::workflow::<everything>(())
            .id("order-1")
            .child("Double", |number: u32| Ok(number * 2))
            .without_patch("newer")
            .run()
    };
    let (report, again) = (run(), run());
    let mut output = report.output().unwrap().clone();
    assert_eq!(&output, again.output().unwrap());
    output["uuid"].take();
    assert_eq!(
        output,
        json!({
            "id": "order-1", "workflow": "everything", "generation": 0,
            "children": [8, 0], "detached": "five", "event": 2,
            "patched": [true, false], "random": true, "uuid": null, "keys": 1,
        })
    );
    assert_eq!(report.children().len(), 2);
    assert_eq!(report.raised()[0].instance, "other");
    assert_eq!(report.state::<String>("key").unwrap(), "value");
}
