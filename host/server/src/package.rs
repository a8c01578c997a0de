//! Builds a Cargo package into a module.

mod compiling;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::Error;
use crate::host::Upload;
use compiling::{TARGET, provide_target, set_up, without_outer_build};

/// What there is to build.
struct Package {
    name: String,
    manifest: PathBuf,
    target: String,
    folder: PathBuf,
}

/// Compiles the Cargo package in `dir` in release mode, in a target folder of its own beside the
/// package's (`target/wfhost`), and returns the module's path. Cargo's own messages go to stderr,
/// unless `quiet`.
///
/// # Errors
/// If the folder is no Cargo package with a `cdylib` target, Cargo is missing, the target cannot be
/// added, or the package does not compile.
pub fn build(dir: &Path, quiet: bool) -> Result<PathBuf, Error> {
    let package = inspect(dir)?;
    provide_target(dir, &package.target).map_err(Error::Build)?;
    let mut cargo = cargo(dir);
    set_up(&mut cargo, &package.target, &package.folder);
    cargo.arg("--manifest-path").arg(&package.manifest);
    cargo.args(["--package", &package.name, "--lib"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    if quiet {
        cargo.arg("--quiet");
    }
    let output = cargo.stderr(Stdio::inherit()).output().map_err(no_cargo)?;
    if !output.status.success() {
        return Err(Error::Build(format!(
            "{} does not compile; see above",
            dir.display()
        )));
    }
    let artifact = artifact(&String::from_utf8_lossy(&output.stdout), &package.manifest);
    artifact.ok_or_else(|| no_module(dir))
}

/// The module at `path`: a .wasm file as it is, or that of the Cargo package in a folder, [built]
/// first.
///
/// # Errors
/// As [`build`], and if the file cannot be read.
///
/// [built]: build
pub fn upload(path: &Path, quiet: bool) -> Result<Upload, Error> {
    let file = |path: &Path, source| Error::File {
        path: path.to_owned(),
        source,
    };
    let is_dir = std::fs::metadata(path)
        .map_err(|source| file(path, source))?
        .is_dir();
    let module = if is_dir {
        build(path, quiet)?
    } else {
        path.to_owned()
    };
    let bytes = std::fs::read(&module).map_err(|source| file(&module, source))?;
    let label = module
        .file_name()
        .unwrap_or(module.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(Upload { label, bytes })
}

/// Asks Cargo what the folder holds.
fn inspect(dir: &Path) -> Result<Package, Error> {
    let manifest = dir.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Error::Build(format!(
            "{} holds no Cargo.toml: give the folder of a Cargo package, or a .wasm file",
            dir.display()
        )));
    }
    let path = |source| Error::File {
        path: manifest.clone(),
        source,
    };
    let manifest = manifest.canonicalize().map_err(path)?;
    let mut cargo = cargo(dir);
    cargo
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--manifest-path",
        ])
        .arg(&manifest);
    let output = cargo.stderr(Stdio::inherit()).output().map_err(no_cargo)?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        Error::Build(format!(
            "Cargo cannot read {}; see above",
            manifest.display()
        ))
    })?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let is_ours =
        |package: &&Value| package["manifest_path"].as_str().map(Path::new) == Some(&manifest);
    let package = packages.clone().find(is_ours).ok_or_else(|| {
        Error::Build(format!(
            "{} is a workspace without a package of its own",
            dir.display()
        ))
    })?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let target = &package["metadata"]["wfhost"]["target"];
    Ok(Package {
        name: text(&package["name"]),
        target: target.as_str().unwrap_or(TARGET).to_owned(),
        folder: Path::new(&text(&metadata["target_directory"])).join("wfhost"),
        manifest,
    })
}

/// Whether Cargo can read the package in `dir` where it is: it cannot if there is a workspace
/// around it that does not know it.
pub(crate) fn is_whole(dir: &Path) -> Result<bool, Error> {
    let mut cargo = cargo(dir);
    cargo.args(["metadata", "--format-version", "1", "--no-deps"]);
    let output = cargo.output().map_err(no_cargo)?;
    Ok(output.status.success())
}

/// The module among the messages of a build.
fn artifact(messages: &str, manifest: &Path) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().map(Path::new) == Some(manifest)
    });
    let files =
        ours.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut files = files.filter_map(|file| file.as_str().map(PathBuf::from));
    files.find(|file| {
        file.extension()
            .is_some_and(|extension| extension == "wasm")
    })
}

/// Cargo, as it would be called in that folder. What an outer `cargo run` set for itself is taken
/// away.
fn cargo(dir: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(dir);
    without_outer_build(&mut cargo);
    cargo
}

fn no_cargo(error: std::io::Error) -> Error {
    Error::Build(format!("cannot start cargo: {error}; is Rust installed?"))
}

fn no_module(dir: &Path) -> Error {
    Error::Build(format!(
        "{} builds no module: its Cargo.toml needs `[lib] crate-type = [\"cdylib\"]`",
        dir.display()
    ))
}
