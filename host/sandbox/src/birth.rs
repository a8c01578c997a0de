//! What a workflow's guest is born with, and who it is in each of its turns.

use wfhost_core::{InstanceId, Json, Name, RunId, Timestamp};

use crate::inside::{Mode, WorkflowRole};
use crate::random::Stream;

/// What a guest is born with: the start of one generation.
#[derive(Debug, Clone)]
pub struct Birth {
    /// The instance.
    pub id: InstanceId,
    /// This start of it.
    pub run: RunId,
    /// Which workflow of the module.
    pub workflow: Name,
    /// The id of the instance that started it.
    pub parent: Option<String>,
    /// When the generation began; `Instant` counts from here.
    pub started_at: Timestamp,
    /// Counts the continue-as-new generations from 0.
    pub generation: u32,
    /// Seeds the random numbers.
    pub seed: u64,
    /// The workflow's input.
    pub input: Json,
    /// Where the generation's first turns were copied from, if they were: a rerun of a rerun has two
    /// origins, in the order of their turns.
    pub origins: Vec<Origin>,
}

/// The instance that a rerun has its first turns from. While they are taken again, the guest sees
/// itself as that instance and draws its random numbers; afterwards it is its own.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The instance.
    pub id: InstanceId,
    /// That start of it.
    pub run: RunId,
    /// The id of the instance that started it.
    pub parent: Option<String>,
    /// Seeded its random numbers.
    pub seed: u64,
    /// Up to which turn of this generation, from 1, they are its turns.
    pub turns: u64,
}

/// Who a guest is told that it is.
pub(crate) struct Identity<'a> {
    pub(crate) id: &'a InstanceId,
    pub(crate) run: RunId,
    pub(crate) parent: Option<&'a str>,
}

impl WorkflowRole {
    pub(crate) fn new(birth: Birth) -> Self {
        // What runs before the first turn belongs to it.
        let seed = birth.seed_of(1);
        Self {
            now: birth.started_at,
            turns: 0,
            last_task: 0,
            patches: Default::default(),
            random: Stream::of_context(seed),
            wasi_random: Stream::of_wasi(seed),
            mode: Mode::Idle,
            birth,
        }
    }

    /// Counts a turn. The first one after an origin's last draws from other streams.
    pub(crate) fn begin_turn(&mut self) {
        let was_last = |origin: &Origin| origin.turns == self.turns;
        let changes = self.turns > 0 && self.birth.origins.iter().any(was_last);
        self.turns += 1;
        if changes {
            let seed = self.birth.seed_of(self.turns);
            self.random = Stream::of_context(seed);
            self.wasi_random = Stream::of_wasi(seed);
        }
    }

    /// Who it is in this turn; before the first one, who it is in that.
    pub(crate) fn identity(&self) -> Identity<'_> {
        match self.birth.copied(self.turns.max(1)) {
            Some(origin) => Identity {
                id: &origin.id,
                run: origin.run,
                parent: origin.parent.as_deref(),
            },
            None => Identity {
                id: &self.birth.id,
                run: self.birth.run,
                parent: self.birth.parent.as_deref(),
            },
        }
    }
}

impl Birth {
    /// The origin, if the turn of this number was copied from it.
    fn copied(&self, turn: u64) -> Option<&Origin> {
        self.origins.iter().find(|origin| turn <= origin.turns)
    }

    fn seed_of(&self, turn: u64) -> u64 {
        self.copied(turn).map_or(self.seed, |origin| origin.seed)
    }
}
