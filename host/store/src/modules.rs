//! Modules and bindings.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use redb::ReadableTable;
use wfhost_core::{Digest, ModuleInfo, Name, Role, Timestamp};

use crate::error::{Error, Fault};
use crate::tables::{
    BINDINGS, BLOBS, MODULES, NAMESPACE, checked, read_row, role_number, role_of, verified,
    write_row,
};
use crate::{Inner, Store};

/// Which module each name means.
pub(crate) type Bindings = BTreeMap<(Role, Name), Digest>;

/// A module to be deployed.
#[derive(Debug, Clone)]
pub struct NewModule {
    /// What it was found to be; its digest is that of `bytes`.
    pub info: ModuleInfo,
    /// The bytes as they were uploaded.
    pub bytes: Vec<u8>,
    /// The component that was made of them; absent if they are a component.
    pub component: Option<Vec<u8>>,
}

/// A binding that a deployment moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// What the name is for.
    pub role: Role,
    /// The name.
    pub name: Name,
    /// The module that it meant before, if any.
    pub from: Option<Digest>,
    /// The module that it means now.
    pub to: Digest,
}

impl Store {
    /// Stores modules and moves the bindings of every name they offer, later modules over earlier
    /// ones, in one transaction that is durable when this returns. A known module is not stored
    /// again and keeps the time of its first deployment. Returns the bindings that now mean
    /// another module than before.
    ///
    /// # Errors
    /// As [`Store::submit`]; after a failed commit nothing is known of the deployment.
    pub fn deploy(&self, modules: Vec<NewModule>, at: Timestamp) -> Result<Vec<Moved>, Error> {
        let inner = &self.inner;
        drop(inner.taking()?);
        // Held to the end: bindings in memory move in the order of the transactions.
        let _deploying = inner
            .deploying
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = inner.bindings().clone();
        let mut after = before.clone();
        for module in &modules {
            let names = module.info.offers();
            after.extend(names.map(|(role, name)| ((role, name.clone()), module.info.digest)));
        }
        let moved = moves(&before, &after);
        let written = inner.write(|transaction| {
            for module in &modules {
                store_module(transaction, module, at)?;
            }
            let mut table = transaction.open_table(BINDINGS)?;
            for moved in &moved {
                let key = (NAMESPACE, role_number(moved.role), moved.name.as_str());
                table.insert(key, write_row(&moved.to).as_slice())?;
            }
            Ok(())
        });
        if let Err(error) = written {
            inner.fail(error.clone());
            return Err(error);
        }
        *inner.bindings_mut() = after;
        Ok(moved)
    }

    /// What a module offers and where it came from.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn module(&self, digest: Digest) -> Result<Option<ModuleInfo>, Error> {
        self.inner.read(|transaction| {
            let table = transaction.open_table(MODULES)?;
            let row = table.get((NAMESPACE, digest.as_bytes()))?;
            row.map(|row| read_info(row.value())).transpose()
        })
    }

    /// All modules, by the time of their first deployment.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn modules(&self) -> Result<Vec<ModuleInfo>, Error> {
        let mut modules = self.inner.read(|transaction| {
            let table = transaction.open_table(MODULES)?;
            let rows = table.range((NAMESPACE, &[0; 32])..=(NAMESPACE, &[255; 32]))?;
            let infos = rows.map(|row| read_info(row?.1.value()));
            infos.collect::<Result<Vec<ModuleInfo>, Fault>>()
        })?;
        modules.sort_by_key(|info| (info.deployed_at, info.digest));
        Ok(modules)
    }

    /// The bytes of a module as they were uploaded, by the module's digest.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn module_bytes(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        self.inner.blob(digest)
    }

    /// The bytes of a component, by its own digest.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn component(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        self.inner.blob(digest)
    }

    /// The module that a name means now. Reads memory only.
    ///
    /// # Errors
    /// If the store is closed or a commit has failed.
    pub fn binding(&self, role: Role, name: &Name) -> Result<Option<Digest>, Error> {
        drop(self.inner.usable()?);
        let bindings = self.inner.bindings();
        Ok(bindings.get(&(role, name.clone())).copied())
    }

    /// All bindings, workflows first, by name.
    ///
    /// # Errors
    /// If the store is closed or a commit has failed.
    pub fn bindings(&self) -> Result<Vec<(Role, Name, Digest)>, Error> {
        drop(self.inner.usable()?);
        let bindings = self.inner.bindings();
        let all = bindings
            .iter()
            .map(|((role, name), digest)| (*role, name.clone(), *digest));
        Ok(all.collect())
    }
}

impl Inner {
    /// The bindings, as they stand in the file.
    pub(crate) fn bindings_on_disk(&self) -> Result<Bindings, Error> {
        self.read(|transaction| {
            let table = transaction.open_table(BINDINGS)?;
            let rows = table.range((NAMESPACE, 0, "")..(NAMESPACE + 1, 0, ""))?;
            let bindings = rows.map(|row| {
                let (key, digest) = row?;
                let (_, role, name) = key.value();
                let name: Name = name.parse().map_err(|_| damaged("a binding has no name"))?;
                Ok((
                    (role_of(role)?, name),
                    read_row("bindings", digest.value())?,
                ))
            });
            bindings.collect()
        })
    }

    fn blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let bytes = self.read(|transaction| {
            let table = transaction.open_table(BLOBS)?;
            let row = table.get((NAMESPACE, digest.as_bytes()))?;
            Ok(row.map(|row| row.value().to_vec()))
        })?;
        if bytes
            .as_ref()
            .is_some_and(|bytes| Digest::of(bytes) != digest)
        {
            return Err(damaged(&format!("{digest} has other bytes")).reading(&self.path));
        }
        Ok(bytes)
    }
}

fn moves(before: &Bindings, after: &Bindings) -> Vec<Moved> {
    let moved = after.iter().filter_map(|((role, name), to)| {
        let from = before.get(&(*role, name.clone())).copied();
        (from != Some(*to)).then(|| Moved {
            role: *role,
            name: name.clone(),
            from,
            to: *to,
        })
    });
    moved.collect()
}

fn store_module(
    transaction: &redb::WriteTransaction,
    module: &NewModule,
    at: Timestamp,
) -> Result<(), Fault> {
    let mut modules = transaction.open_table(MODULES)?;
    let key = (NAMESPACE, module.info.digest.as_bytes());
    if modules.get(key)?.is_some() {
        return Ok(());
    }
    let info = ModuleInfo {
        deployed_at: at,
        ..module.info.clone()
    };
    let row = checked(serde_json::to_vec(&info).expect("a description is plain data"));
    modules.insert(key, row.as_slice())?;
    let mut blobs = transaction.open_table(BLOBS)?;
    blobs.insert(key, module.bytes.as_slice())?;
    if let Some(component) = &module.component {
        let key = (NAMESPACE, module.info.component.as_bytes());
        blobs.insert(key, component.as_slice())?;
    }
    Ok(())
}

fn read_info(row: &[u8]) -> Result<ModuleInfo, Fault> {
    serde_json::from_slice(verified("modules", row)?)
        .map_err(|error| damaged(&format!("a row of `modules` does not read: {error}")))
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(what.to_owned())
}
