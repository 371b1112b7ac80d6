//! Addresses as people write them: where to listen, and which server to ask.

use crate::text::shown::{shown, shown_path};
use std::path::PathBuf;
use std::str::FromStr;

/// Port in the examples of messages.
const PORT: u16 = 50051;

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A host alone.
    #[error("`{text}` has no port; write {text}:{PORT}", text = shown(.0))]
    NoPort(String),
    /// A port alone.
    #[error(
        "`{text}` has no host; write localhost{text}, or 0.0.0.0{text} for every interface",
        text = shown(.0)
    )]
    NoHost(String),
    /// Not a port's number.
    #[error("`{text}` is not a port; write a number up to 65535", text = shown(.0))]
    Port(String),
    /// Port 0 of a server to ask.
    #[error("port 0 is only for --listen; write the port that the server logs")]
    PortZero,
    /// Colons that could be an address's or the port's.
    #[error(
        "`{text}` is ambiguous; write an IPv6 address in brackets, such as [::1]:{PORT}",
        text = shown(.0)
    )]
    Brackets(String),
    /// Something that no host has.
    #[error(
        "`{text}` is not a host; write a name, an IPv4 address or an IPv6 address in brackets",
        text = shown(.0)
    )]
    Host(String),
    /// A path behind host and port.
    #[error("`{text}` has a path behind the port; leave it out", text = shown(.0))]
    Path(String),
    /// A Unix socket without its path.
    #[error("`unix:` names no socket; write unix:/run/ko-sentiment.sock")]
    NoSocket,
    /// Another gRPC name resolver's.
    #[error(
        "`{text}` is not supported; write HOST:PORT, http://HOST:PORT, https://HOST:PORT, dns:///HOST:PORT or unix:/PATH",
        text = shown(.0)
    )]
    Scheme(String),
    /// A URL where a server is to listen.
    #[error(
        "`{text}` is not an address to listen on; write HOST:PORT, unix:/PATH or systemd",
        text = shown(.0)
    )]
    Listen(String),
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// All addresses of a host, and a port; 0 for a free one.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
    /// The sockets that systemd passes on (`LISTEN_FDS`).
    Systemd,
}

impl FromStr for Listen {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text == "systemd" {
            return Ok(Self::Systemd);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(socket(path)?));
        }
        if text.contains("://") {
            return Err(AddressError::Listen(text.to_owned()));
        }
        let (host, port) = host_and_port(text)?;
        Ok(Self::Tcp(host, port))
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", shown_path(path)),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

/// A server to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Host and port.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
        /// What the scheme says: `https` or `http`, if either.
        tls: Option<bool>,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(socket(path)?));
        }
        let unknown = || AddressError::Scheme(text.to_owned());
        let (rest, tls) = match text.split_once("://") {
            Some(("http", rest)) => (rest, Some(false)),
            Some(("https", rest)) => (rest, Some(true)),
            // Another authority would name a DNS server.
            Some(("dns", rest)) => (rest.strip_prefix('/').ok_or_else(unknown)?, None),
            Some(_) => return Err(unknown()),
            None => (text.strip_prefix("dns:").unwrap_or(text), None),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(AddressError::Path(text.to_owned()));
        }
        let (host, port) = host_and_port(rest)?;
        if port == 0 {
            return Err(AddressError::PortZero);
        }
        Ok(Self::Tcp { host, port, tls })
    }
}

/// The path after `unix:`, also as `unix:///path`.
fn socket(path: &str) -> Result<PathBuf, AddressError> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() { Err(AddressError::NoSocket) } else { Ok(path.into()) }
}

fn host_and_port(text: &str) -> Result<(String, u16), AddressError> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(AddressError::Brackets(text.to_owned()));
    }
    let no_port = || AddressError::NoPort(text.to_owned());
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| AddressError::Host(text.to_owned()))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(AddressError::Host(text.to_owned()));
            }
            (host, rest.strip_prefix(':').ok_or_else(no_port)?)
        }
        None => text.rsplit_once(':').ok_or_else(no_port)?,
    };
    if host.is_empty() {
        return Err(AddressError::NoHost(text.to_owned()));
    }
    if !text.starts_with('[') && host.contains(':') {
        return Err(AddressError::Brackets(text.to_owned()));
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@[]\\".contains(c);
    if host.contains(odd) {
        return Err(AddressError::Host(text.to_owned()));
    }
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let number = port.parse().ok().filter(|_| digits).ok_or_else(|| AddressError::Port(port.to_owned()))?;
    Ok((host.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_other_clients_name_them() {
        let tcp = |host: &str, tls| Ok(Target::Tcp { host: host.into(), port: 50051, tls });
        let check = |text: &str, expect| assert_eq!(text.parse::<Target>(), expect, "{text}");
        check("localhost:50051", tcp("localhost", None));
        check("127.0.0.1:50051", tcp("127.0.0.1", None));
        check("[::1]:50051", tcp("::1", None));
        check("http://localhost:50051", tcp("localhost", Some(false)));
        check("https://localhost:50051/", tcp("localhost", Some(true)));
        check("dns:///localhost:50051", tcp("localhost", None));
        check("dns:localhost:50051", tcp("localhost", None));
        check("unix:/run/a.sock", Ok(Target::Unix("/run/a.sock".into())));
        check("unix:///run/a.sock", Ok(Target::Unix("/run/a.sock".into())));
        check("unix:a.sock", Ok(Target::Unix("a.sock".into())));
    }

    #[test]
    fn what_to_write_instead_is_said() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error:?} does not say {expect:?}");
        };
        check("localhost", "write localhost:50051");
        check("https://localhost", "write localhost:50051");
        check("[::1]", "write [::1]:50051");
        check("::1", "in brackets");
        check("::1:50051", "in brackets");
        check(":50051", "write localhost:50051");
        check("localhost:http", "`http` is not a port");
        check("localhost:65536", "`65536` is not a port");
        check("localhost:+1", "`+1` is not a port");
        check("localhost:0", "only for --listen");
        check("dns://8.8.8.8/localhost:50051", "dns:///HOST:PORT");
        check("xds:///sentiment", "is not supported");
        check("localhost:50051/path", "path");
        check("unix:", "unix:/run/");
        check("", "no port");
        check("a b:1", "not a host");
    }

    #[test]
    fn places_to_listen_are_read_and_written() {
        let check = |text: &str| assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        check("localhost:0");
        check("0.0.0.0:50051");
        check("[::]:50051");
        check("unix:/run/a.sock");
        check("systemd");
        assert!("https://localhost:1".parse::<Listen>().is_err());
        assert!("localhost".parse::<Listen>().is_err());
    }
}
