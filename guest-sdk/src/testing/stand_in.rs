//! Answers the imports outside of Wasm: one world a thread, which notes what is asked.
//!
//! It decides nothing: what becomes of a question is the matter of whoever drives the workflow.

use core::cell::RefCell;
use std::collections::BTreeSet;

use super::store::Store;
use crate::bindings::workflow::wfhost::durable::context::InstanceInfo;
use crate::failure::Failure;
use crate::host::{ActivityOptions, ChildOptions, Task};

/// One line that a workflow or an activity logged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// How much it matters.
    pub level: ::log::Level,
    /// What it says.
    pub message: String,
}

/// What a workflow asked of its host.
#[derive(Debug)]
pub(crate) enum Asked {
    CallActivity {
        task: Task,
        name: String,
        input: String,
        options: ActivityOptions,
    },
    CallWorkflow {
        task: Task,
        name: String,
        input: String,
        options: ChildOptions,
    },
    CreateTimer {
        task: Task,
        fires_at: u64,
    },
    AwaitEvent {
        task: Task,
        name: String,
    },
    RaiseEvent {
        task: Task,
        instance: String,
        name: String,
        payload: String,
    },
    Cancel(Task),
    AnswerUpdate {
        id: u32,
        outcome: Result<String, Failure>,
    },
}

/// All that a guest can learn from its host, and what it told it.
pub(crate) struct World {
    pub(crate) info: InstanceInfo,
    pub(crate) now_ms: u64,
    pub(crate) last_task: Task,
    pub(crate) asked: Vec<Asked>,
    pub(crate) unpatched: BTreeSet<String>,
    pub(crate) store: Store,
    pub(crate) log: Vec<LogLine>,
    pub(crate) custom_status: Option<String>,
    random: u64,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new("test", "", 0));
    /// The worlds that others took the place of, the latest last.
    static ENTERED: RefCell<Vec<World>> = const { RefCell::new(Vec::new()) };
}

impl World {
    pub(crate) fn new(id: &str, workflow: &str, now_ms: u64) -> Self {
        Self {
            info: InstanceInfo {
                id: id.into(),
                run: "test".into(),
                workflow: workflow.into(),
                parent: None,
                started_at: now_ms,
                generation: 0,
            },
            now_ms,
            last_task: 0,
            asked: Vec::new(),
            unpatched: BTreeSet::new(),
            store: Store::default(),
            log: Vec::new(),
            custom_status: None,
            random: 0,
        }
    }

    /// The next number of SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn task(&mut self, asked: impl FnOnce(Task) -> Asked) -> Task {
        self.last_task += 1;
        self.asked.push(asked(self.last_task));
        self.last_task
    }
}

/// Makes a world that of this thread, until this is dropped or left.
pub(crate) struct Entered(());

impl Entered {
    pub(crate) fn new(world: World) -> Self {
        let outer = WORLD.replace(world);
        ENTERED.with_borrow_mut(|entered| entered.push(outer));
        Self(())
    }

    /// The world as it is now.
    pub(crate) fn leave(self) -> World {
        let world = self.restore();
        core::mem::forget(self);
        world
    }

    fn restore(&self) -> World {
        let outer = ENTERED.with_borrow_mut(|entered| {
            entered
                .pop()
                .expect("what is entered is left once, the last first")
        });
        WORLD.replace(outer)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Looks at, or changes, the world of this thread. Guest code must not run within.
pub(crate) fn world<T>(look: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(look)
}

/// Empties the state store, unless a workflow runs on this thread and uses it.
pub(crate) fn start_with_empty_store() {
    if ENTERED.with_borrow(Vec::is_empty) {
        world(|world| world.store = Store::default());
    }
}

/// The imports of the interface `context`.
pub(crate) mod context {
    use super::{ActivityOptions, Asked, ChildOptions, InstanceInfo, Task, world};
    use crate::bindings::workflow::wfhost::durable::types;

    pub(crate) fn info() -> InstanceInfo {
        world(|world| world.info.clone())
    }

    pub(crate) fn now() -> u64 {
        world(|world| world.now_ms)
    }

    pub(crate) fn random() -> u64 {
        world(super::World::random)
    }

    pub(crate) fn patched(id: &str) -> bool {
        world(|world| !world.unpatched.contains(id))
    }

    pub(crate) fn call_activity(name: &str, input: &str, options: &ActivityOptions) -> Task {
        let (name, input, options) = (name.into(), input.into(), options.clone());
        world(|world| {
            world.task(|task| Asked::CallActivity {
                task,
                name,
                input,
                options,
            })
        })
    }

    pub(crate) fn call_workflow(name: &str, input: &str, options: &ChildOptions) -> Task {
        let (name, input, options) = (name.into(), input.into(), options.clone());
        world(|world| {
            world.task(|task| Asked::CallWorkflow {
                task,
                name,
                input,
                options,
            })
        })
    }

    pub(crate) fn create_timer(fires_at: u64) -> Task {
        world(|world| world.task(|task| Asked::CreateTimer { task, fires_at }))
    }

    pub(crate) fn await_event(name: &str) -> Task {
        let name = name.into();
        world(|world| world.task(|task| Asked::AwaitEvent { task, name }))
    }

    pub(crate) fn raise_event(instance: &str, name: &str, payload: &str) -> Task {
        let (instance, name, payload) = (instance.into(), name.into(), payload.into());
        world(|world| {
            world.task(|task| Asked::RaiseEvent {
                task,
                instance,
                name,
                payload,
            })
        })
    }

    pub(crate) fn cancel(task: Task) {
        world(|world| world.asked.push(Asked::Cancel(task)));
    }

    pub(crate) fn answer_update(id: u32, outcome: Result<&str, &types::Failure>) {
        let outcome = outcome
            .map(Into::into)
            .map_err(|failure| failure.clone().into());
        world(|world| world.asked.push(Asked::AnswerUpdate { id, outcome }));
    }

    pub(crate) fn set_custom_status(status: &str) {
        world(|world| world.custom_status = Some(status.into()));
    }
}

/// The imports of the interface `state`.
pub(crate) mod state {
    use super::world;
    use crate::bindings::workflow::wfhost::durable::state::{Entry, Item, WriteOptions};

    pub(crate) fn get(key: &str) -> Option<Entry> {
        world(|world| world.store.get(key, world.now_ms))
    }

    pub(crate) fn set(key: &str, value: &str, options: WriteOptions) -> Result<(), u64> {
        world(|world| world.store.set(key, value, options, world.now_ms))
    }

    pub(crate) fn delete(key: &str, if_version: Option<u64>) -> Result<(), u64> {
        world(|world| world.store.delete(key, if_version, world.now_ms))
    }

    pub(crate) fn scan(prefix: &str, after: Option<&str>, limit: u32) -> Vec<Item> {
        world(|world| world.store.scan(prefix, after, limit, world.now_ms))
    }
}

/// The imports of the interface `log`.
pub(crate) mod log {
    use super::{LogLine, world};
    use crate::bindings::workflow::wfhost::durable::log::Level;

    pub(crate) fn write(level: Level, message: &str) {
        let level = match level {
            Level::Trace => ::log::Level::Trace,
            Level::Debug => ::log::Level::Debug,
            Level::Info => ::log::Level::Info,
            Level::Warn => ::log::Level::Warn,
            Level::Error => ::log::Level::Error,
        };
        let message = message.into();
        world(|world| world.log.push(LogLine { level, message }));
    }
}
