//! Replay: a history run again in the sandbox, to bring a guest up or to see whether it is the same.

use std::sync::Arc;

use wfhost_core::record::{Record, StallReason};
use wfhost_core::replay::Playback;
use wfhost_core::{Digest, Instance, InstanceId, ModuleInfo};
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
    let mut replay = Replay::new(engine, on, 0);
    let stray = match engine
        .store
        .for_each_record(id, 0, |_, record| replay.next(&record))
    {
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
    /// Generations before this one are not run: nothing of their guests is left.
    from_generation: u32,
    playback: Playback,
    pub(crate) guest: Option<Guest>,
    /// How many turns were the same.
    turns: u64,
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
    pub(crate) fn new(engine: &'a Engine, on: Option<Module>, from_generation: u32) -> Self {
        let playback = Playback::default();
        Self {
            engine,
            on,
            from_generation,
            playback,
            guest: None,
            turns: 0,
        }
    }

    pub(crate) fn next(&mut self, record: &Record) -> Result<(), Stray> {
        if let Record::Started(started) = record
            && started.generation >= self.from_generation
        {
            let module = match &self.on {
                Some(module) => module.clone(),
                None => self.engine.module(started.module).map_err(Stray::Broken)?,
            };
            let guest = self.engine.guest(&module, started);
            self.guest = Some(guest.map_err(|error| Stray::Broken(crate::error::chain(&error)))?);
        }
        let past = self.playback.next(record);
        let past = past.map_err(|error| Stray::Broken(error.to_string()))?;
        if let (Some(past), Some(guest)) = (past, &mut self.guest) {
            guest.replay(past).map_err(Stray::Replay)?;
            self.turns += 1;
        }
        Ok(())
    }
}
