//! Which pages may connect, for all five versions, over sockets.

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use crate::serving::*;
use wsloop::{Config, OriginRule, Version};

/// What a rule makes of an origin, for a request that names this host.
type Case = (&'static str, &'static str, bool);

const ADMITTED: bool = true;
const REFUSED: bool = false;

/// Asks for a WebSocket once for each version and case: who is admitted gets a 101 and his echo,
/// who is refused a 403, the end of the stream, and nothing else.
fn check(rules: &[&str], secure: bool, cases: &[Case]) {
    let server = site(config(|config| {
        if !rules.is_empty() {
            config.origins = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        }
        config.secure_proxy = secure;
    }));
    // One that says no origin, so that no rule keeps it out.
    let mut client = Client::connect(server.addr);
    client.send(&upgrade(Version::Rfc6455, "/mirror", "a", None));
    client.read_answer();
    let mut bystander = Bystander(client);
    for version in VERSIONS {
        for (origin, host, admitted) in cases {
            let bytes = upgrade(version, "/mirror", host, Some(origin.as_bytes()));
            if *admitted {
                let mut client = Client::connect(server.addr);
                client.version = version;
                client.send(&bytes);
                let head = client.read_head();
                assert!(head.starts_with("HTTP/1.1 101 "), "{version} {origin} {host}: {head}");
                if version == Version::Hixie76 {
                    assert_eq!(client.read(16), b"8jKS'y:G*Co,Wxa-");
                }
                if version.is_hixie() {
                    // Repeated to the letter, or the browser fails the connection.
                    assert!(head.contains(&format!("WebSocket-Origin: {origin}\r\n")), "{head}");
                    let scheme = if secure { "wss" } else { "ws" };
                    let location = format!("WebSocket-Location: {scheme}://{host}/mirror\r\n");
                    assert!(head.contains(&location), "{head}");
                } else {
                    assert!(!head.contains("Origin"), "{head}");
                }
                client.text("admitted");
                assert_eq!(client.read_text(), "admitted");
            } else {
                let bytes = [&bytes, SMUGGLED.as_bytes()].concat();
                refused(server.addr, &bytes, 403, "pages of this origin may not connect");
            }
        }
    }
    bystander.is_served();
}

#[test]
fn by_default_pages_of_the_same_host() {
    check(
        &[],
        false,
        &[
            ("http://example.com", "example.com", ADMITTED),
            ("https://example.com", "example.com", ADMITTED),
            ("http://example.com:8000", "example.com:9877", ADMITTED),
            ("http://example.com", "example.com:9877", ADMITTED),
            ("http://example.com:80", "example.com", ADMITTED),
            ("HTTP://EXAMPLE.COM", "example.com", ADMITTED),
            ("http://example.com", "EXAMPLE.com:80", ADMITTED),
            ("http://localhost:3000", "localhost:8080", ADMITTED),
            ("http://127.0.0.1:3000", "127.0.0.1:8080", ADMITTED),
            ("http://[::1]:3000", "[::1]:8080", ADMITTED),
            ("http://[::1]", "[::1]", ADMITTED),
            ("http://[2001:DB8::a]", "[2001:db8::A]:81", ADMITTED),
            ("http://xn--bcher-kva.example", "xn--bcher-kva.example", ADMITTED),
            // Only begin alike, or end alike, or hold it somewhere.
            ("http://example.com.evil.org", "example.com", REFUSED),
            ("http://example.comx", "example.com", REFUSED),
            ("http://example.co", "example.com", REFUSED),
            ("http://evilexample.com", "example.com", REFUSED),
            ("http://sub.example.com", "example.com", REFUSED),
            ("http://example.com", "sub.example.com", REFUSED),
            ("http://example.com.", "example.com", REFUSED),
            ("http://example.com@evil.org", "example.com", REFUSED),
            ("http://evil.org@example.com", "example.com", REFUSED),
            ("http://example.com:80@evil.org", "example.com", REFUSED),
            ("http://evil.org/example.com", "example.com", REFUSED),
            ("http://example.com/evil", "example.com", REFUSED),
            ("http://evil.org#example.com", "example.com", REFUSED),
            ("http://evil.org?example.com", "example.com", REFUSED),
            ("http://evil.org\\example.com", "example.com", REFUSED),
            ("http://evil.org://example.com", "example.com", REFUSED),
            ("http://example.com://evil.org", "example.com", REFUSED),
            ("http://evil.org http://example.com", "example.com", REFUSED),
            ("http://example.com http://evil.org", "example.com", REFUSED),
            ("http://example.com, http://evil.org", "example.com", REFUSED),
            ("evil.org/http://example.com", "example.com", REFUSED),
            // This machine, by its usual names; other names may be anybody's.
            ("http://localhost:5173", "127.0.0.1:8080", ADMITTED),
            ("http://127.0.0.1:5173", "localhost:8080", ADMITTED),
            ("http://[::1]", "localhost", ADMITTED),
            ("https://LOCALHOST", "[::1]", ADMITTED),
            ("http://localhost", "127.0.0.2", REFUSED),
            ("http://a.localhost", "localhost", REFUSED),
            ("http://localhost.", "localhost", REFUSED),
            // Apps have schemes of their own, and one host for all of them.
            ("capacitor://localhost", "localhost", REFUSED),
            ("ionic://localhost", "localhost", REFUSED),
            ("tauri://localhost", "localhost", REFUSED),
            ("file://localhost", "localhost", REFUSED),
            ("ws://localhost", "localhost", REFUSED),
            // Not the same address.
            ("http://[::1]", "[::2]", REFUSED),
            ("http://[::1", "[::1]", REFUSED),
            ("http://::1", "[::1]", REFUSED),
            ("http://[::1]x", "[::1]", REFUSED),
            ("http://[::1].evil.org", "[::1]", REFUSED),
            // No origins at all.
            ("null", "example.com", REFUSED),
            ("null", "null", REFUSED),
            ("file://", "example.com", REFUSED),
            ("", "example.com", REFUSED),
            ("http://", "example.com", REFUSED),
            ("http:", "example.com", REFUSED),
            ("://example.com", "example.com", REFUSED),
            ("//example.com", "example.com", REFUSED),
            ("example.com", "example.com", REFUSED),
            ("*", "example.com", REFUSED),
            ("http://*", "example.com", REFUSED),
            ("http://example.com:x", "example.com", REFUSED),
            ("http://example.com:-80", "example.com", REFUSED),
            ("http://example.com:65536", "example.com", REFUSED),
            ("http://example.com:80:80", "example.com", REFUSED),
            ("http://example.com%00.evil.org", "example.com", REFUSED),
            ("http://ex\u{e4}mple.com", "example.com", REFUSED),
            // A host that is none is nobody's.
            ("http://example.com", "example.com:x", REFUSED),
            ("http://example.com", "example.com:80:80", REFUSED),
        ],
    );
}

#[test]
fn an_empty_host_is_nobodys() {
    let server = site(Config::default());
    for version in VERSIONS {
        for origin in ["http://", "http://a", "null", "file://", "://", ""] {
            let bytes = upgrade(version, "/mirror", "", Some(origin.as_bytes()));
            refused(server.addr, &bytes, 403, "may not connect");
        }
    }
}

#[test]
fn self_wants_scheme_and_port_too() {
    check(
        &["self"],
        false,
        &[
            ("http://example.com", "example.com", ADMITTED),
            ("http://example.com:80", "example.com", ADMITTED),
            ("http://example.com", "example.com:80", ADMITTED),
            ("http://example.com:", "example.com", ADMITTED),
            ("HTTP://Example.COM:8080", "example.com:8080", ADMITTED),
            ("http://[::1]:80", "[::1]", ADMITTED),
            ("http://[::1]:81", "[::1]:81", ADMITTED),
            ("https://example.com", "example.com", REFUSED),
            ("https://example.com", "example.com:443", REFUSED),
            ("ws://example.com", "example.com", REFUSED),
            ("http://example.com:81", "example.com", REFUSED),
            ("http://example.com", "example.com:81", REFUSED),
            ("http://example.com:808", "example.com:8080", REFUSED),
            ("http://example.com.evil.org", "example.com", REFUSED),
            ("http://[::1]", "[::1]:81", REFUSED),
            ("null", "example.com", REFUSED),
        ],
    );
    check(
        &["self"],
        true,
        &[
            ("https://example.com", "example.com", ADMITTED),
            ("https://example.com:443", "example.com", ADMITTED),
            ("https://example.com", "example.com:443", ADMITTED),
            ("http://example.com", "example.com", REFUSED),
            ("http://example.com:443", "example.com:443", REFUSED),
            ("https://example.com:80", "example.com", REFUSED),
        ],
    );
}

#[test]
fn a_list_admits_whom_it_names() {
    check(
        &["https://a.org", "http://b.org:8080", "http://[::1]:3000"],
        false,
        &[
            ("https://a.org", "example.com", ADMITTED),
            ("https://A.ORG:443", "example.com", ADMITTED),
            ("http://b.org:8080", "example.com", ADMITTED),
            ("http://[::1]:3000", "example.com", ADMITTED),
            ("http://a.org", "example.com", REFUSED),
            ("https://a.org:444", "example.com", REFUSED),
            ("https://a.org.evil.org", "example.com", REFUSED),
            ("https://sub.a.org", "example.com", REFUSED),
            ("https://a.orgx", "example.com", REFUSED),
            ("https://a.org/", "example.com", REFUSED),
            ("http://b.org", "example.com", REFUSED),
            ("http://[::1]:3001", "example.com", REFUSED),
            // The list takes the place of the default.
            ("http://example.com", "example.com", REFUSED),
            ("null", "example.com", REFUSED),
        ],
    );
    check(
        &["self", "null", "https://a.org"],
        false,
        &[
            ("http://example.com", "example.com", ADMITTED),
            ("null", "example.com", ADMITTED),
            ("https://a.org", "example.com", ADMITTED),
            ("https://example.com", "example.com", REFUSED),
        ],
    );
}

#[test]
fn null_admits_pages_without_a_host() {
    check(
        &["null"],
        false,
        &[
            ("null", "example.com", ADMITTED),
            ("file://", "example.com", ADMITTED),
            ("file:///home/a/page.html", "example.com", ADMITTED),
            ("NULL", "example.com", REFUSED),
            ("nullx", "example.com", REFUSED),
            ("null, http://a", "example.com", REFUSED),
            ("http://null", "example.com", REFUSED),
            ("file:", "example.com", REFUSED),
            ("http://example.com", "example.com", REFUSED),
        ],
    );
}

#[test]
fn a_star_admits_everybody() {
    let cases =
        ["http://evil.org", "null", "file://", "*", "anything at all", "http://a, http://b"];
    check(&["*"], false, &cases.map(|origin| (origin, "example.com", ADMITTED)));
}

/// Who says no origin is no browser, and is admitted whatever the rules; but Hixie-75 cannot be
/// told from plain HTTP without it.
#[test]
fn no_origin_is_no_browser() {
    for rules in [vec![], vec![OriginRule::SameHost], vec![OriginRule::Null]] {
        let server = site(config(|config| config.origins = rules));
        for version in VERSIONS {
            let bytes = upgrade(version, "/mirror", "example.com", None);
            if version == Version::Hixie75 {
                refused(server.addr, &bytes, 400, "Sec-WebSocket-Version");
            } else {
                let answer = ask(server.addr, &bytes);
                assert_eq!(answer.status, 101, "{version}");
                assert_eq!(answer.field("Sec-WebSocket-Origin"), None, "{version}");
            }
        }
    }
}

/// HyBi-07 and -08 renamed the field. A client that sends both is judged by that of its version;
/// the other versions do not know the new name.
#[test]
fn the_field_of_the_version_counts() {
    let server = site(Config::default());
    for version in VERSIONS {
        let with = |fields: &str| {
            let plain = upgrade(version, "/mirror", "a", None);
            let end = plain.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 2;
            [&plain[..end], fields.as_bytes(), &plain[end..]].concat()
        };
        let (good, evil) = ("http://a", "http://evil.org");
        let drafts = matches!(version, Version::Hybi07 | Version::Hybi08);
        let both = with(&format!("Sec-WebSocket-Origin: {evil}\r\nOrigin: {good}\r\n"));
        let other = with(&format!("Sec-WebSocket-Origin: {good}\r\nOrigin: {evil}\r\n"));
        let plain = with(&format!("Origin: {evil}\r\n"));
        match version {
            // It knows no field of that name at all.
            Version::Hixie75 => {
                refused(server.addr, &both, 400, "Sec-WebSocket-Version");
                refused(server.addr, &other, 400, "Sec-WebSocket-Version");
            }
            _ if drafts => {
                refused(server.addr, &both, 403, "may not connect");
                assert_eq!(ask(server.addr, &other).status, 101, "{version}");
            }
            _ => {
                assert_eq!(ask(server.addr, &both).status, 101, "{version}");
                refused(server.addr, &other, 403, "may not connect");
            }
        }
        // Absent, the drafts fall back to the plain name.
        refused(server.addr, &plain, 403, "may not connect");
    }
}

/// The page cannot be read off the request by who keeps the log alone: the line names it, escaped,
/// and the connection.
#[test]
fn the_log_names_the_origin() {
    for version in VERSIONS {
        // One program for each: in a second no more than ten such lines are written.
        let program = Program::start(&["--quiet", "--host", "*"]);
        for (origin, shown) in [
            (&b"http://evil.org:81"[..], "http://evil.org:81"),
            (b"null", "null"),
            (b"file://", "file://"),
            (b"http://a\"b'c\\d", r#"http://a\"b\'c\\d"#),
            (b"http://\xff\x9b\xe2\x80\xae\tx", r"http://\xff\x9b\xe2\x80\xae\tx"),
        ] {
            let bytes = upgrade(version, "/mirror", "a", Some(origin));
            refused(program.addr(), &bytes, 403, "may not connect");
            let line = program.logged("");
            let words = format!(" refused: pages of {shown} may not connect");
            assert!(line.ends_with(&words) && line.contains("WARN"), "{line:?}");
        }
    }
    // As told on the command line.
    let program = Program::start(&["--origin", "https://a.org", "--origin", "null", "--host", "*"]);
    for version in VERSIONS {
        for (origin, status) in [("https://a.org", 101), ("null", 101), ("http://a", 403)] {
            let bytes = upgrade(version, "/mirror", "a", Some(origin.as_bytes()));
            assert_eq!(ask(program.addr(), &bytes).status, status, "{version} {origin}");
        }
    }
}

/// Behind a proxy only it knows whether the page came by TLS, and it is believed if it is trusted.
#[test]
fn the_scheme_that_the_proxy_tells() {
    for trusted in [true, false] {
        let server = site(config(|config| {
            config.trust_proxy = trusted;
            config.origins = vec![OriginRule::SameOrigin];
        }));
        for (told, is_tls) in [
            ("X-Forwarded-Proto: https\r\n", true),
            ("X-Forwarded-Proto: http\r\n", false),
            ("", false),
            ("X-Forwarded-Proto: HTTPS\r\n", true),
            ("X-Forwarded-Proto: wss\r\n", true),
            ("X-Forwarded-Proto: Wss\r\n", true),
            ("X-Forwarded-Proto: ws\r\n", false),
            // Of several proxies the first is the one that the client spoke to.
            ("X-Forwarded-Proto: https, http\r\n", true),
            ("X-Forwarded-Proto: https ,http,http\r\n", true),
            ("X-Forwarded-Proto: http, https\r\n", false),
            ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", true),
            ("X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https\r\n", false),
            ("X-Forwarded-Proto: , https\r\n", false),
            ("X-Forwarded-Proto: httpss\r\n", false),
            ("X-Forwarded-Proto:\r\n", false),
        ] {
            let secure = trusted && is_tls;
            for version in VERSIONS {
                for (origin, admitted) in
                    [("https://example.com", secure), ("http://example.com", !secure)]
                {
                    let origin = Some(origin.as_bytes());
                    let bytes = request_from(version, "/mirror", "example.com", origin, told);
                    let answer = ask(server.addr, &bytes);
                    let expected = if admitted { 101 } else { 403 };
                    assert_eq!(answer.status, expected, "{version} {trusted} {told} {origin:?}");
                    if admitted && version.is_hixie() {
                        let scheme = if secure { "wss" } else { "ws" };
                        let location = format!("-Location: {scheme}://example.com/mirror\r\n");
                        assert!(answer.head.contains(&location), "{told} {}", answer.head);
                    }
                }
            }
        }
    }
}
