//! A workflow for wfhost, and the activity that it calls.

use std::time::Duration;

use wfhost_sdk::{ActivityContext, Context, Result, RetryPolicy, activity, select, workflow};

wfhost_sdk::export!(workflows: [greeting], activities: [greet]);

/// How long the workflow waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Greets somebody, then waits for an answer: the event `answer`, whose payload is a text.
///
/// Each `await` is recorded. Kill the host at any of them: it goes on from there.
#[workflow]
async fn greeting(ctx: Context, name: String) -> Result<String> {
    let retries = RetryPolicy::attempts(3).first_delay(Duration::from_secs(1));
    let greeted = ctx.call::<greet>(&name).retry(retries).await?;
    log::info!("{greeted}");
    // Whichever comes first; the other is taken back.
    select! {
        answer = ctx.event::<String>("answer") => Ok(format!("{name} says: {}", answer?)),
        waited = ctx.sleep(PATIENCE) => {
            waited?;
            Ok(format!("{name} does not answer"))
        }
    }
}

/// Counts and greets. The count and the result are one commit: nobody is counted twice.
#[activity]
fn greet(ctx: ActivityContext, name: String) -> Result<String> {
    let number = ctx.state().get::<u32>("greetings")?.unwrap_or(0) + 1;
    ctx.state().set("greetings", &number)?;
    Ok(format!("Greeting {number}: hello, {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wfhost_sdk::testing;

    #[test]
    fn an_answer_in_time_is_told() {
        let report = testing::workflow::<greeting>("Ada".into())
            .real_activity::<greet>()
            .event_at(PATIENCE / 2, "answer", "Hello, host!")
            .run();
        assert_eq!(report.output().unwrap(), "Ada says: Hello, host!");
        assert_eq!(report.state::<u32>("greetings"), Some(1));
    }

    #[test]
    fn it_gives_up_when_its_patience_is_over() {
        let report = testing::workflow::<greeting>("Ada".into())
            .activity("greet", |name: String| Ok(format!("Hello, {name}")))
            .run();
        assert_eq!(report.output().unwrap(), "Ada does not answer");
        assert_eq!(report.elapsed(), PATIENCE);
    }
}
