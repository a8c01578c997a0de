//! What arguments mean. Each is parsed once, at the door; what is wrong is told with where it stood
//! and how it is written.

use std::io::Read as _;
use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use wfhost_core::record::{Event, StateWrite};
use wfhost_core::schedule::Overlap;
use wfhost_core::{Json, Name, Status, Timestamp};

use super::Failure;
use crate::start::Reuse;

/// The largest input that is read; what is larger is refused by the host anyway.
const INPUT_BYTES_MAX: u64 = 17 * 1024 * 1024;

/// The time now, for ages and for times from now on.
pub(super) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// A length of time in milliseconds, at most the end of time.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A length of time, as `90s`, `10m`, `2h` or `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; it takes a length of time such as 90s, 10m, 2h or 30d"))
}

/// A time in RFC 3339.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let time = humantime::parse_rfc3339(text);
    time.map(Timestamp::from_system)
        .map_err(|error| format!("{error}; it takes a time in UTC such as 2030-01-31T12:00:00Z"))
}

/// A time in RFC 3339, or how long ago it was.
pub(super) fn time_or_age(text: &str) -> Result<Timestamp, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        return Ok(before(age));
    }
    time(text).map_err(|error| format!("{error}, or how long ago it was, such as 2h"))
}

/// The time so long ago.
pub(super) fn before(age: Duration) -> Timestamp {
    Timestamp(now().0.saturating_sub(millis(age)))
}

/// `KEY=VALUE`.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("it takes KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `NAME=N`, where N is 1 or more.
pub(super) fn bound(text: &str) -> Result<(Name, usize), String> {
    let pair = text.rsplit_once('=');
    let (name, count) = pair.ok_or("it takes NAME=N")?;
    let name = name.parse::<Name>().map_err(|error| error.to_string())?;
    let count = count.parse::<u16>().ok().filter(|count| *count > 0);
    let count = count.ok_or("after the = it takes a number from 1 to 65535")?;
    Ok((name, usize::from(count)))
}

/// The words of `--status`.
pub(super) fn status() -> impl TypedValueParser<Value = Status> {
    word(Status::ALL, Status::as_str)
}

/// The words of `--reuse`.
pub(super) fn reuse() -> impl TypedValueParser<Value = Reuse> {
    word(Reuse::ALL, Reuse::as_str)
}

/// The words of `--overlap`.
pub(super) fn overlap() -> impl TypedValueParser<Value = Overlap> {
    word(Overlap::ALL, Overlap::as_str)
}

/// One of a few words, each for a value.
pub(super) fn word<T, const N: usize>(
    values: [T; N],
    as_str: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let found = move |word: String| {
        let mut values = values.into_iter();
        values
            .find(|value| as_str(*value) == word)
            .expect("the parser lets only these words through")
    };
    PossibleValuesParser::new(values.map(as_str)).map(found)
}

/// Puts in place of `@FILE`, or of `-` for stdin, the JSON that is there. `name` says where it was
/// given.
pub(super) fn read(name: &str, given: &mut String) -> Result<(), Failure> {
    let (name, text) = match given.strip_prefix('@') {
        Some(path) => {
            let read = std::fs::File::open(path).and_then(read_bounded);
            (format!("`{path}`"), read)
        }
        None if given == "-" => ("stdin".to_owned(), read_bounded(std::io::stdin().lock())),
        None => return json(name, given).map(drop),
    };
    let text = text.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    json(&name, &text)?;
    *given = text.trim().to_owned();
    Ok(())
}

/// JSON as it was given or, by now, [read].
pub(super) fn json(name: &str, text: &str) -> Result<Json, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::usage(format!(
            "{name} is empty; it takes one JSON value"
        )));
    }
    Json::parse(text.to_owned()).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

/// The same, or null if it was left out.
pub(super) fn json_or_null(name: &str, text: Option<&str>) -> Result<Json, Failure> {
    text.map_or_else(|| Ok(Json::null()), |text| json(name, text))
}

/// What `--state KEY=JSON` writes.
pub(super) fn state_write(text: &str) -> Result<StateWrite, Failure> {
    let (key, value) = pair_of_json("--state", "KEY", text)?;
    Ok(StateWrite {
        key: key.to_owned(),
        value: Some(value),
        expires_at: None,
    })
}

/// What `--event NAME=JSON` raises.
pub(super) fn event(text: &str) -> Result<Event, Failure> {
    let (name, payload) = pair_of_json("--event", "NAME", text)?;
    let name = name.parse::<Name>();
    let name = name.map_err(|error| Failure::usage(format!("--event {text}: {error}")))?;
    Ok(Event { name, payload })
}

fn pair_of_json<'a>(flag: &str, key: &str, text: &'a str) -> Result<(&'a str, Json), Failure> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (name, value) =
        pair.ok_or_else(|| Failure::usage(format!("{flag} {text}: it takes {key}=JSON")))?;
    let value =
        Json::parse(value).map_err(|error| Failure::usage(format!("{flag} {name}: {error}")))?;
    Ok((name, value))
}

/// Reads all of it, but not without end.
fn read_bounded(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    let bytes = from.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if bytes as u64 > INPUT_BYTES_MAX {
        let message = format!("it has more than {INPUT_BYTES_MAX} bytes");
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            message,
        ));
    }
    Ok(text)
}

/// An argument as a shell reads it.
pub(super) fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lengths_of_time_are_read_as_people_write_them() {
        for (text, millis) in [("90s", 90_000), ("10m", 600_000), ("30d", 2_592_000_000)] {
            assert_eq!(duration(text).unwrap().as_millis(), millis, "{text}");
        }
        let at = time("2030-01-31T12:00:00.5Z").unwrap();
        assert_eq!(at.to_string(), "2030-01-31T12:00:00.500Z");
        assert_eq!(time_or_age("2030-01-31T12:00:00.5Z").unwrap(), at);
        assert!(time_or_age("1h").unwrap() < now());
        for bad in ["", "soon", "10", "2030-01-31", "2030-01-31T12:00:00+02:00"] {
            assert!(duration(bad).unwrap_err().contains("10m"), "{bad}");
            assert!(time(bad).unwrap_err().contains("2030"), "{bad}");
            assert!(time_or_age(bad).unwrap_err().contains("2h"), "{bad}");
        }
    }

    #[test]
    fn an_argument_is_quoted_where_a_shell_would_read_it_otherwise() {
        for (argument, shown) in [("a=b", "a=b"), ("a b", "'a b'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(argument), shown);
        }
    }
}
