//! What the modules of `wfhost bench` share: the activities and their payloads; no module by itself.
//!
//! All are contained. They do as little as an activity can, so that what is measured is the host.

use serde::{Deserialize, Serialize};
use wfhost_sdk::{ActivityContext, Result, activity};

/// An order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What is ordered. Orders of one item contend for its keys.
    pub item: String,
    /// How many.
    pub quantity: u64,
    /// A text that goes into each step.
    pub note: String,
}

/// What is kept of an order that was sold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sale {
    /// What was ordered.
    pub item: String,
    /// How many of the item are reserved with this order.
    pub reserved: u64,
    /// That of the order.
    pub note: String,
}

/// Tells the customer something.
#[activity(name = "Notify")]
pub fn notify(_: ActivityContext, _message: String) -> Result<()> {
    Ok(())
}

/// Adds the order to what is reserved of the item, and returns how many that are now.
#[activity(name = "Reserve")]
pub fn reserve(ctx: ActivityContext, order: Order) -> Result<u64> {
    let key = format!("reserved/{}", order.item);
    let reserved = ctx.state().get::<u64>(&key)?.unwrap_or(0) + order.quantity;
    ctx.state().set(&key, &reserved)?;
    Ok(reserved)
}

/// Takes the payment.
#[activity(name = "Pay")]
pub fn pay(_: ActivityContext, _order: Order) -> Result<()> {
    Ok(())
}

/// Writes down that the order was sold.
#[activity(name = "Update")]
pub fn update(ctx: ActivityContext, sale: Sale) -> Result<()> {
    let key = format!("sold/{}", sale.item);
    ctx.state().set(&key, &sale.reserved)?;
    Ok(())
}

/// Returns its input.
#[activity(name = "Echo")]
pub fn echo(_: ActivityContext, input: String) -> Result<String> {
    Ok(input)
}
