//! From uploaded bytes to a module: looked at, encoded, linked on trial, asked what it offers.

use std::collections::BTreeSet;

use wasmtime::component::{Component, InstancePre};
use wfhost_core::{Definition, Digest, ModuleInfo, Role as Offered, Timestamp};
use wit_component::ComponentEncoder;

use crate::bindings::{VERSION, activity, types, workflow};
use crate::engine::{Sandbox, Shared};
use crate::http;
use crate::inside::{Inside, Role};
use crate::link::{self, OUTSIDE};
use crate::look::{self, Kind, Look};
use crate::module;
use crate::random::Stream;
use crate::reject::Rejected;
use crate::trap::{Stop, ended};

/// What makes components of core modules. Its version stands in every module's info.
const ENCODER: &str = "wit-component 0.263.0";

/// A module that may get in.
#[derive(Debug)]
pub struct Prepared {
    /// What it is and offers.
    pub info: ModuleInfo,
    /// The component that runs; `None`: the uploaded bytes are it.
    pub component: Option<Vec<u8>>,
}

impl Sandbox {
    /// Looks at uploaded bytes: what they are, what they import, what they offer. Compiles them
    /// and runs their `definitions`; changes nothing. A [`Sandbox::load`] of the same component
    /// soon after does not compile again.
    ///
    /// # Errors
    /// If the bytes are no module for this host; the error says what to do.
    pub fn prepare(&self, bytes: &[u8], label: &str, at: Timestamp) -> Result<Prepared, Rejected> {
        let bytes_max = self.0.limits.module_bytes_max;
        if bytes.len() > bytes_max {
            return Err(Rejected::TooLarge {
                bytes: bytes.len(),
                bytes_max,
            });
        }
        let component = match look::kind(bytes)? {
            Kind::Component => None,
            Kind::CoreWithMetadata => Some(encode(bytes)?),
        };
        let runs = component.as_deref().unwrap_or(bytes);
        let look = look::component(runs)?;
        look.check_contract()?;
        check_imports(&look, self.0.outside.is_some())?;
        let compiled = self.0.compile(runs).map_err(unlinkable)?;
        if !look.contained() {
            module::reaching(&self.0, &compiled, &look).map_err(unlinkable)?;
        }
        let asked = |offered| ask(&self.0, &compiled, &look, offered, at);
        let info = ModuleInfo {
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
            label: label.to_owned(),
            deployed_at: at,
            deployed_by: None,
            component: Digest::of(runs),
            encoder: component.is_some().then(|| ENCODER.to_owned()),
            contract: VERSION.to_owned(),
            imports: look
                .imports
                .iter()
                .map(|import| import.name.clone())
                .collect(),
            contained: look.contained(),
            deployed_with: Vec::new(),
            workflows: asked(Offered::Workflow)?,
            activities: asked(Offered::Activity)?,
        };
        if info.offers().next().is_none() {
            let what = "it defines neither a workflow nor an activity".into();
            return Err(Rejected::Definitions { what });
        }
        Ok(Prepared { info, component })
    }
}

fn encode(bytes: &[u8]) -> Result<Vec<u8>, Rejected> {
    let encoded = ComponentEncoder::default()
        .module(bytes)
        .and_then(|it| it.encode());
    encoded.map_err(|error| Rejected::NotEncodable {
        what: format!("{error:#}"),
    })
}

fn check_imports(look: &Look, has_outside: bool) -> Result<(), Rejected> {
    for foreign in look.foreign() {
        let (import, functions) = (foreign.name.clone(), foreign.functions.clone());
        if !look.exports("activity") {
            return Err(Rejected::WorkflowImport { import, functions });
        }
        if !(has_outside && import == OUTSIDE || http::offers(&import)) {
            return Err(Rejected::Import { import, functions });
        }
    }
    Ok(())
}

fn unlinkable(error: wasmtime::Error) -> Rejected {
    Rejected::Unlinkable {
        what: format!("{error:#}"),
    }
}

/// What the module says that it offers.
fn ask(
    shared: &Shared,
    component: &Component,
    look: &Look,
    offered: Offered,
    at: Timestamp,
) -> Result<Vec<Definition>, Rejected> {
    if !look.exports(offered.as_str()) {
        return Ok(Vec::new());
    }
    // Asked what it offers, a module may reach nothing, whatever it may later.
    let linker = link::inert(&shared.contract, component);
    let linked = linker.and_then(|linker| linker.instantiate_pre(component));
    let linked = linked.map_err(unlinkable)?;
    let definitions = call_definitions(shared, &linked, offered, at)?;
    let definitions = definitions.into_iter().map(|it| definition(it, offered));
    let definitions = definitions.collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    match definitions.iter().find(|it| !names.insert(it.name.clone())) {
        None => Ok(definitions),
        Some(twice) => Err(Rejected::Definitions {
            what: format!("it defines the {} `{}` twice", offered.as_str(), twice.name),
        }),
    }
}

fn call_definitions(
    shared: &Shared,
    linked: &InstancePre<Inside>,
    offered: Offered,
    at: Timestamp,
) -> Result<Vec<types::Definition>, Rejected> {
    let random = Stream::of_wasi(0);
    let mut store = shared.store(Role::Probe { at, random });
    let answered = match offered {
        Offered::Workflow => {
            let exports = workflow::GuestIndices::new(linked).map_err(unlinkable)?;
            linked.instantiate(&mut store).and_then(|instance| {
                exports
                    .load(&mut store, &instance)?
                    .call_definitions(&mut store)
            })
        }
        Offered::Activity => {
            let exports = activity::GuestIndices::new(linked).map_err(unlinkable)?;
            linked.instantiate(&mut store).and_then(|instance| {
                exports
                    .load(&mut store, &instance)?
                    .call_definitions(&mut store)
            })
        }
    };
    answered.map_err(|error| {
        if error.is::<wasmtime::Trap>() || error.is::<Stop>() || store.data().panic.is_some() {
            let role = offered.as_str();
            let why = ended(error, store.data_mut().panic.take()).message();
            let what = format!("asked for its {role} definitions, the module failed: {why}");
            return Rejected::Definitions { what };
        }
        unlinkable(error)
    })
}

fn definition(it: types::Definition, offered: Offered) -> Result<Definition, Rejected> {
    let role = offered.as_str();
    let name = it.name.parse().map_err(|error| Rejected::Definitions {
        what: format!("the name of a {role}: {error}"),
    })?;
    let schema = |text: Option<String>| {
        let schema = text.map(|text| serde_json::from_str(&text)).transpose();
        schema.map_err(|error| Rejected::Definitions {
            what: format!("a schema of the {role} `{name}` is not valid JSON: {error}"),
        })
    };
    Ok(Definition {
        input_schema: schema(it.input_schema)?,
        output_schema: schema(it.output_schema)?,
        description: it.description,
        name,
    })
}
