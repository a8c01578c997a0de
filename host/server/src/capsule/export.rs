//! Writing a capsule.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::json;
use wfhost_core::codec::{self, Chain};
use wfhost_core::record::Record;
use wfhost_core::{Digest, Instance, InstanceId, Timestamp};

use super::format::{Kind, Sections};
use super::read::CapsuleError;
use crate::error::Error;
use crate::host::Host;

/// What went into a capsule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The size of the capsule.
    pub bytes: u64,
    /// How many records it holds.
    pub records: u64,
    /// How many of them are turns.
    pub turns: u64,
    /// The modules in it.
    pub modules: Vec<Digest>,
}

/// The owner of a record that stands in no data file.
const NOBODY: u64 = 0;

impl Host {
    /// Writes an instance into a capsule: its history as far as it is kept and durable, and the
    /// modules that its workflow ran on. One record after the other, so that memory does not grow
    /// with the history. Payloads are written as they are, personal data among them.
    ///
    /// The capsule is whole only if this returns `Ok`: write it under another name until then.
    ///
    /// # Errors
    /// If there is no such instance, the data file failed, or `to` cannot be written.
    pub async fn export(
        &self,
        id: &InstanceId,
        to: &mut (dyn Write + Send),
    ) -> Result<Exported, Error> {
        // Waits until all that it has seen is durable.
        let instance = self.instance(id).await?;
        let mut sections = Sections::begin(to).map_err(io)?;
        let header = header(&instance, self.engine().now()).to_string();
        sections
            .section(Kind::Header, header.as_bytes())
            .map_err(io)?;
        let mut needed = Needed::default();
        let (mut chain, mut records, mut turns) = (Chain::default(), 0, 0);
        self.history(id, |record| {
            needed.see(&record);
            records += 1;
            turns += u64::from(matches!(record.original(), Record::Turn(_)));
            let encoded = codec::encode(NOBODY, chain, &record);
            chain = Chain::to(&encoded);
            sections.section(Kind::Record, &encoded).map_err(io)
        })?;
        let mut modules = needed.before;
        // What earlier generations ran on may have gone from the data file.
        for module in modules.clone() {
            if self.store.module(module)?.is_none() {
                modules.remove(&module);
            }
        }
        modules.extend(needed.now);
        for module in &modules {
            self.export_module(*module, &mut sections)?;
        }
        Ok(Exported {
            bytes: sections.end().map_err(io)?,
            records,
            turns,
            modules: modules.into_iter().collect(),
        })
    }

    fn export_module(&self, digest: Digest, sections: &mut Sections<'_>) -> Result<(), Error> {
        let missing = || Error::ModuleUnusable {
            module: digest,
            message: "the data file does not hold it".into(),
        };
        let info = self.store.module(digest)?.ok_or_else(missing)?;
        let bytes = self.store.module_bytes(digest)?.ok_or_else(missing)?;
        let text = serde_json::to_vec(&info).expect("a description is plain data");
        sections.section(Kind::Module, &text).map_err(io)?;
        sections.section(Kind::Bytes, &bytes).map_err(io)?;
        if info.component != digest {
            let component = self.store.component(info.component)?;
            let component = component.ok_or_else(missing)?;
            sections.section(Kind::Component, &component).map_err(io)?;
        }
        Ok(())
    }
}

fn header(instance: &Instance, exported_at: Timestamp) -> serde_json::Value {
    let started = instance.started();
    json!({
        "host": env!("CARGO_PKG_VERSION"),
        "exported_at": exported_at.to_string(),
        "id": started.id.as_str(),
        "run": started.run.to_string(),
        "workflow": started.workflow.as_str(),
        "contract": started.contract,
        "feature_set": started.features,
        // What that number stands for on this host.
        "features": (started.features == wfhost_sandbox::FEATURE_SET)
            .then_some(wfhost_sandbox::FEATURES),
    })
}

/// The modules that a replay of records runs on: of each generation the one that ran it last.
#[derive(Default)]
pub(super) struct Needed {
    /// Those of earlier generations; without one, its generation is not run.
    pub(super) before: BTreeSet<Digest>,
    /// That of the last.
    pub(super) now: Option<Digest>,
}

impl Needed {
    pub(super) fn see(&mut self, record: &Record) {
        let record = record.original();
        if matches!(record, Record::Started(_)) {
            self.before.extend(self.now);
        }
        self.now = record.runs_on().or(self.now);
    }
}

fn io(error: std::io::Error) -> Error {
    CapsuleError::Io(error).into()
}
