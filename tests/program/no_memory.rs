//! The program where memory cannot be had: under a limit on its address space.

use std::process::Command;

use crate::common::*;
use crate::neighbours::Bystander;
use crate::program::{Program, WSLOOP};
use wsloop::Version;

const WHY: &str = "no memory for this message";
const PIECE: usize = 1 << 20;

/// A server that would take a message of 1 GiB, but can have 200,000 KiB of memory in all.
fn with_little_memory() -> Program {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 200000; exec \"$0\" \"$@\"", WSLOOP]);
    Program::start_by(
        &mut shell,
        &["127.0.0.1:0"],
        &["--max-message", "1073741824", "--max-memory", "9000000000"],
    )
}

fn open(program: &Program, path: &str) -> Client {
    Client::open(program.addr(), Version::Rfc6455, path)
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// Sends a message of so many pieces, and sees that another client is served meanwhile; up to the
/// piece that something is answered to. The mask is all zeros.
fn send(client: &mut Client, first: u8, pieces: usize, bystander: &mut Bystander) {
    let length = (pieces * PIECE) as u64;
    client.send(&[&[first, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat());
    let piece = vec![b'x'; PIECE];
    for _ in 0..pieces {
        client.send(&piece);
        bystander.is_served();
        if !client.has_nothing() {
            return;
        }
    }
}

#[test]
fn a_message_that_there_is_no_memory_for_ends_its_connection_alone() {
    let program = with_little_memory();
    let mut bystander = Bystander::on(program.addr());
    for first in [TEXT, BINARY] {
        // It grows to 139 MB at least, and cannot be moved to where it may become twice as long.
        let mut client = open(&program, "/mirror");
        send(&mut client, first, 300, &mut bystander);
        assert_eq!(client.read_close(), (1011, WHY.to_string()));
        program.logged(WHY);
        bystander.is_served();
        // What it held is free again.
        let mut client = open(&program, "/mirror");
        client.text("small");
        assert_eq!(client.read_text(), "small");
    }
    bystander.is_served();
}

/// It can be had once, and not a second time.
const ONCE: usize = 110;

#[test]
fn an_answer_that_there_is_no_memory_for_ends_its_connection_alone() {
    let program = with_little_memory();
    let mut bystander = Bystander::on(program.addr());
    let mut client = open(&program, "/mirror");
    send(&mut client, BINARY, ONCE, &mut bystander);
    // The kernel has taken a part of the answer, so that no close frame can be sent behind it.
    client.wait_for_the_end();
    program.logged(WHY);
    bystander.is_served();
    // This handler makes a copy of its own.
    let mut client = open(&program, "/echo");
    send(&mut client, TEXT, ONCE, &mut bystander);
    assert_eq!(client.read_close(), (1011, "no memory for the answer".to_string()));
    bystander.is_served();
}

#[test]
fn a_broadcast_that_there_is_no_memory_for_ends_those_who_would_miss_it() {
    let program = with_little_memory();
    let mut bystander = Bystander::on(program.addr());
    let mut listener = open(&program, "/broadcast");
    let mut client = open(&program, "/broadcast");
    client.text("before");
    assert_eq!((client.read_text(), listener.read_text()), ("before".into(), "before".into()));
    send(&mut client, BINARY, ONCE, &mut bystander);
    for client in [&mut client, &mut listener] {
        assert_eq!(client.read_close(), (1011, WHY.to_string()));
        program.logged(WHY);
    }
    bystander.is_served();
}
