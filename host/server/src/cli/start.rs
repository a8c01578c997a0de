//! `wfhost start`, and what it takes to start an instance.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use wfhost_core::record::{Asked, Event, StateWrite};
use wfhost_core::{Instance, InstanceId, Json, Name, Timestamp};

use super::{Db, Exit, Failure, Opened, args, check, close, hosting, next_step, print, say};
use crate::checked::Checked;
use crate::error::Error;
use crate::host::{Host, Options, Upload};
use crate::package::upload;
use crate::start::{self, Reuse, StartRequest};

/// Start an instance and leave it to others to drive
///
/// Deploys the modules given, checks the input, records the start and prints the instance's id. The
/// workflow's code runs up to its first wait; no activity does. `wfhost wait ID` drives it to its
/// end.
///
/// With --key the same call starts one instance however often it is made.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(after_help = "\
Examples:
  wfhost start order.wasm --id order-7 --input @order.json
  wfhost start --workflow OrderProcessingWorkflow --input @order.json --key mail-4711
  wfhost start report.wasm --in 12h --tag team=billing
  wfhost start order.wasm --id order-7 --reuse if-failed --input @order.json

Exit status: 0 it is started, 2 usage or bad input, the id is in use, 4 the host failed.")]
pub(super) struct Start {
    #[command(flatten)]
    starting: Starting,
    /// Print {"id"} instead of the id
    #[arg(long)]
    json: bool,
}

/// What is started, for every command that starts.
#[derive(Args, Clone, Serialize, Deserialize)]
pub(super) struct Starting {
    /// Modules to deploy: .wasm files, or folders of Cargo packages, which are compiled first
    #[arg(value_name = "PATH")]
    #[serde(skip)]
    pub(super) paths: Vec<PathBuf>,
    /// The workflow to start; may be left out if the modules have one
    #[arg(long, value_name = "NAME")]
    pub(super) workflow: Option<String>,
    /// The workflow's input: JSON, @FILE, or - for stdin; null if left out
    #[arg(long, value_name = "JSON", allow_negative_numbers = true)]
    pub(super) input: Option<String>,
    /// The instance: 1 to 64 letters, digits, _ and -. If left out, one that --key makes, else a
    /// random one
    #[arg(long, value_name = "ID")]
    pub(super) id: Option<InstanceId>,
    /// Names this call: made again with the same key, it is done already
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    /// What happens if the id is in use. All but `refuse` take the id of an instance that has
    /// ended, `if-failed` only if it did not complete; `terminate` ends one that has not, and
    /// `use-running` uses it
    #[arg(long, value_name = "WHAT", default_value = "refuse", value_parser = args::reuse())]
    pub(super) reuse: Reuse,
    /// The first turn is not before then: RFC 3339
    #[arg(long, value_name = "TIME", value_parser = args::time, conflicts_with = "in")]
    at: Option<Timestamp>,
    /// The same, so long from now: 10m, 2h, 30d
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    r#in: Option<Duration>,
    /// Tag the instance, to find it by; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = args::tag)]
    tag: Vec<(String, String)>,
    /// An event that is there from the start; may be repeated
    #[arg(long, value_name = "NAME=JSON")]
    event: Vec<String>,
    /// Write this to the state store before a new instance starts; may be repeated
    #[arg(long, value_name = "KEY=JSON")]
    state: Vec<String>,
    #[command(flatten)]
    pub(super) db: Db,
}

/// What was read, built and checked before a data file was opened.
pub(super) struct Ready {
    pub(super) checked: Option<Checked>,
    pub(super) input: Option<Json>,
    pub(super) state: Vec<StateWrite>,
    pub(super) events: Vec<Event>,
}

/// What a start finds under its id.
pub(super) enum Found {
    /// Nobody, or somebody whose id it takes.
    Free,
    /// An instance that keeps its id.
    Kept {
        instance: Box<Instance>,
        /// The same call, by its key, has started it.
        repeated: bool,
    },
}

impl Start {
    pub(super) fn db(&self) -> &Db {
        &self.starting.db
    }

    pub(super) fn read(&mut self) -> Result<Vec<Upload>, Failure> {
        self.starting.read(false)
    }

    pub(super) async fn run(self, uploads: Vec<Upload>) -> Result<Exit, Failure> {
        let (host, ready) = self.starting.open(uploads, hosting::at_rest()).await?;
        let started = self.on(&host, ready).await;
        close(host, started).await
    }

    async fn on(&self, host: &Host, ready: Ready) -> Result<Exit, Failure> {
        let starting = &self.starting;
        let id = starting.choose_id(host, &ready)?;
        match starting.find(host, &id, ready.input.as_ref()).await? {
            Found::Kept { repeated: true, .. } => {
                deploy(host, ready.checked).await?;
                say(format_args!("the same call has started `{id}` before"));
            }
            Found::Kept { instance, .. } if !starting.uses(&instance) => {
                let status = instance.status();
                return Err(Error::IdInUse { id, status }.into());
            }
            found => {
                let used = matches!(found, Found::Kept { .. });
                let request = starting.prepare(host, ready, &id).await?;
                host.start(request).await?;
                let what = if used { "used as it runs" } else { "started" };
                say(format_args!("`{id}` is {what}"));
            }
        }
        let wait = starting.db.about("wait", &id);
        say(format_args!("{}: {wait}", next_step()));
        print(&if self.json {
            json!({ "id": id.as_str() }).to_string()
        } else {
            id.to_string()
        })?;
        Ok(Exit::Ok)
    }
}

impl Starting {
    /// Takes in the input and the modules.
    pub(super) fn read(&mut self, quiet: bool) -> Result<Vec<Upload>, Failure> {
        if let Some(input) = &mut self.input {
            args::read("--input", input)?;
        }
        self.parts()?;
        if self.paths.is_empty() && self.id.is_none() && self.workflow.is_none() {
            return Err(Failure::usage(
                "nothing to run: give a PATH to start a workflow, or --id to go on with an instance",
            ));
        }
        let uploads = self.paths.iter().map(|path| upload(path, quiet));
        Ok(uploads.collect::<Result<_, _>>()?)
    }

    fn parts(&self) -> Result<(Vec<StateWrite>, Vec<Event>), Failure> {
        let state = self.state.iter().map(|text| args::state_write(text));
        let events = self.event.iter().map(|text| args::event(text));
        Ok((
            state.collect::<Result<_, _>>()?,
            events.collect::<Result<_, _>>()?,
        ))
    }

    /// Finds all that can be wrong with the call before a data file is opened, and before one that
    /// is there is changed.
    pub(super) async fn open(
        &self,
        uploads: Vec<Upload>,
        options: Options,
    ) -> Result<(Opened, Ready), Failure> {
        let input = self.input.as_deref();
        let input = input.map(|text| args::json("--input", text)).transpose()?;
        let (state, events) = self.parts()?;
        let (host, checked) = if uploads.is_empty() {
            (self.db.open_with(options)?, None)
        } else {
            let (host, checked) = self.open_for(uploads, input.as_ref(), options).await?;
            (host, Some(checked))
        };
        let ready = Ready {
            checked,
            input,
            state,
            events,
        };
        Ok((host, ready))
    }

    async fn open_for(
        &self,
        uploads: Vec<Upload>,
        input: Option<&Json>,
        options: Options,
    ) -> Result<(Opened, Checked), Failure> {
        let checked = check(uploads, &options).await?;
        if !self.db.exists() {
            // It will be a new instance: a wrong call must not leave a new file behind.
            let workflow = self.choose(&workflows(&checked), &[])?;
            checked.check_input(&workflow, input.unwrap_or(&Json::null()))?;
        }
        Ok((self.db.open_for(&checked, options)?, checked))
    }

    /// The id of the instance that is started.
    pub(super) fn choose_id(&self, host: &Host, ready: &Ready) -> Result<InstanceId, Failure> {
        match (&self.id, &self.key) {
            (Some(id), _) => Ok(id.clone()),
            (None, Some(key)) => {
                let workflow = self.choose_of(host, ready)?;
                Ok(InstanceId::of_request(&workflow, key))
            }
            (None, None) => Ok(start::random_id()),
        }
    }

    /// What there is under an id.
    pub(super) async fn find(
        &self,
        host: &Host,
        id: &InstanceId,
        input: Option<&Json>,
    ) -> Result<Found, Failure> {
        if !host.has_instance(id).await? {
            return Ok(Found::Free);
        }
        let instance = Box::new(host.instance(id).await?);
        let asked = self.key.as_ref().and_then(|key| instance.asked(key));
        let same = |workflow: &String| workflow == instance.started().workflow.as_str();
        let same_input = |input: &Json| input.value() == instance.first_input().value();
        let repeated = asked == Some(Asked::Start)
            && self.workflow.as_ref().is_none_or(same)
            && input.is_none_or(same_input);
        if let (Some(key), Some(asked), false) = (&self.key, asked, repeated) {
            let (id, key, asked) = (id.clone(), key.clone(), asked.as_str());
            return Err(Error::KeyInUse { id, key, asked }.into());
        }
        let takes = self.reuse == Reuse::Terminate || self.reuse.takes(instance.status());
        Ok(if takes && !repeated {
            Found::Free
        } else {
            Found::Kept { instance, repeated }
        })
    }

    /// Whether an unfinished instance is used instead of a new one.
    pub(super) fn uses(&self, instance: &Instance) -> bool {
        self.reuse == Reuse::UseRunning && !instance.status().has_ended()
    }

    /// Deploys and writes what comes before a start, once it is known to be a good one.
    pub(super) async fn prepare(
        &self,
        host: &Host,
        ready: Ready,
        id: &InstanceId,
    ) -> Result<StartRequest, Failure> {
        let workflow = self.choose_of(host, &ready)?;
        let input = ready.input.unwrap_or_else(Json::null);
        if let Some(checked) = &ready.checked {
            // Refused now, nothing is deployed.
            checked.check_input(&workflow, &input)?;
        }
        deploy(host, ready.checked).await?;
        if !ready.state.is_empty() {
            // The state is written before the start, so a refusal must come before that.
            host.check_input(&workflow, &input).await?;
            let writes = ready.state.into_iter().map(Into::into);
            host.write_state(writes.collect()).await?;
        }
        let later = self.r#in.map(|wait| args::now().after(args::millis(wait)));
        Ok(StartRequest {
            id: Some(id.clone()),
            tags: self.tag.clone(),
            key: self.key.clone(),
            reuse: self.reuse,
            begins_at: self.at.or(later),
            events: ready.events,
            ..StartRequest::new(workflow, input)
        })
    }

    /// The flags that only a new instance heeds, as far as they were given.
    pub(super) fn for_a_new_one(&self) -> Vec<&'static str> {
        let flags = [
            ("--state", !self.state.is_empty()),
            ("--event", !self.event.is_empty()),
            ("--tag", !self.tag.is_empty()),
            ("--at", self.at.is_some()),
            ("--in", self.r#in.is_some()),
        ];
        let given = flags.into_iter().filter(|(_, given)| *given);
        given.map(|(flag, _)| flag).collect()
    }

    fn choose_of(&self, host: &Host, ready: &Ready) -> Result<Name, Failure> {
        match &ready.checked {
            Some(checked) => self.choose(&workflows(checked), &host.workflows()?),
            None => self.choose(&host.workflows()?, &[]),
        }
    }

    /// The workflow to start: the one that is named, of those `known`, or the only one `offered`.
    fn choose(&self, offered: &[Name], known: &[Name]) -> Result<Name, Failure> {
        if let Some(wanted) = &self.workflow {
            let mut names = offered.iter().chain(known);
            let found = names.find(|name| name.as_str() == wanted);
            return found.cloned().ok_or_else(|| {
                let known = offered.iter().chain(known).cloned().collect();
                let name = wanted.clone();
                Error::NoSuchWorkflow { name, known }.into()
            });
        }
        match offered {
            [only] => Ok(only.clone()),
            [] => Err(Failure::usage(
                "the modules have no workflow; give one that has",
            )),
            _ => {
                let names: Vec<_> = offered.iter().map(Name::as_str).collect();
                Err(Failure::usage(format!(
                    "which workflow? say --workflow with one of: {}",
                    names.join(", ")
                )))
            }
        }
    }
}

/// Deploys modules that were checked, if there are any.
pub(super) async fn deploy(host: &Host, checked: Option<Checked>) -> Result<(), Failure> {
    if let Some(checked) = checked {
        host.deploy_checked(checked).await?;
    }
    Ok(())
}

/// The workflows that modules offer.
fn workflows(checked: &Checked) -> Vec<Name> {
    let definitions = checked.modules().flat_map(|module| &module.workflows);
    definitions.map(|it| it.name.clone()).collect()
}
