//! Signals that end the program: with nothing to do, in the midst of work, and once more.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use rustix::process::Signal;
use wsloop::Version;

#[test]
fn a_signal_closes_all_connections_and_frees_the_port() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = Program::start(&[]);
        let addr = program.addr();
        let mut clients = HYBI.map(|version| Client::open(addr, version, "/mirror"));
        clients[0].text("before the end");
        assert_eq!(clients[0].read_text(), "before the end");
        let mut idle = Client::connect(addr);
        program.signal(signal);
        for client in &mut clients {
            assert_eq!(client.read_close().0, 1001);
            client.close(1001, "");
            assert_eq!(client.read_to_end(), b"");
        }
        // Who has asked for nothing is told too, and nobody waits for it to go.
        assert_eq!(program.wait().code(), Some(0));
        assert_eq!(idle.read_reply(false).status, 503);
        let again = Program::start_on(&[&addr.to_string()], &[]);
        assert_eq!(again.addr(), addr);
    }
}

/// Whether this process ignores SIGHUP, and so does every program that it starts.
#[cfg(target_os = "linux")]
fn hangups_are_ignored_here() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_closes_all_connections() {
    if hangups_are_ignored_here() {
        return;
    }
    let mut program = Program::start(&[]);
    let mut clients = HYBI.map(|version| Client::open(program.addr(), version, "/mirror"));
    program.signal(Signal::HUP);
    for client in &mut clients {
        assert_eq!(client.read_close().0, 1001);
    }
    // The shell may send another one than the kernel: they change nothing.
    program.signal(Signal::HUP);
    for client in &mut clients {
        client.close(1001, "");
        assert_eq!(client.read_to_end(), b"");
    }
    assert_eq!(program.wait().code(), Some(0));

    // But who asks in another way as well is in a hurry.
    let mut program = Program::start(&[]);
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/mirror");
    program.signal(Signal::HUP);
    assert_eq!(client.read_close().0, 1001);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(128 + 15));
}

/// As nohup(1) starts it.
#[test]
fn a_hangup_that_is_ignored_stays_so() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", WSLOOP]);
    let mut program = Program::start_by(&mut command, &["127.0.0.1:0"], &[]);
    let mut bystander = Bystander::on(program.addr());
    for _ in 0..3 {
        program.signal(Signal::HUP);
        bystander.is_served();
    }
    program.signal(Signal::TERM);
    assert_eq!(bystander.0.read_close().0, 1001);
    bystander.0.close(1001, "");
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn what_is_queued_is_sent_before_the_end() {
    // More than the kernel holds for a client that does not read.
    const SIZE: usize = 12 << 20;
    let size = SIZE.to_string();
    let mut program = Program::start(&["--max-message", &size]);
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/mirror");
    client.send(&masked(0x82, &vec![b'x'; SIZE]));
    assert_eq!(client.read(2), [0x82, 127]);
    program.signal(Signal::TERM);
    program.logged("stopping");
    assert_eq!(client.read(8), SIZE.to_be_bytes());
    assert!(client.read(SIZE).iter().all(|byte| *byte == b'x'));
    assert_eq!(client.read_close().0, 1001);
    client.close(1001, "");
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut program = Program::start(&[]);
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/mirror");
    program.signal(Signal::TERM);
    // The first has been taken; the client leaves the close without its answer.
    assert_eq!(client.read_close().0, 1001);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(128 + 15));
}

/// What a mirror sends for these bytes of a client.
fn echoed(version: Version, text: &str) -> Vec<u8> {
    if version.is_hixie() {
        return [b"\0", text.as_bytes(), b"\xff"].concat();
    }
    let len = u16::try_from(text.len()).unwrap();
    assert!(len > 125);
    [&[0x81, 126], &len.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The server's goodbye, and the end.
fn is_told_goodbye(client: &mut Client) {
    match client.version {
        Version::Hixie75 => {}
        Version::Hixie76 => assert_eq!(client.read(2), [0xff, 0]),
        _ => {
            assert_eq!(client.read_close(), (1001, "the server stops".into()));
            client.close(1001, "");
        }
    }
    assert_eq!(client.read_to_end(), b"");
}

/// Slow readers with megabytes queued: when a neighbour has a message, it is queued for them too.
#[test]
fn all_that_is_queued_comes_before_the_goodbye() {
    // Together more than the kernel holds for a client that does not read.
    const COUNT: usize = 200;
    let mut program = Program::start(&["--max-backlog", "33554432"]);
    let addr = program.addr();
    let mut slow = VERSIONS.map(|version| Client::open(addr, version, "/broadcast"));
    let mut speaker = Client::open(addr, Version::Hybi08, "/broadcast");
    let texts: Vec<String> = (0..COUNT).map(|n| format!("{n:06}").repeat(10_000)).collect();
    for text in &texts {
        speaker.text(text);
        assert!(speaker.read_text() == *text);
    }
    program.signal(Signal::TERM);
    program.logged("stopping");
    is_told_goodbye(&mut speaker);
    thread::scope(|scope| {
        for client in &mut slow {
            scope.spawn(|| {
                for text in &texts {
                    let expected = echoed(client.version, text);
                    assert!(client.read(expected.len()) == expected, "{}", client.version);
                }
                is_told_goodbye(client);
                if client.version.is_hixie() {
                    client.end();
                }
            });
        }
    });
    assert_eq!(program.wait().code(), Some(0));
}

/// Message number `n`: text of 1 to 9 kB.
fn numbered(n: usize) -> String {
    format!("{n:08}").repeat(125 + 250 * (n % 5))
}

/// Reads echoes and has one message more sent for each, until the goodbye; how many came.
fn read_echoes(client: &mut Client, credit: &Sender<()>, warm: &Sender<()>) -> usize {
    let mut count = 0;
    loop {
        let expected = echoed(client.version, &numbered(count));
        let mut first = [0];
        let goodbye = match client.stream.read(&mut first).unwrap() {
            0 => return count,
            _ => first[0] != expected[0],
        };
        if goodbye {
            let rest = client.read(if client.version.is_hixie() { 1 } else { 3 });
            assert!(
                (first[0] == 0xff && rest == [0])
                    || (first[0] == 0x88 && rest[1..] == 1001u16.to_be_bytes())
            );
            return count;
        }
        assert!(client.read(expected.len() - 1) == expected[1..], "{count}");
        count += 1;
        let _ = credit.send(());
        if count == 50 {
            warm.send(()).unwrap();
        }
    }
}

/// Sends message after message, as many ahead of the echoes as there is credit.
fn keep_sending(mut stream: std::net::TcpStream, version: Version, credit: &Receiver<()>) {
    let mut n = 0;
    while credit.recv().is_ok() {
        let text = numbered(n);
        if stream.write_all(&text_message(version, text.as_bytes())).is_err() {
            return;
        }
        n += 1;
    }
}

#[test]
fn a_stop_in_the_midst_of_work() {
    let mut program = Program::start(&[]);
    let addr = program.addr();
    let (warm, warmed) = channel();
    thread::scope(|scope| {
        for version in VERSIONS {
            let mut client = Client::open(addr, version, "/mirror");
            let (credit, allowed) = channel();
            for _ in 0..100 {
                credit.send(()).unwrap();
            }
            let writing = client.stream.try_clone().unwrap();
            scope.spawn(move || keep_sending(writing, version, &allowed));
            let warm = warm.clone();
            scope.spawn(move || {
                // Every echo in its order, none left out, and behind the last one the goodbye.
                assert!(read_echoes(&mut client, &credit, &warm) >= 50);
                drop(credit);
                if !version.is_hixie() {
                    // The other thread may be in the midst of a message: so just the end.
                    client.end();
                }
                let _ = client.stream.shutdown(std::net::Shutdown::Both);
            });
        }
        for _ in VERSIONS {
            warmed.recv_timeout(2 * PATIENCE).expect("echoes come");
        }
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0));
        // The port is free at once.
        let again = Program::start_on(&[&addr.to_string()], &[]);
        Bystander::on(again.addr()).is_served();
    });
}

#[test]
fn a_second_signal_does_not_wait_for_anybody() {
    for (first, second, code) in
        [(Signal::TERM, Signal::INT, 128 + 2), (Signal::INT, Signal::TERM, 128 + 15)]
    {
        let mut program = Program::start(&[]);
        let mut slow = Client::with_small_window(program.addr(), Version::Rfc6455, "/mirror");
        // More than is taken off its hands, and none of it is read.
        for _ in 0..3 {
            slow.send(&masked(0x82, &vec![0; 1 << 20]));
        }
        slow.read(2);
        program.signal(first);
        program.logged("stopping");
        program.signal(second);
        assert_eq!(program.wait().code(), Some(code));
        drop(slow);
    }
}

/// The states of the connections that have this as their port here, as the kernel numbers them.
fn states(addr: SocketAddr) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", addr.port());
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&port)).map(|row| row[3].to_string()).collect()
}

#[test]
fn a_restart_on_the_same_port() {
    const TIME_WAIT: &str = "06";
    let mut program = Program::start(&[]);
    let addr = program.addr();
    for round in 0..3 {
        // The server is the first to end these, so it is its side that remembers them.
        for _ in 0..10 {
            let mut client = Client::connect(addr);
            client.http("GET", "/", "Connection: close\r\n");
            assert_eq!(client.read_to_end(), b"");
        }
        let mut open = Client::open(addr, Version::Rfc6455, "/mirror");
        let waiting = || states(addr).iter().any(|state| state == TIME_WAIT);
        let start = Instant::now();
        while !waiting() {
            assert!(start.elapsed() < PATIENCE, "{:?}", states(addr));
            thread::sleep(Duration::from_millis(5));
        }
        // Asked to end or just ended, with a connection that was open to the last.
        if round == 1 {
            program.signal(Signal::KILL);
            assert_eq!(program.wait().code(), None);
            open.wait_for_the_end();
        } else {
            program.signal(Signal::TERM);
            assert_eq!(open.read_close().0, 1001);
            open.close(1001, "");
            assert_eq!(program.wait().code(), Some(0));
        }
        assert!(waiting(), "{:?}", states(addr));
        program = Program::start_on(&[&addr.to_string()], &[]);
        Bystander::on(addr).is_served();
    }
}
