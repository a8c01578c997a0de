//! The state store as a guest sees it: a session of its own, or on replay the record.

use wfhost_core::comparison::{self, Likeness};
use wfhost_core::record::{StateCall, StateWrite};
use wfhost_core::state::Session;
use wfhost_core::{Json, Timestamp};

use crate::bindings::state;
use crate::grant::Grant;
use crate::host_context::out_of_turn;
use crate::inside::{Inside, Mode, Role, nothing_while_probed};
use crate::past::{Met, Past, describe_get, describe_scan, describe_write};
use crate::trap::Stop;

/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// Most keys that one scan may ask for.
const SCAN_ITEMS_MAX: u32 = 10_000;

/// Where a call to the state store goes.
enum Access<'a> {
    /// To the session of an attempt.
    Attempt(&'a mut Session),
    /// To the session of a turn, and into its record.
    Turn(&'a mut Session, &'a mut Vec<StateCall>),
    /// To the record of a turn that is taken again.
    Past(&'a mut Past),
}

impl state::Host for Inside {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<state::Entry>> {
        check_key(&key)?;
        self.granted(|grant| grant.check_read(&key))?;
        let found = match self.access("state.get")? {
            Access::Attempt(session) => session.get(&key).map_err(Stop::from)?,
            Access::Turn(session, record) => {
                let found = session.get(&key).map_err(Stop::from)?;
                record.push(StateCall::Get {
                    key,
                    found: found.clone(),
                });
                found
            }
            Access::Past(past) => past.meet_state(
                |call| match call {
                    StateCall::Get { key: then, found } if *then == key => {
                        Some(Met::Same(found.clone()))
                    }
                    StateCall::Get { .. } | StateCall::Scan { .. } | StateCall::Write { .. } => {
                        None
                    }
                },
                || describe_get(&key),
            )?,
        };
        self.spend(found.as_ref().map_or(0, |entry| entry.value.bytes()))?;
        Ok(found.map(Into::into))
    }

    fn set(
        &mut self,
        key: String,
        value: String,
        options: state::WriteOptions,
    ) -> wasmtime::Result<Result<(), u64>> {
        let value = self.payload(value, || format!("the value of the key `{key}`"))?;
        self.write_state(key, Some(value), options)
    }

    fn delete(
        &mut self,
        key: String,
        if_version: Option<u64>,
    ) -> wasmtime::Result<Result<(), u64>> {
        let options = state::WriteOptions {
            if_version,
            expires_at: None,
        };
        self.write_state(key, None, options)
    }

    fn scan(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Vec<state::Item>> {
        if limit > SCAN_ITEMS_MAX {
            let message = format!(
                "a scan asked for {limit} keys, the limit is {SCAN_ITEMS_MAX}; \
                 scan on after the last key"
            );
            return Err(Stop::Forbidden(message).into());
        }
        self.granted(|grant| grant.check_read(&prefix))?;
        let scan = |session: &mut Session| {
            let found = session.scan(&prefix, after.as_deref(), limit as usize);
            found.map_err(Stop::from)
        };
        let found = match self.access("state.scan")? {
            Access::Attempt(session) => scan(session)?,
            Access::Turn(session, record) => {
                let found = scan(session)?;
                record.push(StateCall::Scan {
                    prefix,
                    after,
                    limit,
                    found: found.clone(),
                });
                found
            }
            Access::Past(past) => past.meet_state(
                |call| match call {
                    StateCall::Scan {
                        prefix: p,
                        after: a,
                        limit: l,
                        found,
                    } if *p == prefix && *a == after && *l == limit => {
                        Some(Met::Same(found.clone()))
                    }
                    StateCall::Get { .. } | StateCall::Scan { .. } | StateCall::Write { .. } => {
                        None
                    }
                },
                || describe_scan(&prefix, after.as_deref(), limit),
            )?,
        };
        self.spend(
            found
                .iter()
                .map(|(key, entry)| key.len() + entry.value.bytes())
                .sum(),
        )?;
        let items = found.into_iter().map(|(key, entry)| state::Item {
            key,
            entry: entry.into(),
        });
        Ok(items.collect())
    }
}

impl Inside {
    fn write_state(
        &mut self,
        key: String,
        value: Option<Json>,
        options: state::WriteOptions,
    ) -> wasmtime::Result<Result<(), u64>> {
        check_key(&key)?;
        self.granted(|grant| grant.check_write(&key))?;
        let if_version = options.if_version;
        let write = StateWrite {
            key,
            value,
            expires_at: options.expires_at.map(Timestamp),
        };
        Ok(match self.access("state.set")? {
            Access::Attempt(session) => session.write(write, if_version).map_err(Stop::from)?,
            Access::Turn(session, record) => {
                let written = session.write(write.clone(), if_version);
                let written = written.map_err(Stop::from)?;
                record.push(StateCall::Write {
                    write,
                    if_version,
                    refused: written.err(),
                });
                written
            }
            Access::Past(past) => past.meet_state(
                |call| match call {
                    StateCall::Write {
                        write: then,
                        if_version: condition,
                        refused,
                    } => {
                        let answer = refused.map_or(Ok(()), Err);
                        meet_write((then, *condition), (&write, if_version), answer)
                    }
                    StateCall::Get { .. } | StateCall::Scan { .. } => None,
                },
                || describe_write(&write, if_version),
            )?,
        })
    }

    /// Asks what an attempt was granted; a workflow has the state whole, or its replay would depend
    /// on the grants of the day.
    fn granted(&self, ask: impl FnOnce(&Grant) -> Result<(), Stop>) -> Result<(), Stop> {
        match &self.role {
            Role::Attempt(attempt) => ask(&attempt.grant),
            Role::Workflow(_) | Role::Probe { .. } => Ok(()),
        }
    }

    fn access(&mut self, what: &str) -> Result<Access<'_>, Stop> {
        let calls_max = self.limits.commands_per_turn_max;
        match &mut self.role {
            Role::Attempt(attempt) => Ok(Access::Attempt(&mut attempt.session)),
            Role::Probe { .. } => Err(nothing_while_probed(what)),
            Role::Workflow(workflow) => match &mut workflow.mode {
                Mode::Live(live) if live.state.len() >= calls_max => Err(Stop::Limit(format!(
                    "it called the state store more than {calls_max} times in one turn"
                ))),
                Mode::Live(live) => Ok(Access::Turn(&mut live.session, &mut live.state)),
                Mode::Replay(past) => Ok(Access::Past(past)),
                mode @ (Mode::Idle | Mode::Asked(_)) => Err(out_of_turn(mode, what)),
            },
        }
    }
}

/// How a write stands to the one that is recorded.
fn meet_write<T>(
    recorded: (&StateWrite, Option<u64>),
    asked: (&StateWrite, Option<u64>),
    answer: T,
) -> Option<Met<T>> {
    if recorded == asked {
        return Some(Met::Same(answer));
    }
    match comparison::writes(recorded, asked) {
        Likeness::Same => Some(Met::Reformatted(answer)),
        Likeness::InputChanged => Some(Met::Changed(answer)),
        Likeness::Diverges => None,
    }
}

fn check_key(key: &str) -> Result<(), Stop> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Stop::InvalidOutput(format!(
            "a key of the state has {} bytes; use 1 to {KEY_BYTES_MAX}",
            key.len()
        )));
    }
    Ok(())
}
