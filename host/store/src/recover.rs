//! What is true after opening: the rest of the log goes through the same code as new records do.

use std::collections::HashMap;

use wfhost_core::codec;
use wfhost_core::record::Record;
use wfhost_core::{InstanceId, Position};

use crate::Inner;
use crate::error::{Error, Fault};
use crate::ledger::{Incoming, Ledger, OUTSIDE, Outside, Written};
use crate::tables::{GATHERED, LOG, NAMESPACE, read_row};

impl Inner {
    /// Brings the ledger to where the file stands.
    pub(crate) fn recover(&self) -> Result<(), Error> {
        let (gathered, log) = self.read(|transaction| {
            let gathered = transaction.open_table(GATHERED)?.get(NAMESPACE)?;
            let gathered = gathered.ok_or_else(|| Fault::Damaged("`gathered` is empty".into()))?;
            let gathered = read_row("gathered", gathered.value())?;
            let table = transaction.open_table(LOG)?;
            let mut log = Vec::new();
            for row in table.range((NAMESPACE, 0)..=(NAMESPACE, u64::MAX))? {
                let (key, value) = row?;
                log.push((Position(key.value().1), value.value().to_vec()));
            }
            Ok((gathered, log))
        })?;
        let (records, chain) = self.end_of_history(OUTSIDE)?;
        *self.ledger() = Ledger::new(gathered, Outside::gathered(records, chain));
        let mut ids = HashMap::new();
        let mut log_rows = Vec::new();
        for (first, records) in log {
            let mut position = first;
            let mut rest = records.as_slice();
            loop {
                let split = codec::split(rest).ok_or_else(|| {
                    let what = format!("log position {position}: the record is cut off");
                    Fault::Damaged(what).reading(&self.path)
                })?;
                self.recover_one(position, split.0.to_vec(), &mut ids)?;
                rest = split.1;
                if rest.is_empty() {
                    break;
                }
                position = position.next();
            }
            log_rows.push(position);
        }
        let mut ledger = self.ledger();
        let (submitted, bytes) = (ledger.submitted, ledger.undurable_bytes);
        ledger.is_durable(submitted, log_rows, bytes);
        Ok(())
    }

    /// Takes one record of the log in. `ids` holds the ids of the owners met so far.
    fn recover_one(
        &self,
        position: Position,
        bytes: Vec<u8>,
        ids: &mut HashMap<u64, InstanceId>,
    ) -> Result<(), Error> {
        let damaged = |what: String| {
            Fault::Damaged(format!("log position {position}: {what}")).reading(&self.path)
        };
        let decoded = codec::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        let expected = self.ledger().submitted.next();
        if position != expected {
            return Err(damaged(format!("position {expected} is missing")));
        }
        let mut record = decoded.record;
        self.put_back(&mut record)?;
        let written = Some(Written {
            chain: decoded.chain,
            bytes,
        });
        let incoming = Incoming { record, written };
        let owner = decoded.owner;
        let taken = if owner == OUTSIDE {
            self.ledger().write_from_outside(incoming).map(|_| ())
        } else if owner == position.0 {
            if let Record::Started(started) = &incoming.record {
                ids.insert(owner, started.id.clone());
            }
            let mut ledger = self.ledger();
            ledger.start(vec![], incoming, vec![]).map(|_| ())
        } else {
            let id = self.owner_of(owner, ids)?;
            let mut ledger = self.ledger();
            if ledger.number_of(&id) != Some(owner) {
                return Err(damaged(format!(
                    "`{id}` belongs to another instance by now"
                )));
            }
            ledger.go_on(&id, vec![incoming]).map(|_| ())
        };
        taken.map_err(|error| damaged(error.to_string()))
    }

    /// The id of an owner, which is in memory then.
    fn owner_of(
        &self,
        number: u64,
        ids: &mut HashMap<u64, InstanceId>,
    ) -> Result<InstanceId, Error> {
        if let Some(id) = ids.get(&number) {
            return Ok(id.clone());
        }
        let Some(live) = self.fold(number)? else {
            let what = format!("instance number {number} has records and no start");
            return Err(Fault::Damaged(what).reading(&self.path));
        };
        let id = live.instance.started().id.clone();
        self.ledger().loaded(&id, live);
        ids.insert(number, id.clone());
        Ok(id)
    }
}
