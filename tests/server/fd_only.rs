//! The loop inside another one, by the descriptor alone: no timeout, and no question what is left
//! over.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::common::*;
use crate::embedding::{called, open, patient, server};
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wsloop::handlers::Mirror;
use wsloop::{Config, Server, Version};

fn alone() -> Config {
    config(|config| {
        config.fd_only = true;
        config.max_events = 2;
        config.read_budget = 256;
    })
}

/// Waits for the descriptor, however long it takes. The timeout is nobody's business.
fn wait(server: &Server) {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let ready = poll(&mut [PollFd::new(server, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ready, 1, "the descriptor says nothing");
}

fn is_silent(server: &Server) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(server, PollFlags::IN)], Some(&now)).unwrap() == 0
}

#[test]
fn timers_and_deadlines_are_announced() {
    let (recorder, log) = record_with(|ws, what| match what {
        What::Timer(tag) if *tag < 3 => {
            ws.set_timer(Duration::from_millis(5), tag + 1);
        }
        _ => {}
    });
    let limits = config(|config| {
        config.fd_only = true;
        config.handshake_timeout = Duration::from_millis(40);
    });
    let mut server = listening(limits);
    server.route("/", recorder);
    turn_while_busy(&mut server);
    assert!(is_silent(&server));
    let wait_for = |server: &mut Server, count: usize| {
        let mut seen = Vec::new();
        while seen.len() < count {
            wait(server);
            server.turn(Some(Duration::ZERO)).unwrap();
            seen.extend(called(&log));
        }
        seen
    };
    // Between two turns, and behind one that is due so late that `wait` would give up before it.
    server.context("/").unwrap().set_timer(100 * PATIENCE, 9);
    server.context("/").unwrap().set_timer(Duration::from_millis(5), 1);
    assert_eq!(wait_for(&mut server, 3), [1, 2, 3].map(What::Timer));
    // Two at a time. On a busy machine the second may be set when the first is due already, so
    // either may come first.
    server.context("/").unwrap().set_timer(Duration::from_millis(30), 5);
    server.context("/").unwrap().set_timer(Duration::from_millis(5), 4);
    let both = wait_for(&mut server, 2);
    assert!(both.contains(&What::Timer(4)) && both.contains(&What::Timer(5)), "{both:?}");
    // A request that does not come is a deadline of the server's own.
    let mut client = Client::connect(tcp_addr(&server));
    while server.stats().accepted == 0 || server.stats().refused == 0 {
        wait(&server);
        server.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(client.read_head().starts_with("HTTP/1.1 408 "));
}

#[test]
fn what_is_sent_between_turns_is_announced() {
    let (mut server, log) = server(alone());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut ours = patient(ours);
    server.adopt(theirs.into(), b"").unwrap();
    open(&mut server, &log, &ours, 0);
    turn_while_busy(&mut server);
    server.context("*").unwrap().broadcast("to all");
    wait(&server);
    turn_while_busy(&mut server);
    let mut frame = [0; 8];
    ours.read_exact(&mut frame).unwrap();
    assert_eq!(frame, *b"\x81\x06to all");
}

/// Clients of all versions send more than is read in a turn, until each has all of it back.
fn serve_all(mut wait: impl FnMut(&mut Server)) {
    let (mut server, _log) = server(alone());
    server.listen("127.0.0.1:0").unwrap();
    let (addr, remote) = (tcp_addr(&server), server.remote());
    let clients = VERSIONS.map(|version| {
        thread::spawn(move || {
            let mut client = Client::open(addr, version, "/");
            let bytes = client.text_bytes("hello").repeat(1000);
            client.send(&bytes);
            (0..1000).for_each(|_| assert_eq!(client.read_text(), "hello"));
        })
    });
    let all = thread::spawn(move || {
        let ended = clients.map(|client| client.join());
        remote.stop();
        ended.into_iter().for_each(|end| end.unwrap());
    });
    while !server.is_stopped() {
        wait(&mut server);
    }
    all.join().unwrap();
}

#[test]
fn poll_2_needs_no_timeout() {
    serve_all(|server| {
        wait(server);
        server.turn(Some(Duration::ZERO)).unwrap();
    });
}

#[test]
fn such_a_server_may_run_by_itself_too() {
    let server = serve(alone(), |server| server.route("/mirror", Mirror));
    let mut client = Client::open(server.addr, Version::Rfc6455, "/mirror");
    client.text("hello");
    assert_eq!(client.read_text(), "hello");
    server.stop();
}

#[test]
fn another_mio_poll_needs_none_either() {
    let (mut outer, mut events) = (Poll::new().unwrap(), Events::with_capacity(1));
    let mut watched = false;
    serve_all(move |server| {
        if !std::mem::replace(&mut watched, true) {
            let fd = server.as_fd().as_raw_fd();
            let registry = outer.registry();
            registry.register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
        }
        outer.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "the descriptor says nothing");
        // It is edge-triggered: turned until there is nothing more.
        turn_while_busy(server);
    });
}
