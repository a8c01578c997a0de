//! Which modules stay, and which go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::ReadableDatabase;
use wfhost_core::{Role, Share};

use super::audit::audit;
use super::deploying::{assert_bindings, deploy, deploy_all, module, offering, order};
use super::*;
use crate::{Collected, GcOptions, Memory, Need, NewModule};

fn on(name: &str, module: &str) -> Started {
    Started {
        module: Digest::of(module.as_bytes()),
        ..started(name)
    }
}

fn begin(store: &Store, name: &str, module: &str) {
    store
        .start(on(name, module), |_| Ok(Reuse::Refuse))
        .unwrap();
}

fn collect(store: &Store) -> Collected {
    let options = GcOptions {
        keep_for_rollback: false,
        dry_run: false,
    };
    store.gc(options).unwrap()
}

/// The labels of those that went.
fn removed(store: &Store) -> Vec<String> {
    let removed = collect(store).removed.into_iter();
    removed.map(|module| module.label).collect()
}

fn needs_of(store: &Store, label: &str, keep_for_rollback: bool) -> Vec<Need> {
    let all = store.module_needs(keep_for_rollback).unwrap();
    let mut all = all.into_iter().filter(|module| module.label == label);
    all.next().unwrap().needs
}

#[test]
fn each_reason_is_told_and_holds_a_module() {
    let store = memory();
    for label in ["old", "ended", "running", "held", "now"] {
        deploy(&store, label);
    }
    begin(&store, "e1", "ended");
    begin(&store, "e2", "ended");
    for name in ["e1", "e2"] {
        store
            .submit(&id(name), &ReadSet::default(), |_| Ok(completed()))
            .unwrap();
    }
    begin(&store, "r1", "running");
    begin(&store, "r2", "ended");
    let held = store.hold(Digest::of(b"held")).unwrap().unwrap();
    deploy_all(&store, vec![module("next", "Order")], Some(250));
    for _ in 0..2 {
        let bound = |parts| Need::Bound {
            role: Role::Workflow,
            name: order(),
            share: Share::new(parts).unwrap(),
        };
        assert_eq!(needs_of(&store, "next", false), [bound(250)]);
        assert_eq!(needs_of(&store, "now", false), [bound(9_750)]);
        let running = |example: &str| Need::Running {
            instances: 1,
            example: id(example),
        };
        let ended = Need::Ended {
            instances: 2,
            example: id("e1"),
        };
        assert_eq!(needs_of(&store, "running", false), [running("r1")]);
        assert_eq!(needs_of(&store, "ended", false), [running("r2"), ended]);
        let in_use = Need::InUse { holders: 1 };
        assert_eq!(needs_of(&store, "held", false), [in_use]);
        assert_eq!(needs_of(&store, "old", true), []);
        gather(&store);
    }
    let dry = GcOptions {
        dry_run: true,
        ..GcOptions::default()
    };
    let told = store.gc(dry).unwrap();
    assert_eq!((told.bytes(), told.removed[0].label.as_str()), (3, "old"));
    assert!(store.module(Digest::of(b"old")).unwrap().is_some());
    assert_eq!(store.gc(GcOptions::default()).unwrap(), told);
    assert!(store.module(Digest::of(b"old")).unwrap().is_none());
    assert!(store.module_bytes(Digest::of(b"old")).unwrap().is_none());
    assert_eq!(removed(&store), [""; 0]);
    let second = held.clone();
    drop(held);
    assert_eq!(removed(&store), [""; 0]);
    drop(second);
    assert_eq!(removed(&store), ["held"]);
    store.purge(&["e1", "e2"].map(id)).unwrap();
    assert_eq!(removed(&store), [""; 0]);
    store
        .submit(&id("r2"), &ReadSet::default(), |_| Ok(completed()))
        .unwrap();
    assert_eq!(removed(&store), [""; 0], "it is kept");
    store.purge(&[id("r2")]).unwrap();
    assert_eq!(removed(&store), ["ended"]);
    store.abort(&crate::Names::All, None, Timestamp(8)).unwrap();
    assert_eq!(removed(&store), ["next"]);
    assert_bindings(&store, &["Order:now"]);
    audit(&store);
}

#[test]
fn what_the_next_rollback_needs_stays_unless_that_is_given_up() {
    let store = memory();
    for label in ["one", "two", "three"] {
        deploy(&store, label);
    }
    let deployment = wfhost_core::DeploymentNumber(3);
    assert_eq!(
        needs_of(&store, "two", true),
        [Need::Rollback { deployment }]
    );
    let went = store.gc(GcOptions::default()).unwrap().removed;
    assert_eq!(went[0].label, "one");
    store.rollback(None, Timestamp(9)).unwrap();
    assert_bindings(&store, &["Order:two"]);
    // The next would need the first, which is gone, and not the third.
    let went = store.gc(GcOptions::default()).unwrap().removed;
    assert_eq!(went[0].label, "three");
}

fn together(modules: Vec<NewModule>) -> Vec<NewModule> {
    let digests: Vec<_> = modules.iter().map(|module| module.info.digest).collect();
    let with = |mut module: NewModule| {
        module.info.deployed_with.clone_from(&digests);
        module
    };
    modules.into_iter().map(with).collect()
}

#[test]
fn a_child_of_a_module_that_stays_finds_what_it_was_deployed_with() {
    let store = memory();
    deploy_all(
        &store,
        together(vec![module("far", "Pack"), module("child", "Ship")]),
        None,
    );
    let parent = module("parent", "Order");
    let pay = offering("pay", &[], &["Pay"]);
    deploy_all(
        &store,
        together(vec![parent, module("child", "Ship"), pay]),
        None,
    );
    begin(&store, "p", "parent");
    let others =
        [("Pack", "a"), ("Ship", "b"), ("Order", "c")].map(|(name, label)| module(label, name));
    deploy_all(&store, others.to_vec(), None);
    deploy_all(&store, vec![offering("d", &[], &["Pay"])], None);
    let with = |module: &[u8]| {
        vec![Need::DeployedWith {
            module: Digest::of(module),
        }]
    };
    // The first deployment brought the child, so that it is that one's modules which it may ask for.
    assert_eq!(needs_of(&store, "child", false), with(b"parent"));
    assert_eq!(needs_of(&store, "far", false), with(b"child"));
    // No child runs on it: activities follow their bindings.
    assert_eq!(removed(&store), ["pay"]);
    store
        .submit(&id("p"), &ReadSet::default(), |_| Ok(completed()))
        .unwrap();
    store.purge(&[id("p")]).unwrap();
    assert_eq!(removed(&store).len(), 3);
}

#[test]
fn bytes_that_another_module_has_too_stay() {
    let store = memory();
    let made = |label: &str, component: &str| {
        let mut module = module(label, "Order");
        module.info.component = Digest::of(component.as_bytes());
        module.component = Some(component.as_bytes().to_vec());
        module
    };
    for module in [
        made("a", "shared"),
        made("bb", "own"),
        made("ccc", "shared"),
    ] {
        deploy_all(&store, vec![module], None);
    }
    let went = collect(&store);
    let mut sizes: Vec<_> = went.removed.iter().map(|it| it.bytes).collect();
    sizes.sort_unstable();
    assert_eq!((sizes, went.bytes()), (vec![1, 5], 6));
    let blob = |text: &str| store.component(Digest::of(text.as_bytes())).unwrap();
    assert_eq!(blob("shared").unwrap(), b"shared");
    assert_eq!((blob("own"), blob("a"), blob("bb")), (None, None, None));
    assert!(blob("ccc").is_some());
    deploy_all(&store, vec![made("dddd", "shared")], None);
    assert_eq!(collect(&store).bytes(), 3);
    // Two that go at once have it once.
    deploy_all(&store, vec![made("e", "shared")], None);
    deploy(&store, "last");
    assert_eq!(collect(&store).bytes(), 4 + 6 + 1);
}

#[test]
fn whoever_was_about_to_use_a_removed_module_is_refused_and_what_comes_back_is_used() {
    let memory = Memory::default();
    let store = Store::on_memory(&memory, options()).unwrap();
    deploy(&store, "old");
    deploy(&store, "new");
    assert_eq!(removed(&store), ["old"]);
    let late = |store: &Store| store.start(on("a", "old"), |_| Ok(Reuse::Refuse));
    assert!(matches!(
        late(&store),
        Err(SubmitError::ModuleMissing { .. })
    ));
    assert!(store.hold(Digest::of(b"old")).unwrap().is_none());
    store.close().unwrap();
    let store = Store::on_memory(&memory, options()).unwrap();
    assert!(matches!(
        late(&store),
        Err(SubmitError::ModuleMissing { .. })
    ));
    deploy(&store, "old");
    late(&store).unwrap();
    let made = &store.deployments(None, 1).unwrap()[0];
    assert_eq!(made.number.0, 3);
}

/// It is on disk as it was, and in the log as it is: each may be what a crash leaves.
#[test]
fn an_instance_that_has_left_a_module_holds_it_until_the_file_says_so() {
    let memory = Memory::default();
    let store = Store::on_memory(&memory, options()).unwrap();
    deploy(&store, "old");
    deploy(&store, "new");
    begin(&store, "a", "old");
    let again = Step::ContinuedAsNew {
        input: json("1"),
        current_module: true,
    };
    let Record::Turn(again) = turn(vec![], vec![], again) else {
        panic!("it is a turn");
    };
    let census = store.inner.census().unwrap();
    store
        .submit_all(&id("a"), &ReadSet::default(), |it| {
            let fence = decide::TurnFence::of(it);
            decide::take_turn(it, fence, *again, Some(Digest::of(b"new")))
        })
        .unwrap();
    {
        // As if all that came just after the look at the file.
        let survey = store.inner.survey(census, false).unwrap();
        let ledger = store.inner.ledger();
        let needs = crate::gc::needs::of(&survey, &ledger);
        let running = Need::Running {
            instances: 1,
            example: id("a"),
        };
        assert!(needs[&Digest::of(b"old")].contains(&running));
        assert!(needs[&Digest::of(b"new")].contains(&running));
    }
    assert_eq!(removed(&store), ["old"]);
    let crashed = memory.copied();
    let store = Store::on_memory(&crashed, options()).unwrap();
    assert_eq!(list(&store).unwrap()[0].module, Digest::of(b"new"));
}

/// Tells the others that it is over, also when it panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Every instance that is recorded has its module, in memory and after a crash, whatever is deployed
/// and removed meanwhile.
#[test]
fn no_instance_loses_its_module_to_a_collection_at_the_same_time() {
    let memory = Memory::default();
    let store = Store::on_memory(
        &memory,
        Options {
            gather_bytes: 3_000,
            commit_bytes: 500,
            ..options()
        },
    )
    .unwrap();
    deploy(&store, "m0");
    let over = AtomicBool::new(false);
    let (mut refusals, mut collected) = (0, 0);
    std::thread::scope(|scope| {
        let starts = |side: usize| {
            let (store, over) = (&store, &over);
            move || {
                let _ends_the_others = Ends(over);
                let mut refused = 0;
                for number in 0..400 {
                    let name = format!("i{side}-{number}");
                    // It may be a module of long ago by now.
                    let module = store.bound(Role::Workflow, &order(), &id(&name));
                    let module = module.unwrap().unwrap();
                    // A commit long, so that it may be moved and removed meanwhile.
                    store.wait_durable(store.submitted()).unwrap();
                    let begin = Started {
                        module,
                        ..started(&name)
                    };
                    match store.start(begin, |_| Ok(Reuse::Refuse)) {
                        Ok(_) => {
                            assert!(store.module(module).unwrap().is_some());
                            let ended =
                                store.submit(&id(&name), &ReadSet::default(), |_| Ok(completed()));
                            ended.unwrap();
                            if number % 3 == 0 {
                                store.purge(&[id(&name)]).unwrap();
                            }
                        }
                        Err(SubmitError::ModuleMissing { .. }) => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                refused
            }
        };
        let deploys = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Acquire) {
                number += 1;
                deploy(&store, &format!("m{number}"));
            }
        });
        let collects = scope.spawn(|| {
            let mut went = 0;
            while !over.load(Ordering::Acquire) {
                went += collect(&store).removed.len();
            }
            went
        });
        let starts = [scope.spawn(starts(0)), scope.spawn(starts(1))];
        refusals += starts.map(|it| it.join().unwrap()).iter().sum::<i32>();
        collected += collects.join().unwrap();
        deploys.join().unwrap();
    });
    assert!(collected > 0);
    let check = |store: &Store| {
        let modules = store.modules().unwrap().into_iter();
        let modules: BTreeSet<_> = modules.map(|info| info.digest).collect();
        let rows = list(store).unwrap();
        assert!(rows.len() > 100, "{} rows, {refusals} refused", rows.len());
        assert!(rows.iter().all(|row| modules.contains(&row.module)));
        for (_, _, binding) in store.bindings().unwrap() {
            assert!(modules.contains(&binding.module));
        }
        let database = store.inner.database();
        let read = database.as_ref().unwrap().begin_read().unwrap();
        let blobs = read.open_table(crate::tables::BLOBS).unwrap();
        use redb::ReadableTableMetadata as _;
        assert_eq!(blobs.len().unwrap() as usize, modules.len());
    };
    check(&store);
    let crashed = memory.copied();
    check(&Store::on_memory(&crashed, options()).unwrap());
}
