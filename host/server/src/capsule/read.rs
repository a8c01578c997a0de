//! Reading a capsule: everything is checked before any of it is used.

use std::collections::BTreeSet;
use std::io::Read;

use serde_json::Value;
use wfhost_core::codec::{self, Chain, DecodeError};
use wfhost_core::record::Record;
use wfhost_core::{Digest, InstanceId, Json, ModuleInfo};
use wfhost_store::NewModule;

use super::export::Needed;
use super::format::{self, Kind};

/// Bytes that are no capsule, or none that this host can read.
#[derive(Debug, thiserror::Error)]
pub enum CapsuleError {
    /// It is something else.
    #[error("it is no capsule; `wfhost export ID -o FILE` makes one")]
    NotACapsule,
    /// A newer host wrote it. Replay it there, or with a newer version.
    #[error(
        "it has the format {found}; this host knows the format {}: replay it with the version of \
         wfhost that wrote it, or a newer one",
        format::FORMAT
    )]
    UnknownFormat {
        /// Its format version.
        found: u32,
    },
    /// A record of it is of a kind or a format that this host does not know.
    #[error(
        "record {number}: {source}; replay it with the version of wfhost that wrote it, or a newer \
         one"
    )]
    UnknownRecord {
        /// Which record, from 1.
        number: usize,
        /// What it is.
        source: DecodeError,
    },
    /// A transfer was not complete.
    #[error("it is cut off")]
    CutOff,
    /// It was changed, or was never written by a host.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is larger than any history within the limits of a host.
    #[error("it has more than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[source] std::io::Error),
}

/// A whole capsule, in memory: an instance with its history, and the modules that it ran on.
#[derive(Debug)]
pub struct Capsule {
    header: Value,
    id: InstanceId,
    pub(super) records: Vec<Record>,
    pub(super) modules: Vec<NewModule>,
}

impl Capsule {
    /// Reads a capsule to its end, at most 4 GiB. What comes out is whole, and was written by a host or
    /// made to look so: it is no more to be trusted than a module that somebody uploads.
    ///
    /// # Errors
    /// See [`CapsuleError`].
    pub fn read(mut from: impl Read) -> Result<Self, CapsuleError> {
        let mut parts = Parts::default();
        for (kind, body) in format::read(&mut from)? {
            parts.take(kind, body)?;
        }
        parts.finish()
    }

    /// The instance.
    #[must_use]
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Who wrote it and about what: a JSON object with `host` (a version), `exported_at`, `id`,
    /// `run`, `workflow`, `contract`, `feature_set`, `features`.
    #[must_use]
    pub fn header(&self) -> &Value {
        &self.header
    }

    /// The history, as far as it was kept.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The modules that ran the workflow's code.
    pub fn modules(&self) -> impl Iterator<Item = &ModuleInfo> {
        self.modules.iter().map(|module| &module.info)
    }
}

/// What has been read so far.
#[derive(Default)]
struct Parts {
    header: Option<Value>,
    chain: Chain,
    records: Vec<Record>,
    modules: Vec<Unchecked>,
}

/// A module of which nothing is known yet.
struct Unchecked {
    info: ModuleInfo,
    bytes: Option<Vec<u8>>,
    component: Option<Vec<u8>>,
}

impl Parts {
    fn take(&mut self, kind: Kind, body: Vec<u8>) -> Result<(), CapsuleError> {
        let misplaced = |what: &str| Err(damaged(format!("{what} stands where it cannot")));
        match (kind, &self.header) {
            (Kind::Header, None) => self.header = Some(json(&body, "the header")?),
            (Kind::Header, Some(_)) => return misplaced("a second header"),
            (_, None) => return misplaced("a section before the header"),
            (Kind::Record, _) => self.record(&body)?,
            (Kind::Module, _) => {
                let info = serde_json::from_slice(&body);
                let info = info.map_err(|error| {
                    damaged(format!(
                        "the description of a module does not read: {error}"
                    ))
                })?;
                self.modules.push(Unchecked {
                    info,
                    bytes: None,
                    component: None,
                });
            }
            (Kind::Bytes, _) => match self.modules.last_mut() {
                Some(last) if last.bytes.is_none() => last.bytes = Some(body),
                _ => return misplaced("a module"),
            },
            (Kind::Component, _) => match self.modules.last_mut() {
                Some(last) if last.bytes.is_some() && last.component.is_none() => {
                    last.component = Some(body);
                }
                _ => return misplaced("a component"),
            },
            (Kind::End, _) => {}
        }
        Ok(())
    }

    fn record(&mut self, body: &[u8]) -> Result<(), CapsuleError> {
        let number = self.records.len() + 1;
        let decoded = codec::decode(body).map_err(|source| match source {
            DecodeError::Damaged(what) => damaged(format!("record {number}: {what}")),
            DecodeError::Unknown { .. } => CapsuleError::UnknownRecord { number, source },
        })?;
        if decoded.chain != self.chain {
            return Err(damaged(format!(
                "record {number} does not follow the one before it"
            )));
        }
        let mut record = decoded.record;
        for payload in record.payloads_mut() {
            if payload.stored().is_some() {
                return Err(damaged(format!("record {number} lacks a payload")));
            }
            // No host has checked it that we know of.
            Json::parse(payload.as_str())
                .map_err(|error| damaged(format!("record {number}: a payload is {error}")))?;
        }
        self.chain = Chain::to(body);
        self.records.push(record);
        Ok(())
    }

    fn finish(self) -> Result<Capsule, CapsuleError> {
        let header = self.header.ok_or_else(|| damaged("it has no header"))?;
        let Some(Record::Started(started)) = self.records.first() else {
            return Err(damaged("its history does not begin with a start"));
        };
        let id = started.id.clone();
        let modules = self.modules.into_iter().map(whole);
        let modules = modules.collect::<Result<Vec<_>, _>>()?;
        let there: BTreeSet<Digest> = modules.iter().map(|module| module.info.digest).collect();
        let mut needed = Needed::default();
        self.records.iter().for_each(|record| needed.see(record));
        if let Some(missing) = needed.now.filter(|it| !there.contains(it)) {
            return Err(damaged(format!("it lacks the module {missing}")));
        }
        Ok(Capsule {
            header,
            id,
            records: self.records,
            modules,
        })
    }
}

/// A module whose bytes are those that its digests name.
fn whole(module: Unchecked) -> Result<NewModule, CapsuleError> {
    let Unchecked {
        info,
        bytes,
        component,
    } = module;
    let digest = info.digest;
    let bytes = bytes.ok_or_else(|| damaged(format!("it lacks the bytes of {digest}")))?;
    let runs = component.as_ref().unwrap_or(&bytes);
    if Digest::of(&bytes) != digest || Digest::of(runs) != info.component {
        return Err(damaged(format!("the module {digest} has other bytes")));
    }
    Ok(NewModule {
        info,
        bytes,
        component,
    })
}

fn json(body: &[u8], what: &str) -> Result<Value, CapsuleError> {
    let value = serde_json::from_slice::<Value>(body).ok();
    let object = value.filter(Value::is_object);
    object.ok_or_else(|| damaged(format!("{what} is no JSON object")))
}

fn damaged(what: impl Into<String>) -> CapsuleError {
    CapsuleError::Damaged(what.into())
}
