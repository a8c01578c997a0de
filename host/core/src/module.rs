//! Modules and what they offer.

use serde::{Deserialize, Serialize};

use crate::{Digest, Name, Timestamp};

/// What a definition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Deterministic code with a history.
    Workflow,
    /// Ordinary code with the capabilities that it was granted.
    Activity,
}

impl Role {
    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Activity => "activity",
        }
    }
}

/// A workflow or an activity that a module offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// By which it is called.
    pub name: Name,
    /// For a person to read.
    pub description: String,
    /// JSON Schema of the input, where the module knows it.
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema of the output, where the module knows it.
    pub output_schema: Option<serde_json::Value>,
}

/// A module as it was found to be when it was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// Of the uploaded bytes; the module's name.
    pub digest: Digest,
    /// Size of the uploaded bytes.
    pub bytes: u64,
    /// Where it came from, for people: a file's name.
    pub label: String,
    /// When it was first deployed.
    pub deployed_at: Timestamp,
    /// Who deployed it first, in the caller's words.
    pub deployed_by: Option<String>,
    /// The component that runs: the uploaded bytes, or what was made of them.
    pub component: Digest,
    /// What made the component, with its version, if it was made.
    pub encoder: Option<String>,
    /// The version of `wfhost:durable` that it speaks.
    pub contract: String,
    /// Everything that it imports, by interface.
    pub imports: Vec<String>,
    /// Nothing of the outside can be linked to its activities.
    pub contained: bool,
    /// The modules of the deployment that first brought it, itself among them.
    #[serde(default)]
    pub deployed_with: Vec<Digest>,
    /// The workflows that it offers.
    pub workflows: Vec<Definition>,
    /// The activities that it offers.
    pub activities: Vec<Definition>,
}

impl ModuleInfo {
    /// Every name that the module offers, with its role.
    pub fn offers(&self) -> impl Iterator<Item = (Role, &Name)> {
        let workflows = self.workflows.iter().map(|it| (Role::Workflow, &it.name));
        workflows.chain(self.activities.iter().map(|it| (Role::Activity, &it.name)))
    }
}
