//! The names of things: ids, digests, numbers. Each is parsed once, at the door, and trusted after.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Timestamp;

/// A duration in milliseconds.
pub type DurationMs = u64;

/// The id of an instance: 1 to 64 letters, digits, `_` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(Arc<str>);

/// An instance id that breaks the rules; says which.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{id}` is not an instance id: {why}; use 1 to {} letters, digits, `_` and `-`",
    InstanceId::BYTES_MAX
)]
pub struct InvalidId {
    id: String,
    why: &'static str,
}

impl InstanceId {
    /// The longest id, in bytes; Dapr's limit.
    pub const BYTES_MAX: usize = 64;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that a child gets when its parent names none: `{parent}-{generation}-{task}`, or a
    /// digest of that when it would be too long.
    #[must_use]
    pub fn of_child(&self, generation: u32, task: TaskId) -> Self {
        Self::derived(format!("{self}-{generation}-{task}"))
    }

    /// The id of a child's start number `attempt`, from 1: the id itself for the first, `{id}-2`
    /// and so on for those that follow a failure.
    #[must_use]
    pub fn of_attempt(&self, attempt: u32) -> Self {
        match attempt {
            0 | 1 => self.clone(),
            _ => Self::derived(format!("{self}-{attempt}")),
        }
    }

    /// The id that a start gets which names none but has a request key: the same key, the same id.
    #[must_use]
    pub fn of_request(workflow: &Name, key: &str) -> Self {
        let digest = Digest::of(format!("{workflow}\n{key}").as_bytes()).hex();
        Self(digest[..32].into())
    }

    /// The id of the instance that a schedule's firing starts: `{schedule}-20300131T120000Z`, or a
    /// digest of that when it would be too long.
    #[must_use]
    pub fn of_firing(schedule: &str, due_at: Timestamp) -> Self {
        Self::derived(format!("{schedule}-{}", due_at.compact()))
    }

    fn derived(id: String) -> Self {
        if id.len() <= Self::BYTES_MAX {
            return Self(id.into());
        }
        Self(Digest::of(id.as_bytes()).hex().into())
    }
}

impl FromStr for InstanceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > Self::BYTES_MAX {
            "it is too long"
        } else if !text.chars().all(allowed) {
            "it has a character that is not allowed"
        } else {
            return Ok(Self(text.into()));
        };
        Err(InvalidId {
            id: text.chars().take(80).collect(),
            why,
        })
    }
}

impl TryFrom<String> for InstanceId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The name of a workflow, an activity or an event: 1 to 200 bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// A name that breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to {max} bytes without control characters", max = Name::BYTES_MAX)]
pub struct InvalidName(String);

impl Name {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 200;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() || text.len() > Self::BYTES_MAX || text.chars().any(char::is_control) {
            return Err(InvalidName(text.chars().take(80).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An event's name as it is compared: without regard to case, as Dapr does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventName(String);

impl From<&Name> for EventName {
    fn from(name: &Name) -> Self {
        Self(name.as_str().to_lowercase())
    }
}

/// A SHA-256 digest, written `sha256:…` in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes themselves, as a key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest that was stored as bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 64 hexadecimal digits, without the prefix.
    #[must_use]
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    /// The first twelve hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.short())
    }
}

/// Makes the digest of bytes that come in parts.
#[derive(Debug, Clone, Default)]
pub struct DigestBuilder(Sha256);

impl DigestBuilder {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

/// Names one start of an instance: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u128);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One pending piece of work, counted from 1 within a generation in the order asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(pub u32);

impl TaskId {
    /// The task asked after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A record's place in the one order of the log, counted from 1. 0 is before everything.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position(pub u64);

impl Position {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_is_short_and_plain() {
        let long = "x".repeat(65);
        for bad in ["", "a b", "a/b", "ä", long.as_str()] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
        }
        for good in ["a", "49caa2d7", "Order_7-b", &long[..64]] {
            assert_eq!(good.parse::<InstanceId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_childs_derived_id_stays_within_the_limit() {
        let short: InstanceId = "order".parse().unwrap();
        assert_eq!(short.of_child(0, TaskId(7)).as_str(), "order-0-7");
        let long: InstanceId = "x".repeat(63).parse().unwrap();
        assert_eq!(long.of_child(0, TaskId(7)).as_str().len(), 64);
        assert_ne!(long.of_child(0, TaskId(7)), long.of_child(0, TaskId(8)));
    }

    #[test]
    fn event_names_are_compared_without_regard_to_case() {
        let name = |text: &str| EventName::from(&text.parse::<Name>().unwrap());
        assert_eq!(name("Approval"), name("aPPROVAL"));
    }
}
