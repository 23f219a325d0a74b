//! Other threads, and loops of another kind.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use wsloop::handlers::Mirror;
use wsloop::{Config, MessageBuf, Remote, Version};

#[test]
fn threads_broadcast_and_send() {
    const EACH: usize = 100;
    let (recorder, log) = record();
    let server = serve(Config::default(), |server| server.route("/live", recorder));
    let mut clients = VERSIONS.map(|version| Client::open(server.addr, version, "/live"));
    let ids = VERSIONS.map(|_| log.opened());
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let remote = server.remote.clone();
            thread::spawn(move || {
                for n in 0..EACH {
                    remote.broadcast("/live", format!("{thread} {n}")).unwrap();
                }
            })
        })
        .collect();
    for client in &mut clients {
        let mut next = [0; 3];
        for _ in 0..3 * EACH {
            let text = client.read_text();
            let (thread, n) = text.split_once(' ').unwrap();
            let thread: usize = thread.parse().unwrap();
            assert_eq!(n, next[thread].to_string(), "each thread's in their order");
            next[thread] += 1;
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // To nobody, and to one alone.
    server.remote.broadcast("/nowhere", "lost").unwrap();
    for (id, client) in ids.into_iter().zip(&mut clients) {
        server.remote.send_to(id, format!("for {:?}", client.version)).unwrap();
        assert_eq!(client.read_text(), format!("for {:?}", client.version));
    }
}

#[test]
fn a_wake_reaches_every_handler() {
    let (first, first_log) = record_with(|ws, what| {
        if *what == What::Wake {
            ws.broadcast("awake");
        }
    });
    let (second, second_log) = record();
    let server = serve(Config::default(), |server| {
        server.route("/", first);
        server.route("/other", second);
    });
    let mut client = Client::open(server.addr, Version::Rfc6455, "/");
    first_log.opened();
    for _ in 0..3 {
        server.remote.wake();
        assert_eq!(client.read_text(), "awake");
        assert_eq!(first_log.next().what, What::Wake);
        assert_eq!(second_log.next().what, What::Wake);
    }
}

#[test]
fn what_comes_between_two_turns_waits_and_wakes_count_once() {
    let (recorder, log) = record();
    let mut server = listening(Config::default());
    server.route("/", recorder);
    let (mut client, _) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let remote = server.remote();
    // As many as there is room for; the next is given back.
    for n in 0..1024 {
        remote.broadcast("/", n.to_string()).unwrap();
    }
    assert_eq!(remote.broadcast("/", "too many"), Err(MessageBuf::Text("too many".into())));
    remote.wake();
    remote.wake();
    let event = turn_until(&mut server, "the wake", |_| log.try_next());
    assert_eq!(event.what, What::Wake);
    turn_while_busy(&mut server);
    assert_eq!(log.try_next(), None);
    for n in 0..1024 {
        assert_eq!(client.read_text(), n.to_string());
    }
    assert!(remote.broadcast("/", "room again").is_ok());
    turn_while_busy(&mut server);
    assert_eq!(client.read_text(), "room again");
}

#[test]
fn a_stop_ends_the_run_and_nothing_is_taken_behind_it() {
    let mut server = listening(Config::default());
    server.route("/", Mirror);
    let remote = server.remote();
    let stopper = {
        let remote = remote.clone();
        thread::spawn(move || remote.stop())
    };
    server.run().unwrap();
    stopper.join().unwrap();
    assert!(server.is_stopped());
    drop(server);
    remote.stop();
    remote.wake();
    assert_eq!(remote.broadcast("/", vec![1]), Err(MessageBuf::Binary(vec![1])));
}

#[test]
fn a_loop_of_poll_2_around_it() {
    nested(|fd, timeout| {
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap());
        poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], timeout.as_ref()).unwrap();
    });
}

#[test]
fn a_foreign_epoll_around_it() {
    let outer = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut registered = false;
    nested(move |fd, timeout| {
        if !std::mem::replace(&mut registered, true) {
            epoll::add(&outer, fd, epoll::EventData::new_u64(1), epoll::EventFlags::IN).unwrap();
        }
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap());
        let mut events = Vec::with_capacity(4);
        epoll::wait(&outer, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()).unwrap();
    });
}

/// Serves clients from a loop that waits by other means: until the descriptor is readable, and no
/// longer than it is told. Were one of the two ignored by either side, it would wait for good.
fn nested(mut wait: impl FnMut(BorrowedFd<'_>, Option<Duration>)) {
    let mut server = listening(Config::default());
    server.route("/", Mirror);
    let (addr, remote) = (tcp_addr(&server), server.remote());
    let seen = Arc::new(AtomicUsize::new(0));
    let left_behind = Arc::clone(&seen);
    let clients = thread::spawn(move || {
        let _stop = StopWhenDone(remote);
        let clients = VERSIONS.map(|version| {
            let enough = Arc::clone(&seen);
            thread::spawn(move || converse(Client::open(addr, version, "/"), &enough))
        });
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    while !server.is_stopped() {
        wait(server.as_fd(), server.poll_timeout());
        server.turn(Some(Duration::ZERO)).unwrap();
        let more = server.poll_timeout() == Some(Duration::ZERO);
        left_behind.fetch_add(usize::from(more), Relaxed);
    }
    clients.join().unwrap();
    assert!(left_behind.load(Relaxed) >= ENOUGH, "no turn left anything behind for the next");
}

/// How often a turn must have left something that no event announces.
const ENOUGH: usize = 3;

/// Ends the loop, whether the clients went well or not.
struct StopWhenDone(Remote);

impl Drop for StopWhenDone {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Sends more at once than is read in a turn, and then reads it all back.
fn converse(mut client: Client, left_behind: &AtomicUsize) {
    let text = "x".repeat(400);
    let bytes = client.text_bytes(&text);
    let head: &[u8] = if client.version.is_hixie() { b"" } else { &[0x81, 126, 1, 144] };
    let back = if head.is_empty() { bytes.clone() } else { [head, text.as_bytes()].concat() };
    let start = Instant::now();
    for round in 0.. {
        client.send(&bytes.repeat(2000));
        assert!(client.read(back.len() * 2000) == back.repeat(2000), "{}", client.version);
        let enough = left_behind.load(Relaxed) >= ENOUGH || start.elapsed() > PATIENCE;
        if round >= 2 && enough {
            break;
        }
    }
}
