//! Addresses: where the hub is, and where it sends a request on to.

use std::fmt::{self, Display};

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// An address over `http` or `https`: no user, no password, no fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    scheme: Scheme,
    /// In lower case; an IPv6 address in its brackets.
    host: String,
    port: u16,
    /// Begins with a slash.
    path: String,
    /// With its question mark; empty if there is none. It may hold a signature, so no message shows it.
    query: String,
}

/// Why a redirect isn't followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRedirect {
    /// No `Location` header.
    #[error("redirects without saying where to")]
    Missing,
    /// What the header has is no address.
    #[error("redirects to something that is not an http address")]
    Unreadable,
    /// From `https` to `http`.
    #[error("redirects from https to http, where everybody can read and change the bytes")]
    Downgrade,
    /// An address for the second time.
    #[error("redirects in a circle")]
    Circle,
    /// Too many.
    #[error("redirects more than 10 times")]
    TooMany,
}

impl Location {
    /// Reads an absolute address; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let is_refused = |b: u8| !b.is_ascii_graphic() || b"\\\"<>^`{|}".contains(&b);
        if text.len() > 16_384 || text.bytes().any(is_refused) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        let port = match port {
            None | Some("") => scheme.port(),
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        };
        let (path, query) = split_query(path_and_query);
        let path = if path.is_empty() { "/" } else { path };
        is_host(host).then(|| Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    /// The address of `parts` below this one, each of them escaped.
    pub fn below(&self, parts: &[&str]) -> Self {
        let mut path = self.path.trim_end_matches('/').to_owned();
        for part in parts {
            path.push('/');
            path.push_str(&escape(part));
        }
        Self { path, query: String::new(), ..self.clone() }
    }

    /// Where a redirect from here leads.
    ///
    /// # Errors
    /// [`BadRedirect::Unreadable`], [`BadRedirect::Downgrade`].
    pub fn follow(&self, location: &str) -> Result<Self, BadRedirect> {
        let next = self.resolve(location.trim()).ok_or(BadRedirect::Unreadable)?;
        match (self.scheme, next.scheme) {
            (Scheme::Https, Scheme::Http) => Err(BadRedirect::Downgrade),
            _ => Ok(next),
        }
    }

    fn resolve(&self, location: &str) -> Option<Self> {
        let origin = format!("{}://{}", self.scheme.name(), self.authority());
        let has_scheme = location.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':'));
        if location.is_empty() || location.starts_with('#') {
            None
        } else if has_scheme {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{}:{location}", self.scheme.name()))
        } else if location.starts_with('/') {
            Self::parse(&format!("{origin}{location}"))
        } else if location.starts_with('?') {
            Self::parse(&format!("{origin}{}{location}", self.path))
        } else {
            let folder = &self.path[..=self.path.rfind('/')?];
            Self::parse(&format!("{origin}{folder}{location}"))
        }
    }

    /// Whether both have the same scheme, host and port.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// Whether the address has a query.
    pub fn has_query(&self) -> bool {
        !self.query.is_empty()
    }

    /// The host, and the port where it isn't the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The whole address, for the client alone: messages show it by `Display`, without the query.
    pub fn url(&self) -> String {
        format!("{self}{}", self.query)
    }
}

impl Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.path)
    }
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

fn split_query(path_and_query: &str) -> (&str, &str) {
    path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()))
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let (host, rest) = authority.split_at(authority.find(']')? + 1);
        return if rest.is_empty() {
            Some((host, None))
        } else {
            Some((host, Some(rest.strip_prefix(':')?)))
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A part of a path: what is no letter, digit or one of `-_.~` by its hexadecimal bytes, a slash too.
fn escape(part: &str) -> String {
    let mut out = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_is_none() {
        for (text, expect) in [
            ("https://huggingface.co", Some("https://huggingface.co/")),
            ("HTTP://Host:8080/a?b=c#d", Some("http://host:8080/a?b=c")),
            ("https://host:443/x", Some("https://host/x")),
            ("http://[::1]:80/", Some("http://[::1]/")),
            ("https://user:secret@host/", None),
            ("https://host@evil/", None),
            ("https://host\\@evil/", None),
            ("ftp://host/", None),
            ("file:///etc/passwd", None),
            ("https:///x", None),
            ("https://host:0/", None),
            ("https://host:99999/", None),
            ("https://ho st/", None),
            ("https://host/\r\nX: y", None),
            ("https://호스트/", None),
            ("huggingface.co", None),
        ] {
            assert_eq!(Location::parse(text).map(|l| l.url()).as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn redirects() {
        let check = |from: &str, to: &str, expect: Result<&str, BadRedirect>| {
            let next = Location::parse(from).unwrap().follow(to).map(|l| l.url());
            assert_eq!(next.as_deref(), expect.as_ref().map(|url| *url), "{from} to {to}");
        };
        let file = "https://hub/a/b/resolve/x/f?q";
        check(file, "/api/cache/f", Ok("https://hub/api/cache/f"));
        check(file, "g", Ok("https://hub/a/b/resolve/x/g"));
        check(file, "?z", Ok("https://hub/a/b/resolve/x/f?z"));
        check(file, "//cdn/f?s=1", Ok("https://cdn/f?s=1"));
        check(file, "https://cdn:8443/f", Ok("https://cdn:8443/f"));
        check(file, "http://hub/f", Err(BadRedirect::Downgrade));
        check("http://hub/f", "https://hub/f", Ok("https://hub/f"));
        check("http://hub/f", "http://cdn/f", Ok("http://cdn/f"));
        for bad in ["", "#x", "ftp://cdn/f", "javascript:x", "https://u:p@cdn/", "https://", "/x y"] {
            check(file, bad, Err(BadRedirect::Unreadable));
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = Location::parse("https://hub/").unwrap();
        for (text, expect) in [
            ("https://HUB:443/x?y", true),
            ("http://hub/", false),
            ("http://hub:443/", false),
            ("https://hub:8443/", false),
            ("https://hub.evil/", false),
            ("https://evil-hub/", false),
            ("https://hub./", false),
        ] {
            assert_eq!(hub.is_same_origin(&Location::parse(text).unwrap()), expect, "{text}");
        }
    }

    #[test]
    fn parts_can_not_leave_their_place() {
        let hub = Location::parse("https://mirror/hf/").unwrap();
        let url = hub.below(&["a", "resolve", "refs/pr/1", "모 ?#%.json"]).url();
        assert_eq!(url, "https://mirror/hf/a/resolve/refs%2Fpr%2F1/%EB%AA%A8%20%3F%23%25.json");
    }
}
