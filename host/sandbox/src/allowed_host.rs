//! Which hosts activities may make HTTP requests to, as an operator writes it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::http_target::{Reach, Scheme, Target};

/// Longest name of a host, in bytes, and longest part of it between two dots.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// A pattern of hosts: `[scheme://]host[:port]`.
///
/// The scheme is `http` or `https`; without one both. The host is a name, `*.name` for all names
/// below one, an IPv4 address, an IPv6 address in brackets, or `localhost`. The port is a number
/// or `*`; without one it is the scheme's own, 80 or 443.
///
/// Only an address that is written out, or `localhost`, opens what is not of the public internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    scheme: Option<Scheme>,
    host: Host,
    port: Port,
}

/// Why a text is no [`AllowedHost`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no hosts: {what}; write [scheme://]host[:port], such as https://api.example.com, *.example.com or http://127.0.0.1:8080"
)]
pub struct InvalidHost {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    /// All names that end with a dot and this.
    Below(String),
    Address(IpAddr),
    Localhost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    OfScheme,
    Any,
    Number(u16),
}

impl AllowedHost {
    /// The pattern that would allow this request, and no more than it must.
    pub(crate) fn of(target: &Target) -> Self {
        let host = match target.address() {
            Some(address) => Host::Address(address),
            None if target.host == LOCALHOST => Host::Localhost,
            None => Host::Name(target.host.clone()),
        };
        let port = if target.port == target.scheme.port() {
            Port::OfScheme
        } else {
            Port::Number(target.port)
        };
        Self {
            scheme: Some(target.scheme),
            host,
            port,
        }
    }

    /// To which addresses this request may go, if this pattern allows it.
    pub(crate) fn allows(&self, target: &Target) -> Option<Reach> {
        let port = match self.port {
            Port::Any => true,
            Port::Number(port) => port == target.port,
            Port::OfScheme => target.port == target.scheme.port(),
        };
        if !port || self.scheme.is_some_and(|scheme| scheme != target.scheme) {
            return None;
        }
        match &self.host {
            Host::Name(name) => (*name == target.host).then_some(Reach::Public),
            Host::Localhost => (target.host == LOCALHOST).then_some(Reach::Loopback),
            Host::Address(address) => {
                (target.address() == Some(*address)).then_some(Reach::Exactly(*address))
            }
            Host::Below(name) => {
                let above = target.host.strip_suffix(name.as_str());
                let above = above.and_then(|above| above.strip_suffix('.'));
                above
                    .is_some_and(|it| !it.is_empty())
                    .then_some(Reach::Public)
            }
        }
    }
}

/// What is wrong with `[…]`.
const NO_ADDRESS: &str = "what stands in brackets is no IPv6 address";

/// The one name that is this machine.
const LOCALHOST: &str = "localhost";

impl FromStr for AllowedHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        parse(text).map_err(|what| InvalidHost {
            text: text.to_owned(),
            what,
        })
    }
}

fn parse(text: &str) -> Result<AllowedHost, &'static str> {
    let (scheme, rest) = match text.split_once("://") {
        None => (None, text),
        Some(("http", rest)) => (Some(Scheme::Http), rest),
        Some(("https", rest)) => (Some(Scheme::Https), rest),
        Some(_) => return Err("the scheme is neither http nor https"),
    };
    if rest.contains(['/', '?', '#', '@']) {
        return Err("it holds more than a scheme, a host and a port");
    }
    let (host, port) = split_port(rest)?;
    Ok(AllowedHost {
        scheme,
        host: parse_host(host)?,
        port: port.map_or(Ok(Port::OfScheme), parse_port)?,
    })
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if text.starts_with('[') {
        let (host, port) = text.split_once(']').ok_or(NO_ADDRESS)?;
        return match port.strip_prefix(':') {
            None if port.is_empty() => Ok((host, None)),
            None => Err("something stands between the address and its port"),
            Some(port) => Ok((host, Some(port))),
        };
    }
    // An IPv6 address without brackets has no port.
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    Ok(match text.rsplit_once(':') {
        None => (text, None),
        Some((host, port)) => (host, Some(port)),
    })
}

fn parse_port(text: &str) -> Result<Port, &'static str> {
    if text == "*" {
        return Ok(Port::Any);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port is neither a number nor `*`");
    }
    match text.parse() {
        Ok(number @ 1..) => Ok(Port::Number(number)),
        Ok(0) | Err(_) => Err("the port is not between 1 and 65535"),
    }
}

fn parse_host(text: &str) -> Result<Host, &'static str> {
    if let Some(address) = text.strip_prefix('[') {
        let address: Result<Ipv6Addr, _> = address.parse();
        let address = address.map_err(|_| NO_ADDRESS)?;
        return Ok(Host::Address(IpAddr::V6(address).to_canonical()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Host::Address(address.to_canonical()));
    }
    let text = text.to_ascii_lowercase();
    let text = text.strip_suffix('.').unwrap_or(&text);
    match text.strip_prefix("*.") {
        Some(name) => parse_name(name).map(Host::Below),
        None if text == LOCALHOST => Ok(Host::Localhost),
        None => parse_name(text).map(Host::Name),
    }
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    let label = |it: &str| {
        let fits = (1..=LABEL_BYTES_MAX).contains(&it.len());
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        fits && it.bytes().all(known)
    };
    if text.is_empty() {
        return Err("it has no host");
    }
    if text.contains('*') {
        return Err("`*` may stand only before the first dot of a name, as in *.example.com");
    }
    if text.len() > NAME_BYTES_MAX || !text.split('.').all(label) {
        return Err("the host is neither a name nor an address");
    }
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        // Some resolvers take 127.1 and 2130706433 for addresses.
        return Err("a host that ends with a number must be an address of four numbers");
    }
    Ok(text.to_owned())
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{}://", scheme.as_str())?;
        }
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Host::Localhost => f.write_str(LOCALHOST)?,
        }
        match self.port {
            Port::OfScheme => Ok(()),
            Port::Any => f.write_str(":*"),
            Port::Number(port) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Target {
        Target::of(&uri.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_pattern_is_written_as_it_was_read() {
        for (text, written) in [
            ("api.example.com", "api.example.com"),
            ("https://API.Example.com.", "https://api.example.com"),
            ("http://*.example.com:8080", "http://*.example.com:8080"),
            ("example.com:*", "example.com:*"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
            ("::1", "[::1]"),
            ("[::ffff:10.0.0.1]", "10.0.0.1"),
            ("localhost:*", "localhost:*"),
        ] {
            let allowed: AllowedHost = text.parse().unwrap();
            assert_eq!(allowed.to_string(), written);
            assert_eq!(written.parse::<AllowedHost>().unwrap(), allowed);
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (text, part) in [
            ("", "no host"),
            ("https://", "no host"),
            ("ftp://example.com", "scheme"),
            ("https://example.com/path", "more than"),
            ("user@example.com", "more than"),
            ("*", "`*`"),
            ("a.*.com", "`*`"),
            ("example.com:0", "between"),
            ("example.com:65536", "between"),
            ("example.com:http", "neither a number"),
            ("example.com:", "between"),
            ("[::1", "brackets"),
            ("[127.0.0.1]", "brackets"),
            ("[::1]8080", "between the address"),
            ("exam ple.com", "neither a name"),
            ("a..b", "neither a name"),
            ("127.1", "ends with a number"),
            ("2130706433", "ends with a number"),
        ] {
            let error = text.parse::<AllowedHost>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_request_is_allowed_by_scheme_host_and_port() {
        let exactly = |address: &str| Some(Reach::Exactly(address.parse().unwrap()));
        for (pattern, uri, reach) in [
            ("example.com", "http://example.com/a?b", Some(Reach::Public)),
            ("example.com", "https://EXAMPLE.com.", Some(Reach::Public)),
            (
                "example.com",
                "https://example.com:443",
                Some(Reach::Public),
            ),
            ("example.com", "https://example.com:80", None),
            ("example.com", "https://www.example.com", None),
            ("example.com", "https://badexample.com", None),
            ("https://example.com", "http://example.com", None),
            ("https://example.com", "http://example.com:443", None),
            (
                "example.com:8080",
                "http://example.com:8080",
                Some(Reach::Public),
            ),
            ("example.com:8080", "http://example.com", None),
            ("example.com:*", "http://example.com:9", Some(Reach::Public)),
            (
                "*.example.com",
                "https://a.b.example.com",
                Some(Reach::Public),
            ),
            ("*.example.com", "https://example.com", None),
            ("*.example.com", "https://badexample.com", None),
            ("127.0.0.1", "http://127.0.0.1", exactly("127.0.0.1")),
            (
                "127.0.0.1",
                "http://[::ffff:127.0.0.1]",
                exactly("127.0.0.1"),
            ),
            ("127.0.0.1", "http://127.0.0.2", None),
            ("127.0.0.1", "http://localhost", None),
            ("[::1]:*", "http://[0:0::1]:8080", exactly("::1")),
            ("localhost", "http://localhost", Some(Reach::Loopback)),
            ("localhost", "http://127.0.0.1", None),
        ] {
            let allowed: AllowedHost = pattern.parse().unwrap();
            assert_eq!(allowed.allows(&target(uri)), reach, "{pattern} {uri}");
        }
    }

    #[test]
    fn a_refused_request_names_the_pattern_that_would_allow_it() {
        for (uri, named, pattern) in [
            (
                "https://x.example/a",
                "https://x.example:443",
                "https://x.example",
            ),
            ("http://x:8080", "http://x:8080", "http://x:8080"),
            ("http://[::1]:81", "http://[::1]:81", "http://[::1]:81"),
        ] {
            let target = target(uri);
            assert_eq!(target.to_string(), named);
            assert_eq!(AllowedHost::of(&target).to_string(), pattern);
            assert!(AllowedHost::of(&target).allows(&target).is_some());
        }
    }
}
