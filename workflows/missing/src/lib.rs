//! A guest of the tests: the activity that the module `steps` calls and does not have.

use serde_json::Value;
use wfhost_sdk::{ActivityContext, Result, activity};

wfhost_sdk::export!(activities: [missing]);

/// Is found.
#[activity(name = "Missing")]
fn missing(_: ActivityContext, _: Value) -> Result<String> {
    Ok("found".into())
}
