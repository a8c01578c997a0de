//! Values of a configuration file that TOML has no type for.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

/// One text, or a list of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
                Ok(vec![T::deserialize(StrDeserializer::new(text))?])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
                let list = Vec::deserialize(SeqAccessDeserializer::new(list))?;
                if list.is_empty() {
                    return Err(Error::invalid_length(0, &"one or more"));
                }
                Ok(list)
            }
        }
        from.deserialize_any(Either(PhantomData)).map(Self)
    }
}

/// A text that is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.trim().is_empty() {
            return Err(Error::invalid_value(
                Unexpected::Str(&text),
                &"a text that is not empty",
            ));
        }
        Ok(Self(text))
    }
}

/// A length of time, as `"90s"`, `"10m"`, `"2h"` or `"30d"`; not none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "a length of time such as \"90s\", \"10m\", \"2h\" or \"30d\"";
        let text = String::deserialize(from)?;
        let time = humantime::parse_duration(&text).ok();
        time.filter(|time| !time.is_zero())
            .map(Self)
            .ok_or_else(|| Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}
