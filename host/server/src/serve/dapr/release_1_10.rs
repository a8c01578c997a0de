//! What the calls of Dapr 1.10, the first with workflows, send and expect: the workflow's name stands
//! before the id, the input in an envelope, and answers have names of their own. Beside these they
//! hold what later releases answer.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::Json as Payload;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    input: Box<RawValue>,
    #[serde(rename = "workflow_options")]
    _options: Option<IgnoredAny>,
}

/// What an envelope `{"input": …}` holds. A body that is none is the input itself, as later.
pub(super) fn input(body: Payload) -> Payload {
    // An array would be read as the fields of the envelope in their order.
    if !body.as_str().starts_with('{') {
        return body;
    }
    let envelope = serde_json::from_str::<Envelope>(body.as_str());
    let input = envelope.map(|it| Payload::parse(it.input.get()));
    match input {
        Ok(Ok(input)) => input,
        _ => body,
    }
}

/// The answer to a start, from that of later releases.
pub(super) fn started(mut answer: Value) -> Value {
    answer["instance_id"] = answer["instanceID"].clone();
    answer
}

/// An instance, from how later releases show it.
pub(super) fn shown(mut instance: Value) -> Value {
    let mut metadata = instance["properties"].clone();
    for (name, of) in [
        ("dapr.workflow.name", "workflowName"),
        ("dapr.workflow.last_updated", "lastUpdatedAt"),
        ("dapr.workflow.runtime_status", "runtimeStatus"),
    ] {
        metadata[name] = instance[of].clone();
    }
    instance["metadata"] = metadata;
    instance["WFInfo"] = json!({ "instance_id": instance["instanceID"] });
    instance["start_time"] = instance["createdAt"].clone();
    instance
}
