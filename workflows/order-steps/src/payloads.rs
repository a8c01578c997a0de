//! The records of the quickstart: payloads in Pascal case, state in camel case.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wfhost_sdk::{JsonSchema, schemars};

/// An order: the input of the workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderPayload {
    /// The item.
    pub name: String,
    /// What all of it costs.
    pub total_cost: Money,
    /// How many, 1 if left out.
    #[serde(default = "one")]
    pub quantity: u32,
    /// How long the slow steps pretend to take, each: a number of seconds, 0 if left out.
    #[serde(
        rename = "SimulatedWorkSeconds",
        default,
        deserialize_with = "seconds",
        skip_serializing
    )]
    #[schemars(with = "f64")]
    pub simulated_work: Duration,
}

/// The result of the workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct OrderResult {
    /// Whether the customer gets what was ordered.
    pub processed: bool,
}

/// Whether so many of an item are in stock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct InventoryRequest {
    /// The order.
    pub request_id: String,
    /// The item.
    pub item_name: String,
    /// How many.
    pub quantity: u32,
}

impl InventoryRequest {
    /// What `order` needs.
    pub fn of(id: &str, order: &OrderPayload) -> Self {
        Self {
            request_id: id.to_owned(),
            item_name: order.name.clone(),
            quantity: order.quantity,
        }
    }
}

/// The answer to an [`InventoryRequest`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct InventoryResult {
    /// Whether there is enough.
    pub success: bool,
    /// The stock of the item, if there is such an item.
    pub order_payload: Option<OrderPayload>,
}

/// A payment for so many of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PaymentRequest {
    /// The order.
    pub request_id: String,
    /// The item.
    pub item_being_purchased: String,
    /// How many.
    pub amount: u32,
    /// What all of it costs.
    pub currency: Money,
}

impl PaymentRequest {
    /// What `order` costs.
    pub fn of(id: &str, order: &OrderPayload) -> Self {
        Self {
            request_id: id.to_owned(),
            item_being_purchased: order.name.clone(),
            amount: order.quantity,
            currency: order.total_cost,
        }
    }
}

/// A message to the customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Notification {
    /// What it says.
    pub message: String,
}

/// The input of a step that needs none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

/// An item in the state store, under its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stock {
    /// The item.
    pub name: String,
    /// What was paid for it last.
    pub total_cost: Money,
    /// How many are left.
    pub quantity: u32,
}

/// An amount of money, written without decimals where it has none: `15000`, `99.5`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Money(pub f64);

/// The greatest number up to which a float holds every whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() <= WHOLE_MAX {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn one() -> u32 {
    1
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?)
        .map_err(|error| D::Error::custom(format!("SimulatedWorkSeconds: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_amount_is_written_without_decimals() {
        for (amount, json, text) in [
            (15_000.0, "15000", "15000"),
            (99.5, "99.5", "99.5"),
            (0.0, "0", "0"),
        ] {
            assert_eq!(serde_json::to_string(&Money(amount)).unwrap(), json);
            assert_eq!(Money(amount).to_string(), text);
        }
    }
}
