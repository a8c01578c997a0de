//! wfhost inside a program of its own: an order, once, whatever happens to the program.
//!
//! ```console
//! $ cargo run --example embed -- workflows/order-processing
//! ```
//!
//! Kill it and run it again: the order goes on. Run it once more: the order is there already.

#![expect(
    clippy::print_stdout,
    reason = "a program on the command line talks to its user"
)]

use std::path::Path;

use tokio::sync::mpsc::UnboundedReceiver;
use wfhost::{
    Error, Host, InstanceId, Json, Narrator, Observed, Options, Record, Settled, StartRequest,
    package,
};

const ORDER: &str = r#"{"Name":"Cars","TotalCost":15000,"SimulatedWorkSeconds":1}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give a module")?;
    let module = package::upload(Path::new(&path), false)?;

    let host = Host::open(Path::new("orders.redb"), Options::default())?;
    host.deploy(vec![module]).await?;
    let seen = host.observe();

    // The request key makes the order one order: asked for again, it is not made again.
    let request = StartRequest {
        key: Some("order-2026-0042".into()),
        ..StartRequest::new("OrderProcessingWorkflow".parse()?, Json::parse(ORDER)?)
    };
    let id = host.start(request).await?;
    // If it was started by a run of this program that was killed: goes on with it.
    host.drive(&id)?;

    let settled = follow(&host, &id, seen).await?;
    println!("{id} is {}", settled.status().as_str());

    println!("all that happened:");
    let mut narrator = Narrator::default();
    host.history(&id, |record| {
        let told = narrator.next(&record).expect("a history is whole");
        for line in Narrator::lines(&told, &record) {
            println!("  {line}");
        }
        Ok::<_, Error>(())
    })?;
    host.close().await?;
    Ok(())
}

/// Shows what activities log until the instance does not move any more. What is shown is on disk:
/// no crash takes it back.
async fn follow(
    host: &Host,
    id: &InstanceId,
    mut seen: UnboundedReceiver<Observed>,
) -> Result<Settled, Error> {
    let mut settled = std::pin::pin!(host.wait(id));
    loop {
        tokio::select! {
            biased;
            Some(observed) = seen.recv() => if let Record::Attempt(attempt) = &*observed.record {
                attempt.log.iter().for_each(|line| println!("  {}", line.message));
            },
            settled = &mut settled => return settled,
        }
    }
}
