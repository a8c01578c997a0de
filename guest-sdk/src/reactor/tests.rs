//! What a workflow asks, turn by turn, and what becomes of what it is told.

use super::*;
use crate::bindings::workflow::wfhost::durable::types;
use crate::context::Context;
use crate::failure::Result;
use crate::testing::stand_in::{Asked, Entered, World, world};
use core::time::Duration;
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, join, select_biased, try_join};

/// Runs a workflow over turns of inputs, and compares what each turn asked, and the end.
fn check<F: Future<Output = Result<String>> + 'static>(
    code: impl FnOnce(Context) -> F,
    turns: &[(&[Input], &[&str])],
    end: &str,
) {
    let _entered = Entered::new(World::new("test", "", 1_000));
    let reactor = Rc::<Reactor>::default();
    let code = code(Context::new(Rc::clone(&reactor)));
    let (mut run, mut step) = Run::start(reactor, code);
    let start = turns[0].1;
    assert_eq!(asked(), start, "at the start");
    for (number, (inputs, expected)) in turns.iter().enumerate().skip(1) {
        assert!(matches!(step, Step::Waiting), "ended before turn {number}");
        step = run.resume(inputs.iter().map(copy));
        assert_eq!(&asked(), expected, "in turn {number}");
    }
    let ended = match step {
        Step::Waiting => "waiting".to_owned(),
        Step::Cancelled => "cancelled".to_owned(),
        Step::Ended(Ok(output)) => output,
        Step::Ended(Err(error)) => format!("{error:?}"),
    };
    assert_eq!(ended, end);
    drop(run);
}

/// What was asked since the last look, one line a command.
fn asked() -> Vec<String> {
    let asked = world(|world| core::mem::take(&mut world.asked));
    let lines = asked.into_iter().map(|asked| match asked {
        Asked::CallActivity {
            task, name, input, ..
        } => format!("{task}: call {name} {input}"),
        Asked::CallWorkflow {
            task, name, input, ..
        } => format!("{task}: child {name} {input}"),
        Asked::CreateTimer { task, fires_at } => format!("{task}: timer {fires_at}"),
        Asked::AwaitEvent { task, name } => format!("{task}: await {name}"),
        Asked::RaiseEvent {
            task,
            instance,
            name,
            payload,
        } => format!("{task}: raise {instance} {name} {payload}"),
        Asked::Cancel(task) => format!("cancel {task}"),
        Asked::AnswerUpdate { id, outcome } => {
            let outcome = outcome.as_deref().map_err(Failure::kind);
            format!("answer {id} {outcome:?}")
        }
    });
    lines.collect()
}

fn copy(input: &Input) -> Input {
    match input {
        Input::Completed(Completion {
            task,
            outcome: Ok(json),
        }) => done(*task, json),
        Input::Completed(Completion {
            task,
            outcome: Err(failure),
        }) => failed(*task, &failure.kind),
        Input::CancelRequested(reason) => Input::CancelRequested(reason.clone()),
        Input::UpdateRequested(update) => Input::UpdateRequested(Update {
            id: update.id,
            name: update.name.clone(),
            input: update.input.clone(),
        }),
    }
}

fn done(task: Task, json: &str) -> Input {
    Input::Completed(Completion {
        task,
        outcome: Ok(json.into()),
    })
}

fn failed(task: Task, kind: &str) -> Input {
    let failure = types::Failure::from(Failure::new(kind.to_owned(), "it failed"));
    Input::Completed(Completion {
        task,
        outcome: Err(failure),
    })
}

fn update(id: u32, name: &str) -> Input {
    Input::UpdateRequested(Update {
        id,
        name: name.into(),
        input: "null".into(),
    })
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_call_is_asked_at_its_first_poll_and_in_order() {
    check(
        async |ctx: Context| {
            let second = ctx.activity::<u32>("B", &2);
            let first = ctx.activity::<u32>("A", &1);
            let sum = first.await? + second.await?;
            Ok(sum.to_string())
        },
        &[
            (&[], &["1: call A 1"]),
            (&[done(1, "5")], &["2: call B 2"]),
            (&[done(2, "6")], &[]),
        ],
        "11",
    );
}

#[test]
fn calls_that_were_started_run_at_the_same_time() {
    check(
        async |ctx: Context| {
            let one = ctx.activity::<u32>("A", &1).start();
            let two = ctx.activity::<u32>("A", &2).start();
            Ok(format!("{}", two.await? + one.await?))
        },
        &[
            (&[], &["1: call A 1", "2: call A 2"]),
            (&[done(1, "5"), done(2, "6")], &[]),
        ],
        "11",
    );
}

#[test]
fn join_waits_for_both_in_any_order() {
    check(
        async |ctx: Context| {
            let (a, b) = join!(ctx.activity::<u32>("A", &1), ctx.event::<u32>("e"));
            Ok(format!("{} {}", a?, b?))
        },
        &[
            (&[], &["1: call A 1", "2: await e"]),
            (&[done(2, "7")], &[]),
            (&[done(1, "5")], &[]),
        ],
        "5 7",
    );
}

#[test]
fn the_input_accepted_first_wins_a_race_and_the_loser_is_cancelled() {
    let race = async |ctx: Context| {
        let won = select_biased! {
            event = ctx.event::<u32>("go") => event?.to_string(),
            slept = ctx.sleep(SECOND) => { slept?; "timer".to_owned() }
        };
        ctx.activity::<()>("After", &()).await?;
        Ok(won)
    };
    let asked: &[&str] = &["1: await go", "2: timer 2000"];
    check(
        race,
        &[
            (&[], asked),
            (&[done(1, "9")], &["cancel 2", "3: call After null"]),
        ],
        "waiting",
    );
    // Both are there, the timer first: the event goes back though it was delivered after.
    let both = [done(2, "null"), done(1, "9")];
    check(
        race,
        &[(&[], asked), (&both, &["cancel 1", "3: call After null"])],
        "waiting",
    );
}

#[test]
fn an_event_that_was_delivered_but_not_read_goes_back() {
    check(
        async |ctx: Context| {
            let mut event = ctx.event::<u32>("e");
            assert!(futures::poll!(&mut event).is_pending());
            ctx.activity::<()>("A", &()).await?;
            drop(event);
            ctx.sleep(SECOND).await?;
            Ok("end".into())
        },
        &[
            (&[], &["1: await e", "2: call A null"]),
            (&[done(1, "9")], &[]),
            (&[done(2, "null")], &["cancel 1", "3: timer 2000"]),
            (&[done(3, "null")], &[]),
        ],
        "end",
    );
}

#[test]
fn many_calls_at_once_complete_in_the_order_accepted() {
    check(
        async |ctx: Context| {
            let mut calls: FuturesUnordered<_> =
                (0..3).map(|n| ctx.activity::<String>("A", &n)).collect();
            let mut order = String::new();
            while let Some(result) = calls.next().await {
                order += &result?;
            }
            Ok(order)
        },
        &[
            (&[], &["1: call A 0", "2: call A 1", "3: call A 2"]),
            (&[done(3, "\"c\"")], &[]),
            (&[done(1, "\"a\""), done(2, "\"b\"")], &[]),
        ],
        "cab",
    );
}

#[test]
fn a_failure_reaches_the_caller_with_its_kind() {
    check(
        async |ctx: Context| match ctx.activity::<u32>("A", &1).await {
            Err(failure) if failure.kind() == "sold-out" => Ok("caught".into()),
            other => Ok(format!("{other:?}")),
        },
        &[(&[], &["1: call A 1"]), (&[failed(1, "sold-out")], &[])],
        "caught",
    );
    check(
        async |ctx: Context| Ok(ctx.activity::<u32>("A", &1).await?.to_string()),
        &[(&[], &["1: call A 1"]), (&[done(1, "\"text\"")], &[])],
        "invalid-output: the result does not fit: invalid type: string \"text\", expected u32 \
         at line 1 column 6",
    );
}

#[test]
fn a_cancellation_ends_open_waits_once_so_that_the_workflow_can_clean_up() {
    check(
        async |ctx: Context| {
            let waits = try_join!(ctx.sleep(SECOND), ctx.activity::<()>("A", &()));
            let failure = waits.unwrap_err();
            assert!(failure.is_cancelled());
            ctx.activity::<()>("Refund", failure.message()).await?;
            Err(failure.into())
        },
        &[
            (&[], &["1: timer 2000", "2: call A null"]),
            (
                &[Input::CancelRequested(Some("stop".into()))],
                &["cancel 1", "cancel 2", "3: call Refund \"stop\""],
            ),
            (&[done(3, "null")], &[]),
        ],
        "cancelled",
    );
}

#[test]
fn a_cancellation_that_no_wait_showed_is_shown_by_the_next() {
    check(
        async |ctx: Context| {
            let mut slept = ctx.sleep(SECOND);
            let waits = core::future::poll_fn(|cx| Pin::new(&mut slept).poll(cx).map(drop));
            // Woken by the cancellation, but it looks at nothing that shows it.
            let mut waits = Box::pin(waits);
            assert!(futures::poll!(&mut waits).is_pending());
            let mut polls = 0;
            core::future::poll_fn(|cx| {
                polls += 1;
                if polls == 1 {
                    let _ = waits.as_mut().poll(cx);
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            drop(waits);
            drop(slept);
            let next = ctx
                .sleep(SECOND)
                .await
                .map_err(|failure| failure.is_cancelled());
            let after = ctx.activity::<()>("A", &()).await;
            Ok(format!("{next:?} {after:?}"))
        },
        &[
            (&[], &["1: timer 2000"]),
            (
                &[Input::CancelRequested(None)],
                &["cancel 1", "2: call A null"],
            ),
            (&[done(2, "null")], &[]),
        ],
        "Err(true) Ok(())",
    );
}

#[test]
fn updates_are_answered_and_wake_those_who_wait_for_state() {
    check(
        async |ctx: Context| {
            let approved = Rc::new(Cell::new(false));
            let seen = Rc::clone(&approved);
            ctx.on_update("approve", move |(): ()| {
                seen.set(true);
                Ok(true)
            });
            ctx.until(|| approved.get()).await?;
            Ok("approved".into())
        },
        &[
            (&[], &[]),
            (&[update(1, "other")], &["answer 1 Err(\"unknown-update\")"]),
            (&[update(2, "approve")], &["answer 2 Ok(\"true\")"]),
        ],
        "approved",
    );
}

#[test]
fn an_update_is_validated_without_a_turn_and_again_before_its_handler() {
    let _entered = Entered::new(World::new("test", "", 1_000));
    let reactor = Rc::<Reactor>::default();
    let ctx = Context::new(Rc::clone(&reactor));
    let open = Rc::new(Cell::new(true));
    let seen = Rc::clone(&open);
    ctx.on_validated_update(
        "add",
        move |number: &u32| match (seen.get(), number) {
            (false, _) => Err(Error::new("closed", "no more")),
            (true, 0) => Err(Error::new("nothing", "add at least 1")),
            (true, _) => Ok(()),
        },
        |number| Ok(number + 1),
    );
    ctx.on_update("plain", |number: u32| Ok(number));
    let (mut run, _) = Run::start(reactor, core::future::pending());
    for (name, input, outcome) in [
        ("add", "5", Ok(())),
        ("add", "0", Err("nothing")),
        ("add", "\"five\"", Err("invalid-input")),
        ("plain", "5", Ok(())),
        ("plain", "-5", Err("invalid-input")),
        ("other", "5", Err("unknown-update")),
    ] {
        let validated = run.validate_update(name, input);
        let kind = validated.as_ref().map_err(Failure::kind);
        assert_eq!(kind.copied(), outcome, "{name} {input}");
    }
    assert_eq!(asked(), [""; 0]);
    let add = |id| {
        let (name, input) = ("add".into(), "5".into());
        [Input::UpdateRequested(Update { id, name, input })]
    };
    run.resume(add(1));
    open.set(false);
    run.resume(add(2));
    assert_eq!(asked(), ["answer 1 Ok(\"6\")", "answer 2 Err(\"closed\")"]);
}

#[test]
fn shielded_work_is_not_cut_off_and_the_wait_after_it_shows_the_cancellation() {
    check(
        async |ctx: Context| {
            let work = async {
                ctx.activity::<()>("A", &()).await?;
                ctx.activity::<()>("B", &()).await
            };
            let (done, slept) = join!(ctx.shielded(work), ctx.sleep(SECOND));
            let late = ctx.sleep(SECOND).await;
            Ok(format!("{done:?} {} {late:?}", slept.is_err()))
        },
        &[
            (&[], &["1: call A null", "2: timer 2000"]),
            (&[Input::CancelRequested(None)], &["cancel 2"]),
            (&[done(1, "null")], &["3: call B null"]),
            (&[done(3, "null")], &["4: timer 2000"]),
            (&[done(4, "null")], &[]),
        ],
        "Ok(()) true Ok(())",
    );
    // A call that was started before is shielded from when it is awaited so.
    check(
        async |ctx: Context| {
            let started = ctx.activity::<()>("A", &()).start();
            ctx.shielded(started).await?;
            let next = ctx.sleep(SECOND).await;
            Ok(format!(
                "{}",
                next.is_err_and(|failure| failure.is_cancelled())
            ))
        },
        &[
            (&[], &["1: call A null"]),
            (&[Input::CancelRequested(None)], &[]),
            (&[done(1, "null")], &[]),
        ],
        "true",
    );
}

#[test]
fn what_outlives_the_workflow_asks_nothing_more() {
    let kept = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&kept);
    check(
        async move |ctx: Context| {
            let mut event = ctx.event::<u32>("e");
            assert!(futures::poll!(&mut event).is_pending());
            *keep.borrow_mut() = Some(event);
            Ok("end".into())
        },
        &[(&[], &["1: await e"])],
        "end",
    );
    drop(kept.take());
    assert_eq!(asked(), [""; 0]);
}
