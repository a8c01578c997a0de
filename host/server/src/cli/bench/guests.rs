//! The modules that come with wfhost, and the hosts that run them.

use std::path::Path;
use std::sync::Arc;

use super::super::{Exit, Failure};
use super::Kind;
use crate::error::Error;
use crate::host::{Host, Options, Upload};

/// The workflows, and their activities, contained.
const BENCH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bench.wasm"));

/// The activities once more, effectful.
const EFFECTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bench-effects.wasm"));

/// Why there are none, if there are none.
const MISSING: &str = include_str!(concat!(env!("OUT_DIR"), "/bench-missing.txt"));

/// Whether this binary carries them.
///
/// # Errors
/// Why not, and what to do.
pub(super) fn are_there() -> Result<(), Failure> {
    if MISSING.is_empty() {
        return Ok(());
    }
    let message = format!(
        "this wfhost was built without the workflows of the bench: {MISSING}; mend that, then build \
         wfhost again"
    );
    Err(Failure::new(Exit::Usage, message))
}

/// A host on a new data file, with the modules deployed.
///
/// # Errors
/// If the file cannot be made or written.
pub(super) async fn create(file: &Path, kind: Kind) -> Result<Host, Error> {
    let host = open(file, None).await?;
    host.deploy(vec![upload("bench.wasm", BENCH)]).await?;
    if kind == Kind::Effectful {
        // From here on the names of the activities mean these.
        host.deploy(vec![upload("bench-effects.wasm", EFFECTS)])
            .await?;
    }
    Ok(host)
}

/// A host on a data file, with the settings that every command has, and an outside world for those
/// who call it.
///
/// # Errors
/// If the file cannot be opened.
pub(super) async fn open(file: &Path, quick_repair_bytes: Option<u64>) -> Result<Host, Error> {
    let mut options = Options {
        outside: Some(Arc::new(|_| Ok(String::new()))),
        // Of the bench's own, so that a process which is started anew finds what the one before it
        // has compiled, as it would elsewhere, and the first never does.
        code_cache: file.parent().map(|folder| folder.join("code")),
        ..Options::default()
    };
    if let Some(bytes) = quick_repair_bytes {
        options.store.quick_repair_bytes = bytes;
    }
    let file = file.to_owned();
    let opened = tokio::task::spawn_blocking(move || Host::open(&file, options));
    opened.await.map_err(|_| Error::Unknown)?
}

fn upload(label: &str, bytes: &[u8]) -> Upload {
    Upload {
        label: label.into(),
        bytes: bytes.to_vec(),
    }
}
