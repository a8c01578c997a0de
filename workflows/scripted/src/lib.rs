//! A guest of the tests: one workflow that does what its input says, so that a test can say in one
//! place what happens inside and outside.

mod activities;
mod program;

use activities::{add, echo, fails, flaky, spins};
use program::script;

wfhost_sdk::export!(
    workflows: [script],
    activities: [add, echo, fails, flaky, spins],
);
