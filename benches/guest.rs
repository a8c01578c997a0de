//! Guests: bringing one to life, a step of a turn, an attempt, and the replay of 10,000 steps.
//!
//! Each stands beside its limit: for life, the kernel's price for as many fresh pages; for steps
//! and replay, the fold of the same records without a guest.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use wfhost_core::record::{Attempt, Command, Record, Started, Step};
use wfhost_core::replay::{PastTurn, Playback};
use wfhost_core::state::{Items, ReadError, Session, Snapshot};
use wfhost_core::{Instance, Json, Position, RunId, Timestamp};
use wfhost_sandbox::{AttemptCall, Birth, Guest, Limits, Module, Sandbox, StopFlag, TurnEnd};

const STEPS: u32 = 10_000;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// What a guest of this size touches when it comes to life.
const PAGES: usize = 20;
const PAGE_BYTES: usize = 4096;

/// A state store that holds nothing.
struct Nothing;

impl Snapshot for Nothing {
    fn position(&self) -> Position {
        Position(0)
    }
    fn get(&self, _: &str) -> Result<Option<wfhost_core::record::Entry>, ReadError> {
        Ok(None)
    }
    fn scan(&self, _: &str, _: Option<&str>, _: usize) -> Result<Items, ReadError> {
        Ok(Vec::new())
    }
}

fn session() -> Session {
    Session::new(Box::new(Nothing), NOW)
}

fn module() -> Module {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows/steps");
    let path = wfhost::package::build(&package, true).expect("the guest builds");
    let bytes = std::fs::read(path).expect("it was just built");
    let sandbox = Sandbox::new(Limits::default()).expect("a sandbox");
    let prepared = sandbox
        .prepare(&bytes, "steps", NOW)
        .expect("the guest is fit");
    let component = prepared.component.unwrap_or(bytes);
    sandbox
        .load(prepared.info.digest, &component)
        .expect("it compiles")
}

fn started(module: &Module) -> Started {
    Started {
        id: "bench".parse().expect("an id"),
        run: RunId(1),
        generation: 0,
        workflow: "Steps".parse().expect("a name"),
        module: module.digest(),
        contract: "0.1.0".into(),
        features: wfhost_sandbox::FEATURE_SET,
        seed: 1,
        input: Json::parse(format!(r#"{{"steps":{STEPS}}}"#)).expect("JSON"),
        parent: None,
        tags: Vec::new(),
        at: NOW,
        created_at: NOW,
        events: Vec::new(),
        begins_at: None,
        key: None,
        carried: None,
        reruns: Vec::new(),
        trace: None,
    }
}

fn guest(module: &Module) -> Guest {
    let Started {
        id,
        run,
        workflow,
        generation,
        seed,
        input,
        ..
    } = started(module);
    let birth = Birth {
        id,
        run,
        workflow,
        parent: None,
        started_at: NOW,
        generation,
        seed,
        input,
        origins: Vec::new(),
    };
    module.guest(birth).expect("it comes to life")
}

/// Takes all turns, each step's activity answered at once, and returns the history and the time
/// that the guest took.
fn take_all(module: &Module) -> (Vec<Record>, Duration) {
    let mut guest = guest(module);
    let mut instance = Instance::begin(started(module));
    let mut records = vec![Record::Started(Box::new(started(module)))];
    let mut spent = Duration::ZERO;
    loop {
        let inputs = instance.deliver().inputs;
        let begun = Instant::now();
        let TurnEnd::Taken { turn, .. } = guest.turn(NOW, &inputs, session()) else {
            panic!("the turn is not taken")
        };
        spent += begun.elapsed();
        let waits = turn.step == Step::Waiting;
        let called = turn.commands.first().and_then(Command::task);
        let mut next = vec![Record::Turn(Box::new(turn))];
        if let Some(task) = called {
            next.push(Record::Attempt(Box::new(Attempt {
                task,
                number: 1,
                module: module.digest(),
                contained: true,
                started_at: NOW,
                ended_at: NOW,
                outcome: Ok(Json::parse("1").expect("JSON")),
                retry_at: None,
                log: Vec::new(),
                writes: Vec::new(),
            })));
        }
        for record in next {
            instance.apply(&record).expect("the history goes on");
            records.push(record);
        }
        if !waits {
            return (records, spent);
        }
    }
}

fn past_turns(records: &[Record]) -> Vec<PastTurn> {
    let mut playback = Playback::default();
    let turns = records
        .iter()
        .map(|record| playback.next(record).expect("a history"));
    turns.flatten().collect()
}

fn fold(records: &[Record]) -> Instance {
    let mut records = records.iter();
    let Some(Record::Started(first)) = records.next() else {
        panic!("a history begins with a start")
    };
    let mut instance = Instance::begin(first.as_ref().clone());
    for record in records {
        instance.apply(record).expect("the history goes on");
    }
    instance
}

fn lives(criterion: &mut Criterion) {
    let module = module();
    let mut group = criterion.benchmark_group("life");
    group.bench_function("instantiate, first turn, drop", |bencher| {
        bencher.iter(|| {
            let mut guest = guest(&module);
            let end = guest.turn(NOW, &[], session());
            (guest, end)
        });
    });
    group.bench_function("limit: as many fresh pages", |bencher| {
        bencher.iter(|| {
            // Large enough to be a mapping of its own, so that each page is a fault.
            let mut memory = vec![0_u8; 4 * 1024 * 1024];
            for page in 0..PAGES {
                memory[page * PAGE_BYTES] = 1;
            }
            black_box(memory);
        });
    });
    group.bench_function("attempt: instantiate, run, drop", |bencher| {
        bencher.iter(|| {
            module.attempt(AttemptCall {
                name: "Echo".parse().expect("a name"),
                input: Json::null(),
                instance: "bench".into(),
                attempt: 1,
                idempotency_key: "key".into(),
                started_at: NOW,
                deadline: None,
                time_max: Duration::MAX,
                stop: StopFlag::default(),
                session: session(),
                trace: None,
            })
        });
    });
    group.finish();
}

fn steps(criterion: &mut Criterion) {
    let module = module();
    let (records, _) = take_all(&module);
    let mut group = criterion.benchmark_group("steps");
    group.sample_size(20);
    group.throughput(Throughput::Elements(1));
    group.bench_function("a step of a turn", |bencher| {
        bencher.iter_custom(|steps| {
            let mut spent = Duration::ZERO;
            let rounds = steps.div_ceil(u64::from(STEPS));
            for _ in 0..rounds {
                spent += take_all(&module).1;
            }
            spent.mul_f64(steps as f64 / (rounds * u64::from(STEPS)) as f64)
        });
    });
    group.throughput(Throughput::Elements(u64::from(STEPS)));
    group.bench_function("replay of 10,000 steps", |bencher| {
        bencher.iter_batched(
            || (guest(&module), past_turns(&records)),
            |(mut guest, turns)| {
                for turn in turns {
                    guest.replay(turn).expect("it is the same");
                }
                guest
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("limit: the fold of 10,000 steps", |bencher| {
        bencher.iter(|| fold(&records));
    });
    group.finish();
}

criterion_group!(benches, lives, steps);
criterion_main!(benches);
