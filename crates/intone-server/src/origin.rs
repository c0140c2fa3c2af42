//! Where web pages come from.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The origin of web pages, as browsers write it (RFC 6454, 6.2), such as `https://example.org` or `http://localhost:5173`.
///
/// Parsed from `scheme://host[:port]`. Browsers write small letters, no slash at the end, and no port that the scheme has by
/// itself; so does this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The text, which is fit for a header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Origin, NoOrigin> {
        normal(&text.to_ascii_lowercase()).map(Origin).ok_or_else(|| NoOrigin(text.to_owned()))
    }
}

/// A text that is no [`Origin`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoOrigin(String);

impl fmt::Display for NoOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoOrigin(text) = self;
        write!(f, "expected scheme://host or scheme://host:port, such as https://example.org, got {text:?}")
    }
}

impl std::error::Error for NoOrigin {}

fn normal(text: &str) -> Option<String> {
    let (scheme, authority) = text.strip_suffix('/').unwrap_or(text).split_once("://")?;
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (authority, None),
    };
    let in_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme) {
        return None;
    }
    let origin = format!("{scheme}://{}", host(name)?);
    match (scheme, port) {
        (_, None) | ("http", Some("80")) | ("https", Some("443")) => Some(origin),
        (_, Some(port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(format!("{origin}:{}", port.parse::<u16>().ok()?))
        }
        _ => None,
    }
}

/// A name, or an address: that of IPv6 in brackets. Names beyond ASCII are written in Punycode.
fn host(name: &str) -> Option<String> {
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(format!("[{}]", address.parse::<Ipv6Addr>().ok()?));
    }
    let in_label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    name.split('.').all(|label| !label.is_empty() && label.bytes().all(in_label)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for (text, expected) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG/", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org:443/", "http://example.org:443"),
            ("http://localhost:05173", "http://localhost:5173"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<Origin>().as_ref().map(Origin::as_str), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "'self'",
            "example.org",
            "https://",
            "https:///",
            "//example.org",
            "://example.org",
            "1https://example.org",
            "https://example.org//",
            "https://example.org/page",
            "https://example.org?",
            "https://*.example.org",
            "https://a..example",
            "https://user@example.org",
            "https://example.org:",
            "https://example.org:+80",
            "https://example.org:65536",
            "https://[::1",
            "https://[example.org]",
            "https://b\u{fc}cher.example",
            "https://a.example https://b.example",
            "https://a.example; script-src *",
            "https://a.example\n",
        ] {
            let message = text.parse::<Origin>().unwrap_err().to_string();
            assert!(message.contains("scheme://host") && message.contains(&format!("{text:?}")), "{message}");
        }
    }
}
