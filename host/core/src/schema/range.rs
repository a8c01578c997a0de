//! How large a number may be, and how long a text or a list.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

/// A number of a schema. Whole ones are kept exactly, since 64 bits do not fit a float.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    pub(super) fn of(value: &Value) -> Option<Self> {
        let whole = value.as_i64().map(i128::from);
        let whole = whole.or_else(|| value.as_u64().map(i128::from));
        match whole {
            Some(whole) => Some(Self::Whole(whole)),
            None => value.as_f64().map(Self::Real),
        }
    }

    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Real(real) => real.fract() == 0.0,
        }
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        }
    }

    fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            (a, b) => a.real().total_cmp(&b.real()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Real(real) => real.fmt(f),
        }
    }
}

/// One end of a range.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Number,
    /// The end itself is not in it.
    open: bool,
}

impl End {
    fn closed(at: Number) -> Self {
        Self { at, open: false }
    }
}

impl PartialEq for End {
    fn eq(&self, other: &Self) -> bool {
        self.open == other.open && self.at.order(other.at) == Ordering::Equal
    }
}

/// From where to where numbers may go; without an end on a side where there is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Range {
    least: Option<End>,
    most: Option<End>,
}

impl Range {
    /// What the keywords of a schema allow.
    pub(super) fn of(schema: &Map<String, Value>) -> Self {
        let end = |keyword: &str, open| {
            let at = Number::of(schema.get(keyword)?)?;
            Some(End { at, open })
        };
        let closed = Self {
            least: end("minimum", false),
            most: end("maximum", false),
        };
        let open = Self {
            least: end("exclusiveMinimum", true),
            most: end("exclusiveMaximum", true),
        };
        closed.and(open)
    }

    /// What a format of whole numbers allows: `uint8`, `int64` and their like.
    pub(super) fn of_format(format: &str) -> Self {
        let (signed, bits) = match format.strip_prefix('u') {
            Some(rest) => (false, rest),
            None => (true, format),
        };
        let bits = match bits.strip_prefix("int") {
            Some("") => 64,
            Some(bits) => bits.parse::<u32>().unwrap_or_default(),
            None => 0,
        };
        let (least, most) = match bits {
            8 | 16 | 32 | 64 if signed => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
            8 | 16 | 32 | 64 => (0, (1_i128 << bits) - 1),
            // Beyond what is compared exactly, and beyond what JSON carries between programs.
            128 if !signed => return Self::from_zero(),
            _ => return Self::default(),
        };
        Self {
            least: Some(End::closed(Number::Whole(least))),
            most: Some(End::closed(Number::Whole(most))),
        }
    }

    fn from_zero() -> Self {
        Self {
            least: Some(End::closed(Number::Whole(0))),
            most: None,
        }
    }

    /// What both allow.
    pub(super) fn and(self, other: Self) -> Self {
        let tighter = |a: Option<End>, b: Option<End>, tighter: Ordering| match (a, b) {
            (Some(a), Some(b)) if a.at.order(b.at) == Ordering::Equal => Some(End {
                at: a.at,
                open: a.open || b.open,
            }),
            (Some(a), Some(b)) => Some(if a.at.order(b.at) == tighter { a } else { b }),
            (a, b) => a.or(b),
        };
        Self {
            least: tighter(self.least, other.least, Ordering::Greater),
            most: tighter(self.most, other.most, Ordering::Less),
        }
    }

    /// Whether all that is in it is in the other as well.
    pub(super) fn within(self, other: Self) -> bool {
        self.and(other) == self
    }

    pub(super) fn holds(self, number: Number) -> bool {
        let point = Some(End::closed(number));
        let point = Self {
            least: point,
            most: point,
        };
        point.within(self)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |f: &mut fmt::Formatter<'_>, word: &str, end: &End| {
            let beyond = if end.open { ", that not included" } else { "" };
            write!(f, "{word} {}{beyond}", end.at)
        };
        match (&self.least, &self.most) {
            (None, None) => f.write_str("of any size"),
            (Some(least), None) => end(f, "at least", least),
            (None, Some(most)) => end(f, "at most", most),
            (Some(least), Some(most)) => {
                end(f, "from", least)?;
                end(f, " to", most)
            }
        }
    }
}

/// How long a text or a list may be: characters, or items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) least: u64,
    pub(super) most: Option<u64>,
}

impl Lengths {
    pub(super) fn of(schema: &Map<String, Value>, least: &str, most: &str) -> Self {
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
        Self {
            least: bound(least).unwrap_or_default(),
            most: bound(most),
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        let most = [self.most, other.most].into_iter().flatten().min();
        Self {
            least: self.least.max(other.least),
            most,
        }
    }

    pub(super) fn within(self, other: Self) -> bool {
        self.and(other) == self
    }

    pub(super) fn holds(self, length: u64) -> bool {
        length >= self.least && self.most.is_none_or(|most| length <= most)
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (0, None) => f.write_str("any number"),
            (least, None) => write!(f, "{least} or more"),
            (0, Some(most)) => write!(f, "at most {most}"),
            (least, Some(most)) if least == most => write!(f, "{least}"),
            (least, Some(most)) => write!(f, "{least} to {most}"),
        }
    }
}
