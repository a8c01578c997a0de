//! Which modules something needs, and removing those that nothing does.
//!
//! A module is removed from the registry in the same critical section in which it is seen that no
//! instance is recorded on it: whoever records one after that is refused. No deployment, no commit
//! and no purge comes between that and the look at the file, so that an instance is either in the
//! file or among the records that are not gathered. Both count: after a crash it may stand as the
//! file has it, or as any of these records left it.

mod census;
pub(crate) mod needs;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use wfhost_core::{DeploymentNumber, Digest, InstanceId, ModuleInfo, Name, Role, Share};

use crate::error::{Error, Fault};
use crate::modules::remove_info;
use crate::tables::{BLOBS, MODULES, NAMESPACE};
use crate::{Inner, Store};
use census::Census;

/// How modules are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcOptions {
    /// What the next rollback needs stays.
    pub keep_for_rollback: bool,
    /// Nothing is removed; it is only said what would be.
    pub dry_run: bool,
}

impl Default for GcOptions {
    /// Removes, and keeps what the next rollback needs.
    fn default() -> Self {
        Self {
            keep_for_rollback: true,
            dry_run: false,
        }
    }
}

/// Why a module stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A name means it.
    Bound {
        /// What the name is for.
        role: Role,
        /// The name.
        name: Name,
        /// For which share of the instances; the whole, unless a module is being rolled out.
        share: Share,
    },
    /// Instances run on it that have not ended.
    Running {
        /// How many.
        instances: u64,
        /// One of them.
        example: InstanceId,
    },
    /// Instances ran on it that have ended and are kept: without it they could neither be replayed
    /// nor asked. Purging them helps.
    Ended {
        /// How many.
        instances: u64,
        /// One of them.
        example: InstanceId,
    },
    /// Attempts or starts on it are under way.
    InUse {
        /// How many.
        holders: usize,
    },
    /// Undoing this deployment, which the next rollback does, needs it.
    Rollback {
        /// Which.
        deployment: DeploymentNumber,
    },
    /// It was deployed together with a module that is needed, and both have workflows: a child may
    /// be asked to start on its parent's deployment. Told only where nothing else needs it.
    DeployedWith {
        /// That module.
        module: Digest,
    },
}

/// A module, and why it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleNeeds {
    /// Which.
    pub digest: Digest,
    /// Where it came from, for people.
    pub label: String,
    /// Every reason; none: nothing needs it.
    pub needs: Vec<Need>,
}

/// A module that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedModule {
    /// Which.
    pub digest: Digest,
    /// Where it came from, for people.
    pub label: String,
    /// How many bytes of it went: those uploaded and the component made of them, but for what
    /// another module has too.
    pub bytes: u64,
}

/// What [`Store::gc`] did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// What went, by the time of the first deployment.
    pub removed: Vec<RemovedModule>,
    /// What stayed, and why, by the time of the first deployment.
    pub kept: Vec<ModuleNeeds>,
}

impl Collected {
    /// How many bytes went, in all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.removed.iter().map(|module| module.bytes).sum()
    }
}

impl Store {
    /// For each module why it stays, by the time of its first deployment. Instances are counted as
    /// of a moment ago.
    ///
    /// It may not be called where [`Store::on_durable`] calls back.
    ///
    /// # Errors
    /// If the store is closed, the disk fails, or a commit does.
    pub fn module_needs(&self, keep_for_rollback: bool) -> Result<Vec<ModuleNeeds>, Error> {
        let options = GcOptions {
            keep_for_rollback,
            dry_run: true,
        };
        let (all, _) = self.inner.sort_out(options)?;
        Ok(all)
    }

    /// Removes the modules that nothing needs, with their bytes, in one transaction that is durable
    /// when this returns. The space is used again by what is written next.
    ///
    /// It may be called while instances start, go on and end, and modules are deployed; but not where
    /// [`Store::on_durable`] calls back. Counting reads an entry of each instance and the row of
    /// each that has not ended; meanwhile nobody waits.
    ///
    /// # Errors
    /// If the store is closed, the disk fails, or a commit does; after that nothing is known of the
    /// removal.
    pub fn gc(&self, options: GcOptions) -> Result<Collected, Error> {
        let (all, removed) = self.inner.sort_out(options)?;
        let kept = all.into_iter().filter(|module| !module.needs.is_empty());
        Ok(Collected {
            removed,
            kept: kept.collect(),
        })
    }
}

impl Inner {
    /// All modules and why they stay, and what went.
    fn sort_out(
        &self,
        options: GcOptions,
    ) -> Result<(Vec<ModuleNeeds>, Vec<RemovedModule>), Error> {
        drop(self.taking()?);
        // What is gathered is counted by the index.
        self.gather()
            .inspect_err(|error| self.fail(error.clone()))?;
        let census = self.census()?;
        let _deploying = self.deploying()?;
        let _writing = self.writing();
        let survey = self.survey(census, options.keep_for_rollback)?;
        let (all, doomed) = {
            let mut ledger = self.usable()?;
            let needs = needs::of(&survey, &ledger);
            let all = describe(&survey.modules, needs);
            let unneeded = all.iter().filter(|module| module.needs.is_empty());
            let doomed: BTreeSet<Digest> = unneeded.map(|module| module.digest).collect();
            if !options.dry_run {
                doomed
                    .iter()
                    .for_each(|module| ledger.registry.forget(*module));
            }
            (all, doomed)
        };
        let removed = if doomed.is_empty() {
            Vec::new()
        } else if options.dry_run {
            self.read(|transaction| {
                let blobs = transaction.open_table(BLOBS)?;
                remove(&survey.modules, &doomed, |digest| {
                    let blob = blobs.get((NAMESPACE, digest.as_bytes()))?;
                    Ok(blob.map_or(0, |blob| blob.value().len() as u64))
                })
            })?
        } else {
            let written = self.write(|transaction| {
                let mut modules = transaction.open_table(MODULES)?;
                for digest in &doomed {
                    remove_info(&mut modules, *digest)?;
                }
                let mut blobs = transaction.open_table(BLOBS)?;
                remove(&survey.modules, &doomed, |digest| {
                    let blob = blobs.remove((NAMESPACE, digest.as_bytes()))?;
                    Ok(blob.map_or(0, |blob| blob.value().len() as u64))
                })
            });
            self.counts.commits.fetch_add(1, Ordering::Relaxed);
            written.inspect_err(|error| self.fail(error.clone()))?
        };
        Ok((all, removed))
    }
}

/// What the file says, while nothing changes it.
pub(crate) struct Survey {
    /// By the time of their first deployment.
    modules: Vec<ModuleInfo>,
    census: Census,
    /// What the next rollback needs.
    rollback: Option<(DeploymentNumber, BTreeSet<Digest>)>,
}

impl Inner {
    pub(crate) fn survey(
        &self,
        mut census: Census,
        keep_for_rollback: bool,
    ) -> Result<Survey, Error> {
        let modules = self.read(|transaction| {
            let modules = crate::modules::read_modules(transaction)?;
            census.look_again(transaction, &modules)?;
            Ok(modules)
        })?;
        let counting = if keep_for_rollback {
            self.counting()?
        } else {
            None
        };
        let rollback = counting.map(|number| {
            let needed = self.deployment(number)?.needs_to_undo().collect();
            Ok::<_, Error>((number, needed))
        });
        Ok(Survey {
            modules,
            census,
            rollback: rollback.transpose()?,
        })
    }
}

fn describe(modules: &[ModuleInfo], mut needs: needs::Needs) -> Vec<ModuleNeeds> {
    let one = |info: &ModuleInfo| ModuleNeeds {
        digest: info.digest,
        label: info.label.clone(),
        needs: needs.remove(&info.digest).unwrap_or_default(),
    };
    modules.iter().map(one).collect()
}

/// Removes the bytes of the doomed modules that no other has, each once.
fn remove(
    modules: &[ModuleInfo],
    doomed: &BTreeSet<Digest>,
    mut remove_blob: impl FnMut(Digest) -> Result<u64, Fault>,
) -> Result<Vec<RemovedModule>, Fault> {
    let is_doomed = |info: &&ModuleInfo| doomed.contains(&info.digest);
    let kept = modules.iter().filter(|info| !is_doomed(info));
    let mut done: BTreeSet<Digest> = kept
        .flat_map(|info| [info.digest, info.component])
        .collect();
    let mut removed = Vec::new();
    for info in modules.iter().filter(is_doomed) {
        let mut bytes = 0;
        for digest in [info.digest, info.component] {
            if done.insert(digest) {
                bytes += remove_blob(digest)?;
            }
        }
        removed.push(RemovedModule {
            digest: info.digest,
            label: info.label.clone(),
            bytes,
        });
    }
    Ok(removed)
}
