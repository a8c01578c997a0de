//! Templates: text, and JSON values, in which references to a request stand.
//!
//! A reference is `{body:/order/id}`, by a JSON Pointer (RFC 6901) into the body, `{body:}` for all
//! of it, `{header:x-request-id}` or `{query:name}`. `{{` and `}}` are braces. In a value, a text
//! that is exactly one reference to the body becomes what stands there, with its type.

use std::borrow::Cow;

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use axum::http::request::Parts;
use serde_json::{Map, Value};

/// What references refer to.
pub(super) struct Incoming<'a> {
    headers: &'a HeaderMap,
    query: Vec<(String, String)>,
    body: &'a Value,
}

impl<'a> Incoming<'a> {
    /// # Errors
    /// If what stands behind the question mark cannot be read.
    pub(super) fn new(parts: &'a Parts, body: &'a Value) -> Result<Self, String> {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let query = query.map_err(|rejection| rejection.body_text())?;
        Ok(Self {
            headers: &parts.headers,
            query: query.0,
            body,
        })
    }
}

/// A text with references.
#[derive(Debug, PartialEq)]
pub(super) struct Text(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Plain(String),
    Of(Reference),
}

#[derive(Debug, PartialEq)]
enum Reference {
    /// A JSON Pointer.
    Body(String),
    Header(HeaderName),
    Query(String),
}

impl Text {
    /// # Errors
    /// If a brace is not closed, or a reference is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if from.starts_with("{{") || from.starts_with("}}") {
                plain.push_str(&from[..1]);
                rest = &from[2..];
                continue;
            }
            let inside = from.strip_prefix('{').and_then(|it| it.split_once('}'));
            let (inside, after) = inside.ok_or_else(|| {
                format!("`{text}` has a brace without its other; `{{{{` is a brace itself")
            })?;
            if !plain.is_empty() {
                parts.push(Part::Plain(std::mem::take(&mut plain)));
            }
            parts.push(Part::Of(Reference::parse(inside)?));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Plain(plain));
        }
        Ok(Self(parts))
    }

    /// # Errors
    /// If the request does not have what a reference refers to; says which.
    pub(super) fn fill(&self, incoming: &Incoming<'_>) -> Result<String, String> {
        let parts = self.0.iter().map(|part| match part {
            Part::Plain(text) => Ok(Cow::Borrowed(text.as_str())),
            Part::Of(reference) => reference.text(incoming),
        });
        parts.collect()
    }

    /// Whether it refers to the body.
    pub(super) fn reads_body(&self) -> bool {
        let of_body = |part: &Part| matches!(part, Part::Of(Reference::Body(_)));
        self.0.iter().any(of_body)
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "`{{{text}}}` is no reference; those are {{body:/a/b}}, {{header:name}} and \
                 {{query:name}}"
            )
        };
        let (kind, name) = text.split_once(':').ok_or_else(unknown)?;
        match kind {
            "body" if name.is_empty() || name.starts_with('/') => Ok(Self::Body(name.into())),
            "body" => Err(format!(
                "`{{{text}}}`: a JSON Pointer begins with `/`, as {{body:/{name}}}"
            )),
            "header" => match HeaderName::try_from(name) {
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err(format!("`{{{text}}}`: no header has that name")),
            },
            "query" if !name.is_empty() => Ok(Self::Query(name.into())),
            _ => Err(unknown()),
        }
    }

    /// As it is written.
    fn written(&self) -> String {
        match self {
            Self::Body(pointer) => format!("{{body:{pointer}}}"),
            Self::Header(name) => format!("{{header:{name}}}"),
            Self::Query(name) => format!("{{query:{name}}}"),
        }
    }

    /// What it refers to.
    fn value<'a>(&self, incoming: &'a Incoming<'_>) -> Result<Cow<'a, Value>, String> {
        let text = |text: Option<&str>| text.map(|it| Cow::Owned(Value::from(it)));
        let found = match self {
            Self::Body(pointer) => incoming.body.pointer(pointer).map(Cow::Borrowed),
            Self::Header(name) => {
                let value = incoming.headers.get(name);
                text(value.and_then(|it| it.to_str().ok()))
            }
            Self::Query(name) => {
                let found = incoming.query.iter().find(|(key, _)| key == name);
                text(found.map(|(_, value)| value.as_str()))
            }
        };
        found.ok_or_else(|| format!("the request has no `{}`", self.written()))
    }

    /// The same, as text.
    fn text<'a>(&self, incoming: &'a Incoming<'_>) -> Result<Cow<'a, str>, String> {
        let kind = match self.value(incoming)? {
            Cow::Borrowed(Value::String(text)) => return Ok(Cow::Borrowed(text)),
            Cow::Owned(Value::String(text)) => return Ok(Cow::Owned(text)),
            value => match value.as_ref() {
                Value::Number(_) | Value::Bool(_) => return Ok(Cow::Owned(value.to_string())),
                Value::Null => "null",
                Value::Array(_) => "a list",
                _ => "an object",
            },
        };
        Err(format!(
            "`{}` is {kind}; only a text, a number or a boolean can stand in a text",
            self.written()
        ))
    }
}

/// A JSON value whose texts are templates.
#[derive(Debug, PartialEq)]
pub(super) enum Template {
    /// What a reference refers to, as it is.
    Exact(Whole),
    Text(Text),
    List(Vec<Self>),
    Fields(Vec<(String, Self)>),
    Other(Value),
}

/// A reference that is all of a text.
#[derive(Debug, PartialEq)]
pub(super) struct Whole(Reference);

impl Template {
    /// The body.
    pub(super) fn body() -> Self {
        Self::Exact(Whole(Reference::Body(String::new())))
    }

    /// # Errors
    /// If one of its texts is no template.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) => {
                let mut text = Text::parse(text)?;
                match text.0.pop() {
                    Some(Part::Of(reference)) if text.0.is_empty() => Self::Exact(Whole(reference)),
                    last => {
                        text.0.extend(last);
                        Self::Text(text)
                    }
                }
            }
            Value::Array(items) => {
                let items = items.iter().map(Self::parse);
                Self::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok::<_, String>((name.clone(), Self::parse(value)?)));
                Self::Fields(fields.collect::<Result<_, _>>()?)
            }
            other => Self::Other(other.clone()),
        })
    }

    /// # Errors
    /// If the request does not have what a reference refers to; says which.
    pub(super) fn fill(&self, incoming: &Incoming<'_>) -> Result<Value, String> {
        Ok(match self {
            Self::Exact(Whole(reference)) => reference.value(incoming)?.into_owned(),
            Self::Text(text) => Value::String(text.fill(incoming)?),
            Self::List(items) => {
                let items = items.iter().map(|item| item.fill(incoming));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Fields(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| Ok::<_, String>((name.clone(), value.fill(incoming)?)));
                Value::Object(fields.collect::<Result<Map<_, _>, _>>()?)
            }
            Self::Other(value) => value.clone(),
        })
    }

    /// Whether it refers to the body.
    pub(super) fn reads_body(&self) -> bool {
        match self {
            Self::Exact(Whole(reference)) => matches!(reference, Reference::Body(_)),
            Self::Text(text) => text.reads_body(),
            Self::List(items) => items.iter().any(Self::reads_body),
            Self::Fields(fields) => fields.iter().any(|(_, value)| value.reads_body()),
            Self::Other(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::json;

    use super::*;

    fn request() -> (Parts, Value) {
        let request = Request::post("/hooks/shop?shop=B%26O&shop=2")
            .header("X-Delivery", "d-7")
            .body(());
        let body = json!({
            "order": { "id": 7, "items": ["a", "b"], "paid": true, "a/b": "slash" },
            "note": null,
        });
        (request.unwrap().into_parts().0, body)
    }

    fn fill(template: &Value) -> Result<Value, String> {
        let (parts, body) = request();
        let incoming = Incoming::new(&parts, &body).unwrap();
        Template::parse(template)?.fill(&incoming)
    }

    #[test]
    fn references_become_what_the_request_has() {
        for (template, filled) in [
            (json!("order-{body:/order/id}"), json!("order-7")),
            // One alone keeps its type.
            (json!("{body:/order/id}"), json!(7)),
            (json!("{body:/order/items}"), json!(["a", "b"])),
            (json!("{body:/note}"), json!(null)),
            (
                json!("{body:/order/items/1}-{body:/order/paid}"),
                json!("b-true"),
            ),
            (json!("{body:/order/a~1b}"), json!("slash")),
            (json!("{header:x-delivery}/{query:shop}"), json!("d-7/B&O")),
            (json!("{{{body:/order/id}}}"), json!("{7}")),
            (json!("{{body:/order/id}}"), json!("{body:/order/id}")),
            (
                json!({ "id": "{body:/order/id}", "of": ["{query:shop}", 1, null] }),
                json!({ "id": 7, "of": ["B&O", 1, null] }),
            ),
            (json!(""), json!("")),
        ] {
            assert_eq!(fill(&template), Ok(filled), "{template}");
        }
        let (_, body) = request();
        assert_eq!(fill(&json!("{body:}")), Ok(body));
    }

    #[test]
    fn what_the_request_does_not_have_is_named() {
        for (template, words) in [
            ("a-{body:/order/nothing}", "no `{body:/order/nothing}`"),
            ("{body:/order/items/2}", "no `{body:/order/items/2}`"),
            ("{header:x-other}", "no `{header:x-other}`"),
            ("{query:other}", "no `{query:other}`"),
            ("a-{body:/order}", "`{body:/order}` is an object"),
            ("a-{body:/note}", "`{body:/note}` is null"),
            ("a-{body:/order/items}", "is a list"),
        ] {
            let why = fill(&json!(template)).unwrap_err();
            assert!(why.contains(words), "{template}: {why}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (template, words) in [
            ("{body:/a", "without its other"),
            ("a}", "without its other"),
            ("{body:a}", "as {body:/a}"),
            ("{}", "no reference"),
            ("{cookie:a}", "no reference"),
            ("{query:}", "no reference"),
            ("{header:a b}", "no header"),
        ] {
            let why = Template::parse(&json!([template])).unwrap_err();
            assert!(why.contains(words), "{template}: {why}");
        }
    }
}
