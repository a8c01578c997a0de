//! `wfhost new`: a package that builds, runs and passes its tests as it is.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, Failure, print, say};
use crate::error::Error;

/// Write a new package: a workflow, an activity and their tests
///
/// The package goes into the folder NAME. It depends on the SDK of the checkout of wfhost that the
/// current folder is in, or else on the published one.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  wfhost new greeting && wfhost run greeting --input '\"Ada\"'
  wfhost new greeting --sdk ../wfhost/guest-sdk")]
pub(super) struct New {
    /// The name of the package and of its folder: letters, digits, _ and -
    name: String,
    /// The folder of the SDK to depend on
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

const MANIFEST: &str = include_str!("new/manifest.toml");
const LIB: &str = include_str!("new/lib.rs");
const README: &str = include_str!("new/readme.md");
const GITIGNORE: &str = include_str!("new/gitignore");

/// The SDK that this host goes with.
const SDK_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the SDK is in a checkout.
const SDK_FOLDER: &str = "guest-sdk";

/// Names that Cargo or the compiler do not take, or that the package needs itself.
const TAKEN: [&str; 60] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "log",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "wfhost-sdk",
    "where",
    "while",
    "yield",
];

impl New {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        check_name(&self.name)?;
        let folder = Path::new(&self.name);
        if folder.symlink_metadata().is_ok() {
            let message = format!("`{}` is there already; choose another name", self.name);
            return Err(Failure::usage(message));
        }
        let sdk = self.find_sdk()?;
        let part = PathBuf::from(format!("{}.part", self.name));
        let written = self.write(&part, &sdk).and_then(|()| {
            std::fs::rename(&part, folder).map_err(|source| failed(folder, source).into())
        });
        if written.is_err() {
            // What is left of it, if anything is.
            let _ = std::fs::remove_dir_all(&part);
        }
        written?;
        say(format_args!("{sdk}"));
        print(&self.name)?;
        Ok(Exit::Ok)
    }

    fn write(&self, part: &Path, sdk: &Sdk) -> Result<(), Failure> {
        let source = part.join("src");
        std::fs::create_dir_all(&source).map_err(|error| failed(&source, error))?;
        let manifest = self.filled(MANIFEST).replace("{sdk}", &sdk.requirement());
        write(&part.join("Cargo.toml"), &manifest)?;
        write(&source.join("lib.rs"), LIB)?;
        write(&part.join("README.md"), &self.filled(README))?;
        write(&part.join(".gitignore"), GITIGNORE)?;
        if !crate::package::is_whole(part)? {
            // A workspace around it does not know it: it is one of its own.
            write(
                &part.join("Cargo.toml"),
                &format!("{manifest}\n[workspace]\n"),
            )?;
        }
        Ok(())
    }

    fn filled(&self, template: &str) -> String {
        template.replace("{name}", &self.name)
    }

    fn find_sdk(&self) -> Result<Sdk, Failure> {
        if let Some(path) = &self.sdk {
            let path = path.canonicalize().map_err(|source| failed(path, source))?;
            if !is_sdk(&path) {
                return Err(Failure::usage(format!(
                    "{} is not the folder of the package wfhost-sdk",
                    path.display()
                )));
            }
            return Ok(Sdk::Folder(path));
        }
        let here = std::env::current_dir().map_err(|source| failed(Path::new("."), source))?;
        // The new package is one folder further down.
        let ups = (1..).map(|depth| "../".repeat(depth));
        let found = here.ancestors().zip(ups);
        let mut found = found.filter(|(folder, _)| is_sdk(&folder.join(SDK_FOLDER)));
        let up = found.next().map(|(_, up)| up);
        Ok(up.map_or(Sdk::Published, |up| {
            Sdk::Folder(format!("{up}{SDK_FOLDER}").into())
        }))
    }
}

/// What a new package depends on.
enum Sdk {
    /// Absolute, or as seen from the package.
    Folder(PathBuf),
    Published,
}

impl Sdk {
    /// As Cargo.toml says it.
    fn requirement(&self) -> String {
        match self {
            Self::Folder(path) => {
                let path = serde_json::json!(path.display().to_string());
                format!("{{ path = {path} }}")
            }
            Self::Published => format!("\"{SDK_VERSION}\""),
        }
    }
}

impl std::fmt::Display for Sdk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "it depends on the SDK in {}", path.display()),
            Self::Published => write!(
                f,
                "it depends on the published SDK, wfhost-sdk {SDK_VERSION}; give --sdk PATH for \
                 that of a checkout"
            ),
        }
    }
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"));
    manifest.is_ok_and(|text| text.lines().any(|line| line == "name = \"wfhost-sdk\""))
}

fn check_name(name: &str) -> Result<(), Failure> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins_well || !name.chars().all(is_fine) || name.len() > 64 {
        return Err(Failure::usage(format!(
            "{name:?} cannot name a package: a letter, then letters, digits, _ and -, 64 at most"
        )));
    }
    if TAKEN.contains(&name) {
        return Err(Failure::usage(format!(
            "`{name}` cannot name a package of yours: Cargo or Rust has another use for it"
        )));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        source,
    }
}
