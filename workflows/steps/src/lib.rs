//! A guest of the tests: each workflow shows one behaviour, and the activities help.

mod activities;
mod workflows;

use activities::{echo, fail, flaky_until, panic_activity, take_one};
use workflows::{
    buy_last, calls_unknown, cancels, cleans_up, continues, counter, deterministic, fails, fan_out,
    loops_forever, panics, parent, race, raises, rerolls, retries, steps, sum, takes_updates,
    waits_for_missing, who_am_i,
};

wfhost_sdk::export!(
    workflows: [
        buy_last, calls_unknown, cancels, cleans_up, continues, counter, deterministic, fails,
        fan_out, loops_forever, panics, parent, race, raises, rerolls, retries, steps, sum, takes_updates,
        waits_for_missing, who_am_i,
    ],
    activities: [echo, fail, flaky_until, panic_activity, take_one],
);
