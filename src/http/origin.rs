//! Which pages may connect (RFC 6455 section 10.2, RFC 6454).
//!
//! A page can open a WebSocket to any server, with the cookies its reader has there; only the
//! `Origin` field tells the server whose page it is.

use std::str::FromStr;

use crate::http::host::are_both_this_machine;

/// One rule; a connection is admitted if any rule admits it. A request without `Origin` does not
/// come from a browser's page, and is always admitted.
///
/// Parsed from the words of the command line: `self`, `null`, `*`, or an origin such as
/// `https://example.com:8443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRule {
    /// The page's host is the one in `Host`, on any port, by `http` or `https`. `localhost`,
    /// `127.0.0.1` and `[::1]` are one host.
    SameHost,
    /// `self`: scheme, host and port are those of this server.
    SameOrigin,
    /// `null`: sandboxed pages and `file:` pages.
    Null,
    /// Pages of this origin.
    Exactly(Origin),
    /// `*`: everybody.
    Any,
}

/// A scheme, a host and a port, in lower case. The port is always there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl OriginRule {
    /// Whether this rule lets a page of `origin` in, for a request whose `Host` is `host`.
    fn admits(&self, origin: &str, host: &str, secure: bool) -> bool {
        let scheme = if secure { "https" } else { "http" };
        match self {
            OriginRule::Any => true,
            OriginRule::Null => origin == "null" || origin.starts_with("file://"),
            OriginRule::Exactly(rule) => Origin::parse(origin).as_ref() == Some(rule),
            OriginRule::SameOrigin => Origin::parse(origin)
                .is_some_and(|page| Origin::of(scheme, host).as_ref() == Some(&page)),
            OriginRule::SameHost => Origin::parse(origin).is_some_and(|page| {
                Origin::of(scheme, host).is_some_and(|server| server.has_host_of(&page))
            }),
        }
    }
}

/// Whether any rule lets the page in. An origin that is not UTF-8 counts as an empty one.
pub(crate) fn admitted(
    rules: &[OriginRule],
    origin: Option<&[u8]>,
    host: Option<&str>,
    secure: bool,
) -> bool {
    let Some(origin) = origin else { return true };
    let origin = str::from_utf8(origin).unwrap_or_default();
    rules.iter().any(|rule| rule.admits(origin, host.unwrap_or_default(), secure))
}

/// Whether two authorities are the same to a scheme, whose own port may be named or not (RFC 9110
/// section 4.2.3).
pub(super) fn is_same_authority(scheme: &str, one: &str, other: &str) -> bool {
    let one = Origin::of(scheme, one);
    one.is_some() && one == Origin::of(scheme, other)
}

impl Origin {
    /// `scheme://host[:port]`, and nothing behind it.
    fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://")?;
        Origin::of(scheme, authority)
    }

    /// Apps on a phone or a desktop have schemes of their own, and a host in them that means nothing:
    /// `capacitor://localhost`.
    fn has_host_of(&self, page: &Origin) -> bool {
        matches!(page.scheme.as_str(), "http" | "https")
            && (self.host == page.host || are_both_this_machine(&self.host, &page.host))
    }

    fn of(scheme: &str, authority: &str) -> Option<Origin> {
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" | "ws" => 80,
            "https" | "wss" => 443,
            _ => 0,
        };
        let (host, port) = split_port(authority)?;
        let port = if port.is_empty() { default_port } else { parse_port(port)? };
        let of_a_host = |c: char| c.is_ascii_alphanumeric() || "-._~[]:".contains(c);
        let of_a_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        let valid = !host.is_empty()
            && host.chars().all(of_a_host)
            && !scheme.is_empty()
            && scheme.chars().all(of_a_scheme);
        valid.then(|| Origin { scheme, host: host.to_ascii_lowercase(), port })
    }
}

/// Host and port; the colons of an IPv6 address stand in brackets.
pub(super) fn split_port(authority: &str) -> Option<(&str, &str)> {
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket.saturating_add(1));
    let (address, rest) = authority.split_at(host_end);
    if !address.is_empty() {
        return Some((address, if rest.is_empty() { "" } else { rest.strip_prefix(':')? }));
    }
    match rest.split_once(':') {
        None => Some((rest, "")),
        Some((_, port)) if port.contains(':') => None,
        Some(parts) => Some(parts),
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl FromStr for OriginRule {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "self" => Ok(OriginRule::SameOrigin),
            "null" => Ok(OriginRule::Null),
            "*" => Ok(OriginRule::Any),
            _ => Origin::parse(word).map(OriginRule::Exactly).ok_or_else(|| {
                format!(
                    "'{word}' is neither an origin like https://example.com nor self, null or *"
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(rule: &str, origin: &str, host: &str) -> bool {
        let rule = if rule == "host" { OriginRule::SameHost } else { rule.parse().unwrap() };
        admitted(&[rule], Some(origin.as_bytes()), Some(host), false)
    }

    #[test]
    fn the_same_host_on_any_port() {
        assert!(admits("host", "http://example.com", "example.com"));
        assert!(admits("host", "https://EXAMPLE.com:8000", "example.COM:9877"));
        assert!(admits("host", "http://[::1]:8000", "[::1]:80"));
        assert!(admits("host", "http://[::1]", "[::1]"));
        for one in ["localhost", "127.0.0.1", "[::1]"] {
            for other in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"] {
                assert!(admits("host", &format!("http://{one}:5173"), other), "{one} {other}");
            }
            assert!(!admits("host", &format!("http://{one}"), "example.com"));
            assert!(!admits("self", &format!("http://{one}:8080"), "127.0.0.2:8080"));
            for scheme in ["capacitor", "tauri", "file", "ionic", "ws", "chrome-extension"] {
                assert!(!admits("host", &format!("{scheme}://{one}"), one), "{scheme} {one}");
            }
        }
        assert!(!admits("self", "http://localhost:8080", "127.0.0.1:8080"));
        for other in [
            "http://example.com.evil.org",
            "http://evil.org",
            "http://sub.example.com",
            "http://example.comx",
            "http://example.com@evil.org",
            "http://example.com/evil.org",
            "http://evil.org#example.com",
            "null",
            "file://",
            "",
            "example.com",
            "http://",
            "http://example.com:port",
            "://example.com",
            "evil.org/http://example.com",
        ] {
            assert!(!admits("host", other, "example.com"), "{other}");
        }
    }

    #[test]
    fn the_same_origin_counts_default_ports() {
        assert!(admits("self", "http://example.com", "example.com"));
        assert!(admits("self", "http://example.com:80", "example.com"));
        assert!(admits("self", "http://example.com:81", "example.com:81"));
        assert!(!admits("self", "https://example.com", "example.com"));
        assert!(!admits("self", "http://example.com:81", "example.com"));
        let rules = [OriginRule::SameOrigin];
        assert!(admitted(&rules, Some(b"https://a:443"), Some("a"), true));
    }

    #[test]
    fn listed_origins() {
        assert!(admits("https://a.org", "https://A.org:443", "x"));
        assert!(!admits("https://a.org", "http://a.org", "x"));
        assert!(admits("null", "null", "x") && admits("null", "file://", "x"));
        assert!(admits("*", "anything at all", "x"));
        assert!("a.org".parse::<OriginRule>().is_err());
        assert!("https://a.org/path".parse::<OriginRule>().is_err());
    }

    #[test]
    fn no_origin_is_no_browser() {
        assert!(admitted(&[], None, None, false));
        assert!(!admitted(&[], Some(b"null"), None, false));
        assert!(!admitted(&[OriginRule::SameHost], Some(b"\xff"), Some(""), false));
    }
}
