//! The history of one instance as it grows, for somebody who is not in this process.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::Receiver;
use wfhost_core::record::Record;
use wfhost_core::{InstanceId, Position};

use crate::engine::Observed;
use crate::error::Error;
use crate::host::{Host, blocking};
use crate::narrate::{Narrator, Told};

/// Records of one instance, from the first that is kept on, once they are durable.
pub(crate) struct Followed {
    narrator: Narrator,
    told: VecDeque<(Told, Arc<Record>)>,
    /// What is told up to here was in the history.
    until: Position,
    seen: Receiver<Observed>,
}

impl Followed {
    /// # Errors
    /// If there is no such instance, or the data file failed.
    pub(crate) async fn new(host: &Arc<Host>, id: &InstanceId) -> Result<Self, Error> {
        // Before the history is read, and all that came before this is in there: nothing falls
        // between.
        let seen = host.observe_one(id);
        host.shown(()).await?;
        let (host, id) = (Arc::clone(host), id.clone());
        blocking(move || {
            let mut followed = Self {
                narrator: Narrator::default(),
                told: VecDeque::new(),
                until: Position::default(),
                seen,
            };
            host.history_with_positions(&id, |position, record| {
                followed.until = position;
                followed.take(Arc::new(record));
                Ok::<_, Error>(())
            })?;
            Ok(followed)
        })
        .await
    }

    /// The next record; `None` once the instance has ended, or if records came faster than they
    /// were asked for: then it is begun anew.
    pub(crate) async fn next(&mut self) -> Option<(Told, Arc<Record>)> {
        loop {
            if let Some(next) = self.told.pop_front() {
                return Some(next);
            }
            if self.has_ended() {
                return None;
            }
            let observed = self.seen.recv().await?;
            if observed.position > self.until {
                self.take(observed.record);
            }
        }
    }

    /// Whether the instance has ended, as far as it was followed.
    pub(crate) fn has_ended(&self) -> bool {
        let instance = self.narrator.instance();
        instance.is_some_and(|it| it.status().has_ended())
    }

    fn take(&mut self, record: Arc<Record>) {
        // Another run has taken the id.
        if matches!(record.as_ref(), Record::Started(started) if started.generation == 0) {
            self.narrator = Narrator::default();
        }
        if let Ok(told) = self.narrator.next(&record) {
            self.told.push_back((told, record));
        }
    }
}
