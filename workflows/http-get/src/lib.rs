//! HTTP in an activity: `HttpGet` fetches a page, and `HttpCheckWorkflow` calls it until the
//! website answers. The host must allow the website: `--allow-host https://example.com`.
//!
//! Only activities reach the network. In this module the workflow could call the same functions,
//! and would be ended with a message that names them.

mod client;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wfhost_sdk::{
    ActivityContext, Context, JsonSchema, Result, RetryPolicy, activity, schemars, workflow,
};

wfhost_sdk::export!(workflows: [http_check], activities: [http_get]);

/// What to fetch.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Page {
    url: String,
}

/// What the server answered.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Answer {
    status: u16,
    body: String,
}

/// How a website is.
#[derive(Serialize, JsonSchema)]
struct Check {
    url: String,
    healthy: bool,
    status: u16,
}

/// Fetches a page. Every attempt of a call sends the same `Idempotency-Key`.
#[activity(name = "HttpGet")]
fn http_get(ctx: ActivityContext, page: Page) -> Result<Answer> {
    log::info!("GET {}, attempt {}", page.url, ctx.attempt());
    let (status, body) = client::get(&page.url, ctx.idempotency_key())?;
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Tells whether a website is healthy: whether it answers at all, and that all is well.
#[workflow(name = "HttpCheckWorkflow")]
async fn http_check(ctx: Context, page: Page) -> Result<Check> {
    let policy = RetryPolicy::attempts(5).first_delay(Duration::from_millis(500));
    let answer = ctx
        .call::<http_get>(&page)
        .retry(policy)
        .attempt_timeout(Duration::from_secs(10))
        .await?;
    Ok(Check {
        url: page.url,
        healthy: (200..300).contains(&answer.status),
        status: answer.status,
    })
}
