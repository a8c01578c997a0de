//! Schedules: which there are, new ones, and what they are told.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::filter::{page, time};
use super::instances::{Created, created};
use super::{At, Body, Once, Parameters, Problem, shown};
use crate::error::Error;
use crate::serve::Served;
use crate::view::{Called, OverlapWord, ScheduleId};
use crate::{Name, Overlap, Schedule, ScheduleName, Times, view};

/// The schedule that a call is about.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Named {
    #[param(value_type = ScheduleId)]
    name: ScheduleName,
}

/// Which page.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Page {
    /// What `next` of the page before says.
    #[param(value_type = ScheduleId)]
    after: Option<ScheduleName>,
    /// The most that are answered at once; 100 if it is left out.
    #[param(value_type = u32, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of schedules.
#[derive(Serialize, ToSchema)]
pub(super) struct Schedules {
    schedules: Vec<view::Schedule>,
    /// Where the next page begins; null if there is none.
    next: Option<ScheduleId>,
}

/// Lists schedules
#[utoipa::path(
    get, path = "/schedules", tag = "schedules", operation_id = "list_schedules",
    params(Page),
    responses((status = 200, description = "A page of them, by name.", body = Schedules)),
)]
pub(super) async fn list(
    State(served): State<Served>,
    Parameters(Page { after, limit }): Parameters<Page>,
) -> Result<Json<Value>, Problem> {
    let limit = page(limit)?;
    let all = served.host.schedules().await?.into_iter();
    let rest = all.filter(|it| Some(&it.schedule.name) > after.as_ref());
    let rows: Vec<_> = rest.take(limit).collect();
    let next = rows.last().filter(|_| rows.len() == limit);
    Ok(shown(Schedules {
        next: next.map(|it| (&it.schedule.name).into()),
        schedules: rows.iter().map(Into::into).collect(),
    }))
}

/// Shows a schedule, with what became of its last firings
#[utoipa::path(
    get, path = "/schedules/{name}", tag = "schedules", operation_id = "show_schedule",
    params(Named),
    responses((status = 200, description = "As it stands.", body = view::Schedule)),
    extensions(("x-problems" = json!(["no-such-schedule"]))),
)]
pub(super) async fn show(
    State(served): State<Served>,
    At(Named { name }): At<Named>,
) -> Result<Json<Value>, Problem> {
    let scheduled = served.host.schedule(&name).await?;
    Ok(Json(view::schedule(&scheduled)))
}

/// What a schedule does.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    /// Minute, hour, day of month, month and day of week, with seconds before them if they matter;
    /// or a word such as `@hourly`.
    #[schema(examples("30 2 * * *"))]
    cron: String,
    /// Where these times are meant, as the IANA database names it; `UTC` if it is left out.
    #[schema(examples("Europe/Berlin"))]
    time_zone: Option<String>,
    #[schema(value_type = Called)]
    workflow: Name,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    #[schema(value_type = Option<OverlapWord>)]
    overlap: Option<Overlap>,
    /// How far back missed firings are made up; `1h` if it is left out, `0s` for not at all.
    #[schema(examples("1h"))]
    catch_up: Option<String>,
    /// How many of them at once, the newest; 10 if it is left out.
    #[schema(minimum = 1, maximum = 1000)]
    catch_up_max: Option<u32>,
    /// It does not fire after then.
    #[schema(format = DateTime)]
    until: Option<String>,
}

impl Setting {
    fn schedule(self, name: ScheduleName) -> Result<Schedule, Problem> {
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        let times = Times::new(&self.cron, zone).map_err(Error::from)?;
        let input = crate::Json::of(&self.input);
        let schedule = Schedule::new(name, times, self.workflow, input);
        let until = self.until.as_deref().map(|text| time("until", text));
        Ok(Schedule {
            tags: self.tags.into_iter().collect(),
            overlap: self.overlap.unwrap_or_default(),
            catch_up_ms: match &self.catch_up {
                Some(text) => catch_up(text)?,
                None => schedule.catch_up_ms,
            },
            catch_up_max: self.catch_up_max.unwrap_or(schedule.catch_up_max),
            until: until.transpose()?,
            ..schedule
        })
    }
}

fn catch_up(text: &str) -> Result<u64, Problem> {
    let length = humantime::parse_duration(text).map_err(|error| {
        let why = format!("{error}; it takes a length of time such as 0s, 10m or 2h");
        Problem::bad_parameter("catch_up", &why)
    })?;
    Ok(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

/// Sets a schedule
///
/// One that is there keeps what it has fired and whether it is paused. Where its times or its end
/// change, they count from now.
#[utoipa::path(
    put, path = "/schedules/{name}", tag = "schedules", operation_id = "put_schedule",
    params(Named),
    request_body = Setting,
    responses(
        (status = 200, description = "It is set, in place of another.", body = view::Schedule),
        (
            status = 201, description = "It is new.", body = view::Schedule,
            headers(("Location" = String, description = "Where it is.")),
        ),
    ),
    extensions(("x-problems" = json!([
        "bad-parameter", "invalid-schedule", "no-such-workflow", "invalid-input",
        "too-many-schedules", "too-large",
    ]))),
)]
pub(super) async fn put(
    State(served): State<Served>,
    At(Named { name }): At<Named>,
    Body(setting): Body<Setting>,
) -> Result<Response, Problem> {
    let schedule = setting.schedule(name)?;
    let location = format!("/api/v1/schedules/{}", schedule.name);
    let (scheduled, new) = served.host.put_schedule(schedule).await?;
    let body = Json(view::schedule(&scheduled));
    Ok(match new {
        true => (StatusCode::CREATED, [(header::LOCATION, location)], body).into_response(),
        false => body.into_response(),
    })
}

/// Removes a schedule
///
/// What it has started goes on.
#[utoipa::path(
    delete, path = "/schedules/{name}", tag = "schedules", operation_id = "delete_schedule",
    params(Named),
    responses((status = 204, description = "It is gone, and that is durable.")),
    extensions(("x-problems" = json!(["no-such-schedule"]))),
)]
pub(super) async fn delete(
    State(served): State<Served>,
    At(Named { name }): At<Named>,
) -> Result<StatusCode, Problem> {
    served.host.delete_schedule(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why it is paused.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Pausing {
    note: Option<String>,
}

/// Has a schedule fire no more until it is resumed
#[utoipa::path(
    post, path = "/schedules/{name}/pause", tag = "schedules", operation_id = "pause_schedule",
    params(Named),
    request_body = Option<Pausing>,
    responses((status = 200, description = "It is paused.", body = view::Schedule)),
    extensions(("x-problems" = json!(["no-such-schedule"]))),
)]
pub(super) async fn pause(
    State(served): State<Served>,
    At(Named { name }): At<Named>,
    Body(Pausing { note }): Body<Pausing>,
) -> Result<Json<Value>, Problem> {
    let scheduled = served.host.pause_schedule(&name, note).await?;
    Ok(Json(view::schedule(&scheduled)))
}

/// Has a paused schedule fire again, from now on
#[utoipa::path(
    post, path = "/schedules/{name}/resume", tag = "schedules", operation_id = "resume_schedule",
    params(Named),
    responses((status = 200, description = "It is not paused.", body = view::Schedule)),
    extensions(("x-problems" = json!(["no-such-schedule"]))),
)]
pub(super) async fn resume(
    State(served): State<Served>,
    At(Named { name }): At<Named>,
) -> Result<Json<Value>, Problem> {
    let scheduled = served.host.resume_schedule(&name).await?;
    Ok(Json(view::schedule(&scheduled)))
}

/// Starts an instance of a schedule now
///
/// Whatever runs, and also while it is paused.
#[utoipa::path(
    post, path = "/schedules/{name}/trigger", tag = "schedules", operation_id = "trigger_schedule",
    params(Named, Once),
    responses((
        status = 201, description = "It is started, and that is durable.", body = Created,
        headers(("Location" = String, description = "Where the instance is.")),
    )),
    extensions(("x-problems" = json!([
        "no-such-schedule", "no-such-workflow", "invalid-input", "id-in-use", "module-removed", "too-large",
    ]))),
)]
pub(super) async fn trigger(
    State(served): State<Served>,
    At(Named { name }): At<Named>,
    Once { key }: Once,
) -> Result<Response, Problem> {
    let id = served.host.trigger_schedule(&name, key).await?;
    Ok(created(&id))
}

/// How many times.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Count {
    /// The most that are answered; 10 if it is left out.
    #[param(value_type = u32, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// When a schedule fires next.
#[derive(Serialize, ToSchema)]
pub(super) struct Upcoming {
    times: Vec<view::DueTime>,
}

/// Says when a schedule would fire next, paused or not
#[utoipa::path(
    get, path = "/schedules/{name}/next", tag = "schedules", operation_id = "next_of_schedule",
    params(Named, Count),
    responses((status = 200, description = "In their order.", body = Upcoming)),
    extensions(("x-problems" = json!(["no-such-schedule"]))),
)]
pub(super) async fn next(
    State(served): State<Served>,
    At(Named { name }): At<Named>,
    Parameters(Count { limit }): Parameters<Count>,
) -> Result<Json<Value>, Problem> {
    let count = page(Some(limit.unwrap_or(10)))?;
    let schedule = served.host.schedule(&name).await?.schedule;
    let times = served.host.upcoming(&schedule, count);
    Ok(shown(Upcoming {
        times: times.into_iter().map(Into::into).collect(),
    }))
}
