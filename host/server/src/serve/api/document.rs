//! The API's OpenAPI document: what the attributes of the handlers and of their types say, and what
//! holds for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use utoipa::{OpenApi, ToSchema as _};

use super::filter::{EndedStatus, Tag};
use super::problem::{Details, PROBLEMS};
use super::{ROOT, described};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wfhost",
        description = "The API of a running workflow host. Bodies are JSON, whatever their \
            `Content-Type` says. A field of an answer that does not apply is null; unknown fields \
            of a request are refused. What is answered is durable. Errors are problem details \
            (RFC 9457) with a stable `code`.\n\nThe same host serves Dapr's workflow and state \
            API under `/v1.0`, which Dapr describes.",
    ),
    tags(
        (name = "instances", description = "Workflows that were started."),
        (name = "schedules", description = "What starts workflows at times of a clock."),
        (name = "state", description = "The state store. A value's version is its `ETag`."),
        (name = "modules", description = "WebAssembly modules, and what their names mean."),
        (name = "service", description = "The host itself."),
    ),
    components(schemas(Details, EndedStatus, Tag)),
)]
struct Frame;

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// The document as it is served.
pub(super) fn text() -> &'static str {
    &TEXT
}

/// The document, which is the same for all hosts of this version.
pub(in crate::serve) fn document() -> Value {
    let mut api = Frame::openapi();
    api.merge(described().into_openapi());
    let mut document = serde_json::to_value(api).expect("keys are text, and nothing else can fail");
    let paths = object(&mut document["paths"]);
    *paths = std::mem::take(paths)
        .into_iter()
        .map(|(path, item)| (path_of(&path), item))
        .collect();
    for item in paths.values_mut() {
        object(item).values_mut().for_each(complete);
    }
    present(&mut document);
    bound(&mut document);
    document["components"]["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer" },
        "dapr": { "type": "apiKey", "in": "header", "name": "dapr-api-token" },
    });
    document["security"] = json!([{ "bearer": [] }, { "dapr": [] }]);
    document
}

/// The path as the document writes it: it knows no `{*rest}`.
fn path_of(path: &str) -> String {
    format!("{ROOT}{}", path.replace("{*", "{"))
}

fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was made one")
}

/// Says what all operations have in common.
fn complete(operation: &mut Value) {
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        not_null(&mut parameter["schema"]);
    }
    if operation["parameters"].is_null() {
        object(operation).remove("parameters");
    }
    if let Some(body) = object(operation).get_mut("requestBody") {
        for content in object(&mut body["content"]).values_mut() {
            not_null(&mut content["schema"]);
        }
    }
    for (status, problems) in problems(operation) {
        operation["responses"][status.to_string()] = refusal(&problems);
    }
}

/// What may be left out is optional, and not null for that.
fn not_null(schema: &mut Value) {
    let is_null = |it: &Value| *it == "null" || it["type"] == "null";
    for list in ["type", "oneOf"] {
        let Some(choices) = schema[list].as_array_mut() else {
            continue;
        };
        choices.retain(|it| !is_null(it));
        if let [only] = choices.as_slice() {
            let only = only.clone();
            match list {
                "type" => schema["type"] = only,
                _ => *schema = only,
            }
        }
    }
    object(schema).retain(|_, value| !value.is_null());
}

/// What the operation may be refused with, by status: its own `x-problems`, and those of all that
/// have parameters, a body or a guard.
fn problems(operation: &mut Value) -> BTreeMap<u16, Vec<(&'static str, &'static str)>> {
    let own = object(operation).remove("x-problems").unwrap_or_default();
    let own = own.as_array().into_iter().flatten();
    let mut codes: BTreeSet<String> = own
        .map(|code| code.as_str().expect("a code is a word").to_owned())
        .collect();
    let mut may_be = |which: &[&str]| codes.extend(which.iter().map(|it| (*it).to_owned()));
    may_be(&["stopping"]);
    if operation["security"] != json!([{}]) {
        may_be(&["unauthorized", "forbidden", "host-failed"]);
    }
    if let Some(body) = operation.get("requestBody") {
        may_be(&["too-large"]);
        if body["content"].get("application/json").is_some() {
            may_be(&["bad-body"]);
        }
    }
    let parameters = operation.get("parameters").and_then(Value::as_array);
    for parameter in parameters.into_iter().flatten() {
        match parameter["in"].as_str() {
            Some("header") => may_be(&["bad-header"]),
            _ => may_be(&["bad-parameter"]),
        }
    }
    let mut by_status = BTreeMap::<_, Vec<_>>::new();
    for code in codes {
        let known = PROBLEMS.iter().find(|(known, ..)| *known == code);
        let (code, status, what) =
            known.unwrap_or_else(|| panic!("`{code}` does not stand in PROBLEMS"));
        by_status.entry(*status).or_default().push((*code, *what));
    }
    by_status
}

/// The answer that tells of these problems.
fn refusal(problems: &[(&str, &str)]) -> Value {
    let told = problems
        .iter()
        .map(|(code, what)| format!("`{code}`: {what}"));
    let codes: Vec<_> = problems.iter().map(|(code, _)| code).collect();
    let problem = format!("#/components/schemas/{}", Details::name());
    json!({
        "description": format!("{}.", told.collect::<Vec<_>>().join("; ")),
        "content": { "application/problem+json": { "schema": { "allOf": [
            { "$ref": problem },
            { "type": "object", "properties": { "code": { "enum": codes } } },
        ] } } },
    })
}

/// A number that is stored in so many bits has a maximum. `utoipa` writes `u-int64` for the format
/// that the registry of formats has as `uint64`.
fn bound(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let bits = match fields.get("format").and_then(Value::as_str) {
                Some("u-int16") => Some(("uint16", u64::from(u16::MAX))),
                Some("u-int32") => Some(("uint32", u64::from(u32::MAX))),
                Some("u-int64" | "uint64") => Some(("uint64", u64::MAX)),
                _ => None,
            };
            if let Some((format, maximum)) = bits {
                fields.insert("format".into(), format.into());
                fields.entry("maximum").or_insert(maximum.into());
            }
            fields.values_mut().for_each(bound);
        }
        Value::Array(items) => items.iter_mut().for_each(bound),
        _ => {}
    }
}

/// A field of an answer that can be null is never left out, unlike one of a request.
fn present(document: &mut Value) {
    let mut answers = BTreeSet::new();
    let operations = document["paths"].as_object().into_iter().flatten();
    let operations = operations.flat_map(|(_, item)| item.as_object().into_iter().flatten());
    for (_, operation) in operations {
        reach(document, &operation["responses"], &mut answers);
    }
    for name in answers {
        require_nullable(&mut document["components"]["schemas"][name]);
    }
}

/// Gathers the names of all schemas that this one is made of.
fn reach(document: &Value, from: &Value, found: &mut BTreeSet<String>) {
    match from {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            let name = name.and_then(|it| it.strip_prefix("#/components/schemas/"));
            if let Some(name) = name
                && found.insert(name.to_owned())
            {
                reach(document, &document["components"]["schemas"][name], found);
            }
            fields.values().for_each(|it| reach(document, it, found));
        }
        Value::Array(items) => items.iter().for_each(|it| reach(document, it, found)),
        _ => {}
    }
}

fn require_nullable(schema: &mut Value) {
    let nullable = |schema: &Value| {
        let choices = ["type", "oneOf"].into_iter();
        let mut choices = choices.filter_map(|list| schema[list].as_array()).flatten();
        choices.any(|it| *it == "null" || it["type"] == "null")
    };
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let names = properties.iter().filter(|(_, it)| nullable(it));
        let names: Vec<_> = names.map(|(name, _)| Value::from(name.as_str())).collect();
        if !names.is_empty() {
            let required = object(schema).entry("required").or_insert(json!([]));
            required
                .as_array_mut()
                .into_iter()
                .for_each(|it| it.extend(names.clone()));
        }
    }
    for list in ["oneOf", "allOf"] {
        let parts = schema.get_mut(list).and_then(Value::as_array_mut);
        parts.into_iter().flatten().for_each(require_nullable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::api::routes;

    #[test]
    fn every_route_is_in_the_document() {
        let document = document();
        // Routers show their routes only so, and among them those of their fallbacks.
        let shown = format!("{:?}", routes());
        let quoted = shown.split('"').filter(|it| it.starts_with(ROOT));
        let quoted = quoted.filter(|it| !it.contains("__private"));
        let served: BTreeSet<_> = quoted
            .filter(|it| it.trim_end_matches('/') != ROOT)
            .map(|path| path.replace("{*", "{"))
            .collect();
        let paths = document["paths"].as_object().expect("it has paths");
        let described: BTreeSet<_> = paths.keys().cloned().collect();
        assert!(served.len() > 10, "{shown}");
        assert_eq!(served, described);
    }
}
