//! What a name means: a module, and perhaps a candidate beside it that some instances get.
//!
//! Which side an instance gets depends on its id alone, so that it gets the same one for each name
//! and each time it is asked; and an instance that gets the candidate keeps it while its share grows.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Digest, InstanceId, Name, Role};

/// A share of all instances, in parts of 10,000. Written `12.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

/// A share that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no share; write a percentage from 0% to 100% with at most two decimals, such as 10% or 0.25%"
)]
pub struct InvalidShare {
    text: String,
}

impl Share {
    /// No instance.
    pub const NONE: Self = Self(0);
    /// Every instance.
    pub const WHOLE: Self = Self(10_000);

    /// So many parts of 10,000.
    ///
    /// # Errors
    /// If these are more than 10,000.
    pub fn new(parts: u16) -> Result<Self, InvalidShare> {
        let share = Self(parts);
        if share > Self::WHOLE {
            let text = share.to_string();
            return Err(InvalidShare { text });
        }
        Ok(share)
    }

    /// In parts of 10,000.
    #[must_use]
    pub fn parts(self) -> u16 {
        self.0
    }

    /// What is left of the whole.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(Self::WHOLE.0 - self.0)
    }

    /// Whether an instance is among them. Its place is the first eight bytes of the SHA-256 of its
    /// id, read as a number, the highest byte first, modulo 10,000; it is among those of every share
    /// of more parts than that. So whoever is among a share is among each larger one.
    #[must_use]
    pub fn holds(self, id: &InstanceId) -> bool {
        let digest = Digest::of(id.as_str().as_bytes());
        let first = digest.as_bytes().first_chunk::<8>();
        let place = u64::from_be_bytes(*first.expect("a digest has 32 bytes"));
        place % u64::from(Self::WHOLE.0) < u64::from(self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percents, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{percents}%"),
            _ if rest % 10 == 0 => write!(f, "{percents}.{}%", rest / 10),
            _ => write!(f, "{percents}.{rest:02}%"),
        }
    }
}

impl FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, InvalidShare> {
        let parts = percentage(text).and_then(|parts| Self::new(parts).ok());
        parts.ok_or_else(|| InvalidShare {
            text: text.chars().take(20).collect(),
        })
    }
}

/// The hundredths of a percent that a text such as `12.5%` says.
fn percentage(text: &str) -> Option<u16> {
    let number = text.strip_suffix('%')?;
    let (percents, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !are_digits(percents, 3) || !are_digits(decimals, 2) {
        return None;
    }
    let percents: u16 = percents.parse().ok()?;
    let hundredths: u16 = format!("{decimals:0<2}").parse().ok()?;
    percents.checked_mul(100)?.checked_add(hundredths)
}

impl TryFrom<u16> for Share {
    type Error = InvalidShare;

    fn try_from(parts: u16) -> Result<Self, InvalidShare> {
        Self::new(parts)
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// A module that is to take a name over, and has it for some instances already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The module.
    pub module: Digest,
    /// Of the instances that get it.
    pub share: Share,
}

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The module; of all instances that the candidate does not get.
    pub module: Digest,
    /// The module that is being rolled out, if one is.
    pub candidate: Option<Candidate>,
}

/// What each name means.
pub type Bindings = BTreeMap<(Role, Name), Binding>;

impl Binding {
    /// The module for every instance.
    #[must_use]
    pub fn whole(module: Digest) -> Self {
        Self {
            module,
            candidate: None,
        }
    }

    /// The module for this instance.
    #[must_use]
    pub fn module_for(&self, id: &InstanceId) -> Digest {
        match self.candidate {
            Some(candidate) if candidate.share.holds(id) => candidate.module,
            _ => self.module,
        }
    }

    /// The modules with the share of the instances that each has.
    pub fn modules(&self) -> impl Iterator<Item = (Digest, Share)> {
        let share = self.candidate.map_or(Share::NONE, |it| it.share);
        let candidate = self.candidate.map(|it| (it.module, it.share));
        std::iter::once((self.module, share.rest())).chain(candidate)
    }

    /// What a name means after a module that offers it was deployed.
    ///
    /// Without a share the module has the name whole, and a candidate is gone. With a share it
    /// becomes the candidate beside the module that has the name, in the place of one that is there
    /// already; for that one it is a new share. A name that means nothing yet is the module's whole.
    /// For the module that has the name already nothing changes, not even the candidate beside it:
    /// who wants that gone aborts it.
    #[must_use]
    pub fn deployed(before: Option<&Self>, module: Digest, share: Option<Share>) -> Self {
        match (before, share) {
            (None, _) | (_, None) => Self::whole(module),
            (Some(before), Some(_)) if before.module == module => *before,
            (Some(before), Some(share)) => Self {
                module: before.module,
                candidate: Some(Candidate { module, share }),
            },
        }
    }

    /// Once the candidate, if there is one, has the name whole.
    #[must_use]
    pub fn promoted(&self) -> Option<Self> {
        Some(Self::whole(self.candidate?.module))
    }

    /// Once the candidate, if there is one, is gone.
    #[must_use]
    pub fn aborted(&self) -> Option<Self> {
        self.candidate?;
        Some(Self::whole(self.module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn beside(stable: &str, candidate: &str, parts: u16) -> Binding {
        Binding {
            module: module(stable),
            candidate: Some(Candidate {
                module: module(candidate),
                share: Share(parts),
            }),
        }
    }

    #[test]
    fn a_share_is_written_as_a_percentage() {
        let shares = [
            (0, "0%"),
            (1, "0.01%"),
            (25, "0.25%"),
            (50, "0.5%"),
            (1_000, "10%"),
            (1_205, "12.05%"),
            (10_000, "100%"),
        ];
        for (parts, text) in shares {
            assert_eq!(Share(parts).to_string(), text);
            assert_eq!(text.parse(), Ok(Share(parts)));
        }
        assert_eq!("012.50%".parse(), Ok(Share(1_250)));
        for text in [
            "", "%", "10", "101%", "100.01%", "-1%", "+1%", "1.%", ".5%", "0.001%", "1e1%", "9999%",
        ] {
            let error = text.parse::<Share>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{text}` is no share")));
        }
        assert!(Share::new(10_001).is_err());
        assert!(serde_json::from_str::<Share>("10001").is_err());
        assert_eq!(serde_json::from_str::<Share>("7").unwrap(), Share(7));
    }

    #[test]
    fn whoever_is_among_a_share_is_among_each_larger_one() {
        for number in 0..200 {
            let id: InstanceId = format!("order-{number}").parse().unwrap();
            assert!(!Share::NONE.holds(&id) && Share::WHOLE.holds(&id));
            let holds: Vec<bool> = (0..=10_000).map(|parts| Share(parts).holds(&id)).collect();
            assert!(holds.is_sorted(), "{id}");
        }
    }

    /// Files and hosts agree on it for ever.
    #[test]
    fn the_place_of_an_instance_does_not_change() {
        for (id, place) in [("order-1", 396), ("a", 2_250)] {
            let id: InstanceId = id.parse().unwrap();
            let first = (0..=10_000).find(|parts| Share(*parts).holds(&id));
            assert_eq!(first, Some(place + 1), "{id}");
        }
    }

    #[test]
    fn about_as_many_get_the_candidate_as_the_share_says() {
        let ids = (0..10_000).map(|number| format!("{number}").parse().unwrap());
        let binding = beside("old", "new", 1_000);
        let new = ids.filter(|id| binding.module_for(id) == module("new"));
        let new = new.count();
        assert!((900..1_100).contains(&new), "{new}");
    }

    #[test]
    fn a_deployment_with_a_share_puts_the_module_beside_the_one_that_is_there() {
        let whole = |name| Binding::whole(module(name));
        let share = Some(Share(500));
        let cases = [
            (None, None, whole("new")),
            (None, share, whole("new")),
            (Some(whole("old")), None, whole("new")),
            (Some(whole("old")), share, beside("old", "new", 500)),
            (Some(whole("new")), share, whole("new")),
            (
                Some(beside("old", "new", 100)),
                share,
                beside("old", "new", 500),
            ),
            (
                Some(beside("old", "other", 100)),
                share,
                beside("old", "new", 500),
            ),
            (Some(beside("old", "other", 100)), None, whole("new")),
            (
                Some(beside("new", "other", 100)),
                share,
                beside("new", "other", 100),
            ),
            (Some(beside("new", "other", 100)), None, whole("new")),
        ];
        for (before, share, after) in cases {
            let deployed = Binding::deployed(before.as_ref(), module("new"), share);
            assert_eq!(deployed, after, "{before:?} {share:?}");
        }
    }

    #[test]
    fn a_candidate_is_promoted_or_gone() {
        let rolling = beside("old", "new", 100);
        assert_eq!(rolling.promoted(), Some(Binding::whole(module("new"))));
        assert_eq!(rolling.aborted(), Some(Binding::whole(module("old"))));
        let whole = Binding::whole(module("old"));
        assert_eq!((whole.promoted(), whole.aborted()), (None, None));
        let modules: Vec<_> = rolling.modules().collect();
        let shares = [(module("old"), Share(9_900)), (module("new"), Share(100))];
        assert_eq!(modules, shares);
    }
}
