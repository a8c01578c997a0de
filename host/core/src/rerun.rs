//! Reruns: a new instance that takes over the first turns of another and goes its own way from
//! there.

use crate::record::{Happening, Record, Rerun, Started};
use crate::{Digest, InstanceId, RunId, Timestamp};

/// What a rerun is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// Its id.
    pub id: InstanceId,
    /// Its run.
    pub run: RunId,
    /// Its seed, from the first turn on that it does not take over.
    pub seed: u64,
    /// Now.
    pub at: Timestamp,
}

/// The first record of a rerun that takes over `turns` turns of the generation that `original`
/// began. The copied records follow it.
///
/// It answers to no parent, and needs no request key.
#[must_use]
pub fn start(original: &Started, turns: u64, fresh: Fresh) -> Started {
    let mut reruns: Vec<_> = original.reruns.clone();
    reruns.retain(|before| before.turns < turns);
    let before = original.reruns.iter().find(|it| it.turns >= turns);
    let last = before.cloned().unwrap_or_else(|| Rerun {
        id: original.id.clone(),
        run: original.run,
        parent: original.parent.as_ref().map(|parent| parent.id.clone()),
        seed: original.seed,
        turns,
    });
    reruns.push(Rerun { turns, ..last });
    let mut carried = original.carried.clone();
    if let Some(carried) = &mut carried {
        // The copies tell of no suspension and of no resumption, and nobody has asked this one.
        carried.suspended = None;
        carried.keys.clear();
    }
    Started {
        id: fresh.id,
        run: fresh.run,
        seed: fresh.seed,
        parent: None,
        created_at: fresh.at,
        begins_at: None,
        key: None,
        carried,
        reruns,
        trace: None,
        ..original.clone()
    }
}

/// Has a rerun run on one module from its start on. Turns that its original was moved after may
/// still differ in payloads and options.
pub fn stay_on(copies: &mut [Record], module: Digest) {
    for record in copies {
        if let Record::Copied(copied) = record
            && let Record::Moved(moved) = &mut **copied
        {
            (moved.from, moved.to) = (module, module);
        }
    }
}

/// A record of the original as the rerun takes it over; `None` if it says only how the original
/// was run, or was stopped.
#[must_use]
pub fn copy(mut record: Record) -> Option<Record> {
    if let Record::Accepted(accepted) = &mut record {
        // It was not asked of the rerun.
        accepted.key = None;
    }
    let keeps = match &record {
        // What it moved to runs the rerun as well.
        Record::Turn(_) | Record::Attempt(_) | Record::Moved(_) => true,
        Record::Accepted(accepted) => match accepted.what {
            Happening::Suspended { .. } | Happening::Resumed => false,
            Happening::TimerFired { .. }
            | Happening::EventRaised(_)
            | Happening::TaskEnded { .. }
            | Happening::ChildFailed { .. }
            | Happening::CancelRequested { .. }
            | Happening::UpdateRequested { .. } => true,
        },
        // A rerun of a rerun: it is a copy already. It has no run of its own before.
        Record::Copied(copied) if matches!(**copied, Record::Reset(_)) => false,
        Record::Copied(_) => return Some(record),
        Record::Started(_)
        | Record::AttemptStarted(_)
        | Record::AttemptStopped(_)
        | Record::Stalled(_)
        | Record::Unstalled(_)
        | Record::Reset(_)
        | Record::Ended(_)
        | Record::StateWritten(_) => false,
    };
    keeps.then(|| Record::Copied(Box::new(record)))
}
