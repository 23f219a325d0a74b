//! Request heads made to be misread: by a proxy in front differently than by us, by the next reader
//! of an answer, or for so long that nobody else is served. Each has one clear answer.

use std::time::Duration;

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::serving::*;
use wsloop::{Config, Version};

/// Far beyond the patience of a test: what is answered is not answered by this deadline.
const NEVER: Duration = Duration::from_secs(3600);

fn patient() -> Config {
    config(|config| config.handshake_timeout = NEVER)
}

/// Heads that are refused for these words. A request lies behind each, to be smuggled.
fn all_refused(heads: &[(&str, u16, &str)]) {
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    for (head, status, words) in heads {
        refused(server.addr, format!("{head}{SMUGGLED}").as_bytes(), *status, words);
    }
    bystander.is_served();
}

#[test]
fn lines_that_end_in_another_way() {
    all_refused(&[
        ("GET / HTTP/1.1\nHost: a\n\n", 400, "bare LF"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare LF"),
        ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "bare LF"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n", 400, "bare LF"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare LF"),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, "malformed"),
        // Folded lines, of old (RFC 9112 section 5.2).
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 5\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", 400, "malformed"),
    ]);
}

#[test]
fn names_that_are_none() {
    all_refused(&[
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer Encoding: chunked\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\x0b: b\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-\u{130}: b\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\"X\": b\r\n\r\n", 400, "malformed"),
    ]);
}

#[test]
fn control_bytes_in_a_value() {
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    for byte in (0..0x20).chain([0x7f]).filter(|&byte| byte != b'\t') {
        let words = if byte == b'\n' { "bare LF" } else { "malformed" };
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX: b", &[byte][..], b"c\r\n\r\n"].concat();
        refused(server.addr, &[&head, SMUGGLED.as_bytes()].concat(), 400, words);
    }
    // Bytes above those are data (RFC 9110 section 5.5), whatever the field.
    for name in ["X", "Cookie", "Accept", "Origin", "If-None-Match", "Range", "Connection"] {
        let head = format!("GET /page HTTP/1.1\r\nHost: a\r\n{name}: ");
        let head = [head.as_bytes(), b"\x80\xff\xc3\x28\r\n\r\n"].concat();
        assert_eq!(ask(server.addr, &head).text(), "0123456789", "{name}");
    }
    bystander.is_served();
}

#[test]
fn hosts() {
    let head = |host: &str| format!("GET / HTTP/1.1\r\n{host}X: y\r\n\r\n");
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    for (host, words) in [
        ("", "no Host"),
        ("Host: a\r\nHost: a\r\n", "more than one Host"),
        ("Host: a\r\nHOST: b\r\n", "more than one Host"),
        ("Host: a b\r\n", "malformed Host"),
        ("Host: a/b\r\n", "malformed Host"),
        ("Host: a\\b\r\n", "malformed Host"),
        ("Host: a?b\r\n", "malformed Host"),
        ("Host: a#b\r\n", "malformed Host"),
        ("Host: user@a\r\n", "malformed Host"),
        ("Host: a<b>\r\n", "malformed Host"),
        ("Host: \"a\"\r\n", "malformed Host"),
        ("Host: a\u{e9}\r\n", "malformed Host"),
        ("Host: {\r\n", "malformed Host"),
    ] {
        refused(server.addr, format!("{}{SMUGGLED}", head(host)).as_bytes(), 400, words);
    }
    for host in ["a", "A.B:80", "[::1]:8080", "127.0.0.1", "a_b", "a%20b"] {
        let bytes = head(&format!("Host: {host}\r\n"));
        assert_eq!(ask(server.addr, bytes.as_bytes()).text(), "front", "{host}");
    }
    bystander.is_served();
}

#[test]
fn bodies_and_their_lengths() {
    let length =
        |value: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\n");
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    for value in ["", "+5", "-5", "-0", "5,5", "5, 5", "5 5", "0x5", "5.", "1e1", "1_0", "\u{665}"]
    {
        let bytes = format!("{}{SMUGGLED}", length(value));
        refused(server.addr, bytes.as_bytes(), 400, "malformed Content-Length");
    }
    // A body is not read, so nothing behind it can be told from it: the connection ends.
    for value in
        ["1", "5", "0000000000000000000000005", "18446744073709551616", "9".repeat(99).as_str()]
    {
        let bytes = format!("{}{SMUGGLED}", length(value));
        refused(server.addr, bytes.as_bytes(), 413, "bodies are not taken");
    }
    for value in ["0", "000"] {
        assert_eq!(ask(server.addr, length(value).as_bytes()).text(), "front");
    }
    for (fields, words) in [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "more than one Content-Length"),
        ("Content-Length: 0\r\ncontent-length: 46\r\n", "more than one Content-Length"),
        ("Transfer-Encoding: chunked\r\n", "bodies are not taken"),
        ("Transfer-Encoding: identity\r\n", "bodies are not taken"),
        ("Transfer-Encoding:\r\n", "bodies are not taken"),
        ("Transfer-Encoding: xchunked\r\n", "bodies are not taken"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "bodies are not taken"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "bodies are not taken"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "bodies are not taken"),
    ] {
        for line in ["GET / HTTP/1.1", "POST / HTTP/1.1", "GET / HTTP/1.0"] {
            let bytes = format!("{line}\r\nHost: a\r\n{fields}\r\n0\r\n\r\n{SMUGGLED}");
            refused(server.addr, bytes.as_bytes(), 400, words);
        }
    }
    bystander.is_served();
}

#[test]
fn bodies_on_an_upgrade() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        for (fields, words) in [
            ("Content-Length: 46\r\n", "has no body"),
            ("Content-Length: 1\r\n", "has no body"),
            ("Content-Length: +0\r\n", "malformed Content-Length"),
            ("Content-Length: 0\r\nContent-Length: 0\r\n", "more than one Content-Length"),
            ("Transfer-Encoding: chunked\r\n", "bodies are not taken"),
            ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "bodies are not taken"),
        ] {
            let bytes = [request(version, "/mirror", fields), SMUGGLED.into()].concat();
            refused(server.addr, &bytes, 400, words);
        }
        // The bytes behind a Hixie-76 head are eight, and some proxies want to be told.
        let eight = request(version, "/mirror", "Content-Length: 8\r\n");
        if version == Version::Hixie76 {
            assert_eq!(ask(server.addr, &eight).status, 101);
        } else {
            refused(server.addr, &eight, 400, "has no body");
        }
        let none = request(version, "/mirror", "Content-Length: 0\r\n");
        assert_eq!(ask(server.addr, &none).status, 101, "{version}");
    }
    bystander.is_served();
}

/// A proxy that takes every answer but 101 for an ordinary one sends on what follows as the next
/// request: nobody may answer it.
#[test]
fn a_refused_upgrade_ends_the_connection() {
    let server = site(Config::default());
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        let foreign = upgrade(version, "/mirror", "example.com", Some(b"http://evil.org"));
        let nowhere = upgrade(version, "/nowhere", "example.com", Some(b"http://example.com"));
        for (bytes, status, words) in [(foreign, 403, "origin"), (nowhere, 404, "no WebSocket")] {
            refused(server.addr, &[bytes, SMUGGLED.into()].concat(), status, words);
        }
    }
    for number in ["0", "4", "9", "14", "130", "13, 8", "", "x"] {
        let head = format!(
            "GET /mirror HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {number}\r\n\r\n\
             {SMUGGLED}"
        );
        let answer = refused(server.addr, head.as_bytes(), 426, "13, 8, 7");
        assert_eq!(answer.field("Sec-WebSocket-Version"), Some("13, 8, 7"));
    }
    bystander.is_served();
}

#[test]
fn versions_that_are_not_spoken() {
    let spoken = [Version::Rfc6455, Version::Hybi08];
    let server = site(config(|config| config.versions = spoken.to_vec()));
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        if spoken.contains(&version) {
            let mut client = Client::open(server.addr, version, "/mirror");
            client.text("spoken");
            assert_eq!(client.read_text(), "spoken", "{version}");
            continue;
        }
        let answer = refused(server.addr, &request(version, "/mirror", ""), 426, "13, 8");
        assert_eq!(answer.field("Sec-WebSocket-Version"), Some("13, 8"), "{version}");
        assert_eq!(answer.field("Upgrade"), Some("websocket"), "{version}");
    }
    bystander.is_served();
    // None that has a number.
    let server = site(config(|config| config.versions = vec![Version::Hixie76]));
    let asked = request(Version::Rfc6455, "/mirror", "");
    let answer = refused(server.addr, &asked, 426, "not spoken here");
    assert_eq!(answer.field("Sec-WebSocket-Version"), None);
    Client::open(server.addr, Version::Hixie76, "/mirror");
}

#[test]
fn fields_of_the_handshake_twice() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        let mut fields = vec!["Host: example.com", "Host: b"];
        fields.push(match version {
            Version::Hybi07 | Version::Hybi08 => "Sec-WebSocket-Origin: http://example.com",
            _ => "Origin: http://example.com",
        });
        match version {
            Version::Hixie75 => {}
            Version::Hixie76 => {
                fields.push("Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5");
                fields.push("Sec-WebSocket-Key2: 12998 5 Y3 1  .P00");
            }
            _ => {
                fields.push("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
                fields.push("sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==");
                fields.push("Sec-WebSocket-Version: 13");
                fields.push("Sec-WebSocket-Version: 99");
            }
        }
        for field in fields {
            let bytes = request(version, "/mirror", &format!("{field}\r\n"));
            let name = field.split(':').next().unwrap().to_ascii_lowercase();
            let answer = refused(server.addr, &bytes, 400, "more than one");
            assert!(answer.text().to_ascii_lowercase().contains(&name), "{}", answer.text());
        }
    }
    bystander.is_served();
}

/// What a proxy would not take for an upgrade must not be one: neither field may be missing, for
/// any version.
#[test]
fn half_an_upgrade() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        let whole = String::from_utf8(upgrade(version, "/mirror", "a", Some(b"http://a"))).unwrap();
        let without = |line: &str| whole.replacen(line, "X: y\r\n", 1);
        refused(server.addr, without("Connection: Upgrade\r\n").as_bytes(), 400, "Connection");
        let listed = whole.replace("Connection: Upgrade", "Connection: keep-alive, X-Upgrade");
        refused(server.addr, listed.as_bytes(), 400, "Connection");
        let post = whole.replacen("GET", "POST", 1);
        refused(server.addr, post.as_bytes(), 400, "GET of HTTP/1.1");
        for upgrade in ["X: y", "Upgrade: h2c", "Upgrade: websockets", "Upgrade: web socket"] {
            let name = if version.is_hixie() { "Upgrade: WebSocket" } else { "Upgrade: websocket" };
            let bytes = whole.replacen(name, upgrade, 1);
            let answer = ask(server.addr, bytes.as_bytes());
            assert_eq!((answer.status, answer.length()), (426, Some(35)), "{bytes}");
        }
    }
    bystander.is_served();
}

/// HTTP/1.0 has no Upgrade (RFC 9110 section 7.8); most often it is a proxy in between that speaks
/// it, whose owner wants to know.
#[test]
fn an_upgrade_that_a_proxy_sends_on_as_http_1_0() {
    let server = serve(open_to_all(), |server| {
        server.route("/mirror", wsloop::handlers::Mirror);
        server.route("/page", wsloop::handlers::Mirror);
        server.serve_embedded(&[("/page", b"0123456789"), ("/other", b"other")]);
    });
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        let old = |path: &str| {
            let whole = String::from_utf8(request(version, path, "")).unwrap();
            [&whole.replacen("HTTP/1.1", "HTTP/1.0", 1), SMUGGLED].concat()
        };
        // On a path of a WebSocket and of a page, who asks so wants the WebSocket.
        for path in ["/mirror", "/page"] {
            let words = "proxy_http_version 1.1";
            let answer = refused(server.addr, old(path).as_bytes(), 426, words);
            assert_eq!(answer.field("Upgrade"), Some("websocket"));
        }
        assert_eq!(ask(server.addr, old("/other").as_bytes()).text(), "other");
        assert_eq!(ask(server.addr, old("/nowhere").as_bytes()).status, 404);
    }
    for (head, answer) in [
        ("GET /page HTTP/1.0\r\nUpgrade: h2c\r\n\r\n", (200, "0123456789")),
        ("GET /page HTTP/1.0\r\n\r\n", (200, "0123456789")),
        ("POST /page HTTP/1.0\r\nUpgrade: websocket\r\n\r\n", (405, "GET and HEAD only\n")),
        ("GET /mirror HTTP/1.0\r\n\r\n", (426, "this is the address of a WebSocket\n")),
    ] {
        let got = ask(server.addr, head.as_bytes());
        assert_eq!((got.status, got.text()), answer, "{head}");
    }
    bystander.is_served();
}

/// What every browser of that version sent is all that it is known by; a list in its place was sent
/// by something else.
#[test]
fn hixie_75_says_connection_to_the_letter() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    let whole = upgrade(Version::Hixie75, "/mirror", "a", Some(b"http://a"));
    assert_eq!(ask(server.addr, &whole).status, 101);
    let whole = String::from_utf8(whole).unwrap();
    for value in ["keep-alive, Upgrade", "upgrade", "Upgrade, Upgrade", "Upgrade,"] {
        let other = whole.replacen("Connection: Upgrade", &format!("Connection: {value}"), 1);
        refused(server.addr, other.as_bytes(), 400, "no Sec-WebSocket-Version");
    }
    let twice = whole.replacen("Connection: Upgrade", "Connection: Upgrade\r\nConnection: x", 1);
    refused(server.addr, twice.as_bytes(), 400, "no Sec-WebSocket-Version");
    bystander.is_served();
}

/// A later HTTP/1 is HTTP/1.1 to who does not know it (RFC 9110 section 2.5).
#[test]
fn later_versions_of_http_1() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    for digit in 2..=9 {
        let mut client = Client::connect(server.addr);
        for begin in ["", "\r\n"] {
            let head = format!("{begin}GET /page HTTP/1.{digit}\r\nHost: a\r\n\r\n");
            client.send(head.as_bytes());
            let answer = client.read_reply(false);
            assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{head}");
            assert_eq!(answer.field("Connection"), None, "it is kept, as by HTTP/1.1");
        }
        let head = format!("GET /page HTTP/1.{digit}\r\n\r\n");
        refused(server.addr, head.as_bytes(), 400, "no Host");
        for version in VERSIONS {
            let whole = String::from_utf8(request(version, "/mirror", "")).unwrap();
            let later = whole.replacen("HTTP/1.1", &format!("HTTP/1.{digit}"), 1);
            let mut client = Client::connect(server.addr);
            client.version = version;
            client.send(later.as_bytes());
            client.read_answer();
            client.text("later");
            assert_eq!(client.read_text(), "later", "{version}");
        }
    }
    bystander.is_served();
}

/// What a proxy sends in front of a request if it is told to speak the PROXY protocol: its owner
/// learns at once which of its settings is wrong.
#[test]
fn the_proxy_protocol() {
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    let tcp4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\x01\xbb";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [
        &b"PROXY TCP4 203.0.113.7 203.0.113.8 4711 80\r\n"[..],
        b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 80\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
        tcp4,
        local,
    ] {
        for behind in ["", SMUGGLED] {
            let bytes = [header, behind.as_bytes()].concat();
            refused(server.addr, &bytes, 400, "the PROXY protocol is not spoken here");
        }
        // However it is cut.
        for cut in 1..13 {
            let mut client = Client::connect(server.addr);
            client.send(&header[..cut]);
            client.send(&header[cut..]);
            let answer = client.read_reply(false);
            assert_eq!(answer.status, 400, "{cut} of {}", header.escape_ascii());
            let text = answer.text();
            assert!(text.contains("PROXY") && text.contains("--trust-proxy"), "{text}");
        }
    }
    // Nor is it anything else that begins in the same way.
    for (bytes, status, words) in [
        (&b"PROXY / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..], 405, "GET and HEAD"),
        (b"PROXY TCP HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begin with a slash"),
        (b"PROXY\r\n\r\n", 400, "malformed"),
        (b"\r\n\r\n\0\r\nQUIP", 400, "begins like this"),
        (b"\r\n\r\n\r", 400, "begins like this"),
        (b"\r\n\0", 400, "begins like this"),
    ] {
        refused(server.addr, bytes, status, words);
    }
    bystander.is_served();
}

#[test]
fn request_lines() {
    all_refused(&[
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET /\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET / HTTP/1,1\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET  / HTTP/1.2\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET / x HTTP/1.2\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET / HTTP/1.22\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET / HTTP/3.2\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.0 and HTTP/1.1"),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400, "percent-encoded"),
        ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins like this"),
        ("\r\n GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins like this"),
    ]);
    // One empty line before a request is let pass (RFC 9112 section 2.2).
    let server = site(patient());
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ask(server.addr, bytes).text(), "front");
}

/// TLS, SSH's binary packets, other protocols: refused at the first byte, not at the deadline.
#[test]
fn what_is_not_http_is_refused_at_once() {
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~\r".contains(byte);
    for byte in (0..=255u8).filter(|byte| !is_token(byte)) {
        refused(server.addr, &[byte], 400, "begins like this");
    }
    // The beginning of a ClientHello, as it comes in one segment and byte by byte.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0a\x0d\x0a\x0d\x0a";
    refused(server.addr, hello, 400, "TLS is not spoken");
    let mut client = Client::connect(server.addr);
    client.send(&hello[..1]);
    assert_eq!(client.read_reply(false).status, 400);
    bystander.is_served();
}

#[test]
fn methods() {
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "M-SEARCH", "A"] {
        for target in ["/", "/mirror", "/nowhere"] {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nX: echo-me\r\n\r\n");
            let answer = ask(server.addr, head.as_bytes());
            assert_eq!(answer.status, 405, "{head}");
            assert_eq!(answer.field("Allow"), Some("GET, HEAD"), "{head}");
            assert_eq!(answer.text(), "GET and HEAD only\n");
        }
    }
    let ask = |head: &str| ask(server.addr, format!("{head}\r\nHost: a\r\n\r\n").as_bytes());
    let answer = ask("OPTIONS * HTTP/1.1");
    assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD")));
    for (line, words) in [
        ("CONNECT a:80 HTTP/1.1", "begin with a slash"),
        ("GET * HTTP/1.1", "for OPTIONS only"),
        ("GET ** HTTP/1.1", "begin with a slash"),
        ("GET page HTTP/1.1", "begin with a slash"),
    ] {
        let answer = ask(line);
        assert!(answer.status == 400 && answer.text().contains(words), "{line}: {}", answer.text());
    }
    bystander.is_served();
}

#[test]
fn absolute_targets() {
    let server = site(patient());
    let mut bystander = Bystander::on(server.addr);
    let head = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for (target, host) in [
        ("http://a/page", "a"),
        ("HTTP://A:80/page", "a:80"),
        ("https://a/page?q=http://b", "a"),
        ("http://[::1]:8080/page", "[::1]:8080"),
        ("ws://a/page", "a"),
        // A port that the scheme has anyway may be named or not (RFC 9110 section 4.2.3).
        ("http://a/page", "a:80"),
        ("http://a:80/page", "a"),
        ("ws://A:80/page", "a"),
        ("https://a:443/page", "a"),
        ("wss://a/page", "a:443"),
        ("http://[::1]:80/page", "[::1]"),
        ("http://a:/page", "a"),
    ] {
        let answer = ask(server.addr, head(target, host).as_bytes());
        assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{target}");
    }
    // An empty path is that of the root, with a query or without (RFC 9110 section 4.2.3).
    for target in ["http://a", "http://a?", "http://a?x=1", "http://a:80?x=/page", "http://a?/page"]
    {
        assert_eq!(ask(server.addr, head(target, "a").as_bytes()).text(), "front", "{target}");
    }
    let old = "GET http://a/page HTTP/1.0\r\n\r\n";
    assert_eq!(ask(server.addr, old.as_bytes()).text(), "0123456789");
    for (target, host, words) in [
        ("http://b/page", "a", "different hosts"),
        ("http://a:81/page", "a", "different hosts"),
        ("http://a/page", "a:443", "different hosts"),
        ("https://a:80/page", "a", "different hosts"),
        ("https://a/page", "a:80", "different hosts"),
        ("http://a:80/page", "a:81", "different hosts"),
        ("http://a:080/page", "b", "different hosts"),
        ("http://[::80]/page", "[:", "different hosts"),
        ("http://user@a/page", "a", "different hosts"),
        ("http://a@b/page", "a", "different hosts"),
        ("http://a\\@b/page", "a", "different hosts"),
        ("http:///page", "a", "different hosts"),
        ("http://b?/page", "a", "different hosts"),
        ("http://?/page", "a", "different hosts"),
        ("http://a#/page", "a", "different hosts"),
        ("http:/a/page", "a", "begin with a slash"),
        ("ftp://a/page", "a", "begin with a slash"),
        ("//a/page@x:y", "", "no Host"),
    ] {
        let bytes = match host {
            "" => format!("GET {target} HTTP/1.1\r\n\r\n"),
            _ => head(target, host),
        };
        refused(server.addr, bytes.as_bytes(), 400, words);
    }
    let bytes = request(Version::Rfc6455, "http://evil.org/mirror", "");
    refused(server.addr, &bytes, 400, "different hosts");
    let bytes = request(Version::Rfc6455, "ws://localhost/mirror", "");
    assert_eq!(ask(server.addr, &bytes).status, 101);
    bystander.is_served();
}

#[test]
fn http_1_0() {
    let server = site(patient());
    for head in [
        "GET /page HTTP/1.0\r\n\r\n",
        "GET /page HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    ] {
        let mut client = Client::connect(server.addr);
        client.send(format!("{head}{SMUGGLED}").as_bytes());
        let answer = client.read_reply(false);
        assert_eq!((answer.status, answer.text()), (200, "0123456789"));
        assert_eq!(answer.field("Connection"), Some("close"));
        assert_eq!(client.read_to_end(), b"");
    }
}
