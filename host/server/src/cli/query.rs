//! What is asked of a workflow's code: queries, and updates that it answers.

use clap::Args;
use wfhost_core::{Instance, Json, Name};

use super::hosting::Hosting;
use super::{Exit, Failure, Target, args, close, print, say, text, why};
use crate::host::{Host, Settled};
use crate::view;

type Answer = Result<Json, wfhost_core::Failure>;

/// Ask a workflow about its state
///
/// A copy of it answers, and takes no turn: nothing changes. One that has ended answers too, as
/// long as its history is kept.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost query cart items
  wfhost query cart price '{\"currency\":\"EUR\"}' | jq .total

Exit status: 0 it answered, 1 it refused, 2 usage or bad input, 4 the host failed.")]
pub(super) struct Query {
    #[command(flatten)]
    asking: Asking,
}

/// Ask something of a running workflow, and wait for its answer
///
/// A copy of it looks at the request first: one that it refuses leaves no trace. The instance is
/// driven until it has answered; `wfhost wait ID` drives it on.
#[derive(Args)]
#[command(after_help = "\
Examples:
  wfhost update cart add '{\"item\":\"Cars\",\"quantity\":2}'
  wfhost update cart add @item.json --key click-17

Exit status: 0 it answered, 1 it refused, 2 usage or bad input, 3 it is stalled or suspended, 4 the
host failed.")]
pub(super) struct Update {
    #[command(flatten)]
    asking: Asking,
    /// Names this call: made again with the same key, it is asked once and answered the same
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    hosting: Hosting,
}

/// What is asked.
#[derive(Args)]
struct Asking {
    #[command(flatten)]
    target: Target,
    /// What the workflow's code calls it
    name: Name,
    /// What it takes: JSON, @FILE, or - for stdin; null if left out
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    input: Option<String>,
    /// Print {"output", "failure"} instead of the answer alone
    #[arg(long)]
    json: bool,
}

impl Query {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let Asking { target, name, .. } = &self.asking;
        let input = self.asking.input()?;
        let host = target.db.open()?;
        let answered = host.query(&target.id, name, &input).await;
        let answered = match answered {
            Ok(answer) => self.asking.print(&answer),
            Err(error) => Err(error.into()),
        };
        close(host, answered).await
    }
}

impl Update {
    pub(super) async fn run(self) -> Result<Exit, Failure> {
        let input = self.asking.input()?;
        let (options, skipping) = self.hosting.options();
        let host = self.asking.target.db.open_with(options)?;
        let answered = self.on(&host, input).await;
        skipping.say();
        close(host, answered).await
    }

    async fn on(&self, host: &Host, input: Json) -> Result<Exit, Failure> {
        let Asking { target, name, .. } = &self.asking;
        let Target { id, db } = target;
        let instance = host.instance(id).await?;
        if instance.suspended().is_some() && !instance.status().has_ended() {
            let resume = db.about("resume", id);
            return Err(Failure::new(
                Exit::Stalled,
                format!("the instance `{id}` is suspended and answers nothing; first: {resume}"),
            ));
        }
        let mut asked = std::pin::pin!(host.update(id, name.clone(), input, self.key.clone()));
        let answer = tokio::select! {
            biased;
            answer = &mut asked => answer?,
            settled = host.wait(id) => {
                let Settled { instance } = settled?;
                if let Some(stalled) = self.cannot_answer(&instance) {
                    return Err(stalled);
                }
                // What is stalled of it does not keep its code from answering.
                asked.await?
            }
        };
        self.asking.print(&answer)
    }

    fn cannot_answer(&self, instance: &Instance) -> Option<Failure> {
        let Target { id, db } = &self.asking.target;
        let reason = instance.stalled_code()?;
        let remedy = why::remedy(reason, db, id);
        let message = format!("the instance `{id}` is stalled: {reason}\n{remedy}");
        Some(Failure::new(Exit::Stalled, message))
    }
}

impl Asking {
    fn input(&self) -> Result<Json, Failure> {
        args::json_or_null("the input", self.input.as_deref())
    }

    fn print(&self, answer: &Answer) -> Result<Exit, Failure> {
        if self.json {
            print(&view::outcome(answer).to_string())?;
        }
        match answer {
            Ok(answer) if !self.json => print(answer.as_str())?,
            Ok(_) => {}
            Err(failure) => {
                say(format_args!("{}", text::failure(failure)));
                return Ok(Exit::Failed);
            }
        }
        Ok(Exit::Ok)
    }
}
