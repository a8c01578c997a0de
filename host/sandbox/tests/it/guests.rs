//! Guests for the tests, and what a caller of the sandbox holds in its hands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use wfhost_core::record::{Command as Asked, Entry, Step, Turn};
use wfhost_core::replay::PastTurn;
use wfhost_core::state::{Items, ReadError, Session, Snapshot};
use wfhost_core::{Delivered, Failure, Input, Json, Position, RunId, TaskId, Timestamp};
use wfhost_sandbox::{
    AttemptCall, AttemptEnd, Birth, Guest, Limits, Module, Sandbox, StopFlag, TurnEnd,
};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// 2023-11-14T22:13:20.123Z, when everything here happens.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_123);

/// The bytes of a package of `workflows/`, compiled once.
pub(crate) fn built(package: &str) -> Vec<u8> {
    static BUILT: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap();
    let bytes = built
        .entry(package.to_owned())
        .or_insert_with(|| build(package));
    bytes.clone()
}

fn build(package: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = match package {
        "http-get" | "wasi-clock" | "wasi-files" => "wasm32-wasip2",
        _ => "wasm32-unknown-unknown",
    };
    let folder: PathBuf = root.join("target/guests");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--quiet",
            "--package",
            package,
            "--target",
            target,
        ])
        .arg("--target-dir")
        .arg(&folder)
        .current_dir(&root)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .status()
        .unwrap();
    assert!(built.success(), "the guest {package} must compile");
    let file = format!("{target}/release/{}.wasm", package.replace('-', "_"));
    std::fs::read(folder.join(file)).unwrap()
}

/// A core module written by hand, with metadata for a world.
pub(crate) struct HandWritten<'a> {
    /// What the world holds beyond the contract's world `module`.
    pub(crate) world: &'a str,
    /// The imports of `world`, in WebAssembly text.
    pub(crate) imports: &'a str,
    /// The body of the workflow's `start`. It leaves the address of a step on the stack: 16 is
    /// `waiting`, 64 is `completed` with a text that is not JSON.
    pub(crate) start: &'a str,
    /// The body of the activity's `run`.
    pub(crate) run: &'a str,
    /// The four letters of the name that it defines: twice if that is `twin`.
    pub(crate) name: &'a str,
}

pub(crate) const HAND_WRITTEN: HandWritten<'static> = HandWritten {
    world: "",
    imports: "",
    start: "(i32.const 16)",
    run: "unreachable",
    name: "name",
};

/// The bytes of a guest with this `start`.
pub(crate) fn starts_with(start: &str) -> Vec<u8> {
    HandWritten {
        start,
        ..HAND_WRITTEN
    }
    .bytes()
}

/// The bytes of a guest with this `run`.
pub(crate) fn runs(run: &str) -> Vec<u8> {
    HandWritten {
        run,
        ..HAND_WRITTEN
    }
    .bytes()
}

impl HandWritten<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self {
            imports,
            start,
            run,
            name,
            ..
        } = self;
        let (workflow, activity) = (
            "wfhost:durable/workflow@0.1.0",
            "wfhost:durable/activity@0.1.0",
        );
        let context = "wfhost:durable/context@0.1.0";
        let count = if *name == "twin" { 2 } else { 1 };
        let definition = r"\00\01\00\00\04\00\00\00\00\01\00\00\00\00\00\00".to_owned()
            + &r"\00\00\00\00".repeat(6);
        let text = format!(
            r#"(module
            (import "{context}" "await-event" (func $await-event (param i32 i32) (result i32)))
            (import "{context}" "cancel" (func $cancel (param i32)))
            (import "{context}" "patched" (func $patched (param i32 i32) (result i32)))
            {imports}
            (memory (export "memory") 1)
            (global $top (mut i32) (i32.const 4096))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func (export "{workflow}#definitions") (result i32) (i32.const 512))
            (func (export "{workflow}#start") (param i32 i32 i32 i32) (result i32) {start})
            (func (export "{workflow}#resume") (param i32 i32) (result i32) (i32.const 16))
            (func (export "{workflow}#query") (param i32 i32 i32 i32) (result i32)
                (drop (call $await-event (i32.const 256) (i32.const 4))) unreachable)
            (func (export "{workflow}#validate-update") (param i32 i32 i32 i32) (result i32)
                (drop (call $await-event (i32.const 256) (i32.const 4))) unreachable)
            (func (export "{activity}#definitions") (result i32) (i32.const 512))
            (func (export "{activity}#run")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32) {run})
            (data (i32.const 64) "\01\00\00\00\00\01\00\00\04\00\00\00")
            (data (i32.const 256) "{name}")
            (data (i32.const 512) "\00\03\00\00\0{count}\00\00\00")
            (data (i32.const 768) "{definition}{definition}"))"#
        );
        let world = format!("include wfhost:durable/module@0.1.0; {}", self.world);
        embed(wat::parse_str(text).unwrap(), &world)
    }
}

/// What is of `wasi:…` in the worlds of the guests written by hand.
const WASI: [&str; 4] = [
    "package wasi:io@0.2.6; interface error { resource error; } \
     interface poll { resource pollable { block: func(); } } \
     interface streams { use error.{error}; \
     variant stream-error { last-operation-failed(error), closed } \
     resource output-stream { blocking-write-and-flush: \
     func(contents: list<u8>) -> result<_, stream-error>; } }",
    "package wasi:cli@0.2.6; interface stdout { use wasi:io/streams@0.2.6.{output-stream}; \
     get-stdout: func() -> output-stream; }",
    "package wasi:http@0.2.6; interface types { resource fields { constructor(); } }",
    "package wasi:clocks@0.2.6; interface monotonic-clock { use wasi:io/poll@0.2.6.{pollable}; \
     now: func() -> u64; subscribe-duration: func(nanoseconds: u64) -> pollable; }",
];

/// A module of some world: its functions all trap.
pub(crate) fn dummy(wit: &str) -> Vec<u8> {
    let mut resolve = contract();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut bytes = wit_component::dummy_module(
        &resolve,
        world,
        wit_parser::ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync),
    );
    let encoding = StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, encoding, false).unwrap();
    bytes
}

fn embed(mut bytes: Vec<u8>, world: &str) -> Vec<u8> {
    let mut resolve = contract();
    let testing = "package wfhost:testing@0.1.0; \
        interface outside { call: func(request: string) -> result<string, string>; }";
    for package in WASI.into_iter().chain([testing]) {
        resolve.push_str("imports.wit", package).unwrap();
    }
    let wit = format!("package test:guest; world guest {{ {world} }}");
    let package = resolve.push_str("test.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let encoding = StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, encoding, false).unwrap();
    bytes
}

fn contract() -> Resolve {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    resolve.push_dir(wit).unwrap();
    resolve
}

/// A sandbox with the usual limits, shared by the tests.
pub(crate) fn sandbox() -> Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX
        .get_or_init(|| Sandbox::new(Limits::default()).unwrap())
        .clone()
}

pub(crate) fn loaded_in(sandbox: &Sandbox, bytes: &[u8]) -> Module {
    let prepared = sandbox.prepare(bytes, "test.wasm", NOW).unwrap();
    let component = prepared.component.as_deref().unwrap_or(bytes);
    sandbox.load(prepared.info.digest, component).unwrap()
}

/// The module `steps`, loaded once.
pub(crate) fn steps() -> Module {
    static STEPS: OnceLock<Module> = OnceLock::new();
    STEPS
        .get_or_init(|| loaded_in(&sandbox(), &built("steps")))
        .clone()
}

pub(crate) fn birth(workflow: &str, input: &str) -> Birth {
    Birth {
        id: "test".parse().unwrap(),
        run: RunId(7),
        workflow: workflow.parse().unwrap(),
        parent: None,
        started_at: NOW,
        generation: 0,
        seed: 42,
        input: json(input),
        origins: Vec::new(),
    }
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

pub(crate) fn completed(task: u32, output: &str) -> Input {
    Input::Completed {
        task: TaskId(task),
        outcome: Ok(json(output)),
    }
}

/// A state of one key, `key`, which holds 5; or one that changes under its reader.
pub(crate) struct State {
    pub(crate) changes: bool,
}

impl Snapshot for State {
    fn position(&self) -> Position {
        Position(9)
    }
    fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        if self.changes {
            return Err(ReadError::Changed);
        }
        Ok((key == "key").then(|| Entry {
            value: json("5"),
            version: 3,
        }))
    }
    fn scan(&self, _: &str, _: Option<&str>, _: usize) -> Result<Items, ReadError> {
        Err(ReadError::Failed("the disk is gone".into()))
    }
}

pub(crate) fn session() -> Session {
    Session::new(Box::new(State { changes: false }), NOW)
}

pub(crate) fn changing_session() -> Session {
    Session::new(Box::new(State { changes: true }), NOW)
}

pub(crate) fn taken(guest: &mut Guest, inputs: &[Input]) -> Turn {
    match guest.turn(NOW, inputs, session()) {
        TurnEnd::Taken { turn, .. } => turn,
        other => panic!("the turn was not taken: {other:?}"),
    }
}

pub(crate) fn failure(step: &Step) -> &Failure {
    match step {
        Step::Failed(failure) => failure,
        other => panic!("it did not fail: {other:?}"),
    }
}

/// The turns of an instance whose activities all echo their input and whose timers all fire.
pub(crate) fn play(module: &Module, birth: Birth) -> Vec<PastTurn> {
    let mut guest = module.guest(birth).unwrap();
    let (mut inputs, mut turns) = (Vec::new(), Vec::new());
    loop {
        let turn = taken(&mut guest, &inputs);
        let answers = turn.commands.iter().filter_map(echoed).collect();
        let ended = turn.step != Step::Waiting;
        turns.push(PastTurn {
            number: turns.len() as u64 + 1,
            delivered: Delivered {
                inputs,
                not_before: NOW,
            },
            turn: Box::new(turn),
        });
        inputs = answers;
        if ended {
            return turns;
        }
    }
}

fn echoed(command: &Asked) -> Option<Input> {
    let (task, output) = match command {
        Asked::CallActivity { task, input, .. } => (*task, input.clone()),
        Asked::CreateTimer { task, .. } => (*task, Json::null()),
        _ => return None,
    };
    Some(Input::Completed {
        task,
        outcome: Ok(output),
    })
}

/// What comes of an attempt that may wait for the outside, or of any other.
pub(crate) fn attempted(module: &Module, call: AttemptCall) -> AttemptEnd {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let end = runtime.block_on(module.attempt_async(call));
    // What hangs outside does not hold the test.
    runtime.shutdown_background();
    end
}

pub(crate) fn call(name: &str, input: &str) -> AttemptCall {
    AttemptCall {
        name: name.parse().unwrap(),
        input: json(input),
        instance: "test".into(),
        attempt: 1,
        idempotency_key: "run-0-1".into(),
        started_at: NOW,
        deadline: None,
        time_max: Duration::from_secs(60),
        stop: StopFlag::default(),
        session: session(),
        trace: None,
    }
}
