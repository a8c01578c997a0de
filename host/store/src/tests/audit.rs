//! Whether the tables agree with each other, looked at row by row.

use std::collections::{BTreeSet, HashSet};

use redb::{ReadableDatabase, ReadableTable};

use super::*;
use crate::index::{Created, Key};
use crate::tables::{
    CREATED, EXPIRIES, HISTORY, INDEX, INSTANCES, LOG, PAYLOADS, REFERENCES, REMOVED, STATE,
    StateRow, read_history_row, read_row,
};

/// How many rows there are; of histories, how many records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) history: usize,
    pub(super) state: usize,
    pub(super) payloads: usize,
    pub(super) removed: usize,
}

fn named(record: &[u8]) -> Vec<Digest> {
    let mut record = codec::decode(record).unwrap().record;
    let payloads = record.payloads_mut().into_iter();
    payloads.filter_map(|json| json.stored()).collect()
}

/// Panics if they do not.
pub(super) fn audit(store: &Store) -> Found {
    let database = store.inner.database();
    let read = database.as_ref().unwrap().begin_read().unwrap();
    let rows = read.open_table(INSTANCES).unwrap();
    let rows: Vec<Summary> = rows
        .iter()
        .unwrap()
        .map(|row| read_row("instances", row.unwrap().1.value()).unwrap())
        .collect();
    let mut found = Found {
        history: 0,
        state: 0,
        payloads: 0,
        removed: 0,
    };
    let mut counts: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut owners: HashSet<u64> = rows.iter().map(|row| row.number).collect();
    owners.insert(OUTSIDE);
    for row in read.open_table(REMOVED).unwrap().iter().unwrap() {
        owners.insert(row.unwrap().0.value().1);
        found.removed += 1;
    }
    for row in read.open_table(HISTORY).unwrap().iter().unwrap() {
        let (key, value) = row.unwrap();
        assert!(
            owners.contains(&key.value().1),
            "a history without an owner"
        );
        for (_, record) in read_history_row(value.value()).unwrap() {
            named(record)
                .into_iter()
                .for_each(|it| *counts.entry(it).or_default() += 1);
            found.history += 1;
        }
    }
    let mut expiries = BTreeSet::new();
    for row in read.open_table(STATE).unwrap().iter().unwrap() {
        let (key, value) = row.unwrap();
        let row: StateRow = read_row("state", value.value()).unwrap();
        row.value
            .stored()
            .into_iter()
            .for_each(|it| *counts.entry(it).or_default() += 1);
        expiries.extend(row.expires_at.map(|at| (at.0, key.value().1.to_owned())));
        found.state += 1;
    }
    let table = read.open_table(EXPIRIES).unwrap();
    let keys = table.iter().unwrap().map(|row| row.unwrap().0.value().1);
    assert!(
        keys.eq(expiries.iter().map(|it| it.0)),
        "an expiry is missing or too much"
    );
    let table = read.open_table(REFERENCES).unwrap();
    let counted: BTreeMap<Digest, u64> = table
        .iter()
        .unwrap()
        .map(|row| {
            let (key, value) = row.unwrap();
            let digest = Digest::from_bytes(*key.value().1);
            (digest, read_row("references", value.value()).unwrap())
        })
        .collect();
    assert_eq!(counted, counts, "what names payloads is counted");
    let mut needed: BTreeSet<Digest> = counts.into_keys().collect();
    for row in read.open_table(LOG).unwrap().iter().unwrap() {
        let row = row.unwrap().1.value().to_vec();
        let mut rest = row.as_slice();
        while let Some((record, after)) = codec::split(rest) {
            needed.extend(named(record));
            rest = after;
        }
    }
    let table = read.open_table(PAYLOADS).unwrap();
    let kept: BTreeSet<Digest> = table
        .iter()
        .unwrap()
        .map(|row| Digest::from_bytes(*row.unwrap().0.value().1))
        .collect();
    assert_eq!(
        kept, needed,
        "a payload is there as long as something names it"
    );
    found.payloads = kept.len();
    audit_index(&read, &rows);
    found
}

fn audit_index(read: &redb::ReadTransaction, rows: &[Summary]) {
    let expected: BTreeSet<_> = rows
        .iter()
        .flat_map(|row| {
            Key::all_of(row)
                .into_iter()
                .map(|key| (key, row.number, row.id.clone()))
        })
        .collect();
    let table = read.open_table(INDEX).unwrap();
    let indexed: BTreeSet<_> = table
        .iter()
        .unwrap()
        .map(|entry| {
            let (key, id) = entry.unwrap();
            let (_, kind, value, number) = key.value();
            let value = value.to_vec();
            (Key { kind, value }, number, id.value().parse().unwrap())
        })
        .collect();
    assert_eq!(indexed, expected);
    let mut rows: Vec<&Summary> = rows.iter().collect();
    rows.sort_by_key(|row| row.number);
    let table = read.open_table(CREATED).unwrap();
    let created: Vec<(u64, Created)> = table
        .iter()
        .unwrap()
        .map(|row| {
            let (key, value) = row.unwrap();
            (key.value().1, read_row("created", value.value()).unwrap())
        })
        .collect();
    assert_eq!(created.len(), rows.len());
    for (at, ((number, created), row)) in created.iter().zip(&rows).enumerate() {
        assert_eq!((*number, &created.id), (row.number, &row.id));
        assert!(
            rows[..=at]
                .iter()
                .all(|row| row.created_at <= created.latest)
        );
        assert!(
            rows[at..]
                .iter()
                .all(|row| row.created_at >= created.earliest)
        );
    }
    assert!(created.is_sorted_by_key(|(_, row)| row.latest));
    assert!(created.is_sorted_by_key(|(_, row)| row.earliest));
}
