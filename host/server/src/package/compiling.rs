//! How Cargo compiles a module: with which settings, for which target, away from any build around
//! it.
//!
//! This file is also a part of the package's build script, which compiles the modules of `wfhost
//! bench`. So it knows the standard library alone, and both share what they have compiled.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of a package that names none in `[package.metadata.wfhost] target = "…"`.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// What modules are built with, given on Cargo's command line so that a package needs no settings of
/// its own: small, without debug information (not the standard library's either), with the names of
/// functions, which backtraces show. They begin with a heap of 256 KiB, since most lives need no
/// more, and growing costs more than all else that is done to bring a guest to life.
const SETTINGS: [&str; 8] = [
    "profile.wfhost.inherits=\"release\"",
    "profile.wfhost.opt-level=\"s\"",
    "profile.wfhost.lto=true",
    "profile.wfhost.codegen-units=1",
    "profile.wfhost.panic=\"abort\"",
    "profile.wfhost.debug=0",
    "profile.wfhost.strip=\"debuginfo\"",
    "target.wasm32-unknown-unknown.rustflags=[\"-Clink-arg=--initial-heap=262144\"]",
];

/// What of a build around this one must not reach it: its flags would be for another target, and
/// its wrappers do not compile (Clippy is one).
const OF_OUTER_BUILD: [&str; 10] = [
    "CARGO",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_PRIMARY_PACKAGE",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// The same, by how the names begin.
const OF_OUTER_BUILD_ALL: [&str; 4] = [
    "CARGO_CFG_",
    "CARGO_FEATURE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
];

/// Makes a call of Cargo one that builds modules for this target into this folder.
pub(crate) fn set_up(cargo: &mut Command, target: &str, folder: &Path) {
    cargo.args(["build", "--target", target, "--profile", "wfhost"]);
    for setting in SETTINGS {
        cargo.args(["--config", setting]);
    }
    if let Some(home) = cargo_home() {
        // Panics name the files of libraries: the same on every machine, so that the same sources
        // are one module, and nobody reads from it who built it.
        let remap = format!("--remap-path-prefix={}=/cargo", home.display());
        let setting = format!("target.{target}.rustflags=[{remap:?}]");
        cargo.args(["--config", &setting]);
    }
    cargo.arg("--target-dir").arg(folder);
}

/// Where Cargo keeps the sources of libraries.
fn cargo_home() -> Option<PathBuf> {
    let home = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty());
    let named = home("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| home("HOME").map(|home| PathBuf::from(home).join(".cargo")))
}

/// Takes away what an outer build set for itself.
pub(crate) fn without_outer_build(cargo: &mut Command) {
    let inherited = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in inherited {
        let begins = |prefix: &&str| name.starts_with(*prefix);
        let is_outer =
            OF_OUTER_BUILD.contains(&name.as_str()) || OF_OUTER_BUILD_ALL.iter().any(begins);
        if is_outer {
            cargo.env_remove(name);
        }
    }
}

/// Adds the target's standard library, if it is missing and rustup can.
///
/// # Errors
/// What is missing and how to get it.
pub(crate) fn provide_target(dir: &Path, target: &str) -> Result<(), String> {
    let mut rustc = Command::new("rustc");
    rustc
        .current_dir(dir)
        .args(["--print", "target-libdir", "--target", target]);
    let libdir = rustc
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    if libdir.is_some_and(|libdir| !libdir.is_empty() && Path::new(libdir.trim()).is_dir()) {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    // rustup's stdout would mix with the result on ours.
    let added = rustup
        .current_dir(dir)
        .args(["target", "add", target])
        .output();
    match added {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "the Rust target {target} is missing, and `rustup target add {target}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(_) => Err(format!(
            "the Rust target {target} is missing; install its standard library (with rustup: \
             `rustup target add {target}`)"
        )),
    }
}
