//! The engine: how guests are compiled, where their memory lies, and who stops the endless ones.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy, UpdateDeadline, WasmFeatures,
};
use wfhost_core::Digest;

use crate::code_cache::CodeCache;
use crate::grant::Grants;
use crate::inside::{Inside, Role};
use crate::limits::Limits;
use crate::link::{self, Outside};
use crate::reject::SetupError;

/// How often running guests look whether they must stop.
const TICK: Duration = Duration::from_millis(10);

/// What the host's functions may use of the stack of an effectful attempt, beside its guest.
const HOST_STACK_BYTES: usize = 1536 * 1024;

/// How many compiled components are kept for the next who loads them.
const COMPILED_MAX: usize = 8;

/// Brings guests to life. Cheap to clone and to share.
#[derive(Clone)]
pub struct Sandbox(pub(crate) Arc<Shared>);

/// What all modules of a sandbox share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) contract: Linker<Inside>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) outside: Option<Outside>,
    pub(crate) grants: Arc<Grants>,
    /// What was compiled last, by the digest of the component.
    compiled: Arc<Mutex<Vec<(Digest, Component)>>>,
    /// Where other hosts of this user leave what they have compiled.
    code_cache: Option<Arc<CodeCache>>,
    /// How many components were compiled.
    compilations: Arc<AtomicU64>,
}

impl Sandbox {
    /// A sandbox with these limits, and a thread that ticks for it until the last copy is gone.
    ///
    /// # Errors
    /// If the engine cannot run on this machine, or the thread cannot be started.
    pub fn new(limits: Limits) -> Result<Self, SetupError> {
        let engine = |error: wasmtime::Error| SetupError::Engine(format!("{error:#}"));
        let wasm = engine_with(&limits).map_err(engine)?;
        tick(&wasm).map_err(SetupError::Thread)?;
        Ok(Self(Arc::new(Shared {
            contract: link::contract(&wasm).map_err(engine)?,
            engine: wasm,
            limits: Arc::new(limits),
            outside: None,
            grants: Arc::default(),
            compiled: Arc::default(),
            code_cache: None,
            compilations: Arc::default(),
        })))
    }

    /// The same sandbox, in which activities may import `wfhost:testing/outside@0.1.0`, with
    /// `interface outside { call: func(request: string) -> result<string, string>; }`: an effect
    /// on the outside world, for tests. A module that imports it is not contained.
    #[must_use]
    pub fn with_outside(self, outside: Outside) -> Self {
        Self(Arc::new(Shared {
            outside: Some(outside),
            ..self.0.copy()
        }))
    }

    /// The same sandbox, in which activities have what is granted here; without it they may make
    /// no HTTP requests and see no environment. What was loaded before keeps what it had.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self(Arc::new(Shared {
            grants: Arc::new(grants),
            ..self.0.copy()
        }))
    }

    /// The same sandbox, which leaves the code that it has compiled in this folder and takes from
    /// there what it, or another of this user, has compiled before; without it each process
    /// compiles for itself.
    ///
    /// The folder is made when it is first needed, and is kept below 64 files and 256 MiB. Code is
    /// loaded only if the key in the folder, which its user alone can read, says that it is just
    /// what was left there. Who can read that key, or act as this user, can have any code run.
    ///
    /// Nothing fails for want of the cache. It is silently not used if the folder belongs to
    /// somebody else, or others may write to it, or it cannot be told (anywhere but on Unix).
    #[must_use]
    pub fn with_code_cache(self, folder: PathBuf) -> Self {
        let code_cache = CodeCache::new(folder, &self.0.engine);
        Self(Arc::new(Shared {
            code_cache: Some(Arc::new(code_cache)),
            ..self.0.copy()
        }))
    }

    /// How many components this sandbox, with all copies of it, has compiled.
    #[doc(hidden)]
    #[must_use]
    pub fn compilations(&self) -> u64 {
        self.0.compilations.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn copy(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            contract: self.contract.clone(),
            limits: self.limits.clone(),
            outside: self.outside.clone(),
            grants: self.grants.clone(),
            compiled: self.compiled.clone(),
            code_cache: self.code_cache.clone(),
            compilations: self.compilations.clone(),
        }
    }

    /// A store for one guest, with its limits in force.
    pub(crate) fn store(&self, role: Role) -> wasmtime::Store<Inside> {
        let inside = Inside::new(self.limits.clone(), role);
        let mut store = wasmtime::Store::new(&self.engine, inside);
        store.limiter(|inside| inside);
        store.epoch_deadline_callback(|store| {
            store.data().watch.check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_epoch_deadline(1);
        store
    }

    /// The compiled component. The latest are kept in memory: deploying a module compiles it to look at it
    /// before it is loaded, and a host that is opened again on this sandbox loads what it had.
    pub(crate) fn compile(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        let digest = Digest::of(bytes);
        let known = |compiled: &Vec<(Digest, Component)>| {
            let known = compiled.iter().find(|(it, _)| *it == digest);
            known.map(|(_, component)| component.clone())
        };
        if let Some(component) = known(&self.compiled()) {
            return Ok(component);
        }
        let component = self.cached_or_compiled(digest, bytes)?;
        let mut compiled = self.compiled();
        if known(&compiled).is_none() {
            if compiled.len() >= COMPILED_MAX {
                compiled.remove(0);
            }
            compiled.push((digest, component.clone()));
        }
        Ok(component)
    }

    fn cached_or_compiled(&self, digest: Digest, bytes: &[u8]) -> wasmtime::Result<Component> {
        let cache = self.code_cache.as_ref();
        if let Some(component) = cache.and_then(|cache| cache.load(&self.engine, digest)) {
            return Ok(component);
        }
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let component = Component::new(&self.engine, bytes)?;
        if let Some(cache) = cache {
            cache.store(digest, &component);
        }
        Ok(component)
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, Vec<(Digest, Component)>> {
        self.compiled
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An engine whose guests lie in a pool; where the addresses for one cannot be had, each is mapped
/// for itself, which is slower and else the same.
fn engine_with(limits: &Limits) -> wasmtime::Result<Engine> {
    let mut pooled = config(limits);
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    Engine::new(&pooled).or_else(|_| Engine::new(&config(limits)))
}

/// Where guests lie: in slots that are reused.
///
/// Most of what a short life costs is memory: mapping it, a fault for each page that is touched,
/// unmapping it, which interrupts all other processors. A slot that was used by the same module
/// keeps its pages; what the last guest has written is found by a scan of the page table and put
/// back as it was at first, so that no guest sees anything of another. A slot reserves 4 GiB of
/// addresses (so that the code needs no bounds checks) and no memory.
fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let guests_max = limits.guests_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(MEMORY_KEPT_BYTES)
        .table_keep_resident(TABLE_KEPT_BYTES)
        .total_component_instances(guests_max)
        .total_core_instances(guests_max.saturating_mul(CORE_INSTANCES))
        .total_tables(guests_max.saturating_mul(CORE_INSTANCES))
        .total_memories(guests_max)
        .total_stacks(guests_max)
        .max_memory_size(limits.memory_bytes_max)
        .table_elements(limits.table_elements_max);
    pool
}

/// What a slot keeps of the memory that its last guest has touched, and of each table. An ordinary
/// guest touches some 100 KiB.
const MEMORY_KEPT_BYTES: usize = 512 * 1024;
const TABLE_KEPT_BYTES: usize = 16 * 1024;

/// So many core modules an ordinary component is made of: its own, and what joins it to the host.
const CORE_INSTANCES: u32 = 4;

/// How guests are compiled.
fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    config.parallel_compilation(true);
    // The same bits on every machine, whatever its processor makes of a NaN.
    config.cranelift_nan_canonicalization(true);
    let on: WasmFeatures = FEATURES
        .into_iter()
        .filter_map(WasmFeatures::from_name)
        .collect();
    config.wasm_features(WasmFeatures::all().difference(on), false);
    config.wasm_features(on, true);
    config.epoch_interruption(true);
    // No guest does two things at once, so nobody pays for what that would need. An effectful
    // attempt runs on a stack of its own, so that it can be dropped where it waits; this does not
    // touch the others.
    config.concurrency_support(false);
    config.max_wasm_stack(limits.stack_bytes_max);
    config.async_stack_size(limits.stack_bytes_max + HOST_STACK_BYTES);
    config
}

/// The number of the set of WebAssembly features that guests may use, recorded with each start. A host
/// that lets guests use another set gives that another number.
pub const FEATURE_SET: u32 = 1;

/// What a guest may use: what is the same everywhere, and no more. Names of `WasmFeatures`, which
/// wasmtime and wasmparser each have their own of.
pub const FEATURES: [&str; 9] = [
    "BULK_MEMORY",
    "COMPONENT_MODEL",
    "FLOATS",
    "MULTI_VALUE",
    "MUTABLE_GLOBAL",
    "REFERENCE_TYPES",
    "SATURATING_FLOAT_TO_INT",
    "SIGN_EXTENSION",
    "SIMD",
];

/// Moves the engine's clock on, as long as there is an engine.
fn tick(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let ticker = std::thread::Builder::new().name("wfhost-ticker".into());
    ticker.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_libraries_know_every_feature() {
        for name in FEATURES {
            assert!(WasmFeatures::from_name(name).is_some(), "{name}");
            assert!(
                wasmparser::WasmFeatures::from_name(name).is_some(),
                "{name}"
            );
        }
    }
}
