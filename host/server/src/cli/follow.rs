//! Instances as they go on: what happens on stderr, what comes of them on stdout.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use wfhost_core::record::Record;
use wfhost_core::{Instance, InstanceId, Status};

use super::terminal::Caller;
use super::wait::{Driving, Showing};
use super::{Db, Exit, Failure, find, print, say, text, why};
use crate::engine::Observed;
use crate::host::{Host, Settled};
use crate::narrate::{Narrator, Told};
use crate::view;

/// Shows instances, and those that they start.
pub(super) struct Show<'a> {
    host: &'a Host,
    db: &'a Db,
    showing: Showing,
    roots: Vec<InstanceId>,
    narrators: HashMap<InstanceId, Narrator>,
    /// Those that had ended before this began.
    had_ended: HashSet<InstanceId>,
    begun: Instant,
    seen: UnboundedReceiver<Observed>,
}

impl<'a> Show<'a> {
    /// Sees all that happens from here on.
    pub(super) fn new(driving: &Driving<'a>, roots: &[InstanceId]) -> Self {
        Self {
            host: driving.host,
            db: driving.db,
            showing: driving.showing,
            roots: roots.to_vec(),
            narrators: HashMap::new(),
            had_ended: HashSet::new(),
            begun: Instant::now(),
            seen: driving.host.observe(),
        }
    }

    /// Takes in what happened to an instance before.
    pub(super) async fn prime(&mut self, root: &InstanceId) -> Result<(), Failure> {
        let children = find::descendants(self.host, root).await?;
        let children = children.into_iter().map(|child| child.id);
        for id in std::iter::once(root.clone()).chain(children) {
            let mut narrator = Narrator::default();
            self.host.history(&id, |record| {
                narrator.next(&record)?;
                Ok::<_, Failure>(())
            })?;
            self.narrators.insert(id, narrator);
        }
        Ok(())
    }

    /// Goes on with an instance that is there.
    pub(super) async fn go_on(&mut self, id: &InstanceId) -> Result<(), Failure> {
        let instance = self.host.instance(id).await?;
        if instance.status().has_ended() {
            self.had_ended.insert(id.clone());
        } else {
            let turns = text::count(instance.turns(), "turn");
            self.line(format_args!("Going on with workflow {id} after {turns}"));
        }
        // A host that serves drives all. One that has ended too: its children may not have ended
        // with it yet.
        match Caller::get() {
            Some(_) => Ok(()),
            None => Ok(self.host.drive(id)?),
        }
    }

    /// Shows what happens until an instance rests, and the children that end with it have.
    pub(super) async fn follow(&mut self, id: &InstanceId) -> Result<Exit, Failure> {
        let instance = self.settled(id).await?;
        let had_ended = self.had_ended.contains(id);
        let took = (!had_ended).then(|| self.begun.elapsed());
        // Those of one that was terminated alone go on without it.
        if instance.status().has_ended() && instance.terminated() != Some(false) {
            self.children_of(id).await?;
        }
        self.end(&instance, took)
    }

    /// Shows what happens until an instance rests.
    async fn settled(&mut self, id: &InstanceId) -> Result<Instance, Failure> {
        let host = self.host;
        let mut settled = std::pin::pin!(host.wait(id));
        let Settled { instance } = loop {
            tokio::select! {
                biased;
                Some(observed) = self.seen.recv() => self.observed(&observed)?,
                settled = &mut settled => break settled?,
            }
        };
        // What led to its end became durable with it.
        while let Ok(observed) = self.seen.try_recv() {
            self.observed(&observed)?;
        }
        Ok(instance)
    }

    /// Waits for the children of an instance that has ended: they end with it, in their own time.
    async fn children_of(&mut self, id: &InstanceId) -> Result<(), Failure> {
        for child in find::descendants(self.host, id).await? {
            if child.status.has_ended() {
                continue;
            }
            let status = self.settled(&child.id).await?.status();
            if !status.has_ended() {
                say(format_args!(
                    "its child `{}` is {} and has not ended; see: {}",
                    child.id,
                    status.as_str(),
                    self.db.about("why", &child.id)
                ));
            }
        }
        Ok(())
    }

    fn observed(&mut self, observed: &Observed) -> Result<(), Failure> {
        let Observed { id, record, .. } = observed;
        if !self.narrators.contains_key(id) && !self.is_new_of_ours(id, record) {
            return Ok(());
        }
        let narrator = self.narrators.entry(id.clone()).or_default();
        let told = narrator.next(record)?;
        if self.showing.json {
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
            if let Some(at) = started.begins_at {
                self.line(format_args!("It begins at {at}"));
            }
        }
        for line in text::progress(record, &told) {
            self.line(format_args!("{line}"));
        }
        if matches!(&told, Told::Turn(past) if past.number == 1) && self.roots.contains(id) {
            self.line(format_args!(
                "Your workflow has started. Here is the status of the workflow: Running"
            ));
        }
        Ok(())
    }

    /// Whether this is the start of an instance that is shown, or of one that it started.
    fn is_new_of_ours(&self, id: &InstanceId, record: &Record) -> bool {
        let Record::Started(started) = record else {
            return false;
        };
        let parent = started.parent.as_ref();
        self.roots.contains(id) || parent.is_some_and(|it| self.narrators.contains_key(&it.id))
    }

    fn end(&self, instance: &Instance, took: Option<Duration>) -> Result<Exit, Failure> {
        let status = instance.status();
        let took = took.map_or_else(
            || " (it had ended before)".to_owned(),
            |took| format!(" ({} ms)", took.as_millis()),
        );
        let of = if self.roots.len() > 1 {
            format!("{}: ", instance.started().id)
        } else {
            String::new()
        };
        self.line(format_args!(
            "{of}Workflow Status: {}{took}",
            text::status(status)
        ));
        if self.showing.json {
            let mut row = view::instance(instance);
            row["record"] = serde_json::json!("instance");
            print(&row.to_string())?;
        } else if let Some(output) = instance.output() {
            print(output.as_str())?;
        }
        self.say_what_is_wrong(instance);
        Ok(match status {
            Status::Completed => Exit::Ok,
            Status::Stalled | Status::Suspended => Exit::Stalled,
            Status::Failed | Status::Cancelled | Status::Terminated => Exit::Failed,
            Status::Pending | Status::Running => Exit::Host,
        })
    }

    fn say_what_is_wrong(&self, instance: &Instance) {
        let id = &instance.started().id;
        if let Some(reason) = instance.stall() {
            let remedy = why::remedy(reason, self.db, id);
            say(format_args!("the instance `{id}` is stalled: {reason}"));
            say(format_args!("it is kept; {remedy}"));
        } else if let Some(suspension) = instance.suspended() {
            let reason = text::with_reason("suspended", &suspension.reason);
            let resume = self.db.about("resume", id);
            say(format_args!("the instance `{id}` is {reason}"));
            say(format_args!("it is kept; let it go on with: {resume}"));
        }
        if let Some(failure) = instance.failure() {
            say(format_args!("{}", text::failure(&failure)));
        }
    }

    fn line(&self, line: std::fmt::Arguments<'_>) {
        if !self.showing.quiet && !self.showing.json {
            say(line);
        }
    }
}
