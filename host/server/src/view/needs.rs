//! Why modules stay, and which went.

use serde::Serialize;
use utoipa::ToSchema;
use wfhost_store::{self as store, Collected};

use super::words::{Digest, Id, all};
use crate::cli::text;

/// A reason why a module stays.
#[derive(Serialize, ToSchema)]
pub(crate) struct Need {
    kind: NeedKind,
    /// For a person to read.
    message: String,
    /// One of the instances that need it.
    example: Option<Id>,
}

/// What needs a module.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum NeedKind {
    Bound,
    Running,
    Ended,
    InUse,
    Rollback,
    DeployedWith,
}

impl From<&store::Need> for Need {
    fn from(need: &store::Need) -> Self {
        let (kind, example) = match need {
            store::Need::Bound { .. } => (NeedKind::Bound, None),
            store::Need::Running { example, .. } => (NeedKind::Running, Some(example)),
            store::Need::Ended { example, .. } => (NeedKind::Ended, Some(example)),
            store::Need::InUse { .. } => (NeedKind::InUse, None),
            store::Need::Rollback { .. } => (NeedKind::Rollback, None),
            store::Need::DeployedWith { .. } => (NeedKind::DeployedWith, None),
        };
        Self {
            kind,
            message: text::need(need),
            example: example.map(Into::into),
        }
    }
}

/// A module that stays, and why.
#[derive(Serialize, ToSchema)]
pub(crate) struct Kept {
    digest: Digest,
    label: String,
    needs: Vec<Need>,
}

impl From<&store::ModuleNeeds> for Kept {
    fn from(kept: &store::ModuleNeeds) -> Self {
        Self {
            digest: kept.digest.into(),
            label: kept.label.clone(),
            needs: all(&kept.needs),
        }
    }
}

/// A module that went, or would go.
#[derive(Serialize, ToSchema)]
pub(crate) struct Removed {
    digest: Digest,
    label: String,
    /// What it took.
    bytes: u64,
}

impl From<&store::RemovedModule> for Removed {
    fn from(removed: &store::RemovedModule) -> Self {
        Self {
            digest: removed.digest.into(),
            label: removed.label.clone(),
            bytes: removed.bytes,
        }
    }
}

/// Which modules went, and which stay.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tidied {
    removed: Vec<Removed>,
    kept: Vec<Kept>,
    /// What those that went took, in all.
    bytes: u64,
}

impl From<&Collected> for Tidied {
    fn from(done: &Collected) -> Self {
        Self {
            removed: all(&done.removed),
            kept: all(&done.kept),
            bytes: done.bytes(),
        }
    }
}
