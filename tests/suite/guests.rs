//! What an author's code compiles to.

use wasmparser::{Parser, Payload};

use crate::support::{Shell, module};

/// The largest that a small workflow module may be without its names.
const BYTES_MAX: usize = 150 * 1024;

#[test]
fn a_workflow_module_is_small_and_imports_nothing_but_the_contract() {
    let bytes = std::fs::read(module("steps-changed")).unwrap();
    let mut names = 0;
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.unwrap() {
            Payload::CustomSection(section) if section.name() == "name" => {
                names += section.data().len();
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.unwrap();
                    assert!(
                        import.module.starts_with("wfhost:durable/"),
                        "{}",
                        import.module
                    );
                }
            }
            _ => {}
        }
    }
    assert!(names > 0, "backtraces need the names of functions");
    assert!(
        bytes.len() - names < BYTES_MAX,
        "{} bytes without names",
        bytes.len() - names
    );
}

/// The paths of libraries, which panics name, were those of whoever built the module.
#[test]
fn a_module_does_not_tell_who_built_it() {
    let bytes = std::fs::read(module("order-processing")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("/cargo/registry/src/"), "panics name no file");
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME"));
    assert!(!text.contains(&format!("{}/", home.unwrap())));
}

#[test]
fn a_package_is_built_where_it_is_told() {
    let shell = Shell::new();
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/workflows/missing");
    let printed = shell.run(&["build", package, "-o", "missing.wasm"]).ok(0);
    assert_eq!(printed, "missing.wasm\n");
    assert_eq!(shell.files(), ["missing.wasm"]);
    let row = shell.run(&["build", package, "--json"]).rows(0).remove(0);
    let built = std::fs::read(row["path"].as_str().unwrap()).unwrap();
    assert_eq!(row["bytes"], built.len());
    assert_eq!(
        std::fs::read(shell.dir.path().join("missing.wasm")).unwrap(),
        built
    );
}
