//! What is linked to a guest, by its role.

use std::sync::Arc;

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, HasSelf, Linker, LinkerInstance, ResourceType};
use wasmtime::{Engine, Result, StoreContextMut};
use wfhost_core::Role as Offered;

use crate::activity::OutsideCall;
use crate::bindings::{Module as World, PACKAGE};
use crate::inside::{Inside, Role};
use crate::trap::Stop;
use crate::wasi;

/// The test-only import: an effect on the outside world.
pub(crate) const OUTSIDE: &str = "wfhost:testing/outside@0.1.0";

/// What answers the test-only import.
pub(crate) type Outside = Arc<dyn Fn(&OutsideCall) -> Result<String, String> + Send + Sync>;

/// The contract alone, the same for every module and both roles.
pub(crate) fn contract(engine: &Engine) -> Result<Linker<Inside>> {
    let mut linker = Linker::new(engine);
    World::add_to_linker::<_, HasSelf<Inside>>(&mut linker, |inside| inside)?;
    Ok(linker)
}

/// The contract, and whatever else the component imports as far as `role` may have it; the rest
/// traps with its name.
pub(crate) fn role(
    contract: &Linker<Inside>,
    component: &Component,
    role: Offered,
    outside: Option<&Outside>,
) -> Result<Linker<Inside>> {
    let engine = component.engine();
    let mut linker = contract.clone();
    for (import, item) in component.component_type().imports(engine) {
        if import.starts_with(PACKAGE) {
            continue;
        }
        match (item.ty, wasi::stand_in(import), outside) {
            (ComponentItem::ComponentInstance(ty), Some(interface), _) => {
                let mut instance = linker.instance(import)?;
                wasi::link(&mut instance, engine, import, interface, &ty)?;
            }
            (ComponentItem::ComponentInstance(_), None, Some(outside))
                if import == OUTSIDE && role == Offered::Activity =>
            {
                link_outside(&mut linker.instance(import)?, outside.clone())?;
            }
            (ComponentItem::ComponentInstance(ty), None, _) => {
                traps(&mut linker.instance(import)?, engine, import, &ty)?;
            }
            (ComponentItem::ComponentFunc(_), _, _) => {
                trap(&mut linker.root(), import, "")?;
            }
            // Types need no link; modules and components have been refused.
            _ => {}
        }
    }
    Ok(linker)
}

fn traps(
    linker: &mut LinkerInstance<'_, Inside>,
    engine: &Engine,
    import: &str,
    ty: &ComponentInstance,
) -> Result<()> {
    for (name, item) in ty.exports(engine) {
        match item.ty {
            ComponentItem::Resource(_) => {
                linker.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?;
            }
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
    linker.func_new(function, move |store: StoreContextMut<'_, Inside>, _, _, _| {
        let message = match store.data().role {
            Role::Workflow(_) => format!(
                "the workflow called `{called}`, which no workflow can have; call it in an activity"
            ),
            Role::Attempt(_) | Role::Probe { .. } => {
                format!("it called `{called}`, which this host does not offer")
            }
        };
        Err(Stop::Forbidden(message).into())
    })
}

fn link_outside(linker: &mut LinkerInstance<'_, Inside>, outside: Outside) -> Result<()> {
    linker.func_wrap(
        "call",
        move |store: StoreContextMut<'_, Inside>, (request,): (String,)| {
            let Role::Attempt(attempt) = &store.data().role else {
                return Err(Stop::Forbidden("only an attempt may call the outside".into()).into());
            };
            let call = OutsideCall {
                request,
                instance: attempt.instance.clone(),
                attempt: attempt.attempt,
                idempotency_key: attempt.idempotency_key.clone(),
            };
            Ok((outside(&call),))
        },
    )
}
