//! What can go wrong, by what the caller can do about it.

use std::path::PathBuf;

use crate::capsule::CapsuleError;
use wfhost_core::schedule::{InvalidSchedule, InvalidTimes, ScheduleName};
use wfhost_core::{Digest, InstanceId, Name, Role, Status};
use wfhost_store::{BindingError, OpenError, SubmitError};

use crate::plan::Plan;
use crate::verdict::Verdict;

/// An error of the host. [`Error::is_callers`] tells a mistake of the caller from a failure of the
/// host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data file failed. Open it again; what was acknowledged is there.
    #[error(transparent)]
    Store(#[from] wfhost_store::Error),
    /// This machine cannot run guests.
    #[error("cannot set up the sandbox")]
    Setup(#[from] wfhost_sandbox::SetupError),
    /// The bytes are not a module that this host can run.
    #[error("{label}: {source}")]
    Rejected {
        /// Where the bytes came from.
        label: String,
        /// What is wrong with them.
        source: wfhost_sandbox::Rejected,
    },
    /// The module was fine when it was deployed, and is not on this host.
    #[error("the module {module} cannot run here: {message}")]
    ModuleUnusable {
        /// Which.
        module: Digest,
        /// Why not.
        message: String,
    },
    /// The module of an instance that was to start was removed meanwhile.
    #[error(
        "the module {module} was removed from the data file; deploy it again, or start on what its workflow's name means now"
    )]
    ModuleRemoved {
        /// Which.
        module: Digest,
    },
    /// Names could not be given to other modules. Nothing has changed.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// There is no instance of that id.
    #[error("there is no instance `{id}`; `wfhost list` shows those there are")]
    NoSuchInstance {
        /// Which.
        id: InstanceId,
    },
    /// There is no schedule of that name.
    #[error("there is no schedule `{name}`; `wfhost schedules` shows those there are")]
    NoSuchSchedule {
        /// Which.
        name: ScheduleName,
    },
    /// The schedule cannot be set.
    #[error(transparent)]
    InvalidSchedule(#[from] InvalidSchedule),
    /// There are as many schedules as there may be.
    #[error("there are {max} schedules already, which are the most; delete one first")]
    TooManySchedules {
        /// How many there may be.
        max: usize,
    },
    /// No module offers that workflow.
    #[error("no module offers the workflow `{name}`; {}", known_workflows(.known))]
    NoSuchWorkflow {
        /// Which.
        name: String,
        /// Those that there are.
        known: Vec<Name>,
    },
    /// The workflow's code refused its input before it did anything. Nothing was recorded.
    #[error("the workflow `{workflow}` refused its input: {message}")]
    InvalidInput {
        /// Which.
        workflow: Name,
        /// What its code says.
        message: String,
    },
    /// The id belongs to another instance.
    #[error("the instance id `{id}` is in use ({}); choose another with --id, or say with --reuse what to do", .status.as_str())]
    IdInUse {
        /// Which.
        id: InstanceId,
        /// How that instance stands.
        status: Status,
    },
    /// A payload is larger than the host takes.
    #[error("{what} has {bytes} bytes; {bytes_max} are the most")]
    TooLarge {
        /// What.
        what: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Two modules of one deployment offer the same name.
    #[error("{} and {} both offer the {} `{name}`; deploy one of them", .labels[0], .labels[1], .role.as_str())]
    OfferedTwice {
        /// What the name is for.
        role: Role,
        /// The name.
        name: Name,
        /// Where the two came from.
        labels: [String; 2],
    },
    /// Nothing can happen to the instance any more.
    #[error("the instance `{id}` has ended ({})", .status.as_str())]
    Ended {
        /// Which.
        id: InstanceId,
        /// How.
        status: Status,
    },
    /// The instance must have ended for what was asked.
    #[error("the instance `{id}` has not ended ({}); terminate it first", .status.as_str())]
    NotEnded {
        /// Which.
        id: InstanceId,
        /// How it stands.
        status: Status,
    },
    /// The parent of a child that has ended has still to learn of it.
    #[error("the parent of `{id}` has still to learn of its end; go on with the parent first")]
    Awaited {
        /// Which child.
        id: InstanceId,
    },
    /// The request key was used for another request.
    #[error(
        "the request key `{key}` was used before on `{id}`, for {asked}; a key stands for one request"
    )]
    KeyInUse {
        /// The instance.
        id: InstanceId,
        /// The key.
        key: String,
        /// What for.
        asked: &'static str,
    },
    /// The instance has not begun, so that there is nothing to ask.
    #[error("the instance `{id}` has taken no turn yet, so there is nothing to ask it")]
    NotBegun {
        /// Which.
        id: InstanceId,
    },
    /// No copy of the workflow can be brought up to be asked.
    #[error("the instance `{id}` cannot be asked: {why}")]
    CannotAsk {
        /// Which.
        id: InstanceId,
        /// Why not.
        why: String,
    },
    /// The data file holds no such module.
    #[error("the data file holds no module {module}; `wfhost modules` shows those there are")]
    NoSuchModule {
        /// Which.
        module: Digest,
    },
    /// The module has no such workflow.
    #[error(
        "the module {module} does not offer the workflow `{workflow}`; choose one that does, `wfhost modules` shows them"
    )]
    NotOffered {
        /// Which module.
        module: Digest,
        /// The workflow.
        workflow: Name,
    },
    /// The code of a module does not do what an instance did, so it cannot go on with it.
    #[error("the instance `{id}` cannot go on with the module {module}: {verdict}{}", how_to_allow(.verdict))]
    NotTheSame {
        /// The instance.
        id: InstanceId,
        /// The module.
        module: Digest,
        /// What it does.
        verdict: Box<Verdict>,
    },
    /// The code to be deployed does not do what every live instance did, which was required.
    #[error(
        "nothing was deployed: {unqualified} of {} live instances do not go on with the new code as they are; look at the plan, or deploy without requiring all",
        .plan.live.histories
    )]
    NotAllTheSame {
        /// How many of the live instances could not be taken along.
        unqualified: u64,
        /// What was found.
        plan: Box<Plan>,
    },
    /// There is no such turn to go back to.
    #[error(
        "the instance `{id}` cannot be reset to turn {turn}; it may be to {first} to {last}, the turns of its current generation that it has taken"
    )]
    NoTurnToReset {
        /// Which instance.
        id: InstanceId,
        /// Which turn.
        turn: u64,
        /// The first that there is.
        first: u64,
        /// The last that there is.
        last: u64,
    },
    /// Too much comes in for what was asked.
    #[error(
        "so much comes in for the instance `{id}` that no moment was found to do it; suspend it, or try again"
    )]
    Busy {
        /// Which.
        id: InstanceId,
    },
    /// There is no such turn to begin at.
    #[error(
        "the instance `{id}` has no turn {turn} to begin at; a rerun may begin at {first} to {last}, the turns of its current generation"
    )]
    NoSuchTurn {
        /// Which instance.
        id: InstanceId,
        /// Which turn.
        turn: u64,
        /// The first that there is.
        first: u64,
        /// The last that there is.
        last: u64,
    },
    /// A key of the state store is at another version than expected.
    #[error(
        "the key `{key}` is at version {found}, not at the one expected (0 is no value); nothing was written"
    )]
    WrongVersion {
        /// Which key.
        key: String,
        /// Its version.
        found: u64,
    },
    /// A key of the state store is empty or too long.
    #[error("a key of the state store has 1 to 1,024 bytes, this one has {bytes}")]
    InvalidKey {
        /// How many it has.
        bytes: usize,
    },
    /// No history can go on so: an error of this program.
    #[error("the instance `{id}` cannot go on: {what}")]
    Impossible {
        /// Which.
        id: InstanceId,
        /// What does not fit.
        what: String,
    },
    /// The state cannot be read.
    #[error("cannot read the state")]
    State(#[from] wfhost_core::state::ReadError),
    /// A commit failed. What was submitted since the last one may or may not be there.
    #[error(
        "the host failed; whether the last steps are on disk is unknown; run again with the same --id to go on from what is there"
    )]
    Unknown,
    /// The network failed.
    #[error("cannot listen")]
    Listen(#[source] std::io::Error),
    /// Others could reach a host that asks for no token.
    #[error(
        "{address} can be reached from other machines: give a token with WFHOST_TOKEN, or listen on 127.0.0.1"
    )]
    Exposed {
        /// Where it was to listen.
        address: std::net::SocketAddr,
    },
    /// A webhook is set up wrongly.
    #[error("the webhook `{name}`: {why}")]
    Webhook {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Spans cannot be sent there.
    #[error(
        "`{endpoint}` is no address of a collector: {why}; give one such as http://localhost:4318"
    )]
    Endpoint {
        /// Where to.
        endpoint: String,
        /// Why not.
        why: String,
    },
    /// It is no capsule that this host can read, or it cannot be read or written.
    #[error(transparent)]
    Capsule(#[from] CapsuleError),
    /// A package could not be built.
    #[error("{0}")]
    Build(String),
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the caller can mend it by asking for something else.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        match self {
            Self::Binding(error) => !matches!(error, BindingError::Store(_)),
            Self::Open(OpenError::Missing { .. })
            | Self::Rejected { .. }
            | Self::ModuleRemoved { .. }
            | Self::NoSuchInstance { .. }
            | Self::NoSuchSchedule { .. }
            | Self::InvalidSchedule(_)
            | Self::TooManySchedules { .. }
            | Self::NoSuchWorkflow { .. }
            | Self::InvalidInput { .. }
            | Self::IdInUse { .. }
            | Self::TooLarge { .. }
            | Self::OfferedTwice { .. }
            | Self::Ended { .. }
            | Self::NotEnded { .. }
            | Self::Awaited { .. }
            | Self::KeyInUse { .. }
            | Self::NotBegun { .. }
            | Self::CannotAsk { .. }
            | Self::NoSuchTurn { .. }
            | Self::NoSuchModule { .. }
            | Self::NotOffered { .. }
            | Self::NotTheSame { .. }
            | Self::NotAllTheSame { .. }
            | Self::NoTurnToReset { .. }
            | Self::Busy { .. }
            | Self::WrongVersion { .. }
            | Self::InvalidKey { .. }
            | Self::Endpoint { .. }
            | Self::Exposed { .. }
            | Self::Webhook { .. }
            | Self::Capsule(_)
            | Self::Build(_)
            | Self::File { .. } => true,
            Self::Open(_)
            | Self::Store(_)
            | Self::Setup(_)
            | Self::ModuleUnusable { .. }
            | Self::Impossible { .. }
            | Self::State(_)
            | Self::Listen(_)
            | Self::Unknown => false,
        }
    }
}

impl From<InvalidTimes> for Error {
    fn from(error: InvalidTimes) -> Self {
        Self::InvalidSchedule(error.into())
    }
}

impl From<(InstanceId, SubmitError)> for Error {
    fn from((id, error): (InstanceId, SubmitError)) -> Self {
        match error {
            SubmitError::NoSuchInstance(id) => Self::NoSuchInstance { id },
            SubmitError::InUse { status } => Self::IdInUse { id, status },
            SubmitError::ModuleMissing { module } => Self::ModuleRemoved { module },
            SubmitError::Refused(_) => Self::Ended {
                id,
                status: Status::Terminated,
            },
            SubmitError::Impossible(error) => Self::Impossible {
                id,
                what: error.to_string(),
            },
            SubmitError::Store(error) => Self::Store(error),
        }
    }
}

fn how_to_allow(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::InputChanged(_) => {
            "\nit can if input changes are allowed; what is recorded of its past turns stays"
        }
        _ => "",
    }
}

fn known_workflows(known: &[Name]) -> String {
    if known.is_empty() {
        return "there are none; give the path of a module that has it".into();
    }
    let names: Vec<_> = known.iter().map(Name::as_str).collect();
    format!("there are: {}", names.join(", "))
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
