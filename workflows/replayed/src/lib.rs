//! The guest of the capsules in `tests/capsules`: its workflows use every part of the contract that
//! a history can tell of.
//!
//! It may change freely, and should when the contract grows: each capsule holds the code that it was
//! made with.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use wfhost_sdk::{
    ActivityContext, Context, Error, Failure, Result, RetryPolicy, activity, join, select, workflow,
};

wfhost_sdk::export!(
    workflows: [everything, doubles, generations, collects, fails],
    activities: [add, flaky, refuses],
);

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Calls, waits, reads and writes in every way, then needs the event `go`.
#[workflow(name = "Everything")]
async fn everything(ctx: Context, begin: u64) -> Result<Vec<u64>> {
    ctx.set_custom_status(&"begun")?;
    let (first, second) = join!(ctx.call::<add>(&begin), ctx.call::<add>(&(begin + 1)));
    let mut seen = vec![first?, second?];
    let retries = RetryPolicy::attempts(5).first_delay(HOUR).jitter(0.0);
    seen.push(ctx.call::<flaky>(&3).retry(retries).await?);
    log::info!("tried {} times", seen[2]);

    let state = ctx.state();
    let turns = state.get::<u64>("turns")?.unwrap_or(0) + 1;
    state.set("turns", &turns)?;
    state.set_for("lent", &turns, ctx.now(), HOUR)?;
    seen.push(state.scan::<u64>("t", 10)?.len() as u64);
    seen.push(u64::from(ctx.patched("second")));
    seen.push(ctx.random() % 1_000);

    ctx.sleep(HOUR).await?;
    seen.push(ctx.child::<u64>("Doubles", &21_u64).await?);
    if let Err(failure) = ctx.call::<refuses>(&"as it must".to_owned()).await {
        log::warn!("{failure}");
    }
    ctx.raise_event(ctx.id(), "to-myself", &7_u64).await?;
    seen.push(ctx.event::<u64>("To-Myself").await?);

    ctx.set_custom_status(&"waiting")?;
    seen.push(ctx.event::<u64>("go").await?);
    select! {
        late = ctx.event::<u64>("late") => seen.push(late?),
        waited = ctx.sleep(HOUR) => waited?,
    }
    Ok(seen)
}

/// Takes its time and gives twice its input.
#[workflow(name = "Doubles")]
async fn doubles(ctx: Context, number: u64) -> Result<u64> {
    ctx.sleep(HOUR).await?;
    Ok(2 * number)
}

/// Starts over so many times, then needs the event `go`.
#[workflow(name = "Generations")]
async fn generations(ctx: Context, left: u64) -> Result<u64> {
    let sum = ctx.call::<add>(&left).await?;
    ctx.set_custom_status(&left)?;
    if left > 0 {
        return Err(ctx.continue_as_new(&(left - 1))?.into());
    }
    Ok(sum + ctx.event::<u64>("go").await?)
}

/// Adds up updates `add` until it is asked to cancel, and cleans up then.
#[workflow(name = "Collects")]
async fn collects(ctx: Context) -> Result<u64> {
    let sum = Rc::new(Cell::new(0));
    let added = Rc::clone(&sum);
    ctx.on_update("add", move |number: u64| {
        if number == 13 {
            return Err(Error::new("unlucky", "thirteen"));
        }
        added.set(added.get() + number);
        Ok(added.get())
    });
    let outcome = ctx.until(move || sum.get() > 1_000).await;
    ctx.call::<add>(&1).await?;
    outcome?;
    Ok(0)
}

/// Fails once its activity has.
#[workflow(name = "Fails")]
async fn fails(ctx: Context, why: String) -> Result<()> {
    Ok(ctx.call::<refuses>(&why).await?)
}

/// Adds to what all have added, in the state store.
#[activity(name = "Add")]
fn add(ctx: ActivityContext, number: u64) -> Result<u64> {
    let sum = ctx.state().get::<u64>("sum")?.unwrap_or(0) + number;
    ctx.state().set("sum", &sum)?;
    log::info!("the sum is {sum}");
    Ok(sum)
}

/// Fails until the attempt with this number, and gives it.
#[activity(name = "Flaky")]
fn flaky(ctx: ActivityContext, until: u64) -> Result<u64> {
    let attempt = u64::from(ctx.attempt());
    if attempt < until {
        return Err(Failure::new("flaky", "not yet").into());
    }
    Ok(attempt)
}

/// Fails for good.
#[activity(name = "Refuses")]
fn refuses(_: ActivityContext, why: String) -> Result<()> {
    let failure = Failure::new("refused", why).with_details(&13);
    Err(failure.not_retryable().into())
}
