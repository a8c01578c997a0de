//! The socket beside the data file, by which the commands of this machine find its running host.
//! Whoever may write the file may use it.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The address of a socket has at most 108 bytes on Linux and 104 elsewhere, with its end.
const ADDRESS_BYTES_MAX: usize = 103;

/// Marks a request, as one of its extensions, that came by the socket: who can open that may do
/// everything, without a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local;

/// A socket that is listened on; its file goes with it.
pub struct LocalSocket {
    pub(super) listener: UnixListener,
    _file: SocketFile,
}

/// Is there as long as this is.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Another host may have put its own there.
    id: (u64, u64),
}

/// Which file it is.
fn id(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Where the socket of a data file is: beside the file itself, whatever links lead to it.
pub(crate) fn path(db: &Path) -> PathBuf {
    let itself = std::fs::canonicalize(db);
    let mut path = itself.unwrap_or_else(|_| db.to_owned()).into_os_string();
    path.push(".sock");
    path.into()
}

impl LocalSocket {
    /// Listens beside a data file that this process has open, which says that no other host serves
    /// it: a socket that is there is left over.
    ///
    /// # Errors
    /// If there can be no socket in that folder.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(db: &Path) -> io::Result<Self> {
        let path = path(db);
        let rights = std::fs::metadata(db)?.permissions().mode() & 0o666;
        // It gets its name once nobody gets in whom its rights keep out.
        let hidden = tempfile::Builder::new()
            .prefix(".wfhost-")
            .tempdir_in(folder(&path))?;
        let unnamed = hidden.path().join("sock");
        let listener = with_address(&unnamed, |address| UnixListener::bind(address))?;
        std::fs::set_permissions(&unnamed, Permissions::from_mode(rights))?;
        let id = id(&unnamed)?;
        std::fs::rename(&unnamed, &path)?;
        let _file = SocketFile { path, id };
        Ok(Self { listener, _file })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            // One that stays is left over, and hurts nobody.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Connects to the running host of a data file, if there is one.
///
/// # Errors
/// If the socket is there and may not be used.
pub(crate) async fn connect(db: &Path) -> io::Result<Option<UnixStream>> {
    let path = path(db);
    if !path.exists() {
        return Ok(None);
    }
    let connected = with_address(&path, |address| {
        std::os::unix::net::UnixStream::connect(address)
    });
    match connected.and_then(|stream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }) {
        Ok(stream) => Ok(Some(stream)),
        // Left over by a host that was killed, or just taken away.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NotFound
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Calls by an address that is short enough for the path.
fn with_address<T>(path: &Path, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let name = path.file_name();
    match name {
        Some(name) if path.as_os_str().len() > ADDRESS_BYTES_MAX && cfg!(target_os = "linux") => {
            // The folder by its number, which is open as long as it is needed.
            let folder = File::open(folder(path))?;
            let by_number = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
            call(&by_number.join(name))
        }
        _ => call(path),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_has_the_rights_of_the_file_and_goes_with_its_host() {
        let dir = tempfile::tempdir().unwrap();
        // Longer than an address may be.
        let folder = dir.path().join("a".repeat(120));
        std::fs::create_dir(&folder).unwrap();
        let db = folder.join("orders.redb");
        std::fs::write(&db, "").unwrap();
        std::fs::set_permissions(&db, Permissions::from_mode(0o640)).unwrap();
        assert!(connect(&db).await.unwrap().is_none());
        // What a host that was killed leaves over.
        std::fs::write(path(&db), "").unwrap();
        let socket = LocalSocket::bind(&db).unwrap();
        let mode = std::fs::metadata(path(&db)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(connect(&db).await.unwrap().is_some());
        drop(socket);
        assert!(connect(&db).await.unwrap().is_none());
        let left = std::fs::read_dir(&folder).unwrap();
        assert_eq!(left.count(), 1, "only the data file is left");
    }
}
