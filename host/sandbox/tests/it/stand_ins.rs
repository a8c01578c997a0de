//! What a standard library sees of the world.

use wfhost_core::record::{LogLevel, Step};
use wfhost_core::{Timestamp, kind};
use wfhost_sandbox::{Module, TurnEnd};

use crate::guests::{
    HAND_WRITTEN, HandWritten, NOW, attempted, birth, built, call, completed, failure, loaded_in,
    play, sandbox, session, taken,
};

fn wasi_clock() -> Module {
    loaded_in(&sandbox(), &built("wasi-clock"))
}

#[test]
fn a_workflow_sees_the_time_of_its_turns_and_its_lines_are_logged() {
    let mut guest = wasi_clock().guest(birth("WasiClock", "null")).unwrap();
    let first = taken(&mut guest, &[]);
    let lines: Vec<_> = first
        .log
        .iter()
        .map(|it| (it.level, it.message.as_str()))
        .collect();
    let before = (LogLevel::Info, "before the step");
    assert_eq!(
        lines,
        [before, (LogLevel::Warn, "before the step, to stderr")]
    );

    let later = Timestamp(NOW.0 + 250);
    let end = guest.turn(later, &[completed(1, r#""echo""#)], session());
    let TurnEnd::Taken { turn, .. } = end else {
        panic!("the turn was not taken: {end:?}");
    };
    assert_eq!(turn.log[0].message, "after the step");
    let Step::Completed(output) = turn.step else {
        panic!("it did not complete");
    };
    let seen = output.value();
    assert_eq!(seen["elapsed_nanos"], serde_json::json!([0, 250_000_000]));
    assert_eq!(
        seen["system_time"],
        serde_json::json!([NOW.to_string(), later.to_string()])
    );
    assert_eq!(seen["environment"], serde_json::json!([]));
    assert_eq!(seen["echoed"], "echo");
}

#[test]
fn the_order_of_a_hash_map_is_the_same_for_the_same_seed() {
    let module = wasi_clock();
    let orders = [42, 42, 43].map(|seed| {
        let mut birth = birth("WasiClock", "null");
        birth.seed = seed;
        match play(&module, birth).pop().unwrap().turn.step {
            Step::Completed(output) => output.value()["hash_order"].clone(),
            other => panic!("it did not complete: {other:?}"),
        }
    });
    assert_eq!(orders[0], orders[1]);
    assert_ne!(orders[0], orders[2]);
}

#[test]
fn a_workflow_of_the_standard_library_replays_the_same_and_says_nothing_twice() {
    let module = wasi_clock();
    let mut turns = play(&module, birth("WasiClock", "null"));
    let mut guest = module.guest(birth("WasiClock", "null")).unwrap();
    let last = turns.pop().unwrap();
    for past in turns {
        guest.replay(past).unwrap();
    }
    assert_eq!(taken(&mut guest, &last.delivered.inputs), *last.turn);
}

#[test]
fn the_monotonic_clock_counts_from_the_start_of_the_instance() {
    let reads = HandWritten {
        world: "import wasi:clocks/monotonic-clock@0.2.6;",
        imports: r#"(import "wasi:clocks/monotonic-clock@0.2.6" "now" (func $now (result i64)))"#,
        start: "(if (i64.ne (call $now) (i64.const 250000000)) (then unreachable)) (i32.const 16)",
        ..HAND_WRITTEN
    };
    let module = loaded_in(&sandbox(), &reads.bytes());
    let mut guest = module.guest(birth("name", "1")).unwrap();
    let end = guest.turn(Timestamp(NOW.0 + 250), &[], session());
    let waits = matches!(&end, TurnEnd::Taken { turn, .. } if turn.step == Step::Waiting);
    assert!(waits, "{end:?}");
}

/// What makes a module one that reaches the outside.
const HTTP: [&str; 2] = [
    "import wasi:http/types@0.2.6;",
    r#"(import "wasi:http/types@0.2.6" "[constructor]fields" (func (result i32)))"#,
];

/// A guest that sleeps an hour in its `start` and in its `run`.
fn sleeper([world, import]: [&str; 2]) -> Module {
    let sleeps = "(call $block (call $subscribe (i64.const 3600000000000))) (i32.const 16)";
    let sleeper = HandWritten {
        world: &format!(
            "import wasi:io/poll@0.2.6; import wasi:clocks/monotonic-clock@0.2.6; {world}"
        ),
        imports: &format!(
            r#"{import}
            (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration"
                (func $subscribe (param i64) (result i32)))
            (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))"#
        ),
        start: sleeps,
        run: sleeps,
        ..HAND_WRITTEN
    };
    loaded_in(&sandbox(), &sleeper.bytes())
}

#[test]
fn a_workflow_that_blocks_its_thread_is_told_what_to_use() {
    let turn = taken(
        &mut sleeper([""; 2]).guest(birth("name", "1")).unwrap(),
        &[],
    );
    let failed = failure(&turn.step);
    assert_eq!(failed.kind, kind::TRAP);
    assert!(
        failed.message.ends_with("use ctx.sleep"),
        "{}",
        failed.message
    );
}

#[test]
fn an_activity_that_sleeps_wakes_up_when_it_is_stopped() {
    for http in [[""; 2], HTTP] {
        let module = sleeper(http);
        assert_eq!(module.contained(), http == [""; 2]);
        let stopped = call("name", "1");
        stopped.stop.set();
        let end = attempted(&module, stopped);
        assert!(end.stopped, "{http:?}: {end:?}");
    }
}

#[test]
fn an_attempt_sees_the_time_that_its_caller_says() {
    let end = wasi_clock().attempt(call("Clock", "null"));
    let seen = end.outcome.unwrap().value().as_u64().unwrap();
    let begun = seen.checked_sub(NOW.0);
    assert!(begun.is_some_and(|millis| millis < 600_000), "{seen}");
}

#[test]
fn what_an_attempt_prints_is_logged_beside_http_too() {
    let prints = |[world, import]: [&str; 2]| {
        HandWritten {
            world: &format!("import wasi:io/streams@0.2.6; import wasi:cli/stdout@0.2.6; {world}"),
            imports: &format!(
                r#"{import}
            (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
            (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
                (func $write (param i32 i32 i32 i32)))"#
            ),
            run: "(call $write (call $stdout) (i32.const 256) (i32.const 4) (i32.const 1024))
            unreachable",
            ..HAND_WRITTEN
        }
        .bytes()
    };
    for http in [[""; 2], HTTP] {
        let end = attempted(&loaded_in(&sandbox(), &prints(http)), call("name", "1"));
        assert_eq!(end.log.len(), 1, "{http:?}: {end:?}");
        assert_eq!(
            (end.log[0].level, end.log[0].message.as_str()),
            (LogLevel::Info, "name")
        );
    }
}
