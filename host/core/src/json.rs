//! Payloads: JSON values as text, checked once.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;

/// One JSON value as text. Cheap to clone.
///
/// Inside the data file a large one is replaced by its digest; the store puts the text back before
/// anyone else sees the record, so that everywhere else it is text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Json(Repr);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Repr {
    Text(Arc<str>),
    Stored { digest: Digest },
}

/// Text that is not JSON; says where.
#[derive(Debug, thiserror::Error)]
#[error("not valid JSON: {0}")]
pub struct InvalidJson(#[from] serde_json::Error);

impl Json {
    /// Checks that the text is one JSON value.
    ///
    /// # Errors
    /// With line and column, if it is not.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, InvalidJson> {
        let text = text.into();
        // Read as a value, since that refuses more than the grammar does: numbers that are too
        // large, lone surrogates, nesting deeper than 127.
        serde_json::from_str::<Value>(&text)?;
        Ok(Self(Repr::Text(text)))
    }

    /// The JSON text of a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self(Repr::Text(value.to_string().into()))
    }

    /// `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Repr::Text("null".into()))
    }

    /// The text.
    ///
    /// # Panics
    /// On a payload that the store has not put back, which nothing outside the store can hold.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Text(text) => text,
            Repr::Stored { .. } => {
                panic!("the store puts every payload back before it hands it out")
            }
        }
    }

    /// The value, for those who look inside.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.as_str()).expect("checked when it was made")
    }

    /// The length of the text, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.as_str().len()
    }

    /// The digest that stands for the text in the data file, if this is such a stand-in.
    #[must_use]
    pub fn stored(&self) -> Option<Digest> {
        match &self.0 {
            Repr::Text(_) => None,
            Repr::Stored { digest } => Some(*digest),
        }
    }

    /// The stand-in for a text that the store keeps by its digest.
    #[must_use]
    pub fn stand_in(digest: Digest) -> Self {
        Self(Repr::Stored { digest })
    }

    /// A text that the store kept, and that was checked when it came in.
    #[must_use]
    pub fn trusted(text: Arc<str>) -> Self {
        Self(Repr::Text(text))
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Text(text) => f.write_str(text),
            Repr::Stored { digest } => write!(f, "<{digest:?}>"),
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_json_says_where() {
        let error = Json::parse("{\"a\":1,\n  oops}").unwrap_err().to_string();
        assert!(error.contains("line 2 column 3"), "{error}");
        assert!(Json::parse("1 2").is_err());
        // What the grammar allows and nobody could read back.
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in ["1e999", r#""\ud800""#, &deep] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert_eq!(Json::parse(" [1] ").unwrap().as_str(), " [1] ");
    }
}
