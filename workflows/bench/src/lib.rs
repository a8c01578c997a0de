//! The module that `wfhost bench` measures the host with: a workflow for each scenario.

use std::time::Duration;

use bench_activities::{Order, Sale, echo, notify, pay, reserve, update};
use serde::Deserialize;
use wfhost_sdk::{Context, FuturesUnordered, Result, StreamExt as _, select, workflow};

wfhost_sdk::export!(
    workflows: [order, steps, fan_out, events, timers, park],
    activities: [notify, reserve, pay, update, echo],
);

/// How long a parked instance would wait.
const PARKED: Duration = Duration::from_secs(24 * 60 * 60);

/// Sells an order in five steps, with one read of the state and two writes, and returns how many of
/// the item are reserved with it.
#[workflow(name = "Order")]
async fn order(ctx: Context, order: Order) -> Result<u64> {
    let (id, note) = (ctx.id(), &order.note);
    ctx.call::<notify>(&format!("order {id} has been received {note}"))
        .await?;
    let reserved = ctx.call::<reserve>(&order).await?;
    ctx.call::<pay>(&order).await?;
    let sale = Sale {
        item: order.item.clone(),
        reserved,
        note: note.clone(),
    };
    ctx.call::<update>(&sale).await?;
    ctx.call::<notify>(&format!("order {id} has been sold {note}"))
        .await?;
    Ok(reserved)
}

/// How many steps, and how large.
#[derive(Deserialize)]
struct Work {
    steps: u64,
    #[serde(default)]
    payload_bytes: usize,
}

impl Work {
    /// The text that goes into a step and comes out of it. Each is another one where there is room
    /// for that, since the host keeps a large text once, however often it is used.
    fn payload(&self, ctx: &Context, step: u64) -> String {
        let mut text = format!("{}-{step} ", ctx.id());
        if text.len() < self.payload_bytes {
            let missing = self.payload_bytes - text.len();
            text.extend(std::iter::repeat_n('x', missing));
        }
        text.truncate(self.payload_bytes);
        text
    }
}

/// Takes the steps one after the other, and returns how many they were.
#[workflow(name = "Steps")]
async fn steps(ctx: Context, work: Work) -> Result<u64> {
    for step in 0..work.steps {
        ctx.call::<echo>(&work.payload(&ctx, step)).await?;
    }
    Ok(work.steps)
}

/// Takes the steps all at once, and returns how many they were.
#[workflow(name = "FanOut")]
async fn fan_out(ctx: Context, work: Work) -> Result<u64> {
    let mut calls: FuturesUnordered<_> = (0..work.steps)
        .map(|step| ctx.call::<echo>(&work.payload(&ctx, step)))
        .collect();
    let mut count = 0;
    while let Some(echoed) = calls.next().await {
        echoed?;
        count += 1;
    }
    Ok(count)
}

/// Waits for so many events `next`, and returns how many they were.
#[workflow(name = "Events")]
async fn events(ctx: Context, work: Work) -> Result<u64> {
    for _ in 0..work.steps {
        ctx.event::<String>("next").await?;
    }
    Ok(work.steps)
}

/// Waits for so many timers of a millisecond, one after the other, and returns how many they were.
#[workflow(name = "Timers")]
async fn timers(ctx: Context, work: Work) -> Result<u64> {
    for _ in 0..work.steps {
        ctx.sleep(Duration::from_millis(1)).await?;
    }
    Ok(work.steps)
}

/// Waits for the event `go` or for a day, and returns whether it was the event. What comes with the
/// start is only kept.
#[workflow(name = "Park")]
async fn park(ctx: Context, _note: String) -> Result<bool> {
    select! {
        event = ctx.event::<bool>("go") => Ok(event?),
        slept = ctx.sleep(PARKED) => {
            slept?;
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use bench_activities::{Order, notify, pay, reserve, update};
    use wfhost_sdk::testing::workflow;

    use super::order;

    #[test]
    fn an_order_is_five_steps_that_reserve_and_sell_its_item() {
        let cars = Order {
            item: "cars".into(),
            quantity: 2,
            note: "soon".into(),
        };
        let report = workflow::<order>(cars)
            .state("reserved/cars", &3)
            .real_activity::<notify>()
            .real_activity::<reserve>()
            .real_activity::<pay>()
            .real_activity::<update>()
            .run();
        assert_eq!(*report.output().unwrap(), 5);
        assert_eq!(report.activities().len(), 5);
        assert_eq!(report.state::<u64>("reserved/cars"), Some(5));
        assert_eq!(report.state::<u64>("sold/cars"), Some(5));
    }
}
