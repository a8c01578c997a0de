//! Modules, bindings and deployments.

use wfhost_core::{
    Binding, Candidate, Definition, Deployment, DeploymentKind, DeploymentNumber, ModuleInfo, Name,
    Role, Share,
};

use super::*;
use crate::{BindingError, Moved, Names, NewModule};

/// A module that offers one workflow.
pub(super) fn module(label: &str, workflow: &str) -> NewModule {
    offering(label, &[workflow], &[])
}

/// A module that offers workflows and activities. Its bytes are the label.
pub(super) fn offering(label: &str, workflows: &[&str], activities: &[&str]) -> NewModule {
    let bytes = label.as_bytes().to_vec();
    let digest = Digest::of(&bytes);
    let definition = |name: &&str| Definition {
        name: name.parse().unwrap(),
        description: String::new(),
        input_schema: Some(serde_json::json!({"type": "object"})),
        output_schema: None,
    };
    NewModule {
        info: ModuleInfo {
            digest,
            bytes: bytes.len() as u64,
            label: label.into(),
            deployed_at: Timestamp(0),
            deployed_by: None,
            component: digest,
            encoder: None,
            contract: "0.1.0".into(),
            imports: vec![],
            contained: true,
            deployed_with: vec![],
            workflows: workflows.iter().map(definition).collect(),
            activities: activities.iter().map(definition).collect(),
        },
        bytes,
        component: None,
    }
}

/// Deploys a module of the workflow `Order`.
pub(super) fn deploy(store: &Store, label: &str) -> Option<Deployment> {
    deploy_all(store, vec![module(label, "Order")], None)
}

pub(super) fn deploy_all(
    store: &Store,
    modules: Vec<NewModule>,
    parts: Option<u16>,
) -> Option<Deployment> {
    let share = parts.map(|parts| Share::new(parts).unwrap());
    let deployed = store.deploy(modules, share, Some("ann"), Timestamp(5));
    deployed.unwrap()
}

/// What each name means, as `name:module` or `name:module+candidate parts`.
pub(super) fn bindings(store: &Store) -> Vec<String> {
    let labels: BTreeMap<Digest, String> = store
        .modules()
        .unwrap()
        .into_iter()
        .map(|info| (info.digest, info.label))
        .collect();
    let told = |(_, name, binding): (Role, Name, Binding)| {
        let candidate = binding.candidate.map(|it| {
            let parts = it.share.parts();
            format!("+{} {parts}", labels[&it.module])
        });
        let candidate = candidate.unwrap_or_default();
        format!("{name}:{}{candidate}", labels[&binding.module])
    };
    store.bindings().unwrap().into_iter().map(told).collect()
}

/// The same in the file as in memory.
pub(super) fn assert_bindings(store: &Store, expected: &[&str]) {
    assert_eq!(bindings(store), expected);
    let on_disk = store.inner.registry_on_disk().unwrap();
    let ledger = store.inner.ledger();
    assert_eq!(ledger.registry.bindings(), on_disk.bindings());
}

pub(super) fn order() -> Name {
    "Order".parse().unwrap()
}

#[test]
fn a_deployment_moves_the_names_that_the_module_offers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.redb");
    let store = Store::open(&path, options()).unwrap();
    let [one, two] = ["one", "two"].map(|label| module(label, "Order"));
    let [first, second] = [&one, &two].map(|module| module.info.digest);
    let moved = |from: Option<Digest>, to| Moved {
        role: Role::Workflow,
        name: order(),
        from: from.map(Binding::whole),
        to: Some(Binding::whole(to)),
    };
    let deploy = |module: &NewModule, by, at| {
        let modules = vec![module.clone()];
        store.deploy(modules, None, by, Timestamp(at)).unwrap()
    };
    let made = deploy(&one, Some("ann"), 5).unwrap();
    assert_eq!(made.moved, [moved(None, first)]);
    assert_eq!(deploy(&one, None, 6), None, "it is there and bound");
    let made = deploy(&two, Some("bob"), 7).unwrap();
    assert_eq!(made.moved, [moved(Some(first), second)]);
    let last = deploy(&one, None, 8).unwrap();
    assert_eq!(
        last,
        Deployment {
            number: DeploymentNumber(3),
            at: Timestamp(8),
            by: None,
            kind: DeploymentKind::Deploy,
            modules: vec![first],
            moved: vec![moved(Some(second), first)],
            before: Some(DeploymentNumber(2)),
            counts: Some(DeploymentNumber(3)),
        }
    );
    store.close().unwrap();

    let store = Store::open_existing(&path, options()).unwrap();
    let bound = Some(Binding::whole(first));
    assert_eq!(store.binding(Role::Workflow, &order()).unwrap(), bound);
    assert_eq!(store.binding(Role::Activity, &order()).unwrap(), None);
    assert_bindings(&store, &["Order:one"]);
    let known = store.modules().unwrap().into_iter();
    let known: Vec<_> = known
        .map(|it| (it.label, it.deployed_at, it.deployed_by.unwrap()))
        .collect();
    assert_eq!(
        known,
        [
            ("one".to_owned(), Timestamp(5), "ann".to_owned()),
            ("two".to_owned(), Timestamp(7), "bob".to_owned())
        ]
    );
    let info = store.module(first).unwrap().unwrap();
    assert_eq!(info.workflows, one.info.workflows);
    assert_eq!(store.module_bytes(second).unwrap().unwrap(), b"two");
    assert_eq!(store.component(second).unwrap().unwrap(), b"two");
    assert_eq!(store.module(Digest::of(b"three")).unwrap(), None);
    let rows = |before: Option<u64>, limit| -> Vec<u64> {
        let rows = store.deployments(before.map(DeploymentNumber), limit);
        rows.unwrap().into_iter().map(|it| it.number.0).collect()
    };
    assert_eq!(store.deployments(None, 1).unwrap(), [last]);
    assert_eq!(rows(None, 9), [3, 2, 1]);
    assert_eq!(rows(Some(3), 1), [2]);
    assert_eq!(rows(Some(1), 9), [0; 0]);
}

#[test]
fn a_component_that_was_made_stands_under_its_own_digest() {
    let store = memory();
    let mut module = module("core", "Order");
    module.info.component = Digest::of(b"component");
    module.component = Some(b"component".to_vec());
    let info = module.info.clone();
    deploy_all(&store, vec![module], None);
    assert_eq!(store.module_bytes(info.digest).unwrap().unwrap(), b"core");
    assert_eq!(
        store.component(info.component).unwrap().unwrap(),
        b"component"
    );
}

#[test]
fn of_two_modules_that_offer_a_name_the_later_has_it() {
    let store = memory();
    let both = || ["one", "two"].map(|label| module(label, "Order")).to_vec();
    for (parts, expected) in [(None, "Order:two"), (Some(9), "Order:two")] {
        deploy_all(&store, both(), parts);
        assert_bindings(&store, &[expected]);
    }
    deploy(&store, "three");
    deploy_all(&store, both(), Some(9));
    assert_bindings(&store, &["Order:three+two 9"]);
}

/// Whoever calls it gets the one or the other, the same each time and for each name.
#[test]
fn a_candidate_gets_the_instances_of_its_share_and_keeps_them_as_it_grows() {
    let store = memory();
    let both = |label| offering(label, &["Order"], &["Pay"]);
    deploy_all(&store, vec![both("old")], None);
    let old = Digest::of(b"old");
    let ids: Vec<_> = (0..300).map(|number| id(&format!("i{number}"))).collect();
    let sides = |role, name: &str| -> Vec<bool> {
        let name = name.parse().unwrap();
        let side = |id: &InstanceId| {
            let bound = store.bound(role, &name, id).unwrap().unwrap();
            let held = store.hold_bound(role, &name, id).unwrap().unwrap();
            assert_eq!(held.module(), bound);
            bound != old
        };
        ids.iter().map(side).collect()
    };
    let mut before = vec![false; 300];
    for parts in [0, 1_000, 3_000, 3_000, 9_000, 10_000] {
        let made = deploy_all(&store, vec![both("new")], Some(parts));
        let new = sides(Role::Workflow, "Order");
        assert_eq!(made.is_none(), new == before && parts != 0);
        assert_eq!(new, sides(Role::Activity, "Pay"));
        let stayed = before.iter().zip(&new).all(|(before, now)| *now || !before);
        assert!(stayed, "{parts}");
        let count = new.iter().filter(|it| **it).count();
        let expected = usize::from(parts) * 300 / 10_000;
        assert!(count.abs_diff(expected) < 30, "{parts}: {count}");
        before = new;
    }
    assert_bindings(&store, &["Order:old+new 10000", "Pay:old+new 10000"]);
}

#[test]
fn candidates_are_promoted_and_aborted_by_name_or_all_at_once() {
    let store = memory();
    let three = |label| offering(label, &["Order", "Ship"], &["Order"]);
    deploy_all(&store, vec![three("old")], None);
    let names = |names: &[(Role, &str)]| {
        let names = names
            .iter()
            .map(|(role, name)| (*role, name.parse().unwrap()));
        Names::These(names.collect())
    };
    let none = store.promote(&Names::All, None, Timestamp(6)).unwrap_err();
    assert!(matches!(none, BindingError::NoCandidates), "{none}");
    deploy_all(&store, vec![three("new")], Some(500));
    let one = names(&[(Role::Activity, "Order")]);
    let made = store.promote(&one, Some("bob"), Timestamp(6)).unwrap();
    assert_eq!((made.kind, made.moved.len()), (DeploymentKind::Promote, 1));
    let from = made.moved[0].from.unwrap();
    let candidate = Candidate {
        module: Digest::of(b"new"),
        share: Share::new(500).unwrap(),
    };
    assert_eq!(from.candidate, Some(candidate));
    let rolling = ["Order:old+new 500", "Ship:old+new 500", "Order:new"];
    assert_bindings(&store, &rolling);
    for wrong in [
        names(&[(Role::Activity, "Order"), (Role::Workflow, "Ship")]),
        names(&[(Role::Workflow, "Ship"), (Role::Workflow, "Unknown")]),
    ] {
        let refused = store.abort(&wrong, None, Timestamp(7)).unwrap_err();
        assert!(matches!(refused, BindingError::NoCandidate { .. }));
        assert_bindings(&store, &rolling);
    }
    let one = names(&[(Role::Workflow, "Ship")]);
    let made = store.abort(&one, None, Timestamp(7)).unwrap();
    assert_eq!((made.kind, made.number.0), (DeploymentKind::Abort, 4));
    assert_bindings(&store, &["Order:old+new 500", "Ship:old", "Order:new"]);
    store.promote(&Names::All, None, Timestamp(8)).unwrap();
    assert_bindings(&store, &["Order:new", "Ship:old", "Order:new"]);
    let none = store.abort(&Names::All, None, Timestamp(9)).unwrap_err();
    assert!(matches!(none, BindingError::NoCandidates), "{none}");
    assert_eq!(store.deployments(None, 99).unwrap().len(), 5);
}

#[test]
fn nothing_is_recorded_on_a_module_that_is_not_there() {
    let store = memory();
    deploy(&store, "module");
    start(&store, started("a")).unwrap();
    let refused = store.start(
        Started {
            module: Digest::of(b"other"),
            ..started("b")
        },
        |_| Ok(Reuse::Refuse),
    );
    let is_missing = |error: &SubmitError| matches!(error, SubmitError::ModuleMissing { module } if *module == Digest::of(b"other"));
    assert!(is_missing(&refused.unwrap_err()));
    let again = Step::ContinuedAsNew {
        input: json("1"),
        current_module: true,
    };
    let Record::Turn(again) = turn(vec![], vec![], again) else {
        panic!("it is a turn");
    };
    let continue_on = |module: &[u8]| {
        let next = Some(Digest::of(module));
        store.submit_all(&id("a"), &ReadSet::default(), |it| {
            let fence = decide::TurnFence::of(it);
            decide::take_turn(it, fence, (*again).clone(), next)
        })
    };
    let before = store.submitted();
    assert!(is_missing(&continue_on(b"other").unwrap_err()));
    assert_eq!(store.submitted(), before);
    assert!(store.look(&id("b"), |_| ()).unwrap().is_none());
    deploy(&store, "other");
    continue_on(b"other").unwrap();
    assert_eq!(list(&store).unwrap()[0].module, Digest::of(b"other"));
}
