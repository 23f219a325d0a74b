//! Bytes on the wire: how they are cut into segments, what is negotiated, and what happens to peers
//! that read slowly, stop sending or cannot carry a message.

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use wsloop::handlers::{Broadcast, Mirror};
use wsloop::{Answer, Config, Context, Handler, Message, OnFull, Request, SendStatus, Version};

fn mirror(config: Config) -> Running {
    serve(config, |server| server.route("/", Mirror))
}

#[test]
fn the_first_frame_in_the_segment_of_the_request() {
    let server = mirror(Config::default());
    for version in VERSIONS {
        let mut client = Client::connect(server.addr);
        client.version = version;
        let frames = [client.text_bytes("first"), client.text_bytes("second")].concat();
        client.send(&[request(version, "/", ""), frames].concat());
        client.read_answer();
        assert_eq!([client.read_text(), client.read_text()], ["first", "second"], "{version}");
    }
}

#[test]
fn one_byte_per_segment() {
    let server = mirror(Config::default());
    for version in VERSIONS {
        let mut client = Client::connect(server.addr);
        client.version = version;
        client.send_bytewise(&request(version, "/", ""));
        client.read_answer();
        let text = "\u{e9}\u{20ac}\u{1f600}".repeat(20);
        let bytes = client.text_bytes(&text);
        client.send_bytewise(&bytes);
        assert_eq!(client.read_text(), text, "{version}");
    }
}

#[test]
fn ten_thousand_frames_in_one_write() {
    let server = mirror(Config::default());
    for version in VERSIONS {
        let mut client = Client::open(server.addr, version, "/");
        let texts: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let bytes: Vec<u8> = texts.iter().flat_map(|text| client.text_bytes(text)).collect();
        client.send(&bytes);
        let expected: Vec<u8> = texts
            .iter()
            .flat_map(|text| match version.is_hixie() {
                true => client.text_bytes(text),
                false => server_frame(0x81, text.as_bytes()),
            })
            .collect();
        assert!(client.read(expected.len()) == expected, "{version}");
    }
}

/// A message in fragments of one byte each.
fn in_fragments(count: usize) -> Vec<u8> {
    let first = masked(0x02, b"x");
    let last = masked(0x80, b"x");
    [first, masked(0x00, b"x").repeat(count - 2), last].concat()
}

#[test]
fn fragments_of_one_byte_up_to_the_limit() {
    let server = mirror(Config::default());
    let mut client = Client::open(server.addr, Version::Rfc6455, "/");
    client.send(&in_fragments(131_072));
    let (first, payload) = client.read_frame();
    assert!(first == 0x82 && payload == vec![b'x'; 131_072], "{} bytes", payload.len());
    client.send(&in_fragments(131_073));
    assert_eq!(client.read_close(), (1008, "too many fragments in a message".to_string()));
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn a_mebibyte_in_fragments_of_one_byte() {
    let server = mirror(config(|config| config.max_fragments = 1 << 20));
    let mut client = Client::open(server.addr, Version::Rfc6455, "/");
    client.send(&in_fragments(1 << 20));
    let (first, payload) = client.read_frame();
    assert!(first == 0x82 && payload == vec![b'x'; 1 << 20], "{} bytes", payload.len());
    client.send(&in_fragments((1 << 20) + 1));
    assert_eq!(client.read_close().0, 1009);
}

#[test]
fn a_mebibyte_there_and_back() {
    let server = mirror(Config::default());
    let payload: Vec<u8> =
        (0..1u32 << 18).flat_map(|n| n.wrapping_mul(40503).to_le_bytes()).collect();
    for version in HYBI {
        let mut client = Client::open(server.addr, version, "/");
        for _ in 0..2 {
            client.send(&masked(0x82, &payload));
            let (first, back) = client.read_frame();
            assert!(first == 0x82 && back == payload, "{version}: {} bytes", back.len());
        }
        client.send(&masked(0x82, &[&payload[..], b"x"].concat()));
        assert_eq!(client.read_close().0, 1009, "{version}");
    }
    for version in [Version::Hixie75, Version::Hixie76] {
        let mut client = Client::open(server.addr, version, "/");
        let bytes = client.text_bytes(&"x".repeat(1 << 20));
        client.send(&bytes);
        assert!(client.read(bytes.len()) == bytes, "{version}");
    }
}

#[test]
fn hixie_76_is_answered_before_its_last_bytes_have_come() {
    let server = serve(Config::default(), |server| server.route("/", Broadcast));
    let mut other = Client::open(server.addr, Version::Rfc6455, "/");
    let mut client = Client::connect(server.addr);
    client.version = Version::Hixie76;
    let bytes = request(Version::Hixie76, "/", "");
    let (head, key) = bytes.split_at(bytes.len() - 8);
    client.send(head);
    let answer = client.read_head();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    // Not open yet: a broadcast is not for it, and must not come before the digest.
    for piece in [&key[..3], &key[3..7]] {
        client.send(piece);
        other.text("to those who are here");
        assert_eq!(other.read_text(), "to those who are here");
    }
    assert!(client.has_nothing());
    client.send(&[&key[7..], b"\0and now me\xff"].concat());
    assert_eq!(client.read(16), b"8jKS'y:G*Co,Wxa-");
    assert_eq!([client.read_text(), other.read_text()], ["and now me", "and now me"]);
}

/// Speaks `superchat` where it is offered; on `/odd` one that nobody offers.
struct Chat;

impl Handler for Chat {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
        match request.protocols().find(|name| *name == "superchat") {
            _ if request.path() == "/odd" => Answer::Protocol("unheard-of".to_string()),
            Some(name) => Answer::Protocol(name.to_string()),
            None => Answer::Proceed,
        }
    }

    fn on_message(&mut self, ws: &mut Context<'_>, _: Message<'_>) {
        let protocol = format!("{:?}", ws.protocol());
        ws.send(&protocol);
    }
}

#[test]
fn subprotocols_are_chosen_by_the_handler() {
    let server = serve(Config::default(), |server| server.route("*", Chat));
    let ask = |version: Version, path: &str, offer: &str| {
        let name = match version {
            Version::Hixie75 => "WebSocket-Protocol",
            _ => "Sec-WebSocket-Protocol",
        };
        let mut client = Client::connect(server.addr);
        client.version = version;
        client.send(&request(version, path, &format!("{name}: {offer}\r\n")));
        let head = client.read_answer();
        let field = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        client.text("which?");
        assert_eq!(client.read_text(), format!("{field:?}"), "{version}: {head}");
        assert_eq!(head.matches("-Protocol:").count(), usize::from(field.is_some()), "{head}");
        field.map(str::to_string)
    };
    for version in HYBI {
        assert_eq!(ask(version, "/", "chat, superchat"), Some("superchat".into()));
    }
    for version in VERSIONS {
        assert_eq!(ask(version, "/", "superchat"), Some("superchat".into()), "{version}");
        assert_eq!(ask(version, "/", "chat"), None, "{version}");
        assert_eq!(ask(version, "/odd", "chat"), None, "{version}");
    }
}

#[test]
fn extensions_are_declined() {
    let server = mirror(Config::default());
    let mut client = Client::connect(server.addr);
    let fields = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    client.send(&request(Version::Rfc6455, "/", fields));
    let head = client.read_answer();
    assert!(!head.contains("Extensions"), "{head}");
    client.text("plain");
    assert_eq!(client.read_text(), "plain");
    client.send(&masked(0xc1, b"compressed"));
    assert_eq!(client.read_close(), (1002, "reserved bit set".to_string()));
}

#[test]
fn what_a_hixie_client_cannot_carry_is_left_out() {
    let (recorder, log) = record_with(|ws, what| match what {
        What::Binary(_) => ws.broadcast(&[1, 2, 3][..]),
        What::Text(_) => {
            let status = ws.send(&[1][..]);
            ws.broadcast(&format!("{status:?}"));
        }
        _ => {}
    });
    let server = serve(Config::default(), |server| server.route("/", recorder));
    for version in [Version::Hixie75, Version::Hixie76] {
        let mut old = Client::open(server.addr, version, "/");
        let mut new = Client::open(server.addr, Version::Rfc6455, "/");
        new.send(&masked(0x82, b"binary"));
        assert_eq!(new.read_frame(), (0x82, vec![1, 2, 3]));
        old.text("text");
        assert_eq!([old.read_text(), new.read_text()], ["Dropped", "Dropped"], "{version}");
        old.end();
        old.wait_for_the_end();
    }
    server.stop();
    assert_eq!(log.rest().len(), 2 * 6);
}

#[test]
fn who_stops_sending_still_gets_the_answers() {
    let server = mirror(Config::default());
    for version in VERSIONS {
        let mut client = Client::connect(server.addr);
        client.version = version;
        let frames = [client.text_bytes("one"), client.text_bytes("two")].concat();
        client.send(&[request(version, "/", ""), frames].concat());
        client.end();
        client.read_answer();
        assert_eq!([client.read_text(), client.read_text()], ["one", "two"], "{version}");
        assert_eq!(client.read_to_end(), b"", "{version}");
    }
    let mut client = Client::connect(server.addr);
    client.send(&b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3));
    client.end();
    let all = String::from_utf8(client.read_to_end()).unwrap();
    assert_eq!(all.matches("HTTP/1.1 404 ").count(), 3, "{all}");
}

#[test]
fn a_paused_connection_is_read_on_when_resumed() {
    let mut first = None;
    let (recorder, log) = record_with(move |ws, what| match what {
        What::Text(text) if text == "pause" => {
            first = Some(ws.id());
            ws.pause();
        }
        What::Text(text) if text == "resume" => ws.to(first.unwrap()).resume(),
        _ => {}
    });
    let server = serve(Config::default(), |server| server.route("/", recorder));
    for version in VERSIONS {
        let mut client = Client::open(server.addr, version, "/");
        let mut other = Client::open(server.addr, version, "/");
        let (id, other_id) = (log.opened(), log.opened());
        let both = [client.text_bytes("pause"), client.text_bytes("behind it")].concat();
        client.send(&both);
        log.expect(id, What::Text("pause".into()));
        client.text("later");
        client.end();
        other.text("resume");
        log.expect(other_id, What::Text("resume".into()));
        log.expect(id, What::Text("behind it".into()));
        log.expect(id, What::Text("later".into()));
        log.expect(id, What::Close(1006, String::new()));
        other.end();
        log.expect(other_id, What::Close(1006, String::new()));
    }
}

#[test]
fn a_slow_reader_is_felt_and_its_catching_up_too() {
    let (recorder, log) = record_with(|ws, what| match what {
        What::Text(_) => {
            while ws.send(&[7; 9000][..]) == SendStatus::Queued {}
            assert!(ws.buffered_amount() > 64 * 1024);
        }
        What::Drain => {
            assert_eq!(ws.buffered_amount(), 0);
            ws.send("drained");
        }
        _ => {}
    });
    let server = serve(Config::default(), |server| server.route("/", recorder));
    let mut client = Client::open(server.addr, Version::Rfc6455, "/");
    let id = log.opened();
    client.text("go");
    for _ in 0..8 {
        assert_eq!(client.read_frame().1.len(), 9000);
    }
    assert_eq!(client.read_text(), "drained");
    log.expect(id, What::Text("go".into()));
    log.expect(id, What::Drain);
    client.end();
    log.expect(id, What::Close(1006, String::new()));
}

#[test]
fn messages_over_the_backlog_may_be_dropped_instead() {
    let (recorder, log) = record_with(|ws, what| match what {
        What::Text(_) => {
            let all: Vec<SendStatus> = (0..4).map(|_| ws.send(&[7; 9000][..])).collect();
            use SendStatus::{Dropped, Queued};
            assert_eq!(all, [Queued, Queued, Dropped, Dropped]);
        }
        What::Drain => assert_eq!(ws.send("some are missing"), SendStatus::Queued),
        _ => {}
    });
    let config = config(|config| {
        config.max_backlog = 20_000;
        config.on_full = OnFull::Drop;
    });
    let server = serve(config, |server| server.route("/", recorder));
    let mut client = Client::open(server.addr, Version::Rfc6455, "/");
    for _ in 0..2 {
        client.text("go");
        assert_eq!([client.read_frame().1.len(), client.read_frame().1.len()], [9000, 9000]);
        assert_eq!(client.read_text(), "some are missing");
    }
    client.end();
    assert_eq!(client.read_to_end(), b"");
    server.stop();
    let calls: Vec<What> = log.rest().into_iter().map(|event| event.what).skip(1).collect();
    let (go, end) = (What::Text("go".into()), What::Close(1006, String::new()));
    assert_eq!(calls, [go.clone(), What::Drain, go, What::Drain, end]);
}
