//! What is wrong with a configuration file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A configuration file as it was read.
#[derive(Debug, Default)]
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

/// What is wrong with a file, where it stands, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    path: PathBuf,
    /// From 1; none if it concerns the whole file.
    line: Option<usize>,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.line {
            Some(line) => write!(f, "{path}:{line}: {}", self.what),
            None => write!(f, "{path}: {}", self.what),
        }
    }
}

impl Mistake {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            what: format!("cannot read the configuration: {error}"),
        }
    }
}

/// How `toml::Spanned` names what it holds.
const SPANNED: &str = ".$__serde_spanned_private_value";

impl Source {
    pub(super) fn new(path: &Path, text: String) -> Self {
        let path = path.to_owned();
        Self { path, text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A path that the file names: relative to the folder that the file is in.
    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        let folder = self.path.parent();
        folder.map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// Something wrong with what stands there.
    pub(crate) fn at(&self, span: Range<usize>, what: impl Into<String>) -> Mistake {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Mistake {
            path: self.path.clone(),
            line: Some(line),
            what: what.into(),
        }
    }

    /// It is no TOML.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> Mistake {
        self.found(error, error.message().to_owned())
    }

    /// It is TOML, and something in it is unknown or does not fit.
    pub(super) fn mistake(&self, error: &serde_path_to_error::Error<toml::de::Error>) -> Mistake {
        // A value that knows its place seems to be a table that holds it.
        let path = error.path().to_string().replace(SPANNED, "");
        let error = error.inner();
        let what = match unknown(error.message()) {
            Some((key, known)) => {
                let table = path.strip_suffix(key).unwrap_or(&path);
                unknown_key(key, table.trim_end_matches('.'), &known)
            }
            None if path == "." => plain(error.message()),
            None => format!("`{path}`: {}", plain(error.message())),
        };
        self.found(error, what)
    }

    fn found(&self, error: &toml::de::Error, what: String) -> Mistake {
        match error.span() {
            Some(span) => self.at(span, what),
            None => Mistake {
                path: self.path.clone(),
                line: None,
                what,
            },
        }
    }
}

/// What serde says of numbers, without the types of this program.
fn plain(message: &str) -> String {
    ["usize", "u64", "u32"]
        .iter()
        .fold(message.to_owned(), |text, kind| {
            text.replace(&format!("a nonzero {kind}"), "a whole number from 1")
                .replace(&format!("expected {kind}"), "expected a whole number")
        })
}

/// The key that serde does not know and those that it does, from what it says: ``unknown field `a`,
/// expected `b` or `c` ``.
fn unknown(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once("`,").unwrap_or((rest, ""));
    let known = rest.split('`').skip(1).step_by(2);
    Some((key, known.collect()))
}

fn unknown_key(key: &str, table: &str, known: &[&str]) -> String {
    let place = match table {
        "" => String::new(),
        table => format!(" in [{table}]"),
    };
    let nearest = nearest(key, known).map(|it| format!("; did you mean `{it}`?"));
    let nearest = nearest.unwrap_or_default();
    let known = known.join("`, `");
    format!("unknown key `{key}`{place}{nearest} (known are `{known}`)")
}

/// The word that somebody who wrote `key` most likely meant.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    // The one knows words that begin alike, the other letters that were swapped.
    let likeness = |word: &str| {
        strsim::jaro_winkler(key, word).max(strsim::normalized_damerau_levenshtein(key, word))
    };
    let best = known
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    // Below it the words have little but some letters in common.
    (likeness(best) > 0.65).then_some(best)
}
