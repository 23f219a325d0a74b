//! Offers of compression, and compressed messages, that are made to do harm.

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::serving::*;
use wsloop::{Config, Deflate, Version};

/// Text, and compressed: FIN, RSV1, opcode 1.
const DEFLATED_TEXT: u8 = 0xc1;
/// RFC 7692 section 7.2.3.1: `Hello`, compressed.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

fn deflating(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = open_to_all();
    config.deflate = Some(Deflate::default());
    change(&mut config);
    site(config)
}

/// A client with whom compression is agreed on.
fn open(server: &Running) -> Client {
    let mut client = Client::connect(server.addr);
    client.send(&request(Version::Rfc6455, "/mirror", OFFER));
    assert!(client.read_answer().contains("Sec-WebSocket-Extensions: permessage-deflate;"));
    client
}

/// Lists of up to two megabytes. A server that goes through the whole list for each of its parts would
/// not answer before the client gives up.
#[test]
fn offers_that_are_slow_to_take_apart() {
    const MANY: usize = 100_000;
    let server = deflating(|config| config.max_head = 64 << 20);
    let mut bystander = Bystander::on(server.addr);
    for (value, agreed) in [
        (format!("a; b=\"{}", "\\c".repeat(MANY)), false),
        (format!("a; b={}", "\"".repeat(MANY)), false),
        (format!("permessage-deflate{}", " ".repeat(MANY)), true),
        (format!("permessage-deflate; a{}", "=".repeat(MANY)), false),
        (format!("permessage-deflate; {}", "a;".repeat(MANY)), false),
        ("permessage-deflate; ".repeat(MANY), false),
        ("permessage-deflate; server_no_context_takeover=\"\", ".repeat(MANY), false),
        (format!("permessage-deflate; server_max_window_bits={}", "1".repeat(MANY)), false),
        (format!("permessage-deflate; server_max_window_bits=\"{}", "\\1".repeat(MANY)), false),
        (format!("permessage-deflate; {}", "client_max_window_bits; ".repeat(MANY)), false),
        ("constructor, __proto__; toString=1,;".repeat(MANY / 10), false),
        (format!("{}permessage-deflate", ", ".repeat(MANY)), true),
        (format!("{}permessage-deflate", "permessage-deflate; a, ".repeat(MANY)), true),
        (format!("permessage-deflate{}", ", permessage-deflate".repeat(MANY)), true),
    ] {
        let offer = format!("Sec-WebSocket-Extensions: {value}\r\n");
        for version in HYBI {
            let answer = ask(server.addr, &request(version, "/mirror", &offer));
            let expected = agreed && version == Version::Rfc6455;
            assert_eq!(answer.status, 101, "{value:.60}");
            assert_eq!(answer.field("Sec-WebSocket-Extensions").is_some(), expected, "{value:.60}");
        }
        bystander.is_served();
    }
}

/// Whoever ends in the midst of a message, or breaks a rule there, leaves nothing behind for the
/// next one, who may be given the same memory.
#[test]
fn what_was_half_inflated_is_never_somebody_elses() {
    let server = deflating(|_| {});
    let mut bystander = Bystander::on(server.addr);
    let mut whole = open(&server);
    for _ in 0..20 {
        let mut unfinished = open(&server);
        unfinished.send(&masked(0x41, &HELLO[..4]));
        unfinished.send(&masked(0x89, b"so far"));
        assert_eq!(unfinished.read_frame(), (0x8a, b"so far".to_vec()));
        let mut wrong = open(&server);
        wrong.send(&masked(DEFLATED_TEXT, &[&HELLO[..4], b"\xff\xff"].concat()));
        assert_eq!(wrong.read_close().0, 1007);
        let mut fresh = open(&server);
        for client in [&mut whole, &mut fresh] {
            client.send(&masked(DEFLATED_TEXT, HELLO));
            assert_eq!(client.read_text(), "Hello");
        }
        unfinished.reset();
        whole.send(&masked(DEFLATED_TEXT, HELLO));
        assert_eq!(whole.read_text(), "Hello");
    }
    bystander.is_served();
}

/// The limit is that of the message, and not of what is sent for it: on both sides of it.
#[test]
fn the_limit_of_a_message_is_that_of_what_is_inflated() {
    const MOST: usize = 300;
    let server = deflating(|config| config.max_message = MOST);
    let mut bystander = Bystander::on(server.addr);
    // As it is, in a stored block (RFC 1951 section 3.2.4), which is longer than what it means; and
    // as zlib makes it, which is a few bytes.
    let stored = |len: u16| {
        let head = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes()].concat();
        [head, vec![b'a'; len.into()], vec![0]].concat()
    };
    for (payload, fits) in [
        (stored(300), true),
        (stored(301), false),
        (b"\x4a\x4c\x1c\x05\xc4\x02\x00\x00".to_vec(), true),
        (b"\x4a\x4c\x1c\x05\x44\x03\x00\x00".to_vec(), false),
    ] {
        let mut client = open(&server);
        client.send(&masked(DEFLATED_TEXT, &payload));
        if fits {
            assert_eq!(client.read_text(), "a".repeat(MOST));
        } else {
            assert_eq!(client.read_close(), (1009, "message over the limit".into()));
        }
    }
    bystander.is_served();
}
