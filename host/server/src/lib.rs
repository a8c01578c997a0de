//! The running host.
//!
//! `wfhost` runs durable workflows as sandboxed WebAssembly components from one data file. This
//! library is the whole of it: the `wfhost` binary is a thin caller of [`Host`].
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use wfhost::{Host, Options, StartRequest, Upload};
//!
//! let host = Host::open("orders.redb".as_ref(), Options::default())?;
//! let bytes = std::fs::read("order.wasm")?;
//! host.deploy(vec![Upload { label: "order.wasm".into(), bytes }]).await?;
//! let settled = host
//!         .run(StartRequest::new(
//!         "OrderProcessingWorkflow".parse()?,
//!         wfhost::Json::parse(r#"{"Name":"Cars","TotalCost":15000,"Quantity":10}"#)?,
//!     ))
//!     .await?;
//! println!("{:?}", settled.instance.output());
//! host.close().await?;
//! # Ok(())
//! # }
//! ```

mod asking;
pub mod capsule;
mod checked;
pub mod cli;
mod config;
mod engine;
mod entries;
mod error;
mod follow;
mod host;
mod instances;
mod migrate;
mod modules;
mod narrate;
pub mod package;
mod plan;
mod process;
mod replay;
mod schedules;
pub mod serve;
mod start;
mod starting;
mod telemetry;
mod tidy;
mod verdict;
pub mod view;

pub use asking::Children;
pub use capsule::{Capsule, CapsuleError, Exported};
pub use checked::Checked;
pub use engine::{Bounds, Clock, Observed};
#[doc(hidden)]
pub use engine::{Script, ScriptedCall};
pub use entries::StateRequest;
pub use error::Error;
#[doc(hidden)]
pub use host::{Compiler, Outside};
pub use host::{Deployment, Host, Options, Settled, Upload};
pub use migrate::{
    DeployOptions, Deployed, MigrateRequest, Migrated, ResetDone, ResetRequest, Upgrade,
};
pub use narrate::{Narrator, Told, waits_for};
pub use plan::{Plan, PlanOptions, UpgradeOptions};
pub use replay::Replayed;
pub use schedules::Scheduled;
pub use start::{Reuse, StartRequest};
pub use starting::RerunRequest;
pub use telemetry::Traces;
pub use tidy::Retention;
pub use verdict::{Compared, InstanceVerdict, Verdict, Verdicts};
pub use wfhost_core::Deployment as RecordedDeployment;
pub use wfhost_core::comparison::InputChange;
pub use wfhost_core::interface::{DefinitionDiff, Fate, InterfaceDiff, ModuleDiff, Refusal};
pub use wfhost_core::record::{Entry, Event, Record, StallReason, StateWrite};
pub use wfhost_core::replay::Divergence;
pub use wfhost_core::reset::{Lost, LostActivity, LostChild, LostEvent, LostTimer};
pub use wfhost_core::schedule::{
    Firing, InvalidSchedule, InvalidTimes, Outcome, Overlap, Schedule, ScheduleName, SkipReason,
    Standing, Times,
};
pub use wfhost_core::schema::{Change, Impact};
pub use wfhost_core::{
    Binding, Candidate, DeploymentKind, DeploymentNumber, Digest, Failure, Instance, InstanceId,
    InvalidShare, Json, ModuleInfo, Moved, Name, Role, RunId, Share, Status, Timestamp, Trace,
};
pub use wfhost_sandbox::{AllowedHost, Grant, Grants, InvalidHost, Limits};
#[doc(hidden)]
pub use wfhost_store::Memory;
pub use wfhost_store::{
    BindingError, Collected, GcOptions, ModuleNeeds, Names, Need, Page, Query, RemovedModule,
    Summary,
};
