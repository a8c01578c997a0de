//! The configuration file of `wfhost serve`: what it may hold, read and checked.
//!
//! A table of its own is a field of [`Config`] whose type says what stands in it; what it means is
//! decided where it is used. All that is wrong with the file is told with its line. Documented for
//! operators in `docs/configuration.md`, whose example a test reads.

mod grants;
mod mistake;
mod secret;
mod tables;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use wfhost_sandbox::Grants;

use grants::{Granted, Grantee};
pub(crate) use mistake::{Mistake, Source};
use secret::TokenTable;
pub(crate) use tables::{Activities, Guests, LogFormat, Observing, Requests, Retained, TlsFiles};
use value::OneOrMany;

use crate::serve::{Token, WebhookOptions};

/// A configuration file. What it does not say is left at the default, or to the command line.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_file: Option<PathBuf>,
    pub(crate) listen: Option<OneOrMany<SocketAddr>>,
    pub(crate) state_store: Option<value::Text>,
    /// What is deployed at the start.
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) watch: Option<PathBuf>,
    pub(crate) tls: Option<TlsFiles>,
    tokens: Vec<Spanned<TokenTable>>,
    pub(crate) requests: Requests,
    pub(crate) guests: Guests,
    pub(crate) activities: Activities,
    pub(crate) retention: Retained,
    pub(crate) telemetry: Observing,
    grants: BTreeMap<Grantee, Granted>,
    /// What requests of other services do.
    pub(crate) webhooks: Vec<WebhookOptions>,
    /// For what is found wrong only once it is used.
    #[serde(skip)]
    pub(crate) source: Source,
}

impl Config {
    /// Reads a file. Paths in it are relative to the folder that it is in.
    pub(crate) fn read(path: &Path) -> Result<Self, Mistake> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Mistake::unreadable(path, &error))?;
        let mut config = Self::parse(Source::new(path, text))?;
        config.resolve();
        Ok(config)
    }

    fn parse(source: Source) -> Result<Self, Mistake> {
        let read = toml::Deserializer::parse(source.text());
        let read = read.map_err(|error| source.syntax(&error))?;
        let read = serde_path_to_error::deserialize(read);
        let config: Self = read.map_err(|error| source.mistake(&error))?;
        Ok(Self { source, ..config })
    }

    /// The tokens, with what they refer to read.
    pub(crate) fn tokens(&self) -> Result<Vec<Token>, Mistake> {
        let mut tokens: Vec<Token> = Vec::new();
        for table in &self.tokens {
            let token = table.get_ref().token(&self.source)?;
            if let Some(same) = tokens
                .iter()
                .find(|it| it.name == token.name || it.secret == token.secret)
            {
                let what = format!(
                    "the tokens `{}` and `{}` have the same name or secret",
                    same.name, token.name
                );
                return Err(self.source.at(table.span(), what));
            }
            tokens.push(token);
        }
        Ok(tokens)
    }

    /// What activities may have of the outside, with the secrets that it refers to read.
    pub(crate) fn grants(&self) -> Result<Grants, Mistake> {
        grants::grants(&self.grants, &self.source)
    }

    fn resolve(&mut self) {
        let Self {
            source,
            data_file,
            modules,
            watch,
            tls,
            webhooks,
            ..
        } = self;
        let tls = tls.iter_mut();
        let tls = tls.flat_map(|it| [&mut it.certificate, &mut it.key]);
        let signatures = webhooks.iter_mut().flat_map(|it| &mut it.signature);
        let secrets = signatures.flat_map(|it| &mut it.secret_file);
        let paths = data_file.iter_mut().chain(modules).chain(watch).chain(tls);
        let paths = paths.chain(secrets);
        paths.for_each(|path| *path = source.beside(path));
    }
}

#[cfg(test)]
mod tests;
