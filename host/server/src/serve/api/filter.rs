//! Which instances, which module, how many: what the parameters of lists mean.

use axum::http::StatusCode;
use chrono::DateTime;
use serde::Deserialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use wfhost_core::Status;

use super::Problem;
use crate::host::Host;
use crate::view::{self, Called, Id};
use crate::{Digest, InstanceId, Name, Query, Timestamp};

/// The most of a page.
const PAGE_MAX: usize = 1_000;

pub(super) fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
        let why = format!("{error}; it takes a time such as 2030-01-31T12:00:00Z");
        Problem::bad_parameter(name, &why)
    })?;
    // Before 1970 there was nothing.
    Ok(Timestamp(time.timestamp_millis().try_into().unwrap_or(0)))
}

/// Which instances are listed, and how many.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    #[param(value_type = Called)]
    workflow: Option<Name>,
    /// Any of these.
    #[param(value_type = Vec<view::Status>, style = Form, explode = false)]
    status: Option<String>,
    /// All of these, each `KEY=VALUE`.
    #[param(value_type = Vec<Tag>, style = Form, explode = false)]
    tag: Option<String>,
    /// The children of this instance.
    #[param(value_type = Id)]
    parent: Option<InstanceId>,
    /// Those that run on this module; the begin of its digest is enough.
    #[param(value_type = String, pattern = "^(sha256:)?[0-9a-f]{1,64}$")]
    module: Option<String>,
    #[param(value_type = String, format = DateTime)]
    created_after: Option<String>,
    #[param(value_type = String, format = DateTime)]
    created_before: Option<String>,
    newest_first: bool,
    /// The most that are answered at once; 100 if it is left out.
    #[param(value_type = u32, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// What `next` of the page before says.
    after: Option<u64>,
}

/// `KEY=VALUE`.
pub(super) struct Tag(String, String);

impl ToSchema for Tag {}

impl PartialSchema for Tag {
    fn schema() -> RefOr<Schema> {
        let tag = ObjectBuilder::new().schema_type(Type::String);
        tag.pattern(Some("^[^=,]+=[^,]*$")).into()
    }
}

/// A status of what has ended.
pub(super) struct EndedStatus;

impl ToSchema for EndedStatus {}

impl PartialSchema for EndedStatus {
    fn schema() -> RefOr<Schema> {
        let ended = Status::ALL.into_iter().filter(|it| it.has_ended());
        let words = ended.map(Status::as_str);
        let schema = ObjectBuilder::new().schema_type(Type::String);
        schema.enum_values(Some(words)).into()
    }
}

impl Filter {
    pub(super) fn query(&self, host: &Host) -> Result<Query, Problem> {
        let times =
            |name, text: &Option<String>| text.as_deref().map(|it| time(name, it)).transpose();
        let module = self.module.as_deref().map(|start| module(host, start));
        Ok(Query {
            workflow: self.workflow.clone(),
            statuses: statuses(self.status.as_deref())?,
            tags: tags(self.tag.as_deref())?,
            parent: self.parent.clone(),
            module: module.transpose()?,
            created_from: times("created_after", &self.created_after)?,
            created_before: times("created_before", &self.created_before)?,
            newest_first: self.newest_first,
            limit: page(self.limit)?,
            after: self.after,
            ..Query::default()
        })
    }
}

/// The parts of a list with commas.
fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    let words = text.unwrap_or_default().split(',');
    words.filter(|it| !it.is_empty())
}

pub(super) fn statuses(text: Option<&str>) -> Result<Vec<Status>, Problem> {
    words(text).map(status).collect()
}

pub(super) fn tags(text: Option<&str>) -> Result<Vec<(String, String)>, Problem> {
    let tags = words(text).map(|it| tag(it).map(|Tag(key, value)| (key, value)));
    tags.collect()
}

/// The module whose digest begins so.
pub(super) fn module(host: &Host, start: &str) -> Result<Digest, Problem> {
    let digits = start.strip_prefix("sha256:").unwrap_or(start);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !(1..=64).contains(&digits.len()) || !digits.bytes().all(is_digit) {
        let why = "it is the module's digest, or the begin of it: sha256: and hexadecimal digits";
        return Err(Problem::bad_parameter("module", &why));
    }
    let modules = host.modules()?;
    let mut found = modules
        .iter()
        .filter(|it| it.digest.hex().starts_with(digits));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.digest),
        (None, _) => {
            let detail = format!("there is no module whose digest begins with {digits}");
            Err(Problem::new(
                StatusCode::NOT_FOUND,
                "no-such-module",
                detail,
            ))
        }
        _ => {
            let detail = format!("the digests of several modules begin with {digits}");
            Err(Problem::new(
                StatusCode::CONFLICT,
                "ambiguous-module",
                detail,
            ))
        }
    }
}

/// How many a page has.
pub(super) fn page(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(100),
        Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::bad_parameter(
            "limit",
            &format!("it is 1 to {PAGE_MAX}"),
        )),
    }
}

fn status(word: &str) -> Result<Status, Problem> {
    let known = Status::ALL.into_iter().find(|it| it.as_str() == word);
    known.ok_or_else(|| {
        let words: Vec<_> = Status::ALL.iter().map(|it| it.as_str()).collect();
        Problem::bad_parameter("status", &format!("it is of {}", words.join(", ")))
    })
}

fn tag(text: &str) -> Result<Tag, Problem> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| Problem::bad_parameter("tag", &"it is KEY=VALUE"))?;
    Ok(Tag(key.to_owned(), value.to_owned()))
}
