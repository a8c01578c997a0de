//! The order-processing quickstart: one workflow that sells cars, and the activities it calls.
//!
//! What the customer sends and gets is in [`payloads`], the steps are in [`activities`].

pub mod activities;
pub mod payloads;

use wfhost_sdk::{Context, Result, workflow};

use activities::{
    notify_activity, process_payment_activity, reserve_inventory_activity, restock_activity,
    update_inventory_activity,
};
use payloads::{
    InventoryRequest, Nothing, Notification, OrderPayload, OrderResult, PaymentRequest,
};

wfhost_sdk::export!(
    workflows: [order_processing_workflow],
    activities: [
        restock_activity,
        notify_activity,
        reserve_inventory_activity,
        process_payment_activity,
        update_inventory_activity,
    ],
);

/// Sells an item from stock: reserves it, takes the payment, updates the stock, and tells the customer.
#[workflow(name = "OrderProcessingWorkflow")]
async fn order_processing_workflow(ctx: Context, order: OrderPayload) -> Result<OrderResult> {
    let id = ctx.id();
    let OrderPayload {
        name,
        quantity,
        total_cost,
        ..
    } = &order;
    log::info!("Starting workflow {id} purchasing {quantity} {name}");
    ctx.call::<restock_activity>(&Nothing {}).await?;
    notify(
        &ctx,
        format!("Received order {id} for {quantity} {name} at ${total_cost}"),
    )
    .await?;

    work(&ctx, &order).await?;
    let reserved = ctx
        .call::<reserve_inventory_activity>(&InventoryRequest::of(&id, &order))
        .await?;
    if !reserved.success {
        notify(&ctx, format!("Insufficient inventory for {name}")).await?;
        return Ok(OrderResult { processed: false });
    }

    let payment = PaymentRequest::of(&id, &order);
    work(&ctx, &order).await?;
    ctx.call::<process_payment_activity>(&payment).await?;

    work(&ctx, &order).await?;
    if ctx
        .call::<update_inventory_activity>(&payment)
        .await
        .is_err_and(|failure| !failure.is_cancelled())
    {
        notify(
            &ctx,
            format!("Order {id} Failed! You are now getting a refund"),
        )
        .await?;
        return Ok(OrderResult { processed: false });
    }

    notify(&ctx, format!("Order {id} has completed!")).await?;
    Ok(OrderResult { processed: true })
}

async fn notify(ctx: &Context, message: String) -> Result<()> {
    Ok(ctx
        .call::<notify_activity>(&Notification { message })
        .await?)
}

/// Pretends that the next step takes long, with a durable timer.
async fn work(ctx: &Context, order: &OrderPayload) -> Result<()> {
    if !order.simulated_work.is_zero() {
        ctx.sleep(order.simulated_work).await?;
    }
    Ok(())
}
