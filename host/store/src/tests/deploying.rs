//! Modules and bindings.

use wfhost_core::{Definition, ModuleInfo, Name, Role};

use super::*;
use crate::{Moved, NewModule};

/// A module that offers one workflow.
pub(super) fn module(label: &str, workflow: &str) -> NewModule {
    let bytes = label.as_bytes().to_vec();
    let digest = Digest::of(&bytes);
    NewModule {
        info: ModuleInfo {
            digest,
            bytes: bytes.len() as u64,
            label: label.into(),
            deployed_at: Timestamp(0),
            component: digest,
            encoder: None,
            contract: "0.1.0".into(),
            imports: vec![],
            contained: true,
            deployed_with: vec![],
            workflows: vec![Definition {
                name: workflow.parse().unwrap(),
                description: String::new(),
                input_schema: Some(serde_json::json!({"type": "object"})),
                output_schema: None,
            }],
            activities: vec![],
        },
        bytes,
        component: None,
    }
}

fn name() -> Name {
    "Order".parse().unwrap()
}

#[test]
fn a_deployment_moves_the_names_that_the_module_offers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = Store::open(&path, options()).unwrap();
    let [one, two] = ["one", "two"].map(|label| module(label, "Order"));
    let [first, second] = [&one, &two].map(|module| module.info.digest);
    let moved = |from, to| Moved {
        role: Role::Workflow,
        name: name(),
        from,
        to,
    };
    let deploy =
        |module: &NewModule, at| store.deploy(vec![module.clone()], Timestamp(at)).unwrap();
    assert_eq!(deploy(&one, 5), [moved(None, first)]);
    assert_eq!(deploy(&one, 6), []);
    assert_eq!(deploy(&two, 7), [moved(Some(first), second)]);
    assert_eq!(deploy(&one, 8), [moved(Some(second), first)]);
    store.close().unwrap();

    let store = Store::open_existing(&path, options()).unwrap();
    assert_eq!(store.binding(Role::Workflow, &name()).unwrap(), Some(first));
    assert_eq!(store.binding(Role::Activity, &name()).unwrap(), None);
    assert_eq!(store.bindings().unwrap(), [(Role::Workflow, name(), first)]);
    let known: Vec<_> = store
        .modules()
        .unwrap()
        .into_iter()
        .map(|it| (it.label, it.deployed_at))
        .collect();
    assert_eq!(
        known,
        [
            ("one".to_owned(), Timestamp(5)),
            ("two".to_owned(), Timestamp(7))
        ]
    );
    assert_eq!(
        store.module(first).unwrap().unwrap().workflows,
        one.info.workflows
    );
    assert_eq!(store.module_bytes(second).unwrap().unwrap(), b"two");
    assert_eq!(store.component(second).unwrap().unwrap(), b"two");
    assert_eq!(store.module(Digest::of(b"three")).unwrap(), None);
}

#[test]
fn a_component_that_was_made_stands_under_its_own_digest() {
    let store = memory();
    let mut module = module("core", "Order");
    module.info.component = Digest::of(b"component");
    module.component = Some(b"component".to_vec());
    let info = module.info.clone();
    store.deploy(vec![module], Timestamp(1)).unwrap();
    assert_eq!(store.module_bytes(info.digest).unwrap().unwrap(), b"core");
    assert_eq!(
        store.component(info.component).unwrap().unwrap(),
        b"component"
    );
}
