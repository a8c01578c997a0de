//! The modules in `workflows/`, tested as their authors would.

use std::time::Duration;

use wfhost_test::{Failure, Status, Test, Value, in_every_mode, json};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn package(name: &str) -> String {
    format!("{}/../../workflows/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn test(name: &str) -> Test {
    Test::of(package(name))
}

fn cars(quantity: u32) -> Value {
    json!({"name": "Cars", "totalCost": 15_000, "quantity": quantity})
}

fn order(quantity: u32) -> Value {
    json!({"Name": "Cars", "TotalCost": 15_000, "Quantity": quantity})
}

/// What a panic says.
fn words(panics: impl FnOnce()) -> String {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
    let words = panicked.expect_err("it panics");
    words.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn days_pass_while_a_test_waits_and_as_far_as_it_says() {
    let test = test("steps");
    let begun = test.now();
    let week = json!({"seconds": 7.0 * DAY.as_secs_f64()});

    let waits = test.start("Race", week.clone());
    test.advance(6 * DAY);
    let report = waits.report();
    assert_eq!(
        (report.status(), report.awaits("GO")),
        (Status::Running, true),
        "{report}"
    );
    assert_eq!(test.now().since(begun), 6 * 86_400_000);

    let answered = test.start("Race", week);
    answered.raise("go", json!([7]));
    assert_eq!(
        answered.wait().output(),
        &json!({"won": "event", "payload": [7]})
    );
    assert_eq!(test.now().since(begun), 6 * 86_400_000, "no time is needed");

    let report = waits.wait();
    assert_eq!(report.output(), &json!({"won": "timer"}));
    assert_eq!(
        (report.elapsed(), test.now().since(begun)),
        (7 * DAY, 7 * 86_400_000)
    );
}

#[test]
fn attempts_fail_as_often_as_the_test_says_and_wait_in_between() {
    for (injected, attempts, status) in [
        (0, 1, Status::Completed),
        (2, 3, Status::Completed),
        (9, 5, Status::Failed),
    ] {
        let test = test("steps");
        test.fail("FlakyUntil", injected);
        let report = test.start("Retries", json!({"attempts": 1})).wait();
        assert_eq!(report.status(), status, "{report}");
        assert_eq!(report.activities().len(), 1);
        assert_eq!(report.activities()[0].attempts, attempts, "{report}");
        // 10 ms before each further attempt.
        assert_eq!(report.elapsed(), Duration::from_millis(10) * (attempts - 1));
    }
    let test = test("steps");
    test.fail_as("FlakyUntil", 1, Failure::last("broken", "for good"));
    let report = test.start("Retries", json!({"attempts": 1})).wait();
    assert_eq!(report.failure().unwrap().kind, "broken", "{report}");
    assert_eq!(report.activities()[0].attempts, 1);
}

#[test]
fn an_activity_is_played_and_what_it_was_asked_is_seen() {
    let test = test("order-processing");
    test.activity("ProcessPaymentActivity", |attempt| {
        assert_eq!(attempt.number, 1);
        match attempt.input["Amount"].as_u64() {
            Some(amount) if amount <= 10 => Ok(json!(null)),
            _ => Err(Failure::retryable("declined", "the bank says no")),
        }
    });
    test.set_state("Cars", cars(20));
    let report = test.start("OrderProcessingWorkflow", order(10)).wait();
    assert_eq!(report.output(), &json!({"Processed": true}));
    assert_eq!(test.state("Cars").unwrap()["quantity"], 10);
    assert_eq!(test.state("Boats"), None);
    assert_eq!(
        report.activity_names(),
        [
            "RestockActivity",
            "NotifyActivity",
            "ReserveInventoryActivity",
            "ProcessPaymentActivity",
            "UpdateInventoryActivity",
            "NotifyActivity"
        ]
    );
    assert_eq!(report.activities()[3].input["RequestId"], "run-1");
    report.assert_history([
        "started OrderProcessingWorkflow",
        "call activity `ReserveInventoryActivity`",
        "ProcessPaymentActivity, attempt 1",
        "state Cars = ",
        "completed",
    ]);
    assert_eq!(report.history()[0]["record"], "started");
    assert!(report.log().contains(&"Order run-1 has completed!"));

    test.set_state("Cars", cars(20));
    let report = test.start("OrderProcessingWorkflow", order(11)).wait();
    assert_eq!((report.id(), report.status()), ("run-2", Status::Failed));
    assert_eq!(report.failure().unwrap().kind, "declined");
}

#[test]
fn a_large_order_is_sold_once_it_is_approved() {
    let test = test("order-approval");
    test.set_state("Cars", cars(10));
    test.activity("ProcessPaymentActivity", |_| Ok(json!(null)));

    let run = test.start("OrderApprovalWorkflow", order(4));
    test.advance(Duration::from_secs(29));
    assert!(run.report().awaits("ApprovalEvent"));
    run.raise(
        "ApprovalEvent",
        json!({"RequestId": run.id(), "IsApproved": true}),
    );

    let report = run.wait();
    assert_eq!(report.output(), &json!({"Processed": true}));
    assert_eq!(report.elapsed(), Duration::from_secs(29));
    report.assert_history(["event ApprovalEvent", "ProcessPaymentActivity", "completed"]);
    assert_eq!(test.state("Cars").unwrap()["quantity"], 6);

    let forgotten = test.start("OrderApprovalWorkflow", order(1));
    let asked = forgotten.wait_until(|report| report.awaits("ApprovalEvent"));
    assert_eq!(asked.custom_status(), Some(json!("WaitingForApproval")));
    assert_eq!(forgotten.wait().output(), &json!({"Processed": false}));
}

#[test]
fn an_order_comes_to_the_same_whatever_happens_to_the_host() {
    let came = in_every_mode(|mode| {
        let test = test("order-processing").mode(mode);
        let order = json!({
            "Name": "Cars", "TotalCost": 15_000, "Quantity": 30, "SimulatedWorkSeconds": 86_400,
        });
        let report = test.start("OrderProcessingWorkflow", order).wait();
        assert_eq!(report.elapsed(), 3 * DAY);
        let attempts: Vec<_> = report
            .activities()
            .iter()
            .map(|call| call.attempts)
            .collect();
        (report.output().clone(), test.state("Cars"), attempts)
    });
    assert_eq!(came.0, json!({"Processed": true}));
    assert_eq!(came.1.unwrap()["quantity"], 70);
    assert_eq!(came.2, [1; 6]);
}

#[test]
fn events_children_updates_and_retries_come_to_the_same_in_every_mode() {
    in_every_mode(|mode| {
        let test = test("steps").mode(mode);
        let sum = test.start("Sum", json!({"events": 3}));
        for number in [1, 20, 300] {
            sum.raise("number", json!(number));
        }
        assert_eq!(sum.wait().output()["order"], json!([1, 20, 300]));

        let steps = json!({"workflow": "Race", "input": {"seconds": 60}});
        let parent = test.start("Parent", steps);
        let child = test.instance("run-2-0-1").report();
        assert_eq!(child.status(), Status::Running, "{child}");
        assert_eq!(parent.wait().output(), &json!({"result": {"won": "timer"}}));

        let takes = test.start("TakesUpdates", json!(null));
        assert_eq!(takes.update("add", json!(4)), Ok(json!(4)));
        let refused = takes.update("add", json!(-1)).unwrap_err();
        assert_eq!(refused.kind, "negative");
        assert_eq!(takes.query("sum", json!(null)), Ok(json!(4)));
        assert_eq!(takes.update("add", json!(6)), Ok(json!(10)));
        assert_eq!(takes.wait().output(), &json!(10));

        test.fail("FlakyUntil", 2);
        let retries = test.start("Retries", json!({"attempts": 4})).wait();
        assert_eq!(retries.output(), &json!(4));

        let cleans_up = test.start("CleansUp", json!(null));
        cleans_up.cancel();
        assert_eq!(cleans_up.report().status(), Status::Cancelled);
        let terminated = test.start("CleansUp", json!(null));
        terminated.terminate();
        assert_eq!(terminated.report().status(), Status::Terminated);
        cleans_up.assert_replays();
    });
}

#[test]
fn a_missing_activity_stalls_until_it_is_deployed() {
    let test = test("steps");
    let run = test.start("CallsUnknown", json!(null));
    let report = run.wait();
    assert_eq!(report.status(), Status::Stalled);
    assert!(report.to_string().contains("`Missing`"), "{report}");
    test.deploy(package("missing"));
    assert_eq!(run.wait().output(), &json!("found"));
}

#[test]
fn new_code_that_strays_from_an_old_history_is_found() {
    let test = test("steps");
    let run = test.start("Steps", json!({"steps": 2}));
    run.wait();
    run.assert_replays();
    let words = words(|| run.assert_replays_on(package("steps-changed")));
    assert!(words.starts_with("`run-1` does not replay"), "{words}");
}

#[test]
fn a_failed_assertion_shows_the_history() {
    let test = test("steps");
    let sum = test.start("Sum", json!({"events": 2}));
    sum.raise("number", json!(1));
    let report = sum.report();
    for words in [
        words(|| drop(sum.wait())),
        words(|| drop(sum.wait_until(|report| report.status() == Status::Completed))),
        words(|| drop(report.output().clone())),
        words(|| report.assert_history(["event number 1", "started Sum"])),
    ] {
        for part in [
            "waits for task 2: event number",
            "started Sum",
            "event number 1",
        ] {
            assert!(words.contains(part), "{part:?} is missing:\n{words}");
        }
    }
    test.activity("Echo", |attempt| panic!("{} is not 2", attempt.input));
    let played = words(|| drop(test.start("Steps", json!({"steps": 1}))));
    assert!(played.ends_with("`Echo`: 0 is not 2"), "{played}");

    let error = test.try_start("Sum", json!({"events": "many"})).map(drop);
    assert!(error.unwrap_err().to_string().contains("refused its input"));
}
