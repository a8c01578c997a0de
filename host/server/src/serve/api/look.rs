//! Instances looked into: why they stand where they do, what they have logged, whether their code
//! does the same again, and all of it in one file.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use wfhost_core::record::LogLevel;

use super::instances::{asks_for_events, followed};
use super::{Answer, At, One, Parameters, Problem, shown};
use crate::Name;
use crate::cli::why::{Cause, causes};
use crate::error::Error;
use crate::follow::Followed;
use crate::narrate::Narrator;
use crate::serve::Served;
use crate::view::{self, Called, LogRow};

/// Why an instance stands where it does.
#[derive(Serialize, ToSchema)]
pub(super) struct Why {
    id: view::Id,
    status: view::Status,
    causes: Vec<Cause>,
}

/// Says why an instance is where it is
///
/// What it waits for, what holds it back, or how it ended; each with the command that helps.
#[utoipa::path(
    get, path = "/instances/{id}/why", tag = "instances", operation_id = "why",
    params(One),
    responses((status = 200, description = "The reasons.", body = Why)),
    extensions(("x-problems" = json!(["no-such-instance"]))),
)]
pub(super) async fn why(State(served): State<Served>, At(One { id }): At<One>) -> Answer {
    let instance = served.host.instance(&id).await?;
    let why = Why {
        causes: causes(&served.host, &instance).await?,
        status: instance.status().into(),
        id: (&id).into(),
    };
    Ok(shown(why).into_response())
}

/// Which lines.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Lines {
    /// Only what is so important, or more.
    #[param(value_type = view::Level)]
    level: Option<LogLevel>,
    /// Only of attempts of this activity.
    #[param(value_type = Called)]
    activity: Option<Name>,
}

impl Lines {
    fn takes(&self, row: &LogRow) -> bool {
        row.is_wanted(self.level, self.activity.as_ref())
    }
}

/// What was logged.
#[derive(Serialize, ToSchema)]
pub(super) struct Log {
    lines: Vec<LogRow>,
}

/// Tells what an instance's code has logged
///
/// What an attempt logs is there once it has ended. With `Accept: text/event-stream` each line is a
/// server-sent event named `line`, as it becomes durable, until the instance has ended.
#[utoipa::path(
    get, path = "/instances/{id}/logs", tag = "instances", operation_id = "logs",
    params(One, Lines),
    responses((
        status = 200, description = "The lines, oldest first.",
        content((Log = "application/json"), (String = "text/event-stream")),
    )),
    extensions(("x-problems" = json!(["no-such-instance"]))),
)]
pub(super) async fn logs(
    State(served): State<Served>,
    At(One { id }): At<One>,
    Parameters(wanted): Parameters<Lines>,
    headers: HeaderMap,
) -> Answer {
    if asks_for_events(&headers) {
        let seen = Followed::new(&served.host, &id).await?;
        let events = followed(seen, served.stopping, move |told, record| {
            let rows = LogRow::all(told, record).into_iter();
            let rows = rows.filter(|row| wanted.takes(row));
            let event = |row| {
                SentEvent::default()
                    .event("line")
                    .data(view::json(row).to_string())
            };
            rows.map(event).collect()
        });
        return Ok(Sse::new(events)
            .keep_alive(KeepAlive::default())
            .into_response());
    }
    let lines = tokio::task::spawn_blocking(move || {
        let (mut narrator, mut lines) = (Narrator::default(), Vec::new());
        served.host.history(&id, |record| {
            let told = narrator.next(&record)?;
            let rows = LogRow::all(&told, &record).into_iter();
            lines.extend(rows.filter(|row| wanted.takes(row)));
            Ok::<_, Problem>(())
        })?;
        Ok::<_, Problem>(lines)
    });
    let lines = lines.await.map_err(|_| Problem::from(Error::Unknown))??;
    Ok(shown(Log { lines }).into_response())
}

/// What came of a replay.
#[derive(Serialize, ToSchema)]
pub(super) struct Replay {
    /// All turns were the same.
    same: bool,
    /// So many were, before one was not.
    turns: u64,
    /// On which module.
    module: view::Digest,
    /// What was not the same.
    reason: Option<view::Reason>,
}

/// Runs an instance's history again, without effects
///
/// On the module that it runs on. What another module would do is told by a deployment with `plan`.
#[utoipa::path(
    get, path = "/instances/{id}/replay", tag = "instances", operation_id = "replay",
    params(One),
    responses((status = 200, description = "Whether its code does the same again.", body = Replay)),
    extensions(("x-problems" = json!(["no-such-instance"]))),
)]
pub(super) async fn replay(State(served): State<Served>, At(One { id }): At<One>) -> Answer {
    let replayed = served.host.replay(&id, None).await?;
    let row = Replay {
        same: replayed.stray.is_none(),
        turns: replayed.turns,
        module: replayed.module.into(),
        reason: replayed.stray.as_ref().map(Into::into),
    };
    Ok(shown(row).into_response())
}

/// Writes an instance with its code into a capsule
///
/// `wfhost replay` runs it again on any machine. All that the instance was given is in it as it was.
#[utoipa::path(
    get, path = "/instances/{id}/capsule", tag = "instances", operation_id = "export",
    params(One),
    responses((
        status = 200, description = "The capsule.",
        content_type = "application/octet-stream", body = super::Whole,
    )),
    extensions(("x-problems" = json!(["no-such-instance"]))),
)]
pub(super) async fn capsule(State(served): State<Served>, At(One { id }): At<One>) -> Answer {
    // Whole before the first byte is sent: what fails half-way is told as such.
    let failed = |_| Problem::from(Error::Unknown);
    let mut file = tempfile::tempfile().map_err(failed)?;
    served.host.export(&id, &mut file).await?;
    file.flush().and_then(|()| file.rewind()).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    Ok(sent(file, bytes, &format!("{id}.capsule")))
}

/// How much of a file is read at once, in bytes.
const PART_BYTES: usize = 64 * 1024;

/// A file as the body of an answer, a part at a time. The client sees if it is cut off.
fn sent(file: File, bytes: u64, name: &str) -> Response {
    let parts = futures_util::stream::unfold(Some(file), |file| async {
        let mut file = file?;
        let read = tokio::task::spawn_blocking(move || {
            let mut part = vec![0; PART_BYTES];
            let read = file.read(&mut part)?;
            part.truncate(read);
            Ok((part, file))
        });
        match read.await.ok()? {
            Ok((part, _)) if part.is_empty() => None,
            Ok((part, file)) => Some((Ok(part), Some(file))),
            Err(error) => Some((Err::<_, std::io::Error>(error), None)),
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, Body::from_stream(parts)).into_response()
}
