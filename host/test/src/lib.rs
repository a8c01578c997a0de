//! Tests of modules on the real engine.
//!
//! A [`Test`] runs modules as `wfhost` does, in the sandbox and with a history, but in memory and in
//! virtual time: what waits for days is done in milliseconds. Activities run their code, or what a
//! test says in its place; attempts fail as often as it says. Where a workflow's own logic is all
//! that a test is about, `wfhost_sdk::testing` does without a module.
//!
//! ```no_run
//! use std::time::Duration;
//! use wfhost_test::{Test, json};
//!
//! #[test]
//! fn a_large_order_is_sold_once_it_is_approved() {
//!     let test = Test::of("workflows/order-approval");
//!     test.set_state("Cars", json!({"name": "Cars", "totalCost": 15000, "quantity": 10}));
//!     test.activity("ProcessPaymentActivity", |_| Ok(json!(null)));
//!
//!     let order = json!({"Name": "Cars", "TotalCost": 15000, "Quantity": 4});
//!     let run = test.start("OrderApprovalWorkflow", order);
//!     test.advance(Duration::from_secs(29));
//!     assert!(run.report().awaits("ApprovalEvent"));
//!     run.raise("ApprovalEvent", json!({"RequestId": run.id(), "IsApproved": true}));
//!
//!     let report = run.wait();
//!     assert_eq!(report.output(), &json!({"Processed": true}));
//!     assert_eq!(report.elapsed(), Duration::from_secs(29));
//!     report.assert_history(["event ApprovalEvent", "ProcessPaymentActivity", "completed"]);
//!     assert_eq!(test.state("Cars").unwrap()["quantity"], 6);
//! }
//!
//! #[test]
//! fn a_step_that_fails_at_first_is_tried_again() {
//!     let test = Test::of("workflows/steps");
//!     test.fail("FlakyUntil", 2);
//!     let report = test.start("Retries", json!({"attempts": 1})).wait();
//!     assert_eq!(report.activities()[0].attempts, 3, "{report}");
//! }
//! ```
//!
//! # Where the modules come from
//!
//! [`Test::of`] takes a `.wasm` file, or the folder of a Cargo package, which is built as `wfhost
//! build` does, once a process. Cargo runs tests in the folder of their package, so `Test::of(".")`
//! is the package itself. The package of a module needs no more than
//!
//! ```toml
//! [dev-dependencies]
//! wfhost-test = "0.1.0"
//!
//! # Modules are compiled at run time: a compiler without optimisation takes seconds for it.
//! [profile.dev.package."*"]
//! opt-level = 2
//! ```
//!
//! # Time
//!
//! The clock starts at 2026-01-01T00:00:00Z and stands still, also while guests run. Each call that
//! does something ([`Test::start`], [`Run::raise`] and so on) returns when all that follows from it
//! is done, as far as it goes without time passing. Time passes in [`Test::advance`], from timer to
//! timer; and in [`Run::wait`] and [`Run::wait_until`], as far as the run needs.
//!
//! One thread does all the work, first come, first served: the same test makes the same history.
//!
//! # Crashes
//!
//! A workflow must end the same if the host crashes in between, and if its guest is brought back by
//! replay. [`in_every_mode`] shows it:
//!
//! ```no_run
//! use wfhost_test::{Test, in_every_mode, json};
//!
//! in_every_mode(|mode| {
//!     let test = Test::of("workflows/steps").mode(mode);
//!     test.start("Steps", json!({"steps": 3})).wait().output().clone()
//! });
//! ```

mod lives;
mod modules;
mod report;
mod run;
mod script;
mod world;

pub use report::{Call, Report};
pub use run::Run;
pub use script::Attempt;
pub use serde_json::{Value, json};
pub use wfhost::{Failure, StartRequest, Status, Timestamp};
pub use world::Test;

/// What happens to the host of a [`Test`] while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Steady,
    /// It keeps no guest in memory: each turn begins by replaying those before it.
    Evicting,
    /// It dies after each step that it records, in each second life after two, and another goes on
    /// from its data. What was not recorded is done again. Attempts that reach the outside count
    /// their host's deaths as ever, so they are better played.
    Crashing,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Steady, Self::Evicting, Self::Crashing];
}

/// Runs a scenario in each [`Mode`] and asserts that it returns the same in all: the output, say, or
/// what is in the state store at the end. Returns that.
///
/// # Panics
/// If it does not.
#[track_caller]
pub fn in_every_mode<T: PartialEq + std::fmt::Debug>(scenario: impl Fn(Mode) -> T) -> T {
    let expected = scenario(Mode::Steady);
    for mode in [Mode::Evicting, Mode::Crashing] {
        let came = scenario(mode);
        assert!(
            came == expected,
            "{mode:?} it came to {came:?}; {:?} to {expected:?}",
            Mode::Steady
        );
    }
    expected
}
