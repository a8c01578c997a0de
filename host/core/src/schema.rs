//! Whether those who call by an old JSON Schema can meet a new one.
//!
//! An input that old callers send must be accepted by the new code; an output that the new code
//! gives must be readable by old callers. So each side has one who writes values and one who reads
//! them, and a change fits if all that may be written can be read:
//!
//! ```text
//!           writes   reads
//! input     old      new
//! output    new      old
//! ```
//!
//! What serde types make is judged. What is not is [`Impact::Unknown`], never a
//! break. Nothing here fails, and nothing runs without end: schemas come from modules.

mod compare;
mod range;
mod shape;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use compare::Comparison;

/// What passes between a caller and what is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Written by callers, read by the code.
    Input,
    /// Written by the code, read by callers.
    Output,
}

impl Side {
    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// What a change is for those who call as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// They can meet it.
    Fits,
    /// It cannot be judged by the schemas.
    Unknown,
    /// They may not be able to meet it.
    Breaks,
}

impl Impact {
    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::Unknown => "unknown",
            Self::Breaks => "breaks",
        }
    }
}

/// One difference between two schemas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where: `input.items[].sku`. A list's items are `[]`, or `[0]` where each place has a type of
    /// its own; the values of a map are `.*`; a variant stands in parentheses. What changes within a
    /// type that stands in several places is told of one of them.
    pub path: String,
    /// What is new, in words that follow the path.
    pub what: String,
    /// What that is for those who call as before.
    pub impact: Impact,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.what)
    }
}

/// Compares the schema that callers know with the new one. Empty: nothing that matters to them is
/// known to have changed. Of a side without a schema nothing is known.
#[must_use]
pub fn compare(side: Side, old: Option<&Value>, new: Option<&Value>) -> Vec<Change> {
    let unknown = |what: &str| {
        vec![Change {
            path: side.as_str().to_owned(),
            what: what.to_owned(),
            impact: Impact::Unknown,
        }]
    };
    match (old, new) {
        (None, None) => Vec::new(),
        (None, Some(_)) => unknown("has a schema now, so that nothing can be compared yet"),
        (Some(_), None) => unknown("has no schema any more, so that nothing can be compared"),
        (Some(old), Some(new)) => Comparison::of(side, old, new),
    }
}
