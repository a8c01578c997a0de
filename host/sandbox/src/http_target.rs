//! Where an HTTP request is to go, and to which addresses that may lead.

use std::fmt;
use std::net::IpAddr;

use crate::address;

/// Where a request is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    /// In lower case, without the dot at its end and without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// To which addresses an allowed host may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those of the public internet.
    Public,
    /// Those of this machine.
    Loopback,
    Exactly(IpAddr),
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Target {
    /// Where a request to this URI is to go; `None` if it does not say so.
    pub(crate) fn of(uri: &http::Uri) -> Option<Self> {
        let scheme = match uri.scheme_str()? {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let authority = uri.authority()?;
        // What stands before an `@` is a password, which belongs into a header.
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        // A port that is none must not become the scheme's own.
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => scheme.port(),
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        (!host.is_empty()).then(|| Self {
            scheme,
            host: host.to_owned(),
            port,
        })
    }

    /// The address that it names, if it names one. One of IPv4 in an IPv6 address is of IPv4.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let address: Option<IpAddr> = self.host.parse().ok();
        address.map(|address| address.to_canonical())
    }
}

impl Reach {
    /// Why a request may not go to this address.
    ///
    /// # Errors
    /// What kind of address it is.
    pub(crate) fn check(self, address: IpAddr) -> Result<(), &'static str> {
        match self {
            Self::Public => address::special(address).map_or(Ok(()), Err),
            Self::Loopback if address.to_canonical().is_loopback() => Ok(()),
            Self::Loopback => Err("no address of this machine"),
            Self::Exactly(granted) if address.to_canonical() == granted => Ok(()),
            Self::Exactly(_) => Err("not the address that is allowed"),
        }
    }
}

impl Scheme {
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{}://[{host}]:{port}", scheme.as_str())
        } else {
            write!(f, "{}://{host}:{port}", scheme.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_no_host_has_no_target() {
        for uri in [
            "/path",
            "http://a:b@example.com",
            "ftp://example.com",
            "http://x:99999",
        ] {
            assert_eq!(
                uri.parse().ok().and_then(|uri| Target::of(&uri)),
                None,
                "{uri}"
            );
        }
    }

    #[test]
    fn an_allowed_host_reaches_no_further_than_it_says() {
        let exactly = Reach::Exactly("10.0.0.1".parse().unwrap());
        for (reach, address, fine) in [
            (Reach::Public, "8.8.8.8", true),
            (Reach::Public, "10.0.0.1", false),
            (Reach::Loopback, "127.0.0.1", true),
            (Reach::Loopback, "::1", true),
            (Reach::Loopback, "10.0.0.1", false),
            (Reach::Loopback, "8.8.8.8", false),
            (exactly, "10.0.0.1", true),
            (exactly, "::ffff:10.0.0.1", true),
            (exactly, "10.0.0.2", false),
        ] {
            let checked = reach.check(address.parse().unwrap());
            assert_eq!(checked.is_ok(), fine, "{reach:?} {address}");
        }
    }
}
