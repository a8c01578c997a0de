//! `wfhost run`: start an instance or go on with one, and show it as it happens.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use wfhost_core::record::{Record, StallReason, StateWrite};
use wfhost_core::{Instance, InstanceId, Json, Name, Status};
use wfhost_store::Summary;

use super::{Db, Exit, Failure, print, say, text, waiting};
use crate::checked::Checked;
use crate::engine::Observed;
use crate::error::Error;
use crate::host::{Host, Options, Settled, Upload};
use crate::narrate::{Narrator, Told};
use crate::start::{self, StartRequest};
use crate::view;

/// Run a workflow to its end, durably
///
/// Deploys the modules given, starts an instance and shows it as it happens on stderr; the result,
/// JSON alone, goes to stdout. Everything shown is on disk: whatever stops the process, `wfhost run
/// --id ID` goes on where it was. For an instance that has ended it prints the result again.
///
/// Only this instance and what it starts are driven; others in the data file stay as they are.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  wfhost run order.wasm --input '{\"Name\":\"Cars\",\"TotalCost\":15000,\"Quantity\":10}'
  wfhost run workflows/order-processing --id order-7 --input @order.json
  wfhost run --id order-7                          go on where it stopped
  wfhost run pay-v2.wasm --id order-7              swap an activity and go on
  wfhost run order.wasm --state 'Cars={\"name\":\"Cars\",\"totalCost\":15000,\"quantity\":3}'

Exit status: 0 completed, 1 the workflow failed or was cancelled or terminated, 2 usage or bad
input, 3 the instance is stalled, 4 the host failed (file, disk), 130 interrupted.")]
pub(super) struct Run {
    /// Modules to deploy: .wasm files, or folders of Cargo packages, which are compiled first
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The workflow to start; may be left out if the modules have one
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// The workflow's input: JSON, @FILE, or - for stdin; null if left out
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
    /// The instance: 1 to 64 letters, digits, _ and -; a random one if left out
    #[arg(long, value_name = "ID")]
    id: Option<InstanceId>,
    #[command(flatten)]
    db: Db,
    /// Write this to the state store before a new instance starts; may be repeated
    #[arg(long, value_name = "KEY=JSON")]
    state: Vec<String>,
    /// Print the whole run to stdout, one JSON object a line; the last is the instance
    #[arg(long)]
    json: bool,
    /// Show nothing while it runs
    #[arg(long, short)]
    quiet: bool,
}

/// A .wasm file as it is, or the module of a package, built first.
pub(super) fn upload(path: &Path, quiet: bool) -> Result<Upload, Error> {
    let file = |path: &Path, source| Error::File {
        path: path.to_owned(),
        source,
    };
    let is_dir = std::fs::metadata(path)
        .map_err(|source| file(path, source))?
        .is_dir();
    let module = if is_dir {
        crate::package::build(path, quiet)?
    } else {
        path.to_owned()
    };
    let bytes = std::fs::read(&module).map_err(|source| file(&module, source))?;
    let label = module
        .file_name()
        .unwrap_or(module.as_os_str())
        .to_string_lossy()
        .into_owned();
    Ok(Upload { label, bytes })
}

impl Run {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let mut signals = Signals::listen();
        let run = self.clone();
        let opening = tokio::task::spawn_blocking(move || run.open());
        let Opened {
            host,
            checked,
            input,
            state,
        } = tokio::select! {
            opened = opening => opened.map_err(|_| Error::Unknown)??,
            () = signals.recv() => {
                say(format_args!("interrupted; nothing was started"));
                return Ok(Exit::Interrupted);
            }
        };
        let id = self.id.clone().unwrap_or_else(start::random_id);
        let go_on = self.go_on(&id);
        let result = tokio::select! {
            result = self.on(&host, checked, &id, input, state) => result,
            () = signals.recv() => Ok(Exit::Interrupted),
        };
        let interrupted = matches!(result, Ok(Exit::Interrupted));
        let how_to_go_on = move || {
            say(format_args!(
                "interrupted; the instance stays as it is, go on with: {go_on}"
            ));
        };
        let closed = tokio::select! {
            closed = host.close() => closed,
            // Once more: whoever asks does not want to wait for the disk.
            () = signals.recv() => Ok(()),
        };
        if interrupted {
            how_to_go_on();
        }
        closed?;
        result
    }

    /// Finds all that can be wrong with the call before a data file is opened, and before one that
    /// is there is changed.
    fn open(self) -> Result<Opened, Failure> {
        let input = self.input.as_deref().map(read_json).transpose()?;
        let state = self.state.iter().map(|text| read_state(text));
        let state = state.collect::<Result<Vec<_>, _>>()?;
        if self.paths.is_empty() && self.id.is_none() && self.workflow.is_none() {
            return Err(Failure::usage(
                "nothing to run: give a PATH to start a workflow, or --id to go on with an instance",
            ));
        }
        let options = Options::default();
        if self.paths.is_empty() {
            let host = waiting(|| Host::open_existing(&self.db.db, options.clone()))?;
            return Ok(Opened {
                host,
                checked: None,
                input,
                state,
            });
        }
        let uploads = self.paths.iter().map(|path| upload(path, self.quiet));
        let checked = Host::check(uploads.collect::<Result<Vec<_>, _>>()?, &options)?;
        if !self.db.db.exists() {
            // It will be a new instance: a wrong call must not leave a new file behind.
            let workflow = self.choose(&workflows(&checked), &[])?;
            checked.check_input(&workflow, input.as_ref().unwrap_or(&Json::null()))?;
        }
        let host = waiting(|| Host::open_for(&self.db.db, &checked, options.clone()))?;
        Ok(Opened {
            host,
            checked: Some(checked),
            input,
            state,
        })
    }

    async fn on(
        &self,
        host: &Host,
        checked: Option<Checked>,
        id: &InstanceId,
        input: Option<Json>,
        state: Vec<StateWrite>,
    ) -> Result<Exit, Failure> {
        let mut show = Show {
            root: id.clone(),
            go_on: self.go_on(id),
            json: self.json,
            quiet: self.quiet,
            narrators: HashMap::new(),
        };
        let seen = host.observe();
        self.mention_others(host, id).await?;
        if host.has_instance(id).await? {
            let instance = host.instance(id).await?;
            self.check_same(&instance, input.as_ref())?;
            self.deploy(host, checked).await?;
            show.prime(host, id).await?;
            if !state.is_empty() {
                say(format_args!(
                    "--state is for a new instance; it is left out"
                ));
            }
            if instance.status().has_ended() {
                return show.end(&instance, None);
            }
            show.line(format_args!(
                "Going on with workflow {id} after {} turns",
                instance.turns()
            ));
            host.drive(id)?;
        } else {
            if self.paths.is_empty() && self.workflow.is_none() && self.input.is_none() {
                return Err(Error::NoSuchInstance { id: id.clone() }.into());
            }
            let workflow = match &checked {
                Some(checked) => self.choose(&workflows(checked), &host.workflows()?)?,
                None => self.choose(&host.workflows()?, &[])?,
            };
            let input = input.unwrap_or_else(Json::null);
            if let Some(checked) = &checked {
                // Refused now, nothing is deployed.
                checked.check_input(&workflow, &input)?;
            }
            self.deploy(host, checked).await?;
            if !state.is_empty() {
                // The state is written before the start, so a refusal must come before that.
                host.check_input(&workflow, &input).await?;
                host.write_state(state).await?;
            }
            let request = StartRequest {
                workflow,
                input,
                id: Some(id.clone()),
                tags: Vec::new(),
            };
            host.begin(request).await?;
        }
        self.follow(host, id, seen, show).await
    }

    async fn deploy(&self, host: &Host, checked: Option<Checked>) -> Result<(), Failure> {
        if let Some(checked) = checked {
            host.deploy_checked(checked).await?;
        }
        Ok(())
    }

    /// Shows what happens until the instance settles.
    async fn follow(
        &self,
        host: &Host,
        id: &InstanceId,
        mut seen: UnboundedReceiver<Observed>,
        mut show: Show,
    ) -> Result<Exit, Failure> {
        let begun = Instant::now();
        let mut settled = std::pin::pin!(host.wait(id));
        let Settled { instance } = loop {
            tokio::select! {
                biased;
                Some(observed) = seen.recv() => show.observed(&observed)?,
                settled = &mut settled => break settled?,
            }
        };
        // What led to its end became durable with it.
        while let Ok(observed) = seen.try_recv() {
            show.observed(&observed)?;
        }
        show.end(&instance, Some(begun))
    }

    /// The workflow to start: the one that is named, of those `known`, or the only one `offered`.
    fn choose(&self, offered: &[Name], known: &[Name]) -> Result<Name, Failure> {
        if let Some(wanted) = &self.workflow {
            let found = offered
                .iter()
                .chain(known)
                .find(|name| name.as_str() == wanted);
            return found.cloned().ok_or_else(|| {
                let known = offered.iter().chain(known).cloned().collect();
                Error::NoSuchWorkflow {
                    name: wanted.clone(),
                    known,
                }
                .into()
            });
        }
        match offered {
            [only] => Ok(only.clone()),
            [] => Err(Failure::usage(
                "the modules have no workflow; give one that has",
            )),
            _ => Err(Failure::usage(format!(
                "which workflow? say --workflow with one of: {}",
                offered
                    .iter()
                    .map(Name::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    /// An id names one instance for ever: the same call goes on with it, another is refused.
    fn check_same(&self, instance: &Instance, input: Option<&Json>) -> Result<(), Failure> {
        let id = &instance.started().id;
        let other = |what: &str| {
            Failure::usage(format!(
                "the instance `{id}` was started with another {what}; choose another --id, or leave \
                 --{what} out to go on with it"
            ))
        };
        if self
            .workflow
            .as_deref()
            .is_some_and(|name| name != instance.started().workflow.as_str())
        {
            return Err(other("workflow"));
        }
        if input.is_some_and(|input| input.value() != instance.first_input().value()) {
            return Err(other("input"));
        }
        Ok(())
    }

    async fn mention_others(&self, host: &Host, id: &InstanceId) -> Result<(), Failure> {
        let rows = host.list().await?;
        let ours = tree(&rows, id);
        let unfinished = rows.iter().filter(|row| !row.status.has_ended());
        let others = unfinished.filter(|row| !ours.contains(&row.id)).count();
        if others > 0 && !self.quiet {
            let (are, s, they) = match others {
                1 => ("is", "", "it is"),
                _ => ("are", "s", "they are"),
            };
            let list = self.with_db("wfhost list".into());
            say(format_args!(
                "there {are} {others} other unfinished instance{s}, left as {they}; see: {list}"
            ));
        }
        Ok(())
    }

    /// The command that goes on with an instance.
    fn go_on(&self, id: &InstanceId) -> String {
        self.with_db(format!("wfhost run --id={id}"))
    }

    fn with_db(&self, command: String) -> String {
        if self.db.db == Path::new("wfhost.redb") {
            return command;
        }
        format!(
            "{command} --db {}",
            quoted(&self.db.db.display().to_string())
        )
    }
}

/// The workflows that modules offer.
fn workflows(checked: &Checked) -> Vec<Name> {
    let definitions = checked.modules().flat_map(|module| &module.workflows);
    definitions.map(|it| it.name.clone()).collect()
}

/// An instance and all that descend from it and answer to it.
fn tree(rows: &[Summary], root: &InstanceId) -> Vec<InstanceId> {
    let mut tree = vec![root.clone()];
    // Children start after their parents.
    for row in rows {
        if row
            .parent
            .as_ref()
            .is_some_and(|parent| tree.contains(parent))
        {
            tree.push(row.id.clone());
        }
    }
    tree
}

/// What a run begins with.
struct Opened {
    host: Host,
    checked: Option<Checked>,
    input: Option<Json>,
    state: Vec<StateWrite>,
}

/// Ctrl-C and requests to terminate, from the start of the command on.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    fn listen() -> Self {
        let listen = |kind| signal(kind).ok();
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    async fn recv(&mut self) {
        async fn one(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.interrupt) => {}
            () = one(&mut self.terminate) => {}
        }
    }
}

/// An argument as a shell reads it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// The largest input that is read; what is larger is refused by the host anyway.
const INPUT_BYTES_MAX: u64 = 17 * 1024 * 1024;

/// Reads all of it, but not without end.
fn read_bounded(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    let bytes = from.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if bytes as u64 > INPUT_BYTES_MAX {
        let message = format!("it has more than {INPUT_BYTES_MAX} bytes");
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            message,
        ));
    }
    Ok(text)
}

fn read_json(text: &str) -> Result<Json, Failure> {
    let (name, text) = match text.strip_prefix('@') {
        Some(path) => {
            let read = std::fs::File::open(path).and_then(read_bounded);
            (format!("`{path}`"), read)
        }
        None if text == "-" => ("stdin".to_owned(), read_bounded(std::io::stdin().lock())),
        None => ("--input".to_owned(), Ok(text.to_owned())),
    };
    let text = text.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(Failure::usage(format!(
            "{name} is empty; it takes one JSON value"
        )));
    }
    Json::parse(text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

fn read_state(text: &str) -> Result<StateWrite, Failure> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return Err(Failure::usage(format!("--state {text}: it takes KEY=JSON")));
    };
    let value =
        Json::parse(value).map_err(|error| Failure::usage(format!("--state {key}: {error}")))?;
    Ok(StateWrite {
        key: key.to_owned(),
        value: Some(value),
        expires_at: None,
    })
}

/// Shows a run.
struct Show {
    root: InstanceId,
    /// The command that goes on with it.
    go_on: String,
    json: bool,
    quiet: bool,
    narrators: HashMap<InstanceId, Narrator>,
}

impl Show {
    /// Takes in what was shown before.
    async fn prime(&mut self, host: &Host, root: &InstanceId) -> Result<(), Failure> {
        for id in tree(&host.list().await?, root) {
            let mut narrator = Narrator::default();
            host.history(&id, |record| {
                narrator.next(&record)?;
                Ok::<_, Failure>(())
            })?;
            self.narrators.insert(id, narrator);
        }
        Ok(())
    }

    fn observed(&mut self, observed: &Observed) -> Result<(), Failure> {
        let Observed { id, record } = observed;
        if !self.narrators.contains_key(id) && !self.is_new_of_ours(id, record) {
            return Ok(());
        }
        let narrator = self.narrators.entry(id.clone()).or_default();
        let told = narrator.next(record)?;
        if self.json {
            let mut row = Narrator::view(&told, record);
            row["instance"] = serde_json::json!(id.as_str());
            print(&row.to_string())?;
        }
        if let Record::Started(started) = record.as_ref()
            && started.generation == 0
        {
            self.line(format_args!(
                "Started workflow {id}: {}, module {}",
                started.workflow,
                started.module.short()
            ));
        }
        for line in text::progress(record, &told) {
            self.line(format_args!("{line}"));
        }
        if matches!(&told, Told::Turn(past) if past.number == 1) && id == &self.root {
            self.line(format_args!(
                "Your workflow has started. Here is the status of the workflow: Running"
            ));
        }
        Ok(())
    }

    /// Whether this is the start of the instance that is shown, or of one that it started.
    fn is_new_of_ours(&self, id: &InstanceId, record: &Record) -> bool {
        let Record::Started(started) = record else {
            return false;
        };
        let parent = started.parent.as_ref();
        id == &self.root || parent.is_some_and(|it| self.narrators.contains_key(&it.id))
    }

    fn end(&self, instance: &Instance, begun: Option<Instant>) -> Result<Exit, Failure> {
        let id = &instance.started().id;
        let took = begun.map_or_else(
            || " (it had ended before)".to_owned(),
            |begun| format!(" ({} ms)", begun.elapsed().as_millis()),
        );
        self.line(format_args!(
            "Workflow Status: {}{took}",
            text::status(instance.status())
        ));
        if self.json {
            let mut row = view::instance(instance);
            row["record"] = serde_json::json!("instance");
            print(&row.to_string())?;
        } else if let Some(output) = instance.output() {
            print(output.as_str())?;
        }
        if let Some(reason) = instance.stall() {
            say(format_args!("the instance `{id}` is stalled: {reason}"));
            say(format_args!(
                "it is kept; {}: {}",
                remedy(reason),
                self.go_on
            ));
        }
        if let Some(failure) = instance.failure() {
            say(format_args!(
                "{}: {}",
                failure.kind,
                text::plain(&failure.message)
            ));
        }
        Ok(match instance.status() {
            Status::Completed => Exit::Ok,
            Status::Stalled => Exit::Stalled,
            Status::Failed | Status::Cancelled | Status::Terminated => Exit::Failed,
            Status::Pending | Status::Running | Status::Suspended => Exit::Host,
        })
    }

    fn line(&self, line: std::fmt::Arguments<'_>) {
        if !self.quiet && !self.json {
            say(line);
        }
    }
}

/// What goes before the command that goes on with a stalled instance.
fn remedy(reason: &StallReason) -> &'static str {
    match reason {
        StallReason::ActivityMissing { .. } | StallReason::WorkflowMissing { .. } => {
            "add the PATH of a module that offers it to"
        }
        StallReason::Divergence { .. }
        | StallReason::Limit { .. }
        | StallReason::HostDeaths { .. }
        | StallReason::ModuleUnusable { .. } => "to try again",
    }
}
