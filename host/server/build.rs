//! Compiles the modules of `wfhost bench`, which the binary carries with it.
//!
//! Where that cannot be done the build goes on all the same: the binary then carries none, and why.

#[path = "src/package/compiling.rs"]
mod compiling;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use compiling::{TARGET, provide_target, set_up, without_outer_build};

/// The packages in `workflows/` that become modules.
const MODULES: [&str; 2] = ["bench", "bench-effects"];

/// What the modules are made of, from the folder of the package.
const SOURCES: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "guest-sdk",
    "host/server/build.rs",
    "host/server/src/package/compiling.rs",
    "wit",
    "workflows/bench",
    "workflows/bench-activities",
    "workflows/bench-effects",
];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets it"));
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let compiled = compile(&root, &target_folder(&out));
    if let Err(why) = &compiled {
        println!("cargo:warning=`wfhost bench` will have no workflows to run: {why}");
        // What is not there counts as changed: the next build tries again.
        println!("cargo:rerun-if-changed={}", out.join("again").display());
    }
    let (modules, missing) = match compiled {
        Ok(modules) => (modules, String::new()),
        Err(why) => (MODULES.map(|_| Vec::new()), why),
    };
    for (package, module) in MODULES.iter().zip(modules) {
        fs::write(out.join(package).with_extension("wasm"), module)?;
    }
    fs::write(out.join("bench-missing.txt"), missing)
}

/// The modules, or in one line why there are none.
fn compile(root: &Path, folder: &Path) -> Result<[Vec<u8>; 2], String> {
    if MODULES
        .iter()
        .any(|it| !root.join("workflows").join(it).is_dir())
    {
        return Err("their source is not part of this package; build from a checkout".into());
    }
    provide_target(root, TARGET).map_err(|why| in_a_line(&why))?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    without_outer_build(&mut cargo);
    set_up(&mut cargo, TARGET, folder);
    cargo.args(["--quiet", "--lib"]);
    for package in MODULES {
        cargo.args(["--package", package]);
    }
    if root.join("Cargo.lock").is_file() {
        cargo.arg("--locked");
    }
    let output = cargo
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        let said = in_a_line(&String::from_utf8_lossy(&output.stderr));
        return Err(format!("they do not compile: {said}"));
    }
    let [one, two] = MODULES.map(|package| read(folder, package));
    Ok([one?, two?])
}

fn read(folder: &Path, package: &str) -> Result<Vec<u8>, String> {
    let file = format!("{}.wasm", package.replace('-', "_"));
    let path = folder.join(TARGET).join("wfhost").join(file);
    fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Where modules are compiled, as `wfhost build` does: `wfhost` in Cargo's target folder, which Cargo
/// marks by a file; inside the script's own folder if there is no such mark.
fn target_folder(out: &Path) -> PathBuf {
    let is_marked = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    out.ancestors()
        .find(is_marked)
        .unwrap_or(out)
        .join("wfhost")
}

/// A warning and the binary's own words take one line.
fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
