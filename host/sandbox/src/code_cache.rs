//! The cache of compiled code: a folder that makes each component compiled once, not once a process.
//!
//! wasmtime trusts compiled code blindly, so whoever can slip it a file runs what they like, outside
//! of every sandbox. This file sees to it that only what a host of this user has compiled is loaded:
//!
//! ```text
//! key                             32 random bytes, readable by the user alone
//! <component>-<compiler>.code     a tag of 32 bytes, then the code as wasmtime writes it
//! new-XXXXXX                      on its way to become one of these
//! ```
//!
//! The tag is the HMAC-SHA256, by the key, of [`FORMAT`], the digest of the component, the digest
//! of all that the compiler's output depends on (its release, its settings, the processor's
//! features) and the code. The first three have a fixed length, so no two inputs look the same.
//!
//! A cache may be damaged, full, removed or somebody else's at any time, and a host must run all
//! the same. So nothing here fails: what cannot be read or is not authentic is compiled again and
//! replaced, and what cannot be written is not.

use std::fs::{self, File, Metadata};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;
use wfhost_core::Digest;

/// What a tag says first. Another layout of the files gets another.
const FORMAT: &[u8; 16] = b"wfhost code 0001";

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;

/// What the folder may hold: some dozens of modules of the usual few megabytes.
const FILES_MAX: usize = 64;
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Most that one file may have, so that no module drives out all others.
const FILE_BYTES_MAX: u64 = BYTES_MAX / 4;

/// No write takes as long: whoever began this file is gone.
const ABANDONED: Duration = Duration::from_secs(3600);

/// The name of the key, the end of the names of code, and the beginning of those of files that are
/// still being written.
const KEY: &str = "key";
const CODE: &str = ".code";
const NEW: &str = "new-";

/// Others may not write to the folder, and may not even read the key.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const OPEN_TO_OTHERS: u32 = 0o077;

/// Compiled code in a folder, for one engine.
pub(crate) struct CodeCache {
    folder: PathBuf,
    /// The digest of all that the engine's compiler depends on.
    compiler: Digest,
}

impl CodeCache {
    /// That in this folder. Nothing is read or made before it is needed.
    pub(crate) fn new(folder: PathBuf, engine: &Engine) -> Self {
        let mut hashed = Hashed(Vec::new());
        engine.precompile_compatibility_hash().hash(&mut hashed);
        Self {
            folder,
            compiler: Digest::of(&hashed.0),
        }
    }

    /// The compiled component, if a host of this user has left it here.
    pub(crate) fn load(&self, engine: &Engine, component: Digest) -> Option<Component> {
        self.try_load(engine, component).ok()
    }

    fn try_load(&self, engine: &Engine, component: Digest) -> io::Result<Component> {
        check_private(&self.folder)?;
        let key = Key::read(&self.folder)?;
        let path = self.path(component);
        if !fs::symlink_metadata(&path)?.is_file() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let file = File::open(path)?;
        let code = self.check(&key, component, read(&file)?)?;
        let loaded = code.load(engine).map_err(io::Error::other)?;
        // What is used stays longest. Where this cannot be written it does not matter.
        let _ = file.set_modified(SystemTime::now());
        Ok(loaded)
    }

    /// Keeps a compiled component for the next host, if that can be done.
    pub(crate) fn store(&self, component: Digest, compiled: &Component) {
        // Who asked has the component, and needs the cache for nothing.
        let _ = self.try_store(component, compiled);
    }

    fn try_store(&self, component: Digest, compiled: &Component) -> io::Result<()> {
        make_private(&self.folder)?;
        check_private(&self.folder)?;
        let key = Key::read_or_make(&self.folder)?;
        let code = compiled.serialize().map_err(io::Error::other)?;
        if (TAG_BYTES + code.len()) as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let tag = self.tag(&key, component, &code).finalize();
        let mut file = new_file(&self.folder)?;
        file.write_all(&tag.into_bytes())?;
        file.write_all(&code)?;
        file.persist(self.path(component))?;
        sweep(&self.folder)
    }

    fn path(&self, component: Digest) -> PathBuf {
        let (component, compiler) = (component.hex(), self.compiler.hex());
        self.folder.join(format!("{component}-{compiler}{CODE}"))
    }

    fn tag(&self, key: &Key, component: Digest, code: &[u8]) -> Hmac<Sha256> {
        Hmac::new_from_slice(&key.0)
            .expect("a key may have any length")
            .chain_update(FORMAT)
            .chain_update(component.as_bytes())
            .chain_update(self.compiler.as_bytes())
            .chain_update(code)
    }

    /// The code in these bytes, if its tag is right: the only way to what can be loaded.
    fn check(&self, key: &Key, component: Digest, bytes: Vec<u8>) -> io::Result<Authentic> {
        let (tag, code) = bytes
            .split_first_chunk::<TAG_BYTES>()
            .ok_or(io::ErrorKind::InvalidData)?;
        // Takes the same time whatever is wrong with it.
        self.tag(key, component, code)
            .verify_slice(tag)
            .map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Authentic(bytes))
    }
}

/// The bytes of a file, in memory, whose tag is right: a host of this user has compiled them.
struct Authentic(Vec<u8>);

impl Authentic {
    #[expect(
        unsafe_code,
        reason = "loading authenticated compiled code: wasmtime cannot check that it is code of its own making"
    )]
    fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let code = &self.0[TAG_BYTES..];
        // SAFETY: the bytes must be what `Component::serialize` has written, unchanged. Only
        // `CodeCache::check` makes this type, after it has found a tag over just these bytes that
        // only `CodeCache::try_store` makes, of what `serialize` hands to it. They are ours, not a
        // mapping of the file, so nobody changes them afterwards. What another release of wasmtime
        // has written may be passed, and is refused.
        unsafe { Component::deserialize(engine, code) }
    }
}

/// What only hosts of this user know.
struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key of the folder; `InvalidData` if it is damaged or others may know it.
    fn read(folder: &Path) -> io::Result<Self> {
        let mut file = File::open(folder.join(KEY))?;
        // Asked of what is open, which nobody can exchange any more.
        let found = file.metadata()?;
        let whole = found.is_file() && found.len() == KEY_BYTES as u64;
        if !whole || !is_ours(&found, OPEN_TO_OTHERS) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut key = [0; KEY_BYTES];
        file.read_exact(&mut key)?;
        Ok(Self(key))
    }

    /// The key of the folder, made if there is no good one. Hosts that come at once agree on one.
    fn read_or_make(folder: &Path) -> io::Result<Self> {
        match Self::read(folder) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                fs::remove_file(folder.join(KEY))?;
                Self::make(folder)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(folder),
            read => read,
        }
    }

    fn make(folder: &Path) -> io::Result<Self> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let mut file = new_file(folder)?;
        file.write_all(&key)?;
        // Under its name it is whole, also after a power cut.
        file.as_file().sync_all()?;
        match file.persist_noclobber(folder.join(KEY)) {
            Ok(_) => {}
            // Somebody was faster.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
        Self::read(folder)
    }
}

/// A file under a name of its own, for the user alone; gone again unless it gets its real name.
fn new_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(NEW).tempfile_in(folder)
}

/// What is in a file, unless that is too much.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let bytes = file.metadata()?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut read = Vec::with_capacity(usize::try_from(bytes).map_err(io::Error::other)?);
    // It may have grown since; then its tag is wrong.
    file.take(bytes).read_to_end(&mut read)?;
    Ok(read)
}

/// Removes what is too much, what was not used for longest first, and what was never finished.
fn sweep(folder: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    let mut codes = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Another host may have removed it just now.
        let Ok(found) = entry.metadata() else {
            continue;
        };
        // A time that is still to come tells nothing, and must not keep a file for ever.
        let age = now
            .duration_since(found.modified()?)
            .unwrap_or(Duration::MAX);
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(CODE) {
            codes.push((age, found.len(), entry.path()));
        } else if name.starts_with(NEW) && age > ABANDONED {
            let _ = fs::remove_file(entry.path());
        }
    }
    codes.sort();
    let mut bytes_kept = 0;
    for (kept, (_, bytes, path)) in codes.into_iter().enumerate() {
        bytes_kept += bytes;
        if kept >= FILES_MAX || bytes_kept > BYTES_MAX {
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// That nobody else can put anything into the folder.
fn check_private(folder: &Path) -> io::Result<()> {
    let found = fs::metadata(folder)?;
    if found.is_dir() && is_ours(&found, WRITABLE_BY_OTHERS) {
        return Ok(());
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

/// Makes the folder, for the user alone, unless it is there.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Whether something belongs to the user of this process and has none of these permissions.
#[cfg(unix)]
fn is_ours(found: &Metadata, forbidden: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & forbidden == 0
}

/// Where it cannot be told whose a file is, there is no cache.
#[cfg(not(unix))]
fn is_ours(_: &Metadata, _: u32) -> bool {
    false
}

/// All that is hashed, as it is: its digest then is a strong one.
struct Hashed(Vec<u8>);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Nobody asks: who hashes here takes the bytes.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    /// For the user alone, whatever the umask says.
    fn folder() -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt;
        let mut builder = tempfile::Builder::new();
        builder.permissions(fs::Permissions::from_mode(0o700));
        builder.tempdir().unwrap()
    }

    fn component(engine: &Engine) -> (Digest, Component) {
        let bytes = wat::parse_str("(component)").unwrap();
        let compiled = Component::new(engine, &bytes).unwrap();
        (Digest::of(&bytes), compiled)
    }

    #[test]
    fn code_for_another_engine_does_not_count_under_this_ones_name() {
        let folder = folder();
        let cached = |engine: &Engine| CodeCache::new(folder.path().to_owned(), engine);
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        let engine = Engine::default();
        let (digest, compiled) = component(&other);
        let (theirs, ours) = (cached(&other), cached(&engine));
        assert_ne!(theirs.path(digest), ours.path(digest));
        theirs.store(digest, &compiled);
        assert!(theirs.load(&other, digest).is_some());
        fs::rename(theirs.path(digest), ours.path(digest)).unwrap();
        // Not even wasmtime is asked: it would say `Other`.
        let refused = ours.try_load(&engine, digest).map(drop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn what_is_authentic_and_no_code_for_this_wasmtime_is_compiled_again() {
        let folder = folder();
        let engine = Engine::default();
        let cache = CodeCache::new(folder.path().to_owned(), &engine);
        let (digest, compiled) = component(&engine);
        let key = Key::read_or_make(folder.path()).unwrap();
        let code = b"from a release that wrote it otherwise";
        let tag = cache.tag(&key, digest, code).finalize().into_bytes();
        fs::write(cache.path(digest), [&tag[..], code].concat()).unwrap();
        let refused = cache.try_load(&engine, digest).map(drop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Other);
        cache.store(digest, &compiled);
        assert!(cache.load(&engine, digest).is_some());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_not_ours() {
        let of_root = fs::metadata("/").unwrap();
        let made = tempfile::NamedTempFile::new().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!(is_ours(&of_root, 0), is_root);
        let made = fs::metadata(made.path()).unwrap();
        assert!(is_ours(&made, OPEN_TO_OTHERS));
        assert!(!is_ours(&made, 0o400));
    }
}
