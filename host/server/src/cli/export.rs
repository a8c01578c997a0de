//! `wfhost export`: an instance with its history and its code, in one file.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::NamedTempFile;

use super::{Exit, Failure, Target, close, print, say, text};
use crate::capsule::{Exported, MAGIC};
use crate::error::Error;
use crate::host::Host;

/// Write an instance into a capsule: its history and the code that ran it
///
/// `wfhost replay` replays the file on any machine: as a bug report, or as a test fixture. It holds
/// all that the instance was given, wrote and logged, as it was: whatever personal data or secrets
/// are in its payloads are in the file. Look through `wfhost history ID` before you give it away.
#[derive(Args)]
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
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.target.db.open()?;
        let exported = self.on(&host).await;
        close(host, exported).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        if self.output == Path::new("-") {
            let exported = self.to_stdout(host).await?;
            say(format_args!("{}", summary("to stdout", &exported)));
        } else {
            let exported = self.to_file(host).await?;
            let path = self.output.display().to_string();
            print(&summary(&format!("to {path}"), &exported))?;
        }
        Ok(Exit::Ok)
    }

    async fn to_stdout(&self, host: &Host) -> Result<Exported, Failure> {
        let stdout = std::io::stdout();
        if stdout.is_terminal() {
            return Err(Failure::usage(
                "a capsule is no text for a terminal; give -o FILE, or send stdout elsewhere",
            ));
        }
        let mut to = BufWriter::new(stdout);
        Ok(host.export(&self.target.id, &mut to).await?)
    }

    /// Writes it under another name, and gives it its own once it is whole and on the disk.
    async fn to_file(&self, host: &Host) -> Result<Exported, Failure> {
        let path = &self.output;
        let failed = |source| {
            let path = path.clone();
            Failure::from(Error::File { path, source })
        };
        if !may_be_replaced(path).map_err(failed)? {
            let message = format!(
                "{} is there already and is no capsule; choose another name",
                path.display()
            );
            return Err(Failure::usage(message));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // For its owner alone to read: what is in it may be personal.
        let file = NamedTempFile::new_in(folder).map_err(failed)?;
        let mut to = BufWriter::new(file);
        let exported = host.export(&self.target.id, &mut to).await?;
        let file = to
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        if cfg!(unix) {
            let folder = File::open(folder).and_then(|folder| folder.sync_all());
            folder.map_err(failed)?;
        }
        Ok(exported)
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
