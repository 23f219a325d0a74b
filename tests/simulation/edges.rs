//! What is announced once: an end, a reset, room to write, with bytes or without.

use super::world::{World, masked};
use crate::config::{Config, OnFull};
use crate::context::Context;
use crate::handler::Handler;
use crate::ids::ConnId;
use crate::peers::sending::SendStatus;
use crate::peers::time::Timer;
use crate::proto::Message;

#[test]
fn an_end_that_comes_with_bytes_is_seen_though_it_is_announced_once() {
    for read_budget in [1, 3, 64 * 1024] {
        let mut world = World::new(Config { read_budget, ..Config::default() });
        let peer = world.open();
        peer.sends(&masked(0x81, b"last words"));
        peer.ends();
        world.turn_until_quiet();
        assert_eq!(peer.takes_all(), b"\x81\x0alast words", "{read_budget}");
        assert_eq!(world.closed(&peer).as_deref(), Some("1006 "));
        assert!(!world.has(&peer) && peer.socket.borrow().unread() == 0);
    }
}

#[test]
fn a_reset_ends_at_once_wherever_it_comes() {
    for sent in [&b""[..], b"\x81", &masked(0x81, b"whole")] {
        let mut world = World::new(Config::default());
        let peer = world.open();
        peer.sends(sent);
        peer.socket.borrow_mut().peer_resets();
        world.turn_until_quiet();
        assert!(world.closed(&peer).is_some_and(|why| why.starts_with("1006 ")));
        assert!(!world.has(&peer));
    }
}

#[test]
fn what_is_over_the_budget_of_a_turn_is_written_in_the_next_though_nothing_is_announced() {
    let mut world = World::new(Config::default());
    let peer = world.open();
    peer.socket.borrow_mut().set_room(4 << 20);
    // More pieces than one call takes, in one turn.
    for _ in 0..20 {
        world.dispatcher.peers.broadcast(0, (&[b'x'; 70_000][..]).into(), ConnId::NONE);
    }
    world.turn();
    assert_eq!(peer.socket.borrow().under_way(), 16 * 70_010);
    assert!(!peer.socket.borrow().is_announced() && world.is_busy());
    world.turn();
    assert_eq!(peer.socket.borrow().under_way(), 20 * 70_010);
    assert!(!world.is_busy());
}

#[test]
fn who_was_told_of_backpressure_is_told_of_its_end() {
    let mut world = World::new(Config::default());
    let peer = world.open();
    let said = world.dispatcher.peers.send(peer.id, (&[0; 200_000][..]).into());
    assert_eq!(said, SendStatus::Backpressure);
    world.turn_until_quiet();
    assert_eq!(world.calls.borrow()[..], ["open 1"]);
    while !peer.takes_all().is_empty() {
        world.turn_until_quiet();
    }
    assert_eq!(world.calls.borrow()[..], ["open 1", "drain 1"]);
}

#[test]
fn whose_message_was_dropped_is_told_when_there_is_room_again() {
    let config = Config { max_backlog: 1000, on_full: OnFull::Drop, ..Config::default() };
    let mut world = World::new(config);
    let peer = world.open();
    let said = [(); 2].map(|()| world.dispatcher.peers.send(peer.id, (&[0; 600][..]).into()));
    assert_eq!(said, [SendStatus::Queued, SendStatus::Dropped]);
    world.turn();
    assert_eq!(world.calls.borrow()[..], ["open 1", "drain 1"]);
}

#[test]
fn the_timers_of_who_is_gone_are_gone() {
    let mut world = World::new(Config::default());
    let peer = world.open();
    let timer = Timer { conn: peer.id, route: 0, tag: 0 };
    world.dispatcher.peers.timers.set(1_000_000, timer);
    peer.socket.borrow_mut().peer_resets();
    world.turn_until_quiet();
    assert!(!world.has(&peer));
    assert_eq!(world.dispatcher.peers.timers.next(), None);
}

/// Sends everyone 40 parts, which is more than one call writes, and ends itself; as it ends, the others
/// end too.
struct Farewell;

const PART: usize = 64 * 1024;

impl Handler for Farewell {
    fn on_message(&mut self, ws: &mut Context<'_>, _: Message<'_>) {
        (0..40).for_each(|_| ws.broadcast_to_others(&[b'x'; PART][..]));
        ws.terminate();
    }

    fn on_close(&mut self, ws: &mut Context<'_>, _: u16, _: &str) {
        let others: Vec<ConnId> = ws.members().to_vec();
        others.into_iter().for_each(|id| ws.to(id).terminate());
    }
}

#[test]
fn who_ends_in_the_turn_in_which_its_budget_was_spent_is_not_written_to_again() {
    let mut world = World::with_handler(Config::default(), Box::new(Farewell));
    let (speaker, listener) = (world.open(), world.open());
    listener.socket.borrow_mut().set_room(40 * 2 * PART);
    speaker.sends(&masked(0x81, b"farewell"));
    world.turn();
    assert!(!world.has(&speaker) && !world.has(&listener));
    let written = listener.takes_all().len();
    assert!((PART..40 * PART).contains(&written), "{written}");
    world.turn_until_quiet();
    assert_eq!(listener.takes_all(), b"");
}

#[cfg(feature = "tls")]
mod tls {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::super::world::{Peer, REQUEST};
    use super::*;
    use crate::net::tls::Tls;

    /// A client's side of a session, by rustls.
    struct Client {
        session: ClientConnection,
    }

    fn certificate() -> (Tls, Arc<ClientConfig>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Tls::from_pem(cert.as_bytes(), key.as_bytes()).unwrap(), Arc::new(config))
    }

    impl Client {
        fn new(config: &Arc<ClientConfig>) -> Client {
            let name = "localhost".try_into().unwrap();
            Client { session: ClientConnection::new(config.clone(), name).unwrap() }
        }

        /// What the client would send now.
        fn output(&mut self) -> Vec<u8> {
            let mut bytes = Vec::new();
            while self.session.wants_write() {
                self.session.write_tls(&mut bytes).unwrap();
            }
            bytes
        }

        /// Shakes hands, and opens a WebSocket.
        fn open(&mut self, world: &mut World, peer: &Peer) {
            self.say(world, peer, REQUEST);
        }

        /// Shakes hands if it must, says something, and takes in the answer.
        fn say(&mut self, world: &mut World, peer: &Peer, what: &[u8]) {
            io::Write::write_all(&mut self.session.writer(), what).unwrap();
            for _ in 0..10 {
                peer.sends(&self.output());
                world.turn_until_quiet();
                let answer = peer.takes_all();
                self.session.read_tls(&mut &answer[..]).unwrap();
                self.session.process_new_packets().unwrap();
            }
        }
    }

    /// How many bytes of a record come before the end.
    const CUTS: [usize; 8] = [0, 1, 4, 5, 6, 20, 30, usize::MAX];

    #[test]
    fn an_end_behind_a_part_of_a_record_ends_the_connection_at_once() {
        let (tls, config) = certificate();
        let settings = || Config { ping_interval: None, ..Config::default() };
        for open in [false, true] {
            for cut in CUTS {
                for together in [true, false] {
                    for reset in [false, true] {
                        let mut world = World::new(settings());
                        let peer = world.connect_by(|stream| stream.with_tls(Some(&tls)).unwrap());
                        let mut client = Client::new(&config);
                        if open {
                            client.open(&mut world, &peer);
                            assert_eq!(world.calls.borrow()[..], ["open 1"]);
                            io::Write::write_all(
                                &mut client.session.writer(),
                                &masked(0x81, b"a message that is cut"),
                            )
                            .unwrap();
                        }
                        let record = client.output();
                        peer.sends(&record[..cut.min(record.len())]);
                        if !together {
                            world.turn();
                        }
                        match reset {
                            true => peer.socket.borrow_mut().peer_resets(),
                            false => peer.ends(),
                        }
                        world.turn_until_quiet();
                        // A whole message is sent back, which may take until it is taken.
                        peer.takes_all();
                        world.turn_until_quiet();
                        let which = format!("open {open}, cut {cut}, {together}, reset {reset}");
                        assert!(!world.has(&peer), "{which}");
                        assert_eq!(world.closed(&peer).is_some(), open, "{which}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_comes_behind_the_end_of_a_session_is_not_looked_at() {
        let (tls, config) = certificate();
        for behind in [1, 10_000] {
            let mut world = World::new(Config::default());
            let peer = world.connect_by(|stream| stream.with_tls(Some(&tls)).unwrap());
            let mut client = Client::new(&config);
            client.open(&mut world, &peer);
            client.session.send_close_notify();
            peer.sends(&[client.output(), vec![0; behind]].concat());
            world.turn_until_quiet();
            assert_eq!(world.closed(&peer).as_deref(), Some("1006 "), "{behind}");
            assert!(!world.has(&peer), "{behind}");
        }
    }

    #[test]
    fn a_part_of_a_record_is_a_sign_of_life() {
        let (tls, config) = certificate();
        let mut world = World::new(Config::default());
        let peer = world.connect_by(|stream| stream.with_tls(Some(&tls)).unwrap());
        let mut client = Client::new(&config);
        client.open(&mut world, &peer);
        let message = masked(0x82, &[b'x'; 200]);
        io::Write::write_all(&mut client.session.writer(), &message).unwrap();
        for byte in client.output() {
            peer.sends(&[byte]);
            world.turns_for(Duration::from_secs(1), Duration::from_secs(1));
        }
        assert_eq!(world.closed(&peer), None);
        assert_eq!(world.calls.borrow()[..], ["open 1", "message 1 200"]);
    }

    #[test]
    fn a_further_request_that_trickles_in_has_no_more_time_than_without_tls() {
        let (tls, config) = certificate();
        let mut world = World::new(Config::default());
        let peer = world.connect_by(|stream| stream.with_tls(Some(&tls)).unwrap());
        let mut client = Client::new(&config);
        client.say(&mut world, &peer, b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
        for _ in 0..12 {
            assert!(world.has(&peer) && !peer.socket.borrow().server_has_ended());
            io::Write::write_all(&mut client.session.writer(), b"G").unwrap();
            peer.sends(&client.output());
            world.turns_for(Duration::from_secs(1), Duration::from_secs(1));
            if peer.socket.borrow().server_has_ended() {
                return;
            }
        }
        panic!("it may take for ever");
    }
}
