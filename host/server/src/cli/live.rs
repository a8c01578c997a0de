//! `wfhost watch`: the instances of a running host as they go on, as `top` shows processes.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::{Instance, Status, Timestamp};
use wfhost_store::{Counts, Query, Summary};

use super::find::Filter;
use super::terminal::is_gone;
use super::{Db, Exit, Failure, args, close, instance, print};
use crate::error::Error;
use crate::host::Host;
use crate::view;

/// Watch the instances of a running host as they go on
///
/// Those that have not ended, stalled ones first and then the newest, each with what it waits for,
/// and how much the host does. Shown anew again and again until Ctrl-C; where stdout is no terminal,
/// one below the other.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost watch
  wfhost watch --workflow OrderProcessingWorkflow --interval 5s
  wfhost watch --status stalled,suspended
  wfhost watch --json | jq -c '.instances[].id'

Exit status: 2 usage, no host serves the data file, 4 the host failed, 130 interrupted.")]
pub(super) struct Watch {
    #[command(flatten)]
    filter: Filter,
    /// How often it is shown: 100ms or more
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// So many instances at most; as many as the terminal has lines for if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    limit: Option<u16>,
    /// So wide; as the terminal if left out
    #[arg(skip)]
    columns: Option<u16>,
    /// Stdout is a terminal: each screen takes the place of the one before.
    #[arg(skip)]
    screen: bool,
    #[command(flatten)]
    db: Db,
    /// One JSON object each time, on a line: at, records_per_second, commits_per_second, instances
    #[arg(long)]
    json: bool,
}

/// Without a terminal that says it.
const LIMIT: u16 = 20;

/// The lines of a screen that show no instance.
const LINES_AROUND: u16 = 4;

/// It looks at each instance that it shows.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

fn interval(text: &str) -> Result<Duration, String> {
    let interval = args::duration(text)?;
    match interval >= INTERVAL_MIN {
        true => Ok(interval),
        false => Err("it takes 100ms or more".into()),
    }
}

impl Watch {
    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// How large the terminal is.
    pub(super) fn read(&mut self) -> Result<(), Failure> {
        let stdout = std::io::stdout();
        self.screen = stdout.is_terminal() && !self.json;
        if self.screen
            && let Ok(size) = rustix::termios::tcgetwinsize(&stdout)
            && size.ws_row > 0
        {
            let lines = size.ws_row.saturating_sub(LINES_AROUND).max(1);
            self.limit.get_or_insert(lines);
            // Some terminals do not say.
            self.columns = (size.ws_col > 0).then_some(size.ws_col);
        }
        Ok(())
    }

    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let host = self.db.open()?;
        let watched = match host.served() {
            Some(host) => self.on(host).await,
            None => Err(Failure::usage(format!(
                "no host serves {}, so nothing goes on there; `{}` shows what there is",
                self.db.path.display(),
                self.db.command("list")
            ))),
        };
        close(host, watched).await
    }

    async fn on(&self, host: &Host) -> Result<Exit, Failure> {
        if self.screen {
            print("\x1b[2J")?;
        }
        let mut rates = Rates::new(host.counts());
        // Whoever sent it may have asked for less than the command line lets through.
        let mut ticks = tokio::time::interval(self.interval.max(INTERVAL_MIN));
        while !is_gone() {
            ticks.tick().await;
            let shown = self.shown(host).await?;
            let at = host.now();
            let rates = rates.next(host.counts());
            if self.json {
                let rows = shown.iter().map(|(_, instance)| view::instance(instance));
                let row = json!({
                    "at": at.to_string(),
                    "records_per_second": rates.0,
                    "commits_per_second": rates.1,
                    "instances": rows.collect::<Vec<_>>(),
                });
                print(&row.to_string())?;
            } else {
                self.show(at, rates, &shown)?;
            }
        }
        Ok(Exit::Ok)
    }

    /// The instances to show, those that need somebody first.
    async fn shown(&self, host: &Host) -> Result<Vec<(Summary, Instance)>, Error> {
        let limit = usize::from(self.limit.unwrap_or(LIMIT));
        let others = [Status::Suspended, Status::Running, Status::Pending];
        let mut rows = Vec::new();
        for statuses in [vec![Status::Stalled], others.to_vec()] {
            let query = Query {
                newest_first: true,
                limit: limit - rows.len(),
                ..self.filter.query()
            };
            let chosen = statuses
                .into_iter()
                .filter(|it| query.statuses.is_empty() || query.statuses.contains(it));
            let statuses: Vec<_> = chosen.collect();
            if rows.len() < limit && !statuses.is_empty() {
                let page = host.find(&Query { statuses, ..query }).await?;
                rows.extend(page.rows);
            }
        }
        let mut shown = Vec::new();
        for row in rows {
            match host.instance(&row.id).await {
                Ok(instance) => shown.push((row, instance)),
                // Purged just now.
                Err(Error::NoSuchInstance { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(shown)
    }

    fn show(
        &self,
        at: Timestamp,
        (records, commits): (u64, u64),
        shown: &[(Summary, Instance)],
    ) -> Result<(), Failure> {
        let mut lines = vec![
            format!("{at}  {records} records/s, {commits} commits/s"),
            String::new(),
        ];
        let head = ["ID", "STATUS", "TURNS", "AGE", "WORKFLOW", "WAITS FOR"].map(str::to_owned);
        let rows = shown.iter().map(|(row, instance)| cells(at, row, instance));
        lines.extend(table(std::iter::once(head).chain(rows).collect()));
        if shown.is_empty() {
            lines.push("none that has not ended".into());
        }
        if !self.screen {
            lines.push(String::new());
            return lines.iter().try_for_each(|line| print(line));
        }
        let columns = usize::from(self.columns.unwrap_or(u16::MAX));
        let cut = |line: &String| line.chars().take(columns).collect::<String>();
        let lines: Vec<_> = lines.iter().map(cut).collect();
        // From the top, each line to its end, and nothing below.
        print(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n")))
    }
}

/// Each column as wide as what is in it, so that the last has the most room.
fn table(rows: Vec<[String; 6]>) -> Vec<String> {
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    });
    let line = |row: [String; 6]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        line + &row[5]
    };
    rows.into_iter().map(line).collect()
}

fn cells(at: Timestamp, row: &Summary, instance: &Instance) -> [String; 6] {
    let age = Duration::from_secs(at.since(row.created_at) / 1_000);
    let age = humantime::format_duration(age).to_string();
    let age = age.split_whitespace().take(2).collect::<String>();
    [
        row.id.to_string(),
        row.status.as_str().to_owned(),
        row.turns.to_string(),
        age,
        row.workflow.to_string(),
        waits_for(instance),
    ]
}

/// The first of what holds it, and how many more there are.
fn waits_for(instance: &Instance) -> String {
    if let Some(reason) = instance.stall() {
        let reason = reason.to_string();
        return reason.lines().next().unwrap_or_default().to_owned();
    }
    let mut tasks = instance.tasks().iter();
    let first = tasks.next().map(|(id, task)| instance::task(*id, task));
    match (first, tasks.count()) {
        (None, _) => String::new(),
        (Some(first), 0) => first,
        (Some(first), more) => format!("{first}, and {more} more"),
    }
}

/// How much was done from one look to the next.
struct Rates {
    before: Counts,
    at: std::time::Instant,
}

impl Rates {
    fn new(before: Counts) -> Self {
        let at = std::time::Instant::now();
        Self { before, at }
    }

    /// Records and commits a second.
    fn next(&mut self, now: Counts) -> (u64, u64) {
        let seconds = self.at.elapsed().as_secs_f64().max(0.001);
        let rate = |before: u64, now: u64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a rate for people"
            )]
            let rate = (now.saturating_sub(before) as f64 / seconds).round() as u64;
            rate
        };
        let rates = (
            rate(self.before.records, now.records),
            rate(self.before.commits, now.commits),
        );
        *self = Self::new(now);
        rates
    }
}
