//! An attempt of an activity that reaches the outside: it may wait there, and is dropped where it
//! waits once it must end.

use wasmtime::component::{ComponentExportIndex, InstancePre};
use wfhost_core::{Failure, Json};

use crate::activity::{self, AttemptCall, AttemptEnd};
use crate::bindings::{PACKAGE, VERSION, activity::Invocation, types};
use crate::engine::Shared;
use crate::http::Http;
use crate::inside::Inside;

/// What `activity.run` takes and gives.
type Run<'a> = (&'a str, &'a str, &'a Invocation);
type Came = (Result<String, types::Failure>,);

/// The activities of a module that reaches the outside, linked.
pub(crate) struct Effectful {
    module: InstancePre<Inside>,
    run: ComponentExportIndex,
    /// Whether it is linked to HTTP.
    http: bool,
}

impl Effectful {
    pub(crate) fn new(module: InstancePre<Inside>, http: bool) -> wasmtime::Result<Self> {
        let component = module.component();
        let interface = format!("{PACKAGE}activity@{VERSION}");
        let run = component
            .get_export_index(None, interface.as_str())
            .and_then(|interface| component.get_export_index(Some(&interface), "run"))
            .ok_or_else(|| wasmtime::format_err!("it exports no `{interface}#run`"))?;
        Ok(Self { module, run, http })
    }

    /// Runs an attempt from birth to end.
    pub(crate) async fn run(&self, shared: &Shared, call: AttemptCall) -> AttemptEnd {
        let (name, input) = (call.name.clone(), call.input.clone());
        let invocation = activity::invocation(&call);
        let trace = call.trace.clone();
        let mut store = activity::store(shared, call);
        if self.http {
            let http = Http::new(&shared.limits, shared.grants.of(&name), trace);
            store.data_mut().http = Some(Box::new(http));
        }
        let watch = store.data().watch.clone();
        let parameters = (name.as_str(), input.as_str(), &invocation);
        // What is dropped here never runs on: neither the guest nor what it waits for.
        let came_back = tokio::select! {
            biased;
            came_back = self.call(&mut store, parameters) => came_back,
            over = watch.over() => Err(over.into()),
        };
        activity::end(store.into_data(), came_back)
    }

    async fn call(
        &self,
        store: &mut wasmtime::Store<Inside>,
        parameters: Run<'_>,
    ) -> wasmtime::Result<Result<Json, Failure>> {
        let instance = self.module.instantiate_async(&mut *store).await;
        let instance = instance.map_err(crate::module::no_room)?;
        let run = instance.get_typed_func::<Run<'_>, Came>(&mut *store, &self.run)?;
        let (outcome,) = run.call_async(&mut *store, parameters).await?;
        Ok(activity::outcome(store.data(), parameters.0, outcome)?)
    }
}
