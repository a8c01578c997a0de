//! `wfhost build`: a Cargo package becomes a module.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, print};
use crate::error::Error;

/// Compile a Cargo package into a module
///
/// Builds the package in DIR for wasm32-unknown-unknown, or for the target that its Cargo.toml
/// names under `[package.metadata.wfhost] target`, in a target folder of its own, and prints the
/// path of the module. A target that is missing is added with rustup.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  wfhost build workflows/order-processing
  wfhost build -o order.wasm")]
pub(super) struct Build {
    /// The folder of the package
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Copy the module here
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print {"path", "bytes", "digest"} instead of the path
    #[arg(long)]
    json: bool,
}

impl Build {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let built = crate::package::build(&self.dir, false)?;
        let file = |path: &PathBuf| {
            let path = path.clone();
            move |source| Error::File { path, source }
        };
        let bytes = std::fs::read(&built).map_err(file(&built))?;
        let path = match self.output {
            None => built,
            Some(output) => {
                write_whole(&output, &bytes).map_err(file(&output))?;
                output
            }
        };
        if self.json {
            let digest = wfhost_core::Digest::of(&bytes).to_string();
            let row = serde_json::json!({ "path": path, "bytes": bytes.len(), "digest": digest });
            print(&row.to_string())?;
        } else {
            print(&path.display().to_string())?;
        }
        Ok(Exit::Ok)
    }
}

/// Writes a file so that nobody ever sees half of it.
pub(super) fn write_whole(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // What is left of it, if anything is.
        let _ = std::fs::remove_file(&part);
    }
    written
}
