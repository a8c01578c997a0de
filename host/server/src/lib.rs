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
//!     .run(StartRequest {
//!         workflow: "OrderProcessingWorkflow".parse()?,
//!         input: wfhost::Json::parse(r#"{"Name":"Cars","TotalCost":15000,"Quantity":10}"#)?,
//!         id: None,
//!         tags: vec![],
//!     })
//!     .await?;
//! println!("{:?}", settled.instance.output());
//! host.close().await?;
//! # Ok(())
//! # }
//! ```

mod checked;
pub mod cli;
mod engine;
mod error;
mod host;
mod narrate;
pub mod package;
mod replay;
mod start;
pub mod view;

pub use checked::Checked;
pub use engine::Observed;
pub use error::Error;
#[doc(hidden)]
pub use host::Outside;
pub use host::{Deployment, Host, Options, Settled, Upload};
pub use narrate::{Narrator, Told};
pub use replay::Replayed;
pub use start::StartRequest;
pub use wfhost_core::record::{Event, Record, StallReason, StateWrite};
pub use wfhost_core::{
    Digest, Failure, Instance, InstanceId, Json, ModuleInfo, Name, Role, RunId, Status, Timestamp,
};
pub use wfhost_sandbox::Limits;
pub use wfhost_store::Summary;
