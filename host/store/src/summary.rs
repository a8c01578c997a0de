//! One row an instance: enough to list it without its history.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use wfhost_core::{Digest, Instance, InstanceId, Name, Position, RunId, Status, Timestamp};

/// An instance, for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The instance.
    pub id: InstanceId,
    /// This start of it.
    pub run: RunId,
    /// Its generation, from 0.
    pub generation: u32,
    /// The workflow's name.
    pub workflow: Name,
    /// The module whose code runs it.
    pub module: Digest,
    /// Where it stands.
    #[serde(serialize_with = "write_status", deserialize_with = "read_status")]
    pub status: Status,
    /// Why it does not move, if it is stalled.
    pub reason: Option<Reason>,
    /// The instance that it answers to.
    pub parent: Option<InstanceId>,
    /// That start of it.
    pub parent_run: Option<RunId>,
    /// It does not answer to its parent.
    pub detached: bool,
    /// Text by key.
    pub tags: Vec<(String, String)>,
    /// When its first generation was started.
    pub created_at: Timestamp,
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// How many turns it has taken, in all generations.
    pub turns: u64,
    /// How many records its history has.
    pub records: u64,
    /// Its number: the position of its first record.
    pub number: u64,
    /// The position of its last record.
    pub position: Position,
    /// When time next brings a host something to do for it, as [`Instance::next_due_at`] says.
    pub due_at: Option<Timestamp>,
    /// A host that starts has to look at it, as [`Instance::is_due_at_start`] says.
    pub due_at_start: bool,
}

/// Why an instance does not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// A stable word to match on.
    pub word: String,
    /// For a person to read.
    pub text: String,
}

impl Summary {
    /// The row of an instance as it stands.
    pub(crate) fn of(instance: &Instance, number: u64, position: Position) -> Self {
        let started = instance.started();
        Self {
            id: started.id.clone(),
            run: started.run,
            generation: started.generation,
            workflow: started.workflow.clone(),
            module: instance.module(),
            status: instance.status(),
            reason: instance.stall().map(|stall| Reason {
                word: stall.word().to_owned(),
                text: stall.to_string(),
            }),
            parent: started.parent.as_ref().map(|parent| parent.id.clone()),
            parent_run: started.parent.as_ref().map(|parent| parent.run),
            detached: started.parent.as_ref().is_some_and(|it| it.detached),
            tags: started.tags.clone(),
            created_at: started.created_at,
            updated_at: instance.updated_at(),
            turns: instance.turns(),
            records: instance.records(),
            number,
            position,
            due_at: instance.next_due_at(),
            due_at_start: instance.is_due_at_start(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's signature for a field"
)]
fn write_status<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

fn read_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
    let word = <&str>::deserialize(deserializer)?;
    let known = Status::ALL
        .into_iter()
        .find(|status| status.as_str() == word);
    known.ok_or_else(|| de::Error::custom(format!("`{word}` is no status")))
}
