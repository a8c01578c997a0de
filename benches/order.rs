//! A whole order, contained, beside the disk's limit: appending as many bytes and syncing them.
//!
//! The order workflow runs six activities, with two reads and one write of the state, on a data
//! file on disk; each result counts once it survives power loss.

#![expect(
    clippy::print_stdout,
    reason = "what the disk was asked is part of the result"
)]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wfhost::{Host, InstanceId, Json, Options, StartRequest, StateWrite, Upload};

/// A folder on the disk that holds the build, not in memory.
fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written")
}

fn host(runtime: &Runtime, dir: &Path) -> Host {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows/order-processing");
    let module = wfhost::package::build(&package, true).expect("the guest builds");
    let upload = Upload {
        label: "order".into(),
        bytes: std::fs::read(module).expect("it was just built"),
    };
    runtime.block_on(async {
        let host = Host::open(&dir.join("data.redb"), Options::default()).expect("a data file");
        host.deploy(vec![upload]).await.expect("the guest is fit");
        let stock = r#"{"name":"Cars","totalCost":15000,"quantity":4000000000}"#;
        let write = StateWrite {
            key: "Cars".into(),
            value: Some(Json::parse(stock).expect("it is JSON")),
            expires_at: None,
        };
        host.write_state(vec![write.into()])
            .await
            .expect("the file is there");
        host
    })
}

fn unique_id() -> InstanceId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("order-{number}").parse().expect("an id")
}

async fn order(host: &Host) {
    let request = StartRequest {
        // Among so many, random ids of eight digits would meet.
        id: Some(unique_id()),
        ..StartRequest::new(
            "OrderProcessingWorkflow".parse().expect("a name"),
            Json::parse(r#"{"Name":"Cars","TotalCost":15000,"Quantity":1}"#).expect("JSON"),
        )
    };
    let settled = host.run(request).await.expect("the order runs");
    assert_eq!(
        settled.instance.output().map(Json::as_str),
        Some(r#"{"Processed":true}"#)
    );
}

fn orders(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = folder();
    let host = host(&runtime, dir.path());
    let mut group = criterion.benchmark_group("order");
    group.throughput(Throughput::Elements(1));
    group.bench_function("one after the other", |bencher| {
        bencher.iter(|| runtime.block_on(order(&host)));
    });
    // The bytes of log that an order makes, measured on this very host.
    let before = host.counts();
    for _ in 0..100 {
        runtime.block_on(order(&host));
    }
    let after = host.counts();
    let bytes = (after.file_bytes.saturating_sub(before.file_bytes) / 100).max(4096) as usize;
    group.bench_function("limit: append and fdatasync", |bencher| {
        let mut file = File::create(dir.path().join("limit")).expect("the folder is there");
        let record = vec![7_u8; bytes];
        bencher.iter(|| {
            file.write_all(&record).expect("the disk has room");
            file.sync_data().expect("the disk works");
        });
    });
    for at_once in [16, 256] {
        group.bench_function(format!("{at_once} at once, each"), |bencher| {
            bencher.iter_custom(|orders| {
                let begun = Instant::now();
                runtime.block_on(run_many(&host, orders, at_once));
                begun.elapsed()
            });
        });
    }
    let done = host.counts();
    let records = done.records - before.records;
    println!(
        "commits {}, syncs {}, records {records}, file {} KiB",
        done.commits - before.commits,
        done.syncs - before.syncs,
        done.file_bytes / 1024
    );
    group.finish();
    runtime.block_on(host.close()).expect("the last commit");
}

/// Keeps `at_once` orders under way until all are done.
async fn run_many(host: &Host, orders: u64, at_once: u64) {
    let lanes = (0..at_once.min(orders)).map(|lane| async move {
        for _ in (lane..orders).step_by(at_once as usize) {
            order(host).await;
        }
    });
    futures::future::join_all(lanes).await;
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(8)).sample_size(20);
    targets = orders
}
criterion_main!(benches);
