//! A world in which scenarios are run: a host, its clock, its lives and deaths.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use expect_test::expect_file;
use serde_json::{Value, json};
use tempfile::TempDir;
use wfhost::{
    Checked, Children, Clock, Error, Event, Host, InstanceId, Json, Options, Query, Record,
    RerunRequest, Reuse, StartRequest, Timestamp, Upload,
};

/// What happens to the host from outside.
pub(crate) enum Do {
    /// Starts a script under an id.
    Start(&'static str, Value),
    /// Starts something else.
    StartAs(StartRequest),
    Raise(&'static str, &'static str, Value),
    /// The same, with a request key.
    RaiseOnce(&'static str, &'static str, Value, &'static str),
    Cancel(&'static str),
    Terminate(&'static str, Children),
    Suspend(&'static str, Children),
    Resume(&'static str, Children),
    Update(&'static str, Value),
    /// Starts a new instance from the turn of another.
    Rerun(&'static str, u64, &'static str),
    Deploy(&'static str),
    /// Puts the clock forward by milliseconds.
    Pass(u64),
    /// Lets time be skipped until nothing is left to do.
    Finish,
}

/// How a scenario is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Straight,
    Evicted,
    Crashing,
    /// The host drives all by itself, and holds nothing in memory that does not move.
    Parked,
    /// That one crashes as well.
    ParkedCrashing,
}

impl Way {
    fn crashes(self) -> bool {
        matches!(self, Self::Crashing | Self::ParkedCrashing)
    }

    fn parks(self) -> bool {
        matches!(self, Self::Parked | Self::ParkedCrashing)
    }
}

/// Runs a scenario in each way, and compares the histories with each other and with the snapshot.
pub(crate) fn check(name: &str, packages: &[&str], steps: impl Fn() -> Vec<Do>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ways = [
        Way::Straight,
        Way::Evicted,
        Way::Crashing,
        Way::Parked,
        Way::ParkedCrashing,
    ];
    let told = ways.map(|way| {
        runtime.block_on(async {
            let mut world = World::new(way, packages);
            let host = world.host.as_ref().unwrap();
            host.deploy(uploads(packages)).await.unwrap();
            let mut answers = String::new();
            for step in steps() {
                answers += &world.act(&step).await;
            }
            world.tell(answers).await
        })
    });
    expect_file![format!("snapshots/{name}.txt")].assert_eq(&told[0]);
    for (way, other) in ways.iter().zip(&told).skip(1) {
        let what = format!("{name}: {way:?} changed the history");
        if *way == Way::ParkedCrashing {
            same(&left(&told[0]), &left(other), &what);
        } else {
            same(&told[0], other, &what);
        }
    }
}

/// A host that starts does what is due before it looks which children their parents have left: by
/// then a parent that gave one up may have ended.
fn left(told: &str) -> String {
    told.replace("` gave it up", "` has ended")
}

fn same(one: &str, other: &str, what: &str) {
    let whole = (one, other);
    let different = one
        .lines()
        .zip(other.lines())
        .find(|(one, other)| one != other);
    if let Some((one, other)) = different {
        panic!("{what}\n{one}\n{other}\n\nall of the latter:\n{}", whole.1);
    }
    assert_eq!(one.lines().count(), other.lines().count(), "{what}");
}

struct World {
    way: Way,
    dir: TempDir,
    checked: Arc<Checked>,
    clock: Clock,
    host: Option<Host>,
}

impl World {
    fn new(way: Way, packages: &[&str]) -> Self {
        let mut world = Self {
            way,
            dir: TempDir::new().unwrap(),
            checked: checked(packages),
            clock: Clock::still(Timestamp(1_000_000)),
            host: None,
        };
        world.host = Some(world.open(None));
        world
    }

    /// A host that dies after so many submissions.
    fn open(&self, submissions_max: Option<u64>) -> Host {
        let mut options = Options {
            clock: self.clock.clone(),
            one_by_one: true,
            ..Options::default()
        };
        options.store.submissions_max = submissions_max;
        if self.way == Way::Evicted || self.way.parks() {
            options.guests_warm_max = 0;
        }
        self.clock.set_skips(false);
        Host::open_for(&self.dir.path().join("data.redb"), &self.checked, options).unwrap()
    }

    async fn act(&mut self, step: &Do) -> String {
        let answer = match step {
            Do::Pass(millis) => {
                let host = self.host.as_ref().unwrap();
                host.advance_time(Duration::from_millis(*millis));

                String::new()
            }
            Do::Finish => String::new(),
            step => self.ask(step).await,
        };
        self.settle(matches!(step, Do::Finish)).await;
        answer
    }

    /// Does one thing from outside. In a crashing world the host dies right after it.
    async fn ask(&mut self, step: &Do) -> String {
        loop {
            if self.way.crashes() {
                self.close().await;
                self.host = Some(self.open(Some(1)));
            }
            let host = self.host.as_ref().unwrap();
            match outside(host, step).await {
                Ok(answer) => return answer,
                // Whoever does not know asks again, where asking twice is asking once. Anything
                // else was one submission, and is done.
                Err(Error::Unknown | Error::Store(_)) if self.way.crashes() => {
                    if !is_asked_again(step) {
                        return String::new();
                    }
                }
                Err(error) => return format!("refused: {error}\n"),
            }
        }
    }

    /// Has everything done that is due; in a crashing world one submission a life.
    async fn settle(&mut self, skips: bool) {
        loop {
            if self.way.crashes() {
                self.close().await;
                self.host = Some(self.open(Some(1)));
            }
            let host = self.host.as_ref().unwrap();
            let done = self.go_on(host, skips).await;
            host.skip_time(false);
            match done {
                Ok(()) => return,

                Err(Error::Unknown | Error::Store(_)) if self.way.crashes() => {}
                Err(error) => panic!("{:?}: {error}", self.way),
            }
        }
    }

    async fn go_on(&self, host: &Host, skips: bool) -> Result<(), Error> {
        if self.way.parks() {
            host.drive_all().await?;
        } else {
            drive_each(host).await?;
        }
        if skips {
            host.skip_time(true);
        }
        host.quiet().await
    }

    async fn close(&mut self) {
        if let Some(host) = self.host.take() {
            // A host that died says so.
            let _ = host.close().await;
        }
    }

    /// The histories of all instances, and what was answered.
    async fn tell(mut self, answers: String) -> String {
        self.close().await;
        let host = self.open(None);
        let mut told = answers;
        let query = Query {
            limit: 1_000,
            ..Query::default()
        };
        let mut rows = host.find(&query).await.unwrap().rows;
        // Which of two instances starts first is not what is compared.
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        for row in rows {
            told += &history(&host, &row.id).await;
        }
        let replayed = replays(&host).await;
        host.close().await.unwrap();
        assert_eq!(replayed, "", "{:?}", self.way);
        told
    }
}

fn is_asked_again(step: &Do) -> bool {
    match step {
        Do::Update(..) | Do::Suspend(..) | Do::Resume(..) => true,
        Do::StartAs(request) => request.reuse == Reuse::Terminate,
        _ => false,
    }
}

async fn drive_each(host: &Host) -> Result<(), Error> {
    let query = Query {
        limit: 1_000,
        ..Query::default()
    };
    for row in host.find(&query).await?.rows {
        if !row.status.has_ended() {
            host.drive(&row.id)?;
        }
    }
    Ok(())
}

async fn outside(host: &Host, step: &Do) -> Result<String, Error> {
    let id = |text: &str| text.parse::<InstanceId>().unwrap();
    let because = Some("the test says so".to_owned());
    match step {
        Do::Start(name, program) => {
            host.start(StartRequest {
                id: Some(id(name)),
                ..StartRequest::new("Script".parse().unwrap(), Json::of(program))
            })
            .await?;
        }
        Do::StartAs(request) => {
            host.start(request.clone()).await?;
        }
        Do::Raise(to, name, payload) => {
            host.raise_event(&id(to), event(name, payload), None)
                .await?
        }
        Do::RaiseOnce(to, name, payload, key) => {
            let key = Some((*key).to_owned());
            host.raise_event(&id(to), event(name, payload), key).await?;
        }
        Do::Cancel(name) => host.cancel(&id(name), because, None).await?,
        Do::Terminate(name, children) => {
            host.terminate(&id(name), because, *children, None).await?;
        }
        Do::Suspend(name, children) => host.suspend(&id(name), because, *children, None).await?,
        Do::Resume(name, children) => host.resume(&id(name), *children, None).await?,
        Do::Update(name, input) => {
            let update = "add".parse().unwrap();
            let key = Some(input.to_string());
            let answer = host.update(&id(name), update, Json::of(input), key).await?;
            return Ok(match answer {
                Ok(answer) => format!("{name} answers {answer}\n"),
                Err(failure) => format!("{name} refuses: {}\n", failure.kind),
            });
        }
        Do::Rerun(of, turn, name) => {
            let request = RerunRequest {
                from_turn: Some(*turn),
                id: Some(id(name)),
                current_module: false,
                trace: None,
            };
            host.rerun(&id(of), request).await?;
        }
        Do::Deploy(package) => {
            host.deploy(uploads(&[package])).await?;
        }
        Do::Pass(_) | Do::Finish => {}
    }
    Ok(String::new())
}

pub(crate) fn event(name: &str, payload: &Value) -> Event {
    Event {
        name: name.parse().unwrap(),
        payload: Json::of(payload),
    }
}

/// Modules that are compiled once for all worlds.
fn checked(packages: &[&str]) -> Arc<Checked> {
    type Known = BTreeMap<Vec<String>, Arc<Checked>>;
    static CHECKED: Mutex<Known> = Mutex::new(BTreeMap::new());
    let mut known = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    let names = packages.iter().map(ToString::to_string).collect();
    let checked = known.entry(names).or_insert_with(|| {
        let checked = Host::check(uploads(packages), &Options::default());
        Arc::new(checked.unwrap())
    });
    Arc::clone(checked)
}

fn uploads(packages: &[&str]) -> Vec<Upload> {
    let upload = |package: &&str| Upload {
        label: format!("{package}.wasm"),
        bytes: std::fs::read(module(package)).unwrap(),
    };
    packages.iter().map(upload).collect()
}

/// The module of a package in `workflows/`, built once.
fn module(package: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let workflows = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows");
    wfhost::package::build(&workflows.join(package), true).expect("the guests build")
}

/// An instance, and all that happened to it, a line each, without what differs from run to run.
async fn history(host: &Host, id: &InstanceId) -> String {
    let instance = host.instance(id).await.unwrap();
    let mut told = format!("\n{id}: {}\n", instance.status().as_str());
    if let Some(output) = instance.output() {
        told += &format!("  output {output}\n");
    }
    if let Some(status) = instance.custom_status() {
        told += &format!("  shows {status}\n");
    }
    let mut narrator = wfhost::Narrator::default();
    host.history(id, |record: Record| {
        let row = wfhost::Narrator::view(&narrator.next(&record).unwrap(), &record);
        told += &line(row);
        Ok::<_, Error>(())
    })
    .unwrap();
    told
}

/// A record, without what differs from run to run.
fn line(mut row: Value) -> String {
    let fields = row.as_object_mut().unwrap();
    for differs in ["run", "seed", "module", "contract", "features", "id"] {
        fields.remove(differs);
    }
    let record = fields.remove("record").unwrap_or_default();
    let at = fields.remove("at").unwrap_or_default();
    let record = record.as_str().unwrap_or_default().to_owned();
    bare(&mut row);
    format!("  {} {record} {row}\n", at.as_str().unwrap_or_default())
}

/// Leaves out what says nothing, and what differs from run to run.
fn bare(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for differs in ["run", "details"] {
                fields.remove(differs);
            }
            fields.values_mut().for_each(bare);
            fields.retain(|_, it| !(it.is_null() || *it == json!([]) || *it == json!({})));
        }
        Value::Array(values) => values.iter_mut().for_each(bare),
        _ => {}
    }
}

/// Every history replays; says which does not.
async fn replays(host: &Host) -> String {
    let mut differ = String::new();
    let query = Query {
        limit: 1_000,
        ..Query::default()
    };
    for row in host.find(&query).await.unwrap().rows {
        let replayed = host.replay(&row.id, None).await.unwrap();
        if let Some(stray) = replayed.stray {
            differ += &format!("{}: {stray}\n", row.id);
        }
    }
    differ
}
