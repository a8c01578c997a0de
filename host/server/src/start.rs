//! What is needed to start an instance.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wfhost_core::record::{Event, Started};
use wfhost_core::{Digest, Instance, InstanceId, Json, Name, RunId, Status, Timestamp, Trace};

/// The version of the contract that this host links.
const CONTRACT: &str = "0.1.0";

/// A request to start an instance.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Which workflow, as the bindings say.
    pub workflow: Name,
    /// Its input.
    pub input: Json,
    /// The instance's id. Absent: one that the request key makes, else the first eight digits of a
    /// random UUID.
    pub id: Option<InstanceId>,
    /// Text by key, for searching.
    pub tags: Vec<(String, String)>,
    /// Makes the request idempotent: a second one with the same key starts nothing, and gets the
    /// instance that the first one started.
    pub key: Option<String>,
    /// What happens if the id is in use.
    pub reuse: Reuse,
    /// The first turn is not before then.
    pub begins_at: Option<Timestamp>,
    /// Events that are there from the start, oldest first.
    pub events: Vec<Event>,
    /// Where it stands in the trace of whoever asks for it; absent: its run is the trace.
    pub trace: Option<Trace>,
}

impl StartRequest {
    /// A start at once, with an id that nobody has.
    #[must_use]
    pub fn new(workflow: Name, input: Json) -> Self {
        Self {
            workflow,
            input,
            id: None,
            tags: Vec::new(),
            key: None,
            reuse: Reuse::default(),
            begins_at: None,
            events: Vec::new(),
            trace: None,
        }
    }

    /// The id that the instance gets.
    pub(crate) fn choose_id(&self) -> InstanceId {
        let of_key = |key: &String| InstanceId::of_request(&self.workflow, key);
        let id = self.id.clone().or_else(|| self.key.as_ref().map(of_key));
        id.unwrap_or_else(random_id)
    }
}

/// What a start does if its id is in use. Where it takes the id, the history of the instance that
/// had it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Reuse {
    /// It is refused.
    #[default]
    Refuse,
    /// It takes the id of an instance that has ended.
    IfEnded,
    /// It takes the id of an instance that failed, or was cancelled or terminated.
    IfFailed,
    /// It takes the id; an instance that has not ended is terminated first, with its children.
    Terminate,
    /// An instance that has not ended is used: the events of the request go to it. It takes the id
    /// of one that has.
    UseRunning,
}

impl Reuse {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Refuse,
        Self::IfEnded,
        Self::IfFailed,
        Self::Terminate,
        Self::UseRunning,
    ];

    /// As the command line writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::IfEnded => "if-ended",
            Self::IfFailed => "if-failed",
            Self::Terminate => "terminate",
            Self::UseRunning => "use-running",
        }
    }

    /// Whether the id of an instance that stands so may be taken.
    pub(crate) fn takes(self, status: Status) -> bool {
        match self {
            Self::Refuse => false,
            Self::IfEnded | Self::Terminate | Self::UseRunning => status.has_ended(),
            Self::IfFailed => status.has_ended() && status != Status::Completed,
        }
    }

    /// The same, as it is asked where nothing can come between.
    pub(crate) fn on(self, before: &Instance) -> wfhost_store::Reuse {
        if self.takes(before.status()) {
            wfhost_store::Reuse::Replace(Vec::new())
        } else {
            wfhost_store::Reuse::Refuse
        }
    }
}

/// A first start, with a run and a seed of its own.
pub(crate) fn fresh(
    id: InstanceId,
    workflow: Name,
    module: Digest,
    input: Json,
    at: Timestamp,
) -> Started {
    Started {
        id,
        run: random_run(),
        generation: 0,
        workflow,
        module,
        contract: CONTRACT.to_owned(),
        features: wfhost_sandbox::FEATURE_SET,
        seed: random_seed(),
        input,
        parent: None,
        tags: Vec::new(),
        at,
        created_at: at,
        events: Vec::new(),
        begins_at: None,
        key: None,
        carried: None,
        reruns: Vec::new(),
        trace: None,
    }
}

pub(crate) fn random_run() -> RunId {
    RunId(Uuid::new_v4().as_u128())
}

pub(crate) fn random_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

/// Eight hexadecimal digits, as the quickstart has them.
pub(crate) fn random_id() -> InstanceId {
    let digits = Uuid::new_v4().simple().to_string();
    digits[..8].parse().expect("hexadecimal digits make an id")
}
