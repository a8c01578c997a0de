//! Timers.

use serde_json::json;

use crate::world::{Do, check};

#[test]
fn timers_fire_in_the_order_of_their_times_and_years_pass_at_once() {
    check("timers/order", &["scripted"], || {
        let year = 365 * 86_400_000_u64;
        vec![
            Do::Start(
                "a",
                json!([
                    { "all": [
                        [{ "sleep": 3_000 }, "now"],
                        [{ "sleep": 1 }, "now"],
                        [{ "sleep": 2_000 }, "now"],
                    ] },
                    { "sleep": year },
                    "now",
                    { "sleep": 0 },
                ]),
            ),
            Do::Finish,
        ]
    });
}

#[test]
fn an_overdue_timer_fires_late_but_never_early() {
    check("timers/overdue", &["scripted"], || {
        vec![
            Do::Start(
                "a",
                json!([{ "sleep": 1_000 }, "now", { "sleep": 1_000 }, "now"]),
            ),
            Do::Pass(999),
            Do::Pass(1),
            Do::Pass(86_400_000),
        ]
    });
}

#[test]
fn a_start_in_the_future_begins_then() {
    check("timers/begins-at", &["scripted"], || {
        let mut request = wfhost::StartRequest::new(
            "Script".parse().unwrap(),
            wfhost::Json::of(&json!(["now", { "sleep": 5 }, "now"])),
        );
        request.id = Some("a".parse().unwrap());
        request.begins_at = Some(wfhost::Timestamp(1_000_000 + 3_600_000));
        vec![Do::StartAs(request), Do::Pass(3_599_999), Do::Finish]
    });
}

#[test]
fn what_is_cancelled_before_it_begins_never_does() {
    check("timers/never-begins", &["scripted"], || {
        let mut request =
            wfhost::StartRequest::new("Script".parse().unwrap(), wfhost::Json::of(&json!(["now"])));
        request.id = Some("a".parse().unwrap());
        request.begins_at = Some(wfhost::Timestamp(1_000_000 + 3_600_000));
        vec![Do::StartAs(request), Do::Cancel("a"), Do::Finish]
    });
}
