//! A guest of the tests: an activity that reaches the outside world, through an import that only
//! tests offer.

use serde::{Deserialize, Serialize};
use wfhost_sdk::{ActivityContext, Context, Failure, Result, RetryPolicy, activity, workflow};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package wfhost:testing@0.1.0;
            interface outside { call: func(request: string) -> result<string, string>; }
            world guest { import outside; }
        ",
    });
}

wfhost_sdk::export!(workflows: [calls_outside], activities: [call_outside]);

/// What is asked of the outside.
#[derive(Serialize, Deserialize)]
struct Call {
    requests: Vec<String>,
    #[serde(default)]
    at_most_once: bool,
}

/// Sends each request in turn, counts it under the key `sent`, and returns the answers.
#[workflow(name = "CallsOutside")]
async fn calls_outside(ctx: Context, input: Call) -> Result<Vec<String>> {
    let mut answers = Vec::new();
    for request in &input.requests {
        let call = ctx.call::<call_outside>(request);
        let call = if input.at_most_once {
            call.at_most_once()
        } else {
            call.retry(RetryPolicy::attempts(3))
        };
        answers.push(call.await?);
    }
    Ok(answers)
}

/// Sends one request to the outside.
#[activity(name = "CallOutside")]
fn call_outside(ctx: ActivityContext, request: String) -> Result<String> {
    let sent = ctx.state().get::<u64>("sent")?.unwrap_or(0);
    ctx.state().set("sent", &(sent + 1))?;
    let answer = bindings::wfhost::testing::outside::call(&request);
    Ok(answer.map_err(|message| Failure::new("outside", message))?)
}
