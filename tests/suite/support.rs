//! What the tests share: modules built from `workflows/`, the binary, hosts and their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tempfile::TempDir;
use wfhost::{Host, Json, Name, Options, Settled, StartRequest, Upload};

/// The module of a package in `workflows/`, built once by the product's own `wfhost build`.
pub(crate) fn module(package: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .entry(package.to_owned())
        .or_insert_with(|| {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("workflows")
                .join(package);
            wfhost::package::build(&dir, true).expect("the guests build")
        })
        .clone()
}

pub(crate) fn upload(package: &str) -> Upload {
    let bytes = std::fs::read(module(package)).expect("it was just built");
    Upload {
        label: format!("{package}.wasm"),
        bytes,
    }
}

/// The folder of compiled code that all processes of these tests share, as those of a user do.
pub(crate) const CODE_CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/code-cache");

/// The real binary, in a folder of its own.
pub(crate) struct Shell {
    pub(crate) dir: TempDir,
}

impl Shell {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().expect("a temporary folder"),
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wfhost"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("WFHOST_DB")
            .env_remove("WFHOST_SERVER")
            .env_remove("WFHOST_TOKEN")
            .env_remove("WFHOST_LOG_LEVEL")
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            // Not the user's own.
            .env("WFHOST_CACHE_DIR", CODE_CACHE);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().expect("the binary starts"))
    }

    /// The names of the files in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the folder is there");
        let mut names: Vec<_> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.dir.path().join(name), bytes).expect("the folder can be written");
    }
}

/// What the binary did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("stdout is text"),
            err: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }
}

impl Ran {
    /// Asserts the exit status and hands out stdout.
    #[track_caller]
    pub(crate) fn ok(self, code: i32) -> String {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self.out
    }

    /// Stdout as JSON, one value a line.
    #[track_caller]
    pub(crate) fn rows(self, code: i32) -> Vec<Value> {
        let out = self.ok(code);
        out.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }
}

/// A host in memory with these packages deployed.
pub(crate) async fn host(packages: &[&str]) -> Host {
    let host = Host::in_memory(Options::default()).expect("a host in memory");
    deploy(&host, packages).await;
    host
}

pub(crate) async fn deploy(host: &Host, packages: &[&str]) {
    let uploads = packages.iter().map(|package| upload(package)).collect();
    host.deploy(uploads).await.expect("the guests are fit");
}

pub(crate) fn request(workflow: &str, id: &str, input: &str) -> StartRequest {
    StartRequest {
        id: Some(id.parse().expect(id)),
        ..StartRequest::new(name(workflow), json(input))
    }
}

/// Runs a workflow to its end or stall.
pub(crate) async fn run(host: &Host, workflow: &str, id: &str, input: &str) -> Settled {
    host.run(request(workflow, id, input))
        .await
        .expect(workflow)
}

/// The output of a workflow that completes.
pub(crate) async fn output(host: &Host, workflow: &str, id: &str, input: &str) -> Value {
    let settled = run(host, workflow, id, input).await;
    let instance = settled.instance;
    instance
        .output()
        .unwrap_or_else(|| panic!("{:?}", instance.failure()))
        .value()
}

/// An instance's history, each record as the command line shows it.
pub(crate) fn history(host: &Host, id: &str) -> Vec<Value> {
    let mut narrator = wfhost::Narrator::default();
    let mut rows = Vec::new();
    host.history(&id.parse().expect(id), |record| {
        let told = narrator.next(&record).expect("the history is whole");
        rows.push(wfhost::Narrator::view(&told, &record));
        Ok::<_, wfhost::Error>(())
    })
    .expect("the instance is there");
    rows
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect(text)
}

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text).expect(text)
}
