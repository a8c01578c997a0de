//! What a standard library sees of the world.

use wfhost_core::record::{LogLevel, Step};
use wfhost_core::{Timestamp, kind};
use wfhost_sandbox::{Module, TurnEnd};

use crate::guests::{NOW, birth, built, completed, loaded_in, play, sandbox, session, taken};

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
    assert_eq!(seen["system_time"], serde_json::json!([NOW.0, later.0]));
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
fn a_workflow_of_the_standard_library_replays_the_same() {
    let module = wasi_clock();
    let turns = play(&module, birth("WasiClock", "null"));
    let mut guest = module.guest(birth("WasiClock", "null")).unwrap();
    for past in turns {
        guest.replay(past).unwrap();
    }
    let _ = kind::TRAP;
}
