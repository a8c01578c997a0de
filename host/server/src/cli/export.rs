//! `wfhost export`: an instance with its history and its code, in one file.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::terminal::Output;
use super::{Db, Exit, Failure, Target, close, print, say, text};
use crate::capsule::{Exported, MAGIC};
use crate::error::Error;
use crate::host::Host;

/// Write an instance into a capsule: its history and the code that ran it
///
/// `wfhost replay` replays the file on any machine: as a bug report, or as a test fixture. It holds
/// all that the instance was given, wrote and logged, as it was: whatever personal data or secrets
/// are in its payloads are in the file. Look through `wfhost history ID` before you give it away.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost export order-7 -o order-7.capsule
  wfhost export order-7 -o - | ssh other 'cat > order-7.capsule'
  wfhost replay order-7.capsule --step")]
pub(super) struct Export {
    #[command(flatten)]
    target: Target,
    /// The file to write, or - for stdout. One that is there is replaced if it is a capsule
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Export {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) fn output(&self) -> &Path {
        &self.output
    }

    /// Looks at the file that it would replace.
    pub(super) fn read(&mut self) -> Result<(), Failure> {
        let path = &self.output;
        if path == Path::new("-") {
            return match std::io::stdout().is_terminal() {
                false => Ok(()),
                true => Err(Failure::usage(
                    "a capsule is no text for a terminal; give -o FILE, or send stdout elsewhere",
                )),
            };
        }
        let replaced = may_be_replaced(path).map_err(|source| {
            let path = path.clone();
            Failure::from(Error::File { path, source })
        });
        match replaced? {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "{} is there already and is no capsule; choose another name",
                path.display()
            ))),
        }
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.target.db.open()?;
        let exported = self.on(&host).await;
        close(host, exported).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let mut output = Output::new(&self.output)?;
        let mut to = BufWriter::new(&mut output);
        let exported = host.export(&self.target.id, &mut to).await?;
        to.flush().map_err(|source| {
            let path = self.output.clone();
            Failure::from(Error::File { path, source })
        })?;
        drop(to);
        output.finish()?;
        if self.output == Path::new("-") {
            say(format_args!("{}", summary("to stdout", &exported)));
        } else {
            let path = self.output.display().to_string();
            print(&summary(&format!("to {path}"), &exported))?;
        }
        Ok(Exit::Ok)
    }
}

/// Whether nothing is lost: there is no such file, or it is a capsule.
fn may_be_replaced(path: &Path) -> std::io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        file => file?,
    };
    let mut begins = Vec::new();
    let read = file.take(MAGIC.len() as u64).read_to_end(&mut begins);
    match read {
        Ok(_) => Ok(begins == MAGIC),
        // A folder, for one.
        Err(_) => Ok(false),
    }
}

fn summary(whereto: &str, exported: &Exported) -> String {
    let modules = exported.modules.len() as u64;
    format!(
        "exported {whereto}: {}, {} of them turns, and {}, {} bytes in all; payloads are in it as \
         they are",
        text::count(exported.records, "record"),
        exported.turns,
        text::count(modules, "module"),
        exported.bytes,
    )
}
