//! What is linked to a guest, by its role.

use std::sync::Arc;

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, HasSelf, Linker, LinkerInstance};
use wasmtime::{Engine, Result, StoreContextMut};

use crate::activity::OutsideCall;
use crate::bindings::{Module as World, PACKAGE};
use crate::http;
use crate::inside::{Inside, Role, nothing_while_probed};
use crate::trap::Stop;
use crate::wasi;

/// The test-only import: an effect on the outside world.
pub(crate) const OUTSIDE: &str = "wfhost:testing/outside@0.1.0";

/// Whether an import of a module leads out of the sandbox, so that an operator has to know of it.
#[must_use]
pub fn reaches_outside(import: &str) -> bool {
    import == OUTSIDE || http::reaches(import)
}

/// What answers the test-only import.
pub(crate) type Outside = Arc<dyn Fn(&OutsideCall) -> Result<String, String> + Send + Sync>;

/// The contract alone, the same for every module and both roles.
pub(crate) fn contract(engine: &Engine) -> Result<Linker<Inside>> {
    let mut linker = Linker::new(engine);
    World::add_to_linker::<_, HasSelf<Inside>>(&mut linker, |inside| inside)?;
    Ok(linker)
}

/// The contract, and inert stand-ins for what else the component imports; the rest traps with its
/// name.
pub(crate) fn inert(contract: &Linker<Inside>, component: &Component) -> Result<Linker<Inside>> {
    let mut linker = contract.clone();
    rest(&mut linker, component, |_| false, false)?;
    Ok(linker)
}

/// The same for activities, but with the ways to the outside that there are for those.
pub(crate) fn reaching(
    contract: &Linker<Inside>,
    component: &Component,
    outside: Option<&Outside>,
    http: bool,
) -> Result<Linker<Inside>> {
    let mut linker = contract.clone();
    if let Some(outside) = outside {
        link_outside(&mut linker.instance(OUTSIDE)?, outside.clone())?;
    }
    if http {
        http::link(&mut linker)?;
    }
    let linked = |import: &str| match import {
        OUTSIDE => outside.is_some(),
        other => http && http::links(other),
    };
    rest(&mut linker, component, linked, http)?;
    Ok(linker)
}

/// Links what the component imports and is not linked yet.
fn rest(
    linker: &mut Linker<Inside>,
    component: &Component,
    linked: impl Fn(&str) -> bool,
    http: bool,
) -> Result<()> {
    let engine = component.engine();
    for (import, item) in component.component_type().imports(engine) {
        if import.starts_with(PACKAGE) || linked(import) {
            continue;
        }
        match (item.ty, wasi::stand_in(import)) {
            (ComponentItem::ComponentInstance(ty), Some(interface)) => {
                let mut instance = linker.instance(import)?;
                wasi::link(&mut instance, engine, (import, interface), &ty, http)?;
            }
            (ComponentItem::ComponentInstance(ty), None) => {
                traps(&mut linker.instance(import)?, engine, import, &ty)?;
            }
            (ComponentItem::ComponentFunc(_), _) => {
                trap(&mut linker.root(), import, "")?;
            }
            // Types need no link; modules and components have been refused.
            _ => {}
        }
    }
    Ok(())
}

fn traps(
    linker: &mut LinkerInstance<'_, Inside>,
    engine: &Engine,
    import: &str,
    ty: &ComponentInstance,
) -> Result<()> {
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::Resource(_) => wasi::resource(linker, name)?,
            ComponentItem::ComponentFunc(_) => trap(linker, import, name)?,
            _ => {}
        }
    }
    Ok(())
}

/// A function that says its name and ends the guest. `name` is empty for an import that is a
/// function itself.
pub(crate) fn trap(
    linker: &mut LinkerInstance<'_, Inside>,
    import: &str,
    name: &str,
) -> Result<()> {
    let (function, called) = if name.is_empty() {
        (import, import.to_owned())
    } else {
        (name, format!("{import}#{name}"))
    };
    linker.func_new(
        function,
        move |store: StoreContextMut<'_, Inside>, _, _, _| {
            Err(match store.data().role {
            Role::Workflow(_) => Stop::Forbidden(format!(
                "the workflow called `{called}`, which no workflow can have; call it in an activity"
            )),
            Role::Attempt(_) => Stop::Forbidden(format!(
                "it called `{called}`, which this host does not offer"
            )),
            Role::Probe { .. } => nothing_while_probed(&called),
        }
        .into())
        },
    )
}

fn link_outside(linker: &mut LinkerInstance<'_, Inside>, outside: Outside) -> Result<()> {
    linker.func_wrap_async(
        "call",
        move |store: StoreContextMut<'_, Inside>, (request,): (String,)| {
            let outside = outside.clone();
            let call = match &store.data().role {
                Role::Attempt(attempt) => Ok(OutsideCall {
                    request,
                    instance: attempt.instance.clone(),
                    attempt: attempt.attempt,
                    idempotency_key: attempt.idempotency_key.clone(),
                }),
                Role::Workflow(_) | Role::Probe { .. } => Err(Stop::Forbidden(
                    "only an attempt may call the outside".into(),
                )),
            };
            Box::new(async move {
                let call = call?;
                // On a thread that can be left behind with a call that hangs.
                let answered = tokio::task::spawn_blocking(move || outside(&call)).await;
                answered.map(|answer| (answer,)).map_err(|panicked| {
                    Stop::Forbidden(format!("the outside failed: {panicked}")).into()
                })
            })
        },
    )
}
