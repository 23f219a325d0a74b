//! Which hosts a server answers for (RFC 9110 section 7.4).
//!
//! An attacker's name may point at this machine (DNS rebinding). To the browser his page then has the
//! same origin as this server, whose answers it may read; only `Host` still tells the name.

use std::net::IpAddr;

use crate::http::origin::split_port;

/// Whether a `Host` field names one of these, on any port: a host as in a URL; `*.example.com`, which
/// is every name below that; or `*`, which is all.
pub(crate) fn is_one_of(names: &[String], host: &str) -> bool {
    let host = split_port(host).map_or("", |(host, _)| host);
    names.iter().any(|name| match name.strip_prefix('*') {
        Some("") => true,
        Some(domain) => is_below(host, domain),
        None => host.eq_ignore_ascii_case(name),
    })
}

/// Whether a `Host` field names this machine in a way that no resolver is asked about: `localhost`,
/// what is below it (RFC 6761 section 6.3), or a loopback address.
pub(crate) fn is_local(host: &str) -> bool {
    let Some((host, _)) = split_port(host) else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let addr: Option<IpAddr> = bracketed.unwrap_or(host).parse().ok();
    match addr {
        Some(addr) => addr.to_canonical().is_loopback() && (addr.is_ipv6() == bracketed.is_some()),
        None => host.eq_ignore_ascii_case("localhost") || is_below(host, ".localhost"),
    }
}

/// Whether two hosts are this machine by its usual names, which a browser tells apart.
pub(super) fn are_both_this_machine(one: &str, other: &str) -> bool {
    let is_usual = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    is_usual(one) && is_usual(other)
}

/// Whether a name ends in a dot and this domain.
fn is_below(host: &str, domain: &str) -> bool {
    let end = host.len().checked_sub(domain.len()).and_then(|start| host.get(start..));
    host.len() > domain.len() && end.is_some_and(|end| end.eq_ignore_ascii_case(domain))
}

/// Whether this may be asked for: a host without scheme, port and path.
pub(crate) fn is_pattern(name: &str) -> bool {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:".contains(&byte);
    let alone = split_port(host).is_some_and(|(alone, _)| alone == host && !alone.is_empty());
    name == "*" || (alone && host.bytes().all(of_a_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_names_that_nobody_else_gives() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "app.localhost",
            "a.b.localhost:1",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "xlocalhost",
            ".localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1x",
            "128.0.0.1",
            "0.0.0.0",
            "192.168.1.1",
            "[::2]",
            "[::]",
            "::1",
            "[127.0.0.1]",
            "[::1]x",
            "2130706433",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn names_are_taken_on_any_port() {
        let names = ["Example.com", "*.example.org", "[2001:db8::1]"].map(str::to_string);
        for host in ["example.com", "EXAMPLE.com:8080", "a.b.example.org", "[2001:DB8::1]:1"] {
            assert!(is_one_of(&names, host), "{host}");
        }
        for host in
            ["a.example.com", "example.org", "xexample.org", ".example.org", "localhost", ""]
        {
            assert!(!is_one_of(&names, host), "{host}");
        }
        let all = ["*".to_string()];
        assert!(is_one_of(&all, "anything") && is_one_of(&all, "a:b:c"));
        assert!(!is_one_of(&[], "example.com"));
    }

    #[test]
    fn what_may_be_asked_for() {
        for name in ["example.com", "*.example.com", "*", "localhost", "127.0.0.1", "[::1]"] {
            assert!(is_pattern(name), "{name}");
        }
        for name in ["", "a:80", "http://a", "a/b", "*.", "**", "a.*", "::1", "a b", "b\u{fc}cher"]
        {
            assert!(!is_pattern(name), "{name}");
        }
    }
}
