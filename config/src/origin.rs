//! Origins of pages, as browsers send them (RFC 6454, as the URL standard writes hosts): in lower case, without the default
//! port, without a path. They are compared byte by byte, so another spelling would let no page read.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::section::{Given, Section};
use stitch_common::user_error::UserError;

impl Section<'_> {
    /// Origins, or `*`.
    pub(super) fn origins(&mut self, key: &str) -> Result<Vec<String>, UserError> {
        let Some(given) = self.strings(key)? else {
            return Ok(Vec::new());
        };
        let origin = |entry: Given<'_, String>| {
            let text = entry.value;
            if text == "*" {
                return Ok(text);
            }
            match origin_sent(&text) {
                Some(sent) if sent == text => Ok(text),
                Some(sent) => {
                    let what = format!(" has an entry that no browser sends: \"{text}\"");
                    let help = format!("write it as browsers send it: \"{sent}\"");
                    Err(self.wrong(key, entry.source, &what, help))
                }
                None => {
                    let help = "write it like cors_origins = [\"https://example.org\"], without a path, and a name with \
                                other letters as browsers send it (xn--…); [\"*\"] lets every page read";
                    Err(self.wrong(key, entry.source, " has an entry that is no origin", help))
                }
            }
        };
        given.value.into_iter().map(origin).collect()
    }
}

/// What a browser sends for a page of this address; `None` if it is none.
#[must_use]
pub fn origin_sent(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host = host_sent(host)?;
    let port = match port {
        None | Some("") => default_port,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse::<u16>().ok().filter(|port| *port > 0)?
        }
        Some(_) => return None,
    };
    if port == default_port {
        Some(format!("{scheme}://{host}"))
    } else {
        Some(format!("{scheme}://{host}:{port}"))
    }
}

fn host_sent(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(format!("[{}]", without_dots(address)));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| !label.is_empty() && label.chars().all(plain);
    if !name.split('.').all(is_label) {
        return None;
    }
    // What ends in a number is an IPv4 address to browsers; they take more spellings than this one.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X");
        if numeric {
            return name
                .parse::<Ipv4Addr>()
                .ok()
                .map(|address| address.to_string());
        }
    }
    Some(host.to_ascii_lowercase())
}

/// Browsers write an IPv4 address within an IPv6 address in hexadecimal, too.
fn without_dots(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("::ffff:{high:x}:{low:x}"),
        (None, _) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_only_as_browsers_send_it() {
        for right in [
            "https://example.org",
            "http://localhost:8080",
            "http://127.0.0.1",
            "https://a.example:80",
            "http://a.example:443",
            "http://[::1]:3000",
            "https://[2001:db8::1]",
            "https://[::ffff:102:304]",
            "https://xn--bcher-kva.example",
            "https://my_host.example",
            "https://a.example.",
            "https://1a.example",
            "https://a.1b",
        ] {
            assert_eq!(origin_sent(right).as_deref(), Some(right));
        }
        for (written, right) in [
            ("HTTPS://Example.org", "https://example.org"),
            ("https://Example.org", "https://example.org"),
            ("https://a.example:443", "https://a.example"),
            ("http://a.example:80", "http://a.example"),
            ("https://a.example:", "https://a.example"),
            ("https://a.example:0443", "https://a.example"),
            ("https://a.example:08443", "https://a.example:8443"),
            ("https://a.example/", "https://a.example"),
            ("https://a.example/page?x#y", "https://a.example"),
            ("https://[::0001]", "https://[::1]"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
            ("https://[::ffff:1.2.3.4]:443", "https://[::ffff:102:304]"),
        ] {
            assert_eq!(origin_sent(written).as_deref(), Some(right), "{written}");
        }
        for none in [
            "",
            "null",
            "example.org",
            "https:/example.org",
            "https://",
            "https://:443",
            "ftp://example.org",
            "https://b\u{fc}cher.example",
            "https://user@example.org",
            "https://*.example.org",
            "https://a..example",
            "https://a b.example",
            "https://a.example:x",
            "https://a.example:65536",
            "https://a.example:+443",
            "https://a.example, https://b.example",
            "https://[::1",
            "https://::1",
            "https://[fe80::1%25eth0]",
            "https://1.2.3",
            "https://01.2.3.4",
            "https://0x7f000001",
            " https://a.example",
        ] {
            assert_eq!(origin_sent(none), None, "{none}");
        }
    }
}
