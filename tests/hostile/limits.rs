//! Every limit in the README's table: reached, just not reached, and others served meanwhile.
//! What other tests do already is not repeated here; the table tells where to find it.
//!
//! | limit | reached | just not |
//! |---|---|---|
//! | `max_head` | `hostile::load::heads_up_to_8_kib`, `hostile::load::heads_that_never_end` | `hostile::load::heads_up_to_8_kib` |
//! | `max_headers` | `hostile::load::fields_up_to_100` | the same |
//! | `handshake_timeout` | `hostile::load::bytes_that_trickle_in_do_not_move_the_deadline`, `program::http::who_asks_nothing_in_time_is_told` | `a_handshake_that_takes_its_time` |
//! | … of a kept-alive connection | `requests_one_after_the_other` | the same |
//! | `max_message` | `messages_up_to_the_limit`, `hostile::frames::announced_lengths_take_no_memory`, `hostile::frames::hixie_lengths_and_texts_without_end`, `server::events::what_is_no_message_is_refused` | `messages_up_to_the_limit`, `server::wire::a_mebibyte_there_and_back` |
//! | `max_fragments` | `hostile::frames::a_million_empty_fragments` | `hostile::frames::fragments_that_wait_for_their_end` |
//! | `max_backlog`, `on_full` | `a_backlog_filled_to_the_last_byte`, `server::lifecycle::a_full_backlog`, `hostile::frames::a_slow_reader_of_a_broadcast_is_cut_and_the_others_are_not`, `server::wire::messages_over_the_backlog_may_be_dropped_instead`, `server::events::a_slow_listener_is_cut_at_its_backlog`, `server::events::a_slow_listener_may_miss_messages_instead` | `a_backlog_filled_to_the_last_byte` |
//! | `ping_interval` | `server::lifecycle::a_ping_that_is_not_answered` | `who_talks_is_not_asked` |
//! | `pong_timeout` | the same, `hostile::peers::peers_that_neither_read_nor_answer` | `server::turns::a_peer_that_answers_its_pings_is_kept` |
//! | `message_timeout` | `simulation::bounds::a_message_that_trickles_in_has_its_time_and_no_more`, `simulation::bounds::a_message_of_an_old_browser_has_its_time_too`, `server::events::a_message_that_does_not_come_in_time_is_not_waited_for` | `simulation::bounds::a_large_message_that_comes_at_a_fair_rate_may_take_longer` |
//! | `max_memory` | `who_holds_too_much_with_the_others_ends`, `simulation::bounds::who_holds_the_most_goes_first_and_is_told` | the same |
//! | `max_per_address` | `connections_of_one_address`, `src/peers/addr.rs::connections_are_counted_by_where_they_come_from`, `server::events::who_listens_counts_as_a_connection` | the same |
//! | `idle_timeout` | `silence_and_sounds` | the same, `src/peers/by_http.rs::neither_the_idle_timeout_nor_an_end_of_pings_ends_it` |
//! | `close_timeout` | `server::lifecycle::the_handler_closes_and_the_peer_does_nothing` | `server::lifecycle::the_handler_closes_and_the_peer_answers` |
//! | `max_connections` | `one_leaves_and_one_comes`, `that_clients_are_refused_is_said_once`, `hostile::descriptors::more_clients_than_descriptors_are_told` | `one_leaves_and_one_comes` |
//! | files under way | `hostile::descriptors::slow_readers_of_a_large_file_leave_room_for_others` | the same |
//! | little taken | `simulation::periods::who_takes_too_little_of_a_response_is_cut` | `simulation::periods::a_download_over_a_slow_line_is_finished` |
//! | nothing taken | `readers_that_take_nothing_or_little`, `server::lifecycle::a_peer_that_takes_nothing` | `readers_that_take_nothing_or_little` |
//! | memory | `program::no_memory::a_message_that_there_is_no_memory_for_ends_its_connection_alone`, `program::no_memory::an_answer_that_there_is_no_memory_for_ends_its_connection_alone`, `program::no_memory::a_broadcast_that_there_is_no_memory_for_ends_those_who_would_miss_it` | `src/proto/tests/memory.rs::a_message_in_one_frame_takes_no_more_than_twice_what_has_come_and_64_kib` |
//! | descriptors | `hostile::descriptors::no_descriptors_are_left`, `hostile::descriptors::that_none_are_left_is_said_once` | `hostile::descriptors::more_clients_than_descriptors_are_told`, `hostile::descriptors::programs_leave_room_for_others` |

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::attack::*;
use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use crate::recorder::*;
use crate::serving::*;
use rustix::process::Signal;
use wsloop::{Context, OnFull, SendStatus, Version, handlers};

const LIMIT: Duration = Duration::from_secs(1);

/// Does something again and again, with a pause well under the limit, for twice as long as the
/// limit: it must succeed each time. If it does not, and this machine was too busy to keep within
/// the limit, that says nothing, and another client tries.
fn keeps_within(open: impl Fn() -> Client, mut act: impl FnMut(&mut Client) -> bool) {
    for _ in 0..10 {
        let mut client = open();
        let (start, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        let kept = loop {
            if start.elapsed() > 2 * LIMIT {
                break true;
            }
            let_pass(LIMIT / 10);
            let kept = act(&mut client);
            longest = longest.max(last.elapsed());
            if !kept {
                break false;
            }
            last = Instant::now();
        };
        if kept {
            return;
        }
        assert!(longest > LIMIT / 2, "ended though nothing took longer than {longest:?}");
    }
    panic!("never was there as much time as this takes");
}

/// Sends something; whether just this comes back.
fn exchange(client: &mut Client, bytes: &[u8], expected: &[u8]) -> bool {
    let mut got = vec![0; expected.len()];
    let answered = client.stream.write_all(bytes).and_then(|()| client.stream.read_exact(&mut got));
    answered.is_ok() && got == expected
}

#[test]
fn a_handshake_that_takes_its_time() {
    let server = site(config(|config| config.handshake_timeout = LIMIT));
    for version in [Version::Hixie76, Version::Rfc6455] {
        let bytes = request(version, "/mirror", "");
        let (slow, rest) = bytes.split_at(6);
        let opened = (0..10).any(|_| {
            let start = Instant::now();
            let mut client = Client::connect(server.addr);
            for byte in slow {
                let_pass(LIMIT / 12);
                let _ = client.stream.write_all(&[*byte]);
            }
            let _ = client.stream.write_all(rest);
            let mut first = [0; 13];
            let answered = client.stream.read_exact(&mut first).is_ok();
            if !answered || &first != b"HTTP/1.1 101 " {
                assert!(start.elapsed() > LIMIT, "refused before the deadline");
                return false;
            }
            client.read_head();
            if version == Version::Hixie76 {
                client.read(16);
            }
            client.version = version;
            // The deadline was that of the handshake; it is over.
            let_pass((2 * LIMIT).saturating_sub(start.elapsed()));
            client.text("still here");
            assert_eq!(client.read_text(), "still here");
            true
        });
        assert!(opened, "{version}: never was there as much time as this takes");
    }
}

#[test]
fn requests_one_after_the_other() {
    let server = site(config(|config| config.handshake_timeout = LIMIT));
    let head = "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let expected = ask(server.addr, head.as_bytes()).head.len() + 10;
    // Others are served while this one comes to its end.
    let mut silent = Client::connect(server.addr);
    let start = Instant::now();
    assert_eq!(silent.http("GET", "/page", "").text(), "0123456789");
    keeps_within(
        || Client::connect(server.addr),
        |client| {
            let mut got = vec![0; expected];
            let sent = client.stream.write_all(head.as_bytes());
            sent.and_then(|()| client.stream.read_exact(&mut got)).is_ok()
                && got.starts_with(b"HTTP/1.1 200 ")
                && got.ends_with(b"\r\n\r\n0123456789")
        },
    );
    assert_eq!(silent.read_to_end(), b"");
    assert!(start.elapsed() >= LIMIT / 2);
}

#[test]
fn messages_up_to_the_limit() {
    const MOST: usize = 1000;
    let server = site(config(|config| config.max_message = MOST));
    let mut bystander = Bystander::on(server.addr);
    for version in VERSIONS {
        let (most, more) = ("m".repeat(MOST), "m".repeat(MOST + 1));
        let mut client = Client::open(server.addr, version, "/mirror");
        client.text(&most);
        assert_eq!(client.read_text(), most, "{version}");
        client.text(&more);
        if version.is_hixie() {
            let goodbye: &[u8] = if version == Version::Hixie76 { &[0xff, 0] } else { b"" };
            assert_eq!(client.read_to_end(), goodbye);
        } else {
            assert_eq!(client.read_close(), (1009, "message over the limit".into()));
            let mut client = Client::open(server.addr, version, "/mirror");
            let halves =
                |second: usize| [masked(1, &[b'm'; 600]), masked(0x80, &vec![b'm'; second])];
            client.send(&halves(400).concat());
            assert_eq!(client.read_text(), most, "{version}");
            client.send(&halves(401).concat());
            assert_eq!(client.read_close(), (1009, "message over the limit".into()));
        }
        bystander.is_served();
    }
}

#[test]
fn a_backlog_filled_to_the_last_byte() {
    const MOST: usize = 1000;
    /// What is written around so long a message.
    const FRAME: usize = 4;
    for on_full in [OnFull::Close, OnFull::Drop] {
        let (recorder, log) = record_with(|ws: &mut Context<'_>, what: &What| {
            if let What::Text(len) = what {
                let status = ws.send(&vec![7; len.parse().unwrap()][..]);
                assert_ne!(status, SendStatus::Backpressure);
            }
        });
        let limits = config(|config| {
            config.max_backlog = MOST;
            config.on_full = on_full;
        });
        let server = serve(limits, |server| {
            server.route("/", recorder);
            server.route("/mirror", handlers::Mirror);
        });
        let mut bystander = Bystander::on(server.addr);
        for version in HYBI {
            let mut client = Client::open(server.addr, version, "/");
            let id = log.opened();
            let most = MOST - FRAME;
            client.text(&most.to_string());
            assert_eq!(client.read_frame(), (0x82, vec![7; most]));
            client.text(&(most + 1).to_string());
            log.next();
            log.next();
            if on_full == OnFull::Close {
                assert_eq!(client.read_close(), (1008, "backlog full".into()));
                drop(client);
                assert_eq!(log.closed(id), (1008, "backlog full".into()));
            } else {
                client.text("5");
                assert_eq!(client.read_frame(), (0x82, vec![7; 5]));
                log.next();
                log.expect(id, What::Drain);
                client.reset();
                assert_eq!(log.closed(id).0, 1006);
            }
            bystander.is_served();
        }
    }
}

/// Whoever sends something before the interval is over has nothing come back but its echoes.
#[test]
fn who_talks_is_not_asked() {
    let server = site(config(|config| config.ping_interval = Some(LIMIT)));
    keeps_within(
        || Client::open(server.addr, Version::Rfc6455, "/mirror"),
        |client| exchange(client, &masked(0x81, b"talk"), b"\x81\x04talk"),
    );
}

#[test]
fn silence_and_sounds() {
    let server = site(config(|config| {
        config.ping_interval = None;
        config.idle_timeout = Some(LIMIT);
    }));
    let mut silent = VERSIONS.map(|version| Client::open(server.addr, version, "/mirror"));
    keeps_within(
        || Client::open(server.addr, Version::Hixie75, "/mirror"),
        |client| exchange(client, b"\0sound\xff", b"\0sound\xff"),
    );
    // Meanwhile these have ended; only this is without a goodbye.
    for client in &mut silent {
        assert_eq!(client.read_to_end(), b"", "{}", client.version);
    }
    // A pong that nobody asked for is a sound as well.
    keeps_within(
        || Client::open(server.addr, Version::Rfc6455, "/mirror"),
        |client| client.stream.write_all(&masked(0x8a, b"")).is_ok() && client.has_nothing(),
    );
}

#[test]
fn one_leaves_and_one_comes() {
    const MOST: usize = 3;
    let program = Program::start(&["--max-connections", "3"]);
    let open = || Client::open(program.addr(), Version::Rfc6455, "/mirror");
    let mut clients: Vec<Client> = (0..MOST).map(|_| open()).collect();
    for round in 0..6 {
        let mut one_too_many = Client::connect(program.addr());
        assert_eq!(one_too_many.read_reply(false).status, 503);
        assert_eq!(one_too_many.read_to_end(), b"");
        drop(one_too_many);
        for client in &mut clients {
            client.text("still here");
            assert_eq!(client.read_text(), "still here");
        }
        let mut gone = clients.remove(round % MOST);
        if round % 2 == 0 {
            gone.close(1000, "");
            assert_eq!(gone.read_close().0, 1000);
        } else {
            gone.end();
        }
        assert_eq!(gone.read_to_end(), b"");
        clients.push(open());
    }
}

/// Once when the limit is met, and once when an eighth has gone: at the limit, each that goes makes
/// room for one.
#[test]
fn that_clients_are_refused_is_said_once() {
    const MOST: usize = 16;
    let scratch = Scratch::new();
    let socket = scratch.join("feed");
    let feed = format!("unix:{}=/live", socket.display());
    let mut program = Program::start(&["--max-connections", "16", "--feed", &feed]);
    let open = || Client::open(program.addr(), Version::Rfc6455, "/mirror");
    let refuse = || {
        let mut client = Client::connect(program.addr());
        assert_eq!(client.read_reply(false).status, 503);
        assert_eq!(client.read_to_end(), b"");
    };
    let leave = |mut client: Client| {
        client.close(1000, "");
        assert_eq!(client.read_close().0, 1000);
        assert_eq!(client.read_to_end(), b"");
    };
    let mut clients: Vec<Client> = (0..MOST).map(|_| open()).collect();
    for _ in 0..5 {
        refuse();
        leave(clients.remove(0));
        clients.push(open());
    }
    let mut source = UnixStream::connect(&socket).unwrap();
    source.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(source.read(&mut [0]).unwrap(), 0);
    // As many as an eighth, and one.
    clients.drain(..3).for_each(leave);
    clients.extend((0..3).map(|_| open()));
    refuse();
    program.signal(Signal::TERM);
    for mut client in clients {
        assert_eq!(client.read_close().0, 1001);
        client.close(1001, "");
    }
    assert_eq!(program.wait().code(), Some(0));
    let lines = program.all_logged();
    let said = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(said("there are 16 connections, the most there may be"), 2, "{lines:#?}");
    assert_eq!(said("there is room again: 6 were refused"), 1, "{lines:#?}");
    assert_eq!(said("there is room again: 1 were refused"), 1, "{lines:#?}");
}

/// A large file, and clients that take none of it, or little at a time. The kernel says that it
/// takes more only when a third of what it holds has gone: a slow reader is not cut before.
#[test]
fn who_holds_too_much_with_the_others_ends() {
    let program = Program::start(&["--max-memory", "3000000", "--max-per-address", "1"]);
    let addr = program.addr();
    let mut bystander = Bystander::on(addr);
    let begin = |bytes: usize| {
        let mut client = Client::open(addr, Version::Rfc6455, "/mirror");
        client.send(&masked(0x02, &vec![0; bytes]));
        client
    };
    let mut large = begin(1_000_000);
    let mut small = Vec::new();
    while large.has_nothing() {
        small.push(begin(60_000));
        bystander.is_served();
        assert!(small.len() < 50, "over 3 MB are held");
    }
    assert_eq!(large.read_close(), (1013, "short of memory".to_string()));
    assert!(program.logged("ends: it holds").contains("there may be 3000000"));
    // The others go on.
    for client in &mut small {
        client.send(&masked(0x80, b""));
        assert_eq!(client.read_frame().1.len(), 60_000);
    }
    bystander.is_served();
}

#[test]
fn connections_of_one_address() {
    let server = site(config(|config| {
        config.trust_proxy = true;
        config.max_per_address = Some(2);
    }));
    let open = |from: &str| {
        let mut client = Client::connect(server.addr);
        let head = format!("X-Forwarded-For: {from}\r\n");
        client.send(&request(Version::Rfc6455, "/mirror", &head));
        let reply = client.read_reply(false);
        (reply, client)
    };
    let first = open("192.0.2.1");
    let second = open("192.0.2.1");
    assert_eq!((first.0.status, second.0.status), (101, 101));
    let (refused, _) = open("192.0.2.1");
    assert_eq!((refused.status, refused.field("Retry-After")), (429, Some("5")));
    assert_eq!(open("192.0.2.2").0.status, 101);
    // One goes, and one may come; when it is noticed is the server's to say.
    drop(second);
    assert!((0..1000).any(|_| open("192.0.2.1").0.status == 101));
}

#[test]
fn readers_that_take_nothing_or_little() {
    const SIZE: u64 = 256 << 20;
    let scratch = Scratch::new();
    std::fs::File::create(scratch.join("large")).unwrap().set_len(SIZE).unwrap();
    let mut server = listening(config(|config| {
        config.ping_interval = None;
        // Twice that without a ping's answer to wait for.
        config.pong_timeout = LIMIT / 2;
    }));
    server.serve_folder(&*scratch).unwrap();
    server.route("/mirror", handlers::Mirror);
    let addr = tcp_addr(&server);
    let head = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let mut cut = 0;
    let kept = (0..10).any(|_| {
        let (mut idle, mut slow) = (Client::connect(addr), Client::connect(addr));
        idle.send(head);
        slow.send(head);
        slow.stream.set_nonblocking(true).unwrap();
        let (start, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
        let mut taken = 0;
        let mut buffer = vec![0; 256 * 1024];
        let ended = loop {
            server.turn(Some(LIMIT / 10)).unwrap();
            match slow.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(len) => taken += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            longest = longest.max(last.elapsed());
            last = Instant::now();
            if start.elapsed() > 4 * LIMIT {
                break false;
            }
            let_pass(LIMIT / 10);
        };
        // The one that took nothing has been cut by now, and nobody else.
        cut += 1;
        let expected = vec![("takes nothing", cut)];
        if !ended && server.stats().cut == expected {
            assert!(taken < SIZE as usize);
            return true;
        }
        assert!(longest > LIMIT / 2, "{:?} with {longest:?} at most", server.stats().cut);
        cut = server.stats().cut.iter().map(|(_, count)| count).sum();
        false
    });
    assert!(kept, "never was there as much time as this takes");
}
