//! What uploaded bytes are, before anything of them is compiled.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::bindings::{OFFERED, PACKAGE, VERSION};
use crate::engine::FEATURES;
use crate::http;
use crate::link::OUTSIDE;
use crate::reject::Rejected;
use crate::wasi;

/// The bytes, by what there is to do with them.
pub(crate) enum Kind {
    /// A component already.
    Component,
    /// A core module that says which interfaces it speaks.
    CoreWithMetadata,
}

/// What a component imports and exports, at its outside.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) imports: Vec<Import>,
    pub(crate) exports: Vec<String>,
}

/// One import.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) name: String,
    /// The functions that it holds, if it is an interface.
    pub(crate) functions: Vec<String>,
}

/// What the bytes are.
pub(crate) fn kind(bytes: &[u8]) -> Result<Kind, Rejected> {
    if !bytes.starts_with(b"\0asm") {
        let found = not_wasm(bytes);
        return Err(Rejected::NotWasm { found });
    }
    if Parser::is_component(bytes) {
        return Ok(Kind::Component);
    }
    validate(bytes)?;
    let has_metadata = Parser::new(0).parse_all(bytes).flatten().any(|payload| {
        matches!(payload, Payload::CustomSection(it) if it.name().starts_with("component-type"))
    });
    if has_metadata {
        Ok(Kind::CoreWithMetadata)
    } else {
        Err(Rejected::NoMetadata)
    }
}

fn not_wasm(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(64)];
    match std::str::from_utf8(start).map(str::trim_start) {
        Ok("") => "it is empty".into(),
        Ok(text) if text.starts_with("(module") || text.starts_with("(component") => {
            "it is WebAssembly as text, not as bytes".into()
        }
        Ok(_) => "it is text".into(),
        Err(_) if start.starts_with(b"\x1f\x8b") => "it is compressed with gzip".into(),
        Err(_) if start.starts_with(b"\x7fELF") => "it is a program for Linux".into(),
        Err(_) => "it does not begin with the bytes 00 61 73 6d".into(),
    }
}

fn validate(bytes: &[u8]) -> Result<wasmparser::types::Types, Rejected> {
    let features = FEATURES
        .into_iter()
        .filter_map(WasmFeatures::from_name)
        .collect();
    let validated = Validator::new_with_features(features).validate_all(bytes);
    validated.map_err(|error| Rejected::Invalid {
        what: error.message().to_owned(),
        offset: error.offset(),
    })
}

/// Looks at a component.
pub(crate) fn component(bytes: &[u8]) -> Result<Look, Rejected> {
    let types = validate(bytes)?;
    let types = types.as_ref();
    let mut look = Look::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes).flatten() {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section.into_iter().flatten() {
                    let name = import.name.name.to_owned();
                    let functions = functions(types, &name);
                    look.imports.push(Import { name, functions });
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                let names = section.into_iter().flatten();
                look.exports
                    .extend(names.map(|export| export.name.name.to_owned()));
            }
            _ => {}
        }
    }
    Ok(look)
}

fn functions(types: wasmparser::types::TypesRef<'_>, import: &str) -> Vec<String> {
    let Some(ComponentEntityType::Instance(id)) =
        types.component_item_for_import(import).map(|item| item.ty)
    else {
        return Vec::new();
    };
    let exports = types[id].exports.iter();
    let functions = exports.filter(|(_, it)| matches!(it.ty, ComponentEntityType::Func(_)));
    functions.map(|(name, _)| name.clone()).collect()
}

impl Look {
    /// Whether it exports this interface of the contract, in the version that we speak.
    pub(crate) fn exports(&self, interface: &str) -> bool {
        let name = format!("{PACKAGE}{interface}@{VERSION}");
        self.exports.contains(&name)
    }

    /// Whether nothing of the outside is to be linked to its activities.
    pub(crate) fn contained(&self) -> bool {
        !self.imports(OUTSIDE) && !self.http()
    }

    /// Whether its activities make HTTP requests.
    pub(crate) fn http(&self) -> bool {
        self.imports.iter().any(|import| http::offers(&import.name))
    }

    /// Whether it imports exactly this.
    pub(crate) fn imports(&self, name: &str) -> bool {
        self.imports.iter().any(|import| import.name == name)
    }

    /// Checks that it speaks the contract, in our version.
    pub(crate) fn check_contract(&self) -> Result<(), Rejected> {
        let imports = self.imports.iter().map(|import| &import.name);
        for name in imports.chain(&self.exports) {
            match name
                .strip_prefix(PACKAGE)
                .and_then(|rest| rest.split_once('@'))
            {
                Some((_, version)) if version != VERSION => {
                    return Err(Rejected::Contract {
                        interface: name.clone(),
                        offered: VERSION,
                    });
                }
                Some(_) | None => {}
            }
        }
        if self.exports("workflow") || self.exports("activity") {
            return Ok(());
        }
        let exports = self.exports.clone();
        Err(Rejected::OtherWorld { exports })
    }

    /// What it imports beyond the contract and the stand-ins.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = &Import> {
        self.imports.iter().filter(|import| {
            let contract = OFFERED
                .iter()
                .any(|it| import.name == format!("{PACKAGE}{it}@{VERSION}"));
            !contract && wasi::stand_in(&import.name).is_none()
        })
    }
}
