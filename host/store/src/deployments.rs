//! Deployments: what brings modules and moves bindings, each in one transaction, and each a row of
//! its own, so that it can be told and undone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use wfhost_core::deployment::moves;
use wfhost_core::{
    Binding, Bindings, Deployment, DeploymentKind, DeploymentNumber, Digest, Moved, Name, Role,
    Share, Timestamp,
};

use crate::error::{BindingError, Error, Fault};
use crate::modules::{NewModule, store_module};
use crate::tables::{
    BINDINGS, DEPLOYMENTS, NAMESPACE, read_json_row, role_number, write_json_row, write_row,
};
use crate::{Inner, Store};

/// Which names are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// All that have a candidate.
    All,
    /// These; each must have one.
    These(BTreeSet<(Role, Name)>),
}

/// One at a time.
pub(crate) type Deploying<'a> = MutexGuard<'a, ()>;

/// What is to become of the modules and bindings.
struct Change {
    kind: DeploymentKind,
    modules: Vec<NewModule>,
    after: Bindings,
    counts: Counts,
}

/// Which deployment counts after a change.
enum Counts {
    /// That change, if it moves anything.
    Itself,
    /// An earlier one, or none.
    Earlier(Option<DeploymentNumber>),
}

/// Deploying. Each is durable when it returns; a crash leaves all of it or nothing.
impl Store {
    /// Stores modules and moves the bindings of every name they offer, later modules over earlier
    /// ones. A known module is not stored again and keeps when and by whom it was first deployed.
    /// With a share the modules become candidates beside those that have the names, as
    /// [`Binding::deployed`] says; without, they take the names over.
    ///
    /// Returns the deployment; `None` if it brought nothing new and moved nothing, so that nothing
    /// was written.
    ///
    /// # Errors
    /// If the store is closed or a commit fails; after that nothing is known of the deployment.
    pub fn deploy(
        &self,
        modules: Vec<NewModule>,
        share: Option<Share>,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<Option<Deployment>, Error> {
        let deploying = self.inner.deploying()?;
        let mut after = self.inner.current_bindings()?;
        let infos = modules.iter().map(|module| &module.info);
        let offered = infos.flat_map(|info| {
            let names = info.offers();
            names.map(|(role, name)| ((role, name.clone()), info.digest))
        });
        // Of two that offer a name only the later counts, also where the first would be a candidate.
        for (key, module) in offered.collect::<BTreeMap<_, _>>() {
            let binding = Binding::deployed(after.get(&key), module, share);
            after.insert(key, binding);
        }
        let change = Change {
            kind: DeploymentKind::Deploy,
            modules,
            after,
            counts: Counts::Itself,
        };
        self.inner.change(change, by, at, &deploying)
    }

    /// Gives names whole to their candidates.
    ///
    /// # Errors
    /// [`BindingError::NoCandidate`] or [`BindingError::NoCandidates`] if there is nothing to
    /// promote; else as [`Store::deploy`].
    pub fn promote(
        &self,
        names: &Names,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<Deployment, BindingError> {
        let end = Binding::promoted;
        self.end_roll_out(DeploymentKind::Promote, names, end, by, at)
    }

    /// Takes candidates away from their names.
    ///
    /// # Errors
    /// As [`Store::promote`].
    pub fn abort(
        &self,
        names: &Names,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<Deployment, BindingError> {
        let end = Binding::aborted;
        self.end_roll_out(DeploymentKind::Abort, names, end, by, at)
    }

    /// Undoes the deployment that counts now: every binding that it moved means again what it meant
    /// before, and one that it made is gone. The deployment before it counts then, so that the next
    /// rollback goes one further back. A rollback itself is not undone so; deploy again, or use
    /// [`Store::rollback_to`].
    ///
    /// # Errors
    /// [`BindingError::NothingToUndo`], [`BindingError::ModuleRemoved`] or
    /// [`BindingError::MovedSince`]; else as [`Store::deploy`].
    pub fn rollback(&self, by: Option<&str>, at: Timestamp) -> Result<Deployment, BindingError> {
        let deploying = self.inner.deploying()?;
        let of = self.inner.counting()?.ok_or(BindingError::NothingToUndo)?;
        let undone = self.inner.deployment(of)?;
        let mut after = self.inner.current_bindings()?;
        undone
            .undo(&mut after)
            .map_err(|moved| BindingError::MovedSince { number: of, moved })?;
        let kind = DeploymentKind::Rollback { of };
        let change = Change {
            kind,
            modules: Vec::new(),
            after,
            counts: Counts::Earlier(undone.before),
        };
        let made = self.inner.change_back(change, by, at, &deploying)?;
        made.ok_or(BindingError::NothingToUndo)
    }

    /// Puts all bindings back to how they stood after a deployment of any kind, be it undone or not.
    /// The one that counted then counts again. `None` if all stands so already: then nothing was
    /// written.
    ///
    /// # Errors
    /// [`BindingError::NoSuchDeployment`], [`BindingError::ModuleRemoved`] or
    /// [`BindingError::MovedSince`]; else as [`Store::deploy`].
    pub fn rollback_to(
        &self,
        number: DeploymentNumber,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<Option<Deployment>, BindingError> {
        let deploying = self.inner.deploying()?;
        let newest = self.inner.newest_deployment()?.map(|it| it.number);
        if number.0 == 0 || Some(number) > newest {
            return Err(BindingError::NoSuchDeployment { number, newest });
        }
        let counts = self.inner.deployment(number)?.counts;
        let after = self.inner.bindings_at(counts)?;
        let change = Change {
            kind: DeploymentKind::RollbackTo { number },
            modules: Vec::new(),
            after,
            counts: Counts::Earlier(counts),
        };
        self.inner.change_back(change, by, at, &deploying)
    }

    /// Deployments of all kinds, the newest first, at most `limit`; only those before a number, if
    /// one is given.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn deployments(
        &self,
        before: Option<DeploymentNumber>,
        limit: usize,
    ) -> Result<Vec<Deployment>, Error> {
        let end = before.map_or(u64::MAX, |before| before.0);
        self.inner.read(|transaction| {
            let table = transaction.open_table(DEPLOYMENTS)?;
            let rows = table.range((NAMESPACE, 0)..(NAMESPACE, end))?.rev();
            let rows = rows.take(limit);
            rows.map(|row| read_json_row("deployments", row?.1.value()))
                .collect()
        })
    }

    fn end_roll_out(
        &self,
        kind: DeploymentKind,
        names: &Names,
        end: impl Fn(&Binding) -> Option<Binding>,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<Deployment, BindingError> {
        let deploying = self.inner.deploying()?;
        let mut after = self.inner.current_bindings()?;
        let keys: Vec<_> = match names {
            Names::All => after.keys().cloned().collect(),
            Names::These(names) => names.iter().cloned().collect(),
        };
        for (role, name) in keys {
            let key = (role, name);
            match after.get(&key).and_then(&end) {
                Some(binding) => drop(after.insert(key, binding)),
                None if *names == Names::All => {}
                None => {
                    let (role, name) = key;
                    return Err(BindingError::NoCandidate { role, name });
                }
            }
        }
        let change = Change {
            kind,
            modules: Vec::new(),
            after,
            counts: Counts::Itself,
        };
        let made = self.inner.change(change, by, at, &deploying)?;
        made.ok_or(BindingError::NoCandidates)
    }
}

impl Inner {
    /// Nobody else deploys or removes modules meanwhile. Locked before all else.
    pub(crate) fn deploying(&self) -> Result<Deploying<'_>, Error> {
        drop(self.taking()?);
        let deploying = self.deploying.lock();
        Ok(deploying.unwrap_or_else(PoisonError::into_inner))
    }

    /// The deployment that the next rollback undoes.
    pub(crate) fn counting(&self) -> Result<Option<DeploymentNumber>, Error> {
        Ok(self.newest_deployment()?.and_then(|newest| newest.counts))
    }

    /// A deployment that must be there.
    pub(crate) fn deployment(&self, number: DeploymentNumber) -> Result<Deployment, Error> {
        self.read(|transaction| {
            let table = transaction.open_table(DEPLOYMENTS)?;
            let row = table.get((NAMESPACE, number.0))?;
            let row = row.ok_or_else(|| damaged(number, "is missing"))?;
            let deployment: Deployment = read_json_row("deployments", row.value())?;
            // So the way from one to the one before it has an end.
            if deployment.number != number || deployment.before >= Some(number) {
                return Err(damaged(number, "is another"));
            }
            Ok(deployment)
        })
    }

    fn newest_deployment(&self) -> Result<Option<Deployment>, Error> {
        let number = self.read(|transaction| {
            let table = transaction.open_table(DEPLOYMENTS)?;
            let mut last = table.range((NAMESPACE, 0)..=(NAMESPACE, u64::MAX))?;
            let last = last.next_back().transpose()?;
            Ok(last.map(|(key, _)| DeploymentNumber(key.value().1)))
        })?;
        number.map(|number| self.deployment(number)).transpose()
    }

    fn current_bindings(&self) -> Result<Bindings, Error> {
        Ok(self.usable()?.registry.bindings().clone())
    }

    /// The bindings as they were when that deployment counted: what counts now is undone down to
    /// where the ways of the two part, and the other's way is gone from there.
    fn bindings_at(&self, goal: Option<DeploymentNumber>) -> Result<Bindings, BindingError> {
        let mut way = BTreeMap::new();
        let mut next = goal;
        while let Some(number) = next {
            let deployment = self.deployment(number)?;
            next = deployment.before;
            way.insert(number, deployment);
        }
        let mut bindings = self.current_bindings()?;
        let mut now = self.counting()?;
        while let Some(number) = now.filter(|number| !way.contains_key(number)) {
            let deployment = self.deployment(number)?;
            deployment
                .undo(&mut bindings)
                .map_err(|moved| BindingError::MovedSince { number, moved })?;
            now = deployment.before;
        }
        for (number, deployment) in way {
            if Some(number) > now {
                deployment.redo(&mut bindings);
            }
        }
        Ok(bindings)
    }

    /// A change to bindings that were there before: their modules may be gone since.
    fn change_back(
        &self,
        change: Change,
        by: Option<&str>,
        at: Timestamp,
        deploying: &Deploying<'_>,
    ) -> Result<Option<Deployment>, BindingError> {
        {
            let ledger = self.usable()?;
            let before = ledger.registry.bindings();
            for Moved { role, name, to, .. } in moves(before, &change.after) {
                for (module, _) in to.iter().flat_map(Binding::modules) {
                    if !ledger.registry.has(module) {
                        return Err(BindingError::ModuleRemoved { module, role, name });
                    }
                }
            }
        }
        Ok(self.change(change, by, at, deploying)?)
    }

    /// Makes a change in one transaction, and then shows it. `None` if it changes nothing.
    fn change(
        &self,
        change: Change,
        by: Option<&str>,
        at: Timestamp,
        _deploying: &Deploying<'_>,
    ) -> Result<Option<Deployment>, Error> {
        let newest = self.newest_deployment()?;
        let number = DeploymentNumber(newest.as_ref().map_or(0, |it| it.number.0) + 1);
        let before = newest.and_then(|newest| newest.counts);
        let modules = change.modules.iter().map(|module| module.info.digest);
        let modules: Vec<Digest> = modules.collect();
        let (moved, all_known) = {
            let ledger = self.usable()?;
            let moved = moves(ledger.registry.bindings(), &change.after);
            let mut known = modules.iter().map(|module| ledger.registry.has(*module));
            (moved, known.all(|known| known))
        };
        let counts = match change.counts {
            Counts::Itself if moved.is_empty() => before,
            Counts::Itself => Some(number),
            Counts::Earlier(number) => number,
        };
        if moved.is_empty() && all_known && counts == before {
            return Ok(None);
        }
        let deployment = Deployment {
            number,
            at,
            by: by.map(str::to_owned),
            kind: change.kind,
            modules,
            moved,
            before,
            counts,
        };
        let written = self.write(|transaction| {
            for module in &change.modules {
                store_module(transaction, module, by, at)?;
            }
            store(transaction, &deployment)
        });
        if let Err(error) = written {
            self.fail(error.clone());
            return Err(error);
        }
        let modules = deployment.modules.iter().copied();
        self.ledger().registry.deployed(modules, change.after);
        Ok(Some(deployment))
    }
}

/// Writes a deployment, and moves the bindings.
fn store(transaction: &redb::WriteTransaction, deployment: &Deployment) -> Result<(), Fault> {
    let mut bindings = transaction.open_table(BINDINGS)?;
    for moved in &deployment.moved {
        let key = (NAMESPACE, role_number(moved.role), moved.name.as_str());
        match &moved.to {
            Some(binding) => bindings.insert(key, write_row(binding).as_slice())?,
            None => bindings.remove(key)?,
        };
    }
    let mut deployments = transaction.open_table(DEPLOYMENTS)?;
    let row = write_json_row(deployment);
    deployments.insert((NAMESPACE, deployment.number.0), row.as_slice())?;
    Ok(())
}

fn damaged(number: DeploymentNumber, what: &str) -> Fault {
    Fault::Damaged(format!("deployment {number} {what}"))
}
