//! Who has a file open, as far as the system tells.

use std::path::Path;

/// The longest command line that a message shows.
#[cfg(target_os = "linux")]
const COMMAND_CHARS_MAX: usize = 80;

/// The process that has the file open: `process 1234 (wfhost run …)`.
#[cfg(target_os = "linux")]
pub(crate) fn of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let file = std::fs::metadata(path).ok()?;
    let is_the_file = |fd: std::fs::DirEntry| {
        std::fs::metadata(fd.path())
            .is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
    };
    let holds = |pid: u32| {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .is_ok_and(|mut fds| fds.any(|fd| fd.is_ok_and(is_the_file)))
    };
    let own = std::process::id();
    let mut others = std::fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (pid != own && holds(pid)).then_some(pid)
    });
    match others.next() {
        Some(pid) => Some(described(pid)),
        None if holds(own) => Some("this process itself".into()),
        None => None,
    }
}

#[cfg(target_os = "linux")]
fn described(pid: u32) -> String {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    let command = command.trim();
    match command.char_indices().nth(COMMAND_CHARS_MAX) {
        _ if command.is_empty() => format!("process {pid}"),
        None => format!("process {pid} ({command})"),
        Some((end, _)) => format!("process {pid} ({}…)", &command[..end]),
    }
}

/// The process that has the file open; other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn of(_path: &Path) -> Option<String> {
    None
}
