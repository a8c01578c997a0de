//! What the disk does by itself: the limit of all that must be durable.
//!
//! Two ways to write safely: each record with a sync of its own, and all that have come together
//! with one.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::Failure;
use super::folder::{Folder, failed};
use super::latencies::Latencies;
use crate::error::Error;

/// What is appended and synced one by one: a page.
const PAGE_BYTES: usize = 4096;

/// How large a record of a group is.
const RECORD_BYTES: usize = 256;

/// How many write at a time, each waiting until its record is durable.
const WRITERS: [u64; 4] = [1, 8, 64, 256];

/// How long each part is measured; all together take about a second.
const ONE_BY_ONE: Duration = Duration::from_millis(400);
const IN_GROUPS: Duration = Duration::from_millis(150);

/// What the disk does.
pub(super) struct Disk {
    /// Median of an append of 4 KiB and its sync.
    pub(super) append: Duration,
    pub(super) appends_per_second: f64,
    /// Records of 256 bytes that become durable, at the best number of writers.
    pub(super) records_per_second: f64,
    /// That number.
    pub(super) writers: u64,
}

impl Disk {
    /// Measures the disk under a folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) async fn measure(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.file("disk");
        // It has a name, as a data file has: some file systems do not write down what nobody could
        // find again. It is made here, so that the thread makes none in a folder that is to go.
        let file = File::create_new(&path).map_err(failed(&path))?;
        let measured = tokio::task::spawn_blocking(move || Self::measure_on(file));
        let measured = measured.await.map_err(|_| Error::Unknown)?;
        let disk = measured.map_err(failed(&path))?;
        std::fs::remove_file(&path).map_err(failed(&path))?;
        Ok(disk)
    }

    fn measure_on(mut file: File) -> io::Result<Self> {
        let samples = one_by_one(&mut file)?;
        let spent: Duration = samples.iter().sum();
        let appends_per_second = samples.len() as f64 / spent.as_secs_f64();
        let mut best = (0.0, 1);
        for writers in WRITERS {
            empty(&mut file)?;
            let records = in_groups(&mut file, writers)?;
            if records > best.0 {
                best = (records, writers);
            }
        }
        Ok(Self {
            append: Latencies::of(samples).percentile(50),
            appends_per_second,
            records_per_second: best.0,
            writers: best.1,
        })
    }
}

/// Lets what was written go, before the next part begins.
fn empty(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.sync_all()
}

fn one_by_one(file: &mut File) -> io::Result<Vec<Duration>> {
    let page = [0x5a; PAGE_BYTES];
    let until = Instant::now() + ONE_BY_ONE;
    let mut samples = Vec::new();
    while samples.is_empty() || Instant::now() < until {
        let begun = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        samples.push(begun.elapsed());
    }
    Ok(samples)
}

/// What the writers of a group share with the one who syncs.
#[derive(Default)]
struct Group {
    state: Mutex<Records>,
    asked: Condvar,
    synced: Condvar,
}

#[derive(Default)]
struct Records {
    written: u64,
    durable: u64,
    /// The disk failed, or the time is up.
    over: bool,
}

/// Records that become durable in a second.
fn in_groups(file: &mut File, writers: u64) -> io::Result<f64> {
    let group = Group::default();
    let begun = Instant::now();
    let until = begun + IN_GROUPS;
    let synced = std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| group.write());
        }
        let synced = group.sync(file, until);
        group.lock().over = true;
        group.synced.notify_all();
        synced
    });
    synced?;
    Ok(group.lock().durable as f64 / begun.elapsed().as_secs_f64())
}

impl Group {
    /// Writes a record and waits until it is durable, again and again.
    fn write(&self) {
        let mut state = self.lock();
        while !state.over {
            state.written += 1;
            let mine = state.written;
            self.asked.notify_one();
            while state.durable < mine && !state.over {
                let waited = self.synced.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Makes what has come together durable, until the time is up.
    fn sync(&self, file: &mut File, until: Instant) -> io::Result<()> {
        let mut records = Vec::new();
        while Instant::now() < until {
            let mut state = self.lock();
            while state.written == state.durable {
                let waited = self.asked.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
            let (written, count) = (state.written, state.written - state.durable);
            drop(state);
            records.resize(count as usize * RECORD_BYTES, 0x5a);
            file.write_all(&records)?;
            file.sync_data()?;
            self.lock().durable = written;
            self.synced.notify_all();
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
