//! What does not get in, and what is said about it.

use wfhost_sandbox::{Limits, Rejected, Sandbox};

use crate::guests::{HAND_WRITTEN, HandWritten, NOW, built, dummy, sandbox, starts_with};

fn rejected(bytes: &[u8]) -> Rejected {
    match sandbox().prepare(bytes, "test.wasm", NOW) {
        Err(rejected) => rejected,
        Ok(prepared) => panic!("it was let in: {:?}", prepared.info),
    }
}

fn check(bytes: &[u8], parts: &[&str]) -> Rejected {
    let rejected = rejected(bytes);
    let message = rejected.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
    rejected
}

#[test]
fn what_is_no_wasm_is_named() {
    for (bytes, found) in [
        (&b"hello"[..], "it is text"),
        (b"", "it is empty"),
        (b"(module)", "as text"),
        (b"\x1f\x8b\x08\xff", "gzip"),
        (b"\x00\x01\x02\xff", "00 61 73 6d"),
    ] {
        let rejected = check(bytes, &[found, "this is not WebAssembly"]);
        assert!(matches!(rejected, Rejected::NotWasm { .. }));
    }
}

#[test]
fn a_truncated_module_is_named_with_the_place() {
    let whole = built("steps");
    for bytes in [&whole[..whole.len() / 2], &whole[..6], &whole[..8]] {
        let rejected = rejected(bytes);
        let fits = matches!(rejected, Rejected::Invalid { .. } | Rejected::NoMetadata);
        assert!(fits, "{rejected:?}");
    }
    check(&whole[..whole.len() / 2], &["damaged", "at offset 0x"]);
    let component = sandbox()
        .prepare(&whole, "steps.wasm", NOW)
        .unwrap()
        .component
        .unwrap();
    check(
        &component[..component.len() / 2],
        &["damaged", "at offset 0x"],
    );
}

#[test]
fn a_core_module_without_metadata_is_told_how_to_be_built() {
    let core = wat::parse_str(r#"(module (func (export "run")))"#).unwrap();
    let rejected = check(&core, &["without component metadata", "wfhost build"]);
    assert!(matches!(rejected, Rejected::NoMetadata));
}

#[test]
fn a_feature_that_is_off_is_named() {
    let threads = wat::parse_str("(module (memory 1 1 shared))").unwrap();
    check(&threads, &["threads", "offset"]);
    let relaxed = r"(module (func (param v128 v128) (result v128)
        (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))";
    check(&wat::parse_str(relaxed).unwrap(), &["relaxed SIMD"]);
}

#[test]
fn a_component_of_another_world_is_told_what_it_exports() {
    let other = "package test:other; world other { export greet: func() -> string; \
        export tools; } interface tools { use-it: func(); }";
    let rejected = check(
        &dummy(other),
        &[
            "neither workflows nor activities",
            "`greet`",
            "`test:other/tools`",
        ],
    );
    assert!(matches!(rejected, Rejected::OtherWorld { .. }));
}

#[test]
fn another_version_of_the_contract_is_named() {
    let newer = "package wfhost:durable@0.2.0; interface workflow { start: func(); } \
        world newer { export workflow; }";
    let rejected = check(&dummy(newer), &["`wfhost:durable/workflow@0.2.0`", "0.1.0"]);
    assert!(matches!(rejected, Rejected::Contract { .. }));
}

const HTTP: &str = "interface outgoing-handler { handle: func(); }";

#[test]
fn a_workflow_that_imports_the_outside_is_refused_by_the_imports_name() {
    let world = format!(
        "package wasi:http@0.2.6; {HTTP} world guest {{ import outgoing-handler; \
         include wfhost:durable/workflow-module@0.1.0; }}"
    );
    let parts = [
        "`wasi:http/outgoing-handler@0.2.6` (`handle`)",
        "no workflow can have",
    ];
    let rejected = check(&dummy(&world), &parts);
    assert!(matches!(rejected, Rejected::WorkflowImport { .. }));

    let rejected = check(
        &built("wasi-files"),
        &["`wasi:filesystem/", "no workflow can have"],
    );
    assert!(matches!(rejected, Rejected::WorkflowImport { .. }));
}

#[test]
fn an_activity_that_imports_what_nobody_offers_is_refused_by_its_name() {
    for (package, interface) in [("http", "incoming-handler"), ("sockets", "tcp")] {
        let world = format!(
            "package wasi:{package}@0.2.6; interface {interface} {{ handle: func(); }} \
             world guest {{ import {interface}; include wfhost:durable/module@0.1.0; }}"
        );
        let import = format!("`wasi:{package}/{interface}@0.2.6`");
        let rejected = check(&dummy(&world), &[&import, "does not offer"]);
        assert!(matches!(rejected, Rejected::Import { .. }));
    }
    let rejected = check(
        &built("outside"),
        &["`wfhost:testing/outside@0.1.0` (`call`)"],
    );
    assert!(matches!(rejected, Rejected::Import { .. }));
}

#[test]
fn an_activity_that_imports_http_of_another_type_is_refused() {
    let world = format!(
        "package wasi:http@0.2.6; {HTTP} world guest {{ import outgoing-handler; \
         include wfhost:durable/module@0.1.0; }}"
    );
    let rejected = check(
        &dummy(&world),
        &["wasi:http/outgoing-handler@0.2.6", "do not fit"],
    );
    assert!(matches!(rejected, Rejected::Unlinkable { .. }));
}

#[test]
fn a_module_over_the_limit_is_refused_with_both_sizes() {
    let limits = Limits {
        module_bytes_max: 1_000,
        ..Limits::default()
    };
    let small = Sandbox::new(limits).unwrap();
    let rejected = small.prepare(&[0; 1_001], "large.wasm", NOW).unwrap_err();
    assert!(matches!(rejected, Rejected::TooLarge { .. }));
    assert!(
        rejected
            .to_string()
            .contains("1001 bytes, more than the limit of 1000")
    );
}

#[test]
fn definitions_that_cannot_be_are_refused() {
    let named = |name| {
        HandWritten {
            name,
            ..HAND_WRITTEN
        }
        .bytes()
    };
    check(&named("twin"), &["defines the workflow `twin` twice"]);
    check(
        &named(r"a\01cd"),
        &["the name of a workflow", "is not a name"],
    );
    let traps = dummy(
        "package test:traps; world guest { \
        include wfhost:durable/workflow-module@0.1.0; }",
    );
    let rejected = check(&traps, &["workflow definitions", "unreachable"]);
    assert!(matches!(rejected, Rejected::Definitions { .. }));
}

#[test]
fn a_module_that_is_let_in_says_what_it_is() {
    let bytes = built("steps");
    let prepared = sandbox().prepare(&bytes, "steps.wasm", NOW).unwrap();
    let info = &prepared.info;
    let component = prepared.component.as_ref().unwrap();
    assert_eq!(info.component, wfhost_core::Digest::of(component));
    assert_eq!(
        (info.bytes, info.contract.as_str()),
        (bytes.len() as u64, "0.1.0")
    );
    assert!(info.contained && info.encoder.as_ref().unwrap().starts_with("wit-component "));
    let names: Vec<_> = info.activities.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        ["Echo", "Fail", "FlakyUntil", "PanicActivity", "TakeOne"]
    );
    assert!(info.workflows.iter().any(|it| it.name.as_str() == "Steps"));
    assert!(
        info.imports
            .iter()
            .all(|it| it.starts_with("wfhost:durable/")),
        "{info:?}"
    );
    let again = sandbox().prepare(component, "steps.wasm", NOW).unwrap();
    assert!(again.component.is_none() && again.info.encoder.is_none());
}

#[test]
fn the_encoder_is_named_by_the_version_that_is_linked() {
    let lock = include_str!("../../../../Cargo.lock");
    let module = starts_with("unreachable");
    let encoder = sandbox()
        .prepare(&module, "x", NOW)
        .unwrap()
        .info
        .encoder
        .unwrap();
    let (name, version) = encoder.split_once(' ').unwrap();
    assert!(
        lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")),
        "{encoder}"
    );
}
