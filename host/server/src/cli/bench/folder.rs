//! The folder of a run, which is gone with it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::Failure;
use crate::error::Error;

/// A folder of its own, removed with all that is in it when it is dropped.
pub(super) struct Folder(TempDir);

/// How often it is tried to remove a folder. A thread that nobody waits for any more, after an
/// interruption, may make one last file in it meanwhile.
const REMOVALS_MAX: u32 = 100;

impl Folder {
    /// Makes one in `dir`.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(super) fn new(dir: &Path) -> Result<Self, Failure> {
        let made = tempfile::Builder::new()
            .prefix("wfhost-bench-")
            .tempdir_in(dir);
        made.map(Self).map_err(|error| {
            Failure::usage(format!(
                "cannot make a folder in {}: {error}; name another with --dir",
                dir.display()
            ))
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A data file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The kind of file system, if that keeps files in memory.
    pub(super) fn memory_kind(&self) -> Option<String> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let path = self.path().canonicalize().ok()?;
        let kind = kind_of(&mounts, &path)?;
        ["tmpfs", "ramfs", "devtmpfs"]
            .contains(&kind)
            .then(|| kind.to_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for _ in 0..REMOVALS_MAX {
            let removed = std::fs::remove_dir_all(self.path());
            let is_gone = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
            if removed.map_or_else(|error| is_gone(&error), |()| true) {
                return;
            }
        }
    }
}

/// That a file could not be read or written.
pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

/// The kind of file system that holds a path: that of the deepest mount above it, of several the
/// last, which hides the others.
fn kind_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // The table writes spaces so.
        let point = fields.next()?.replace("\\040", " ");
        Some((point, fields.next()?))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    above
        .max_by_key(|(point, _)| Path::new(point).components().count())
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_deepest_mount_above_it_that_came_last() {
        let mounts = "\
/dev/vda / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/vdb /mnt/two\\040words xfs rw 0 0
overlay /mnt overlay rw 0 0
tmpfs /mnt tmpfs rw 0 0
";
        for (path, kind) in [
            ("/home/a", "ext4"),
            ("/dev/shm", "tmpfs"),
            ("/dev/shm-not", "ext4"),
            ("/mnt/two words/a", "xfs"),
            ("/mnt/a", "tmpfs"),
        ] {
            assert_eq!(kind_of(mounts, Path::new(path)), Some(kind), "{path}");
        }
        assert_eq!(kind_of("", Path::new("/")), None);
    }
}
