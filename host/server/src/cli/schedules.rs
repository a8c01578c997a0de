//! `wfhost schedules`: which there are, new ones, and what they are told.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::schedule::{
    CATCH_UP_DEFAULT_MAX, CATCH_UP_MAX, Firing, Outcome, Overlap, Schedule, ScheduleName, Times,
};
use wfhost_core::{Name, Timestamp};

use super::terminal::Caller;
use super::{Db, Exit, Failure, args, close, print, say, text};
use crate::error::Error;
use crate::host::Host;
use crate::schedules::Scheduled;
use crate::serve::Scope;
use crate::view;

/// List the schedules of a data file, and manage them
///
/// A schedule starts a workflow at the times of a cron expression, as long as `wfhost serve` runs.
/// Without a command it lists them.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  wfhost schedules
  wfhost schedules set nightly --cron '30 2 * * *' --time-zone Europe/Berlin --workflow Report
  wfhost schedules show nightly
  wfhost schedules pause nightly --note 'the warehouse moves'"
)]
pub(super) struct Schedules {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Subcommand, Clone, Serialize, Deserialize)]
enum Command {
    List(List),
    Show(Show),
    Set(Box<Set>),
    Pause(Pause),
    Resume(Resume),
    Trigger(Trigger),
    Delete(Delete),
}

/// List the schedules
///
/// In the order of their names: when each fires, what it starts, and when it fires next.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost schedules list
  wfhost schedules list --json | jq -r 'select(.paused) | .name'")]
struct List {
    #[command(flatten)]
    db: Db,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Show one schedule: when it fires next, and what became of its last firings
///
/// Also the instances that it has started and that have not ended.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost schedules show nightly --next 20
  wfhost schedules show nightly --json | jq .firings")]
struct Show {
    #[command(flatten)]
    target: Target,
    /// So many of the next firings
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(0..=1000))]
    next: u16,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Set a schedule: a new one, or another in place of the one of that name
///
/// One that is there keeps what it has fired and whether it is paused. Where its times change, they
/// count from now. The workflow's code is asked whether it takes the input.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost schedules set nightly --cron '30 2 * * *' --time-zone Europe/Berlin --workflow Report
  wfhost schedules set poll --cron '*/10 * * * * *' --workflow Poll --input '{\"from\":\"a\"}' --overlap queue-one
  wfhost schedules set once --cron '0 12 1 1 *' --workflow Report --until 2031-01-02T00:00:00Z --dry-run

Exit status: 0 it is set, 2 usage or bad input, 4 the host failed.")]
struct Set {
    #[command(flatten)]
    target: Target,
    /// When it fires: minute, hour, day of month, month, day of week, with seconds before them if
    /// they matter; or @hourly, @daily, @weekly, @monthly, @yearly
    #[arg(long, value_name = "EXPRESSION")]
    cron: String,
    /// Where these times are meant, as the IANA database names it
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    time_zone: String,
    /// The workflow that it starts, as its name means it at that time
    #[arg(long, value_name = "NAME")]
    workflow: Name,
    /// The input: JSON, @FILE, or - for stdin; null if left out
    #[arg(long, value_name = "JSON", allow_negative_numbers = true)]
    input: Option<String>,
    /// Tag its instances, beside `schedule` and `scheduled_at`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = args::tag)]
    tag: Vec<(String, String)>,
    /// What a firing does while an instance has not ended: it is skipped, starts beside it, waits
    /// for its end, has it cancelled and waits, or terminates it
    #[arg(long, value_name = "WHAT", default_value = "skip", value_parser = args::overlap())]
    overlap: Overlap,
    /// How far back firings are made up that were missed while no host ran; 0s: not at all
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = args::duration)]
    catch_up: Duration,
    /// How many of them at once, the newest
    #[arg(long, value_name = "N", default_value_t = CATCH_UP_DEFAULT_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(CATCH_UP_MAX)))]
    catch_up_max: u32,
    /// It does not fire after then: RFC 3339
    #[arg(long, value_name = "TIME", value_parser = args::time)]
    until: Option<Timestamp>,
    /// Set nothing, only print when it would fire
    #[arg(long)]
    dry_run: bool,
    /// Print the schedule as `show --json` does
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
}

/// Have a schedule fire no more until it is resumed
///
/// What would have fired meanwhile is not made up. Instances that run go on.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost schedules pause nightly --note 'the warehouse moves'

Exit status: 0 it is paused, 2 there is no such schedule, 4 the host failed.")]
struct Pause {
    #[command(flatten)]
    target: Target,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Have a paused schedule fire again
///
/// From now on; one that is not paused stays as it is.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost schedules resume nightly

Exit status: 0 it fires, 2 there is no such schedule, 4 the host failed.")]
struct Resume {
    #[command(flatten)]
    target: Target,
}

/// Start an instance of a schedule now
///
/// Whatever runs, and also while it is paused. Prints the instance's id.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost schedules trigger nightly
  wfhost wait \"$(wfhost schedules trigger nightly --key mail-4711)\"

Exit status: 0 it is started, 2 there is no such schedule or its workflow cannot be started, 4 the host
failed.")]
struct Trigger {
    #[command(flatten)]
    target: Target,
    /// Names this call: made again with the same key, it is done already
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print {"id"} instead of the id
    #[arg(long)]
    json: bool,
}

/// Remove a schedule
///
/// Instances that it has started go on. To stop it for a while, pause it.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost schedules delete nightly

Exit status: 0 it is gone, 2 there is no such schedule, 4 the host failed.")]
struct Delete {
    #[command(flatten)]
    target: Target,
}

/// The one schedule that a command is about.
#[derive(Args, Clone, Serialize, Deserialize)]
struct Target {
    /// The schedule
    name: ScheduleName,
    #[command(flatten)]
    db: Db,
}

impl Schedules {
    pub(super) fn db(&self) -> &Db {
        match &self.command {
            None => &self.list.db,
            Some(Command::List(it)) => &it.db,
            Some(Command::Show(it)) => &it.target.db,
            Some(Command::Set(it)) => &it.target.db,
            Some(Command::Pause(it)) => &it.target.db,
            Some(Command::Resume(it)) => &it.target.db,
            Some(Command::Trigger(it)) => &it.target.db,
            Some(Command::Delete(it)) => &it.target.db,
        }
    }

    pub(super) fn read(&mut self) -> Result<(), Failure> {
        let Some(Command::Set(set)) = &mut self.command else {
            return Ok(());
        };
        let input = set.input.as_mut();
        input.map_or(Ok(()), |input| args::read("--input", input))
    }

    pub(super) fn scope(&self) -> Scope {
        match &self.command {
            None | Some(Command::List(_) | Command::Show(_)) => Scope::Read,
            Some(_) => Scope::Operate,
        }
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        match self.command.unwrap_or(Command::List(self.list)) {
            Command::List(it) => on(&it.db, async |host| it.on(host).await).await,
            Command::Show(it) => on(&it.target.db, async |host| it.on(host).await).await,
            Command::Set(it) => it.run().await,
            Command::Pause(it) => on(&it.target.db, async |host| it.on(host).await).await,
            Command::Resume(it) => on(&it.target.db, async |host| it.on(host).await).await,
            Command::Trigger(it) => on(&it.target.db, async |host| it.on(host).await).await,
            Command::Delete(it) => on(&it.target.db, async |host| it.on(host).await).await,
        }
    }
}

/// Opens the data file for a command, and closes it after.
async fn on(
    db: &Db,
    command: impl AsyncFnOnce(&Host) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let host = db.open()?;
    let done = command(&host).await;
    close(host, done).await
}

impl List {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        for scheduled in host.schedules().await? {
            match self.json {
                true => print(&view::schedule(&scheduled).to_string())?,
                false => print(&headline(&scheduled))?,
            }
        }
        Ok(Exit::Ok)
    }
}

/// A schedule in a line.
fn headline(scheduled: &Scheduled) -> String {
    let Scheduled { schedule, standing } = scheduled;
    let times = &schedule.times;
    let next = match (&standing.paused, scheduled.next()) {
        (Some(_), _) => "paused".into(),
        (None, Some(next)) => format!("next {next}"),
        (None, None) => "at its end".into(),
    };
    format!(
        "{:<24} {} in {}  {}  {next}",
        schedule.name.as_str(),
        args::quoted(times.cron()),
        times.time_zone(),
        schedule.workflow
    )
}

impl Show {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let scheduled = host.schedule(&self.target.name).await?;
        if self.json {
            print(&view::schedule(&scheduled).to_string())?;
            return Ok(Exit::Ok);
        }
        let Scheduled { schedule, standing } = &scheduled;
        print(&headline(&scheduled))?;
        print(&format!(
            "  overlap {}; made up are at most {} missed firings of the last {}",
            schedule.overlap.as_str(),
            schedule.catch_up_max,
            view::catch_up(schedule.catch_up_ms)
        ))?;
        print(&format!("  input {}", text::plain(schedule.input.as_str())))?;
        for (key, value) in &schedule.tags {
            print(&format!(
                "  tag {}={}",
                text::plain(key),
                text::plain(value)
            ))?;
        }
        if let Some(until) = schedule.until {
            print(&format!("  until {until}"))?;
        }
        if let Some(paused) = &standing.paused {
            let since = format!("  paused since {}", paused.at);
            print(&text::with_reason(&since, &paused.note))?;
        }
        if let Some(queued) = standing.queued {
            print(&format!("  waits for an instance to end: {queued}"))?;
        }
        for id in &standing.running {
            print(&format!("  runs: {id}"))?;
        }
        for at in host.upcoming(schedule, usize::from(self.next)) {
            print(&format!("  next {at}"))?;
        }
        for firing in standing.firings.iter().rev() {
            print(&firing_line(firing))?;
        }
        Ok(Exit::Ok)
    }
}

fn firing_line(firing: &Firing) -> String {
    let outcome = match &firing.outcome {
        Outcome::Started(id) => format!("started {id}"),
        Outcome::Triggered(id) => format!("triggered {id}"),
        Outcome::Skipped(reason) => format!("skipped: {reason}"),
        Outcome::Failed(why) => format!("failed: {}", text::plain(why)),
    };
    format!("  {}  {outcome}", firing.due_at)
}

impl Set {
    async fn run(&self) -> Result<Exit, Failure> {
        // All that can be wrong with the call is found before the data file is opened.
        let schedule = self.schedule()?;
        if self.dry_run {
            schedule.check(args::now()).map_err(Error::from)?;
            for at in schedule.upcoming(args::now(), 5) {
                print(&at.to_string())?;
            }
            return Ok(Exit::Ok);
        }
        on(&self.target.db, async |host| self.on(host, schedule).await).await
    }

    fn schedule(&self) -> Result<Schedule, Failure> {
        let times = Times::new(&self.cron, &self.time_zone).map_err(Error::from)?;
        let input = args::json_or_null("--input", self.input.as_deref())?;
        let (name, workflow) = (self.target.name.clone(), self.workflow.clone());
        Ok(Schedule {
            tags: self.tag.clone(),
            overlap: self.overlap,
            catch_up_ms: args::millis(self.catch_up),
            catch_up_max: self.catch_up_max,
            until: self.until,
            ..Schedule::new(name, times, workflow, input)
        })
    }

    async fn on(&self, host: &Host, schedule: Schedule) -> Result<Exit, Failure> {
        let (scheduled, new) = host.put_schedule(schedule).await?;
        match self.json {
            true => print(&view::schedule(&scheduled).to_string())?,
            false => print(&headline(&scheduled))?,
        }
        if new && Caller::get().is_none() {
            say(format_args!(
                "it fires while the file is served: {}",
                self.target.db.command("serve")
            ));
        }
        Ok(Exit::Ok)
    }
}

impl Pause {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let note = self.note.clone();
        let scheduled = host.pause_schedule(&self.target.name, note).await?;
        print(&headline(&scheduled))?;
        Ok(Exit::Ok)
    }
}

impl Resume {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let scheduled = host.resume_schedule(&self.target.name).await?;
        print(&headline(&scheduled))?;
        Ok(Exit::Ok)
    }
}

impl Trigger {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        let key = self.key.clone();
        let id = host.trigger_schedule(&self.target.name, key).await?;
        print(&match self.json {
            true => json!({ "id": id.as_str() }).to_string(),
            false => id.to_string(),
        })?;
        let go_on = self.target.db.about("wait", &id);
        say(format_args!("go on with: {go_on}"));
        Ok(Exit::Ok)
    }
}

impl Delete {
    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        host.delete_schedule(&self.target.name).await?;
        say(format_args!("`{}` is gone", self.target.name));
        Ok(Exit::Ok)
    }
}
