//! Broadcasts are kept until the turn ends, and then sent to everybody. That must not show: not in
//! the order of what one client is sent, not in which clients are sent what, and not at the limits.

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use wsloop::{Config, ConnId, Context, OnFull, SendStatus, Server, Version};

/// A server that is turned by hand, and clients that are open on its one route.
struct Room {
    server: Server,
    log: Log,
    clients: Vec<Client>,
    ids: Vec<ConnId>,
}

impl Room {
    fn new(config: Config, versions: &[Version]) -> Room {
        let (recorder, log) = record();
        let mut server = listening(config);
        server.route("/", recorder);
        let mut room = Room { server, log, clients: Vec::new(), ids: Vec::new() };
        for &version in versions {
            room.enter(version);
        }
        room
    }

    fn enter(&mut self, version: Version) {
        let (client, id) = open_by_turns(&mut self.server, &self.log, version, "/");
        self.clients.push(client);
        self.ids.push(id);
    }

    /// What a handler would do within one turn.
    fn act(&mut self, act: impl FnOnce(&mut Context<'_>, &[ConnId])) {
        act(&mut self.server.context("/").unwrap(), &self.ids);
        turn_while_busy(&mut self.server);
    }

    fn texts(&mut self, client: usize, count: usize) -> Vec<String> {
        (0..count).map(|_| self.clients[client].read_text()).collect()
    }

    /// Nobody gets anything more than was read.
    fn expect_no_more(&mut self) {
        self.act(|ws, _| ws.broadcast("the end"));
        for client in 0..self.clients.len() {
            assert_eq!(self.texts(client, 1), ["the end"]);
        }
    }
}

#[test]
fn what_is_sent_to_one_keeps_its_place_among_what_is_sent_to_all() {
    let mut room = Room::new(Config::default(), &[Version::Rfc6455; 3]);
    room.act(|ws, ids| {
        ws.send_to(ids[0], "zero");
        ws.broadcast("a");
        ws.broadcast("b");
        ws.send_to(ids[1], "one");
        ws.to(ids[1]).broadcast_to_others("c");
        ws.to(ids[2]).broadcast_to_others("d");
        ws.send_to(ids[1], "two");
        ws.broadcast("e");
        // One byte each, and two of head.
        let waiting: Vec<usize> = ids.iter().map(|id| ws.to(*id).buffered_amount()).collect();
        assert_eq!(waiting, [6 + 5 * 3, 4 * 3 + 2 * 5, 4 * 3]);
    });
    assert_eq!(room.texts(0, 6), ["zero", "a", "b", "c", "d", "e"]);
    assert_eq!(room.texts(1, 6), ["a", "b", "one", "d", "two", "e"]);
    assert_eq!(room.texts(2, 4), ["a", "b", "c", "e"]);
    let stats = room.server.stats();
    assert_eq!((stats.messages_out, stats.backlog), (16, 0));
    room.expect_no_more();
}

#[test]
fn control_frames_keep_their_place_too() {
    let mut room = Room::new(Config::default(), &[Version::Rfc6455; 2]);
    room.act(|ws, ids| {
        ws.broadcast("a");
        ws.to(ids[0]).ping(b"?");
        ws.broadcast("b");
        ws.to(ids[0]).close(1000, "bye");
        ws.broadcast("c");
    });
    assert_eq!(room.texts(0, 1), ["a"]);
    assert_eq!(room.clients[0].read_frame(), (0x89, b"?".to_vec()));
    assert_eq!(room.texts(0, 1), ["b"]);
    assert_eq!(room.clients[0].read_close(), (1000, "bye".into()));
    assert_eq!(room.texts(1, 3), ["a", "b", "c"]);
}

#[test]
fn who_comes_in_the_midst_of_a_turn_gets_what_is_sent_from_then_on() {
    let mut place = 0;
    let (recorder, _log) = record_with(move |ws, what| {
        if let What::Open(_) = what {
            ws.broadcast(&place.to_string());
            place += 1;
        }
    });
    let mut server = listening(Config::default());
    server.route("/", recorder);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(tcp_addr(&server))).collect();
    // Each is accepted, and what it asks for lies ready.
    turn_until(&mut server, "all", |server| (server.stats().accepted == 4).then_some(()));
    for client in &mut clients {
        client.ask(Version::Rfc6455, "/");
    }
    turn_until(&mut server, "all", |server| (server.stats().opened == 4).then_some(()));
    turn_while_busy(&mut server);
    let mut seen: Vec<Vec<String>> = Vec::new();
    for client in &mut clients {
        client.read_answer();
        let mut texts = vec![client.read_text()];
        while texts[texts.len() - 1] != "3" {
            texts.push(client.read_text());
        }
        seen.push(texts);
    }
    seen.sort();
    assert_eq!(seen, [vec!["0", "1", "2", "3"], vec!["1", "2", "3"], vec!["2", "3"], vec!["3"]]);
}

#[test]
fn who_goes_in_the_midst_of_a_turn_takes_nothing_from_the_others() {
    let mut room = Room::new(Config::default(), &[Version::Rfc6455; 4]);
    room.act(|ws, ids| {
        ws.broadcast("a");
        ws.to(ids[3]).broadcast_to_others("b");
        ws.to(ids[0]).terminate();
        ws.broadcast("c");
        ws.to(ids[2]).terminate();
        ws.broadcast("d");
    });
    assert_eq!(room.texts(1, 4), ["a", "b", "c", "d"]);
    assert_eq!(room.texts(3, 3), ["a", "c", "d"]);
    // Everyone has gone, and somebody comes.
    room.act(|ws, ids| {
        ws.broadcast("e");
        ws.to(ids[1]).terminate();
        ws.to(ids[3]).terminate();
        ws.broadcast("nobody hears");
    });
    while room.log.try_next().is_some() {}
    room.clients.clear();
    room.enter(Version::Rfc6455);
    room.act(|ws, _| ws.broadcast("f"));
    assert_eq!(room.texts(0, 1), ["f"]);
    room.expect_no_more();
}

#[test]
fn more_than_is_kept_for_a_turn_comes_whole_and_in_order() {
    let mut room = Room::new(Config::default(), &[Version::Rfc6455; 2]);
    let large = "l".repeat(100_000);
    room.act(|ws, ids| {
        ws.to(ids[0]).broadcast_to_others("first");
        // Twice what is counted, and none of it takes much memory.
        (0..131_072).for_each(|_| ws.broadcast(""));
        ws.broadcast(&large);
        ws.broadcast("last");
    });
    assert_eq!(room.texts(1, 1), ["first"]);
    for client in 0..2 {
        assert!(room.texts(client, 131_072).iter().all(String::is_empty));
        assert_eq!(room.texts(client, 2), [&large, "last"]);
    }
    room.expect_no_more();
}

#[test]
fn each_version_gets_what_it_can_carry() {
    let mut room = Room::new(Config::default(), &Version::ALL);
    for _ in 0..2 {
        room.act(|ws, _| {
            ws.broadcast("a");
            ws.broadcast(&b"\x01\x02"[..]);
            ws.broadcast("b");
        });
        for (client, version) in Version::ALL.iter().enumerate() {
            assert_eq!(room.texts(client, 1), ["a"]);
            if !version.is_hixie() {
                assert_eq!(room.clients[client].read_frame(), (0x82, vec![1, 2]));
            }
            assert_eq!(room.texts(client, 1), ["b"]);
        }
    }
    assert_eq!(room.server.stats().messages_out, 2 * (5 * 3 - 2));
    room.expect_no_more();
}

fn fill(on_full: OnFull) -> Room {
    let config = config(|config| {
        config.max_backlog = 100;
        config.on_full = on_full;
    });
    let mut room = Room::new(config, &[Version::Rfc6455; 2]);
    room.act(|ws, ids| {
        ws.broadcast(&"1".repeat(58));
        ws.to(ids[1]).broadcast_to_others(&"2".repeat(58));
        ws.broadcast(&"3".repeat(28));
        ws.send_to(ids[0], "4");
        ws.send_to(ids[1], "4");
    });
    room
}

#[test]
fn what_does_not_fit_into_the_backlog_is_left_out_and_the_rest_is_not() {
    let mut room = fill(OnFull::Drop);
    for client in 0..2 {
        let texts = room.texts(client, 3);
        assert_eq!(texts, ["1".repeat(58), "3".repeat(28), "4".into()]);
    }
    assert_eq!(room.server.stats().messages_out, 6);
    room.expect_no_more();
}

#[test]
fn whose_backlog_is_full_is_closed_and_nobody_else() {
    let mut room = fill(OnFull::Close);
    assert_eq!(room.texts(0, 1), ["1".repeat(58)]);
    assert_eq!(room.clients[0].read_close(), (1008, "backlog full".into()));
    assert_eq!(room.texts(1, 3), ["1".repeat(58), "3".repeat(28), "4".into()]);
    assert_eq!(room.server.stats().messages_out, 4);
}

#[test]
fn nothing_comes_behind_the_end_of_whose_backlog_is_full() {
    let config = config(|config| config.max_backlog = 100);
    let mut room = Room::new(config, &[Version::Rfc6455; 3]);
    room.act(|ws, ids| {
        ws.broadcast(&"1".repeat(58));
        ws.broadcast(&"2".repeat(58));
        assert_eq!(ws.to(ids[0]).ping(b"?"), SendStatus::Dropped);
        assert!(!ws.to(ids[1]).close(1000, "bye"));
        ws.to(ids[2]).terminate();
    });
    let full = || What::Close(1008, "backlog full".into());
    for client in 0..2 {
        assert_eq!(room.texts(client, 1), ["1".repeat(58)]);
        assert_eq!(room.clients[client].read_close(), (1008, "backlog full".into()));
        room.clients[client].end();
        turn_while_busy(&mut room.server);
        assert_eq!(room.clients[client].read_to_end(), b"");
    }
    let ends: Vec<Event> = std::iter::from_fn(|| room.log.try_next()).collect();
    assert_eq!(only(&ends, room.ids[0]), [full()]);
    assert_eq!(only(&ends, room.ids[1]), [full()]);
    assert_eq!(only(&ends, room.ids[2]), [What::Close(1006, "terminated".into())]);
}

#[test]
fn who_was_left_out_hears_of_it_behind_the_next_broadcast() {
    let config = config(|config| {
        config.max_backlog = 100;
        config.on_full = OnFull::Drop;
    });
    let mut room = Room::new(config, &[Version::Rfc6455]);
    room.act(|ws, _| ws.broadcast(&"x".repeat(200)));
    assert_eq!(room.log.try_next(), None);
    room.act(|ws, _| ws.broadcast("small"));
    assert_eq!(room.texts(0, 1), ["small"]);
    assert_eq!(room.log.try_next(), Some(Event { id: room.ids[0], what: What::Drain }));
}
