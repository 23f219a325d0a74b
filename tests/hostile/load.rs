//! Heads that are too much: too long, too many fields, too slow; and the limits from just below.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use crate::serving::*;
use wsloop::{Config, Version};

/// A request of exactly so many bytes.
fn padded(bytes: usize) -> Vec<u8> {
    let head = "GET /page HTTP/1.1\r\nHost: localhost\r\nX: ";
    let padding = "x".repeat(bytes - head.len() - 4);
    format!("{head}{padding}\r\n\r\n").into_bytes()
}

#[test]
fn heads_up_to_8_kib() {
    let server = site(Config::default());
    let mut bystander = Bystander::on(server.addr);
    assert_eq!(ask(server.addr, &padded(8192)).text(), "0123456789");
    refused(server.addr, &padded(8193), 431, "over 8192");
    refused(server.addr, &padded(1_000_000), 431, "over 8192");
    // The same byte by byte: counted as it comes.
    let mut client = Client::connect(server.addr);
    client.send_bytewise(&padded(8192));
    assert_eq!(client.read_reply(false).status, 200);
    let mut client = Client::connect(server.addr);
    client.send_bytewise(&padded(8193));
    assert_eq!(client.read_reply(false).status, 431);
    bystander.is_served();
}

#[test]
fn heads_that_never_end() {
    let server = site(config(|config| config.handshake_timeout = Duration::from_secs(3600)));
    let mut bystander = Bystander::on(server.addr);
    for (start, more) in [
        ("", "G"),
        ("GET /", "x"),
        ("GET /?", "a=b&"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: ", "x"),
        ("GET / HTTP/1.1\r\n", "X: y\r\n"),
        ("GET / HTTP/1.1\r\n", "a:\r\n"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: ", "a=b; "),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Protocol: ", " ,"),
    ] {
        let bytes = format!("{start}{}", more.repeat(8193));
        refused(server.addr, bytes.as_bytes(), 431, "over 8192");
    }
    bystander.is_served();
}

#[test]
fn fields_up_to_100() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    for count in [99, 100, 101, 2000] {
        let fields: String = (1..count).map(|n| format!("f{n}:\r\n")).collect();
        let head = format!("GET /page HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        match count {
            0..=100 => assert_eq!(ask(server.addr, head.as_bytes()).text(), "0123456789"),
            101 => drop(refused(server.addr, head.as_bytes(), 431, "too many header fields")),
            _ => drop(refused(server.addr, head.as_bytes(), 431, "over 8192")),
        }
    }
    // A request for a WebSocket has no other limit, nor is its Upgrade field lost among the rest.
    for version in VERSIONS {
        let plain = request(version, "/mirror", "");
        let own = plain.windows(2).filter(|pair| pair == b"\r\n").count() - 2;
        let fields = |count: usize| (0..count).map(|n| format!("f{n}:\r\n")).collect::<String>();
        let most = request(version, "/mirror", &fields(100 - own));
        assert_eq!(ask(server.addr, &most).status, 101, "{version}");
        let more = request(version, "/mirror", &fields(101 - own));
        refused(server.addr, &more, 431, "too many header fields");
    }
    bystander.is_served();
}

/// Lists made to be slow to take apart: as long as a head may be, and answered like any other.
#[test]
fn lists_that_are_slow_to_take_apart() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    for (name, value) in [
        ("Sec-WebSocket-Protocol", format!("b{}x", " ".repeat(7000))),
        ("Sec-WebSocket-Protocol", ",".repeat(7000)),
        ("Sec-WebSocket-Protocol", " ,\t".repeat(2300)),
        ("Sec-WebSocket-Extensions", format!("a; b=\"{}", "\\c".repeat(3500))),
        ("Sec-WebSocket-Extensions", "constructor, __proto__; toString=1,;".repeat(190)),
        ("Sec-WebSocket-Extensions", "permessage-deflate; ".repeat(340)),
        ("Connection", "a,".repeat(3500)),
        ("Cookie", "\"".repeat(7000)),
    ] {
        for version in HYBI {
            let bytes = request(version, "/mirror", &format!("{name}: {value}\r\n"));
            let answer = ask(server.addr, &bytes);
            assert_eq!(answer.status, 101, "{name}");
            assert_eq!(answer.field("Sec-WebSocket-Protocol"), None);
            assert_eq!(answer.field("Sec-WebSocket-Extensions"), None);
        }
    }
    for (name, value) in [
        ("If-None-Match", "\"a\",".repeat(1700)),
        ("Range", format!("bytes={}", "0-1,".repeat(1700))),
        ("Accept", "a;q=0.1,".repeat(900)),
        ("If-Modified-Since", "9".repeat(7000)),
    ] {
        let head = format!("GET /page HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n");
        assert_eq!(ask(server.addr, head.as_bytes()).text(), "0123456789", "{name}");
    }
    bystander.is_served();
}

/// However a head is cut, the answer is the same.
#[test]
fn heads_byte_by_byte() {
    let server = site(open_to_all());
    let mut bystander = Bystander::on(server.addr);
    let page = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let ambiguous = b"GET /page HTTP/1.1\r\nHost: localhost\r\nHost: b\r\n\r\n";
    let mut requests: Vec<Vec<u8>> = vec![page.to_vec(), ambiguous.to_vec()];
    requests.extend(VERSIONS.map(|version| request(version, "/mirror", "")));
    for bytes in requests {
        let at_once = ask(server.addr, &bytes);
        let mut client = Client::connect(server.addr);
        client.send_bytewise(&bytes);
        let in_pieces = client.read_reply(false);
        let without_date = |head: &str| -> Vec<String> {
            head.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_string).collect()
        };
        assert_eq!(without_date(&in_pieces.head), without_date(&at_once.head));
        assert_eq!(in_pieces.body, at_once.body);
    }
    bystander.is_served();
}

/// Sends byte after byte until something comes back; all that came, to the end.
fn trickle(client: &mut Client, bytes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let start = Instant::now();
    client.stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    for byte in bytes {
        assert!(start.elapsed() < PATIENCE, "bytes that trickle in move the deadline");
        // The server may have ended the connection by now; then the read says so.
        let _ = client.stream.write_all(&[byte]);
        let mut got = vec![0; 4096];
        match client.stream.read(&mut got) {
            Ok(len) => {
                got.truncate(len);
                if len > 0 {
                    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    got.extend(client.read_to_end());
                }
                return got;
            }
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            }
        }
    }
    panic!("no answer to any of the bytes");
}

#[test]
fn bytes_that_trickle_in_do_not_move_the_deadline() {
    let short = Duration::from_millis(300);
    let server = site(config(|config| config.handshake_timeout = short));
    let mut bystander = Bystander::on(server.addr);
    for head in ["GET /", "GET / HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let start = Instant::now();
        let mut client = Client::connect(server.addr);
        client.send(head.as_bytes());
        let answer = trickle(&mut client, std::iter::repeat_n(b'x', 7000));
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("no request came in time"), "{answer}");
        // Not at the first bytes; the server reads its clock once a turn, so not to the dot.
        assert!(start.elapsed() >= short / 2, "long before the deadline");
        bystander.is_served();
    }
    // The last bytes of a Hixie-76 handshake: the answer has begun, so there is just an end.
    let whole = request(Version::Hixie76, "/mirror", "");
    let mut client = Client::connect(server.addr);
    client.send(&whole[..whole.len() - 8]);
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    client.send(&whole[whole.len() - 8..whole.len() - 1]);
    assert_eq!(client.read_to_end(), b"");
    // A second request on a connection that was kept.
    let mut client = Client::connect(server.addr);
    client.send(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.read_reply(false).status, 200);
    client.send(b"GET /");
    let answer = trickle(&mut client, std::iter::repeat_n(b'x', 7000));
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    bystander.is_served();
}

/// Requests one behind the other, and nobody who reads the answers: no more of them are taken in
/// than can be answered.
#[cfg(target_os = "linux")]
#[test]
fn requests_whose_answers_are_never_read() {
    let scratch = Scratch::new();
    scratch.write("large", "x".repeat(100_000));
    let program = Program::start(&["--root", scratch.to_str().unwrap()]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.resident();
    let mut clients = Vec::new();
    for line in ["GET /large", "GET /nowhere", "HEAD /large", "OPTIONS *"] {
        let mut client = Client::connect(program.addr());
        rustix::net::sockopt::set_socket_recv_buffer_size(&client.stream, 4096).unwrap();
        let requests = format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(1000);
        client.stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        // Until the kernel takes no more, on this side and that.
        while let Ok(len) = client.stream.write(requests.as_bytes()) {
            sent += len;
            assert!(sent < 100 << 20, "{line}: all requests are taken in, and none answered");
            bystander.is_served();
        }
        clients.push(client);
    }
    let after = program.resident();
    assert!(after < before + 4 * 1024, "{before} KiB before, {after} KiB after");
    bystander.is_served();
}
