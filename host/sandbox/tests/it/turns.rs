//! A workflow's guest, turn by turn.

use wfhost_core::record::{Command, LogLevel, StateCall, Step};
use wfhost_core::{Failure, Input, TaskId, kind};
use wfhost_sandbox::TurnEnd;

use crate::guests::{
    HAND_WRITTEN, HandWritten, NOW, birth, changing_session, completed, failure, json, loaded_in,
    sandbox, session, starts_with, steps, taken,
};

#[test]
fn a_turn_asks_and_the_next_one_goes_on() {
    let mut guest = steps().guest(birth("Steps", r#"{"steps":2}"#)).unwrap();
    let first = taken(&mut guest, &[]);
    assert_eq!(
        (first.at, first.inputs, &first.step),
        (NOW, 0, &Step::Waiting)
    );
    assert_eq!(first.commands, [echo(1, "0")]);
    let second = taken(&mut guest, &[completed(1, "0")]);
    assert_eq!((second.inputs, second.commands), (1, vec![echo(2, "1")]));
    let third = taken(&mut guest, &[completed(2, "1")]);
    assert_eq!(third.step, Step::Completed(json("2")));
}

fn echo(task: u32, input: &str) -> Command {
    Command::CallActivity {
        task: TaskId(task),
        name: "Echo".parse().unwrap(),
        input: json(input),
        options: Default::default(),
    }
}

#[test]
fn a_failed_task_fails_the_workflow_that_does_not_mind_it() {
    let mut guest = steps().guest(birth("Steps", r#"{"steps":1}"#)).unwrap();
    taken(&mut guest, &[]);
    let outcome = Err(Failure::last("sold-out", "no more"));
    let turn = taken(
        &mut guest,
        &[Input::Completed {
            task: TaskId(1),
            outcome,
        }],
    );
    let failed = failure(&turn.step);
    assert_eq!(
        (failed.kind.as_str(), failed.message.as_str()),
        ("sold-out", "no more")
    );
}

#[test]
fn the_state_goes_through_the_session_and_into_the_record() {
    let mut guest = steps().guest(birth("Counter", "null")).unwrap();
    let TurnEnd::Taken { turn, state } = guest.turn(NOW, &[], session()) else {
        panic!("the turn was not taken");
    };
    assert_eq!(turn.step, Step::Completed(json("1")));
    assert_eq!(state.reads.keys, ["counter"]);
    assert_eq!(state.writes[0].value, Some(json("1")));
    let get = StateCall::Get {
        key: "counter".into(),
        found: None,
    };
    assert_eq!((turn.state.len(), &turn.state[0]), (2, &get));
}

#[test]
fn a_turn_whose_state_changes_is_not_taken() {
    let mut guest = steps().guest(birth("Counter", "null")).unwrap();
    let end = guest.turn(NOW, &[], changing_session());
    assert!(matches!(end, TurnEnd::StateChanged(_)), "{end:?}");
    let again = guest.turn(NOW, &[], session());
    assert!(matches!(again, TurnEnd::Spent), "{again:?}");
}

#[test]
fn a_panic_is_a_failure_that_names_file_and_line_and_its_guest_is_spent() {
    let mut guest = steps().guest(birth("Panics", "null")).unwrap();
    taken(&mut guest, &[]);
    let turn = taken(&mut guest, &[completed(1, "1")]);
    let failed = failure(&turn.step);
    assert_eq!(failed.kind, kind::PANIC);
    assert!(
        failed.message.starts_with("this workflow panics, at "),
        "{}",
        failed.message
    );
    assert!(
        failed.message.contains("workflows.rs:"),
        "{}",
        failed.message
    );
    let details = failed.details.as_ref().unwrap().as_str();
    assert!(details.contains("steps::workflows::panics"), "{details}");
    assert!(matches!(guest.turn(NOW, &[], session()), TurnEnd::Spent));
    assert!(guest.query(&"q".parse().unwrap(), &json("1")).is_err());
}

#[test]
fn what_breaks_the_contract_is_a_failure_where_it_is_made() {
    let not_json = failed_start("(i32.const 64)");
    assert_eq!(not_json.kind, kind::INVALID_OUTPUT);
    assert!(
        not_json
            .message
            .starts_with("the workflow's output is not valid JSON"),
        "{not_json:?}"
    );

    let empty_name =
        failed_start("(drop (call $await-event (i32.const 256) (i32.const 0))) (i32.const 16)");
    assert_eq!(empty_name.kind, kind::INVALID_OUTPUT);
    assert!(
        empty_name
            .message
            .starts_with("the name of an event: `` is not a name"),
        "{empty_name:?}"
    );

    let no_task = failed_start("(call $cancel (i32.const 3)) (i32.const 16)");
    assert_eq!(no_task.kind, kind::TRAP);
    assert_eq!(no_task.message, "it cancelled task 3; the last task is 0");

    let unreachable = failed_start("unreachable");
    assert_eq!(unreachable.kind, kind::TRAP);
    assert!(
        unreachable.message.contains("`unreachable` instruction"),
        "{unreachable:?}"
    );
}

fn failed_start(start: &str) -> Failure {
    let module = loaded_in(&sandbox(), &starts_with(start));
    let mut guest = module.guest(birth("name", "1")).unwrap();
    failure(&taken(&mut guest, &[]).step).clone()
}

#[test]
fn a_payload_over_the_limit_is_a_failure_that_names_both_sizes() {
    let limits = wfhost_sandbox::Limits {
        payload_bytes_max: 1_000,
        ..Default::default()
    };
    let sandbox = wfhost_sandbox::Sandbox::new(limits).unwrap();
    let module = loaded_in(&sandbox, &crate::guests::built("steps"));
    let birth = birth("Steps", r#"{"steps":1,"payload_bytes":1000}"#);
    let turn = taken(&mut module.guest(birth).unwrap(), &[]);
    let failed = failure(&turn.step);
    assert_eq!(failed.kind, kind::INVALID_OUTPUT);
    let message = "the input of the activity `Echo` has 1002 bytes, more than the limit of 1000";
    assert_eq!(failed.message, message);
}

#[test]
fn a_query_answers_and_its_copy_takes_no_more_turns() {
    let mut guest = steps().guest(birth("TakesUpdates", "null")).unwrap();
    taken(&mut guest, &[]);
    let update = Input::UpdateRequested {
        id: 1,
        name: "add".parse().unwrap(),
        input: json("4"),
    };
    let turn = taken(&mut guest, &[update]);
    let answer = Command::AnswerUpdate {
        id: 1,
        outcome: Ok(json("4")),
    };
    assert!(turn.commands.contains(&answer), "{:?}", turn.commands);
    let sum = "sum".parse().unwrap();
    assert_eq!(guest.query(&sum, &json("null")).unwrap(), json("4"));
    assert_eq!(guest.query(&sum, &json("null")).unwrap(), json("4"));
    assert!(matches!(guest.turn(NOW, &[], session()), TurnEnd::Spent));
}

#[test]
fn an_update_is_checked_before_it_is_asked() {
    let checked = |name: &str| {
        let mut guest = steps().guest(birth("TakesUpdates", "null")).unwrap();
        taken(&mut guest, &[]);
        let checked = guest.validate(&name.parse().unwrap(), &json("4"));
        assert!(matches!(guest.turn(NOW, &[], session()), TurnEnd::Spent));
        checked.map_err(|failure| failure.kind)
    };
    assert_eq!(checked("add"), Ok(()));
    assert_eq!(checked("subtract"), Err("unknown-update".into()));
}

#[test]
fn a_query_may_ask_nothing() {
    let module = loaded_in(&sandbox(), &starts_with("(i32.const 16)"));
    let mut guest = module.guest(birth("name", "1")).unwrap();
    taken(&mut guest, &[]);
    let failed = guest.query(&"q".parse().unwrap(), &json("1")).unwrap_err();
    assert_eq!(failed.kind, kind::TRAP);
    assert_eq!(
        failed.message,
        "a query called `await-event`; it may ask only `info` and `now`"
    );
}

#[test]
fn the_check_of_an_update_may_ask_nothing() {
    let module = loaded_in(&sandbox(), &starts_with("(i32.const 16)"));
    let mut guest = module.guest(birth("name", "1")).unwrap();
    taken(&mut guest, &[]);
    let failed = guest
        .validate(&"u".parse().unwrap(), &json("1"))
        .unwrap_err();
    let message = "the check of an update called `await-event`; it may ask only `info` and `now`";
    assert_eq!(
        (failed.kind.as_str(), failed.message.as_str()),
        (kind::TRAP, message)
    );
}

#[test]
fn a_patch_is_taken_once_and_recorded() {
    let patched = "(call $patched (i32.const 256) (i32.const 4))";
    let module = loaded_in(
        &sandbox(),
        &starts_with(&format!(
            "(if (i32.and {patched} {patched}) (then (return (i32.const 16)))) unreachable"
        )),
    );
    let turn = taken(&mut module.guest(birth("name", "1")).unwrap(), &[]);
    assert_eq!(turn.commands, [Command::Patched { id: "name".into() }]);
}

#[test]
fn a_workflow_that_calls_what_only_activities_may_names_it() {
    let bytes = HandWritten {
        world: "import wfhost:testing/outside@0.1.0;",
        imports: r#"(import "wfhost:testing/outside@0.1.0" "call"
            (func $outside (param i32 i32 i32)))"#,
        start: "(call $outside (i32.const 256) (i32.const 4) (i32.const 1024)) (i32.const 16)",
        ..HAND_WRITTEN
    };
    let sandbox = sandbox().with_outside(std::sync::Arc::new(|_| Ok(String::new())));
    let module = loaded_in(&sandbox, &bytes.bytes());
    assert!(!module.contained());
    let turn = taken(&mut module.guest(birth("name", "1")).unwrap(), &[]);
    let failed = failure(&turn.step);
    assert_eq!(failed.kind, kind::TRAP);
    assert!(
        failed
            .message
            .contains("`wfhost:testing/outside@0.1.0#call`"),
        "{}",
        failed.message
    );
}

#[test]
fn log_lines_are_those_of_the_turn() {
    let turns = crate::guests::play(&steps(), birth("Deterministic", "null"));
    let lines: Vec<_> = turns.iter().flat_map(|past| &past.turn.log).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (lines[0].level, lines[0].message.as_str()),
        (LogLevel::Info, "joined")
    );
}
