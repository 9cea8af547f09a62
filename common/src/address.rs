//! Addresses of servers: parsed once, so that what is checked is what is used.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::plain_number::plain_number;

/// `host:port` of one server; an IPv6 address is in brackets, as in `[::1]:2181`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    /// An IPv4 address, or a name, in lower case.
    Name(String),
    V6(Ipv6Addr),
}

/// The addresses of one or more servers, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Vec<Address>);

/// Why a text is no address, or no list of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is none at all, or nothing between two commas.
    #[error("has an empty address")]
    Empty,
    #[error("has no port: \"{0}\"")]
    NoPort(String),
    #[error("has a port that is not within 1 and 65535: \"{0}\"")]
    Port(String),
    #[error("has an IPv6 address without brackets: \"{0}\"")]
    Brackets(String),
    #[error("has a host that is neither a name nor an IP address: \"{0}\"")]
    Host(String),
    #[error("names {0} twice")]
    Twice(Address),
}

impl FromStr for Address {
    type Err = AddressError;

    /// Blanks and line ends around it are no part of it.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        // What precedes an @ may be a password.
        let shown = || text.rsplit('@').next().unwrap_or_default().to_owned();
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| AddressError::NoPort(shown()))?;
        let host = host_of(host).map_err(|wrong| wrong(shown()))?;
        let port = port_of(port).ok_or_else(|| AddressError::Port(shown()))?;
        Ok(Self { host, port })
    }
}

/// Digits without a sign or leading zeros.
fn port_of(text: &str) -> Option<u16> {
    plain_number(text).filter(|port| *port > 0)
}

fn host_of(text: &str) -> Result<Host, fn(String) -> AddressError> {
    if let Some(inner) = text.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse().ok());
        return address.map(Host::V6).ok_or(AddressError::Host);
    }
    if text.contains(':') && !text.contains('/') {
        return Err(AddressError::Brackets);
    }
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.len() <= 63 && label.chars().all(plain)
    };
    // A dot at the end means that the name is complete.
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(AddressError::Host);
    }
    // Whatever ends in a number is an IPv4 address, or a mistake.
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && name.parse::<std::net::Ipv4Addr>().is_err() {
        return Err(AddressError::Host);
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

impl Address {
    /// The name or the IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            Host::Name(name) => name.clone(),
            Host::V6(address) => address.to_string(),
        }
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

impl Addresses {
    /// These servers.
    ///
    /// # Errors
    /// There are none, or one is named twice.
    pub fn new(addresses: Vec<Address>) -> Result<Self, AddressError> {
        if addresses.is_empty() {
            return Err(AddressError::Empty);
        }
        for (at, address) in addresses.iter().enumerate() {
            if addresses[..at].contains(address) {
                return Err(AddressError::Twice(address.clone()));
            }
        }
        Ok(Self(addresses))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        self.0.iter()
    }
}

impl FromStr for Addresses {
    type Err = AddressError;

    /// `host:port,host:port`, with or without blanks after the commas.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::new(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        let host = match address.ip() {
            std::net::IpAddr::V4(ip) => Host::Name(ip.to_string()),
            std::net::IpAddr::V6(ip) => Host::V6(ip),
        };
        let port = address.port();
        Self { host, port }
    }
}

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self(vec![address])
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            let separator = if at > 0 { "," } else { "" };
            write!(f, "{separator}{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_means_the_same_however_it_is_written() {
        for (text, meant) in [
            ("a:2181,b:2181", "a:2181,b:2181"),
            ("a:2181, b:2181", "a:2181,b:2181"),
            (" a:2181 ,\tb:2181\n", "a:2181,b:2181"),
            ("Zk-1.Example.ORG.:2181", "zk-1.example.org.:2181"),
            ("[::1]:2181,127.0.0.1:1", "[::1]:2181,127.0.0.1:1"),
            ("[0:0::1]:9042,my_node:9042", "[::1]:9042,my_node:9042"),
        ] {
            let parsed: Addresses = text.parse().unwrap();
            assert_eq!(parsed.to_string(), meant);
            assert_eq!(meant.parse(), Ok(parsed));
        }
    }

    #[test]
    fn what_no_client_could_use_is_refused() {
        for (text, reason) in [
            ("", "empty"),
            (" ", "empty"),
            ("a:1,", "empty"),
            ("a:1,,b:1", "empty"),
            ("a", "no port"),
            ("a:", "port that"),
            ("a:0", "port that"),
            ("a:+1", "port that"),
            ("a:01", "port that"),
            ("a:65536", "port that"),
            ("a: 1", "port that"),
            ("::1:2181", "brackets"),
            ("[::1:2181", "host that"),
            ("[a]:2181", "host that"),
            (":1", "host that"),
            ("a b:1", "host that"),
            ("a/x:1", "host that"),
            ("tcp://a:1", "host that"),
            ("a:2181/x", "port that"),
            ("a..b:1", "host that"),
            ("ä:1", "host that"),
            ("a\u{200b}:1", "host that"),
            ("127.0.0.01:1", "host that"),
            ("1.2.3:1", "host that"),
            ("a:1,A:1", "a:1 twice"),
            ("[::1]:1,[0::1]:1", "[::1]:1 twice"),
        ] {
            let error = text.parse::<Addresses>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        let error = "me:hunter2@a b:1".parse::<Address>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
