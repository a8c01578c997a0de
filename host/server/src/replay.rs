//! Replay: a history run again in the sandbox, to bring a guest up or to see whether it is the same.

use std::sync::Arc;

use wfhost_core::comparison::{Comparison, InputChange};
use wfhost_core::record::{Record, StallReason, Started};
use wfhost_core::replay::Playback;
use wfhost_core::{Digest, Instance, InstanceId, ModuleInfo, Position};
use wfhost_sandbox::{Guest, Module, ReplayError};

use crate::engine::{Clock, Engine};
use crate::error::Error;
use crate::host::Upload;

/// What a replay showed.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The module that ran last.
    pub module: Digest,
    /// How many turns were the same.
    pub turns: u64,
    /// Where it did not go on as the history says, if it did not.
    pub stray: Option<StallReason>,
}

pub(crate) fn replay(
    engine: &Arc<Engine>,
    id: &InstanceId,
    on: Option<Upload>,
) -> Result<Replayed, Error> {
    let none = || Error::NoSuchInstance { id: id.clone() };
    let on = on.map(|upload| load(engine, upload)).transpose()?;
    let seen = |it: &Instance| (it.module(), it.started().workflow.clone());
    let (own, workflow) = engine.store.look(id, seen)?.ok_or_else(none)?;
    let module = match &on {
        Some((module, info)) => {
            let known: Vec<_> = info.workflows.iter().map(|it| it.name.clone()).collect();
            if !known.contains(&workflow) {
                return Err(Error::NoSuchWorkflow {
                    name: workflow.to_string(),
                    known,
                });
            }
            module.digest()
        }
        None => {
            // A module that cannot run says nothing about the history.
            let unusable = |message| Error::ModuleUnusable {
                module: own,
                message,
            };
            engine.module(own).map_err(unusable)?;
            own
        }
    };
    let on = on.map(|(module, _)| module);
    let (mut courses, seen) = courses(engine, id)?.ok_or_else(none)?;
    if on.is_none() {
        // Of an earlier generation the module may have gone: nothing needs it any more.
        let there = |module| engine.store.module(module).map(|info| info.is_some());
        let mut kept = Vec::new();
        for course in courses {
            if course.module == own || there(course.module)? {
                kept.push(course);
            }
        }
        courses = kept;
    }
    let mut replay = Replay::of(engine, on, courses);
    let stray = match engine.store.for_each_record(id, 0, |at, record| {
        // What came later may have gone another way.
        if at > seen {
            return Ok(());
        }
        replay.next(&record)
    }) {
        Ok(true) => None,
        Ok(false) => return Err(none()),
        Err(Stray::Store(error)) => return Err(error.into()),
        Err(stray) => Some(stray.reason()),
    };
    Ok(Replayed {
        module,
        turns: replay.turns,
        stray,
    })
}

/// How a generation was run, as far as that is known: only at its end it is known which module is
/// to take its turns again, and how closely.
pub(crate) struct Course {
    pub(crate) generation: u32,
    /// The module that ran it last.
    pub(crate) module: Digest,
    /// Turns up to this number, from 1 over all generations, were taken by others.
    pub(crate) moved_after: u64,
}

impl Course {
    /// That of the current generation.
    pub(crate) fn of(instance: &Instance) -> Self {
        Self {
            generation: instance.started().generation,
            module: instance.module(),
            moved_after: instance.moved_after(),
        }
    }
}

/// How each generation that is kept was run, up to a position, if there is such an instance.
fn courses(
    engine: &Engine,
    id: &InstanceId,
) -> Result<Option<(Vec<Course>, Position)>, wfhost_store::Error> {
    let Some(seen) = engine.store.look_at(id, |_, position| position)? else {
        return Ok(None);
    };
    let (mut courses, mut turns) = (Vec::new(), 0);
    let found = engine.store.for_each_record(id, 0, |at, record| {
        match record.original() {
            _ if at > seen => {}
            Record::Started(started) => {
                turns = started.carried.as_ref().map_or(0, |it| it.turns);
                courses.push(Course {
                    generation: started.generation,
                    module: started.module,
                    moved_after: 0,
                });
            }
            Record::Turn(_) => turns += 1,
            Record::Moved(moved) => {
                if let Some(course) = courses.last_mut() {
                    (course.module, course.moved_after) = (moved.to, turns);
                }
            }
            _ => {}
        }
        Ok::<(), wfhost_store::Error>(())
    })?;
    Ok(found.then_some((courses, seen)))
}

/// A module that is not deployed.
fn load(engine: &Engine, Upload { label, bytes }: Upload) -> Result<(Module, ModuleInfo), Error> {
    let module = Digest::of(&bytes);
    let prepared = engine.sandbox.prepare(&bytes, &label, Clock::wall().now());
    let prepared = prepared.map_err(|source| Error::Rejected { label, source })?;
    let component = prepared.component.as_deref().unwrap_or(&bytes);
    let loaded = engine.sandbox.load(module, component);
    let unusable = |error| Error::ModuleUnusable {
        module,
        message: crate::error::chain(&error),
    };
    Ok((loaded.map_err(unusable)?, prepared.info))
}

/// Brings a guest up along a history.
pub(crate) struct Replay<'a> {
    engine: &'a Engine,
    /// What runs in place of the modules that the history names.
    on: Option<Module>,
    /// The generations that are run, in their order. Of those before nothing is left in a guest.
    courses: Vec<Course>,
    /// Up to this turn payloads and options may differ.
    lenient_to: u64,
    playback: Playback,
    pub(crate) guest: Option<Guest>,
    /// How many turns were the same.
    pub(crate) turns: u64,
    /// The first place where a payload or options differ.
    pub(crate) change: Option<Box<InputChange>>,
}

/// A history that a module does not follow.
pub(crate) enum Stray {
    Store(wfhost_store::Error),
    Broken(String),
    Replay(ReplayError),
}

impl From<wfhost_store::Error> for Stray {
    fn from(error: wfhost_store::Error) -> Self {
        Self::Store(error)
    }
}

impl Stray {
    pub(crate) fn reason(self) -> StallReason {
        match self {
            Self::Store(error) => StallReason::ModuleUnusable {
                message: error.to_string(),
            },
            Self::Broken(message) => StallReason::ModuleUnusable { message },
            Self::Replay(ReplayError::Diverged(divergence)) => StallReason::Divergence {
                message: divergence.to_string(),
            },
            Self::Replay(ReplayError::Limit { message }) => StallReason::Limit { message },
            Self::Replay(spent @ ReplayError::Spent) => StallReason::ModuleUnusable {
                message: spent.to_string(),
            },
        }
    }
}

impl<'a> Replay<'a> {
    /// Of one generation on a module, to go on from there.
    pub(crate) fn new(engine: &'a Engine, on: Module, course: Course) -> Self {
        Self::of(engine, Some(on), vec![course])
    }

    /// Of the generations with a course.
    pub(crate) fn of(engine: &'a Engine, on: Option<Module>, courses: Vec<Course>) -> Self {
        Self {
            engine,
            on,
            courses,
            lenient_to: 0,
            playback: Playback::default(),
            guest: None,
            turns: 0,
            change: None,
        }
    }

    pub(crate) fn next(&mut self, record: &Record) -> Result<(), Stray> {
        if let Record::Started(started) = record {
            self.begin(started)?;
        }
        let past = self.playback.next(record);
        let past = past.map_err(|error| Stray::Broken(error.to_string()))?;
        if let (Some(past), Some(guest)) = (past, &mut self.guest) {
            let comparison = if past.number <= self.lenient_to {
                Comparison::Lenient
            } else {
                Comparison::Exact
            };
            let change = guest.replay_as(past, comparison).map_err(Stray::Replay)?;
            self.change = self.change.take().or(change);
            self.turns += 1;
        }
        Ok(())
    }

    fn begin(&mut self, started: &Started) -> Result<(), Stray> {
        let mut courses = self.courses.iter();
        let Some(course) = courses.find(|it| it.generation == started.generation) else {
            self.guest = None;
            return Ok(());
        };
        let module = match &self.on {
            Some(module) => module.clone(),
            None => self.engine.module(course.module).map_err(Stray::Broken)?,
        };
        self.lenient_to = course.moved_after;
        let guest = self.engine.guest(&module, started);
        self.guest = Some(guest.map_err(|error| Stray::Broken(crate::error::chain(&error)))?);
        Ok(())
    }
}
