//! The swap gate: whether other code does the same in the turns that live instances have taken,
//! asked of all of them at once.
//!
//! It compares what was done, and proves no more than that: what the code will do next, nobody
//! knows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wfhost_core::{Digest, Name, Role, Status};
use wfhost_store::{NewModule, Query, Store, Summary};

use crate::checked::Checked;
use crate::engine::{Candidate, Engine};
use crate::error::{Error, chain};
use crate::host::{Host, acknowledged, blocking};
use crate::verdict::{Compared, Gathering, InstanceVerdict, Verdict};

/// So many instances are listed by default.
const LISTED_MAX: usize = 10_000;

/// So many rows are read at once.
const ROWS_AT_ONCE: usize = 1_000;

/// How a plan is made.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// As many instances of each workflow that have ended are looked at as well, the newest; none
    /// by default.
    pub ended_sample: usize,
    /// At most so many instances are listed by name, of those that live and of those that have
    /// ended. All are counted.
    pub listed_max: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            ended_sample: 0,
            listed_max: LISTED_MAX,
        }
    }
}

/// What a deployment would mean for the instances that there are. What has ended or gone on
/// meanwhile may be missing, or be told as it stood before.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The modules that were looked at, in the order given.
    pub modules: Vec<Digest>,
    /// The live instances of the workflows that they offer, but for those that run on them.
    pub live: Compared,
    /// The sample of those that have ended, if one was asked for.
    pub ended: Option<Compared>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Which instances are moved, and how.
#[derive(Debug, Clone)]
pub struct UpgradeOptions {
    /// Those of these workflows; of all that a module offers now if there are none here.
    pub workflows: Vec<Name>,
    /// Also those whose payloads or options differ; what is recorded of them stays.
    pub allow_input_changes: bool,
    /// At most so many instances are listed by name.
    pub listed_max: usize,
}

impl Default for UpgradeOptions {
    fn default() -> Self {
        Self {
            workflows: Vec::new(),
            allow_input_changes: false,
            listed_max: LISTED_MAX,
        }
    }
}

/// The module that the instances of each workflow are held against.
type Targets = BTreeMap<Name, Candidate>;

impl Host {
    /// Takes the turns of every live instance again, of the workflows that these modules offer, on
    /// them; without effects, and while the host goes on. Nothing is deployed. The instances are
    /// shared among the cores; memory is bounded by a guest for each, and by what is listed.
    ///
    /// # Errors
    /// If a module cannot run here, or the data file failed.
    pub async fn plan(&self, checked: &Checked, options: PlanOptions) -> Result<Plan, Error> {
        let engine = Arc::clone(self.engine());
        let modules = checked.modules.clone();
        let plan = blocking(move || {
            let targets = targets_of(&engine, &modules)?;
            make(&engine, &modules, &targets, &options)
        });
        let plan = plan.await;
        self.told(plan).await
    }

    /// Moves the live instances to the module that the name of their workflow means now, if that
    /// does the same in the turns that they have taken. The others stay where they are, with the
    /// reason in the answer. When this returns, that is durable.
    ///
    /// # Errors
    /// If no module offers one of the workflows, a module cannot run here, or the data file failed.
    /// Instances may have been moved by then.
    pub async fn upgrade(&self, options: UpgradeOptions) -> Result<Compared, Error> {
        let engine = Arc::clone(self.engine());
        let names = if options.workflows.is_empty() {
            self.workflows()?
        } else {
            options.workflows.clone()
        };
        let bound = names
            .into_iter()
            .map(|name| Ok((name.clone(), self.bound_whole(&name)?)));
        let bound = bound.collect::<Result<Vec<_>, Error>>()?;
        let upgraded = blocking(move || {
            let mut targets = Targets::new();
            for (name, digest) in bound {
                let candidate = engine.candidate(digest)?;
                targets.extend(candidate.map(|candidate| (name, candidate)));
            }
            move_all(&engine, &targets, &options)
        });
        let upgraded = upgraded.await?;
        acknowledged(self.engine().durable(self.store.submitted())).await?;
        Ok(upgraded)
    }
}

/// The workflows that modules offer which are perhaps not deployed.
pub(crate) fn targets_of(engine: &Engine, modules: &[NewModule]) -> Result<Targets, Error> {
    let mut targets = Targets::new();
    for module in modules {
        let candidate = candidate(engine, module)?;
        let names = module.info.workflows.iter().map(|it| it.name.clone());
        targets.extend(names.map(|name| (name, candidate.clone())));
    }
    Ok(targets)
}

fn candidate(engine: &Engine, new: &NewModule) -> Result<Candidate, Error> {
    let digest = new.info.digest;
    if let Some(known) = engine.candidate(digest)? {
        return Ok(known);
    }
    let component = new.component.as_deref().unwrap_or(&new.bytes);
    let loaded = engine.sandbox.load(digest, component);
    let loaded = loaded.map_err(|error| Error::ModuleUnusable {
        module: digest,
        message: chain(&error),
    })?;
    Ok(Candidate::new(loaded, &new.info))
}

pub(crate) fn make(
    engine: &Arc<Engine>,
    modules: &[NewModule],
    targets: &Targets,
    options: &PlanOptions,
) -> Result<Plan, Error> {
    let began = Instant::now();
    let compare = |row: &Summary, on: &Candidate, is_right: fn(Status) -> bool| {
        let tried = engine.try_on(&row.id, on)?;
        // It may have ended or begun anew since its row was read.
        let tried = tried.filter(|tried| is_right(row.status) && tried.from != on.digest());
        Ok(tried.map(|tried| Looked {
            from: tried.from,
            turns: tried.turns,
            verdict: tried.verdict,
            moved: false,
        }))
    };
    let lives = |status: Status| !status.has_ended();
    let live = walk(
        engine,
        live(targets),
        targets,
        options.listed_max,
        |row, on| compare(row, on, lives),
    )?;
    let ended = match options.ended_sample {
        0 => None,
        sample => Some(walk(
            engine,
            ended(targets, sample),
            targets,
            options.listed_max,
            |row, on| compare(row, on, Status::has_ended),
        )?),
    };
    Ok(Plan {
        modules: modules.iter().map(|it| it.info.digest).collect(),
        live,
        ended,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

pub(crate) fn move_all(
    engine: &Arc<Engine>,
    targets: &Targets,
    options: &UpgradeOptions,
) -> Result<Compared, Error> {
    let allow = options.allow_input_changes;
    walk(
        engine,
        live(targets),
        targets,
        options.listed_max,
        |row, to| {
            let end = engine.move_instance(&row.id, to, allow)?;
            Ok(end.filter(|end| end.from != to.digest()).map(|end| Looked {
                from: end.from,
                turns: end.turns,
                verdict: end.verdict,
                moved: end.moved,
            }))
        },
    )
}

/// What came of one instance.
struct Looked {
    from: Digest,
    turns: u64,
    verdict: Verdict,
    moved: bool,
}

/// Rows that are still to be looked for: so many of those that fit at most.
struct Search {
    query: Query,
    left: usize,
}

fn live(targets: &Targets) -> VecDeque<Search> {
    let all = Status::ALL.into_iter();
    let statuses: Vec<_> = all.filter(|status| !status.has_ended()).collect();
    let search = |workflow: &Name| Search {
        query: Query {
            workflow: Some(workflow.clone()),
            statuses: statuses.clone(),
            limit: ROWS_AT_ONCE,
            ..Query::default()
        },
        left: usize::MAX,
    };
    targets.keys().map(search).collect()
}

fn ended(targets: &Targets, sample: usize) -> VecDeque<Search> {
    let all = Status::ALL.into_iter();
    let statuses: Vec<_> = all.filter(|status| status.has_ended()).collect();
    let search = |workflow: &Name| Search {
        query: Query {
            workflow: Some(workflow.clone()),
            statuses: statuses.clone(),
            newest_first: true,
            limit: sample.clamp(1, ROWS_AT_ONCE),
            ..Query::default()
        },
        left: sample,
    };
    targets.keys().map(search).collect()
}

/// Hands out the rows that are looked for, page by page, to whoever asks next.
struct Pages<'a> {
    store: &'a Store,
    targets: &'a Targets,
    searches: VecDeque<Search>,
    rows: VecDeque<Summary>,
}

impl Pages<'_> {
    fn next(&mut self) -> Result<Option<Summary>, wfhost_store::Error> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let Some(search) = self.searches.front_mut() else {
                return Ok(None);
            };
            let page = self.store.find(&search.query)?;
            let fits = |row: &Summary| {
                let target = self.targets.get(&row.workflow);
                target.is_some_and(|target| target.digest() != row.module)
            };
            let rows = page.rows.into_iter().filter(fits).take(search.left);
            self.rows.extend(rows);
            search.left -= self.rows.len().min(search.left);
            search.query.after = page.next;
            if page.next.is_none() || search.left == 0 {
                self.searches.pop_front();
            }
        }
    }
}

/// Has all cores look at the instances that are looked for, each at one after the other.
fn walk(
    engine: &Arc<Engine>,
    searches: VecDeque<Search>,
    targets: &Targets,
    listed_max: usize,
    look: impl Fn(&Summary, &Candidate) -> Result<Option<Looked>, Error> + Sync,
) -> Result<Compared, Error> {
    let pages = Mutex::new(Pages {
        store: &engine.store,
        targets,
        searches,
        rows: VecDeque::new(),
    });
    let gathering = Mutex::new(Gathering::default());
    let work = || -> Result<(), Error> {
        while let Some(row) = lock(&pages).next()? {
            let Some(target) = targets.get(&row.workflow) else {
                continue;
            };
            if let Some(looked) = look(&row, target)? {
                let one = InstanceVerdict {
                    id: row.id,
                    workflow: row.workflow,
                    status: row.status,
                    from: looked.from,
                    to: target.digest(),
                    verdict: looked.verdict,
                    moved: looked.moved,
                };
                lock(&gathering).add(row.number, looked.turns, one, listed_max);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..engine.cores).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| {
            // It panics only by a mistake of the host, which has been printed.
            worker.join().unwrap_or(Err(Error::Unknown))
        });
        // All of them first: none is left at work.
        ends.collect::<Vec<_>>()
            .into_iter()
            .collect::<Result<(), _>>()
    })?;
    let gathering = gathering.into_inner();
    let gathering = gathering.unwrap_or_else(PoisonError::into_inner);
    Ok(gathering.finish(listed_max))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For those who ask which module a name means.
pub(crate) fn offers(engine: &Engine, module: Digest, workflow: &Name) -> Result<bool, Error> {
    let info = engine.store.module(module)?;
    Ok(info.is_some_and(|info| {
        info.offers()
            .any(|(role, name)| role == Role::Workflow && name == workflow)
    }))
}
