//! Why a module does not get in, or does not run.

use wfhost_core::Digest;

/// Why uploaded bytes are no module for this host. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The bytes are something else.
    #[error("this is not WebAssembly: {found}; compile it first, for example with `wfhost build`")]
    NotWasm {
        /// What they look like.
        found: String,
    },
    /// It begins like a module and then breaks off, or breaks a rule.
    #[error(
        "this WebAssembly is damaged or uses a feature that is off here: {what} (at offset {offset:#x}); build it again, for `wasm32-unknown-unknown` or `wasm32-wasip2`"
    )]
    Invalid {
        /// What is wrong.
        what: String,
        /// Where, in bytes from the beginning.
        offset: u64,
    },
    /// A core module that does not say which interfaces it speaks.
    #[error(
        "this is a core WebAssembly module without component metadata, so its interfaces are unknown; build it with `wfhost build`, or export its workflows with wfhost-sdk or wit-bindgen"
    )]
    NoMetadata,
    /// A core module whose metadata and code do not fit each other.
    #[error(
        "cannot make a component of this core module: {what}; build it with `wfhost build`, or for `wasm32-wasip2`"
    )]
    NotEncodable {
        /// What is wrong.
        what: String,
    },
    /// A component for some other host.
    #[error(
        "this component offers neither workflows nor activities: it exports {}; export `wfhost:durable/workflow` or `wfhost:durable/activity`, for example with wfhost-sdk",
        listed(exports)
    )]
    OtherWorld {
        /// What it exports.
        exports: Vec<String>,
    },
    /// It speaks a version of the contract that this host does not.
    #[error(
        "the module speaks `{interface}`, and this host speaks wfhost:durable {offered}; build it with the wfhost-sdk of this version, or use a host that knows both"
    )]
    Contract {
        /// The interface that it imports or exports.
        interface: String,
        /// The version that this host speaks.
        offered: &'static str,
    },
    /// It imports what a workflow may not have.
    #[error(
        "the module imports `{import}`{}, which no workflow can have: a workflow reaches the world through activities only; move that code into an activity, or drop the dependency that brings it in",
        of(functions)
    )]
    WorkflowImport {
        /// The import.
        import: String,
        /// What it uses of it.
        functions: Vec<String>,
    },
    /// It imports what nobody offers.
    #[error(
        "the module imports `{import}`{}, which this host does not offer to activities; drop the dependency that brings it in",
        of(functions)
    )]
    Import {
        /// The import.
        import: String,
        /// What it uses of it.
        functions: Vec<String>,
    },
    /// It imports something by its right name but of a wrong type.
    #[error(
        "the module's imports or exports do not fit this host: {what}; build it with the wfhost-sdk of this version"
    )]
    Unlinkable {
        /// What does not fit.
        what: String,
    },
    /// Too many bytes.
    #[error(
        "the module has {bytes} bytes, more than the limit of {bytes_max}; build it with `--release` and strip its debug information"
    )]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// What it says that it offers cannot be so.
    #[error("the module's definitions are not usable: {what}")]
    Definitions {
        /// What is wrong.
        what: String,
    },
}

/// Why a module that was let in does not run on this host.
#[derive(Debug, thiserror::Error)]
#[error("the module {digest:?} cannot run on this host: {what}")]
pub struct Unusable {
    /// The module.
    pub digest: Digest,
    /// What is wrong.
    pub what: String,
    /// The host has no room for another guest just now: drop warm ones and try again. Otherwise
    /// the module is at fault, and the instance stalls.
    pub passing: bool,
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The engine refuses this machine or these limits.
    #[error("cannot set up the WebAssembly engine: {0}")]
    Engine(String),
    /// No thread for the clock that stops endless guests.
    #[error("cannot start the thread that watches the guests' time")]
    Thread(#[source] std::io::Error),
}

fn listed(exports: &[String]) -> String {
    if exports.is_empty() {
        return "nothing".into();
    }
    let shown: Vec<String> = exports.iter().map(|it| format!("`{it}`")).collect();
    shown.join(", ")
}

/// As many functions as a line can take.
fn of(functions: &[String]) -> String {
    const SHOWN_MAX: usize = 3;
    match functions {
        [] => String::new(),
        all => {
            let shown: Vec<String> = all
                .iter()
                .take(SHOWN_MAX)
                .map(|it| format!("`{it}`"))
                .collect();
            let more = if all.len() > SHOWN_MAX { ", …" } else { "" };
            format!(" ({}{more})", shown.join(", "))
        }
    }
}
