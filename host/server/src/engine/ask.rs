//! What somebody outside asks of a running workflow: queries, and updates that it answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use wfhost_core::decide::{self, Refused};
use wfhost_core::record::{Asked, Command, Record, Step};
use wfhost_core::{Failure, InstanceId, Json, Name, Position, kind};
use wfhost_sandbox::Guest;
use wfhost_store::SubmitError;

use super::Engine;
use super::gate::Lost;
use super::lock;
use crate::error::Error;
use crate::replay::{Course, Replay};

/// What a workflow said to an update.
pub(crate) type Answer = Result<Json, Failure>;

type Waiter = oneshot::Sender<Result<Answer, Lost>>;

/// Who waits for the answer to which update.
#[derive(Default)]
pub(super) struct Answers {
    waiting: Mutex<HashMap<InstanceId, Vec<(u32, Waiter)>>>,
}

impl Answers {
    fn wait(&self, id: &InstanceId, update: u32) -> oneshot::Receiver<Result<Answer, Lost>> {
        let (tell, told) = oneshot::channel();
        self.put_back(id, update, tell);
        told
    }

    fn put_back(&self, id: &InstanceId, update: u32, waiter: Waiter) {
        let mut waiting = lock(&self.waiting);
        let theirs = waiting.entry(id.clone()).or_default();
        // Those who gave up are forgotten.
        theirs.retain(|(_, waiter)| !waiter.is_closed());
        theirs.push((update, waiter));
    }

    /// Those who wait for one of these updates; all who wait for the instance if none is named.
    fn take(&self, id: &InstanceId, updates: Option<&[u32]>) -> Vec<(u32, Waiter)> {
        let mut waiting = lock(&self.waiting);
        let Some(theirs) = waiting.get_mut(id) else {
            return Vec::new();
        };
        let wanted = |(update, _): &(u32, Waiter)| updates.is_none_or(|it| it.contains(update));
        let (told, rest): (Vec<_>, Vec<_>) = std::mem::take(theirs).into_iter().partition(wanted);
        if rest.is_empty() {
            waiting.remove(id);
        } else {
            *theirs = rest;
        }
        told
    }

    /// Nobody will be answered.
    pub(super) fn lose(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for (_, waiter) in waiting.into_values().flatten() {
            // Nobody may wait any more.
            let _ = waiter.send(Err(Lost));
        }
    }
}

impl Engine {
    /// Asks a copy of the workflow about its state, as it is submitted now.
    pub(crate) fn query(
        self: &Arc<Self>,
        id: &InstanceId,
        name: &Name,
        input: &Json,
    ) -> Result<(Answer, Position), Error> {
        let (mut copy, seen) = self.copy(id)?;
        Ok((copy.query(name, input), seen))
    }

    /// Asks a copy of the workflow whether it would take an update.
    pub(crate) fn validate(
        self: &Arc<Self>,
        id: &InstanceId,
        name: &Name,
        input: &Json,
    ) -> Result<(Result<(), Failure>, Position), Error> {
        let (mut copy, seen) = self.copy(id)?;
        Ok((copy.validate(name, input), seen))
    }

    /// Asks for an update. The answer comes once it is durable.
    pub(crate) fn update(
        self: &Arc<Self>,
        id: &InstanceId,
        name: Name,
        input: Json,
        key: Option<String>,
    ) -> Result<oneshot::Receiver<Result<Answer, Lost>>, SubmitError> {
        let mut update = 0;
        let asked = self.tell_instance(id, |instance| {
            update = instance.updates() + 1;
            decide::request_update(instance, name, input, key, self.now())
        });
        match asked {
            Ok(_) => {}
            Err(SubmitError::Refused(Refused::Repeated(Asked::Update(before)))) => update = before,
            Err(error) => return Err(error),
        }
        let told = self.answers.wait(id, update);
        // After the waiter is known: an answer that came before is in the history.
        let open = self.store.look(id, |it| {
            it.open_updates().contains(&update) && !it.status().has_ended()
        })?;
        if open != Some(true) {
            let answer = self.past_answer(id, update)?;
            let position = self.store.submitted();
            for (_, waiter) in self.answers.take(id, Some(&[update])) {
                self.tell_answer(position, waiter, answer.clone());
            }
            self.store.demand(position);
        }
        Ok(told)
    }

    /// Tells those who wait what these records answer.
    pub(super) fn answer(self: &Arc<Self>, id: &InstanceId, records: &[Arc<Record>]) {
        if lock(&self.answers.waiting).is_empty() {
            return;
        }
        let position = self.store.submitted();
        for record in records {
            let Record::Turn(turn) = record.as_ref() else {
                continue;
            };
            for command in &turn.commands {
                if let Command::AnswerUpdate {
                    id: update,
                    outcome,
                } = command
                {
                    for (_, waiter) in self.answers.take(id, Some(&[*update])) {
                        self.tell_answer(position, waiter, outcome.clone());
                    }
                }
            }
        }
        let left = records.iter().any(|record| match record.as_ref() {
            Record::Turn(turn) => turn.step != Step::Waiting,
            Record::Ended(_) => true,
            _ => false,
        });
        if left {
            // Those that no turn has taken move along with the next generation.
            let open = self.store.look(id, |it| it.open_updates().clone());
            let open = open.ok().flatten().unwrap_or_default();
            for (update, waiter) in self.answers.take(id, None) {
                if open.contains(&update) {
                    self.answers.put_back(id, update, waiter);
                } else {
                    self.tell_answer(position, waiter, Err(ended_unanswered()));
                }
            }
        }
        self.store.demand(position);
    }

    fn tell_answer(&self, position: Position, waiter: Waiter, answer: Answer) {
        self.gate.when_durable(position, move |durable| {
            // Nobody may wait any more.
            let _ = waiter.send(durable.map(|()| answer));
        });
    }

    /// The answer that the history holds.
    fn past_answer(&self, id: &InstanceId, update: u32) -> Result<Answer, wfhost_store::Error> {
        let mut answer = Err(ended_unanswered());
        self.store.for_each_record(id, 0, |_, record| {
            let record = match record {
                Record::Copied(record) => *record,
                record => record,
            };
            if let Record::Turn(turn) = record {
                for command in turn.commands {
                    match command {
                        Command::AnswerUpdate { id, outcome } if id == update => answer = outcome,
                        _ => {}
                    }
                }
            }
            Ok::<(), wfhost_store::Error>(())
        })?;
        Ok(answer)
    }

    /// A guest that is brought up to where the instance stands, and takes no turn.
    fn copy(self: &Arc<Self>, id: &InstanceId) -> Result<(Guest, Position), Error> {
        let none = || Error::NoSuchInstance { id: id.clone() };
        let seen = self.store.look_at(id, |instance, position| {
            let (course, from) = (Course::of(instance), instance.generation_from());
            (course, from, instance.fresh(), position)
        })?;
        let (course, from, fresh, position) = seen.ok_or_else(none)?;
        let module = course.module;
        if fresh {
            return Err(Error::NotBegun { id: id.clone() });
        }
        let unusable = |message| Error::ModuleUnusable { module, message };
        let loaded = self.module(module).map_err(unusable)?;
        let mut replay = Replay::new(self, loaded, course);
        let walked = self.store.for_each_record(id, from, |at, record| {
            // What came later is not what was seen.
            if at > position {
                return Ok(());
            }
            replay.next(&record)
        });
        match walked {
            Ok(true) => {
                let guest = replay.guest.ok_or_else(none)?;
                Ok((guest, position))
            }
            Ok(false) => Err(none()),
            Err(stray) => Err(Error::CannotAsk {
                id: id.clone(),
                why: stray.reason().to_string(),
            }),
        }
    }
}

fn ended_unanswered() -> Failure {
    Failure::last(
        kind::ENDED,
        "the instance ended, or continued as new, before it answered",
    )
}
