//! The workflows of the comparison as handlers for Restate: `restate-handler ADDRESS OUTSIDE`.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use restate_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// What there is of an item that nobody has ordered yet.
const STOCK: u64 = 100;

/// The file that stands for the world outside: what was done appears there as a line.
#[derive(Clone)]
struct Outside(Arc<File>);

impl Outside {
    fn tell(&self, number: u64) -> Result<(), HandlerError> {
        // One write of one line to a file that is open for appending: no lock is needed.
        let line = format!("{number}\n");
        (&*self.0).write_all(line.as_bytes())?;
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    quantity: u64,
}

struct OrderWorkflow;

/// Five steps, one read of the state, two writes.
#[workflow]
impl OrderWorkflow {
    #[handler]
    async fn run(
        &self,
        ctx: WorkflowContext<'_>,
        Json(order): Json<Order>,
    ) -> Result<u64, HandlerError> {
        ctx.run(|| async { Ok(1u64) }).name("notify").await?;
        let stock = ctx.get::<u64>("stock").await?.unwrap_or(STOCK);
        let left = ctx
            .run(|| async move { Ok(stock - order.quantity) })
            .name("reserve")
            .await?;
        ctx.set("stock", left);
        ctx.run(|| async { Ok(2u64) }).name("pay").await?;
        let sold = ctx.run(|| async move { Ok(left) }).name("update").await?;
        ctx.set("stock", sold);
        ctx.run(|| async { Ok(3u64) }).name("notify").await?;
        Ok(sold)
    }
}

struct StepsWorkflow(Outside);

/// So many steps, one after the other.
#[workflow]
impl StepsWorkflow {
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, steps: u64) -> Result<u64, HandlerError> {
        let mut sum = 0;
        for number in 0..steps {
            let outside = self.0.clone();
            let step = async move || {
                outside.tell(number)?;
                Ok(number)
            };
            sum += ctx.run(step).name("step").await?;
        }
        Ok(sum)
    }
}

struct ParkWorkflow(Outside);

/// Waits for so many seconds.
#[workflow]
impl ParkWorkflow {
    #[handler]
    async fn run(&self, ctx: WorkflowContext<'_>, seconds: u64) -> Result<(), HandlerError> {
        self.0.tell(seconds)?;
        ctx.sleep(Duration::from_secs(seconds)).await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, outside] = &arguments[..] else {
        return Err("usage: restate-handler ADDRESS OUTSIDE".into());
    };
    let outside = File::options().create(true).append(true).open(outside)?;
    let outside = Outside(Arc::new(outside));
    let endpoint = Endpoint::builder()
        .bind(OrderWorkflow)
        .bind(StepsWorkflow(outside.clone()))
        .bind(ParkWorkflow(outside))
        .build();
    HttpServer::new(endpoint)
        .listen_and_serve(address.parse()?)
        .await;
    Ok(())
}
