//! What the samples `order-processing` and `order-approval` share; no module by itself.
//!
//! The records are in [`payloads`], what touches the world in [`activities`]. Here are the parts of a
//! sale that both workflows are made of: plain `async` functions, which are part of whichever workflow
//! calls them.

pub mod activities;
pub mod payloads;

use wfhost_sdk::{Context, Result};

use activities::{
    notify_activity, process_payment_activity, reserve_inventory_activity, restock_activity,
    update_inventory_activity,
};
use payloads::{
    InventoryRequest, Nothing, Notification, OrderPayload, OrderResult, PaymentRequest,
};

/// Fills the stock if it is empty, and tells the customer that the order is there.
pub async fn receive(ctx: &Context, order: &OrderPayload) -> Result<()> {
    let id = ctx.id();
    let OrderPayload {
        name,
        quantity,
        total_cost,
        ..
    } = order;
    log::info!("Starting workflow {id} purchasing {quantity} {name}");
    ctx.call::<restock_activity>(&Nothing {}).await?;
    let message = format!("Received order {id} for {quantity} {name} at ${total_cost}");
    notify(ctx, message).await
}

/// Whether there is enough in stock; if not, the customer is told.
pub async fn reserve(ctx: &Context, order: &OrderPayload) -> Result<bool> {
    work(ctx, order).await?;
    let request = InventoryRequest::of(&ctx.id(), order);
    let reserved = ctx.call::<reserve_inventory_activity>(&request).await?;
    if !reserved.success {
        notify(ctx, format!("Insufficient inventory for {}", order.name)).await?;
    }
    Ok(reserved.success)
}

/// Takes the payment, then what was sold out of the stock.
///
/// If somebody else took it first the customer gets a refund.
pub async fn sell(ctx: &Context, order: &OrderPayload) -> Result<OrderResult> {
    let id = ctx.id();
    let payment = PaymentRequest::of(&id, order);
    work(ctx, order).await?;
    ctx.call::<process_payment_activity>(&payment).await?;

    work(ctx, order).await?;
    let updated = ctx.call::<update_inventory_activity>(&payment).await;
    if updated.is_err_and(|failure| !failure.is_cancelled()) {
        let message = format!("Order {id} Failed! You are now getting a refund");
        notify(ctx, message).await?;
        return Ok(OrderResult { processed: false });
    }
    notify(ctx, format!("Order {id} has completed!")).await?;
    Ok(OrderResult { processed: true })
}

/// Tells the customer something.
pub async fn notify(ctx: &Context, message: String) -> Result<()> {
    let notification = Notification { message };
    Ok(ctx.call::<notify_activity>(&notification).await?)
}

/// Pretends that the next step takes long, with a durable timer.
async fn work(ctx: &Context, order: &OrderPayload) -> Result<()> {
    if !order.simulated_work.is_zero() {
        ctx.sleep(order.simulated_work).await?;
    }
    Ok(())
}
