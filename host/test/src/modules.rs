//! Modules from the file system, each built once a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use wfhost::{Error, Upload};

/// The module of a `.wasm` file or of a Cargo package in a folder. Cargo's messages go to stderr.
pub(crate) fn upload(path: &Path) -> Result<Upload, Error> {
    static READ: Mutex<BTreeMap<PathBuf, (String, Vec<u8>)>> = Mutex::new(BTreeMap::new());
    // Held while it builds, so that it is built once.
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let key = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some((label, bytes)) = read.get(&key) {
        let (label, bytes) = (label.clone(), bytes.clone());
        return Ok(Upload { label, bytes });
    }
    let upload = wfhost::package::upload(path, true)?;
    read.insert(key, (upload.label.clone(), upload.bytes.clone()));
    Ok(upload)
}
