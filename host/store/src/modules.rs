//! Modules, as they stand in the file.

use redb::{ReadableTable, Table};
use wfhost_core::{Bindings, Digest, ModuleInfo, Name, Timestamp};

use crate::error::{Error, Fault};
use crate::registry::Registry;
use crate::tables::{
    BINDINGS, BLOBS, MODULES, NAMESPACE, read_json_row, read_row, role_of, write_json_row,
};
use crate::{Inner, Store};

/// A module to be deployed.
#[derive(Debug, Clone)]
pub struct NewModule {
    /// What it was found to be; its digest is that of `bytes`. When and by whom it is deployed is
    /// filled in by the store.
    pub info: ModuleInfo,
    /// The bytes as they were uploaded.
    pub bytes: Vec<u8>,
    /// The component that was made of them; absent if they are a component.
    pub component: Option<Vec<u8>>,
}

impl Store {
    /// What a module offers and where it came from.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn module(&self, digest: Digest) -> Result<Option<ModuleInfo>, Error> {
        self.inner.read(|transaction| {
            let table = transaction.open_table(MODULES)?;
            let row = table.get((NAMESPACE, digest.as_bytes()))?;
            row.map(|row| read_json_row("modules", row.value()))
                .transpose()
        })
    }

    /// All modules, by the time of their first deployment.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn modules(&self) -> Result<Vec<ModuleInfo>, Error> {
        self.inner.read(read_modules)
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
}

impl Inner {
    /// The modules and the bindings, as they stand in the file.
    pub(crate) fn registry_on_disk(&self) -> Result<Registry, Error> {
        self.read(|transaction| {
            let modules = transaction.open_table(MODULES)?;
            let rows = modules.range(all_digests())?;
            let digests = rows.map(|row| Ok(Digest::from_bytes(*row?.0.value().1)));
            let digests = digests.collect::<Result<Vec<_>, Fault>>()?;
            Ok(Registry::new(digests, read_bindings(transaction)?))
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

/// All modules, by the time of their first deployment.
pub(crate) fn read_modules(transaction: &redb::ReadTransaction) -> Result<Vec<ModuleInfo>, Fault> {
    let table = transaction.open_table(MODULES)?;
    let rows = table.range(all_digests())?;
    let infos = rows.map(|row| read_json_row("modules", row?.1.value()));
    let mut infos = infos.collect::<Result<Vec<ModuleInfo>, Fault>>()?;
    infos.sort_by_key(|info| (info.deployed_at, info.digest));
    Ok(infos)
}

fn read_bindings(transaction: &redb::ReadTransaction) -> Result<Bindings, Fault> {
    let table = transaction.open_table(BINDINGS)?;
    let rows = table.range((NAMESPACE, 0, "")..(NAMESPACE + 1, 0, ""))?;
    let bindings = rows.map(|row| {
        let (key, binding) = row?;
        let (_, role, name) = key.value();
        let name: Name = name.parse().map_err(|_| damaged("a binding has no name"))?;
        let binding = read_row("bindings", binding.value())?;
        Ok(((role_of(role)?, name), binding))
    });
    bindings.collect()
}

fn all_digests() -> std::ops::RangeInclusive<(u32, &'static [u8; 32])> {
    (NAMESPACE, &[0; 32])..=(NAMESPACE, &[255; 32])
}

/// Writes a module, unless it is there.
pub(crate) fn store_module(
    transaction: &redb::WriteTransaction,
    module: &NewModule,
    by: Option<&str>,
    at: Timestamp,
) -> Result<(), Fault> {
    let mut modules = transaction.open_table(MODULES)?;
    let key = (NAMESPACE, module.info.digest.as_bytes());
    if modules.get(key)?.is_some() {
        return Ok(());
    }
    let info = ModuleInfo {
        deployed_at: at,
        deployed_by: by.map(str::to_owned),
        ..module.info.clone()
    };
    modules.insert(key, write_json_row(&info).as_slice())?;
    let mut blobs = transaction.open_table(BLOBS)?;
    blobs.insert(key, module.bytes.as_slice())?;
    if let Some(component) = &module.component {
        let key = (NAMESPACE, module.info.component.as_bytes());
        blobs.insert(key, component.as_slice())?;
    }
    Ok(())
}

/// Removes a module's description; its bytes stay.
pub(crate) fn remove_info(
    modules: &mut Table<'_, (u32, &'static [u8; 32]), &'static [u8]>,
    digest: Digest,
) -> Result<(), Fault> {
    modules.remove((NAMESPACE, digest.as_bytes()))?;
    Ok(())
}

fn damaged(what: &str) -> Fault {
    Fault::Damaged(what.to_owned())
}
