//! Whether a request may be done as its value stands: `If-Match` and `If-None-Match`, as HTTP means
//! them (RFC 9110, 13.1). The version of a value is its ETag.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use utoipa::IntoParams;
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::Problem;
use crate::serve::Served;

/// What must hold for a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Condition {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

/// The ETags of a header.
#[derive(Debug, PartialEq)]
enum Tags {
    /// `*`: whatever there is.
    Any,
    Listed(Vec<Tag>),
}

/// An ETag that was sent.
#[derive(Debug, PartialEq)]
struct Tag {
    weak: bool,
    text: String,
}

/// How a condition stands to a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Held {
    Yes,
    /// `If-Match` does not hold.
    NoMatch,
    /// `If-None-Match` does not hold: who reads has this version.
    Matches,
}

impl Condition {
    /// How it stands to a value at this version; 0 where there is none.
    pub(super) fn holds(&self, version: u64) -> Held {
        let matched = |tags: &Tags, weakly: bool| match tags {
            Tags::Any => version > 0,
            Tags::Listed(tags) => tags.iter().any(|tag| tag.is(version, weakly)),
        };
        match (&self.matches, &self.none_matches) {
            (Some(tags), _) if !matched(tags, false) => Held::NoMatch,
            (_, Some(tags)) if matched(tags, true) => Held::Matches,
            _ => Held::Yes,
        }
    }

    /// The version that the value must be at, 0 for none, if it is just one, and there is nothing
    /// else to look at.
    pub(super) fn version(&self) -> Option<u64> {
        match (&self.matches, &self.none_matches) {
            (Some(Tags::Listed(tags)), None) => match tags.as_slice() {
                [tag] => tag.text.parse().ok().filter(|it| tag.is(*it, false)),
                _ => None,
            },
            (None, Some(Tags::Any)) => Some(0),
            _ => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Tag {
    fn is(&self, version: u64, weakly: bool) -> bool {
        version > 0 && (weakly || !self.weak) && self.text == version.to_string()
    }
}

/// The ETags of a header's value, divided by commas. There may be nothing between two commas.
fn tags(value: &str) -> Option<Tags> {
    let (mut tags, mut rest) = (Vec::new(), value.trim());
    if rest == "*" {
        return Some(Tags::Any);
    }
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if rest.is_empty() {
            return Some(Tags::Listed(tags));
        }
        let strong = rest.strip_prefix("W/");
        let (text, after) = strong.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        let after = after.trim_start();
        if text.contains(' ') || !(after.is_empty() || after.starts_with(',')) {
            return None;
        }
        tags.push(Tag {
            weak: strong.is_some(),
            text: text.to_owned(),
        });
        rest = after;
    }
}

fn sent(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let Some(value) = headers.get(&name) else {
        return Ok(None);
    };
    let tags = value.to_str().ok().and_then(tags);
    tags.map(Some).ok_or_else(|| {
        Problem::bad_header(format!(
            "`{name}` takes ETags as a read gives them, in quotation marks, or *"
        ))
    })
}

impl FromRequestParts<Served> for Condition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Served) -> Result<Self, Problem> {
        Ok(Self {
            matches: sent(&parts.headers, header::IF_MATCH)?,
            none_matches: sent(&parts.headers, header::IF_NONE_MATCH)?,
        })
    }
}

impl IntoParams for Condition {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let header = |name: &str, what: &str| {
            let text = ObjectBuilder::new().schema_type(Type::String);
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(what))
                .schema(Some(text))
                .build()
        };
        vec![
            header(
                "If-Match",
                "Only if the value has one of these ETags; `*`: if there is one.",
            ),
            header(
                "If-None-Match",
                "Only if it has none of these; `*`: if there is no value.",
            ),
        ]
    }
}

/// A request that may not be done.
pub(super) fn refused() -> Problem {
    let why = "the value is not at the version that the request asks for; nothing was written";
    Problem::new(StatusCode::PRECONDITION_FAILED, "wrong-version", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_as_http_means_it() {
        use Held::{Matches, NoMatch, Yes};
        // The headers, and how they stand to no value, and to one at version 5.
        for (matches, none_matches, held) in [
            (None, None, [Yes, Yes]),
            (Some("\"5\""), None, [NoMatch, Yes]),
            (Some("\"4\""), None, [NoMatch, NoMatch]),
            (Some("\"4\", \"5\""), None, [NoMatch, Yes]),
            (Some("W/\"5\""), None, [NoMatch, NoMatch]),
            (Some("\"05\""), None, [NoMatch, NoMatch]),
            (Some("\"0\""), None, [NoMatch, NoMatch]),
            (Some("*"), None, [NoMatch, Yes]),
            (Some(""), Some(""), [NoMatch, NoMatch]),
            (Some("\"5\",, "), None, [NoMatch, Yes]),
            (None, Some("*"), [Yes, Matches]),
            (None, Some("\"4\",\"a,b\""), [Yes, Yes]),
            (None, Some("W/\"5\""), [Yes, Matches]),
            (Some("\"5\""), Some("*"), [NoMatch, Matches]),
        ] {
            let condition = Condition {
                matches: matches.map(|it| tags(it).expect(it)),
                none_matches: none_matches.map(|it| tags(it).expect(it)),
            };
            assert_eq!(
                [0, 5].map(|version| condition.holds(version)),
                held,
                "{condition:?}"
            );
            if let Some(version) = condition.version() {
                assert_eq!(condition.holds(version), Yes, "{condition:?}");
            }
        }
    }

    #[test]
    fn what_is_no_etag_is_not_taken_for_one() {
        for value in [
            "5",
            "\"5",
            "5\"",
            "\"5\" \"6\"",
            "w/\"5\"",
            "\"a b\"",
            "*, \"5\"",
        ] {
            assert_eq!(tags(value), None, "{value}");
        }
    }
}
