//! The workflows of the comparison, as Restate's Rust SDK has them.
//!
//! `restate-rival ADDRESS EFFECTS`: serves them on an address; each step that counts for recovery
//! appends a line to the file of effects.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

static EFFECTS: Mutex<Option<File>> = Mutex::new(None);

fn effect(line: &str) {
    if let Some(file) = EFFECTS.lock().expect("nobody panics").as_mut() {
        writeln!(file, "{line}").expect("the file takes it");
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    quantity: u64,
}

struct OrderWorkflow;

#[workflow]
impl OrderWorkflow {
    /// Five durable steps, one read and two writes of the state.
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, order: Json<Order>) -> Result<u64, HandlerError> {
        let Order { quantity } = order.into_inner();
        ctx.run(|| async { Ok(1_u64) }).name("notify").await?;
        let stock = ctx.get::<u64>("stock").await?.unwrap_or(100);
        let reserved = ctx.run(|| async move { Ok(stock - quantity) });
        let reserved = reserved.name("reserve").await?;
        ctx.set("stock", reserved);
        ctx.run(|| async { Ok(2_u64) }).name("payment").await?;
        let left = ctx
            .run(|| async move { Ok(reserved) })
            .name("update")
            .await?;
        ctx.set("stock", left);
        ctx.run(|| async { Ok(3_u64) }).name("notify").await?;
        Ok(left)
    }
}

struct StepsWorkflow;

#[workflow]
impl StepsWorkflow {
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, steps: u64) -> Result<u64, HandlerError> {
        let mut sum = 0_u64;
        for step in 0..steps {
            let ran = ctx.run(|| async move {
                effect(&step.to_string());
                Ok(step)
            });
            sum += ran.name("step").await?;
        }
        Ok(sum)
    }
}

struct ParkWorkflow;

#[workflow]
impl ParkWorkflow {
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, seconds: u64) -> Result<(), HandlerError> {
        ctx.sleep(Duration::from_secs(seconds)).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("ADDRESS");
    let effects = arguments.next().expect("EFFECTS");
    let file = OpenOptions::new().create(true).append(true).open(effects);
    *EFFECTS.lock().expect("nobody panics") = Some(file.expect("the file can be written"));
    let endpoint = Endpoint::builder()
        .bind(OrderWorkflow)
        .bind(StepsWorkflow)
        .bind(ParkWorkflow)
        .build();
    let address = address.parse().expect("an address");
    HttpServer::new(endpoint).listen_and_serve(address).await;
}
