//! Where a socket is: `tcp://HOST:PORT` or `ipc:///PATH`.
//!
//! One text has one meaning: no wildcard host (a consumer connects to the very text that a publisher binds), no
//! relative path, no port by service name.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

/// The most bytes of a Unix socket's path: `sun_path` has 108 on Linux, the last of them NUL (unix(7)).
pub const MAX_IPC_PATH_BYTES: usize = 107;

/// An address that a publisher binds and a consumer connects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// `ipc:///PATH`: a Unix socket on this machine.
    Ipc(IpcEndpoint),
    /// `tcp://HOST:PORT`
    Tcp(TcpEndpoint),
}

/// The absolute path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpcEndpoint(Box<str>);

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpEndpoint {
    host: Host,
    port: u16,
}

/// The host of a [`TcpEndpoint`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A host name (RFC 1123, section 2.1), in lower case.
    Name(HostName),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
}

/// A well-formed host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The host is neither a name, an IPv4 address nor an IPv6 address in brackets.
    #[error("endpoint `{endpoint}`: `{host}` is no host name, IPv4 address or [IPv6 address]")]
    Host {
        /// The whole text.
        endpoint: String,
        /// What stands where the host should.
        host: String,
    },
    /// The path of an `ipc://` endpoint is not absolute, has a NUL, or is too long for a socket.
    #[error("endpoint `{0}`: the path has to be absolute and of 2 to {MAX_IPC_PATH_BYTES} bytes without NUL")]
    IpcPath(String),
    /// There is no `:PORT`, or it is not a number from 0 to 65535.
    #[error("endpoint `{0}` does not end in a port (tcp://HOST:PORT, 1 to 65535)")]
    Port(String),
    /// Neither `tcp://` nor `ipc://`.
    #[error("endpoint `{0}` begins with neither tcp:// nor ipc://")]
    Scheme(String),
    /// `*` as the host: consumers connect to what publishers bind, and nothing can connect to `*`.
    #[error("endpoint `{0}` has the host `*`; name the host that consumers connect to")]
    Wildcard(String),
}

impl Endpoint {
    /// The TCP endpoint, if it is one.
    pub fn tcp(&self) -> Option<&TcpEndpoint> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Ipc(_) => None,
        }
    }
}

impl IpcEndpoint {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        Path::new(&*self.0)
    }
}

impl TcpEndpoint {
    /// From its parts.
    pub fn new(host: Host, port: u16) -> Self {
        Self { host, port }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port; 0 asks the system for a free one, which only a test that looks it up afterwards has a use for.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host at another port: what a socket bound at port 0 was given.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }
}

impl HostName {
    /// The name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix("ipc://") {
            let fits = (2..=MAX_IPC_PATH_BYTES).contains(&path.len());
            if !fits || !path.starts_with('/') || path.contains('\0') {
                return Err(EndpointError::IpcPath(text.to_owned()));
            }
            return Ok(Self::Ipc(IpcEndpoint(path.into())));
        }
        let rest = text.strip_prefix("tcp://").ok_or_else(|| EndpointError::Scheme(text.to_owned()))?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| EndpointError::Port(text.to_owned()))?;
        if host == "*" {
            return Err(EndpointError::Wildcard(text.to_owned()));
        }
        // One spelling a port: no sign and no leading zero, which `u16::from_str` would take.
        let plain = port.bytes().all(|b| b.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
        let port = port.parse().ok().filter(|_| plain).ok_or_else(|| EndpointError::Port(text.to_owned()))?;
        let host = parse_host(host)
            .ok_or_else(|| EndpointError::Host { endpoint: text.to_owned(), host: host.to_owned() })?;
        Ok(Self::Tcp(TcpEndpoint { host, port }))
    }
}

fn parse_host(text: &str) -> Option<Host> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse().ok().map(Host::V6);
    }
    if let Ok(address) = text.parse() {
        return Some(Host::V4(address));
    }
    let label = |label: &str| {
        let edges = !label.starts_with('-') && !label.ends_with('-');
        let bytes = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && edges && bytes
    };
    // A last label of digits only would be an IPv4 address, and a wrong one (RFC 1123, section 2.1).
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let well_formed = text.len() <= 253 && text.split('.').all(label) && !numeric;
    well_formed.then(|| Host::Name(HostName(text.to_ascii_lowercase().into())))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.0),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for TcpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp://{}:{}", self.host, self.port)
    }
}

impl fmt::Display for IpcEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipc://{}", self.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipc(ipc) => ipc.fmt(f),
            Self::Tcp(tcp) => tcp.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endpoints_read_and_write() {
        for (text, written) in [
            ("tcp://127.0.0.1:9940", "tcp://127.0.0.1:9940"),
            ("tcp://Hub.Example.org:1", "tcp://hub.example.org:1"),
            ("tcp://[::1]:65535", "tcp://[::1]:65535"),
            ("tcp://[0:0::1]:0", "tcp://[::1]:0"),
            ("tcp://app_01:80", "tcp://app_01:80"),
            ("ipc:///run/fedmsg.sock", "ipc:///run/fedmsg.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), written, "{text}");
        }
        let bound: Endpoint = "tcp://localhost:0".parse().unwrap();
        assert_eq!(bound.tcp().unwrap().with_port(7).to_string(), "tcp://localhost:7");
    }

    #[test]
    fn what_is_not_an_endpoint_says_why() {
        for (text, expected) in [
            ("", "neither tcp:// nor ipc://"),
            ("TCP://a:1", "neither tcp:// nor ipc://"),
            ("http://a:1", "neither tcp:// nor ipc://"),
            ("tcp://a", "does not end in a port"),
            ("tcp://a:", "does not end in a port"),
            ("tcp://a:65536", "does not end in a port"),
            ("tcp://a:+1", "does not end in a port"),
            ("tcp://a:01", "does not end in a port"),
            ("tcp://*:1", "the host `*`"),
            ("tcp://:1", "`` is no host name"),
            ("tcp://::1:1", "`::1` is no host name"),
            ("tcp://[::1:1", "`[::1` is no host name"),
            ("tcp://[127.0.0.1]:1", "`[127.0.0.1]` is no host name"),
            ("tcp://256.0.0.1:1", "`256.0.0.1` is no host name"),
            ("tcp://a b:1", "`a b` is no host name"),
            ("tcp://-a:1", "`-a` is no host name"),
            ("tcp://a.:1", "`a.` is no host name"),
            ("ipc://", "the path has to be absolute"),
            ("ipc://run/x", "the path has to be absolute"),
            ("ipc:///a\0", "the path has to be absolute"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert!(format!("ipc:///{}", "a".repeat(107)).parse::<Endpoint>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_an_endpoint_or_an_error(text in "(tcp://|ipc://)?[a-zA-Z0-9:./*é\\[\\]-]{0,30}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
            }
        }
    }
}
