//! Signatures: that a request comes from who knows the secret, and lately.

use axum::http::HeaderMap;
use axum::http::header::HeaderName;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wfhost_core::Timestamp;

use super::{SignatureEncoding, SignatureOptions, TimestampOptions};

/// How far a time may be from the host's clock if nothing else is said: five minutes, as those who
/// send times recommend.
const TOLERANCE_MS: u64 = 300_000;

/// How requests to a webhook are signed.
pub(super) struct Signature {
    at: Place,
    prefix: String,
    encoding: SignatureEncoding,
    /// Keyed with the secret.
    mac: Hmac<Sha256>,
    signed: Vec<Part>,
    timestamp: Option<(Place, u64)>,
}

/// Where something is in a request.
struct Place {
    header: HeaderName,
    field: Option<String>,
}

/// A part of what is signed.
enum Part {
    Plain(String),
    Body,
    Timestamp,
    Header(HeaderName),
}

impl Signature {
    /// Reads the secret too.
    ///
    /// # Errors
    /// If something is wrong; says what.
    pub(super) fn new(options: &SignatureOptions) -> Result<Self, String> {
        let signed = parts(&options.signed)?;
        let has = |wanted: fn(&Part) -> bool| signed.iter().any(wanted);
        if !has(|part| matches!(part, Part::Body)) {
            return Err("`signature.signed` must hold `{body}`, or the body is not signed".into());
        }
        let signs_time = has(|part| matches!(part, Part::Timestamp));
        if signs_time != options.timestamp.is_some() {
            return Err(
                "`signature.timestamp` and `{timestamp}` in `signature.signed` go together: a time \
                 that is not signed proves nothing"
                    .into(),
            );
        }
        let timestamp = options.timestamp.as_ref();
        let secret = secret(options)?;
        Ok(Self {
            at: Place::new(&options.header, &options.field)?,
            prefix: options.prefix.clone(),
            encoding: options.encoding,
            mac: Hmac::new_from_slice(&secret).map_err(|error| error.to_string())?,
            signed,
            timestamp: timestamp.map(timed).transpose()?,
        })
    }

    /// # Errors
    /// If the request is not signed by who knows the secret, or was signed long ago.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), String> {
        let mut time = "";
        if let Some((place, tolerance_ms)) = &self.timestamp {
            time = place.find(headers).next().ok_or_else(|| place.missing())?;
            let seconds = time.parse::<u64>();
            let at = seconds.map_err(|_| format!("{} is no time in seconds", place.named()))?;
            let at = Timestamp(at.saturating_mul(1_000));
            if now.since(at).max(at.since(now)) > *tolerance_ms {
                return Err(format!(
                    "the request was signed at {at}, and it is {now}; that is too far apart"
                ));
            }
        }
        let mut mac = self.mac.clone();
        for part in &self.signed {
            match part {
                Part::Plain(text) => mac.update(text.as_bytes()),
                Part::Body => mac.update(body),
                Part::Timestamp => mac.update(time.as_bytes()),
                Part::Header(name) => {
                    let value = headers.get(name);
                    let value = value.ok_or_else(|| format!("the header `{name}` is missing"))?;
                    mac.update(value.as_bytes());
                }
            }
        }
        let mut shown = self.at.find(headers).peekable();
        if shown.peek().is_none() {
            return Err(self.at.missing());
        }
        // A sender that changes its secret may show two. They are compared in constant time.
        let fits = |bytes: Vec<u8>| mac.clone().verify_slice(&bytes).is_ok();
        match shown.filter_map(|text| self.decode(text)).any(fits) {
            true => Ok(()),
            false => Err("the signature does not fit the request and the secret".into()),
        }
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let text = text.strip_prefix(&self.prefix)?.as_bytes();
        match self.encoding {
            SignatureEncoding::Hex => HEXLOWER_PERMISSIVE.decode(text).ok(),
            SignatureEncoding::Base64 => BASE64.decode(text).ok(),
        }
    }
}

fn timed(options: &TimestampOptions) -> Result<(Place, u64), String> {
    let tolerance = options.tolerance.as_deref().map(|text| {
        humantime::parse_duration(text).map_err(|error| {
            format!(
                "`signature.timestamp.tolerance`: {error}; it takes a length of time such as 5m"
            )
        })
    });
    let tolerance = tolerance.transpose()?;
    let tolerance_ms = tolerance.map_or(TOLERANCE_MS, |it| {
        u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
    });
    Ok((Place::new(&options.header, &options.field)?, tolerance_ms))
}

fn secret(options: &SignatureOptions) -> Result<Vec<u8>, String> {
    let secret = match (&options.secret_env, &options.secret_file) {
        (Some(name), None) => std::env::var(name).map_err(|_| {
            format!("the variable `{name}`, which is to hold its secret, is not set")
        })?,
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read its secret from {}: {error}", path.display()))?,
        _ => return Err("its secret is in `secret_env` or in `secret_file`".into()),
    };
    match secret.trim() {
        "" => Err("its secret is empty".into()),
        secret => Ok(secret.as_bytes().to_vec()),
    }
}

/// Reads what is signed.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('{') {
        parts.push(Part::Plain(before.to_owned()));
        let inside = from.split_once('}');
        let (inside, after) =
            inside.ok_or_else(|| format!("`signature.signed`: `{text}` has an open brace"))?;
        parts.push(match (inside, inside.strip_prefix("header:")) {
            ("body", _) => Part::Body,
            ("timestamp", _) => Part::Timestamp,
            (_, Some(name)) => Part::Header(header(name)?),
            _ => {
                return Err(format!(
                    "`signature.signed`: `{{{inside}}}` is none of {{body}}, {{timestamp}} and \
                     {{header:name}}"
                ));
            }
        });
        rest = after;
    }
    parts.push(Part::Plain(rest.to_owned()));
    Ok(parts)
}

fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(name).map_err(|_| format!("no header has the name `{name}`"))
}

impl Place {
    fn new(name: &str, field: &Option<String>) -> Result<Self, String> {
        Ok(Self {
            header: header(name)?,
            field: field.clone(),
        })
    }

    /// What stands there; a field may be there several times.
    fn find<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let values = headers.get_all(&self.header).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        texts.flat_map(move |text| match &self.field {
            None => vec![text.trim()],
            Some(field) => {
                let pairs = text
                    .split(',')
                    .filter_map(|part| part.trim().split_once('='));
                let ours = pairs.filter(|(key, _)| key == field);
                ours.map(|(_, value)| value).collect()
            }
        })
    }

    fn named(&self) -> String {
        match &self.field {
            None => format!("the header `{}`", self.header),
            Some(field) => format!("`{field}` in the header `{}`", self.header),
        }
    }

    fn missing(&self) -> String {
        format!("{} is missing", self.named())
    }
}

#[cfg(test)]
mod tests;
