//! What wit-bindgen makes of `wit/`: the only room with unsafe code, all of it generated.
//!
//! One room a world, so that a module exports only what its `export!` names. The activity
//! world shares the imports of the workflow world: one `state`, one `log`.

/// The imports, and the exports of a module with workflows.
pub mod workflow {
    wit_bindgen::generate!({
        path: "../wit",
        world: "workflow-module",
        pub_export_macro: true,
        export_macro_name: "export_workflow_module",
        generate_all,
    });
}

/// The exports of a module with activities.
pub mod activity {
    wit_bindgen::generate!({
        path: "../wit",
        world: "activity-module",
        pub_export_macro: true,
        export_macro_name: "export_activity_module",
        with: {
            "wfhost:durable/types@0.1.0": crate::bindings::workflow::wfhost::durable::types,
            "wfhost:durable/state@0.1.0": crate::bindings::workflow::wfhost::durable::state,
            "wfhost:durable/log@0.1.0": crate::bindings::workflow::wfhost::durable::log,
        },
    });
}
