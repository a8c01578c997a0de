//! What expressions mean, above all where clocks are put forward and back.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_system(humantime::parse_rfc3339(text).unwrap())
}

fn times(expression: &str, zone: &str) -> Times {
    Times::new(expression, zone).unwrap_or_else(|error| panic!("{error}"))
}

/// The firings after a time, as `dd hh:mm:ss`.
fn next(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let times = times(expression, zone);
    let next = |at: &Timestamp| times.next_after(*at);
    let all = std::iter::successors(times.next_after(at(after)), next);
    let shown = all.take(count).map(|at| {
        let text = at.to_string().replace('T', " ");
        text[8..19].to_owned()
    });
    shown.collect()
}

#[track_caller]
fn check(rows: &[(&str, &str, &str, &[&str])]) {
    for (expression, zone, after, expected) in rows {
        let found = next(expression, zone, after, expected.len());
        assert_eq!(&found, expected, "{expression} in {zone} after {after}");
    }
}

#[test]
fn an_expression_means_what_cron_says() {
    let utc = "UTC";
    check(&[
        ("* * * * *", utc, "2030-01-31T12:00:00Z", &["31 12:01:00"]),
        // What is due now is not after now, also within its second.
        (
            "0 12 * * *",
            utc,
            "2030-01-30T12:00:00.001Z",
            &["31 12:00:00"],
        ),
        (
            "0 12 * * *",
            utc,
            "2030-01-31T11:59:59.999Z",
            &["31 12:00:00"],
        ),
        (
            "*/20 * * * * *",
            utc,
            "2030-01-31T12:00:01Z",
            &["31 12:00:20", "31 12:00:40"],
        ),
        ("@hourly", utc, "2030-01-31T12:10:00Z", &["31 13:00:00"]),
        ("@daily", utc, "2030-01-31T12:10:00Z", &["01 00:00:00"]),
        (
            "0 9 * * mon-fri",
            utc,
            "2030-02-01T10:00:00Z",
            &["04 09:00:00"],
        ),
        // Day of month or day of week, if both are given.
        (
            "0 0 13 * 5",
            utc,
            "2030-09-07T00:00:00Z",
            &["13 00:00:00", "20 00:00:00"],
        ),
        ("0 0 L * *", utc, "2032-02-01T00:00:00Z", &["29 00:00:00"]),
        (
            "0 9 * * *",
            "Asia/Kolkata",
            "2030-01-31T12:00:00Z",
            &["01 03:30:00"],
        ),
    ]);
}

/// Berlin: at 01:00Z on 31 March 2030 from 2:00 to 3:00, at 01:00Z on 27 October from 3:00 to 2:00.
/// New York: at 07:00Z on 10 March 2030 from 2:00 to 3:00, at 06:00Z on 3 November from 2:00 to 1:00.
#[test]
fn a_time_of_day_fires_once_on_the_days_when_clocks_are_put_forward_or_back() {
    let (berlin, york) = ("Europe/Berlin", "America/New_York");
    check(&[
        (
            "30 2 * * *",
            berlin,
            "2030-03-30T12:00:00Z",
            &["31 01:00:00", "01 00:30:00"],
        ),
        (
            "30 2 * * *",
            berlin,
            "2030-03-31T00:59:59Z",
            &["31 01:00:00"],
        ),
        (
            "30 2 * * *",
            berlin,
            "2030-03-31T01:00:00Z",
            &["01 00:30:00"],
        ),
        // Two of them at once are one.
        (
            "0,30 2,3 * * *",
            berlin,
            "2030-03-31T00:00:00Z",
            &["31 01:00:00", "31 01:30:00"],
        ),
        (
            "0 2,14 * * *",
            berlin,
            "2030-03-31T00:00:00Z",
            &["31 01:00:00", "31 12:00:00"],
        ),
        (
            "30 2 * * *",
            berlin,
            "2030-10-26T12:00:00Z",
            &["27 00:30:00", "28 01:30:00"],
        ),
        (
            "30 2 * * *",
            berlin,
            "2030-10-27T00:45:00Z",
            &["28 01:30:00"],
        ),
        (
            "30 2 * * *",
            york,
            "2030-03-10T00:00:00Z",
            &["10 07:00:00", "11 06:30:00"],
        ),
        (
            "30 1 * * *",
            york,
            "2030-11-03T00:00:00Z",
            &["03 05:30:00", "04 06:30:00"],
        ),
        (
            "15 30 1 * * *",
            york,
            "2030-11-03T05:31:00Z",
            &["04 06:30:15"],
        ),
        (
            "@daily",
            york,
            "2030-11-03T00:00:00Z",
            &["03 04:00:00", "04 05:00:00"],
        ),
        // A day that an island skipped.
        (
            "0 12 30 12 *",
            "Pacific/Apia",
            "2011-12-29T12:00:00Z",
            &["30 10:00:00"],
        ),
    ]);
}

#[test]
fn an_interval_follows_the_clock_that_is_put_forward_or_back() {
    let (berlin, york) = ("Europe/Berlin", "America/New_York");
    check(&[
        (
            "0 * * * *",
            berlin,
            "2030-03-31T00:00:00Z",
            &["31 01:00:00", "31 02:00:00"],
        ),
        (
            "*/30 2 * * *",
            berlin,
            "2030-03-30T12:00:00Z",
            &["01 00:00:00", "01 00:30:00"],
        ),
        (
            "30 * * * *",
            berlin,
            "2030-10-27T00:00:00Z",
            &["27 00:30:00", "27 01:30:00", "27 02:30:00"],
        ),
        (
            "*/30 2 * * *",
            berlin,
            "2030-10-27T00:15:00Z",
            &["27 00:30:00", "27 01:00:00", "27 01:30:00"],
        ),
        (
            "*/30 1 * * *",
            york,
            "2030-11-03T05:15:00Z",
            &["03 05:30:00", "03 06:00:00", "03 06:30:00"],
        ),
        (
            "*/30 2 * * *",
            york,
            "2030-03-10T00:00:00Z",
            &["11 06:00:00", "11 06:30:00"],
        ),
    ]);
}

#[test]
fn what_never_comes_has_no_next() {
    assert_eq!(times("0 0 30 2 *", "UTC").next_after(Timestamp(0)), None);
    for at in [u64::MAX, i64::MAX as u64, 253_402_300_799_999] {
        assert_eq!(times("* * * * *", "UTC").next_after(Timestamp(at)), None);
    }
}

#[test]
fn what_is_wrong_with_an_expression_or_a_zone_is_told() {
    for (expression, zone, words) in [
        ("", "UTC", "not a cron expression"),
        ("61 * * * *", "UTC", "61"),
        ("* * * *", "UTC", "5"),
        ("* * * * * * 2030", "UTC", "6 fields"),
        ("@never", "UTC", "@never"),
        ("0 12 * * bob", "UTC", "illegal"),
        ("* * * * *", "berlin", "did you mean `Europe/Berlin`?"),
        (
            "* * * * *",
            "europe/berlin",
            "did you mean `Europe/Berlin`?",
        ),
        ("* * * * *", "Mars", "such as Europe/Berlin"),
    ] {
        let told = Times::new(expression, zone).unwrap_err().to_string();
        assert!(told.contains(words), "{expression} {zone}: {told}");
        assert!(!told.ends_with('.'), "{told}");
    }
    assert!(Times::new(&"* ".repeat(200), "UTC").is_err());
}

#[test]
fn the_newest_firings_are_found_however_long_the_time_is() {
    let every_second = times("* * * * * *", "UTC");
    let (from, until) = (at("2000-01-01T00:00:00Z"), at("2030-01-31T12:00:00.500Z"));
    let found = every_second.newest(from, until, 3);
    let expected = ["11:59:58", "11:59:59", "12:00:00"].map(|it| at(&format!("2030-01-31T{it}Z")));
    assert_eq!(found, expected);
    let daily = times("0 12 * * *", "UTC");
    assert_eq!(daily.newest(at("2030-01-30T00:00:00Z"), until, 3).len(), 2);
    assert_eq!(daily.newest(at("2030-01-30T12:00:00Z"), until, 3).len(), 1);
    assert_eq!(daily.newest(until, until, 3), []);
}

#[test]
fn times_stand_in_the_data_file_as_they_were_given() {
    let given = times(" 30 2 * * mon ", "Europe/Berlin");
    let text = serde_json::to_string(&given).unwrap();
    assert_eq!(
        text,
        r#"{"cron":"30 2 * * mon","time_zone":"Europe/Berlin"}"#
    );
    let read: Times = serde_json::from_str(&text).unwrap();
    assert_eq!(read, given);
}

proptest! {
    #[test]
    fn no_text_stops_the_host(text in "[0-9*/,@LW#?+ a-zA-Z-]{0,24}") {
        if let Ok(times) = Times::new(&text, "Europe/Berlin") {
            let _ = times.next_after(Timestamp(1_900_000_000_000));
        }
    }

    /// An expression that is near to a good one.
    #[test]
    fn firings_come_in_their_order(
        minute in "[*]|[0-5]?[0-9]|[*]/[1-9]|[1-5],[0-9]",
        hour in "[*]|1?[0-9]|[*]/[1-9]|[1-5],[0-9]|[1-3]-[4-9]",
        after in 1_890_000_000_000_u64..1_930_000_000_000,
    ) {
        let times = times(&format!("{minute} {hour} * * *"), "Europe/Berlin");
        let first = times.next_after(Timestamp(after)).unwrap();
        let second = times.next_after(first).unwrap();
        prop_assert!(Timestamp(after) < first && first < second);
        // None was passed over.
        prop_assert_eq!(times.next_after(Timestamp(first.0 - 1)), Some(first));
        prop_assert_eq!(times.newest(Timestamp(after), second, 9), vec![first, second]);
    }
}
