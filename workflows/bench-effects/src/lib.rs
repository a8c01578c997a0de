//! The activities of `wfhost bench` once more, each calling the outside world once before it does
//! the same: so none is contained, and the host must take each for one that has effects.
//!
//! The outside is an import that only tests and the bench offer. Nobody is there.

use bench_activities::{Order, Sale};
use wfhost_sdk::{ActivityContext, Failure, Result, activity};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package wfhost:testing@0.1.0;
            interface outside { call: func(request: string) -> result<string, string>; }
            world guest { import outside; }
        ",
    });
}

wfhost_sdk::export!(activities: [notify, reserve, pay, update, echo]);

/// As [`bench_activities::notify`].
#[activity(name = "Notify")]
fn notify(ctx: ActivityContext, message: String) -> Result<()> {
    reach()?;
    bench_activities::notify(ctx, message)
}

/// As [`bench_activities::reserve`].
#[activity(name = "Reserve")]
fn reserve(ctx: ActivityContext, order: Order) -> Result<u64> {
    reach()?;
    bench_activities::reserve(ctx, order)
}

/// As [`bench_activities::pay`].
#[activity(name = "Pay")]
fn pay(ctx: ActivityContext, order: Order) -> Result<()> {
    reach()?;
    bench_activities::pay(ctx, order)
}

/// As [`bench_activities::update`].
#[activity(name = "Update")]
fn update(ctx: ActivityContext, sale: Sale) -> Result<()> {
    reach()?;
    bench_activities::update(ctx, sale)
}

/// As [`bench_activities::echo`].
#[activity(name = "Echo")]
fn echo(ctx: ActivityContext, input: String) -> Result<String> {
    reach()?;
    bench_activities::echo(ctx, input)
}

/// Calls the outside.
fn reach() -> Result<()> {
    let answer = bindings::wfhost::testing::outside::call("");
    answer.map_err(|message| Failure::new("outside", message))?;
    Ok(())
}
