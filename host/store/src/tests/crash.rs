//! The power fails at every single write and sync of a scripted run.

use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::*;
use crate::open::{create_on, open_on};
use crate::tests::deploying::module;

/// A disk that loses power after so many steps, and then holds of what was not synced only what it
/// likes.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
pub(super) struct Platter {
    /// What was synced.
    synced: Vec<u8>,
    /// What readers see.
    seen: Vec<u8>,
    unsynced: Vec<Step>,
    pub(super) steps_left: Option<u64>,
    /// Whether it is for want of room that no more steps are taken.
    full: bool,
    pub(super) steps: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Step {
    fn carry_out(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(at, data) => {
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

/// What becomes of the steps that were not synced.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unsynced {
    Lost,
    Kept,
    /// Each is lost, kept or cut in half, by a coin with this seed.
    Some(u64),
}

impl Platter {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) if self.full => return Err(io::ErrorKind::StorageFull.into()),
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.steps += 1;
        Ok(())
    }

    pub(super) fn after_power_loss(&self, unsynced: Unsynced) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let mut coin = match unsynced {
            Unsynced::Lost => return bytes,
            Unsynced::Kept => 0,
            Unsynced::Some(seed) => seed * 2 + 1,
        };
        for step in &self.unsynced {
            // Xorshift; 0 stays 0 and keeps everything.
            coin ^= coin << 13;
            coin ^= coin >> 7;
            coin ^= coin << 17;
            match (coin % 4, step) {
                (1, _) => {}
                (2, Step::Write(at, data)) => {
                    Step::Write(*at, data[..data.len() / 2].to_vec()).carry_out(&mut bytes);
                }
                (_, step) => step.carry_out(&mut bytes),
            }
        }
        bytes
    }
}

impl Disk {
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            synced: bytes.clone(),
            seen: bytes,
            ..Platter::default()
        })))
    }

    pub(super) fn platter(&self) -> std::sync::MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        let at = offset as usize;
        let found = platter.seen.get(at..at + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        let step = Step::Length(length as usize);
        step.carry_out(&mut platter.seen);
        platter.unsynced.push(step);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        platter.synced = platter.seen.clone();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.step()?;
        let step = Step::Write(offset as usize, data.to_vec());
        step.carry_out(&mut platter.seen);
        platter.unsynced.push(step);
        Ok(())
    }
}

/// What a caller knows of a run: what it submitted, and what it was told is durable.
#[derive(Default)]
struct Witness {
    submitted: BTreeMap<Position, Record>,
    told: Position,
    deployed: Vec<Digest>,
    deploying: Vec<Digest>,
}

impl Witness {
    fn note(&mut self, submitted: Submitted) {
        let first = submitted.position.0 + 1 - submitted.records.len() as u64;
        for (at, record) in (first..).zip(submitted.records) {
            self.submitted.insert(Position(at), record.as_ref().clone());
        }
    }

    fn wait(&mut self, store: &Store) -> Result<(), SubmitError> {
        let position = store.submitted();
        store.wait_durable(position)?;
        self.told = self.told.max(position);
        Ok(())
    }

    fn deploy(&mut self, store: &Store, label: &str) -> Result<(), SubmitError> {
        let module = module(label, "Order");
        let digest = module.info.digest;
        self.deploying.push(digest);
        store.deploy(vec![module], None, None, Timestamp(1))?;
        self.deployed.push(digest);
        Ok(())
    }
}

/// A bit of everything, until the power fails.
fn run(store: &Store, witness: &mut Witness) -> Result<(), SubmitError> {
    witness.deploy(store, "one")?;
    for round in 0..3 {
        for name in ["a", "b"] {
            let id = id(&format!("{name}{round}"));
            witness.note(start(store, started(id.as_str()))?);
            let asked = turn(vec![call(1), call(2)], vec![], super::Step::Waiting);
            witness.note(submit(store, &id, asked)?);
            let writes = vec![set("stock", &round.to_string()), set(id.as_str(), "1")];
            witness.note(submit(store, &id, attempt(1, writes))?);
            // Each in rows of the log of its own, so that one is gathered without the other.
            witness.wait(store)?;
            let payload = large(name, 70_000);
            witness.note(submit(store, &id, event("Approval", payload))?);
        }
        witness.wait(store)?;
        let id = id(&format!("a{round}"));
        let gone = delete(&format!("b{round}"));
        witness.note(submit(store, &id, attempt(2, vec![gone]))?);
        let writes = vec![set("outside", &round.to_string())];
        let record = Record::StateWritten(wfhost_core::record::StateWritten {
            at: Timestamp(5),
            writes: writes.clone(),
        });
        let position = store.write_state(writes, Timestamp(5))?;
        witness.submitted.insert(position, record);
        if round == 1 {
            witness.wait(store)?;
            witness.deploy(store, "two")?;
        }
        let done = turn(vec![], vec![], super::Step::Completed(json("1")));
        witness.note(submit(store, &id, done)?);
    }
    witness.wait(store)?;
    store.close()?;
    witness.told = store.submitted();
    Ok(())
}

/// Runs on a new disk whose power fails after so many steps. `None`: never.
fn run_until(steps: Option<u64>, options: &Options) -> (Disk, Witness) {
    let disk = Disk::default();
    let opening = create_on("disk".into(), Box::new(disk.clone()), options.clone()).unwrap();
    let store = opening.start().unwrap();
    {
        let mut platter = disk.platter();
        platter.steps = 0;
        platter.steps_left = steps;
    }
    let mut witness = Witness::default();
    let ended = run(&store, &mut witness);
    // The last steps of closing only mark the file as closed, so the run may end well anyhow.
    assert!(ended.is_ok() || steps.is_some(), "{ended:?}");
    drop(store);
    (disk, witness)
}

/// What must hold whatever a crash has left.
fn check(bytes: Vec<u8>, witness: &Witness, options: &Options) {
    let disk = Disk::holding(bytes);
    let open = || open_on("disk".into(), Box::new(disk.clone()), options.clone()).unwrap();
    let store = open();
    let last = store.submitted();
    assert!(witness.told <= last, "what was told is there");
    assert_eq!(store.durable(), last);
    let found = all_records(&store);
    let prefix = witness.submitted.iter().take_while(|(at, _)| **at <= last);
    let prefix: BTreeMap<_, _> = prefix.map(|(at, record)| (*at, record.clone())).collect();
    let mut kept = prefix.clone();
    // Nobody needs these when the state shows what they wrote.
    kept.retain(|at, record| found.contains_key(at) || !matches!(record, Record::StateWritten(_)));
    assert_eq!(
        found, kept,
        "the records are a prefix of what was submitted"
    );
    assert_eq!(
        state(&store),
        state_after(&prefix),
        "the state is that of the records"
    );
    super::audit::audit(&store);
    let bound = store
        .bindings()
        .unwrap()
        .into_iter()
        .map(|binding| binding.2.module);
    for digest in bound {
        assert!(witness.deploying.contains(&digest));
        assert!(store.component(digest).unwrap().is_some());
    }
    for digest in &witness.deployed {
        assert!(
            store.module(*digest).unwrap().is_some(),
            "what was deployed is there"
        );
    }
    let next = start(&store, started("next")).unwrap();
    assert_eq!(next.position, last.next());
    store.close().unwrap();
    let store = open();
    assert_eq!(store.submitted(), last.next());
    assert!(found.len() <= all_records(&store).len() + prefix.len() - kept.len() + 1);
    assert_eq!(state(&store), state_after(&prefix));
    super::audit::audit(&store);
}

#[test]
fn whatever_is_left_after_a_crash_is_a_prefix_with_all_that_was_told() {
    for (quick_repair_bytes, gather_bytes, gather_records_min) in [
        (u64::MAX, 300_000, 200),
        (0, 300_000, 200),
        (u64::MAX, 1, 1),
    ] {
        let options = Options {
            gather_bytes,
            gather_records_min,
            quick_repair_bytes,
            ..options()
        };
        let (disk, witness) = run_until(None, &options);
        let steps = disk.platter().steps;
        check(disk.platter().synced.clone(), &witness, &options);
        for step in 0..steps {
            let (disk, witness) = run_until(Some(step), &options);
            let fates = [Unsynced::Lost, Unsynced::Kept, Unsynced::Some(step)];
            for unsynced in fates {
                let bytes = disk.platter().after_power_loss(unsynced);
                check(bytes, &witness, &options);
            }
        }
    }
}

#[test]
fn a_failed_commit_is_told_to_everyone_and_ends_the_store() {
    let disk = Disk::default();
    let opening = create_on("disk".into(), Box::new(disk.clone()), options()).unwrap();
    let store = opening.start().unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    let sender = Mutex::new(sender);
    store.on_durable(Box::new(move |outcome| {
        sender.lock().unwrap().send(outcome).unwrap()
    }));
    let submitted = start(&store, started("a")).unwrap();
    disk.platter().steps_left = Some(1);
    let error = store.wait_durable(submitted.position).unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert!(told.recv().unwrap().is_err());
    assert!(
        store
            .deploy(vec![module("one", "Order")], None, None, Timestamp(1))
            .is_err()
    );
    assert!(told.try_recv().is_err(), "it is told once");
    assert!(matches!(
        start(&store, started("b")),
        Err(SubmitError::Store(Error::Failed { .. }))
    ));
    assert!(store.look(&id("a"), |_| ()).is_err());
    assert!(matches!(store.close(), Err(Error::Failed { .. })));
}

#[test]
fn a_full_disk_is_told_as_such_and_takes_nothing_that_was_told_before() {
    let disk = Disk::default();
    let opening = create_on("disk".into(), Box::new(disk.clone()), options()).unwrap();
    let store = opening.start().unwrap();
    let told = start(&store, started("told")).unwrap();
    store.wait_durable(told.position).unwrap();
    let lost = start(&store, started("lost")).unwrap();
    {
        let mut platter = disk.platter();
        (platter.steps_left, platter.full) = (Some(0), true);
    }
    let error = store.wait_durable(lost.position).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    // What comes later is told the same, not how the database fails from then on.
    let Err(SubmitError::Store(later)) = start(&store, started("later")) else {
        panic!("it was taken");
    };
    assert!(later.is_disk_full(), "{later}");
    assert!(store.failure().is_some_and(|it| it.is_disk_full()));
    drop(store);
    // Somebody has made room.
    disk.platter().steps_left = None;
    let bytes = disk.platter().seen.clone();
    let store = open_on("disk".into(), Box::new(Disk::holding(bytes)), options()).unwrap();
    assert!(store.look(&id("told"), |_| ()).unwrap().is_some());
    assert!(start(&store, started("later")).is_ok());
    store.close().unwrap();
}
