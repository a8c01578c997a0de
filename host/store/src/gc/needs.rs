//! Why modules stay, told from what the file says and what memory knows.

use std::collections::BTreeMap;

use wfhost_core::{Digest, ModuleInfo};

use super::{Need, Survey};
use crate::ledger::Ledger;

/// The reasons of each module that has any.
pub(crate) type Needs = BTreeMap<Digest, Vec<Need>>;

pub(crate) fn of(survey: &Survey, ledger: &Ledger) -> Needs {
    let mut needs = Needs::new();
    add_bound(&mut needs, ledger);
    add_instances(&mut needs, survey, ledger);
    for info in &survey.modules {
        let holders = ledger.registry.holders(info.digest);
        if holders > 0 {
            add(&mut needs, info.digest, Need::InUse { holders });
        }
    }
    if let Some((deployment, modules)) = &survey.rollback {
        let deployment = *deployment;
        for module in modules {
            add(&mut needs, *module, Need::Rollback { deployment });
        }
    }
    add_deployed_with(&mut needs, &survey.modules);
    needs
}

fn add(needs: &mut Needs, module: Digest, need: Need) {
    needs.entry(module).or_default().push(need);
}

fn add_bound(needs: &mut Needs, ledger: &Ledger) {
    for ((role, name), binding) in ledger.registry.bindings() {
        for (module, share) in binding.modules() {
            let (role, name) = (*role, name.clone());
            add(needs, module, Need::Bound { role, name, share });
        }
    }
}

fn add_instances(needs: &mut Needs, survey: &Survey, ledger: &Ledger) {
    for info in &survey.modules {
        let counted = survey.census.of(info.digest);
        let running = counted.and_then(|it| Some((it.running, it.running_example.clone()?)));
        // Those that came since are not in the file.
        let running = running.or_else(|| Some((1, ledger.recorded_on(info.digest)?.clone())));
        if let Some((instances, example)) = running {
            add(needs, info.digest, Need::Running { instances, example });
        }
        let ended = counted.and_then(|it| Some((it.ended, it.ended_example.clone()?)));
        if let Some((instances, example)) = ended {
            add(needs, info.digest, Need::Ended { instances, example });
        }
    }
}

/// What stays since it came with a module that stays, and what stays since it came with that.
fn add_deployed_with(needs: &mut Needs, modules: &[ModuleInfo]) {
    let with_workflows = modules.iter().filter(|info| !info.workflows.is_empty());
    let with_workflows: BTreeMap<Digest, &ModuleInfo> =
        with_workflows.map(|info| (info.digest, info)).collect();
    let mut stays: Vec<Digest> = needs.keys().copied().collect();
    while let Some(module) = stays.pop() {
        let with = with_workflows.get(&module);
        for other in with.into_iter().flat_map(|info| &info.deployed_with) {
            if with_workflows.contains_key(other) && !needs.contains_key(other) {
                add(needs, *other, Need::DeployedWith { module });
                stays.push(*other);
            }
        }
    }
}
