//! `wfhost replay`: a history run again, of an instance in a data file or in a capsule.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::InstanceId;
use wfhost_core::replay::PastTurn;

use super::{Db, Exit, Failure, Opened, close, hosting, print, step, text};
use crate::capsule::Capsule;
use crate::error::Error;
use crate::host::{Host, Upload};
use crate::narrate::{Narrator, Told};
use crate::package::upload;
use crate::replay::Replayed;
use crate::view;

/// Run an instance's history again in the sandbox, without effects
///
/// Says whether the code does the same again. With MODULE it runs on that module instead of the
/// instance's own: does new code follow an old history? Nothing is changed either way.
///
/// A capsule, as `wfhost export` writes it, is replayed without any data file. What cannot be an id
/// is the path of a capsule: write ./NAME for a capsule whose name has letters, digits, _ and - only.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost replay order-7
  wfhost replay order-7 order-v2.wasm
  wfhost replay order-7.capsule --step
  wfhost replay order-7 --step --json | jq -c .commands

Exit status: 0 the same, 1 not the same.")]
pub(super) struct Replay {
    /// The instance, or the path of a capsule
    #[arg(value_name = "ID|CAPSULE")]
    source: Source,
    #[command(flatten)]
    db: Db,
    /// A .wasm file or the folder of a Cargo package to replay on
    #[arg(value_name = "MODULE")]
    #[serde(skip)]
    path: Option<PathBuf>,
    /// Print each turn that was the same: its time, inputs, commands, state calls, step and log;
    /// where it is not the same, the turn as it was recorded, and both sides
    #[arg(long)]
    step: bool,
    /// One JSON object a turn, a line each, then {"same", "turns", "module", "reason"}. With --step
    /// each turn says whether it was the `same`, and the one that was not is among them
    #[arg(long)]
    json: bool,
}

/// Where the history is.
#[derive(Clone, Serialize, Deserialize)]
enum Source {
    Instance(InstanceId),
    Capsule(PathBuf),
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(id) => Ok(Self::Instance(id)),
            // No id has one of these.
            Err(_) if text.contains(['.', '/', '\\']) => Ok(Self::Capsule(text.into())),
            Err(error) => Err(format!(
                "{error}; a capsule is named by a path with a `.` or a `/`"
            )),
        }
    }
}

impl Replay {
    /// Nothing for a capsule, which is all the data that it needs.
    pub(super) fn db(&self) -> Option<&Db> {
        match self.source {
            Source::Instance(_) => Some(&self.db),
            Source::Capsule(_) => None,
        }
    }

    pub(super) fn read(&mut self) -> Result<Vec<Upload>, Failure> {
        let module = self.path.as_deref().map(|path| upload(path, false));
        Ok(module.transpose()?.into_iter().collect())
    }

    pub(super) async fn run(self, mut uploads: Vec<Upload>) -> Result<Exit, Failure> {
        let module = uploads.pop();
        let (host, id) = match &self.source {
            Source::Instance(id) => (self.db.open()?, id.clone()),
            Source::Capsule(path) => opened(path).await?,
        };
        let replayed = self.on(&host, &id, module).await;
        close(host, replayed).await
    }

    async fn on(
        &self,
        host: &Host,
        id: &InstanceId,
        module: Option<Upload>,
    ) -> Result<Exit, Failure> {
        let replayed = host.replay(id, module).await?;
        if self.json || self.step {
            self.print_turns(host, id, &replayed)?;
        }
        if self.json {
            let row = json!({
                "same": replayed.stray.is_none(),
                "turns": replayed.turns,
                "module": replayed.module.to_string(),
                "reason": replayed.stray.as_ref().map(view::reason),
            });
            print(&row.to_string())?;
        } else {
            print(&verdict(&replayed))?;
        }
        Ok(match replayed.stray {
            None => Exit::Ok,
            Some(_) => Exit::Failed,
        })
    }

    /// The turns that were the same and, step by step, the one that was not.
    fn print_turns(
        &self,
        host: &Host,
        id: &InstanceId,
        replayed: &Replayed,
    ) -> Result<(), Failure> {
        let mut narrator = Narrator::default();
        // A history may begin with a later turn than the first.
        let mut met = 0;
        host.history(id, |record| {
            let Told::Turn(past) = narrator.next(&record)? else {
                return Ok(());
            };
            met += 1;
            if met <= replayed.turns {
                return self.print_turn(&past, true);
            }
            if met == replayed.turns + 1 && self.step && replayed.stray.is_some() {
                return self.print_turn(&past, false);
            }
            Ok(())
        })
    }

    fn print_turn(&self, past: &PastTurn, same: bool) -> Result<(), Failure> {
        if self.json {
            let mut row = view::turn(past);
            if self.step {
                row["same"] = json!(same);
            }
            return print(&row.to_string());
        }
        if !same {
            print("not the same; as it was recorded:")?;
        }
        step::lines(past).iter().try_for_each(|line| print(line))
    }
}

/// A capsule, as a host that holds it.
async fn opened(path: &Path) -> Result<(Opened, InstanceId), Failure> {
    let file = File::open(path).map_err(|source| {
        let path = path.to_owned();
        Failure::from(Error::File { path, source })
    })?;
    let failed = |error: Error| {
        let exit = Failure::from(error);
        Failure::new(exit.exit, format!("{}: {}", path.display(), exit.message))
    };
    let capsule = Capsule::read(BufReader::new(file));
    let capsule = capsule.map_err(|error| failed(error.into()))?;
    let id = capsule.id().clone();
    let host = capsule.into_host(hosting::at_rest()).await;
    Ok((Opened::own(host.map_err(failed)?), id))
}

fn verdict(replayed: &Replayed) -> String {
    let turns = text::count(replayed.turns, "turn");
    match &replayed.stray {
        None if replayed.turns == 0 => "there is nothing to compare: it has taken no turn".into(),
        None => format!("the same: {turns}"),
        Some(stray) => format!("not the same; before that, {turns} the same\n{stray}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_id_is_a_path() {
        for (text, is_capsule) in [
            ("order-7", false),
            ("capsule", false),
            ("order-7.capsule", true),
            ("./order-7", true),
            ("/tmp/a", true),
            ("a\\b", true),
        ] {
            let source = text.parse::<Source>().ok();
            let source = source.expect(text);
            assert_eq!(matches!(source, Source::Capsule(_)), is_capsule, "{text}");
        }
        for bad in ["", "a b", "ä"] {
            let error = bad.parse::<Source>().err().expect(bad);
            assert!(error.contains("is not an instance id"), "{error}");
        }
    }
}
