//! `wfhost logs`: what an instance's code has logged.

use clap::Args;
use clap::builder::TypedValueParser;
use serde::{Deserialize, Serialize};
use wfhost_core::Name;
use wfhost_core::record::{LogLevel, Record};

use super::terminal::is_gone;
use super::{Db, Exit, Failure, Target, args, close, print, say, text};
use crate::follow::Followed;
use crate::host::Host;
use crate::narrate::{Narrator, Told};
use crate::view::{self, LogRow};

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
    /// One JSON object a line: at, level, message, turn, or activity, task, attempt and module
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
            if is_gone() {
                return Ok(Exit::Ok);
            }
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
        let rows = LogRow::all(told, record).into_iter();
        let wanted = rows.filter(|row| row.is_wanted(Some(self.level), self.activity.as_ref()));
        for row in wanted {
            if self.json {
                print(&view::json(row).to_string())?;
                continue;
            }
            let before = format!("{}  {}: ", record.at(), row.source());
            let lines = text::log(std::slice::from_ref(row.line()), &before);
            lines.iter().try_for_each(|line| print(line))?;
        }
        Ok(())
    }
}
