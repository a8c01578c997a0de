//! The workflows: one behaviour each.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wfhost_sdk::{
    Context, Error, Failure, FuturesUnordered, Result, RetryPolicy, StreamExt as _, Timestamp,
    join, select, workflow,
};

use crate::activities::{Flaky, Take, flaky_until, take_one};

/// The input of [`steps`].
#[derive(Deserialize)]
pub(crate) struct Steps {
    steps: u64,
    #[serde(default)]
    payload_bytes: usize,
}

/// Calls `Echo` so many times, one after the other, and returns how many.
#[workflow(name = "Steps")]
pub(crate) async fn steps(ctx: Context, input: Steps) -> Result<u64> {
    let payload = "x".repeat(input.payload_bytes);
    for step in 0..input.steps {
        if payload.is_empty() {
            ctx.activity::<u64>("Echo", &step).await?;
        } else {
            ctx.activity::<String>("Echo", &payload).await?;
        }
    }
    Ok(input.steps)
}

/// The input of [`fan_out`].
#[derive(Deserialize)]
pub(crate) struct FanOut {
    width: u64,
}

/// Calls `Echo` so many times at once, and returns the sum of 0, 1, 2 and so on.
#[workflow(name = "FanOut")]
pub(crate) async fn fan_out(ctx: Context, input: FanOut) -> Result<u64> {
    let mut calls: FuturesUnordered<_> = (0..input.width)
        .map(|number| ctx.activity::<u64>("Echo", &number))
        .collect();
    let mut sum = 0;
    while let Some(number) = calls.next().await {
        sum += number?;
    }
    Ok(sum)
}

/// The input of [`race`].
#[derive(Deserialize)]
pub(crate) struct Race {
    seconds: f64,
}

/// Waits for the event `go` or for so many seconds, and returns which came first.
#[workflow(name = "Race")]
pub(crate) async fn race(ctx: Context, input: Race) -> Result<Value> {
    let seconds = Duration::try_from_secs_f64(input.seconds)?;
    select! {
        event = ctx.event::<Value>("go") => Ok(json!({ "won": "event", "payload": event? })),
        slept = ctx.sleep(seconds) => {
            slept?;
            Ok(json!({ "won": "timer" }))
        }
    }
}

/// The input of [`sum`].
#[derive(Deserialize)]
pub(crate) struct Sum {
    events: usize,
}

/// The result of [`sum`].
#[derive(Serialize)]
pub(crate) struct Summed {
    sum: i64,
    order: Vec<i64>,
}

/// Waits for so many events `number`, and returns their sum and their order.
#[workflow(name = "Sum")]
pub(crate) async fn sum(ctx: Context, input: Sum) -> Result<Summed> {
    let mut order = Vec::new();
    while order.len() < input.events {
        order.push(ctx.event("number").await?);
    }
    Ok(Summed {
        sum: order.iter().sum(),
        order,
    })
}

/// Adds one to the key `counter` in the workflow's own turn, and returns the new value.
#[workflow(name = "Counter")]
pub(crate) async fn counter(ctx: Context) -> Result<u64> {
    let count = ctx.state().get::<u64>("counter")?.unwrap_or(0) + 1;
    ctx.state().set("counter", &count)?;
    Ok(count)
}

/// Panics after its first step.
#[workflow(name = "Panics")]
pub(crate) async fn panics(ctx: Context) -> Result<()> {
    ctx.activity::<Value>("Echo", &1).await?;
    panic!("this workflow panics")
}

/// Never comes back.
#[workflow(name = "LoopsForever")]
pub(crate) async fn loops_forever(ctx: Context) -> Result<()> {
    loop {
        std::hint::black_box(&ctx);
    }
}

/// Calls an activity that no module offers.
#[workflow(name = "CallsUnknown")]
pub(crate) async fn calls_unknown(ctx: Context) -> Result<Value> {
    Ok(ctx.activity("Missing", &json!({})).await?)
}

/// Drops a pending timer and a pending event, then goes on.
#[workflow(name = "Cancels")]
pub(crate) async fn cancels(ctx: Context) -> Result<String> {
    let mut slept = ctx.sleep(Duration::from_secs(3_600));
    let mut event = ctx.event::<Value>("never");
    let echoed = select! {
        _ = slept => "timer".to_owned(),
        _ = event => "event".to_owned(),
        echoed = ctx.activity("Echo", &"echo") => echoed?,
    };
    drop((slept, event));
    ctx.activity::<Value>("Echo", &2).await?;
    Ok(echoed)
}

/// Fails with a kind and details of its own.
#[workflow(name = "Fails")]
pub(crate) async fn fails(_: Context) -> Result<()> {
    Err(Failure::new("my-kind", "this workflow fails")
        .with_details(&json!({ "answer": 42 }))
        .into())
}

/// Buys one of what is under a key; fails as `sold-out` if there is none.
#[workflow(name = "BuyLast")]
pub(crate) async fn buy_last(ctx: Context, input: Take) -> Result<u64> {
    Ok(ctx.call::<take_one>(&input).await?)
}

/// Calls an activity that fails at first, with a retry policy, and returns which attempt succeeded.
#[workflow(name = "Retries")]
pub(crate) async fn retries(ctx: Context, input: Flaky) -> Result<u32> {
    let policy = RetryPolicy::attempts(5)
        .first_delay(Duration::from_millis(10))
        .backoff(1.0);
    Ok(ctx.call::<flaky_until>(&input).retry(policy).await?)
}

/// The result of [`deterministic`].
#[derive(Serialize)]
pub(crate) struct Readings {
    id: String,
    run: String,
    started_at: Timestamp,
    now: [Timestamp; 2],
    random: [u64; 2],
    uuid: String,
    echoed: [u64; 2],
}

/// Reads all that could differ on replay, between steps, and returns it.
#[workflow(name = "Deterministic")]
pub(crate) async fn deterministic(ctx: Context) -> Result<Readings> {
    let info = ctx.info();
    let before = (ctx.now(), ctx.random());
    ctx.set_custom_status(&json!({ "phase": "joining" }))?;
    let (slept, one, two) = join!(
        ctx.sleep(Duration::from_millis(20)),
        ctx.activity("Echo", &1),
        ctx.activity("Echo", &2),
    );
    slept?;
    let uuid = ctx.uuid();
    log::info!("joined");
    ctx.set_custom_status(&json!({ "phase": "joined", "uuid": uuid }))?;
    Ok(Readings {
        id: info.id,
        run: info.run,
        started_at: info.started_at,
        now: [before.0, ctx.now()],
        random: [before.1, ctx.random()],
        uuid,
        echoed: [one?, two?],
    })
}

/// Waits for the event `never`; when cancelled, runs one more step before it lets that through.
#[workflow(name = "CleansUp")]
pub(crate) async fn cleans_up(ctx: Context) -> Result<()> {
    let waited = ctx.event::<()>("never").await;
    if let Err(failure) = waited {
        ctx.activity::<String>("Echo", failure.message()).await?;
        return Err(failure.into());
    }
    Ok(())
}

/// The input of [`continues`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Generations {
    left: u32,
    #[serde(default)]
    read: Vec<Value>,
}

/// Reads one event `next` in each of so many generations, and returns what it read.
#[workflow(name = "Continues")]
pub(crate) async fn continues(ctx: Context, mut input: Generations) -> Result<Vec<Value>> {
    if input.left == 0 {
        return Ok(input.read);
    }
    input.read.push(ctx.event("next").await?);
    input.left -= 1;
    Err(ctx.continue_as_new(&input)?.into())
}

/// The input of [`parent`].
#[derive(Deserialize)]
pub(crate) struct Parent {
    workflow: String,
    input: Value,
}

/// Runs a child, and returns its result or the kind of its failure.
#[workflow(name = "Parent")]
pub(crate) async fn parent(ctx: Context, input: Parent) -> Result<Value> {
    match ctx
        .child::<Value>(input.workflow, &input.input)
        .tag("role", "child")
        .await
    {
        Ok(result) => Ok(json!({ "result": result })),
        Err(failure) if failure.is_cancelled() => Err(failure.into()),
        Err(failure) => Ok(json!({ "kind": failure.kind() })),
    }
}

/// Adds up the updates `add` until the sum is 10, and answers the query `sum` meanwhile.
#[workflow(name = "TakesUpdates")]
pub(crate) async fn takes_updates(ctx: Context) -> Result<i64> {
    let sum = Rc::new(Cell::new(0));
    let (added, read) = (Rc::clone(&sum), Rc::clone(&sum));
    ctx.on_update("add", move |number: i64| {
        if number < 0 {
            return Err(Error::new("negative", format!("cannot add {number}")));
        }
        added.set(added.get() + number);
        Ok(added.get())
    });
    ctx.on_query("sum", move |(): ()| Ok(read.get()));
    ctx.until(|| sum.get() >= 10).await?;
    Ok(sum.get())
}

/// Calls an activity that no module offers, and waits for the event `go` meanwhile.
#[workflow(name = "WaitsForMissing")]
pub(crate) async fn waits_for_missing(ctx: Context) -> Result<(Value, Value)> {
    let (found, event) = join!(
        ctx.activity::<Value>("Missing", &json!({})),
        ctx.event::<Value>("go"),
    );
    Ok((found?, event?))
}

/// The input of [`rerolls`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Rerolls {
    left: u32,
    #[serde(default)]
    rolls: Vec<u64>,
}

/// Draws one random number in each of so many generations, each on the newest module, and returns
/// them.
#[workflow(name = "Rerolls")]
pub(crate) async fn rerolls(ctx: Context, mut input: Rerolls) -> Result<Vec<u64>> {
    ctx.event::<Value>("next").await?;
    input.rolls.push(ctx.random());
    input.left -= 1;
    if input.left == 0 {
        return Ok(input.rolls);
    }
    Err(ctx.continue_as_new(&input)?.on_current_module().into())
}

/// The input of [`raises`].
#[derive(Deserialize)]
pub(crate) struct Raises {
    instance: String,
    events: Vec<Value>,
}

/// Raises events `number` to another instance, and returns what came of each.
#[workflow(name = "Raises")]
pub(crate) async fn raises(ctx: Context, input: Raises) -> Result<Vec<String>> {
    let mut outcomes = Vec::new();
    for event in &input.events {
        let raised = ctx.raise_event(&input.instance, "number", event).await;
        outcomes.push(match raised {
            Ok(()) => "sent".to_owned(),
            Err(failure) => failure.kind().to_owned(),
        });
    }
    Ok(outcomes)
}

/// Who a workflow is told that it is, and what it draws.
#[derive(Serialize)]
pub(crate) struct Identity {
    id: String,
    run: String,
    parent: Option<String>,
    random: u64,
}

/// Asks who it is in each of three turns, and returns the answers.
#[workflow(name = "WhoAmI")]
pub(crate) async fn who_am_i(ctx: Context) -> Result<Vec<Identity>> {
    let mut seen = Vec::new();
    for turn in 1..=3 {
        let info = ctx.info();
        seen.push(Identity {
            id: info.id,
            run: info.run,
            parent: info.parent,
            random: ctx.random(),
        });
        if turn < 3 {
            ctx.activity::<u32>("Echo", &turn).await?;
        }
    }
    Ok(seen)
}
