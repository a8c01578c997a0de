//! Webhooks: requests of other services, under `/hooks/{name}`, that start a workflow or raise an
//! event. Which there are, the options say; without any there are none.
//!
//! One with a signature is guarded by that, and by nothing else: whoever sends it knows no token.
//! One without needs the token as everything does.

mod signature;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use wfhost_core::Trace;

use super::Served;
use super::api::{KEY_BYTES_MAX, Problem, Whole};
use super::observe::Caller;
use crate::error::Error;
use crate::start::StartRequest;
use crate::{Event, InstanceId, Name};
use signature::Signature;
use template::{Incoming, Template, Text};

/// The largest body that a webhook takes if it does not say: a mebibyte. It is read before the
/// signature is checked, from whoever sends it.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A webhook: what a request to `/hooks/{name}` does. It starts a workflow or raises an event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookOptions {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// The workflow that it starts.
    pub start: Option<WebhookStart>,
    /// The event that it raises.
    pub event: Option<WebhookEvent>,
    /// The request key, as a template: what has the same is done once.
    pub key: Option<String>,
    /// How its sender signs.
    pub signature: Option<SignatureOptions>,
    /// The largest body that it takes, in bytes; a mebibyte if it is left out.
    pub body_bytes_max: Option<usize>,
}

/// A workflow that a webhook starts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookStart {
    /// Which.
    pub workflow: Name,
    /// The instance's id, as a template; one that the key makes, or a random one, if it is left
    /// out.
    pub id: Option<String>,
    /// The input, in whose texts references may stand; the body if it is left out.
    pub input: Option<Value>,
    /// Tags, whose values are templates.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// An event that a webhook raises.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookEvent {
    /// The instance's id, as a template.
    pub instance: String,
    /// The event's name, as a template.
    pub name: String,
    /// What it carries, in whose texts references may stand; the body if it is left out.
    pub payload: Option<Value>,
}

/// How a sender signs: with HMAC and SHA-256, in a header.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureOptions {
    /// The header that holds the signature.
    pub header: String,
    /// Which part of a header such as `t=…,v1=…` it is; else the header is the signature.
    pub field: Option<String>,
    /// What stands before the signature, such as `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// The variable of the environment that holds the secret.
    pub secret_env: Option<String>,
    /// The file that holds the secret; white space around it does not count.
    pub secret_file: Option<PathBuf>,
    /// What is signed: `{body}` is the body as it came, `{timestamp}` the time, `{header:NAME}`
    /// another header.
    #[serde(default = "signs_the_body")]
    pub signed: String,
    /// Where the time is at which the request was signed.
    pub timestamp: Option<TimestampOptions>,
}

/// When a request was signed, so that nobody can send it again later.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampOptions {
    /// The header that holds it, in seconds since 1970.
    pub header: String,
    /// Which part of a header such as `t=…,v1=…` it is; else the header is the time.
    pub field: Option<String>,
    /// How far it may be from the host's clock, such as `5m`, which it is if it is left out.
    pub tolerance: Option<String>,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureEncoding {
    /// In hexadecimal.
    #[default]
    Hex,
    /// In base64.
    Base64,
}

fn signs_the_body() -> String {
    "{body}".into()
}

/// The webhooks of a host, ready to take requests. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Webhooks(Arc<BTreeMap<String, Webhook>>);

struct Webhook {
    action: Action,
    key: Option<Text>,
    signature: Option<Signature>,
    body_bytes_max: usize,
}

enum Action {
    Start {
        workflow: Name,
        id: Option<Text>,
        input: Template,
        tags: Vec<(String, Text)>,
    },
    Event {
        instance: Text,
        name: Text,
        payload: Template,
    },
}

impl Webhooks {
    /// Reads what the options say, and the secrets.
    ///
    /// # Errors
    /// If something is wrong with one of them; says what.
    pub(super) fn new(options: &[WebhookOptions]) -> Result<Self, Error> {
        let mut webhooks = BTreeMap::new();
        for options in options {
            let name = options.name.clone();
            let invalid = |why| Error::Webhook {
                name: name.clone(),
                why,
            };
            if name.parse::<InstanceId>().is_err() {
                let why = "its name has 1 to 64 letters, digits, `_` and `-`";
                return Err(invalid(why.into()));
            }
            let webhook = Webhook::new(options).map_err(invalid)?;
            if webhooks.insert(name.clone(), webhook).is_some() {
                return Err(invalid("there are two of that name".into()));
            }
        }
        Ok(Self(Arc::new(webhooks)))
    }

    /// Whether a path leads to a webhook that checks by itself who calls.
    pub(super) fn is_signed(&self, path: &str) -> bool {
        let webhook = self.at(path);
        webhook.is_some_and(|webhook| webhook.signature.is_some())
    }

    /// The largest body, in bytes, that the webhook takes to which a path leads.
    pub(super) fn body_bytes_max(&self, path: &str) -> Option<usize> {
        Some(self.at(path)?.body_bytes_max)
    }

    fn at(&self, path: &str) -> Option<&Webhook> {
        self.0.get(path.strip_prefix("/hooks/")?)
    }
}

impl Webhook {
    fn new(options: &WebhookOptions) -> Result<Self, String> {
        let key = options.key.as_deref();
        let signature = options.signature.as_ref();
        Ok(Self {
            action: Action::new(options)?,
            key: key
                .map(|text| within("key", Text::parse(text)))
                .transpose()?,
            signature: signature.map(Signature::new).transpose()?,
            body_bytes_max: options.body_bytes_max.unwrap_or(BODY_BYTES_MAX),
        })
    }

    /// Whether anything of the body is used, which then must be JSON.
    fn reads_body(&self) -> bool {
        let key = self.key.as_ref().is_some_and(Text::reads_body);
        key || match &self.action {
            Action::Start {
                id, input, tags, ..
            } => {
                id.as_ref().is_some_and(Text::reads_body)
                    || input.reads_body()
                    || tags.iter().any(|(_, text)| text.reads_body())
            }
            Action::Event {
                instance,
                name,
                payload,
            } => instance.reads_body() || name.reads_body() || payload.reads_body(),
        }
    }
}

impl Action {
    fn new(options: &WebhookOptions) -> Result<Self, String> {
        match (&options.start, &options.event) {
            (Some(start), None) => {
                let id = start.id.as_deref();
                let tags = start.tags.iter().map(|(key, text)| {
                    let text = within(&format!("start.tags.{key}"), Text::parse(text))?;
                    Ok::<_, String>((key.clone(), text))
                });
                Ok(Self::Start {
                    workflow: start.workflow.clone(),
                    id: id
                        .map(|text| within("start.id", Text::parse(text)))
                        .transpose()?,
                    input: within("start.input", payload(start.input.as_ref()))?,
                    tags: tags.collect::<Result<_, _>>()?,
                })
            }
            (None, Some(event)) => Ok(Self::Event {
                instance: within("event.instance", Text::parse(&event.instance))?,
                name: within("event.name", Text::parse(&event.name))?,
                payload: within("event.payload", payload(event.payload.as_ref()))?,
            }),
            (None, None) => Err("it does nothing: give `start` or `event`".into()),
            (Some(_), Some(_)) => Err("it takes either `start` or `event`".into()),
        }
    }
}

fn payload(value: Option<&Value>) -> Result<Template, String> {
    value.map_or_else(|| Ok(Template::body()), Template::parse)
}

/// Says in which key something is wrong.
fn within<T>(key: &str, result: Result<T, String>) -> Result<T, String> {
    result.map_err(|why| format!("`{key}`: {why}"))
}

/// Takes a request to a webhook.
pub(super) async fn receive(
    State(served): State<Served>,
    Path(name): Path<String>,
    Caller(trace): Caller,
    parts: Parts,
    Whole(bytes): Whole,
) -> Result<Response, Problem> {
    let webhook = served.webhooks.0.get(&name).ok_or_else(|| {
        let detail = format!("there is no webhook `{name}`");
        Problem::new(StatusCode::NOT_FOUND, "no-such-hook", detail)
    })?;
    if let Some(signature) = &webhook.signature {
        let checked = signature.check(&parts.headers, &bytes, served.host.now());
        checked.map_err(|why| Problem::new(StatusCode::UNAUTHORIZED, "bad-signature", why))?;
    }
    let body = match webhook.reads_body() {
        true => json_of(&bytes)?,
        false => Value::Null,
    };
    let incoming = Incoming::new(&parts, &body).map_err(bad)?;
    let id = act(&served, webhook, &incoming, trace).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id.as_str() }))).into_response())
}

/// The body; an empty one is null.
fn json_of(bytes: &[u8]) -> Result<Value, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| Problem::bad_body(&error))?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|error| Problem::bad_body(&error))
}

/// Does what the request asks; says of which instance.
async fn act(
    served: &Served,
    webhook: &Webhook,
    incoming: &Incoming<'_>,
    trace: Option<Trace>,
) -> Result<InstanceId, Problem> {
    let text = |text: &Text| text.fill(incoming).map_err(bad);
    let key = webhook.key.as_ref().map(text).transpose()?;
    if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES_MAX) {
        let why = format!("the request key has more than {KEY_BYTES_MAX} bytes");
        return Err(bad(why));
    }
    match &webhook.action {
        Action::Start {
            workflow,
            id,
            input,
            tags,
        } => {
            let id = id.as_ref().map(text).transpose()?;
            let tags = tags
                .iter()
                .map(|(key, value)| Ok((key.clone(), text(value)?)));
            let input = input.fill(incoming).map_err(bad)?;
            let request = StartRequest {
                id: id
                    .map(|id| id.parse::<InstanceId>().map_err(invalid))
                    .transpose()?,
                tags: tags.collect::<Result<_, Problem>>()?,
                key,
                trace,
                ..StartRequest::new(workflow.clone(), crate::Json::of(&input))
            };
            Ok(served.host.start(request).await?)
        }
        Action::Event {
            instance,
            name,
            payload,
        } => {
            let id = text(instance)?.parse::<InstanceId>().map_err(invalid)?;
            let payload = payload.fill(incoming).map_err(bad)?;
            let event = Event {
                name: text(name)?.parse::<Name>().map_err(invalid)?,
                payload: crate::Json::of(&payload),
            };
            served.host.raise_event(&id, event, key).await?;
            Ok(id)
        }
    }
}

/// The request does not have what a template refers to.
fn bad(why: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-reference", why)
}

/// What a template made is no id or no name.
fn invalid(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-reference", error.to_string())
}
