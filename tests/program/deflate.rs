//! permessage-deflate (RFC 7692), from outside, by literal bytes and by the suite's own arithmetic.

use crate::common::{Client, masked, request};
use crate::memory::is_given_back;
use crate::program::Program;
use wsloop::Version;

/// Both of RFC 7692 section 7.2.3.1: `Hello`, compressed.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// Text, and compressed: FIN, RSV1, opcode 1.
const DEFLATED_TEXT: u8 = 0xc1;

/// A client whose request has these fields, and the head of the answer.
fn client(program: &Program, version: Version, fields: &str) -> (Client, String) {
    let mut client = Client::connect(program.addr());
    client.send(&request(version, "/mirror", fields));
    let head = client.read_head();
    (client, head)
}

/// A block of the fixed code (RFC 1951 section 3.2.6): a zero, then `runs` runs of 258 zeros.
fn bomb(runs: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    let mut put = |code: u32, len: u32| bits.extend((0..len).rev().map(|bit| code >> bit & 1 == 1));
    put(0b010, 3); // Not the last block; type 01, the lower bit first.
    put(0b0011_0000, 8); // The literal 0.
    for _ in 0..runs {
        put(0b1100_0101, 8); // Length 258,
        put(0, 5); // distance 1.
    }
    let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    bits.chunks_exact(8).map(byte).collect()
}

#[test]
fn a_compressed_message_is_understood_and_a_short_one_sent_as_it_is() {
    let program = Program::start(&["--deflate"]);
    let (mut client, head) = client(&program, Version::Rfc6455, OFFER);
    let answer = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                  client_no_context_takeover\r\n";
    assert!(head.contains(answer), "{head}");
    client.send(&masked(DEFLATED_TEXT, HELLO));
    assert_eq!(client.read_frame(), (0x81, b"Hello".to_vec()));
    // In two fragments, with a ping between them.
    client
        .send(&[masked(0x41, &HELLO[..3]), masked(0x89, b"p"), masked(0x80, &HELLO[3..])].concat());
    assert_eq!(client.read_frame(), (0x8a, b"p".to_vec()));
    assert_eq!(client.read_frame(), (0x81, b"Hello".to_vec()));
}

#[test]
fn a_long_message_is_sent_compressed() {
    let program = Program::start(&["--deflate"]);
    let (mut client, _) = client(&program, Version::Rfc6455, OFFER);
    client.send(&masked(0x81, &[b'a'; 4000]));
    let (first, payload) = client.read_frame();
    assert_eq!(first, DEFLATED_TEXT);
    assert!(payload.len() < 100, "{} bytes", payload.len());
    // And it is what was sent: the server itself takes it back.
    client.send(&masked(DEFLATED_TEXT, &payload));
    assert_eq!(client.read_frame(), (DEFLATED_TEXT, payload));
}

#[test]
fn nothing_is_agreed_on_with_those_who_do_not_offer_it_or_are_too_old() {
    let program = Program::start(&["--deflate"]);
    for (version, fields) in [
        (Version::Rfc6455, ""),
        (Version::Rfc6455, "Sec-WebSocket-Extensions: x-webkit-deflate-frame, deflate-stream\r\n"),
        (Version::Rfc6455, "Sec-WebSocket-Extensions: permessage-deflate; unheard_of\r\n"),
        (Version::Hybi08, OFFER),
        (Version::Hybi07, OFFER),
    ] {
        let (mut client, head) = client(&program, version, fields);
        assert!(!head.contains("Extensions"), "{head}");
        client.send(&masked(DEFLATED_TEXT, HELLO));
        assert_eq!(client.read_close().0, 1002, "{version} {fields}");
    }
}

#[test]
fn what_is_no_compressed_data_is_1007() {
    let program = Program::start(&["--deflate"]);
    let (mut client, _) = client(&program, Version::Rfc6455, OFFER);
    client.send(&masked(DEFLATED_TEXT, b"\xff\xff\xff\xff"));
    assert_eq!(client.read_close().0, 1007);
}

#[test]
fn a_bomb_goes_off_at_the_limit() {
    let program = Program::start(&["--deflate"]);
    let (mut client, _) = client(&program, Version::Rfc6455, OFFER);
    // 80 MB in half a megabyte.
    let bomb = bomb(310_000);
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let before = program.resident();
    client.send(&masked(0xc2, &bomb));
    assert_eq!(client.read_close().0, 1009);
    let grown = program.resident().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
}

/// The window of a message that is under way is held for its client, and for nobody who has gone.
#[test]
fn messages_that_are_never_whole_leave_no_memory_taken() {
    let program = Program::start(&["--deflate", "--quiet"]);
    is_given_back(&program, || {
        let (mut client, _) = client(&program, Version::Rfc6455, OFFER);
        client.send(&[masked(0x41, &HELLO[..4]), masked(0x89, b"p")].concat());
        assert_eq!(client.read_frame(), (0x8a, b"p".to_vec()));
        client
    });
}
