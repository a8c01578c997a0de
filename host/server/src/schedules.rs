//! Schedules on a host: set, shown, and driven.
//!
//! What is due and what becomes of it is decided in [`wfhost_core::schedule`]. A firing starts its
//! instance first, and where the schedule stands is written when that start is durable. A host that
//! died between the two finds the instance of the firing by its id and starts no other.

mod drive;
mod round;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{MappedMutexGuard, MutexGuard, Notify};
use wfhost_core::schedule::{Paused, Schedule, ScheduleName, Standing};
use wfhost_core::{InstanceId, Position, Timestamp};

use crate::engine::Engine;
use crate::error::Error;
use crate::host::{Host, acknowledged, blocking};
use round::Round;

/// So many schedules a data file may have. All are held in memory.
const SCHEDULES_MAX: usize = 10_000;

/// A schedule, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Scheduled {
    /// What it does.
    pub schedule: Schedule,
    /// Where it stands.
    pub standing: Standing,
}

impl Scheduled {
    /// When it fires next; never if it is paused or at its end.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.schedule.next(&self.standing)
    }
}

/// A schedule in memory.
struct Entry {
    scheduled: Scheduled,
    /// When it fires next.
    next: Option<Timestamp>,
}

impl Entry {
    fn new(schedule: Schedule, standing: Standing) -> Self {
        let scheduled = Scheduled { schedule, standing };
        Self {
            next: scheduled.next(),
            scheduled,
        }
    }

    fn stand(&mut self, standing: Standing) {
        self.scheduled.standing = standing;
        self.next = self.scheduled.next();
    }
}

type Entries = BTreeMap<ScheduleName, Entry>;

/// The schedules of a host.
pub(crate) struct Schedules {
    engine: Arc<Engine>,
    payload_bytes_max: usize,
    /// Held while one is decided or changed, until that is durable. Absent until it is first read.
    entries: tokio::sync::Mutex<Option<Entries>>,
    /// Something has changed that may make one due earlier.
    changed: Arc<Notify>,
    /// Drives them, once all is driven.
    driving: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Schedules {
    pub(crate) fn new(engine: Arc<Engine>, payload_bytes_max: usize) -> Self {
        Self {
            engine,
            payload_bytes_max,
            entries: tokio::sync::Mutex::default(),
            changed: Arc::default(),
            driving: Mutex::default(),
        }
    }

    /// Drives them from here on.
    pub(crate) fn start(self: &Arc<Self>) {
        let mut driving = self.driving();
        if driving.is_none() {
            let drive = drive::drive(Arc::downgrade(self), Arc::clone(&self.changed));
            *driving = Some(tokio::spawn(drive));
        }
    }

    /// Drives them no more.
    pub(crate) fn stop(&self) {
        if let Some(driving) = self.driving().take() {
            driving.abort();
        }
    }

    /// The clock, or a schedule, may stand elsewhere.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    fn driving(&self) -> std::sync::MutexGuard<'_, Option<tokio::task::JoinHandle<()>>> {
        self.driving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn entries(&self) -> Result<MappedMutexGuard<'_, Entries>, Error> {
        let mut entries = self.entries.lock().await;
        if entries.is_none() {
            let store = Arc::clone(&self.engine.store);
            let rows = blocking(move || Ok(store.schedules()?)).await?.into_iter();
            let read = rows.map(|(schedule, standing)| {
                let name = schedule.name.clone();
                (name, Entry::new(schedule, standing))
            });
            *entries = Some(read.collect());
        }
        Ok(MutexGuard::map(entries, |entries| {
            entries.get_or_insert_default()
        }))
    }

    /// Decides what is due, if schedules are driven. Says whether anything was; it is durable then.
    pub(crate) async fn run_due(&self) -> Result<bool, Error> {
        if self.driving().is_none() {
            return Ok(false);
        }
        let mut entries = self.entries().await?;
        let now = self.engine.now();
        let mut changed = Vec::new();
        let mut position = Position::default();
        for (name, entry) in entries.iter() {
            let waits = entry.scheduled.standing.queued.is_some();
            if !waits && entry.next.is_none_or(|next| next > now) {
                continue;
            }
            let round = Round::new(self, &entry.scheduled, now);
            if let Some((standing, its)) = round.decide().await? {
                position = position.max(its);
                changed.push((name.clone(), standing));
            }
        }
        if changed.is_empty() {
            return Ok(false);
        }
        // What was started first, and all of it in one commit.
        acknowledged(self.engine.durable(position)).await?;
        self.stand(&mut entries, changed).await?;
        Ok(true)
    }

    /// Writes down where schedules stand, then shows it.
    async fn stand(
        &self,
        entries: &mut Entries,
        changed: Vec<(ScheduleName, Standing)>,
    ) -> Result<(), Error> {
        let store = Arc::clone(&self.engine.store);
        let write = move || store.put_standings(&changed).map(|()| changed);
        for (name, standing) in blocking(move || Ok(write()?)).await? {
            if let Some(entry) = entries.get_mut(&name) {
                entry.stand(standing);
            }
        }
        self.look_again();
        Ok(())
    }

    /// Changes where a schedule stands, if `change` does; shows it.
    async fn restand(
        &self,
        name: &ScheduleName,
        change: impl FnOnce(&mut Standing),
    ) -> Result<Scheduled, Error> {
        let mut entries = self.entries().await?;
        let mut standing = find(&entries, name)?.standing.clone();
        change(&mut standing);
        if standing != find(&entries, name)?.standing {
            let changed = vec![(name.clone(), standing)];
            self.stand(&mut entries, changed).await?;
        }
        self.as_it_stands(find(&entries, name)?)
    }

    async fn put(&self, schedule: Schedule) -> Result<(Scheduled, bool), Error> {
        let mut entries = self.entries().await?;
        let now = self.engine.now();
        let before = entries.get(&schedule.name).map(|entry| &entry.scheduled);
        if let Some(before) = before.filter(|before| before.schedule == schedule) {
            return Ok((self.as_it_stands(before)?, false));
        }
        schedule.check(now)?;
        let (standing, new) = match before {
            Some(before) => {
                let standing = schedule.stands_after(&before.schedule, &before.standing, now);
                (standing, false)
            }
            None if entries.len() >= SCHEDULES_MAX => {
                return Err(Error::TooManySchedules { max: SCHEDULES_MAX });
            }
            None => (Standing::new(now), true),
        };
        let store = Arc::clone(&self.engine.store);
        let entry = Entry::new(schedule, standing);
        let put = entry.scheduled.clone();
        blocking(move || Ok(store.put_schedule(&put.schedule, &put.standing)?)).await?;
        let put = self.as_it_stands(&entry.scheduled)?;
        entries.insert(put.schedule.name.clone(), entry);
        self.look_again();
        Ok((put, new))
    }

    async fn remove(&self, name: &ScheduleName) -> Result<(), Error> {
        let mut entries = self.entries().await?;
        find(&entries, name)?;
        let (store, removed) = (Arc::clone(&self.engine.store), name.clone());
        blocking(move || Ok(store.remove_schedule(&removed)?)).await?;
        entries.remove(name);
        Ok(())
    }

    async fn trigger(&self, name: &ScheduleName, key: Option<&str>) -> Result<InstanceId, Error> {
        let mut entries = self.entries().await?;
        let now = self.engine.now();
        let mut round = Round::new(self, find(&entries, name)?, now);
        let (id, position, standing) = round.trigger(key).await?;
        acknowledged(self.engine.durable(position)).await?;
        if let Some(standing) = standing {
            let changed = vec![(name.clone(), standing)];
            self.stand(&mut entries, changed).await?;
        }
        Ok(id)
    }

    /// A schedule with those of its instances that have not ended now.
    fn as_it_stands(&self, scheduled: &Scheduled) -> Result<Scheduled, Error> {
        let mut scheduled = scheduled.clone();
        round::forget_ended(&self.engine.store, &mut scheduled.standing)?;
        Ok(scheduled)
    }
}

fn find<'a>(entries: &'a Entries, name: &ScheduleName) -> Result<&'a Scheduled, Error> {
    let entry = entries.get(name).map(|entry| &entry.scheduled);
    entry.ok_or_else(|| Error::NoSuchSchedule { name: name.clone() })
}

/// Does something to its end even if whoever asked for it goes away: what is on disk and what is in
/// memory must not part.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::spawn(change).await;
    // It fails only if it panicked, which is a bug of the host and has been printed.
    done.map_err(|_| Error::Unknown)?
}

/// Schedules. They fire only on a host that drives all instances ([`Host::drive_all`]); any other
/// shows and changes them. What changes them is durable when it returns.
impl Host {
    /// All schedules, in the order of their names.
    ///
    /// # Errors
    /// If the data file failed.
    pub async fn schedules(&self) -> Result<Vec<Scheduled>, Error> {
        let entries = self.schedules.entries().await?;
        let all = entries.values().map(|it| &it.scheduled);
        let all = all.map(|it| self.schedules.as_it_stands(it));
        let all = all.collect::<Result<_, _>>()?;
        drop(entries);
        self.shown(all).await
    }

    /// One schedule.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn schedule(&self, name: &ScheduleName) -> Result<Scheduled, Error> {
        let entries = self.schedules.entries().await?;
        let scheduled = self.schedules.as_it_stands(find(&entries, name)?)?;
        drop(entries);
        self.shown(scheduled).await
    }

    /// Sets a schedule: a new one, or another in place of the one of that name, which keeps what it
    /// has fired, whether it is paused, and the firing that waits. Where its times or its end
    /// change, they count from now. Says also whether it is new.
    ///
    /// # Errors
    /// If it would never fire, no module offers its workflow, its code refuses the input, or there
    /// are too many.
    pub async fn put_schedule(&self, schedule: Schedule) -> Result<(Scheduled, bool), Error> {
        schedule.check(self.now())?;
        self.check_input(&schedule.workflow, &schedule.input)
            .await?;
        let schedules = Arc::clone(&self.schedules);
        to_its_end(async move { schedules.put(schedule).await }).await
    }

    /// Has a schedule fire no more until it is resumed. What would have fired meanwhile is not made
    /// up. Pausing it again changes the note.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn pause_schedule(
        &self,
        name: &ScheduleName,
        note: Option<String>,
    ) -> Result<Scheduled, Error> {
        let at = self.now();
        let pause = move |standing: &mut Standing| {
            let same = standing.paused.as_ref().is_some_and(|it| it.note == note);
            if !same {
                standing.paused = Some(Paused { at, note });
            }
        };
        let (schedules, name) = (Arc::clone(&self.schedules), name.clone());
        to_its_end(async move { schedules.restand(&name, pause).await }).await
    }

    /// Has a paused schedule fire again, from now on.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn resume_schedule(&self, name: &ScheduleName) -> Result<Scheduled, Error> {
        let now = self.now();
        let resume = move |standing: &mut Standing| {
            if standing.paused.take().is_some() {
                standing.decided_until = standing.decided_until.max(now);
            }
        };
        let (schedules, name) = (Arc::clone(&self.schedules), name.clone());
        to_its_end(async move { schedules.restand(&name, resume).await }).await
    }

    /// Starts an instance of a schedule now, whatever runs, and also while it is paused. With a key
    /// it is done once, however often it is asked.
    ///
    /// # Errors
    /// If there is none of that name, or its instance cannot be started.
    pub async fn trigger_schedule(
        &self,
        name: &ScheduleName,
        key: Option<String>,
    ) -> Result<InstanceId, Error> {
        let (schedules, name) = (Arc::clone(&self.schedules), name.clone());
        let triggered = to_its_end(async move { schedules.trigger(&name, key.as_deref()).await });
        self.told(triggered.await).await
    }

    /// Removes a schedule. What it has started goes on.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn delete_schedule(&self, name: &ScheduleName) -> Result<(), Error> {
        let (schedules, name) = (Arc::clone(&self.schedules), name.clone());
        to_its_end(async move { schedules.remove(&name).await }).await
    }

    /// The next times at which a schedule that is not paused would fire, from now on.
    #[must_use]
    pub fn upcoming(&self, schedule: &Schedule, count: usize) -> Vec<Timestamp> {
        schedule.upcoming(self.now(), count)
    }
}
