//! Schedules: which there are, new ones, and what they are told.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::instances::{created, page, time};
use super::{At, Body, Parameters, Problem, key};
use crate::error::Error;
use crate::serve::Served;
use crate::{Name, Overlap, Schedule, ScheduleName, Times, Timestamp, view};

/// Which page.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Range {
    after: Option<ScheduleName>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(served): State<Served>,
    Parameters(Range { after, limit }): Parameters<Range>,
) -> Result<Json<Value>, Problem> {
    let limit = page(limit)?;
    let all = served.host.schedules().await?.into_iter();
    let rest = all.filter(|it| Some(&it.schedule.name) > after.as_ref());
    let rows: Vec<_> = rest.take(limit).collect();
    let next = rows.last().filter(|_| rows.len() == limit);
    let next = next.map(|it| it.schedule.name.as_str());
    let shown: Vec<_> = rows.iter().map(view::schedule).collect();
    Ok(Json(json!({ "schedules": shown, "next": next })))
}

pub(super) async fn show(
    State(served): State<Served>,
    At(name): At<ScheduleName>,
) -> Result<Json<Value>, Problem> {
    let scheduled = served.host.schedule(&name).await?;
    Ok(Json(view::schedule(&scheduled)))
}

/// What a schedule does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    cron: String,
    time_zone: Option<String>,
    workflow: Name,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    overlap: Overlap,
    catch_up: Option<String>,
    catch_up_max: Option<u32>,
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
            overlap: self.overlap,
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

pub(super) async fn put(
    State(served): State<Served>,
    At(name): At<ScheduleName>,
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

pub(super) async fn delete(
    State(served): State<Served>,
    At(name): At<ScheduleName>,
) -> Result<StatusCode, Problem> {
    served.host.delete_schedule(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Why it is paused.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Pausing {
    note: Option<String>,
}

pub(super) async fn pause(
    State(served): State<Served>,
    At(name): At<ScheduleName>,
    Body(Pausing { note }): Body<Pausing>,
) -> Result<Json<Value>, Problem> {
    let scheduled = served.host.pause_schedule(&name, note).await?;
    Ok(Json(view::schedule(&scheduled)))
}

pub(super) async fn resume(
    State(served): State<Served>,
    At(name): At<ScheduleName>,
) -> Result<Json<Value>, Problem> {
    let scheduled = served.host.resume_schedule(&name).await?;
    Ok(Json(view::schedule(&scheduled)))
}

pub(super) async fn trigger(
    State(served): State<Served>,
    At(name): At<ScheduleName>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id = served.host.trigger_schedule(&name, key(&headers)?).await?;
    Ok(created(&id))
}

/// How many times.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Count {
    limit: Option<usize>,
}

/// When it would fire next, paused or not.
pub(super) async fn next(
    State(served): State<Served>,
    At(name): At<ScheduleName>,
    Parameters(Count { limit }): Parameters<Count>,
) -> Result<Json<Value>, Problem> {
    let count = page(Some(limit.unwrap_or(10)))?;
    let schedule = served.host.schedule(&name).await?.schedule;
    let times = served.host.upcoming(&schedule, count);
    let times: Vec<_> = times.iter().map(Timestamp::to_string).collect();
    Ok(Json(json!({ "times": times })))
}
