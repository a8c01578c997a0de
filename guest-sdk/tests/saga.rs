//! Sagas: what is undone, in which order, and what a cancellation does to it.

use std::time::Duration;

use serde_json::{Value, json};
use wfhost_sdk::testing::{self, End, Report, Scenario};
use wfhost_sdk::{Context, Error, Failure, Result, RetryPolicy, Saga, join, workflow};

/// Three steps in a row; the last waits for an event.
#[workflow]
async fn trip(ctx: Context) -> Result<u32> {
    let outcome = Saga::new(&ctx)
        .retry(RetryPolicy::attempts(2))
        .run(async |saga| {
            let undo = |ticket: &u32| ctx.activity::<()>("CancelFlight", ticket);
            let ticket = saga.step(ctx.activity("BookFlight", &()), undo).await?;
            saga.compensate(ctx.activity::<Value>("CancelHotel", &ticket));
            ctx.activity::<()>("BookHotel", &()).await?;
            let inner = ctx.clone();
            saga.compensate_with("tell the agency", async move || {
                inner.sleep(Duration::from_secs(1)).await?;
                Ok(inner.raise_event("agency", "given-up", &()).await?)
            });
            ctx.event::<u32>("paid").await?;
            Ok(ticket)
        })
        .await;
    if outcome.is_ok() {
        ctx.activity::<()>("Thank", &()).await?;
    }
    outcome
}

fn scenario() -> Scenario<trip> {
    testing::workflow::<trip>(())
        .activity("BookFlight", |(): ()| Ok(7))
        .activity("CancelFlight", |_: u32| Ok(()))
        .activity("BookHotel", |(): ()| Ok(()))
        .activity("CancelHotel", |_: u32| Ok("any value"))
        .activity("Thank", |(): ()| Ok(()))
}

const TAKEN_BACK: [&str; 4] = ["BookFlight", "BookHotel", "CancelHotel", "CancelFlight"];

fn fail<T>(kind: &'static str) -> Result<T> {
    Err(Error::new(kind, "it failed"))
}

fn kind<T>(report: &Report<T>) -> &str {
    report.failure().map_or("", Failure::kind)
}

#[test]
fn nothing_is_undone_after_success() {
    let report = scenario().event("paid", &1).run();
    assert_eq!(report.output().unwrap(), &7);
    assert_eq!(
        report.activity_names(),
        ["BookFlight", "BookHotel", "Thank"]
    );
}

#[test]
fn what_succeeded_or_was_registered_before_is_undone_last_first() {
    let report = scenario()
        .activity("BookFlight", |(): ()| fail::<u32>("no-seats"))
        .run();
    assert_eq!(kind(&report), "no-seats");
    assert_eq!(report.activity_names(), ["BookFlight"]);

    let report = scenario()
        .activity("BookHotel", |(): ()| fail::<()>("full"))
        .run();
    assert_eq!(kind(&report), "full");
    assert_eq!(report.activity_names(), TAKEN_BACK);
    assert_eq!(report.activities()[3].input, json!(7));

    let report = scenario().event("paid", "no number").run();
    assert_eq!(kind(&report), "invalid-payload");
    assert_eq!(report.activity_names(), TAKEN_BACK);
    assert_eq!(report.raised()[0].name, "given-up");
}

#[test]
fn a_cancelled_workflow_undoes_its_steps_and_no_second_cancellation_stops_it() {
    let report = scenario()
        .takes("CancelHotel", Duration::from_secs(5))
        .takes("CancelFlight", Duration::from_secs(5))
        .cancel_at(Duration::from_secs(10))
        .cancel_at(Duration::from_secs(10))
        .cancel_at(Duration::from_secs(13))
        .cancel_at(Duration::from_secs(18))
        .run();
    assert_eq!(report.end(), &End::Cancelled);
    assert_eq!(report.activity_names(), TAKEN_BACK);
    assert_eq!(report.raised().len(), 1);
    assert_eq!(report.elapsed(), Duration::from_secs(10 + 1 + 5 + 5));
    assert!(report.activities().iter().all(|call| call.attempts == 1));
}

#[test]
fn a_step_that_is_under_way_when_the_workflow_is_cancelled_ends_and_is_undone() {
    let report = scenario()
        .takes("BookFlight", Duration::from_secs(9))
        .cancel_at(Duration::from_secs(3))
        .run();
    assert_eq!(report.end(), &End::Cancelled);
    assert_eq!(
        report.activity_names(),
        ["BookFlight", "CancelHotel", "CancelFlight"]
    );
    assert_eq!(report.elapsed(), Duration::from_secs(9));

    // The next step shows it as well as any other wait.
    let report = testing::workflow::<at_once>(())
        .activity("Do", |step: u32| Ok(step))
        .activity("Undo", |_: u32| Ok(()))
        .takes("Do", Duration::from_secs(9))
        .cancel_at(Duration::from_secs(3))
        .run();
    assert_eq!(report.end(), &End::Cancelled);
    assert_eq!(report.activity_names(), ["Do", "Do", "Undo", "Undo"]);
}

/// Two steps at once, then a third.
#[workflow]
async fn at_once(ctx: Context) -> Result<()> {
    let undo = |step: &u32| ctx.activity::<()>("Undo", step);
    let take = |step: u32| ctx.activity("Do", &step);
    Saga::new(&ctx)
        .run(async |saga| {
            let (one, two) = join!(saga.step(take(1), undo), saga.step(take(2), undo));
            one?;
            two?;
            saga.step(take(3), undo).await?;
            Ok(())
        })
        .await
}

#[test]
fn steps_at_once_are_all_undone_when_one_fails() {
    let report = testing::workflow::<at_once>(())
        .activity("Do", |step: u32| match step {
            1 => fail("first"),
            step => Ok(step),
        })
        .activity("Undo", |_: u32| Ok(()))
        .run();
    assert_eq!(kind(&report), "first");
    assert_eq!(report.activity_names(), ["Do", "Do", "Undo"]);
    assert_eq!(report.activities()[2].input, json!(2));
}

#[test]
fn a_compensation_that_fails_is_retried_then_named_and_the_others_still_run() {
    let report = scenario()
        .activity("CancelHotel", |_: u32| fail::<()>("closed"))
        .event("paid", "no number")
        .run();
    let failure = report.failure().unwrap();
    assert_eq!(report.activity_names(), TAKEN_BACK);
    assert_eq!(report.activities()[2].attempts, 2);
    assert_eq!(failure.kind(), "compensation-failed");
    let message = failure.message();
    assert!(message.contains("the event does not fit"), "{message}");
    assert!(
        message.ends_with("; then this could not be undone: CancelHotel (it failed)"),
        "{message}"
    );
    let details: Value = failure.details().unwrap();
    assert_eq!(details["cause"]["kind"], "invalid-payload");
    assert_eq!(
        details["failed"],
        json!([{ "name": "CancelHotel", "kind": "closed", "message": "it failed" }])
    );

    // A cancellation would hide it.
    let report = scenario()
        .activity("CancelFlight", |_: u32| fail::<()>("closed"))
        .cancel_at(Duration::from_secs(1))
        .run();
    assert_eq!(kind(&report), "compensation-failed");
}

/// Starts over from within a saga.
#[workflow]
async fn goes_on(ctx: Context, left: u32) -> Result<u32> {
    Saga::new(&ctx)
        .run(async |saga| {
            let undo = |_: &()| ctx.activity::<()>("Undo", &());
            saga.step(ctx.activity("Do", &left), undo).await?;
            match left {
                0 => Ok(0),
                _ => Err(ctx.continue_as_new(&(left - 1))?.into()),
            }
        })
        .await
}

#[test]
fn a_continuation_undoes_nothing() {
    let report = testing::workflow::<goes_on>(2)
        .activity("Do", |_: u32| Ok(()))
        .run();
    assert_eq!(report.activity_names(), ["Do", "Do", "Do"]);
    assert_eq!(report.output().unwrap(), &0);
}
