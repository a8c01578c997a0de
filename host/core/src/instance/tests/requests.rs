//! What is asked from outside: once for each key, held back by a suspension, answered by number.

use super::*;

const NOW: Timestamp = Timestamp(400);

/// A request of an instance, with this key.
type Ask = fn(&Instance, Option<String>) -> Result<Record, Refused>;

fn event(it: &Instance, key: Option<String>) -> Result<Record, Refused> {
    let event = Event {
        name: name("go"),
        payload: json("1"),
    };
    decide::raise_event(it, event, key, NOW)
}

fn update(it: &Instance, key: Option<String>) -> Result<Record, Refused> {
    decide::request_update(it, name("ask"), json("1"), key, NOW)
}

fn cancel(it: &Instance, key: Option<String>) -> Result<Record, Refused> {
    decide::request_cancel(it, Some("late".into()), key, NOW)
}

fn suspend(it: &Instance, key: Option<String>) -> Result<Record, Refused> {
    decide::suspend(it, Some("a look".into()), key, NOW)
}

fn resume(it: &Instance, key: Option<String>) -> Result<Record, Refused> {
    decide::resume(it, key, NOW)
}

fn terminate(it: &Instance, key: Option<String>) -> Result<Record, Refused> {
    decide::terminate(it, Some("enough".into()), true, key, NOW)
}

/// The requests in an order in which each can be made, with what a key then stands for.
const ASKS: [(Ask, Asked); 6] = [
    (event, Asked::Event),
    (update, Asked::Update(1)),
    (cancel, Asked::Cancel),
    (suspend, Asked::Suspend),
    (resume, Asked::Resume),
    (terminate, Asked::Terminate),
];

fn done(mut instance: Instance, ask: Ask, key: Option<&str>) -> Instance {
    let record = ask(&instance, key.map(Into::into)).unwrap();
    instance.apply(&record).unwrap();
    instance
}

#[test]
fn a_key_that_was_used_is_refused_for_any_request_with_what_it_was_used_for() {
    let mut instance = fold([turn(0, vec![])]);
    for (ask, asked) in ASKS {
        instance = done(instance, ask, Some(asked.as_str()));
        assert_eq!(instance.asked(asked.as_str()), Some(asked));
        for (other, _) in ASKS {
            let again = other(&instance, Some(asked.as_str().into()));
            assert_eq!(again, Err(Refused::Repeated(asked)));
        }
    }
}

#[test]
fn a_used_key_is_told_from_the_end() {
    let ended = done(done(fold([]), event, Some("one")), terminate, Some("two"));
    let asked = |key: &str| event(&ended, Some(key.into()));
    assert_eq!(asked("one"), Err(Refused::Repeated(Asked::Event)));
    assert_eq!(asked("two"), Err(Refused::Repeated(Asked::Terminate)));
    assert_eq!(asked("three"), Err(Refused::Ended));
}

#[test]
fn the_key_of_the_start_is_used() {
    let key = Some("one".to_owned());
    let instance = Instance::begin(Started {
        key: key.clone(),
        ..started()
    });
    assert_eq!(event(&instance, key), Err(Refused::Repeated(Asked::Start)));
}

#[test]
fn a_refused_request_does_not_use_its_key() {
    let instance = fold([]);
    let key = || Some("one".to_owned());
    assert_eq!(resume(&instance, key()), Err(Refused::Stale));
    assert!(event(&instance, key()).is_ok());
}

#[test]
fn only_the_latest_keys_are_remembered() {
    let mut instance = fold([]);
    for number in 0..=Instance::KEYS_MAX {
        instance = done(instance, event, Some(&number.to_string()));
    }
    assert_eq!(instance.asked("0"), None);
    assert_eq!(instance.asked("1"), Some(Asked::Event));
}

#[test]
fn a_suspended_instance_accepts_inputs_and_delivers_them_once_it_is_resumed() {
    let running = fold([turn(0, vec![awaits(1)])]);
    let suspended = done(running, suspend, None);
    assert_eq!(suspended.status(), Status::Suspended);
    assert_eq!(suspend(&suspended, None), Err(Refused::Stale));
    let full = done(
        done(done(suspended, update, None), event, None),
        cancel,
        None,
    );
    assert_eq!(full.turn_due_at(), None);
    let resumed = done(full, resume, None);
    assert_eq!(resumed.status(), Status::Running);
    assert!(resumed.turn_due_at().is_some());
    assert_eq!(resume(&resumed, None), Err(Refused::Stale));
    let inputs = resumed.deliver().inputs;
    assert!(
        matches!(
            inputs[..],
            [
                Input::UpdateRequested { .. },
                Input::Completed { .. },
                Input::CancelRequested { .. }
            ]
        ),
        "{inputs:?}"
    );
}

#[test]
fn a_turn_that_is_under_way_at_a_suspension_comes_to_its_end() {
    let instance = fold([]);
    let fence = TurnFence::of(&instance);
    let mut suspended = done(instance, suspend, None);
    let Record::Turn(first) = turn(0, vec![awaits(1)]) else {
        unreachable!()
    };
    let records = decide::take_turn(&suspended, fence, *first, None).unwrap();
    suspended.apply(&records[0]).unwrap();
    assert_eq!((suspended.turns(), suspended.turn_due_at()), (1, None));
}

#[test]
fn updates_are_numbered_and_open_until_their_answer() {
    let mut instance = done(done(fold([turn(0, vec![])]), update, None), update, None);
    assert_eq!(instance.updates(), 2);
    let open = |it: &Instance| it.open_updates().iter().copied().collect::<Vec<_>>();
    assert_eq!(open(&instance), [1, 2]);
    let answer = |id, outcome| Command::AnswerUpdate { id, outcome };
    let failure = Failure::last("no", "not now");
    for (id, outcome, left) in [
        (2, Err(failure), vec![1]),
        (7, Ok(json("1")), vec![1]),
        (1, Ok(json("1")), vec![]),
    ] {
        let inputs = instance.deliver().inputs.len() as u32;
        instance
            .apply(&turn(inputs, vec![answer(id, outcome)]))
            .unwrap();
        assert_eq!(open(&instance), left);
    }
    assert_eq!(done(instance, update, None).updates(), 3);
}

#[test]
fn a_cancellation_is_requested_once() {
    let asked = done(fold([turn(0, vec![])]), cancel, None);
    assert!(asked.cancel_requested());
    assert_eq!(cancel(&asked, None), Err(Refused::Stale));
}

#[test]
fn a_terminated_instance_says_why_and_whether_its_children_end_too() {
    for recursive in [false, true] {
        let mut instance = fold([turn(0, vec![calls(1), awaits(2)]), raised("1")]);
        let reason = Some("enough".to_owned());
        let end = decide::terminate(&instance, reason, recursive, None, NOW).unwrap();
        instance.apply(&end).unwrap();
        assert_eq!(instance.status(), Status::Terminated);
        assert_eq!(instance.terminated(), Some(recursive));
        assert_eq!(instance.failure().unwrap().message, "enough");
        assert!(instance.tasks().is_empty() && instance.unread_events().is_empty());
        assert_eq!(terminate(&instance, None), Err(Refused::Ended));
    }
    let completed = fold([turn_with(0, vec![], Step::Completed(json("1")))]);
    assert_eq!(completed.terminated(), None);
}

#[test]
fn the_first_turn_waits_for_its_time_and_those_after_it_do_not() {
    let begins_at = Some(Timestamp(900));
    let mut instance = Instance::begin(Started {
        begins_at,
        ..started()
    });
    assert_eq!(instance.turn_due_at(), begins_at);
    assert_eq!(instance.deliver().not_before, Timestamp(900));
    let suspended = done(instance.clone(), suspend, None);
    assert_eq!(suspended.turn_due_at(), None);
    instance.apply(&turn(0, vec![awaits(1)])).unwrap();
    instance.apply(&raised("1")).unwrap();
    assert_eq!(instance.begins_at(), None);
    assert_eq!(instance.turn_due_at(), Some(Timestamp::default()));
}
