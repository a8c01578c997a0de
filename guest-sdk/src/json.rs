//! JSON at the door: typed values in and out, and errors that name the field.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Error, Failure, Result, kind};

/// Reads a value, or says where `text` does not fit: `the input does not fit: Items[2].Price: …`.
pub(crate) fn decode<T: DeserializeOwned>(
    text: &str,
    kind: &'static str,
    what: &str,
) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| misfit(text, &error, kind, what))
}

/// Writes a value, or says why it has no JSON form.
pub(crate) fn encode(
    value: &(impl Serialize + ?Sized),
    kind: &'static str,
    what: &str,
) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| unwritable(&error, kind, what))
}

/// Calls code that takes and gives typed values with JSON; `what` names the value that it gives.
pub(crate) fn through<I: DeserializeOwned, O: Serialize>(
    input: &str,
    what: &str,
    call: impl FnOnce(I) -> Result<O>,
) -> Result<String, Failure> {
    let input = decode(input, kind::INVALID_INPUT, "the input")?;
    let output = call(input).map_err(Error::into_failure)?;
    encode(&output, kind::INVALID_OUTPUT, what)
}

#[cold]
fn misfit(text: &str, error: &serde_json::Error, kind: &'static str, what: &str) -> Failure {
    let path = path_at(text, error.line(), error.column());
    let separator = if path.is_empty() { "" } else { ": " };
    Failure::new(
        kind,
        format!("{what} does not fit: {path}{separator}{error}"),
    )
    .not_retryable()
}

#[cold]
fn unwritable(error: &serde_json::Error, kind: &'static str, what: &str) -> Failure {
    Failure::new(kind, format!("{what} cannot be written as JSON: {error}")).not_retryable()
}

/// The field in which a place of a JSON text lies, such as `Items[2].Price`.
///
/// serde_json names line and column, but not the field of a value of the wrong type. Finding it
/// afterwards costs nothing in the code of each type, unlike tracking it while reading.
fn path_at(text: &str, line: usize, column: usize) -> String {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let end = (before + column).min(text.len());
    let mut steps: Vec<Step> = Vec::new();
    let mut bytes = text.bytes().enumerate().take(end);
    let mut key_expected = false;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' => steps.push(Step::Field(String::new())),
            b'[' => steps.push(Step::Item(0)),
            b'}' | b']' => drop(steps.pop()),
            b',' => match steps.last_mut() {
                Some(Step::Item(index)) => *index += 1,
                Some(Step::Field(name)) => name.clear(),
                None => {}
            },
            b'"' => {
                let mut escaped = false;
                let close = bytes.find(|(_, byte)| {
                    let closes = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    closes
                });
                if let (true, Some((close, _)), Some(Step::Field(name))) =
                    (key_expected, close, steps.last_mut())
                {
                    *name = text.get(at + 1..close).unwrap_or_default().to_owned();
                }
            }
            _ => {}
        }
        key_expected = matches!(byte, b'{' | b',') || (key_expected && byte.is_ascii_whitespace());
    }
    steps
        .into_iter()
        .fold(String::new(), |path, step| match step {
            Step::Field(name) if path.is_empty() || name.is_empty() => path + &name,
            Step::Field(name) => format!("{path}.{name}"),
            Step::Item(index) => format!("{path}[{index}]"),
        })
}

enum Step {
    Field(String),
    Item(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Order {
        name: String,
        #[serde(default)]
        items: Vec<Item>,
    }

    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Item {
        price: u32,
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_with_its_field() {
        for (text, message) in [
            ("{}", "missing field `name` at line 1 column 2"),
            (
                r#"{"name":7}"#,
                "name: invalid type: integer `7`, expected a string at line 1 column 9",
            ),
            (
                r#"7"#,
                "invalid type: integer `7`, expected struct Order at line 1 column 1",
            ),
            (
                r#"{"name":"a""#,
                "EOF while parsing an object at line 1 column 11",
            ),
            (
                "{\"name\":\"a, \\\"{\",\n \"items\":[{\"price\":1},\n {\"price\":-2}]}",
                "items[1].price: invalid value: integer `-2`, expected u32 at line 3 column 12",
            ),
            (
                r#"{"name":"a","items":[{"price":1},{"cost":2}]}"#,
                "items[1]: missing field `price` at line 1 column 43",
            ),
        ] {
            let failure = decode::<Order>(text, "invalid-input", "the input")
                .err()
                .expect(text);
            assert!(
                failure.message().ends_with(message)
                    && failure.message().starts_with("the input does not fit: "),
                "{text}: {failure}"
            );
        }
    }
}
