//! `[grants.NAME]`: what an activity may have of the outside; `[grants."*"]`: what all may.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use wfhost_core::Name;
use wfhost_sandbox::{AllowedHost, Grant, Grants};

use super::secret::Reference;
use super::{Mistake, Source};

/// To whom something is granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Grantee {
    All,
    Activity(Name),
}

impl TryFrom<String> for Grantee {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == "*" {
            return Ok(Self::All);
        }
        let name = name.parse().map(Self::Activity);
        name.map_err(|error: wfhost_core::InvalidName| {
            format!("grants are for the name of an activity, or for `*`: {error}")
        })
    }
}

/// What is granted. What is left out is not, but for the state store.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Granted {
    hosts: Vec<Pattern>,
    env: BTreeMap<Variable, String>,
    secrets: BTreeMap<Variable, Spanned<Reference>>,
    state_read: Option<Vec<String>>,
    state_write: Option<Vec<String>>,
}

/// A pattern of hosts.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Pattern(AllowedHost);

impl TryFrom<String> for Pattern {
    type Error = wfhost_sandbox::InvalidHost;

    fn try_from(text: String) -> Result<Self, wfhost_sandbox::InvalidHost> {
        text.parse().map(Self)
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Variable(String);

impl TryFrom<String> for Variable {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!(
                "`{name}` can be no variable: it is not empty and has no `=`"
            ));
        }
        Ok(Self(name))
    }
}

impl Granted {
    /// Reads what it refers to.
    fn grant(&self, source: &Source) -> Result<Grant, Mistake> {
        let secrets = self.secrets.iter().map(|(Variable(name), reference)| {
            let value = reference.get_ref().read(source);
            let value = value.map_err(|why| {
                source.at(reference.span(), format!("the secret `{name}`: {why}"))
            })?;
            Ok((name.clone(), value))
        });
        let variables = self.env.iter();
        Ok(Grant {
            allowed_hosts: self.hosts.iter().map(|it| it.0.clone()).collect(),
            environment: variables
                .map(|(name, value)| (name.0.clone(), value.clone()))
                .collect(),
            secrets: secrets.collect::<Result<_, _>>()?,
            state_read: self.state_read.clone(),
            state_write: self.state_write.clone(),
        })
    }
}

/// All grants of a file, with the secrets that they refer to read.
pub(super) fn grants(
    tables: &BTreeMap<Grantee, Granted>,
    source: &Source,
) -> Result<Grants, Mistake> {
    let (mut all, mut by_name) = (Grant::default(), Vec::new());
    for (grantee, granted) in tables {
        let grant = granted.grant(source)?;
        match grantee {
            Grantee::All => all = grant,
            Grantee::Activity(name) => by_name.push((name.clone(), grant)),
        }
    }
    Ok(Grants::new(all, by_name))
}
