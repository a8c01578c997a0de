//! What a configuration file only refers to: it stands in an environment variable of the host or in
//! a file, which other people need not be able to read.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::{Mistake, Source};
use crate::serve::{Hashed, Scope, Token};

/// `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Places")]
pub(crate) enum Reference {
    Variable(String),
    File(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl TryFrom<Places> for Reference {
    type Error = &'static str;

    fn try_from(places: Places) -> Result<Self, &'static str> {
        match (places.env, places.file) {
            (Some(name), None) => Ok(Self::Variable(name)),
            (None, Some(path)) => Ok(Self::File(path)),
            _ => {
                Err("it takes either `env`, the name of a variable of the host, or `file`, a path")
            }
        }
    }
}

impl Reference {
    /// What stands there, without the end of the line. What is wrong is told without it.
    pub(crate) fn read(&self, source: &Source) -> Result<String, String> {
        let text = match self {
            Self::Variable(name) => std::env::var(name).map_err(|error| {
                format!("the environment variable {name} of the host cannot be read: {error}")
            })?,
            Self::File(path) => {
                let path = source.beside(path);
                let text = std::fs::read_to_string(&path);
                text.map_err(|error| format!("cannot read {}: {error}", path.display()))?
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err("what it refers to is empty".into());
        }
        Ok(text.to_owned())
    }
}

/// `[[tokens]]`: what callers show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenTable {
    name: super::value::Text,
    scope: Word,
    secret: Spanned<Secret>,
}

/// A scope by its word.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Word(Scope);

impl TryFrom<String> for Word {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let known = Scope::ALL.into_iter().find(|it| it.as_str() == word);
        known.map(Self).ok_or_else(|| {
            let words = Scope::ALL.map(Scope::as_str).join("`, `");
            format!("there is no scope `{word}`; it is one of `{words}`")
        })
    }
}

/// A digest as it stands, or where the token or its digest is.
#[derive(Debug)]
enum Secret {
    Here(Hashed),
    Elsewhere(Reference),
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"sha256:…\", { env = \"NAME\" } or { file = \"path\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                text.parse().map(Secret::Here).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                Reference::deserialize(MapAccessDeserializer::new(map)).map(Secret::Elsewhere)
            }
        }
        from.deserialize_any(Either)
    }
}

impl TokenTable {
    /// Reads what it refers to.
    pub(super) fn token(&self, source: &Source) -> Result<Token, Mistake> {
        let secret = match self.secret.get_ref() {
            Secret::Here(digest) => Ok(digest.clone()),
            Secret::Elsewhere(reference) => reference.read(source).and_then(|text| {
                let known = match text.starts_with("sha256:") {
                    true => text.parse(),
                    false => Hashed::of_text(&text),
                };
                known.map_err(|error| error.to_string())
            }),
        };
        let name = self.name.0.clone();
        let secret = secret.map_err(|why| {
            source.at(
                self.secret.span(),
                format!("the secret of the token `{name}`: {why}"),
            )
        })?;
        Ok(Token {
            name,
            scope: self.scope.0,
            secret,
        })
    }
}
