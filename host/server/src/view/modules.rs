//! Modules, what their names mean, and what a deployment changes of their interfaces.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use wfhost_core::interface::{self, Fate};
use wfhost_core::{DeploymentKind, ModuleInfo, Name, schema};

use super::moves::{Compared, Plan};
use super::words::{Digest, Role, Time, all};

/// A module as it was found to be when it was deployed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Module {
    digest: Digest,
    /// Where it came from, for people.
    label: String,
    /// The size of what was uploaded.
    bytes: u64,
    /// The component that runs: the module, or what was made of it.
    component: Digest,
    /// What made the component, with its version, if it was made.
    encoder: Option<String>,
    /// The version of `wfhost:durable` that it speaks.
    contract: String,
    /// All that it imports, by interface.
    imports: Vec<String>,
    /// Nothing of the outside can be linked to its activities.
    contained: bool,
    deployed_at: Time,
    /// Who deployed it first, in their words.
    deployed_by: Option<String>,
    workflows: Vec<Definition>,
    activities: Vec<Definition>,
}

/// A workflow or an activity that a module offers.
#[derive(Serialize, ToSchema)]
struct Definition {
    name: String,
    description: String,
    /// Its name means this module now.
    bound: bool,
    /// JSON Schema of the input, where the module knows it.
    input_schema: Value,
    /// JSON Schema of the output, where the module knows it.
    output_schema: Value,
}

impl Module {
    pub(super) fn new(info: &ModuleInfo, bound: impl Fn(wfhost_core::Role, &Name) -> bool) -> Self {
        let definitions = |role, definitions: &[wfhost_core::Definition]| {
            let one = |it: &wfhost_core::Definition| Definition {
                name: it.name.to_string(),
                description: it.description.clone(),
                bound: bound(role, &it.name),
                input_schema: it.input_schema.clone().unwrap_or_default(),
                output_schema: it.output_schema.clone().unwrap_or_default(),
            };
            definitions.iter().map(one).collect()
        };
        Self {
            digest: info.digest.into(),
            label: info.label.clone(),
            bytes: info.bytes,
            component: info.component.into(),
            encoder: info.encoder.clone(),
            contract: info.contract.clone(),
            imports: info.imports.clone(),
            contained: info.contained,
            deployed_at: info.deployed_at.into(),
            deployed_by: info.deployed_by.clone(),
            workflows: definitions(wfhost_core::Role::Workflow, &info.workflows),
            activities: definitions(wfhost_core::Role::Activity, &info.activities),
        }
    }
}

/// What a name means.
#[derive(Serialize, ToSchema)]
pub(crate) struct Binding {
    module: Digest,
    /// A module that is rolled out to a share of new instances.
    candidate: Option<Candidate>,
}

/// A module that is rolled out.
#[derive(Serialize, ToSchema)]
struct Candidate {
    module: Digest,
    /// In percent.
    #[schema(examples("10%"))]
    share: String,
}

impl From<&wfhost_core::Binding> for Binding {
    fn from(binding: &wfhost_core::Binding) -> Self {
        Self {
            module: binding.module.into(),
            candidate: binding.candidate.as_ref().map(|it| Candidate {
                module: it.module.into(),
                share: it.share.to_string(),
            }),
        }
    }
}

/// A name that means something else than before.
#[derive(Serialize, ToSchema)]
#[schema(as = MovedBinding)]
pub(crate) struct Moved {
    role: Role,
    name: String,
    /// Null: the name is new.
    from: Option<Binding>,
    /// Null: the name means nothing any more.
    to: Option<Binding>,
}

impl From<&wfhost_core::Moved> for Moved {
    fn from(moved: &wfhost_core::Moved) -> Self {
        Self {
            role: moved.role.into(),
            name: moved.name.to_string(),
            from: moved.from.as_ref().map(Into::into),
            to: moved.to.as_ref().map(Into::into),
        }
    }
}

/// Something that brought modules or moved names, in one transaction.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deployment {
    /// Counted from 1.
    number: u64,
    at: Time,
    /// By whom, in their words.
    by: Option<String>,
    kind: Kind,
    /// The deployment that was undone, or gone back to.
    of: Option<u64>,
    modules: Vec<Digest>,
    moved: Vec<Moved>,
}

/// What was done to the names.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DeploymentKind)]
enum Kind {
    Deploy,
    Rollback,
    Promote,
    Abort,
}

impl From<&wfhost_core::Deployment> for Deployment {
    fn from(it: &wfhost_core::Deployment) -> Self {
        let (kind, of) = match it.kind {
            DeploymentKind::Deploy => (Kind::Deploy, None),
            DeploymentKind::Rollback { of } => (Kind::Rollback, Some(of.0)),
            DeploymentKind::RollbackTo { number } => (Kind::Rollback, Some(number.0)),
            DeploymentKind::Promote => (Kind::Promote, None),
            DeploymentKind::Abort => (Kind::Abort, None),
        };
        Self {
            number: it.number.0,
            at: it.at.into(),
            by: it.by.clone(),
            kind,
            of,
            modules: it.modules.iter().copied().map(Into::into).collect(),
            moved: all(&it.moved),
        }
    }
}

/// What a deployment did.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deployed {
    /// The number of the deployment; null if nothing has changed.
    pub(super) number: Option<u64>,
    pub(super) modules: Vec<Module>,
    pub(super) moved: Vec<Moved>,
    pub(super) interface: InterfaceDiff,
    /// What was to be expected, if that was asked.
    pub(super) plan: Option<Plan>,
    /// What became of the live instances, if they were to be taken along.
    pub(super) upgraded: Option<Compared>,
}

/// What a deployment changes of interfaces.
#[derive(Serialize, ToSchema)]
pub(crate) struct InterfaceDiff {
    modules: Vec<ModuleDiff>,
}

/// What a module changes of those that it replaces.
#[derive(Serialize, ToSchema)]
struct ModuleDiff {
    module: Digest,
    label: String,
    /// What its names mean now.
    replaces: Vec<Replaced>,
    /// Nothing of the outside can be linked to its activities.
    contained: bool,
    /// Whether that held for all that it replaces; null if it replaces none.
    was_contained: Option<bool>,
    /// Interfaces of the outside that its activities can reach and could not before.
    gained: Vec<String>,
    /// Those that they could, and it cannot.
    lost: Vec<String>,
    definitions: Vec<DefinitionDiff>,
}

/// A module whose names mean another.
#[derive(Serialize, ToSchema)]
struct Replaced {
    module: Digest,
    label: String,
}

/// What becomes of a name.
#[derive(Serialize, ToSchema)]
struct DefinitionDiff {
    role: Role,
    name: String,
    fate: FateWord,
    /// The module that the name means now.
    from: Option<Digest>,
    /// What changes of its input and its output.
    changes: Vec<Change>,
}

/// What becomes of a name.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Fate)]
enum FateWord {
    Added,
    Replaced,
    Unmoved,
    Removed,
}

/// One difference between two schemas.
#[derive(Serialize, ToSchema)]
struct Change {
    /// Where, such as `input.items[].sku`.
    path: String,
    /// What is new, in words that follow the path.
    what: String,
    /// What that is for those who call as before.
    impact: Impact,
}

/// What a change is for those who call as before.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Impact {
    /// They can meet it.
    Fits,
    /// It cannot be judged by the schemas.
    Unknown,
    /// They may not be able to meet it.
    Breaks,
}

impl From<&interface::InterfaceDiff> for InterfaceDiff {
    fn from(diff: &interface::InterfaceDiff) -> Self {
        Self {
            modules: all(&diff.modules),
        }
    }
}

impl From<&interface::ModuleDiff> for ModuleDiff {
    fn from(it: &interface::ModuleDiff) -> Self {
        let replaces = it.replaces.iter().map(|(module, label)| Replaced {
            module: (*module).into(),
            label: label.clone(),
        });
        Self {
            module: it.module.into(),
            label: it.label.clone(),
            replaces: replaces.collect(),
            contained: it.contained,
            was_contained: it.was_contained,
            gained: it.gained.clone(),
            lost: it.lost.clone(),
            definitions: all(&it.definitions),
        }
    }
}

impl From<&interface::DefinitionDiff> for DefinitionDiff {
    fn from(it: &interface::DefinitionDiff) -> Self {
        let (fate, from) = match it.fate {
            Fate::Added => (FateWord::Added, None),
            Fate::Unmoved => (FateWord::Unmoved, None),
            Fate::Replaced { from } => (FateWord::Replaced, Some(from)),
            Fate::Removed { stays_on } => (FateWord::Removed, Some(stays_on)),
        };
        Self {
            role: it.role.into(),
            name: it.name.to_string(),
            fate,
            from: from.map(Into::into),
            changes: all(&it.changes),
        }
    }
}

impl From<&schema::Change> for Change {
    fn from(change: &schema::Change) -> Self {
        Self {
            path: change.path.clone(),
            what: change.what.clone(),
            impact: match change.impact {
                schema::Impact::Fits => Impact::Fits,
                schema::Impact::Unknown => Impact::Unknown,
                schema::Impact::Breaks => Impact::Breaks,
            },
        }
    }
}
