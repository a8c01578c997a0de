//! Tokens: what callers show, and what each lets them do. Only digests are kept, which is enough
//! for a text that nobody can guess.

use std::fmt;
use std::str::FromStr;

use wfhost_core::Digest;

/// What a caller may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look: instances, histories, the state store, modules, queries.
    Read,
    /// Change instances and the state store: start, raise events, update, end, rerun, purge, write.
    Operate,
    /// Change what runs: deploy modules, move names and instances to others, stop the host.
    Deploy,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Deploy];

    /// The word of it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Deploy => "deploy",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a caller has to show, as `Authorization: Bearer …` or, as Dapr's clients do, in
/// `dapr-api-token`, and what it may do then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// For people.
    pub name: String,
    /// What it lets do.
    pub scope: Scope,
    /// What tells it from others.
    pub secret: Hashed,
}

impl Token {
    /// A token that may do everything, from the text that callers show.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            name: "token".into(),
            scope: Scope::Deploy,
            secret: Hashed::of(text),
        }
    }

    /// Digests are compared: how long that takes tells nothing of the token.
    pub(super) fn is(&self, shown: &str) -> bool {
        Hashed::of(shown) == self.secret
    }
}

/// The text of a token, hashed: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed(Digest);

/// Why a text is no secret of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is no digest.
    #[error("it is not `sha256:` with 64 hexadecimal digits, as `wfhost token` prints it")]
    NoDigest,
    /// A text that short can be guessed from its digest.
    #[error(
        "it has {characters} characters, {} are the least; `wfhost token` makes one",
        Hashed::CHARACTERS_MIN
    )]
    Short {
        /// How many it has.
        characters: usize,
    },
}

impl Hashed {
    /// The least that a text must have to be hashed: without a salt and slowness, which a random
    /// text needs neither of, all shorter ones could be tried.
    pub const CHARACTERS_MIN: usize = 16;

    fn of(text: &str) -> Self {
        Self(Digest::of(text.as_bytes()))
    }

    /// Of a text that callers show.
    ///
    /// # Errors
    /// If it is too short.
    pub fn of_text(text: &str) -> Result<Self, InvalidSecret> {
        let characters = text.chars().count();
        if characters < Self::CHARACTERS_MIN {
            return Err(InvalidSecret::Short { characters });
        }
        Ok(Self::of(text))
    }
}

impl fmt::Display for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0.hex())
    }
}

impl FromStr for Hashed {
    type Err = InvalidSecret;

    fn from_str(text: &str) -> Result<Self, InvalidSecret> {
        let digits = text.strip_prefix("sha256:").map(str::as_bytes);
        let digits = digits.filter(|it| it.len() == 64 && it.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or(InvalidSecret::NoDigest)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).expect("they are ASCII");
            *byte = u8::from_str_radix(pair, 16).expect("they are digits");
        }
        Ok(Self(Digest::from_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_is_shown_and_nothing_else_is() {
        let secret = Hashed::of_text("0123456789abcdef").unwrap();
        assert_eq!(secret.to_string().parse(), Ok(secret.clone()));
        let shown = secret.to_string();
        for text in [
            "",
            "0123456789abcdef",
            &shown[7..],
            &shown[..70],
            &format!("{shown}0"),
        ] {
            let read = text.parse::<Hashed>();
            assert_eq!(read, Err(InvalidSecret::NoDigest), "{text}");
        }
        assert_eq!(
            Hashed::of_text("0123456789abcde"),
            Err(InvalidSecret::Short { characters: 15 })
        );
    }
}
