//! What is needed to start an instance.

use uuid::Uuid;
use wfhost_core::record::Started;
use wfhost_core::{Digest, InstanceId, Json, Name, RunId, Timestamp};

/// The version of the contract that this host links.
const CONTRACT: &str = "0.1.0";

/// A request to start an instance.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Which workflow, as the bindings say.
    pub workflow: Name,
    /// Its input.
    pub input: Json,
    /// The instance's id; the first eight digits of a random UUID if absent.
    pub id: Option<InstanceId>,
    /// Text by key, for searching.
    pub tags: Vec<(String, String)>,
}

/// A first start, with a run and a seed of its own.
pub(crate) fn fresh(
    id: InstanceId,
    workflow: Name,
    module: Digest,
    input: Json,
    at: Timestamp,
) -> Started {
    let (seed, _) = Uuid::new_v4().as_u64_pair();
    Started {
        id,
        run: RunId(Uuid::new_v4().as_u128()),
        generation: 0,
        workflow,
        module,
        contract: CONTRACT.to_owned(),
        features: wfhost_sandbox::FEATURE_SET,
        seed,
        input,
        parent: None,
        tags: Vec::new(),
        at,
        created_at: at,
        events: Vec::new(),
    }
}

/// Eight hexadecimal digits, as the quickstart has them.
pub(crate) fn random_id() -> InstanceId {
    let digits = Uuid::new_v4().simple().to_string();
    digits[..8].parse().expect("hexadecimal digits make an id")
}
