//! A guest of the tests: a workflow that does what its input says, so that a test can say in one
//! place what happens inside and outside.

mod activities;
mod program;

use activities::{add, echo, fails, flaky, spins};
use program::{generations, script};

wfhost_sdk::export!(
    workflows: [generations, script],
    activities: [add, echo, fails, flaky, spins],
);
