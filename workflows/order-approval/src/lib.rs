//! The order-processing quickstart with a person in it: a large order waits for an approval.
//!
//! ```console
//! $ wfhost run workflows/order-approval --id order-8 \
//!     --input '{"Name":"Cars","TotalCost":15000,"Quantity":10}'
//! ```
//!
//! It waits for the event `ApprovalEvent` with the payload `{"RequestId":"order-8","IsApproved":true}`.
//! If none comes within 30 seconds the result is `{"Processed":false}`.
//!
//! Look here for: an event with a timeout, a custom status, a query, and steps shared with another
//! workflow (the package `order-steps`).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use order_steps::activities::{
    notify_activity, process_payment_activity, reserve_inventory_activity, restock_activity,
    update_inventory_activity,
};
use order_steps::payloads::{Money, OrderPayload, OrderResult};
use order_steps::{notify, receive, reserve, sell};
use serde::{Deserialize, Serialize};
use wfhost_sdk::{ActivityContext, Context, Result, activity, select, workflow};

wfhost_sdk::export!(
    workflows: [order_approval_workflow],
    activities: [
        restock_activity,
        notify_activity,
        reserve_inventory_activity,
        request_approval_activity,
        process_payment_activity,
        update_inventory_activity,
    ],
);

/// An order that costs more than this is not sold without approval.
const UNAPPROVED_MAX: Money = Money(5_000.0);

/// How long the workflow waits for somebody to approve.
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// What somebody decided about an order: the payload of the event `ApprovalEvent`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Approval {
    /// The order.
    request_id: String,
    /// Whether it may be sold.
    is_approved: bool,
}

/// Where an order stands: the custom status, and the answer to the query `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Reserving,
    WaitingForApproval,
    Refused,
    Selling,
}

/// Sells an item from stock as the quickstart does, but asks for an approval if it costs more than 5000.
#[workflow(name = "OrderApprovalWorkflow")]
async fn order_approval_workflow(ctx: Context, order: OrderPayload) -> Result<OrderResult> {
    let stage = Rc::new(Cell::new(Stage::Reserving));
    let shown = Rc::clone(&stage);
    ctx.on_query("status", move |(): ()| Ok(shown.get()));

    receive(&ctx, &order).await?;
    if !reserve(&ctx, &order).await? {
        return Ok(OrderResult { processed: false });
    }
    if order.total_cost > UNAPPROVED_MAX {
        stage.set(Stage::WaitingForApproval);
        ctx.set_custom_status(&stage.get())?;
        if let Some(refusal) = refusal(&ctx, &order).await? {
            stage.set(Stage::Refused);
            ctx.set_custom_status(&stage.get())?;
            notify(&ctx, refusal).await?;
            return Ok(OrderResult { processed: false });
        }
    }
    stage.set(Stage::Selling);
    ctx.set_custom_status(&stage.get())?;
    sell(&ctx, &order).await
}

/// Asks somebody to approve the order. Gives what the customer is told if it is not approved in time.
async fn refusal(ctx: &Context, order: &OrderPayload) -> Result<Option<String>> {
    let id = ctx.id();
    ctx.call::<request_approval_activity>(order).await?;
    // Whichever comes first; the other is taken back when this ends.
    select! {
        decided = ctx.event::<Approval>("ApprovalEvent") => {
            let approved = decided?.is_approved;
            Ok((!approved).then(|| format!("Order {id} was not approved")))
        }
        waited = ctx.sleep(APPROVAL_TIMEOUT) => {
            waited?;
            Ok(Some(format!("Order {id} was cancelled: nobody approved it in time")))
        }
    }
}

/// Asks for an approval: where a real one would send a mail or open a ticket.
#[activity(name = "RequestApprovalActivity")]
fn request_approval_activity(ctx: ActivityContext, order: OrderPayload) -> Result<()> {
    let OrderPayload {
        name,
        quantity,
        total_cost,
        ..
    } = order;
    let id = ctx.id();
    log::info!("Requesting approval of order {id}: {quantity} {name} at ${total_cost}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wfhost_sdk::testing::{self, Report, Scenario};

    fn order(total_cost: u32) -> Scenario<order_approval_workflow> {
        let order = json!({ "Name": "Cars", "TotalCost": total_cost, "Quantity": 10 });
        let order = serde_json::from_value(order).expect("an order");
        testing::workflow(order)
            .real_activity::<restock_activity>()
            .real_activity::<notify_activity>()
            .real_activity::<reserve_inventory_activity>()
            .real_activity::<request_approval_activity>()
            .real_activity::<process_payment_activity>()
            .real_activity::<update_inventory_activity>()
    }

    fn decision(is_approved: bool) -> Approval {
        Approval {
            request_id: "test".into(),
            is_approved,
        }
    }

    fn last_word(report: &Report<OrderResult>) -> String {
        report.log().pop().expect("it says something").message
    }

    #[test]
    fn a_small_order_needs_no_approval() {
        let report = order(5_000).run();
        assert!(report.output().unwrap().processed);
        assert!(!report.activity_names().contains(&"RequestApprovalActivity"));
    }

    #[test]
    fn a_large_order_is_sold_once_it_is_approved() {
        let report = order(15_000)
            .event_at(Duration::from_secs(29), "approvalevent", &decision(true))
            .run();
        assert!(report.output().unwrap().processed);
        assert_eq!(report.elapsed(), Duration::from_secs(29));
        assert_eq!(last_word(&report), "Order test has completed!");
    }

    #[test]
    fn a_large_order_that_is_refused_or_forgotten_is_not_sold() {
        let report = order(15_000).event("ApprovalEvent", &decision(false)).run();
        assert!(!report.output().unwrap().processed);
        assert_eq!(last_word(&report), "Order test was not approved");

        let report = order(15_000).run();
        assert!(!report.output().unwrap().processed);
        assert_eq!(report.elapsed(), APPROVAL_TIMEOUT);
        assert_eq!(
            last_word(&report),
            "Order test was cancelled: nobody approved it in time"
        );
        assert_eq!(report.custom_status(), Some(json!("Refused")));
    }

    #[test]
    fn an_order_that_waits_says_so() {
        let report = order(15_000).run_until(Duration::from_secs(1));
        assert_eq!(report.custom_status(), Some(json!("WaitingForApproval")));
        assert_eq!(
            report.query::<Stage>("status", &()),
            Ok(Stage::WaitingForApproval)
        );
        assert_eq!(report.waits_for()[0], "the event \"ApprovalEvent\"");
    }
}
