//! Attempts of activities.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use wfhost_core::kind;
use wfhost_core::record::LogLevel;
use wfhost_sandbox::{OutsideCall, StopFlag};

use crate::guests::{
    HAND_WRITTEN, HandWritten, attempted, built, call, changing_session, json, loaded_in, runs,
    sandbox, steps,
};

#[test]
fn an_attempt_returns_what_the_activity_returns() {
    let end = steps().attempt(call("Echo", r#"{"a":[1]}"#));
    assert_eq!(end.outcome.unwrap(), json(r#"{"a":[1]}"#));
    assert!(end.log.is_empty() && !end.state_changed && !end.stopped);
    assert!(steps().contained());
}

#[test]
fn a_failure_keeps_kind_and_message() {
    let failed = steps().attempt(call("Fail", "1")).outcome.unwrap_err();
    assert_eq!(
        (failed.kind.as_str(), failed.message.as_str()),
        ("always", "this activity fails always")
    );
}

#[test]
fn a_panic_of_an_activity_names_file_and_line() {
    let failed = steps()
        .attempt(call("PanicActivity", "1"))
        .outcome
        .unwrap_err();
    assert_eq!(failed.kind, kind::PANIC);
    assert!(
        failed.message.contains("this activity panics, at "),
        "{}",
        failed.message
    );
    assert!(
        failed.message.contains("activities.rs:"),
        "{}",
        failed.message
    );
}

#[test]
fn the_attempt_is_told_who_it_is_and_its_log_is_kept() {
    let mut third = call("FlakyUntil", r#"{"attempts":3}"#);
    third.attempt = 3;
    let end = steps().attempt(third);
    assert_eq!(end.outcome.unwrap(), json("3"));
    assert_eq!(end.log[0].level, LogLevel::Info);
    assert_eq!(end.log[0].message, "attempt 3 with key run-0-1");
}

#[test]
fn the_state_of_an_attempt_is_handed_back() {
    let end = steps().attempt(call("TakeOne", r#"{"key":"key"}"#));
    assert_eq!(end.outcome.unwrap(), json("4"));
    assert_eq!(end.state.reads.keys, ["key"]);
    assert_eq!(end.state.writes[0].value, Some(json("4")));
}

#[test]
fn an_attempt_whose_state_changes_says_so() {
    let mut changing = call("TakeOne", r#"{"key":"key"}"#);
    changing.session = changing_session();
    let end = steps().attempt(changing);
    assert!(end.state_changed);
    assert_eq!(end.outcome.unwrap_err().kind, kind::STATE_CONFLICT);
}

#[test]
fn an_unknown_activity_fails() {
    assert!(steps().attempt(call("Nobody", "1")).outcome.is_err());
}

#[test]
fn an_effectful_attempt_reaches_the_outside_with_its_key() {
    let calls: Arc<Mutex<Vec<OutsideCall>>> = Arc::default();
    let seen = calls.clone();
    let sandbox = sandbox().with_outside(Arc::new(move |call| {
        seen.lock().unwrap().push(call.clone());
        Ok(format!("you said {}", call.request))
    }));
    let module = loaded_in(&sandbox, &built("outside"));
    assert!(!module.contained());
    let end = attempted(&module, call("CallOutside", r#""hello""#));
    assert_eq!(end.outcome.unwrap(), json(r#""you said hello""#));
    let calls = calls.lock().unwrap();
    assert_eq!(
        (calls.len(), calls[0].idempotency_key.as_str()),
        (1, "run-0-1")
    );
}

#[test]
fn an_attempt_that_waits_for_the_outside_is_dropped_where_it_waits() {
    let (release, released) = mpsc::channel::<()>();
    let (stop, released) = (StopFlag::default(), Mutex::new(released));
    let told = stop.clone();
    let sandbox = sandbox().with_outside(Arc::new(move |_| {
        told.set();
        // Hangs until the attempt is over.
        let _ = released.lock().unwrap().recv();
        Ok("too late".into())
    }));
    let module = loaded_in(&sandbox, &built("outside"));
    let mut hangs = call("CallOutside", r#""hello""#);
    hangs.stop = stop;
    let end = attempted(&module, hangs);
    assert!(end.stopped, "{end:?}");
    assert_eq!(end.outcome.unwrap_err().kind, kind::CANCELLED);
    assert_eq!(end.state.reads.keys, ["sent"]);

    let mut hangs = call("CallOutside", r#""hello""#);
    hangs.time_max = Duration::from_millis(20);
    let end = attempted(&module, hangs);
    let failed = end.outcome.unwrap_err();
    assert_eq!(
        (failed.kind.as_str(), failed.retryable, end.stopped),
        (kind::TIMEOUT, true, false)
    );
    assert_eq!(failed.message, "it ran for more than 20ms");
    drop(release);
}

#[test]
fn an_effectful_attempt_in_an_endless_loop_ends_when_it_is_stopped() {
    let endless = HandWritten {
        world: "import wfhost:testing/outside@0.1.0;",
        imports: r#"(import "wfhost:testing/outside@0.1.0" "call" (func (param i32 i32 i32)))"#,
        run: "(loop $on (br $on)) unreachable",
        ..HAND_WRITTEN
    };
    let sandbox = sandbox().with_outside(Arc::new(|_| Ok(String::new())));
    let module = loaded_in(&sandbox, &endless.bytes());
    assert!(!module.contained());
    let stopped = call("name", "1");
    stopped.stop.set();
    assert!(attempted(&module, stopped).stopped);
}

#[test]
fn an_effectful_module_is_not_run_as_if_it_were_contained() {
    let sandbox = sandbox().with_outside(Arc::new(|_| Ok(String::new())));
    let end = loaded_in(&sandbox, &built("outside")).attempt(call("CallOutside", r#""hello""#));
    assert!(end.outcome.unwrap_err().message.contains("not contained"));
}

#[test]
fn an_activity_that_asks_a_workflows_context_fails_by_its_name() {
    let asks = "(drop (call $await-event (i32.const 256) (i32.const 4))) unreachable";
    let failed = loaded_in(&sandbox(), &runs(asks)).attempt(call("name", "1"));
    let failed = failed.outcome.unwrap_err();
    assert_eq!(failed.kind, kind::TRAP);
    let message = "an activity called `context.await-event`, which only a workflow may";
    assert_eq!(failed.message, message);
}
