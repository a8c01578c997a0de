//! `--watch`: what changes in a folder is built and deployed again while the host runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify_debouncer_mini::notify::{RecommendedWatcher, RecursiveMode};
use notify_debouncer_mini::{DebounceEventResult, Debouncer, new_debouncer};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{Failure, compared, say};
use crate::host::{Host, blocking};
use crate::package::upload;
use crate::plan::UpgradeOptions;

/// So long nothing must change before what has changed is built: an editor, or a branch that is
/// switched, writes several files.
const QUIET: Duration = Duration::from_millis(200);

/// A folder whose changes are told.
pub(super) struct Watched {
    dir: PathBuf,
    changed: UnboundedReceiver<Vec<PathBuf>>,
    /// How the files of each module were when it was built or read last: reading them is told as
    /// well, and is no change.
    seen: BTreeMap<PathBuf, Vec<Seen>>,
    /// Tells as long as it is there.
    _watching: Debouncer<RecommendedWatcher>,
}

impl Watched {
    pub(super) fn new(dir: &Path) -> Result<Self, Failure> {
        let failed = |error: notify_debouncer_mini::notify::Error| {
            Failure::usage(format!("cannot watch {}: {error}", dir.display()))
        };
        // As the events name them.
        let folder = dir.canonicalize();
        let folder = folder
            .map_err(|error| Failure::usage(format!("cannot watch {}: {error}", dir.display())))?;
        let (tell, changed) = unbounded_channel();
        let told = move |events: DebounceEventResult| {
            let paths = events.into_iter().flatten().map(|event| event.path);
            // Nobody may listen any more.
            let _ = tell.send(paths.collect());
        };
        let mut watching = new_debouncer(QUIET, told).map_err(failed)?;
        let watcher = watching.watcher();
        watcher
            .watch(&folder, RecursiveMode::Recursive)
            .map_err(failed)?;
        let seen = modules(&folder)?.into_iter();
        let seen = seen.map(|module| (module.clone(), files(&module)));
        Ok(Self {
            seen: seen.collect(),
            dir: folder,
            changed,
            _watching: watching,
        })
    }

    /// What has changed, and has to be built or read again.
    async fn next(&mut self) -> Vec<PathBuf> {
        loop {
            let Some(paths) = self.changed.recv().await else {
                return std::future::pending().await;
            };
            let Ok(modules) = modules(&self.dir) else {
                continue;
            };
            let matters = |module: &PathBuf| paths.iter().any(|path| is_of(module, path));
            let mut changed: Vec<_> = modules.into_iter().filter(matters).collect();
            changed.retain(|module| {
                let now = files(module);
                self.seen.insert(module.clone(), now.clone()) != Some(now)
            });
            if !changed.is_empty() {
                return changed;
            }
        }
    }
}

/// A file as it was: its path, when it was written, its size.
type Seen = (PathBuf, Option<SystemTime>, u64);

/// The files that a module is made of, as they are.
fn files(module: &Path) -> Vec<Seen> {
    let (mut files, mut left) = (Vec::new(), vec![module.to_owned()]);
    while let Some(path) = left.pop() {
        // What goes away meanwhile is told again.
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            let inside = entries.map(|entry| entry.path());
            left.extend(inside.filter(|path| is_of(module, path)));
        } else {
            files.push((path, metadata.modified().ok(), metadata.len()));
        }
    }
    files.sort();
    files
}

/// Whether a file is part of what a module is made of. What Cargo builds is not.
fn is_of(module: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(module) else {
        return false;
    };
    let first = inside.iter().next().and_then(|it| it.to_str());
    !first.is_some_and(|first| first == "target" || first.starts_with('.'))
}

/// The modules of a folder: the package that it is, or the packages and the .wasm files in it.
fn modules(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_package = |path: &Path| path.join("Cargo.toml").is_file();
    if is_package(dir) {
        return Ok(vec![dir.to_owned()]);
    }
    let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", dir.display())))?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let is_wasm = |path: &Path| path.extension().is_some_and(|it| it == "wasm") && path.is_file();
    let mut modules: Vec<_> = paths
        .filter(|path| is_package(path) || is_wasm(path))
        .collect();
    modules.sort();
    Ok(modules)
}

/// What is deployed first: what was named, or else what is watched.
pub(super) fn paths(named: &[PathBuf], watched: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    match watched {
        Some(dir) if named.is_empty() => modules(dir),
        _ => Ok(named.to_vec()),
    }
}

/// Deploys what changes, and takes the instances along that may be, for as long as this is polled.
pub(super) async fn swapping(watched: Option<&mut Watched>, host: &Host) {
    let Some(watched) = watched else {
        return std::future::pending().await;
    };
    say(format_args!("watching {}", watched.dir.display()));
    loop {
        let changed = watched.next().await;
        if let Err(failure) = swap(host, changed).await {
            say(format_args!("{}; what was deployed stays", failure.message));
        }
    }
}

async fn swap(host: &Host, changed: Vec<PathBuf>) -> Result<(), Failure> {
    let uploads = blocking(move || {
        let uploads = changed.iter().map(|path| upload(path, true));
        uploads.collect::<Result<Vec<_>, _>>()
    });
    let uploads = uploads.await?;
    let deployed = host.deploy(uploads).await?;
    if deployed.moved.is_empty() {
        return Ok(());
    }
    for moved in &deployed.moved {
        say(format_args!(
            "swapped{}",
            super::deploy::moved_line(moved).trim_end()
        ));
    }
    let workflows = deployed.modules.iter().flat_map(|it| &it.workflows);
    let workflows: Vec<_> = workflows.map(|it| it.name.clone()).collect();
    if workflows.is_empty() {
        return Ok(());
    }
    let options = UpgradeOptions {
        workflows,
        ..UpgradeOptions::default()
    };
    let compared = host.upgrade(options).await?;
    compared::lines(&compared)
        .iter()
        .for_each(|line| say(format_args!("{line}")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_no_change_of_a_package() {
        let package = Path::new("/w/order");
        for (path, changes) in [
            ("/w/order/src/lib.rs", true),
            ("/w/order/Cargo.toml", true),
            ("/w/order/target/debug/x", false),
            ("/w/order/.git/index", false),
            ("/w/other/src/lib.rs", false),
        ] {
            assert_eq!(is_of(package, Path::new(path)), changes, "{path}");
        }
        assert!(is_of(Path::new("/w/a.wasm"), Path::new("/w/a.wasm")));
    }

    #[test]
    fn who_reads_a_file_changes_nothing_and_who_writes_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "one");
        write("target/out", "built");
        let before = files(dir.path());
        std::fs::read(dir.path().join("src/lib.rs")).unwrap();
        write("target/out", "built again");
        assert_eq!(files(dir.path()), before);
        write("src/lib.rs", "two and more");
        assert_ne!(files(dir.path()), before);
    }
}
