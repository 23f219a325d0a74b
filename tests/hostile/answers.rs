//! Answers made to be split, logs made to be misread, and refusals of what is gone already.

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use crate::serving::*;
use wsloop::{Answer, Context, Handler, Message, Request, Version};

/// Chooses the first subprotocol that is offered, if it knows it.
struct Chooser;

impl Handler for Chooser {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
        match request.protocols().next() {
            Some("chat") => Answer::Protocol("chat".into()),
            _ => Answer::Proceed,
        }
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// The old drafts' answers repeat Origin, Host and target: as they came, or not at all.
#[test]
fn answers_cannot_be_split() {
    let server = serve(open_to_all(), |server| {
        server.route("*", Chooser);
        server.route("/mirror", wsloop::handlers::Mirror);
    });
    let mut bystander = Bystander::on(server.addr);
    let injected = "Set-Cookie: a=b";
    for version in VERSIONS {
        // What ends a line to anybody, or did to somebody once.
        for end in ["\r\n", "\n", "\r", "\0", "\x0b", "\x0c", "\x1b", "\x7f"] {
            // CR LF within a value begins another field of the request, which nobody repeats.
            let expected = if end == "\r\n" { 101 } else { 400 };
            let origin = format!("http://a{end}{injected}");
            let bytes = upgrade(version, "/x", "a", Some(origin.as_bytes()));
            let host = format!("a{end}{injected}");
            let hosted = upgrade(version, "/x", &host, Some(b"http://a"));
            let protocol = format!("chat{end}{injected}");
            let chosen = request(version, "/x", &format!("Sec-WebSocket-Protocol: {protocol}\r\n"));
            for bytes in [bytes, hosted, chosen] {
                let answer = ask(server.addr, &bytes);
                if version == Version::Hixie75 && bytes.windows(14).any(|w| w == b"Sec-WebSocket-")
                {
                    assert_eq!(answer.status, 400);
                } else {
                    assert_eq!(answer.status, expected, "{version} {end:?}: {}", answer.head);
                }
                assert!(!answer.head.contains(injected), "{version} {end:?}: {}", answer.head);
            }
            let target = format!("/x{end}{injected}");
            let answer = ask(server.addr, &upgrade(version, &target, "a", Some(b"http://a")));
            assert!(matches!(answer.status, 400 | 505), "{version} {end:?}: {}", answer.head);
        }
        // Escaped, it is just a path; as bytes of Latin-1 or UTF-8 whose low halves are CR and
        // LF, just an origin.
        let target = "/x%0d%0aSet-Cookie:%20a=b";
        let origin = "http://a\u{10d}\u{10a}Set-Cookie: a=b".as_bytes();
        let bytes = upgrade(version, target, "a", Some(origin));
        let mut client = Client::connect(server.addr);
        client.send(&bytes);
        let head = client.read_head();
        let names: Vec<&str> =
            head.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
        let expected: &[&str] = match version {
            Version::Hixie75 => {
                &["Upgrade", "Connection", "WebSocket-Origin", "WebSocket-Location", ""]
            }
            Version::Hixie76 => {
                &["Upgrade", "Connection", "Sec-WebSocket-Origin", "Sec-WebSocket-Location", ""]
            }
            _ => &["Upgrade", "Connection", "Sec-WebSocket-Accept", ""],
        };
        assert_eq!(names, expected, "{version}: {head}");
        if version.is_hixie() {
            assert!(head.contains("Location: ws://a/x%0d%0aSet-Cookie:%20a=b\r\n"), "{head}");
            assert!(head.contains("Origin: http://a\u{10d}\u{10a}Set-Cookie: a=b\r\n"), "{head}");
        }
    }
    bystander.is_served();
}

/// Nobody's bytes reach the terminal of who reads the log: no escape sequence, no second line.
#[test]
fn the_log_is_plain_text() {
    let program = Program::start(&["--host", "*"]);
    let addr = program.addr();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n[INFO] forged line\u{9b}31m\u{202e}\u{2028}\u{85}";
    for version in VERSIONS {
        // What of this may stand in a field at all: bytes from 80 on, so the C1 controls.
        let origin = b"http://evil\x9b31m\xc2\x85\xe2\x80\xae\xff\t[INFO] x";
        let answer = ask(addr, &upgrade(version, "/mirror", "a", Some(origin)));
        assert_eq!(answer.status, 403);
        let line = program.logged("may not connect");
        assert!(line.contains(r"http://evil\x9b31m\xc2\x85\xe2\x80\xae\xff\t[INFO] x"), "{line}");
        assert!(line.chars().all(|c| (' '..='~').contains(&c)), "{line:?}");
        let answer = ask(addr, &upgrade(version, "/mirror", "a", Some(evil.as_bytes())));
        assert_eq!(answer.status, 400);
        let line = program.logged("refused");
        assert!(line.chars().all(|c| (' '..='~').contains(&c)), "{line:?}");
        let target = "/mirror?%1b%0d%0a";
        let bytes = upgrade(version, target, "a", Some(b"http://a"));
        assert_eq!(ask(addr, &bytes).status, 101);
        let line = program.logged("open");
        assert!(line.contains("/mirror from") && !line.contains('\u{1b}'), "{line:?}");
    }
    for version in HYBI {
        let mut client = Client::open(addr, version, "/mirror");
        client.close(4000, evil);
        client.read_to_end();
        let line = program.logged("4000");
        assert!(line.contains(r"\u{1b}]0;owned\u{7}\u{1b}[2J\r\n[INFO] forged"), "{line}");
        assert!(line.contains(r"\u{9b}31m\u{202e}\u{2028}\u{85}"), "{line}");
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
    }
    // Of lines like these no more than ten are written in a second.
    let program = Program::start(&[]);
    let addr = program.addr();
    for bytes in [
        &b"\x1b[2J\r\n\r\n"[..],
        b"GET /\x1b HTTP/1.1\r\n\r\n",
        b"GET /%1b%9b HTTP/1.1\r\nHost: \x1b\r\n\r\n",
    ] {
        ask(addr, bytes);
        let line = program.logged("refused");
        assert!(line.chars().all(|c| (' '..='~').contains(&c)), "{line:?}");
    }
    Bystander::on(addr).is_served();
}

/// A request for `/echo` with this field, whatever bytes it has.
fn forwarded(version: Version, value: &[u8]) -> Vec<u8> {
    let plain = request(version, "/echo", "X-Forwarded-For: @\r\n");
    let at = plain.iter().rposition(|&byte| byte == b'@').unwrap();
    [&plain[..at], value, &plain[at + 1..]].concat()
}

/// Behind a proxy the client's address is what the proxy appended; whatever else is in the field
/// was sent by the client and is no address of anybody.
#[test]
fn addresses_that_no_proxy_has_seen() {
    let program = Program::start(&["--trust-proxy", "--origin", "*"]);
    let addr = program.addr();
    let mut bystander = Bystander::on(addr);
    for version in VERSIONS.into_iter().filter(|version| *version != Version::Hixie75) {
        for (value, from) in [
            (&b"1.2.3.4"[..], Some("1.2.3.4")),
            (b"evil, 1.2.3.4", Some("1.2.3.4")),
            (b"\x9b2J, 2001:db8::1", Some("2001:db8::1")),
            // As some proxies write it; the port is not kept.
            (b"203.0.113.7:4711", Some("203.0.113.7")),
            (b"evil, 203.0.113.7:4711", Some("203.0.113.7")),
            (b"[2001:db8::7]:443", Some("2001:db8::7")),
            (b"[2001:db8::7]", Some("2001:db8::7")),
            (b"::ffff:203.0.113.7", Some("203.0.113.7")),
            (b"[::ffff:203.0.113.7]:1", Some("203.0.113.7")),
            (b"1.2.3.4, \x9b31m", None),
            (b"\xc2\x9b31m", None),
            (b"1.2.3.4, evil", None),
            (b"1.2.3.4, [INFO] open", None),
            (b"1.2.3.4:", None),
            (b"1.2.3.4:65536", None),
            (b"[1.2.3.4]", None),
            (b"[2001:db8::7", None),
            (b"2001:db8::7]", None),
            (b"[2001:db8::7]443", None),
            (b"999.2.3.4", None),
            (b"unknown", None),
            (b",", None),
            (b"", None),
        ] {
            assert_eq!(ask(addr, &forwarded(version, value)).status, 101, "{version}");
            let line = program.logged(" /echo from ");
            let is_right = match from {
                Some(from) => line.ends_with(&format!(" from {from}")),
                None => line.contains(" from 127.0.0.1:"),
            };
            assert!(is_right, "{version} {value:?}: {line}");
            assert!(line.chars().all(|c| (' '..='~').contains(&c)), "{line:?}");
        }
    }
    bystander.is_served();
}

/// A proxy sends the requests of several clients over one connection.
#[test]
fn each_request_has_the_address_of_its_own_client() {
    let program = Program::start(&["--trust-proxy"]);
    for (value, from) in [
        (&b"X-Forwarded-For: unknown\r\n"[..], "127.0.0.1:"),
        (b"", "127.0.0.1:"),
        (b"X-Forwarded-For: 5.6.7.8\r\n", "5.6.7.8"),
    ] {
        let mut client = Client::connect(program.addr());
        client.http("GET", "/", "X-Forwarded-For: 1.2.3.4\r\n");
        client.send(&request(Version::Rfc6455, "/echo", str::from_utf8(value).unwrap()));
        client.read_answer();
        let line = program.logged(" /echo from ");
        assert!(line.contains(&format!(" from {from}")), "{line}");
    }
}

/// Who set the proxy up is told why all clients seem to have its address, if he asks.
#[test]
fn an_address_that_is_not_understood_is_told() {
    let program = Program::start(&["--trust-proxy", "--verbose"]);
    let long = [b"evil, ".as_slice(), &[b'a'; 2000]].concat();
    let cut = format!("X-Forwarded-For is not understood: {}…", "a".repeat(100));
    for (value, said) in [
        (&b"unknown"[..], "X-Forwarded-For is not understood: unknown"),
        (b"1.2.3.4, \x9b31m", r"X-Forwarded-For is not understood: \x9b31m"),
        (&long, &cut),
    ] {
        assert_eq!(ask(program.addr(), &forwarded(Version::Rfc6455, value)).status, 101);
        let line = program.logged("X-Forwarded-For");
        assert!(line.ends_with(said) && line.contains("DEBUG"), "{line}");
    }
    // Whom nobody forwarded has its own address, and that is no trouble.
    let _direct = Client::open(program.addr(), Version::Rfc6455, "/mirror");
    loop {
        let line = program.logged("");
        assert!(!line.contains("X-Forwarded-For"), "{line}");
        if line.contains(" /mirror from 127.0.0.1:") {
            break;
        }
    }
}

/// A socket for IPv6 that takes IPv4 too has clients of both, each with the address it has itself.
#[test]
fn addresses_of_version_4_are_shown_as_such() {
    let program = Program::start_on(&["[::]:0"], &[]);
    for host in ["127.0.0.1", "::1"] {
        let addr = std::net::SocketAddr::new(host.parse().unwrap(), program.addr().port());
        let client = Client::open(addr, Version::Rfc6455, "/mirror");
        let line = program.logged("open");
        let from = client.stream.local_addr().unwrap();
        assert!(line.ends_with(&format!(" from {from}")), "{line}");
    }
}

/// Sends whoever asks for a WebSocket elsewhere.
struct Mover;

impl Handler for Mover {
    fn on_request(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Answer {
        Answer::Respond(wsloop::Response::new(302).header("Location", "/mirror"))
    }

    fn on_open(&mut self, _: &mut Context<'_>, _: &Request<'_>) {
        unreachable!("nobody is let in");
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {
        unreachable!("nobody is let in");
    }
}

/// A status under 400 refuses a WebSocket as much as any other: nothing behind the request is read.
#[test]
fn a_request_for_a_websocket_is_sent_elsewhere() {
    let server = serve(open_to_all(), |server| {
        server.route("/moved", Mover);
        server.route("/mirror", wsloop::handlers::Mirror);
    });
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        let bytes = [request(version, "/moved", ""), SMUGGLED.into()].concat();
        let answer = refused(server.addr, &bytes, 302, "");
        assert_eq!(answer.field("Location"), Some("/mirror"), "{version}");
    }
    bystander.is_served();
}

/// Refuses every request, and closes and drops what it can reach while it does.
struct Refuser;

impl Handler for Refuser {
    fn on_request(&mut self, ws: &mut Context<'_>, _: &Request<'_>) -> Answer {
        ws.close(1000, "not open yet");
        ws.send("not open yet");
        ws.terminate();
        Answer::Respond(wsloop::Response::text(403, "members only\n"))
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {
        unreachable!("nobody is let in");
    }
}

/// A handler that drops the connection it refuses: nothing is done with what is gone.
#[test]
fn a_refusal_of_a_connection_that_is_gone() {
    let server = serve(open_to_all(), |server| {
        server.route("/refuser", Refuser);
        server.route("/mirror", wsloop::handlers::Mirror);
    });
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        for bytes in [
            request(version, "/refuser", ""),
            b"GET /refuser HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ] {
            let mut client = Client::connect(server.addr);
            client.send(&[&bytes, SMUGGLED.as_bytes()].concat());
            // Dropped or refused, but never let in, nor answered twice.
            let mut got = Vec::new();
            let _ = std::io::Read::read_to_end(&mut client.stream, &mut got);
            let got = String::from_utf8(got).unwrap();
            assert!(got.is_empty() || got.starts_with("HTTP/1.1 403 "), "{version}: {got}");
            assert!(got.matches("HTTP/1.1 ").count() < 2, "{version}: {got}");
        }
        bystander.is_served();
    }
}
