//! The store as its callers meet it. Here: what the tests share.

mod audit;
mod crash;
mod deploying;
mod due;
mod ended;
mod finding;
mod gc;
mod instances;
mod keeping;
mod lives;
mod opening;
mod removing;
mod reuse;
mod rollback;
mod schedules;
mod slices;
mod state;
mod submitting;
mod tally;
mod writing;

use std::collections::BTreeMap;
use std::time::Duration;

use wfhost_core::record::{
    Accepted, Attempt, Command, Entry, Event, Happening, Record, Started, StateCall, StateWrite,
    Step, Turn,
};
use wfhost_core::state::ReadSet;
use wfhost_core::{
    Digest, Instance, InstanceId, Json, Position, RunId, TaskId, Timestamp, codec, decide,
};

use crate::ledger::OUTSIDE;
use crate::{Error, Options, Query, Reuse, Store, SubmitError, Submitted, Summary};

/// Nothing is committed unless somebody asks, so that a test is not at the mercy of the clock.
fn options() -> Options {
    Options {
        commit_after: Duration::from_secs(3600),
        ..Options::default()
    }
}

fn memory() -> Store {
    Store::in_memory(options()).unwrap()
}

fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// A JSON text of so many bytes.
fn large(letter: &str, bytes: usize) -> Json {
    json(&format!("\"{}\"", letter.repeat(bytes - 2)))
}

fn started(id: &str) -> Started {
    Started {
        id: id.parse().unwrap(),
        run: RunId(7),
        generation: 0,
        workflow: "Order".parse().unwrap(),
        module: Digest::of(b"module"),
        contract: "0.1.0".into(),
        features: 1,
        seed: 1,
        input: json("{}"),
        parent: None,
        tags: vec![("team".into(), "cars".into())],
        at: Timestamp(10),
        created_at: Timestamp(10),
        events: Vec::new(),
        begins_at: None,
        key: None,
        carried: None,
        reruns: Vec::new(),
        trace: None,
    }
}

fn turn(commands: Vec<Command>, state: Vec<StateCall>, step: Step) -> Record {
    Record::Turn(Box::new(Turn {
        at: Timestamp(20),
        inputs: 0,
        commands,
        state,
        step,
        log: Vec::new(),
    }))
}

fn call(task: u32) -> Command {
    Command::CallActivity {
        task: TaskId(task),
        name: "Reserve".parse().unwrap(),
        input: json("1"),
        options: Default::default(),
    }
}

fn attempt(task: u32, writes: Vec<StateWrite>) -> Record {
    Record::Attempt(Box::new(Attempt {
        task: TaskId(task),
        number: 1,
        module: Digest::of(b"module"),
        contained: true,
        started_at: Timestamp(30),
        ended_at: Timestamp(31),
        outcome: Ok(json("true")),
        retry_at: None,
        log: Vec::new(),
        writes,
    }))
}

fn completed() -> Record {
    turn(vec![], vec![], Step::Completed(json("1")))
}

fn event(name: &str, payload: Json) -> Record {
    Record::Accepted(Accepted {
        at: Timestamp(40),
        what: Happening::EventRaised(Event {
            name: name.parse().unwrap(),
            payload,
        }),
        key: None,
    })
}

fn set(key: &str, value: &str) -> StateWrite {
    StateWrite {
        key: key.into(),
        value: Some(json(value)),
        expires_at: None,
    }
}

fn delete(key: &str) -> StateWrite {
    StateWrite {
        key: key.into(),
        value: None,
        expires_at: None,
    }
}

fn outside(store: &Store, write: StateWrite) -> Position {
    store.write_state(vec![write], Timestamp(5)).unwrap()
}

fn submit(store: &Store, id: &InstanceId, record: Record) -> Result<Submitted, SubmitError> {
    ready(store).submit(id, &ReadSet::default(), |_| Ok(record))
}

/// What the state says now, with its versions.
fn state(store: &Store) -> Vec<(String, String, u64)> {
    let items = store.state_list("", None, 1_000_000, Timestamp(0)).unwrap();
    let plain = |(key, entry): (String, Entry)| (key, entry.value.to_string(), entry.version);
    items.into_iter().map(plain).collect()
}

/// A store that takes instances on the modules that tests name; the file does not hold them.
fn ready(store: &Store) -> &Store {
    let mut ledger = store.inner.ledger();
    let bindings = ledger.registry.bindings().clone();
    let numbered = (0..5).map(|number| Digest::of(&[number]));
    let named = [&b"module"[..], b"2", b"3"].map(Digest::of);
    let modules = numbered.chain(named);
    ledger.registry.deployed(modules, bindings);
    drop(ledger);
    store
}

/// Starts an instance whose id is new.
fn start(store: &Store, started: Started) -> Result<Submitted, SubmitError> {
    let begun = ready(store).start(started, |_| Ok(Reuse::Refuse))?;
    assert!(begun.before.is_none());
    Ok(begun.submitted)
}

/// One row an instance.
fn list(store: &Store) -> Result<Vec<Summary>, Error> {
    let query = Query {
        limit: usize::MAX - 1,
        ..Query::default()
    };
    Ok(store.find(&query)?.rows)
}

/// Moves everything to where it is when the log is empty.
fn gather(store: &Store) {
    store.inner.gather().unwrap();
}

/// An instance of so many records, of which these are the last.
fn fold(records: u64, history: Vec<Record>) -> Instance {
    let first = records - history.len() as u64;
    let mut history = history.into_iter();
    let Some(Record::Started(started)) = history.next() else {
        panic!("it does not begin with a start");
    };
    let mut instance = Instance::begin_at(*started, first);
    for record in history {
        instance.apply(&record).unwrap();
    }
    instance
}

/// Every record in the store by its position, read through the histories.
fn all_records(store: &Store) -> BTreeMap<Position, Record> {
    let mut records = BTreeMap::new();
    for summary in list(store).unwrap() {
        let mut history = Vec::new();
        store
            .for_each_record(&summary.id, 0, |position, record| {
                history.push(record.clone());
                assert_eq!(records.insert(position, record), None);
                Ok::<(), Error>(())
            })
            .unwrap();
        let live = store.look(&summary.id, Clone::clone).unwrap().unwrap();
        let mut instance = fold(live.records(), history);
        instance.link(live.chain());
        assert_eq!(live, instance, "an instance is the fold of its history");
        assert_eq!(
            summary,
            Summary::of(&instance, summary.number, summary.position)
        );
    }
    let gathered = store.inner.gathered_rows(OUTSIDE, 0, None).unwrap();
    let tail = {
        let ledger = store.inner.ledger();
        ledger.rows_after(ledger.gathered)
    };
    let from_outside = tail.into_iter().filter(|row| row.owner == OUTSIDE);
    for row in gathered.into_iter().chain(from_outside) {
        let mut record = codec::decode(&row.record).unwrap().record;
        store.inner.put_back(&mut record).unwrap();
        assert_eq!(records.insert(row.position, record), None);
    }
    records
}

/// What the state must be after these records.
fn state_after(records: &BTreeMap<Position, Record>) -> Vec<(String, String, u64)> {
    let mut state = BTreeMap::new();
    for (position, record) in records {
        for write in record.writes() {
            match &write.value {
                Some(value) => state.insert(write.key.clone(), (value.to_string(), position.0)),
                None => state.remove(&write.key),
            };
        }
    }
    let plain = |(key, (value, version))| (key, value, version);
    state.into_iter().map(plain).collect()
}
