//! Frames that announce what never comes, never end, or are never read: each has its bound, seen in
//! the memory of the program, and its close code; others are served meanwhile. Linux only, since
//! memory is read from `/proc`.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use wsloop::Version;

/// A client's frame of an announced length, of which nothing follows.
fn announced(first: u8, len: u64) -> Vec<u8> {
    [&[first, 0xff], &len.to_be_bytes()[..], b"key."].concat()
}

/// A client's frame without payload.
fn empty(first: u8) -> [u8; 6] {
    [first, 0x80, b'k', b'e', b'y', b'.']
}

/// Writes until all is written or the server has had enough; what it makes of it is seen elsewhere.
fn write_what_it_takes(client: &mut Client, bytes: &[u8], times: usize) {
    for _ in 0..times {
        if client.stream.write_all(bytes).is_err() {
            return;
        }
    }
}

#[test]
fn announced_lengths_take_no_memory() {
    let program = Program::start(&["--max-message", "1073741824"]);
    let addr = program.addr();
    let mut bystander = Bystander::on(addr);
    // Memory that was asked for counts here, touched or not.
    let before = program.memory("VmData");
    for version in HYBI {
        for first in [0x81, 0x82, 0x01, 0x02] {
            for (len, close) in [
                (1 << 30, None),
                ((1 << 30) + 1, Some((1009, "over the limit"))),
                ((1 << 63) - 1, Some((1009, "over the limit"))),
                (1 << 63, Some((1002, "beyond 63 bits"))),
                (u64::MAX, Some((1002, "beyond 63 bits"))),
            ] {
                let mut client = Client::open(addr, version, "/mirror");
                client.send(&announced(first, len));
                if let Some((code, words)) = close {
                    let (got, reason) = client.read_close();
                    assert!(got == code && reason.contains(words), "{len}: {got} {reason}");
                } else {
                    client.send_bytewise(b"0123456789");
                }
            }
        }
        // What is reserved is refused before its length is looked at.
        for (first, words) in [(0x83, "opcode"), (0x8b, "opcode"), (0xc2, "bit"), (0x89, "125")] {
            let mut client = Client::open(addr, version, "/mirror");
            client.send(&announced(first, (1 << 63) - 1));
            let (code, reason) = client.read_close();
            assert!(code == 1002 && reason.contains(words), "{first:x}: {code} {reason}");
        }
        // Two allowed halves make one message that is not.
        let mut client = Client::open(addr, version, "/mirror");
        client.send(&masked(0x02, b"0123456789"));
        client.send(&announced(0x80, (1 << 30) - 9));
        assert_eq!(client.read_close().0, 1009);
    }
    bystander.is_served();
    let after = program.memory("VmData");
    assert!(after < before + 8 * 1024, "{before} KiB before, {after} KiB after");
}

/// Many connections, each in the midst of a message of a gigabyte that never comes.
#[test]
fn messages_that_never_come_take_little_memory() {
    const COUNT: usize = 200;
    let program = Program::start(&["--max-message", "1073741824"]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.memory("VmData");
    let clients: Vec<Client> = (0..COUNT)
        .map(|_| {
            let mut client = Client::open(program.addr(), Version::Rfc6455, "/mirror");
            client.send(&announced(0x02, 1 << 30));
            client.send(b"0123456789");
            // Something that is answered, so that all of it was taken in.
            let mut other = Client::open(program.addr(), Version::Rfc6455, "/mirror");
            other.text("in between");
            assert_eq!(other.read_text(), "in between");
            client
        })
        .collect();
    bystander.is_served();
    let grown = program.memory("VmData").saturating_sub(before);
    assert!(grown < COUNT * 160, "{grown} KiB for {COUNT} connections");
    drop(clients);
}

#[test]
fn a_million_empty_fragments() {
    let program = Program::start(&[]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.resident();
    for first in [0x01, 0x02] {
        let mut client = Client::open(program.addr(), Version::Rfc6455, "/mirror");
        client.send(&empty(first));
        write_what_it_takes(&mut client, &empty(0x00).repeat(1000), 1000);
        let line = program.logged("1008");
        assert!(line.contains("too many fragments"), "{line}");
        bystander.is_served();
    }
    let after = program.resident();
    assert!(after < before + 4 * 1024, "{before} KiB before, {after} KiB after");
}

/// Just under the limit the message stays open; its fragments are one buffer, not an object each.
#[test]
fn fragments_that_wait_for_their_end() {
    const CLIENTS: usize = 8;
    const FRAGMENTS: usize = 131_071;
    let program = Program::start(&[]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.resident();
    let fragments = masked(0x00, b"x").repeat(FRAGMENTS - 1);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::open(program.addr(), Version::Rfc6455, "/mirror");
        client.send(&masked(0x02, b"x"));
        client.send(&fragments);
        client.send(&masked(0x89, b"so far"));
        assert_eq!(client.read_frame(), (0x8a, b"so far".to_vec()));
        clients.push(client);
    }
    let grown = program.resident().saturating_sub(before);
    // An eighth of a MiB each, and what growing a buffer leaves behind.
    assert!(grown < CLIENTS * 512, "{grown} KiB for {CLIENTS} messages");
    bystander.is_served();
    for mut client in clients {
        client.send(&masked(0x80, b"x"));
        let (first, message) = client.read_frame();
        assert_eq!((first, message.len()), (0x82, FRAGMENTS + 1));
    }
}

#[test]
fn pings_whose_pongs_are_never_read() {
    let program = Program::start(&["-v", "--max-backlog", "262144"]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.resident();
    let mut client = Client::with_small_window(program.addr(), Version::Rfc6455, "/mirror");
    // More than the kernel takes for one connection in both directions together.
    write_what_it_takes(&mut client, &masked(0x89, &[b'p'; 125]).repeat(100), 1500);
    program.logged("does not keep up");
    bystander.is_served();
    let after = program.resident();
    assert!(after < before + 4 * 1024, "{before} KiB before, {after} KiB after");
    client.reset();
    let line = program.logged("closed");
    assert!(line.contains(" 1008 \"backlog full\""), "{line}");
    bystander.is_served();
}

/// The same for the other kind of answer to bytes: messages that come back.
#[test]
fn echoes_that_are_never_read() {
    let program = Program::start(&["-v", "--max-backlog", "1048576"]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.resident();
    for version in VERSIONS {
        let mut client = Client::with_small_window(program.addr(), version, "/mirror");
        let message = client.text_bytes(&"x".repeat(60_000));
        write_what_it_takes(&mut client, &message, 300);
        program.logged("does not keep up");
        bystander.is_served();
        let after = program.resident();
        assert!(after < before + 8 * 1024, "{before} KiB before, {after} KiB after");
        client.reset();
        let line = program.logged("closed");
        assert!(line.contains(" 1008 \"backlog full\""), "{line}");
    }
}

#[test]
fn a_slow_reader_of_a_broadcast_is_cut_and_the_others_are_not() {
    const MESSAGES: usize = 400;
    let program = Program::start(&["--max-backlog", "1048576"]);
    let addr = program.addr();
    let mut bystander = Bystander::on(addr);
    let before = program.resident();
    let slow = VERSIONS.map(|version| Client::with_small_window(addr, version, "/broadcast"));
    let mut quick = Client::open(addr, Version::Rfc6455, "/broadcast");
    let mut sender = Client::open(addr, Version::Hybi08, "/broadcast");
    let message = "x".repeat(60_000);
    for _ in 0..MESSAGES {
        sender.text(&message);
        assert!(sender.read_text() == message);
        assert!(quick.read_text() == message);
    }
    let after = program.resident();
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    // They were given up by the time their neighbours had the last message; a reset ends what is
    // left of them at once.
    for client in slow {
        client.reset();
    }
    for _ in VERSIONS {
        let line = program.logged("closed");
        assert!(line.contains(" 1008 \"backlog full\""), "{line}");
    }
    bystander.is_served();
}

/// The old drafts announce lengths without a bound of their own, and texts end where they please.
#[test]
fn hixie_lengths_and_texts_without_end() {
    let program = Program::start(&["--max-message", "100000"]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.resident();
    for version in [Version::Hixie75, Version::Hixie76] {
        let goodbye: &[u8] = if version == Version::Hixie76 { &[0xff, 0x00] } else { b"" };
        for (start, more) in [
            (&b"\x80"[..], &b"\x80"[..]),
            (b"\x80", b"\xff"),
            (b"\xff", b"\x81"),
            (b"\x80\x81\x80\x80", b"\x80"),
            (b"\x00", b"x"),
            (b"\x00", b"\xc3"),
            (b"\x01", b"x"),
            (b"\x7f", b"\x00"),
        ] {
            let mut client = Client::open(program.addr(), version, "/mirror");
            client.send(start);
            write_what_it_takes(&mut client, &more.repeat(10_000), 100);
            let _ = client.stream.shutdown(Shutdown::Write);
            assert_eq!(client.read_to_end(), goodbye, "{version} {start:?} {more:?}");
            let line = program.logged("closed");
            assert!(line.contains("1009") && line.contains("over the limit"), "{line}");
        }
    }
    let after = program.resident();
    assert!(after < before + 2 * 1024, "{before} KiB before, {after} KiB after");
    bystander.is_served();
}

/// A file is read as its reader takes it, so that its size costs nothing.
#[test]
fn a_slow_reader_of_a_gigabyte() {
    let scratch = Scratch::new();
    let file = std::fs::File::create(scratch.join("large")).unwrap();
    file.set_len(1 << 30).unwrap();
    let program = Program::start(&["--root", scratch.to_str().unwrap()]);
    let mut bystander = Bystander::on(program.addr());
    let before = program.resident();
    let mut readers: Vec<Client> = (0..10).map(|_| Client::connect(program.addr())).collect();
    for client in &mut readers {
        client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let head = client.read_head();
        assert!(head.contains("Content-Length: 1073741824\r\n"), "{head}");
    }
    for _ in 0..40 {
        for client in &mut readers {
            client.read(64 * 1024);
        }
        bystander.is_served();
    }
    let after = program.resident();
    assert!(after < before + 2 * 1024, "{before} KiB before, {after} KiB after");
    // It shrinks under the readers: they get less than was announced, an end, and no filler.
    file.set_len(4 << 20).unwrap();
    let mut client = readers.pop().unwrap();
    let mut bytes = Vec::new();
    // An end or a reset: either says that it was not all.
    let _ = client.stream.read_to_end(&mut bytes);
    assert!(bytes.len() < 1 << 30, "{} bytes", bytes.len());
    bystander.is_served();
}
