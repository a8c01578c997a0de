//! Makes the capsules in `tests/capsules`: see the README.md there.

use std::fs::File;
use std::path::{Path, PathBuf};

use wfhost::{Event, Host, InstanceId, RerunRequest, Upload};

use super::parts::{COMPONENT, sections, stripped};
use super::{FOLDER, options};
use crate::support::{json, module, name, request};

/// A path that no capsule has yet: those that are there are never changed.
fn new_path(what: &str) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    let names = std::iter::once(format!("{what}-{version}.capsule"))
        .chain((2..).map(|number| format!("{what}-{version}-{number}.capsule")));
    let mut paths = names.map(|name| Path::new(FOLDER).join(name));
    paths.find(|path| !path.exists()).unwrap()
}

/// Panics name the files of libraries with their paths, which tell who has built the module and
/// where: up to the library's own folder they are made blank.
fn without_paths(mut module: Vec<u8>) -> Vec<u8> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"));
    let sources = std::fs::read_dir(home.join("registry/src")).unwrap();
    for source in sources {
        let path = source.unwrap().path();
        let path = path.to_str().unwrap().as_bytes();
        while let Some(at) = module.windows(path.len()).position(|it| it == path) {
            module[at..at + path.len()].fill(b'.');
        }
    }
    module
}

async fn export(host: &Host, id: &str, what: &str) -> PathBuf {
    let path = new_path(what);
    let mut file = File::create_new(&path).unwrap();
    let id = id.parse().unwrap();
    host.export(&id, &mut file).await.unwrap();
    path
}

async fn raise(host: &Host, id: &str, payload: &str) {
    let event = Event {
        name: name("GO"),
        payload: json(payload),
    };
    let id: InstanceId = id.parse().unwrap();
    host.raise_event(&id, event, None).await.unwrap();
}

async fn host(bytes: Vec<u8>) -> Host {
    let host = Host::in_memory(options()).unwrap();
    let label = "replayed.wasm".to_owned();
    host.deploy(vec![Upload { label, bytes }]).await.unwrap();
    host.skip_time(true);
    host
}

/// `cargo test --release -p wfhost --test suite -- --ignored new_capsules_are_made`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it writes new capsules into tests/capsules"]
async fn new_capsules_are_made() {
    let core = without_paths(stripped(&std::fs::read(module("replayed")).unwrap()));
    let uploaded = host(core).await;
    let start = request("Fails", "failed", r#""it had to""#);
    uploaded.run(start).await.unwrap();
    let failed = export(&uploaded, "failed", "failed").await;
    uploaded.close().await.unwrap();

    // The others run on the component alone, so that each holds the code once.
    let parts = sections(&std::fs::read(failed).unwrap());
    let component = parts.into_iter().find(|it| it.0 == COMPONENT).unwrap().1;
    let host = host(component).await;
    let start = request("Everything", "waiting", "1");
    host.start(start).await.unwrap();
    host.quiet().await.unwrap();
    export(&host, "waiting", "waiting").await;

    raise(&host, "waiting", "5").await;
    host.wait(&"waiting".parse().unwrap()).await.unwrap();
    let again = RerunRequest {
        from_turn: Some(6),
        id: Some("rerun".parse().unwrap()),
        current_module: false,
        trace: None,
    };
    let rerun = host.rerun(&"waiting".parse().unwrap(), again).await;
    let rerun = rerun.unwrap();
    raise(&host, "rerun", "6").await;
    host.wait(&rerun).await.unwrap();
    export(&host, "rerun", "rerun").await;

    let start = request("Generations", "generations", "3");
    host.start(start).await.unwrap();
    host.quiet().await.unwrap();
    export(&host, "generations", "generations").await;

    let start = request("Collects", "cancelled", "null");
    let id = host.start(start).await.unwrap();
    for number in ["4", "13", "5"] {
        let add = host.update(&id, name("add"), json(number), None);
        add.await.unwrap().ok();
    }
    let reason = Some("enough".to_owned());
    host.cancel(&id, reason, None).await.unwrap();
    host.wait(&id).await.unwrap();
    export(&host, "cancelled", "cancelled").await;
    host.close().await.unwrap();
}
