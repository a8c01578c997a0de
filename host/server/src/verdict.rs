//! How the history of an instance goes with other code: one verdict each, and many together.

use wfhost_core::comparison::InputChange;
use wfhost_core::replay::Divergence;
use wfhost_core::{Digest, InstanceId, Name, Status, kind};
use wfhost_sandbox::ReplayError;

use crate::replay::Stray;

/// What came of taking the turns of an instance again with other code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The code asks the same in each turn.
    Same,
    /// It asks the same of the same, with another payload or other options: first here.
    InputChanged(InputChange),
    /// It asks something else, first here.
    Diverges(Divergence),
    /// It does not read what the instance was given: the input, or something later.
    InterfaceChanged {
        /// In which turn, from 1 over all generations.
        turn: u64,
        /// What it says.
        message: String,
    },
    /// Nothing can be said: it met a limit of the host, or cannot run here.
    NotReplayed {
        /// Why.
        message: String,
    },
}

impl Verdict {
    /// A stable word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::InputChanged(_) => "input-changed",
            Self::Diverges(_) => "diverges",
            Self::InterfaceChanged { .. } => "interface-changed",
            Self::NotReplayed { .. } => "not-replayed",
        }
    }

    /// Whether an instance of which this is true may be moved.
    #[must_use]
    pub fn qualifies(&self, allow_input_changes: bool) -> bool {
        match self {
            Self::Same => true,
            Self::InputChanged(_) => allow_input_changes,
            Self::Diverges(_) | Self::InterfaceChanged { .. } | Self::NotReplayed { .. } => false,
        }
    }

    /// That of turns which all could be taken again.
    pub(crate) fn of_change(change: Option<Box<InputChange>>) -> Self {
        change.map_or(Self::Same, |change| Self::InputChanged(*change))
    }

    /// That of turns which could not.
    ///
    /// # Errors
    /// If the data file failed.
    pub(crate) fn of_stray(stray: Stray) -> Result<Self, wfhost_store::Error> {
        match stray {
            Stray::Store(error) => Err(error),
            Stray::Replay(ReplayError::Diverged(divergence)) => {
                Ok(Self::of_divergence(*divergence))
            }
            other => Ok(Self::NotReplayed {
                message: other.reason().to_string(),
            }),
        }
    }

    fn of_divergence(divergence: Divergence) -> Self {
        let unread = divergence.failure.as_ref();
        match unread.filter(|failure| UNREAD.contains(&failure.kind.as_str())) {
            Some(failure) => Self::InterfaceChanged {
                turn: divergence.turn,
                message: failure.message.clone(),
            },
            None => Self::Diverges(divergence),
        }
    }
}

/// What code fails with that does not read what it was given.
const UNREAD: [&str; 4] = [
    kind::INVALID_INPUT,
    kind::INVALID_PAYLOAD,
    kind::INVALID_OUTPUT,
    kind::INVALID_STATE,
];

/// In words, with both sides on lines of their own.
impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same => f.write_str("the code does the same"),
            Self::InputChanged(change) => change.fmt(f),
            Self::Diverges(divergence) => divergence.fmt(f),
            Self::InterfaceChanged { turn, message } => write!(
                f,
                "the code does not read what the instance was given, in turn {turn}: {message}"
            ),
            Self::NotReplayed { message } => {
                write!(f, "the history could not be taken again: {message}")
            }
        }
    }
}

/// An instance with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceVerdict {
    /// The instance.
    pub id: InstanceId,
    /// Its workflow.
    pub workflow: Name,
    /// How it stood.
    pub status: Status,
    /// The module that it ran on.
    pub from: Digest,
    /// The module that took its turns again.
    pub to: Digest,
    /// What came of it.
    pub verdict: Verdict,
    /// It runs on that module from here on.
    pub moved: bool,
}

/// How often each verdict was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdicts {
    /// [`Verdict::Same`].
    pub same: u64,
    /// [`Verdict::InputChanged`].
    pub input_changed: u64,
    /// [`Verdict::Diverges`].
    pub diverges: u64,
    /// [`Verdict::InterfaceChanged`].
    pub interface_changed: u64,
    /// [`Verdict::NotReplayed`].
    pub not_replayed: u64,
}

impl Verdicts {
    fn add(&mut self, verdict: &Verdict) {
        let count = match verdict {
            Verdict::Same => &mut self.same,
            Verdict::InputChanged(_) => &mut self.input_changed,
            Verdict::Diverges(_) => &mut self.diverges,
            Verdict::InterfaceChanged { .. } => &mut self.interface_changed,
            Verdict::NotReplayed { .. } => &mut self.not_replayed,
        };
        *count += 1;
    }

    /// Each by its word.
    #[must_use]
    pub fn by_word(&self) -> [(&'static str, u64); 5] {
        [
            ("same", self.same),
            ("input-changed", self.input_changed),
            ("diverges", self.diverges),
            ("interface-changed", self.interface_changed),
            ("not-replayed", self.not_replayed),
        ]
    }

    /// How many may not be moved.
    #[must_use]
    pub fn unqualified(&self, allow_input_changes: bool) -> u64 {
        let changed = if allow_input_changes {
            0
        } else {
            self.input_changed
        };
        changed + self.diverges + self.interface_changed + self.not_replayed
    }
}

/// Many instances whose turns were taken again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// How many histories, each from the start of its instance's current generation on.
    pub histories: u64,
    /// How many turns of them were taken again and were like those before.
    pub turns: u64,
    /// How often each verdict was given.
    pub verdicts: Verdicts,
    /// How many instances were moved.
    pub moved: u64,
    /// The instances with their verdicts, in the order of their creation: first those that do not
    /// do the same, then those that do.
    pub instances: Vec<InstanceVerdict>,
    /// How many more there are than are listed.
    pub unlisted: u64,
}

/// Gathers verdicts as they come, and keeps a bounded number of them.
#[derive(Default)]
pub(crate) struct Gathering {
    compared: Compared,
    differ: Vec<(u64, InstanceVerdict)>,
    same: Vec<(u64, InstanceVerdict)>,
}

impl Gathering {
    /// `number` says when the instance was created, `turns` how many of its were taken again.
    pub(crate) fn add(&mut self, number: u64, turns: u64, one: InstanceVerdict, listed_max: usize) {
        let compared = &mut self.compared;
        compared.histories += 1;
        compared.turns += turns;
        compared.moved += u64::from(one.moved);
        compared.verdicts.add(&one.verdict);
        let rows = match one.verdict {
            Verdict::Same => &mut self.same,
            _ => &mut self.differ,
        };
        if rows.len() < listed_max {
            rows.push((number, one));
        }
    }

    pub(crate) fn finish(mut self, listed_max: usize) -> Compared {
        for rows in [&mut self.differ, &mut self.same] {
            rows.sort_unstable_by_key(|(number, _)| *number);
        }
        let rows = self.differ.into_iter().chain(self.same).take(listed_max);
        let instances: Vec<_> = rows.map(|(_, one)| one).collect();
        Compared {
            unlisted: self.compared.histories - instances.len() as u64,
            instances,
            ..self.compared
        }
    }
}
