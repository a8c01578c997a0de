//! Replay on request: a history run again in the sandbox, without effects.

use std::sync::Arc;

use wfhost_core::record::StallReason;
use wfhost_core::{Digest, InstanceId};

use crate::engine::{Engine, Replay, Stray, now};
use crate::error::Error;
use crate::host::Upload;

/// What a replay showed.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// The module that ran.
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
    let (digest, module) = match on {
        None => {
            let digest = engine
                .store
                .look(id, |instance| instance.module())?
                .ok_or_else(none)?;
            let module = engine.module(digest);
            (
                digest,
                module.map_err(|message| Error::ModuleUnusable {
                    module: digest,
                    message,
                })?,
            )
        }
        Some(Upload { label, bytes }) => {
            let digest = Digest::of(&bytes);
            let prepared = engine.sandbox.prepare(&bytes, &label, now());
            let prepared = prepared.map_err(|source| Error::Rejected { label, source })?;
            let loaded = engine
                .sandbox
                .load(digest, prepared.component.as_deref().unwrap_or(&bytes));
            let message = |error| crate::error::chain(&error);
            (
                digest,
                loaded.map_err(|e| Error::ModuleUnusable {
                    module: digest,
                    message: message(e),
                })?,
            )
        }
    };
    let mut replay = Replay::new(engine, &module);
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
        module: digest,
        turns: replay.turns,
        stray,
    })
}
