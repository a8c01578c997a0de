//! What a submission and a durable commit cost. `cargo bench -p wfhost-store`.
//!
//! The file stands in the folder named by `WFHOST_BENCH_DIR`, else in the system's temporary one:
//! the figures are those of its disk. The limit of a commit is one sync of a file there.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use wfhost_core::record::{Accepted, Event, Happening, Record, Started, StateWrite};
use wfhost_core::state::ReadSet;
use wfhost_core::{Digest, InstanceId, Json, ModuleInfo, RunId, Timestamp};
use wfhost_store::{NewModule, Options, Reuse, Store};

/// How many instances the records are spread over.
const INSTANCES: usize = 1000;

/// How long each case runs.
const CASE: Duration = Duration::from_secs(3);

fn main() {
    let folder = match std::env::var_os("WFHOST_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("the folder can be written");
    let mut report = std::io::stdout().lock();
    let mut line = |text: String| writeln!(report, "{text}").expect("the terminal takes it");
    line(format!(
        "one sync of 4 KiB: {:?}",
        sync_of_a_file(folder.path())
    ));
    for batch in [1, 100, 1000] {
        let path = folder.path().join(format!("{batch}.redb"));
        let store = Store::open(&path, Options::default()).expect("it can be created");
        let ids = start_all(&store);
        let before = store.counts();
        let started_at = Instant::now();
        let mut rounds = 0;
        let mut submitting = Duration::ZERO;
        let mut worst = Duration::ZERO;
        while started_at.elapsed() < CASE {
            let round_at = Instant::now();
            for number in 0..batch {
                submit(&store, &ids[(rounds * batch + number) % ids.len()]);
            }
            submitting += round_at.elapsed();
            store
                .wait_durable(store.submitted())
                .expect("the disk works");
            worst = worst.max(round_at.elapsed());
            rounds += 1;
        }
        let seconds = started_at.elapsed().as_secs_f64();
        let records = (rounds * batch) as f64;
        let after = store.counts();
        line(format!(
            "batch {batch:4}: {:8.0} durable records/s, {:5.0} commits/s, {:.2} µs a submission, \
             {:.2} syncs a commit, {} gathers, slowest round {worst:?}, file {} KiB",
            records / seconds,
            (after.commits - before.commits) as f64 / seconds,
            submitting.as_secs_f64() * 1e6 / records,
            (after.syncs - before.syncs) as f64 / (after.commits - before.commits) as f64,
            after.gathers,
            after.file_bytes / 1024,
        ));
        let closing = Instant::now();
        store.close().expect("the disk works");
        let closed = closing.elapsed();
        let opening = Instant::now();
        let store = Store::open_existing(&path, Options::default()).expect("it is ours");
        line(format!(
            "            closed in {closed:?}, opened in {:?}",
            opening.elapsed()
        ));
        let reading = Instant::now();
        let records = store
            .history(&ids[0])
            .expect("the disk works")
            .expect("it is there")
            .len();
        line(format!(
            "            a cold history of {records} records in {:?}",
            reading.elapsed()
        ));
        let reading = Instant::now();
        for number in 0..1000 {
            let key = format!("key{number:04}");
            store.state_get(&key, Timestamp(0)).expect("the disk works");
        }
        line(format!(
            "            a state read from the table in {:?}",
            reading.elapsed() / 1000
        ));
    }
    submitted_without_waiting(&mut line, folder.path());
}

fn submitted_without_waiting(line: &mut impl FnMut(String), folder: &Path) {
    let path = folder.join("flow.redb");
    let store = Store::open(&path, Options::default()).expect("it can be created");
    let ids = start_all(&store);
    let started_at = Instant::now();
    let mut records = 0;
    while started_at.elapsed() < CASE {
        submit(&store, &ids[records % ids.len()]);
        records += 1;
    }
    store
        .wait_durable(store.submitted())
        .expect("the disk works");
    let seconds = started_at.elapsed().as_secs_f64();
    line(format!(
        "nobody waits: {:.0} durable records/s, {:?}",
        records as f64 / seconds,
        store.counts()
    ));
}

fn sync_of_a_file(folder: &Path) -> Duration {
    let path = folder.join("sync");
    let mut how = OpenOptions::new();
    let mut file = how
        .create_new(true)
        .write(true)
        .open(path)
        .expect("the folder can be written");
    file.write_all(&[0; 400 * 1024])
        .and_then(|()| file.sync_all())
        .expect("the disk works");
    let started_at = Instant::now();
    for number in 0..100 {
        use std::io::{Seek, SeekFrom};
        let at = SeekFrom::Start(number * 4096);
        let written = file.seek(at).and_then(|_| file.write_all(&[1; 4096]));
        written
            .and_then(|()| file.sync_data())
            .expect("the disk works");
    }
    started_at.elapsed() / 100
}

fn start_all(store: &Store) -> Vec<InstanceId> {
    let ids: Vec<InstanceId> = (0..INSTANCES)
        .map(|number| format!("instance-{number}").parse().expect("it is an id"))
        .collect();
    let deployed = store.deploy(vec![module()], None, None, Timestamp(0));
    deployed.expect("the disk works");
    for id in &ids {
        store
            .start(started(id), |_| Ok(Reuse::Refuse))
            .expect("the id is new");
    }
    let writes = (0..1000).map(|number| StateWrite {
        key: format!("key{number:04}"),
        value: Some(Json::null()),
        expires_at: None,
    });
    store
        .write_state(writes.collect(), Timestamp(0))
        .expect("the disk works");
    store
        .wait_durable(store.submitted())
        .expect("the disk works");
    ids
}

/// What the instances are recorded on; it is never run.
fn module() -> NewModule {
    let digest = Digest::of(b"module");
    NewModule {
        info: ModuleInfo {
            digest,
            bytes: 6,
            label: "module".into(),
            deployed_at: Timestamp(0),
            deployed_by: None,
            component: digest,
            encoder: None,
            contract: "0.1.0".into(),
            imports: Vec::new(),
            contained: true,
            deployed_with: Vec::new(),
            workflows: Vec::new(),
            activities: Vec::new(),
        },
        bytes: b"module".to_vec(),
        component: None,
    }
}

fn started(id: &InstanceId) -> Started {
    Started {
        id: id.clone(),
        run: RunId(1),
        generation: 0,
        workflow: "Order".parse().expect("it is a name"),
        module: Digest::of(b"module"),
        contract: "0.1.0".into(),
        features: 1,
        seed: 1,
        input: Json::null(),
        parent: None,
        tags: Vec::new(),
        at: Timestamp(0),
        created_at: Timestamp(0),
        events: Vec::new(),
        begins_at: None,
        key: None,
        carried: None,
        reruns: Vec::new(),
        trace: None,
    }
}

/// A record of about 200 bytes.
fn submit(store: &Store, id: &InstanceId) {
    let payload = Json::parse(format!("\"{}\"", "x".repeat(145))).expect("it is JSON");
    let record = Record::Accepted(Accepted {
        at: Timestamp(0),
        what: Happening::EventRaised(Event {
            name: "Approval".parse().expect("it is a name"),
            payload,
        }),
        key: None,
    });
    store
        .submit(id, &ReadSet::default(), |_| Ok(record))
        .expect("the disk works");
}
