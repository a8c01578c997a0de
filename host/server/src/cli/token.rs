//! `wfhost token`: a secret that callers of a served host show.

use std::io::Read as _;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use super::{Exit, Failure, print, say};
use crate::serve::{Hashed, Scope};

/// Make a token for callers of `wfhost serve`
///
/// Prints a random token, once: it is kept nowhere. What the configuration file of the host takes is
/// printed to stderr, with the token's hash instead of the token.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  wfhost token ci --scope deploy
  wfhost token dashboard >dashboard.token 2>>wfhost.toml
  wfhost token old --scope operate --stdin <old.token   hash one that there is already

Scopes: read (look), operate (read; change instances and state), deploy (operate; change what runs,
stop the host).

Exit status: 0 it is printed, 2 usage or bad input.")]
pub(super) struct Token {
    /// What it is called, in the configuration and to a caller whom it does not let do something
    name: String,
    /// What it lets callers do
    #[arg(long, value_name = "SCOPE", default_value = "read", value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str)).map(scope))]
    scope: Scope,
    /// Take the token from stdin, one of 16 characters or more, instead of making one
    #[arg(long)]
    stdin: bool,
}

fn scope(word: String) -> Scope {
    let known = Scope::ALL.into_iter().find(|it| it.as_str() == word);
    known.expect("the parser lets only these words through")
}

/// The longest token that is read, in bytes: a head of a request has to hold it.
const BYTES_MAX: u64 = 4096;

impl Token {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let text = if self.stdin { read()? } else { random()? };
        let hashed = Hashed::of_text(&text);
        let hashed = hashed.map_err(|error| Failure::usage(format!("the token: {error}")))?;
        if !self.stdin {
            print(&text)?;
        }
        // A text of JSON is one of TOML.
        let name = serde_json::Value::String(self.name);
        say(format_args!(
            "[[tokens]]\nname = {name}\nscope = \"{}\"\nsecret = \"{hashed}\"",
            self.scope
        ));
        Ok(Exit::Ok)
    }
}

fn read() -> Result<String, Failure> {
    let mut text = String::new();
    let stdin = std::io::stdin().lock().take(BYTES_MAX + 1);
    let read = std::io::BufReader::new(stdin).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("cannot read the token: {error}")))?;
    if text.len() as u64 > BYTES_MAX {
        return Err(Failure::usage(format!(
            "the token has more than {BYTES_MAX} bytes"
        )));
    }
    Ok(text.trim().to_owned())
}

/// 256 bits that nobody can guess.
fn random() -> Result<String, Failure> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Host, format!("there are no random numbers: {error}"))
    })?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("wfhost_{digits}"))
}
