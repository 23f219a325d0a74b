//! `demo/tiny.rs`, the server on one page: started as a program, and spoken to by the clients that
//! test the library.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};
use wsloop::Version;

use crate::common::*;
use crate::demos::Demo;

const MAX_MESSAGE: usize = 64 * 1024;
const MAX_CONNECTIONS: usize = 500;

/// The program, until this is dropped.
struct Tiny {
    addr: SocketAddr,
    demo: Demo,
}

impl Tiny {
    fn start() -> Tiny {
        let demo = Demo::start("tiny", "/");
        Tiny { addr: demo.host.parse().unwrap(), demo }
    }

    fn open(&self, version: Version, path: &str) -> Client {
        Client::open(self.addr, version, path)
    }

    /// An RFC 6455 client whose messages come back to it.
    fn echo(&self) -> Client {
        self.open(Version::Rfc6455, "/echo")
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // It never ends by itself: if it has, it panicked.
        let ended = self.demo.child.try_wait().unwrap();
        assert!(ended.is_none() || std::thread::panicking(), "the program ended: {ended:?}");
    }
}

/// A message and its echo. What was sent by anybody before has been read by the server then.
fn round_trip(client: &mut Client) {
    client.text("and back");
    assert_eq!(client.read_text(), "and back");
}

/// All pairs of versions, which are seldom the same.
fn pairs() -> impl Iterator<Item = (Version, Version)> {
    VERSIONS.into_iter().flat_map(|one| VERSIONS.map(|other| (one, other)))
}

fn is_closed_with(client: &mut Client, code: u16) {
    assert_eq!(client.read_close(), (code, String::new()));
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn every_version_opens_echoes_and_closes() {
    let tiny = Tiny::start();
    for version in VERSIONS {
        let mut client = tiny.open(version, "/echo?a=b");
        for text in ["", "hello", "h\u{e9}\u{20ac}\u{1f600}", &"x".repeat(MAX_MESSAGE)] {
            client.text(text);
            assert_eq!(client.read_text(), text, "{version}");
        }
        match version {
            Version::Hixie75 => client.end(),
            Version::Hixie76 => {
                client.send(b"\xff\x00");
                assert_eq!(client.read(2), b"\xff\x00");
            }
            _ => {
                client.close(4321, "done here");
                assert_eq!(client.read_close(), (4321, String::new()), "{version}");
            }
        }
        assert_eq!(client.read_to_end(), b"", "{version}");
    }
}

#[test]
fn a_close_without_a_code_is_answered_alike() {
    let tiny = Tiny::start();
    for version in HYBI {
        let mut client = tiny.open(version, "/");
        client.send(&masked(0x88, b""));
        assert_eq!(client.read_frame(), (0x88, vec![]), "{version}");
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn the_answers_are_to_the_letter() {
    let tiny = Tiny::start();
    let answer = |version, path| {
        let mut client = Client::connect(tiny.addr);
        client.ask(version, path);
        client.read_answer()
    };
    for version in HYBI {
        assert_eq!(
            answer(version, "/"),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }
    assert_eq!(
        answer(Version::Hixie75, "/a?b"),
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         WebSocket-Origin: http://localhost\r\nWebSocket-Location: ws://localhost/a?b\r\n\r\n"
    );
    assert_eq!(
        answer(Version::Hixie76, "/a?b"),
        "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Origin: http://localhost\r\n\
         Sec-WebSocket-Location: ws://localhost/a?b\r\n\r\n"
    );
}

#[test]
fn binary_of_all_lengths() {
    let tiny = Tiny::start();
    for version in HYBI {
        let mut client = tiny.open(version, "/echo");
        for len in [0, 1, 125, 126, 127, 0xffff, MAX_MESSAGE] {
            let payload: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
            client.send(&masked(0x82, &payload));
            assert!(client.read_frame() == (0x82, payload), "{version}: {len}");
        }
    }
}

#[test]
fn fragments_with_pings_between() {
    let tiny = Tiny::start();
    for version in HYBI {
        let mut client = tiny.open(version, "/echo");
        // A character may be cut.
        client.send(&masked(0x01, b"frag\xe2\x82"));
        client.send(&masked(0x89, b"between"));
        client.send(&masked(0x00, b""));
        client.send(&masked(0x8a, b"nobody asked"));
        client.send(&masked(0x80, b"\xac"));
        assert_eq!(client.read_frame(), (0x8a, b"between".to_vec()), "{version}");
        assert_eq!(client.read_text(), "frag\u{20ac}");
        client.send(&[masked(0x02, b"\xff"), masked(0x80, b"\xfe")].concat());
        assert_eq!(client.read_frame(), (0x82, b"\xff\xfe".to_vec()));
        for payload in [&b""[..], &[7; 125]] {
            client.send(&masked(0x89, payload));
            assert_eq!(client.read_frame(), (0x8a, payload.to_vec()));
        }
    }
}

#[test]
fn ten_thousand_frames_in_one_write() {
    let tiny = Tiny::start();
    for version in VERSIONS {
        let mut client = tiny.open(version, "/echo");
        let texts: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let bytes: Vec<u8> = texts.iter().flat_map(|text| client.text_bytes(text)).collect();
        client.send(&bytes);
        for text in texts {
            assert_eq!(client.read_text(), text, "{version}");
        }
    }
}

#[test]
fn a_message_reaches_everyone_on_its_path() {
    let tiny = Tiny::start();
    for (one, other) in pairs() {
        let (mut sender, mut member) = (tiny.open(one, "/"), tiny.open(other, "/?query"));
        let mut elsewhere = tiny.open(other, "/elsewhere");
        sender.text("to all");
        assert_eq!([sender.read_text(), member.read_text()], ["to all", "to all"]);
        member.text("back");
        assert_eq!([sender.read_text(), member.read_text()], ["back", "back"]);
        round_trip(&mut elsewhere);
        for client in [&sender, &member, &elsewhere] {
            assert!(client.has_nothing(), "{one} {other}");
        }
        for client in [sender, member] {
            client.reset();
        }
        round_trip(&mut elsewhere);
    }
}

#[test]
fn hixie_clients_are_spared_what_they_cannot_read() {
    let tiny = Tiny::start();
    for version in [Version::Hixie75, Version::Hixie76] {
        let mut old = tiny.open(version, "/");
        let mut new = tiny.open(Version::Rfc6455, "/");
        new.send(&masked(0x82, b"binary"));
        new.text("text");
        assert_eq!(new.read_frame(), (0x82, b"binary".to_vec()));
        assert_eq!([new.read_text(), old.read_text()], ["text", "text"], "{version}");
        old.end();
        old.wait_for_the_end();
    }
}

#[test]
fn wrong_characters_of_hixie_clients_are_replaced() {
    let tiny = Tiny::start();
    for version in [Version::Hixie75, Version::Hixie76] {
        let mut client = tiny.open(version, "/echo");
        client.send(b"\0a\x80b\xff");
        assert_eq!(client.read_text(), "a\u{fffd}b", "{version}");
        // Replaced, it is three times as long. The limit is for that.
        client.send(&[b"\0", &[0x80; MAX_MESSAGE / 3][..], b"\xff"].concat());
        assert_eq!(client.read_text(), "\u{fffd}".repeat(MAX_MESSAGE / 3), "{version}");
        client.send(&[b"\0", &[0x80; MAX_MESSAGE / 3 + 1][..], b"\xff"].concat());
        client.wait_for_the_end();
    }
}

#[test]
fn requests_and_messages_cut_at_every_byte() {
    let tiny = Tiny::start();
    let mut witness = tiny.echo();
    for version in VERSIONS {
        let request = request(version, "/echo", "");
        for cut in 1..request.len() {
            let mut client = Client::connect(tiny.addr);
            client.version = version;
            client.send(&request[..cut]);
            // The server has read the first part now.
            round_trip(&mut witness);
            client.send(&request[cut..]);
            client.read_answer();
        }
        let mut client = tiny.open(version, "/echo");
        let text = format!("\u{e9}\u{20ac}\u{1f600}{}", "x".repeat(126));
        let bytes = client.text_bytes(&text);
        for cut in 1..bytes.len() {
            client.send(&bytes[..cut]);
            round_trip(&mut witness);
            client.send(&bytes[cut..]);
            assert_eq!(client.read_text(), text, "{version}: {cut}");
        }
    }
}

#[test]
fn a_frame_of_each_kind_one_byte_per_segment() {
    let tiny = Tiny::start();
    for version in HYBI {
        let mut client = tiny.open(version, "/echo");
        client.send_bytewise(&masked(0x01, b"frag"));
        client.send_bytewise(&masked(0x89, b"ping"));
        client.send_bytewise(&masked(0x80, b"ment"));
        assert_eq!(client.read_frame(), (0x8a, b"ping".to_vec()));
        assert_eq!(client.read_text(), "fragment");
        client.send_bytewise(&masked_close(1000, "bye"));
        is_closed_with(&mut client, 1000);
    }
    let mut client = tiny.open(Version::Hixie76, "/echo");
    client.send_bytewise(b"\xff\x00");
    assert_eq!(client.read_to_end(), b"\xff\x00");
}

#[test]
fn the_first_frames_in_the_segment_of_the_request() {
    let tiny = Tiny::start();
    for version in VERSIONS {
        let mut client = Client::connect(tiny.addr);
        client.version = version;
        let frames = [client.text_bytes("first"), client.text_bytes("second")].concat();
        client.send(&[request(version, "/echo", ""), frames].concat());
        // No more is sent, but all is answered.
        client.end();
        client.read_answer();
        assert_eq!([client.read_text(), client.read_text()], ["first", "second"], "{version}");
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn a_hixie_76_client_is_not_open_before_its_last_byte() {
    let tiny = Tiny::start();
    let mut other = tiny.open(Version::Rfc6455, "/");
    let mut client = Client::connect(tiny.addr);
    client.version = Version::Hixie76;
    let bytes = request(Version::Hixie76, "/", "");
    let (all_but_one, last) = bytes.split_at(bytes.len() - 1);
    client.send(all_but_one);
    round_trip(&mut other);
    assert!(client.has_nothing());
    client.send(&[last, b"\0and now me\xff"].concat());
    client.read_answer();
    assert_eq!([client.read_text(), other.read_text()], ["and now me", "and now me"]);
}

#[test]
fn broken_rules_are_closed_with_1002() {
    let tiny = Tiny::start();
    let mut frames: Vec<Vec<u8>> = vec![
        b"\x81\x05Hello".to_vec(), // Not masked.
        masked(0x80, b"continues nothing"),
        [masked(0x01, b"one"), masked(0x81, b"another")].concat(), // A message inside another.
        masked(0x09, b"a ping in fragments"),
        masked(0x89, &[0; 126]),
        masked(0x88, b"x"),
        // Rules that the first two bytes break: nothing else need come.
        b"\x91\x80".to_vec(),
        b"\x88\x7f".to_vec(),
    ];
    frames.extend([0x40, 0x20, 0x10, 0x70].map(|bits| masked(0x81 | bits, b"reserved bits")));
    frames.extend([3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(|opcode| masked(0x80 | opcode, b"")));
    frames.extend([0, 999, 1004, 1005, 1006, 1015, 2999, 5000].map(|code| masked_close(code, "")));
    for version in HYBI {
        for frame in &frames {
            let mut client = tiny.open(version, "/");
            client.send(frame);
            // What comes behind it is not looked at, and is no reason to reset the connection.
            client.send(&masked(0x89, b"ping"));
            is_closed_with(&mut client, 1002);
        }
    }
}

#[test]
fn codes_that_may_be_sent_are_sent_back() {
    let tiny = Tiny::start();
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999] {
        let mut client = tiny.echo();
        client.close(code, "h\u{e9}");
        is_closed_with(&mut client, code);
    }
}

#[test]
fn what_is_not_utf_8_is_closed_with_1007() {
    let tiny = Tiny::start();
    for version in HYBI {
        for frames in [
            masked(0x81, b"\xff"),
            masked(0x81, b"\xed\xa0\x80"),
            masked(0x81, b"cut \xe2\x82"),
            [masked(0x01, b"\xe2"), masked(0x80, b"x")].concat(),
            masked(0x88, b"\x03\xe8\xff"),
        ] {
            let mut client = tiny.open(version, "/");
            client.send(&frames);
            is_closed_with(&mut client, 1007);
        }
    }
}

#[test]
fn too_long_a_message_is_closed_with_1009() {
    let tiny = Tiny::start();
    let half = masked(0x02, &[0; MAX_MESSAGE / 2]);
    let rest = masked(0x80, &[0; MAX_MESSAGE / 2 + 1]);
    for version in HYBI {
        for frames in [
            // The announcement is enough.
            b"\x82\xff\0\0\0\0\0\x01\0\x01".to_vec(),
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            masked(0x82, &[0; MAX_MESSAGE + 1]),
            [&half[..], &rest].concat(),
        ] {
            let mut client = tiny.open(version, "/");
            client.send(&frames);
            is_closed_with(&mut client, 1009);
        }
    }
    for (version, close) in [(Version::Hixie75, &b""[..]), (Version::Hixie76, b"\xff\x00")] {
        let mut client = tiny.open(version, "/");
        client.send(&[b"\0", &[b'x'; MAX_MESSAGE + 1][..]].concat());
        assert_eq!(client.read_to_end(), close, "{version}");
    }
}

#[test]
fn too_long_a_head_is_refused() {
    let tiny = Tiny::start();
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let fits = format!("{start}{}\r\n\r\n", "x".repeat(8 * 1024 - start.len() - 4));
    let never_ends = format!("{start}{}", "x".repeat(8 * 1024));
    for (head, status) in [(fits, 426), (never_ends, 431)] {
        let mut client = Client::connect(tiny.addr);
        client.send(head.as_bytes());
        assert_eq!(client.read_reply(false).status, status);
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn other_requests_are_refused() {
    let tiny = Tiny::start();
    let websocket = |fields: &str| {
        format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n")
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_string(), 426),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.0\r\n\r\n".to_string(), 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_string(), 400),
        ("\r\n\r\n".to_string(), 400),
        ("nonsense\r\n\r\n".to_string(), 400),
        (websocket(&format!("Sec-WebSocket-Version: 13\r\n{key}")), 400),
        (websocket(&format!("Host: a\r\nHost: b\r\nSec-WebSocket-Version: 13\r\n{key}")), 400),
        (websocket("Host: a\r\nSec-WebSocket-Version: 13\r\n"), 400),
        (websocket("Host: a\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: abc\r\n"), 400),
        (websocket(&format!("Host: a\r\nSec-WebSocket-Version: 13\r\n{key}{key}")), 400),
        (websocket(&format!("Host: a\r\nSec-WebSocket-Version: 9\r\n{key}")), 426),
        (websocket(&format!("Host: a\r\nOrigin: b\r\n{key}")), 426),
        (websocket("Host: a\r\n"), 426),
        (websocket("Host: a\nX: b\r\nOrigin: b\r\n"), 400),
        (websocket("Host: a\r\nOrigin: b\0\r\n"), 400),
    ] {
        let mut client = Client::connect(tiny.addr);
        client.send(head.as_bytes());
        let reply = client.read_reply(false);
        assert_eq!((reply.status, reply.text()), (status, "WebSockets only.\n"), "{head}");
        assert_eq!(reply.field("Sec-WebSocket-Version"), Some("13, 8, 7"));
        assert_eq!(client.read_to_end(), b"");
    }
}

#[test]
fn keys_that_no_hixie_76_client_makes_are_refused() {
    let tiny = Tiny::start();
    let good = "12998 5 Y3 1  .P00";
    for key in ["1", "a b", "0", "1 2 3 7x", "9 9999999999", "1 00000000000000000000000000", ""] {
        for (first, second) in [(key, good), (good, key)] {
            if first.is_empty() {
                continue;
            }
            let mut client = Client::connect(tiny.addr);
            let head = format!(
                "GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: a\r\n\
                 Origin: b\r\nSec-WebSocket-Key1: {first}\r\nSec-WebSocket-Key2: {second}\r\n\r\n"
            );
            client.send(&[head.as_bytes(), b"12345678"].concat());
            assert_eq!(client.read_reply(false).status, 400, "{first:?} {second:?}");
        }
    }
}

#[test]
fn a_client_that_vanishes_disturbs_nobody() {
    let tiny = Tiny::start();
    let mut witness = tiny.open(Version::Rfc6455, "/");
    for version in VERSIONS {
        let request = request(version, "/", "");
        // In the head, before its first message, and in the midst of one; by an end and by a reset.
        for len in [0, 10, request.len(), request.len() + 3] {
            for reset in [false, true] {
                let mut client = Client::connect(tiny.addr);
                client.version = version;
                let bytes = [&request[..], &client.text_bytes("never whole")].concat();
                client.send(&bytes[..len]);
                if reset {
                    client.reset();
                }
                round_trip(&mut witness);
            }
        }
    }
}

#[test]
fn who_does_not_read_is_dropped_and_nobody_else() {
    let tiny = Tiny::start();
    let mut witness = tiny.echo();
    for version in VERSIONS {
        let mut client = Client::with_small_window(tiny.addr, version, "/echo");
        let message = client.text_bytes(&"x".repeat(MAX_MESSAGE));
        // Far more than the kernel holds for both sides.
        let written = (0..1000).take_while(|_| client.stream.write_all(&message).is_ok()).count();
        assert!(written < 1000, "{version}");
        round_trip(&mut witness);
    }
}

#[test]
fn a_slow_reader_gets_all_in_the_end() {
    let tiny = Tiny::start();
    let (mut witness, mut client) = (tiny.echo(), tiny.echo());
    let message = masked(0x82, &[7; 8 * 1024]);
    // One who never reads shows how much the kernel and the program hold together.
    let mut most = 0;
    while client.stream.take_error().unwrap().is_none() {
        // It may be that this one is refused already.
        let _ = client.stream.write_all(&message);
        round_trip(&mut witness);
        most += 1;
        assert!(most < 10_000, "it is never dropped");
    }
    // The program holds the last 256 KiB of that. Half of them less, and nothing is lost.
    let mut client = tiny.echo();
    for _ in 0..most - 16 {
        client.send(&message);
        round_trip(&mut witness);
    }
    for n in 0..most - 16 {
        assert!(client.read_frame() == (0x82, vec![7; 8 * 1024]), "{n} of {most}");
    }
}

#[test]
fn what_comes_behind_a_broken_rule_is_not_kept() {
    let tiny = Tiny::start();
    let mut witness = tiny.echo();
    let mut client = tiny.echo();
    client.send(b"\xf1\x80");
    for _ in 0..1024 {
        client.send(&[0; 64 * 1024]);
    }
    is_closed_with(&mut client, 1002);
    round_trip(&mut witness);
    let status = std::fs::read_to_string(format!("/proc/{}/status", tiny.demo.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 32 * 1024, "{peak} KiB, of 64 MiB sent");
}

#[test]
fn a_reader_of_broadcasts_is_not_dropped_for_their_number() {
    let tiny = Tiny::start();
    let mut members = VERSIONS.map(|version| tiny.open(version, "/"));
    // Together more than may wait for one of them.
    let text = "x".repeat(MAX_MESSAGE);
    for member in &mut members {
        member.text(&text);
        member.text(&text);
    }
    for member in &mut members {
        for _ in 0..2 * VERSIONS.len() {
            assert!(member.read_text() == text, "{}", member.version);
        }
    }
}

#[test]
fn clients_beyond_the_limit_wait_for_their_turn() {
    let tiny = Tiny::start();
    let mut clients: Vec<Client> = (0..MAX_CONNECTIONS).map(|_| tiny.echo()).collect();
    let mut waiting = Client::connect(tiny.addr);
    waiting.ask(Version::Rfc6455, "/echo");
    round_trip(&mut clients[0]);
    assert!(waiting.has_nothing());
    drop(clients.pop());
    waiting.read_answer();
    round_trip(&mut waiting);
    round_trip(&mut clients[0]);
}

#[test]
fn a_client_that_is_not_ours() {
    let tiny = Tiny::start();
    let stream = TcpStream::connect(tiny.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://{}/echo", tiny.addr);
    let (mut client, answer) = tungstenite::client(url, stream).unwrap();
    assert_eq!(answer.status(), 101);
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        for message in [Message::text("x".repeat(len)), Message::binary(vec![7; len])] {
            client.send(message.clone()).unwrap();
            assert!(client.read().unwrap() == message, "{len}");
        }
    }
    client.send(Message::Ping(b"ping"[..].into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(b"ping"[..].into()));
    let close = CloseFrame { code: CloseCode::Library(4321), reason: "done here".into() };
    client.close(Some(close)).unwrap();
    let answer = CloseFrame { code: CloseCode::Library(4321), reason: "".into() };
    assert_eq!(client.read().unwrap(), Message::Close(Some(answer)));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
}
