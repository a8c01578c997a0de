//! The host of a test, life after life.
//!
//! A life is a host in a runtime of its own, as a process would have it: when both are gone nothing
//! of it is left but its data. This room alone decides when a life ends ([`Lives::act`],
//! [`Lives::rest`]), and what the next one finds ([`Lives::open`]).

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use tokio::runtime::Runtime;
use wfhost::{Clock, Compiler, Error, Host, Memory, Options, Query, Timestamp, Upload};

use crate::{Mode, modules};

/// More than a test of any use needs.
const LIVES_MAX: u64 = 100_000;

pub(crate) struct Lives {
    pub(crate) mode: Mode,
    /// Deployed when the first life begins.
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) options: Options,
    /// Outlives the hosts that die.
    memory: Memory,
    compiler: RefCell<Option<Compiler>>,
    life: RefCell<Option<Life>>,
    /// How many there have been.
    count: Cell<u64>,
}

/// Goes from top to bottom: the host first, then what it may have left running.
struct Life {
    host: Host,
    runtime: Runtime,
    /// How much had been submitted when it began.
    submitted: u64,
}

impl Lives {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            mode: Mode::default(),
            modules: Vec::new(),
            options,
            memory: Memory::default(),
            compiler: RefCell::default(),
            life: RefCell::default(),
            count: Cell::default(),
        }
    }

    pub(crate) fn have_begun(&self) -> bool {
        self.life.borrow().is_some()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.options.clock
    }

    /// Does something with the host. Where it dies of it, the next one does it again, so it must be
    /// something that is done once however often it is asked for.
    pub(crate) fn act<T>(&self, what: impl AsyncFn(&Host) -> Result<T, Error>) -> Result<T, Error> {
        self.begin()?;
        loop {
            let done = self.with(|life| life.runtime.block_on(what(&life.host)));
            match done {
                Err(error) if self.may_die() && is_death(&error) => self.next()?,
                done => return done,
            }
        }
    }

    /// Lets the host do all that it can without time passing. Says when the next timer is due.
    pub(crate) fn rest(&self) -> Result<Option<Timestamp>, Error> {
        loop {
            let next = self.act(async |host: &Host| {
                host.quiet().await?;
                Ok(host.next_timer())
            })?;
            let has_moved = self.with(|life| life.host.submitted().0 > life.submitted);
            if !(self.may_die() && has_moved) {
                return Ok(next);
            }
            self.next()?;
        }
    }

    fn may_die(&self) -> bool {
        self.mode == Mode::Crashing
    }

    fn begin(&self) -> Result<(), Error> {
        if self.have_begun() {
            return Ok(());
        }
        let uploads = self.modules.iter().map(|path| modules::upload(path));
        let uploads: Vec<Upload> = uploads.collect::<Result<_, _>>()?;
        let life = self.open()?;
        life.runtime.block_on(life.host.deploy(uploads))?;
        self.life.replace(Some(life));
        Ok(())
    }

    /// Ends this life and begins the next, which goes on with all that has not ended.
    fn next(&self) -> Result<(), Error> {
        drop(self.life.take());
        assert!(
            self.count.get() < LIVES_MAX,
            "the host died {LIVES_MAX} times: it gets nowhere"
        );
        let life = self.open()?;
        let driven = life.runtime.block_on(drive_all(&life.host));
        self.life.replace(Some(life));
        match driven {
            // Its steps were taken before all were driven. Whoever asks it for something finds out.
            Err(error) if is_death(&error) => Ok(()),
            driven => driven,
        }
    }

    fn open(&self) -> Result<Life, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the system can start a thread");
        let host = runtime.block_on(async { self.open_host() })?;
        let submitted = host.submitted().0;
        Ok(Life {
            host,
            runtime,
            submitted,
        })
    }

    fn open_host(&self) -> Result<Host, Error> {
        let mut options = self.options.clone();
        match self.mode {
            Mode::Steady => {}
            Mode::Evicting => options.guests_warm_max = 0,
            Mode::Crashing => options.store.submissions_max = Some(self.submissions()),
        }
        let mut compiler = self.compiler.borrow_mut();
        let compiler = match compiler.as_ref() {
            Some(compiler) => compiler,
            None => compiler.insert(Compiler::new(&options)?),
        };
        Host::on_memory(&self.memory, compiler, options)
    }

    /// How much may be submitted in a life that ends by it: one step, and two in each second life, so
    /// that an attempt that reaches the outside can be both started and ended.
    fn submissions(&self) -> u64 {
        1 + self.count.replace(self.count.get() + 1) % 2
    }

    fn with<T>(&self, look: impl FnOnce(&Life) -> T) -> T {
        look(
            self.life
                .borrow()
                .as_ref()
                .expect("whoever looks has begun it"),
        )
    }
}

/// Whether a host that says so is of no more use.
fn is_death(error: &Error) -> bool {
    matches!(error, Error::Unknown | Error::Store(_))
}

async fn drive_all(host: &Host) -> Result<(), Error> {
    let all = Query {
        limit: usize::MAX,
        ..Query::default()
    };
    let rows = host.find(&all).await?.rows;
    for row in rows.iter().filter(|row| !row.status.has_ended()) {
        host.drive(&row.id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{Mode, Test};

    #[test]
    fn a_host_that_dies_after_each_step_goes_on_in_its_next_life() {
        let steps = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workflows/steps");
        let test = Test::of(steps).mode(Mode::Crashing);
        let report = test.start("Steps", json!({"steps": 5})).wait();
        assert_eq!(report.output(), &json!(5));
        assert_eq!(report.activities().len(), 5);
        assert!(report.activities().iter().all(|call| call.attempts == 1));
        // A start, six turns and five attempts; in each life one or two of them.
        let lives = test.lives.count.get();
        assert!(lives > 6, "{lives} lives\n{report}");
    }
}
