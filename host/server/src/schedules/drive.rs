//! Waits for the next firing by the host's clock, and for the ends that queued firings wait for.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use wfhost_core::InstanceId;
use wfhost_store::Store;

use super::Schedules;
use super::round::has_ended;
use crate::engine::Observed;
use crate::error::Error;

/// The longest sleep before a firing. The wall clock may be set, and a sleep does not notice.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The longest sleep where nothing is to fire.
const IDLE: Duration = Duration::from_secs(3_600);

/// Decides what is due, as it becomes due, for as long as there are the schedules.
pub(super) async fn drive(schedules: Weak<Schedules>, changed: Arc<Notify>) {
    let mut watched = Watched::default();
    loop {
        let Some(here) = schedules.upgrade() else {
            return;
        };
        let sleep = match here.round(&mut watched).await {
            Ok(sleep) => sleep,
            Err(_) => {
                // Nobody else would know that they stand still.
                if !here.engine.stopping() {
                    here.engine.lose();
                }
                return;
            }
        };
        // Not held while this sleeps: whoever closes the host lets it go.
        drop(here);
        tokio::select! {
            () = changed.notified() => {}
            () = watched.next_end() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl Schedules {
    /// Decides what is due now. Says how long nothing will be.
    async fn round(&self, watched: &mut Watched) -> Result<Duration, Error> {
        while self.run_due().await? {}
        let entries = self.entries().await?;
        let waiting = entries.values().map(|entry| &entry.scheduled.standing);
        let waiting = waiting.filter(|standing| standing.queued.is_some());
        for id in waiting.flat_map(|standing| standing.running.first()) {
            watched.watch(self, id);
        }
        let next = entries.values().filter_map(|entry| entry.next).min();
        Ok(next.map_or(IDLE, |next| {
            // One more, so that the millisecond has passed when the sleep ends.
            let wait = next.since(self.engine.now()).saturating_add(1);
            Duration::from_millis(wait).min(SLEEP_MAX)
        }))
    }
}

/// Instances for whose end a firing waits. Dropped, nobody is watched any more.
#[derive(Default)]
struct Watched {
    ids: BTreeSet<InstanceId>,
    tasks: JoinSet<InstanceId>,
}

impl Watched {
    fn watch(&mut self, schedules: &Schedules, id: &InstanceId) {
        if self.ids.insert(id.clone()) {
            let told = schedules.engine.observe_one(id);
            let store = Arc::downgrade(&schedules.engine.store);
            self.tasks.spawn(until_ended(told, store, id.clone()));
        }
    }

    /// Resolves when one of them has ended, if there are any.
    async fn next_end(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(id)) => {
                self.ids.remove(&id);
            }
            // It panicked, which has been printed: all are watched anew.
            Some(Err(_)) => self.ids.clear(),
            None => std::future::pending().await,
        }
    }
}

async fn until_ended(
    mut told: mpsc::Receiver<Observed>,
    store: Weak<Store>,
    id: InstanceId,
) -> InstanceId {
    loop {
        let ended = match store.upgrade() {
            // What cannot be read is found by who looks next.
            Some(store) => has_ended(&store, &id).unwrap_or(true),
            None => true,
        };
        // Who falls behind is told no more, and looks anew.
        if ended || told.recv().await.is_none() {
            return id;
        }
    }
}
