//! A guest of the tests: its workflow reads a file, so a host refuses the module at deploy.

use wfhost_sdk::{Context, Result, workflow};

wfhost_sdk::export!(workflows: [wasi_files]);

/// Returns how many bytes a file has.
#[workflow(name = "WasiFiles")]
async fn wasi_files(_: Context, path: String) -> Result<usize> {
    Ok(std::fs::read(path)?.len())
}
