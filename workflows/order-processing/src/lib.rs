//! The order-processing quickstart: one workflow that sells cars, and the activities it calls.
//!
//! Its steps, and the activities that these call, are in the package `order-steps`: the sample
//! `order-approval` is made of the same.

use order_steps::activities::{
    notify_activity, process_payment_activity, reserve_inventory_activity, restock_activity,
    update_inventory_activity,
};
use order_steps::payloads::{OrderPayload, OrderResult};
use order_steps::{receive, reserve, sell};
use wfhost_sdk::{Context, Result, workflow};

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
    receive(&ctx, &order).await?;
    if !reserve(&ctx, &order).await? {
        return Ok(OrderResult { processed: false });
    }
    sell(&ctx, &order).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use wfhost_sdk::testing::{self, Report, Scenario};

    fn order(quantity: u32) -> Scenario<order_processing_workflow> {
        let order = json!({ "Name": "Cars", "TotalCost": 15_000, "Quantity": quantity });
        let order = serde_json::from_value(order).expect("an order");
        testing::workflow(order)
            .id("49caa2d7")
            .real_activity::<restock_activity>()
            .real_activity::<notify_activity>()
            .real_activity::<reserve_inventory_activity>()
            .real_activity::<process_payment_activity>()
            .real_activity::<update_inventory_activity>()
    }

    fn said(report: &Report<OrderResult>) -> Vec<String> {
        report.log().into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn an_order_is_sold_from_the_stock_that_is_there() {
        let report = order(10).run();
        assert!(report.output().unwrap().processed);
        assert_eq!(report.state::<Value>("Cars").unwrap()["quantity"], 90);
        assert_eq!(
            said(&report).last().unwrap(),
            "Order 49caa2d7 has completed!"
        );
    }

    #[test]
    fn an_order_for_more_than_there_is_is_told_so() {
        let report = order(101).run();
        assert!(!report.output().unwrap().processed);
        assert_eq!(
            said(&report).last().unwrap(),
            "Insufficient inventory for Cars"
        );
    }

    #[test]
    fn an_order_that_comes_second_is_refunded() {
        let taken = json!({ "name": "Cars", "totalCost": 0, "quantity": 3 });
        let report = order(10)
            .state("Cars", &taken)
            .activity("ReserveInventoryActivity", |_: Value| {
                Ok(json!({ "Success": true, "OrderPayload": null }))
            })
            .run();
        assert!(!report.output().unwrap().processed);
        assert_eq!(report.state::<Value>("Cars").unwrap(), taken);
        assert_eq!(
            said(&report).last().unwrap(),
            "Order 49caa2d7 Failed! You are now getting a refund"
        );
    }
}
