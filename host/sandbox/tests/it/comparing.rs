//! Turns that are taken again by code that may ask the same with another input.

use wfhost_core::comparison::{Comparison, InputChange};
use wfhost_core::record::{Command, StateCall, Step};
use wfhost_core::replay::PastTurn;
use wfhost_core::{Json, TaskId, Timestamp, kind};
use wfhost_sandbox::{Birth, ReplayError};

use crate::guests::{birth, json, play, steps};

/// The history of a workflow, changed as if other code had made it.
fn changed(birth: &Birth, change: fn(&mut Vec<PastTurn>)) -> Vec<PastTurn> {
    let mut turns = play(&steps(), birth.clone());
    change(&mut turns);
    turns
}

/// What differs in each turn, down to one that diverges.
fn compare(
    birth: &Birth,
    turns: Vec<PastTurn>,
    comparison: Comparison,
) -> Result<Vec<InputChange>, ReplayError> {
    let mut guest = steps().guest(birth.clone()).unwrap();
    let mut changes = Vec::new();
    for past in turns {
        changes.extend(guest.replay_as(past, comparison)?.map(|it| *it));
    }
    Ok(changes)
}

/// Where the code asks the same with another input, by the lenient comparison; by the exact one it
/// diverges in the first of these places.
fn input_changes(birth: &Birth, change: fn(&mut Vec<PastTurn>)) -> Vec<String> {
    let shown =
        |it: &InputChange| format!("{}.{}: {} | {}", it.turn, it.place, it.history, it.code);
    let found = compare(birth, changed(birth, change), Comparison::Lenient).unwrap();
    let exact = compare(birth, changed(birth, change), Comparison::Exact);
    let Err(ReplayError::Diverged(divergence)) = exact else {
        panic!("it is the same to the byte: {exact:?}");
    };
    if let Some(first) = found.first() {
        assert_eq!(
            (divergence.turn, divergence.place),
            (first.turn, first.place)
        );
    }
    found.iter().map(shown).collect()
}

/// Whether it diverges by either comparison.
fn diverges(birth: &Birth, change: fn(&mut Vec<PastTurn>)) -> bool {
    let levels = [Comparison::Exact, Comparison::Lenient];
    let found = levels.map(|level| compare(birth, changed(birth, change), level));
    found
        .iter()
        .all(|it| matches!(it, Err(ReplayError::Diverged(_))))
}

fn input(turn: &mut PastTurn) -> &mut Json {
    match turn.turn.commands.first_mut() {
        Some(Command::CallActivity { input, .. }) => input,
        other => panic!("it calls no activity: {other:?}"),
    }
}

#[test]
fn another_payload_is_told_once_a_turn_and_the_guest_goes_on() {
    let birth = birth("Steps", r#"{"steps":3}"#);
    let found = input_changes(&birth, |turns| {
        *input(&mut turns[0]) = json("7");
        *input(&mut turns[2]) = json("8");
        turns[3].turn.step = Step::Completed(json("9"));
    });
    let expected = [
        "1.1: task 1: call activity `Echo` with 7 | task 1: call activity `Echo` with 0",
        "3.1: task 3: call activity `Echo` with 8 | task 3: call activity `Echo` with 2",
        "4.1: complete with 9 | complete with 3",
    ];
    assert_eq!(found, expected);
}

#[test]
fn how_a_payload_is_written_does_not_count() {
    let birth = birth("Steps", r#"{"steps":3}"#);
    let found = input_changes(&birth, |turns| {
        *input(&mut turns[0]) = json(" 0 ");
        turns[3].turn.step = Step::Completed(json("3 "));
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn in_a_turn_the_first_change_counts() {
    let birth = birth("FanOut", r#"{"width":3}"#);
    let found = input_changes(&birth, |turns| {
        for command in &mut turns[0].turn.commands[1..] {
            if let Command::CallActivity { input, options, .. } = command {
                *input = json("7");
                options.attempt_timeout = Some(50);
            }
        }
    });
    assert_eq!(
        found,
        [
            "1.2: task 2: call activity `Echo` with 7, each attempt at most 50 ms | \
          task 2: call activity `Echo` with 1"
        ]
    );
}

#[test]
fn another_name_another_order_or_less_diverges() {
    let steps = birth("Steps", r#"{"steps":3}"#);
    assert!(diverges(&steps, |turns| {
        if let Some(Command::CallActivity { name, .. }) = turns[1].turn.commands.first_mut() {
            *name = "Other".parse().unwrap();
        }
    }));
    assert!(diverges(&steps, |turns| turns[1].turn.commands.clear()));
    assert!(diverges(&steps, |turns| {
        let more = Command::Cancel { task: TaskId(1) };
        turns[1].turn.commands.push(more);
    }));
    assert!(diverges(&steps, |turns| turns[3].turn.step = Step::Waiting));
    let cancels = birth("Cancels", "null");
    assert!(diverges(&cancels, |turns| {
        if let Some(Command::CreateTimer { fires_at, .. }) = turns[0].turn.commands.first_mut() {
            *fires_at = Timestamp(1);
        }
    }));
}

#[test]
fn another_value_that_is_written_is_a_change_and_another_key_is_not() {
    let birth = birth("Counter", "null");
    let found = input_changes(&birth, |turns| {
        if let Some(StateCall::Write { write, .. }) = turns[0].turn.state.get_mut(1) {
            write.value = Some(json("5"));
        }
    });
    let told = "1.2: write 5 under the key `counter` | write 1 under the key `counter`";
    assert_eq!(found, [told]);
    let reformatted = input_changes(&birth, |turns| {
        if let Some(StateCall::Write { write, .. }) = turns[0].turn.state.get_mut(1) {
            write.value = Some(json("1 "));
        }
    });
    assert_eq!(reformatted, [""; 0]);
    assert!(diverges(&birth, |turns| {
        if let Some(StateCall::Write { write, .. }) = turns[0].turn.state.get_mut(1) {
            write.key = "other".into();
        }
    }));
    assert!(diverges(&birth, |turns| {
        if let Some(StateCall::Get { key, .. }) = turns[0].turn.state.get_mut(0) {
            *key = "other".into();
        }
    }));
}

/// What it answered then is what the guest is told, whatever it writes now.
#[test]
fn a_guest_with_another_input_is_told_what_is_recorded() {
    let birth = birth("Deterministic", "null");
    let found = input_changes(&birth, |turns| {
        for command in turns.iter_mut().flat_map(|it| &mut it.turn.commands) {
            if let Command::SetCustomStatus { status } = command {
                *status = json(r#"{"phase":"another"}"#);
            }
        }
    });
    // It came to the same end, so that nothing else was told otherwise.
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|it| it.contains("custom status")));
}

#[test]
fn code_that_does_not_read_its_input_says_so() {
    let fits = birth("Steps", r#"{"steps":3}"#);
    let turns = play(&steps(), fits);
    let other = birth("Steps", r#"{"count":3}"#);
    for comparison in [Comparison::Exact, Comparison::Lenient] {
        let again = play(&steps(), birth("Steps", r#"{"steps":3}"#));
        assert_eq!(again.len(), turns.len());
        let Err(ReplayError::Diverged(found)) = compare(&other, again, comparison) else {
            panic!("it reads an input that is not its own");
        };
        assert_eq!(found.failure.unwrap().kind, kind::INVALID_INPUT);
    }
}
