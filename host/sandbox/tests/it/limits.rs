//! Guests that go too far.

use std::time::Duration;

use wfhost_core::kind;
use wfhost_sandbox::{Limits, Sandbox, TurnEnd};

use crate::guests::{
    NOW, birth, built, call, completed, loaded_in, runs, sandbox, session, starts_with, taken,
};

fn small() -> Sandbox {
    Sandbox::new(Limits {
        memory_bytes_max: 4 * 1024 * 1024,
        turn_time_max: Duration::from_millis(100),
        commands_per_turn_max: 3,
        run_bytes_max: 5_000,
        ..Limits::default()
    })
    .unwrap()
}

fn limit(bytes: &[u8], workflow: &str, input: &str) -> String {
    let module = loaded_in(&small(), bytes);
    let mut guest = module.guest(birth(workflow, input)).unwrap();
    match guest.turn(NOW, &[], session()) {
        TurnEnd::Limit { message } => message,
        other => panic!("it met no limit: {other:?}"),
    }
}

#[test]
fn an_endless_turn_meets_the_limit_of_time() {
    let message = limit(&built("steps"), "LoopsForever", "null");
    assert_eq!(message, "it ran for more than 100ms");
}

#[test]
fn a_turn_that_eats_memory_meets_the_limit_of_memory() {
    let grow = "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (i32.const 16)";
    let message = limit(&starts_with(grow), "name", "1");
    assert_eq!(
        message,
        "it asked for 4259840 bytes of memory, the limit is 4194304"
    );
}

#[test]
fn a_turn_that_asks_too_much_meets_the_limit_of_commands() {
    let message = limit(&built("steps"), "FanOut", r#"{"width":4}"#);
    assert_eq!(message, "it asked for more than 3 commands in one turn");
}

#[test]
fn a_turn_whose_payloads_are_too_much_together_meets_the_limit_of_bytes() {
    // Each is fine by itself; all of a turn stand in one record.
    let message = limit(
        &built("steps"),
        "Steps",
        r#"{"steps":1,"payload_bytes":6000}"#,
    );
    assert_eq!(message, "its payloads have more than 5000 bytes together");
}

#[test]
fn a_turn_that_recurses_meets_the_limit_of_the_stack() {
    let recurse = "(call $again (local.get 0) (local.get 1)) (drop) (i32.const 16))
        (func $again (param i32 i32) (result i32)
            (i32.add (i32.const 1) (call $again (local.get 1) (local.get 0)))";
    let message = limit(&starts_with(recurse), "name", "1");
    assert!(message.starts_with("the stack is full"), "{message}");
}

const ENDLESS: &str = "(loop $on (br $on)) unreachable";

#[test]
fn an_endless_attempt_ends_when_it_is_stopped() {
    let module = loaded_in(&sandbox(), &runs(ENDLESS));
    let stopped = call("name", "1");
    stopped.stop.set();
    let end = module.attempt(stopped);
    assert!(end.stopped);
    assert_eq!(end.outcome.unwrap_err().kind, kind::CANCELLED);
}

#[test]
fn a_guest_that_met_a_limit_is_spent_and_another_goes_on() {
    let sandbox = small();
    let module = loaded_in(&sandbox, &built("steps"));
    let mut endless = module.guest(birth("LoopsForever", "null")).unwrap();
    assert!(matches!(
        endless.turn(NOW, &[], session()),
        TurnEnd::Limit { .. }
    ));
    assert!(matches!(endless.turn(NOW, &[], session()), TurnEnd::Spent));
    let mut other = module.guest(birth("Steps", r#"{"steps":1}"#)).unwrap();
    taken(&mut other, &[]);
    taken(&mut other, &[completed(1, "0")]);
}

#[test]
fn an_attempt_ends_at_its_own_time_as_a_timeout_and_at_the_hosts_as_a_limit() {
    let limits = Limits {
        attempt_time_max: Duration::from_millis(30),
        ..Limits::default()
    };
    let module = loaded_in(&Sandbox::new(limits).unwrap(), &runs(ENDLESS));
    for (millis, kind, retryable) in [(20, kind::TIMEOUT, true), (60_000, kind::LIMIT, false)] {
        let mut endless = call("name", "1");
        endless.time_max = Duration::from_millis(millis);
        let end = module.attempt(endless);
        let failed = end.outcome.unwrap_err();
        assert_eq!(
            (failed.kind.as_str(), failed.retryable, end.stopped),
            (kind, retryable, false)
        );
        let time = format!("it ran for more than {}ms", millis.min(30));
        assert_eq!(failed.message, time);
    }
}

#[test]
fn an_attempt_that_eats_memory_meets_the_limit_of_memory() {
    let grow = "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        unreachable";
    let end = loaded_in(&small(), &runs(grow)).attempt(call("name", "1"));
    assert_eq!(end.outcome.unwrap_err().kind, kind::LIMIT);
}
