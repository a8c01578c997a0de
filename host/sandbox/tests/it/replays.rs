//! Turns that are taken again.

use wfhost_core::record::{Command, Step};
use wfhost_core::replay::{Divergence, PastTurn};
use wfhost_core::{RunId, TaskId, kind};
use wfhost_sandbox::{Birth, Module, Origin, ReplayError, TurnEnd};

use crate::guests::{
    NOW, birth, built, completed, json, loaded_in, play, sandbox, session, starts_with, steps,
};

fn replay(module: &Module, birth: Birth, turns: Vec<PastTurn>) -> Result<(), ReplayError> {
    let mut guest = module.guest(birth).unwrap();
    turns.into_iter().try_for_each(|past| guest.replay(past))
}

fn diverges(module: &Module, birth: Birth, turns: Vec<PastTurn>) -> Divergence {
    match replay(module, birth, turns) {
        Err(ReplayError::Diverged(divergence)) => *divergence,
        other => panic!("it does not diverge: {other:?}"),
    }
}

#[test]
fn every_workflow_replays_the_same() {
    let cases = [
        ("Steps", r#"{"steps":20}"#),
        ("FanOut", r#"{"width":5}"#),
        ("Race", r#"{"seconds":1}"#),
        ("Counter", "null"),
        ("Cancels", "null"),
        ("Fails", "null"),
        ("Panics", "null"),
        ("Deterministic", "null"),
        ("Steps", r#""not what it expects""#),
    ];
    for (workflow, input) in cases {
        let birth = birth(workflow, input);
        let turns = play(&steps(), birth.clone());
        replay(&steps(), birth, turns).unwrap_or_else(|error| panic!("{workflow}: {error}"));
    }
}

#[test]
fn a_guest_goes_on_live_where_its_replay_ended() {
    let birth = birth("Steps", r#"{"steps":3}"#);
    let mut turns = play(&steps(), birth.clone());
    let mut guest = steps().guest(birth).unwrap();
    let last = turns.pop().unwrap();
    for past in turns {
        guest.replay(past).unwrap();
    }
    let TurnEnd::Taken { turn, .. } = guest.turn(NOW, &last.delivered.inputs, session()) else {
        panic!("the turn was not taken");
    };
    assert_eq!(turn, *last.turn);
}

#[test]
fn changed_code_diverges_with_turn_history_and_code() {
    let birth = birth("Steps", r#"{"steps":3}"#);
    let turns = play(&steps(), birth.clone());
    let changed = loaded_in(&sandbox(), &built("steps-changed"));
    let found = diverges(&changed, birth, turns);
    assert_eq!((found.turn, found.place), (2, 1));
    assert_eq!(found.history, "task 2: call activity `Echo` with 1");
    assert_eq!(
        found.code,
        "task 2: create a timer for 2023-11-14T22:13:20.124Z"
    );
    assert!(
        found.backtrace.unwrap().contains("steps"),
        "names a function of the guest"
    );
}

#[test]
fn asking_more_or_less_or_ending_otherwise_diverges() {
    let birth = birth("Steps", r#"{"steps":2}"#);
    let changed = |change: fn(&mut Vec<PastTurn>)| {
        let mut turns = play(&steps(), birth.clone());
        change(&mut turns);
        let found = diverges(&steps(), birth.clone(), turns);
        format!(
            "{} {}: {} | {}",
            found.turn, found.place, found.history, found.code
        )
    };
    let less = changed(|turns| {
        let extra = Command::Cancel { task: TaskId(1) };
        turns[1].turn.commands.push(extra);
    });
    assert_eq!(less, "2 2: cancel task 1 | wait");
    let more = changed(|turns| turns[1].turn.commands.clear());
    assert_eq!(
        more,
        "2 1: nothing more, then wait | task 2: call activity `Echo` with 1"
    );
    let end = changed(|turns| turns[2].turn.step = Step::Completed(json("9")));
    assert_eq!(end, "3 1: complete with 9 | complete with 2");
}

#[test]
fn a_changed_state_call_diverges() {
    let birth = birth("Counter", "null");
    let mut turns = play(&steps(), birth.clone());
    turns[0].turn.state.remove(0);
    let found = diverges(&steps(), birth, turns);
    assert_eq!(found.history, "write 1 under the key `counter`");
    assert_eq!(found.code, "read the key `counter`");
}

#[test]
fn the_state_of_a_replayed_turn_is_that_of_its_record() {
    let birth = birth("Counter", "null");
    let turns = play(&steps(), birth.clone());
    assert_eq!(turns[0].turn.step, Step::Completed(json("1")));
    replay(&steps(), birth, turns).unwrap();
}

#[test]
fn a_replayed_panic_is_the_same_wherever_it_stands() {
    let birth = birth("Panics", "null");
    let mut turns = play(&steps(), birth.clone());
    if let Step::Failed(failure) = &mut turns[1].turn.step {
        assert_eq!(failure.kind, kind::PANIC);
        failure.message = "it stood elsewhere".into();
        failure.details = None;
    }
    replay(&steps(), birth, turns).unwrap();
}

#[test]
fn a_patch_that_the_history_has_not_is_not_taken() {
    let start =
        "(if (call $patched (i32.const 256) (i32.const 4)) (then unreachable)) (i32.const 16)";
    let module = loaded_in(&sandbox(), &starts_with(start));
    let mut guest = module.guest(birth("name", "1")).unwrap();
    let mut old = play(&steps(), birth("Steps", r#"{"steps":1}"#)).swap_remove(0);
    old.turn.commands.clear();
    guest.replay(old).unwrap();
    let mut new = play(&steps(), birth("Steps", r#"{"steps":1}"#)).swap_remove(0);
    new.turn.commands = vec![Command::Patched { id: "name".into() }];
    let mut guest = module.guest(birth("name", "1")).unwrap();
    let error = guest.replay(new).unwrap_err().to_string();
    assert!(error.contains("`unreachable` instruction"), "{error}");
}

#[test]
fn two_guests_of_one_seed_ask_the_same_and_of_two_seeds_not() {
    let outputs = [42, 42, 43].map(|seed| {
        let mut birth = birth("Deterministic", "null");
        birth.seed = seed;
        let last = play(&steps(), birth).pop().unwrap();
        match last.turn.step {
            Step::Completed(output) => output,
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(outputs[0], outputs[1]);
    assert_ne!(outputs[0], outputs[2]);
    let now = &outputs[0].value()["now"][0];
    assert_eq!(*now, "2023-11-14T22:13:20.123Z");
}

#[test]
fn a_rerun_is_its_origin_in_the_turns_that_were_copied_and_itself_afterwards() {
    let origin = Birth {
        parent: Some("above".into()),
        ..birth("WhoAmI", "null")
    };
    let own = Birth {
        id: "rerun".parse().unwrap(),
        run: RunId(8),
        seed: 43,
        ..birth("WhoAmI", "null")
    };
    let rerun = |turns| Birth {
        origins: vec![Origin {
            id: origin.id.clone(),
            run: origin.run,
            parent: origin.parent.clone(),
            seed: origin.seed,
            turns,
        }],
        ..own.clone()
    };
    let readings = |birth: Birth| match play(&steps(), birth).pop().unwrap().turn.step {
        Step::Completed(output) => output.value().as_array().unwrap().clone(),
        other => panic!("it did not complete: {other:?}"),
    };
    let (old, new) = (readings(origin.clone()), readings(own.clone()));
    assert_eq!(old[0]["parent"], "above");
    for turns in 0..4_usize {
        let seen = readings(rerun(turns as u64));
        assert_eq!(seen[..turns.min(3)], old[..turns.min(3)], "{turns} copied");
        // Its own stream begins anew.
        for (at, reading) in seen.iter().enumerate().skip(turns) {
            for field in ["id", "run", "parent"] {
                assert_eq!(reading[field], new[at][field], "{field}");
            }
            assert_eq!(
                reading["random"],
                new[at - turns]["random"],
                "{turns} copied"
            );
        }
    }
    // Turns that are taken again count like the others.
    let mut history = play(&steps(), rerun(2));
    let last = history.pop().unwrap();
    let mut guest = steps().guest(rerun(2)).unwrap();
    for past in history {
        guest.replay(past).unwrap();
    }
    let end = guest.turn(NOW, &last.delivered.inputs, session());
    let same = matches!(&end, TurnEnd::Taken { turn, .. } if turn.step == last.turn.step);
    assert!(same, "{end:?}");
}

#[test]
fn a_guest_that_has_diverged_takes_no_more_turns() {
    let mut turns = play(&steps(), birth("Steps", r#"{"steps":2}"#));
    turns[0].turn.step = Step::Cancelled;
    let mut guest = steps().guest(birth("Steps", r#"{"steps":2}"#)).unwrap();
    guest.replay(turns.remove(0)).unwrap_err();
    let end = guest.turn(NOW, &[completed(1, "0")], session());
    assert!(matches!(end, TurnEnd::Spent), "{end:?}");
}
