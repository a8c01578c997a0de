//! `wfhost logs`: what an instance's code has logged.

use clap::Args;
use clap::builder::TypedValueParser;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::Name;
use wfhost_core::record::{LogLevel, LogLine, Record};

use super::{Db, Exit, Failure, Target, args, close, print, say, text};
use crate::follow::Followed;
use crate::host::Host;
use crate::narrate::{Narrator, Told};

/// Show what an instance's code has logged
///
/// A line each, with its time and with the turn or the attempt that wrote it, from the generation
/// before the current one on. What an attempt logs is there once it has ended.
///
/// With --follow it goes on as more is logged, until the instance has ended; for that a host has to
/// serve the data file.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost logs order-7
  wfhost logs order-7 --follow --level warn
  wfhost logs order-7 --activity ProcessPaymentActivity --json | jq -r .message

Exit status: 0, 2 there is no such instance, 4 the host failed, 130 interrupted.")]
pub(super) struct Logs {
    #[command(flatten)]
    target: Target,
    /// Go on as more is logged
    #[arg(long, short)]
    follow: bool,
    /// Only what is so important, or more
    #[arg(long, value_name = "LEVEL", default_value = "trace", value_parser = level())]
    level: LogLevel,
    /// Only of attempts of this activity
    #[arg(long, value_name = "NAME")]
    activity: Option<Name>,
    /// One JSON object a line: at, level, message, and turn, or activity, task, attempt, module
    #[arg(long)]
    json: bool,
}

/// The words of `--level`.
fn level() -> impl TypedValueParser<Value = LogLevel> {
    args::word(LogLevel::ALL, LogLevel::as_str)
}

impl Logs {
    pub(super) fn db(&self) -> &Db {
        &self.target.db
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.target.db.open()?;
        let shown = match (self.follow, host.served()) {
            (false, _) => self.all(&host),
            (true, Some(served)) => {
                self.go_on(Followed::new(served, &self.target.id).await?)
                    .await
            }
            (true, None) => Err(Failure::usage(format!(
                "no host serves {}, so nothing goes on there; without --follow this shows what there \
                 is, and `{}` drives the instance",
                self.target.db.path.display(),
                self.target.db.about("wait", &self.target.id)
            ))),
        };
        close(host, shown).await
    }

    fn all(&self, host: &Host) -> Result<Exit, Failure> {
        let mut narrator = Narrator::default();
        host.history(&self.target.id, |record| {
            let told = narrator.next(&record)?;
            self.print(&told, &record)
        })?;
        Ok(Exit::Ok)
    }

    async fn go_on(&self, mut followed: Followed) -> Result<Exit, Failure> {
        while let Some((told, record)) = followed.next().await {
            self.print(&told, &record)?;
        }
        if !followed.has_ended() {
            say(format_args!(
                "more was logged than was taken; the same call shows all of it again"
            ));
            return Ok(Exit::Host);
        }
        Ok(Exit::Ok)
    }

    fn print(&self, told: &Told, record: &Record) -> Result<(), Failure> {
        let original = record.original();
        let (source, lines) = match (told, original) {
            (Told::Turn(past), _) if self.activity.is_none() => (
                Source {
                    shown: format!("turn {}", past.number),
                    row: json!({ "turn": past.number }),
                },
                &past.turn.log,
            ),
            (Told::Other { activity }, Record::Attempt(attempt)) => {
                if self.activity.is_some() && *activity != self.activity {
                    return Ok(());
                }
                let name = activity.as_ref().map_or("an activity", Name::as_str);
                let (task, number) = (attempt.task, attempt.number);
                let source = Source {
                    shown: format!("{name}, task {task}, attempt {number}"),
                    row: json!({
                        "activity": activity.as_ref().map(Name::as_str),
                        "task": task.0,
                        "attempt": number,
                        "module": attempt.module.to_string(),
                    }),
                };
                (source, &attempt.log)
            }
            _ => return Ok(()),
        };
        let at = record.at();
        let lines = lines.iter().filter(|line| line.level >= self.level);
        lines
            .flat_map(|line| source.line(&at.to_string(), line, self.json))
            .try_for_each(|line| print(&line))
    }
}

/// Who logged.
struct Source {
    shown: String,
    row: serde_json::Value,
}

impl Source {
    fn line(&self, at: &str, line: &LogLine, json: bool) -> Vec<String> {
        if json {
            let mut row = self.row.clone();
            row["at"] = json!(at);
            row["level"] = json!(line.level.as_str());
            row["message"] = json!(line.message);
            return vec![row.to_string()];
        }
        let before = format!("{at}  {}: ", self.shown);
        text::log(std::slice::from_ref(line), &before)
    }
}
