//! The steps of the workflow. All are contained: they reach the state store and the log, nothing else.

use std::time::Duration;

use wfhost_sdk::{ActivityContext, Failure, Result, activity};

use crate::payloads::{
    InventoryRequest, InventoryResult, Money, Nothing, Notification, OrderPayload, PaymentRequest,
    Stock,
};

/// Fills the store with 100 cars, unless it has an entry for cars already.
#[activity(name = "RestockActivity")]
pub fn restock_activity(ctx: ActivityContext, _: Nothing) -> Result<()> {
    if ctx.state().get::<Stock>("Cars")?.is_none() {
        log::info!("Restocking: 100 Cars");
        let cars = Stock {
            name: "Cars".into(),
            total_cost: Money(15_000.0),
            quantity: 100,
        };
        ctx.state().set("Cars", &cars)?;
    }
    Ok(())
}

/// Tells the customer something.
#[activity(name = "NotifyActivity")]
pub fn notify_activity(_: ActivityContext, notification: Notification) -> Result<()> {
    log::info!("{}", notification.message);
    Ok(())
}

/// Looks whether there is enough in stock.
#[activity(name = "ReserveInventoryActivity")]
pub fn reserve_inventory_activity(
    ctx: ActivityContext,
    request: InventoryRequest,
) -> Result<InventoryResult> {
    let InventoryRequest {
        request_id,
        item_name,
        quantity,
    } = request;
    log::info!("Reserving inventory for order {request_id} of {quantity} {item_name}");
    let Some(stock) = ctx.state().get::<Stock>(&item_name)? else {
        return Ok(InventoryResult {
            success: false,
            order_payload: None,
        });
    };
    log::info!(
        "There are: {}, {} available for purchase",
        stock.quantity,
        stock.name
    );
    Ok(InventoryResult {
        success: stock.quantity >= quantity,
        order_payload: Some(OrderPayload {
            name: stock.name,
            total_cost: stock.total_cost,
            quantity: stock.quantity,
            simulated_work: Duration::ZERO,
        }),
    })
}

/// Takes the payment.
#[activity(name = "ProcessPaymentActivity")]
pub fn process_payment_activity(_: ActivityContext, payment: PaymentRequest) -> Result<()> {
    let PaymentRequest {
        request_id,
        item_being_purchased,
        amount,
        currency,
    } = payment;
    log::info!(
        "Processing payment: {request_id} for {amount} {item_being_purchased} at ${currency}"
    );
    log::info!("Payment for request ID '{request_id}' processed successfully");
    Ok(())
}

/// Takes what was sold out of the stock, if there is still enough.
///
/// The stock that it reads and the stock that it writes are one commit with its result: of two
/// orders for the last cars one fails here.
#[activity(name = "UpdateInventoryActivity")]
pub fn update_inventory_activity(ctx: ActivityContext, payment: PaymentRequest) -> Result<()> {
    let PaymentRequest {
        request_id,
        item_being_purchased: item,
        amount,
        currency,
    } = payment;
    log::info!("Checking Inventory for: Order# {request_id} for {amount} {item}");
    let stock = ctx.state().get::<Stock>(&item)?;
    let Some(left) = stock.and_then(|stock| stock.quantity.checked_sub(amount)) else {
        let message = format!(
            "Payment for request ID '{request_id}' could not be processed. Insufficient inventory."
        );
        log::info!("{message}");
        return Err(Failure::new("insufficient-inventory", message)
            .not_retryable()
            .into());
    };
    ctx.state().set(
        &item,
        &Stock {
            name: item.clone(),
            total_cost: currency,
            quantity: left,
        },
    )?;
    log::info!("There are now: {left} {item} left in stock");
    Ok(())
}
