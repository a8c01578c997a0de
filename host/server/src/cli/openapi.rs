//! `wfhost openapi`: what the host's own API is, for programs.

use clap::Args;

use super::{Exit, Failure, print};
use crate::serve::openapi;

/// Print the OpenAPI document of the host's HTTP API
///
/// It is OpenAPI 3.1, as JSON, and says of each call what it takes, what it answers and how it can
/// be refused, so that clients can be generated and tested. A running host serves the same under
/// /api/v1/openapi.json. Dapr's API, which the host serves as well, is described by Dapr.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  wfhost openapi > wfhost.json
  wfhost openapi | jq '.paths | keys'
  curl http://127.0.0.1:3500/api/v1/openapi.json

Exit status: 0 done.")]
pub(super) struct OpenApi {}

impl OpenApi {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        print(&format!("{:#}", openapi()))?;
        Ok(Exit::Ok)
    }
}
