//! What the host is told of the types of a module.

#![cfg(feature = "schemas")]

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wfhost_sdk::{
    Activity, ActivityContext, Context, JsonSchema, Result, Workflow, activity, schemars, workflow,
};

/// What to buy.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Order {
    item_name: String,
    #[serde(default)]
    quantity: u8,
    parts: Vec<Order>,
    note: Option<String>,
}

/// A type that does not say what it is.
#[derive(Serialize, Deserialize)]
struct Opaque {
    secret: u32,
}

#[workflow]
async fn described(_: Context, order: Order) -> Result<Vec<Order>> {
    Ok(vec![order])
}

#[workflow]
async fn half(_: Context, order: Opaque) -> Result<u8> {
    Ok(order.secret as u8)
}

#[workflow]
async fn without_input(_: Context) -> core::result::Result<(), std::fmt::Error> {
    Ok(())
}

#[activity]
fn opaque(_: ActivityContext, order: Vec<Opaque>) -> Result<Option<Opaque>> {
    Ok(order.into_iter().next())
}

wfhost_sdk::export!(workflows: [described, half, without_input], activities: [opaque]);

fn parsed(schema: Option<String>) -> Value {
    serde_json::from_str(&schema.expect("it has a schema")).expect("a schema is JSON")
}

#[test]
fn a_type_that_derives_it_has_a_schema_of_what_serde_reads() {
    let schema = parsed(described::input_schema());
    assert_eq!(schema["title"], "Order");
    assert_eq!(schema["description"], "What to buy.");
    assert_eq!(schema["required"], json!(["itemName", "parts"]));
    assert_eq!(schema["properties"]["quantity"]["maximum"], 255);
    assert_eq!(
        schema["properties"]["parts"]["items"],
        json!({ "$ref": "#/$defs/Order" })
    );
    assert_eq!(schema.get("$schema"), None);
}

#[test]
fn an_output_has_a_schema_of_what_serde_writes() {
    let schema = parsed(described::output_schema());
    assert_eq!(schema["type"], "array");
    let order = &schema["$defs"]["Order"];
    assert_eq!(
        order["required"],
        json!(["itemName", "quantity", "parts", "note"])
    );
}

#[test]
fn a_type_that_does_not_derive_it_compiles_and_says_nothing() {
    assert_eq!(half::input_schema(), None);
    assert_eq!(parsed(half::output_schema())["type"], "integer");
    assert_eq!(opaque::input_schema(), None);
    assert_eq!(opaque::output_schema(), None);
}

#[test]
fn an_input_that_is_left_out_is_null() {
    assert_eq!(parsed(without_input::input_schema())["type"], "null");
    assert_eq!(parsed(without_input::output_schema())["type"], "null");
}
