//! Schedules: what each does, and where it stands.
//!
//! They are no part of the log: what a firing starts is an instance, whose id follows from the
//! firing. Each change is one transaction of its own.

use redb::{ReadTransaction, TableError};
use wfhost_core::schedule::{Schedule, ScheduleName, Standing};

use crate::error::{Error, Fault};
use crate::tables::{NAMESPACE, SCHEDULES, STANDINGS, read_json_row, write_json_row};
use crate::{Inner, Store};

/// Schedules. What changes them is durable when it returns. One caller at a time: nothing here
/// knows what another has read before.
impl Store {
    /// All schedules, in the order of their names, each with where it stands.
    ///
    /// # Errors
    /// If the disk fails, or the rows do not fit together.
    pub fn schedules(&self) -> Result<Vec<(Schedule, Standing)>, Error> {
        self.inner.read(|transaction| {
            let Some((schedules, standings)) = tables(transaction)? else {
                return Ok(Vec::new());
            };
            let rows = schedules.range((NAMESPACE, "")..(NAMESPACE + 1, ""))?;
            let read = rows.map(|row| {
                let (key, row) = row?;
                let schedule: Schedule = read_json_row("schedules", row.value())?;
                let standing = standings.get(key.value())?.ok_or_else(|| {
                    Fault::Damaged(format!("the schedule {} stands nowhere", schedule.name))
                })?;
                Ok((schedule, read_json_row("standings", standing.value())?))
            });
            read.collect()
        })
    }

    /// Puts a schedule, new or in place of the one of that name.
    ///
    /// # Errors
    /// If the store is closed or the commit fails.
    pub fn put_schedule(&self, schedule: &Schedule, standing: &Standing) -> Result<(), Error> {
        let key = (NAMESPACE, schedule.name.as_str());
        self.inner.write_schedules(|transaction| {
            let mut schedules = transaction.open_table(SCHEDULES)?;
            schedules.insert(key, write_json_row(schedule).as_slice())?;
            let mut standings = transaction.open_table(STANDINGS)?;
            standings.insert(key, write_json_row(standing).as_slice())?;
            Ok(())
        })
    }

    /// Says where schedules stand that are there, all or none.
    ///
    /// # Errors
    /// As [`Store::put_schedule`].
    pub fn put_standings(&self, changed: &[(ScheduleName, Standing)]) -> Result<(), Error> {
        self.inner.write_schedules(|transaction| {
            let mut standings = transaction.open_table(STANDINGS)?;
            for (name, standing) in changed {
                let row = write_json_row(standing);
                standings.insert((NAMESPACE, name.as_str()), row.as_slice())?;
            }
            Ok(())
        })
    }

    /// Removes a schedule, if it is there. What it has started stays.
    ///
    /// # Errors
    /// As [`Store::put_schedule`].
    pub fn remove_schedule(&self, name: &ScheduleName) -> Result<(), Error> {
        let key = (NAMESPACE, name.as_str());
        self.inner.write_schedules(|transaction| {
            transaction.open_table(SCHEDULES)?.remove(key)?;
            transaction.open_table(STANDINGS)?.remove(key)?;
            Ok(())
        })
    }
}

type Table = redb::ReadOnlyTable<(u32, &'static str), &'static [u8]>;

/// Both tables, if there ever was a schedule.
fn tables(transaction: &ReadTransaction) -> Result<Option<(Table, Table)>, Fault> {
    let schedules = match transaction.open_table(SCHEDULES) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        schedules => schedules?,
    };
    Ok(Some((schedules, transaction.open_table(STANDINGS)?)))
}

impl Inner {
    fn write_schedules(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        drop(self.taking()?);
        let written = self.write(work);
        written.inspect_err(|error| self.fail(error.clone()))
    }
}
