//! What moved the bindings, and how that is undone.
//!
//! Each deployment that counts stands on the one that counted before it. A rollback goes back to an
//! earlier one; what is deployed after stands on that. So the deployments are a tree, like the
//! commits of a version control, and the bindings are what the way from its root to the one that
//! counts now has made of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Binding, Bindings, Digest, Name, Role, Timestamp};

/// The number of a deployment, from 1 in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeploymentNumber(pub u64);

impl fmt::Display for DeploymentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Something that brought modules or moved bindings, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its number.
    pub number: DeploymentNumber,
    /// When.
    pub at: Timestamp,
    /// By whom, in the caller's words.
    pub by: Option<String>,
    /// What was done.
    pub kind: DeploymentKind,
    /// The modules that were deployed, in the order given; some may have been known before.
    pub modules: Vec<Digest>,
    /// The bindings that it moved, workflows first, by name.
    pub moved: Vec<Moved>,
    /// The deployment that counted before, on which this one stands.
    pub before: Option<DeploymentNumber>,
    /// The one that counts from here on: itself, unless it moved nothing or went back to another.
    /// The next rollback undoes it.
    pub counts: Option<DeploymentNumber>,
}

/// What was done to the bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentKind {
    /// Modules were deployed.
    Deploy,
    /// A deployment was undone.
    Rollback {
        /// Which.
        of: DeploymentNumber,
    },
    /// The bindings were put back to how they stood after a deployment.
    RollbackTo {
        /// Which.
        number: DeploymentNumber,
    },
    /// Candidates got their names whole.
    Promote,
    /// Candidates lost their names.
    Abort,
}

impl DeploymentKind {
    /// In lower case.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback { .. } | Self::RollbackTo { .. } => "rollback",
            Self::Promote => "promote",
            Self::Abort => "abort",
        }
    }
}

/// A binding that was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// What the name is for.
    pub role: Role,
    /// The name.
    pub name: Name,
    /// What it meant before, if anything.
    pub from: Option<Binding>,
    /// What it means now, if anything.
    pub to: Option<Binding>,
}

/// What differs between two states of the bindings, workflows first, by name.
#[must_use]
pub fn moves(before: &Bindings, after: &Bindings) -> Vec<Moved> {
    let gone = before.keys().filter(|key| !after.contains_key(key));
    let mut keys: Vec<&(Role, Name)> = gone.chain(after.keys()).collect();
    keys.sort_unstable();
    let moved = keys.into_iter().filter_map(|key| {
        let [from, to] = [before, after].map(|bindings| bindings.get(key).copied());
        (from != to).then(|| Moved {
            role: key.0,
            name: key.1.clone(),
            from,
            to,
        })
    });
    moved.collect()
}

impl Deployment {
    /// Puts the bindings that it moved back to what they were before it. If one does not stand as it
    /// was left, nothing changes, and that one is returned.
    ///
    /// # Errors
    /// The binding that was moved otherwise since.
    pub fn undo(&self, bindings: &mut Bindings) -> Result<(), Box<Moved>> {
        let stands = |moved: &&Moved| bindings.get(&moved.key()) == moved.to.as_ref();
        if let Some(other) = self.moved.iter().find(|moved| !stands(moved)) {
            return Err(Box::new(other.clone()));
        }
        for moved in &self.moved {
            put(bindings, moved, moved.from);
        }
        Ok(())
    }

    /// Moves the bindings as it did.
    pub fn redo(&self, bindings: &mut Bindings) {
        for moved in &self.moved {
            put(bindings, moved, moved.to);
        }
    }

    /// The modules that undoing it needs.
    pub fn needs_to_undo(&self) -> impl Iterator<Item = Digest> {
        let from = self.moved.iter().filter_map(|moved| moved.from);
        from.flat_map(|binding| binding.modules().map(|it| it.0).collect::<Vec<_>>())
    }
}

impl Moved {
    fn key(&self) -> (Role, Name) {
        (self.role, self.name.clone())
    }
}

fn put(bindings: &mut Bindings, moved: &Moved, binding: Option<Binding>) {
    match binding {
        Some(binding) => bindings.insert(moved.key(), binding),
        None => bindings.remove(&moved.key()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(all: &[(&str, &str)]) -> Bindings {
        let one = |(name, module): &(&str, &str)| {
            let key = (Role::Workflow, name.parse().unwrap());
            (key, Binding::whole(Digest::of(module.as_bytes())))
        };
        all.iter().map(one).collect()
    }

    fn deployment(moved: Vec<Moved>) -> Deployment {
        Deployment {
            number: DeploymentNumber(1),
            at: Timestamp(1),
            by: None,
            kind: DeploymentKind::Deploy,
            modules: vec![],
            moved,
            before: None,
            counts: None,
        }
    }

    #[test]
    fn what_was_moved_is_undone_and_done_again() {
        let states = [
            bindings(&[]),
            bindings(&[("a", "one")]),
            bindings(&[("a", "one"), ("b", "two")]),
            bindings(&[("b", "three"), ("c", "one")]),
        ];
        for before in &states {
            for after in &states {
                let deployment = deployment(moves(before, after));
                assert_eq!(deployment.moved.is_empty(), before == after);
                let mut now = after.clone();
                deployment.undo(&mut now).unwrap();
                assert_eq!(&now, before);
                deployment.redo(&mut now);
                assert_eq!(&now, after);
            }
        }
    }

    #[test]
    fn what_was_moved_otherwise_since_is_left_alone() {
        let before = bindings(&[("a", "one"), ("b", "one")]);
        let after = bindings(&[("a", "two"), ("b", "two")]);
        let deployment = deployment(moves(&before, &after));
        for other in [
            bindings(&[("a", "two"), ("b", "three")]),
            bindings(&[("a", "two")]),
        ] {
            let mut now = other.clone();
            let moved = deployment.undo(&mut now).unwrap_err();
            assert_eq!(moved.name.as_str(), "b");
            assert_eq!(now, other);
        }
    }
}
