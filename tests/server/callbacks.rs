//! What callbacks may do, to their own connection and to others, and what the names of connections
//! are worth once these have gone.

use std::time::Duration;

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use wsloop::{Config, ConnId, ReadyState, SendStatus, Version};

#[test]
fn a_handler_ends_connections_as_they_open() {
    let (recorder, log) = record_with(|ws, what| match what {
        What::Open(path) if path == "/close" => assert!(ws.close(4002, "not you")),
        What::Open(_) => ws.terminate(),
        _ => {}
    });
    let server = serve(Config::default(), |server| server.route("*", recorder));
    let mut client = Client::open(server.addr, Version::Rfc6455, "/close");
    let closed = log.opened();
    assert_eq!(client.read_close(), ended(4002, "not you"));
    client.close(4002, "fine");
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(log.closed(closed), ended(4002, "fine"));

    // Nothing of what was queued is sent, and the answer to the request was.
    let mut client = Client::connect(server.addr);
    let request = request(Version::Rfc6455, "/terminate", "");
    client.send(&[request, client.text_bytes("not delivered")].concat());
    let terminated = log.opened();
    assert_eq!(log.closed(terminated), ended(1006, "terminated"));
    assert_eq!(client.read_to_end(), b"");
    server.stop();
    assert_eq!(log.rest(), []);
}

#[test]
fn a_path_that_is_added_again_has_a_new_handler_for_the_same_connections() {
    let (first, before) = record();
    let (second, after) = record_with(|ws, _| ws.broadcast("from the second"));
    let mut server = listening(Config::default());
    server.route("/", first);
    let (mut client, id) = open_by_turns(&mut server, &before, Version::Rfc6455, "/");
    server.route("/", second);
    client.text("to whom");
    let event = next_event(&mut server, &after);
    assert_eq!(event, Event { id, what: What::Text("to whom".into()) });
    assert_eq!(client.read_text(), "from the second");
    assert_eq!(before.rest(), []);
}

#[test]
fn a_handler_pings_and_is_told_of_the_answer() {
    for version in VERSIONS {
        let (recorder, log) = record_with(|ws, what| {
            if matches!(what, What::Text(_)) {
                let expected = if ws.version().is_some_and(Version::is_hixie) {
                    SendStatus::Dropped
                } else {
                    SendStatus::Queued
                };
                assert_eq!(ws.ping(b"are you there?"), expected);
                ws.send("asked");
            }
        });
        let server = serve(Config::default(), |server| server.route("/", recorder));
        let mut client = Client::open(server.addr, version, "/");
        let id = log.opened();
        client.text("ping me");
        assert_eq!(log.next().what, What::Text("ping me".into()));
        if !version.is_hixie() {
            assert_eq!(client.read_frame(), (0x89, b"are you there?".to_vec()));
            client.send(&masked(0x8a, b"are you there?"));
            let answer = log.next();
            assert_eq!((answer.id, answer.what), (id, What::Pong(b"are you there?".to_vec())));
        }
        assert_eq!(client.read_text(), "asked");
    }
}

/// Three connections on a route whose handler ends some of them in a call for one of them.
#[test]
fn one_connection_ends_others_and_itself() {
    for version in VERSIONS {
        let (recorder, log) = record_with(|ws, what| {
            let What::Text(text) = what else { return };
            let all: Vec<ConnId> = ws.members().to_vec();
            for id in all {
                match text.as_str() {
                    "terminate the others" if id != ws.id() => ws.to(id).terminate(),
                    "close all" => assert!(ws.to(id).close(4003, "all")),
                    _ => continue,
                }
                assert_eq!(ws.send_to(id, "too late"), SendStatus::Dropped);
            }
            assert_eq!(ws.members().is_empty(), text == "close all");
            ws.send("done");
        });
        let server = serve(Config::default(), |server| server.route("/", recorder));
        let open = || Client::open(server.addr, version, "/");
        let mut clients = [open(), open(), open()];
        let ids = [log.opened(), log.opened(), log.opened()];

        clients[0].text("terminate the others");
        assert_eq!(clients[0].read_text(), "done");
        for client in &mut clients[1..] {
            assert_eq!(client.read_to_end(), b"");
        }
        let mut more = open();
        clients[0].text("close all");
        for client in [&mut clients[0], &mut more] {
            if version.is_hixie() {
                client.read_to_end();
                client.end();
            } else {
                assert_eq!(client.read_close(), ended(4003, "all"));
                client.close(4003, "");
                assert_eq!(client.read_to_end(), b"");
            }
        }
        server.stop();
        let events = log.rest();
        let code = if version.is_hixie() { 1005 } else { 4003 };
        let texts = ["terminate the others", "close all"].map(|text| What::Text(text.into()));
        let [first, second] = texts;
        let whole = [first, second, What::Close(code, String::new())];
        assert_eq!(only(&events, ids[0]), whole, "{version}");
        for id in &ids[1..] {
            let terminated = What::Close(1006, "terminated".into());
            assert_eq!(only(&events, *id), [terminated], "{version}");
        }
        assert_eq!(events.len(), 7, "{version}: {events:?}");
    }
}

#[test]
fn what_may_not_be_sent_is_refused_and_what_is_too_long_is_cut() {
    let (recorder, log) = record_with(|ws, what| {
        let What::Text(_) = what else { return };
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert!(!ws.close(code, "no such code"), "{code}");
        }
        assert_eq!(ws.ready_state(), ReadyState::Open);
        assert_eq!(ws.ping(&[b'p'; 126]), SendStatus::Queued);
        assert!(ws.close(1000, &"\u{20ac}".repeat(50)));
        assert_eq!(ws.ready_state(), ReadyState::Closing);
        assert_eq!(ws.ping(b""), SendStatus::Dropped);
        assert_eq!(ws.send("no more"), SendStatus::Dropped);
    });
    let server = serve(Config::default(), |server| server.route("/", recorder));
    let mut client = Client::open(server.addr, Version::Rfc6455, "/");
    let id = log.opened();
    client.text("go");
    assert_eq!(client.read_frame(), (0x89, vec![b'p'; 125]));
    assert_eq!(client.read_close(), ended(1000, &"\u{20ac}".repeat(41)));
    client.close(1000, "");
    assert_eq!(client.read_to_end(), b"");
    log.expect(id, What::Text("go".into()));
    assert_eq!(log.closed(id), ended(1000, ""));
}

#[test]
fn contexts_know_their_connection() {
    let (recorder, log) = record_with(|ws, what| match what {
        What::Open(_) => {
            let addr = ws.remote_addr().unwrap();
            let version = ws.version().unwrap();
            assert_eq!(ws.ready_state(), ReadyState::Open);
            ws.send(&format!("{version} {addr}"));
        }
        What::Close(..) => {
            assert_eq!(ws.ready_state(), ReadyState::Closed);
            assert_eq!(ws.send("too late"), SendStatus::Dropped);
            assert!(!ws.close(1000, "too late") && ws.members().is_empty());
            ws.terminate();
        }
        _ => {}
    });
    let server = serve(Config::default(), |server| server.route("/", recorder));
    for version in VERSIONS {
        let mut client = Client::open(server.addr, version, "/");
        let addr = client.stream.local_addr().unwrap();
        assert_eq!(client.read_text(), format!("{version} {addr}"));
        let id = log.opened();
        client.end();
        assert_eq!(log.closed(id), ended(1006, ""));
    }
    server.stop();
    assert_eq!(log.rest(), []);
}

/// A server turned by hand, one connection that has gone, and one in its slot.
#[test]
fn a_stale_name_is_nobodys() {
    let (recorder, log) = record();
    let mut server = listening(Config::default());
    server.route("/", recorder);
    let addr = tcp_addr(&server);
    let (mut first, gone) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    first.close(1000, "");
    turn_until(&mut server, "the end", |_| log.try_next());
    assert_eq!(first.read_to_end(), server_frame(0x88, &1000u16.to_be_bytes()));
    let (mut second, id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    assert_eq!(slot(id), slot(gone), "the slot is used again");
    assert_ne!(id, gone);
    assert_eq!(second.stream.peer_addr().unwrap(), addr);

    let mut ws = server.context("/").unwrap();
    for message in ["text", "more text"] {
        assert_eq!(ws.send_to(gone, message), SendStatus::Dropped);
    }
    let mut stale = ws.to(gone);
    assert_eq!(stale.ready_state(), ReadyState::Closed);
    assert_eq!((stale.version(), stale.remote_addr(), stale.buffered_amount()), (None, None, 0));
    assert_eq!(stale.ping(b"stale"), SendStatus::Dropped);
    assert!(!stale.close(1000, "stale"));
    stale.terminate();
    stale.pause();
    stale.set_timer(Duration::from_millis(1), 99);
    assert!(server.remote().send_to(gone, "from another thread").is_ok());

    // Were any of that for the second connection, it would come before the answer to this.
    let_pass(Duration::from_millis(5));
    assert_eq!(server.context("/").unwrap().send_to(id, "yours"), SendStatus::Queued);
    second.text("here");
    let event = turn_until(&mut server, "the message", |_| log.try_next());
    assert_eq!(event, Event { id, what: What::Text("here".into()) });
    turn_while_busy(&mut server);
    assert_eq!(second.read_text(), "yours");
    assert!(second.has_nothing());
    assert_eq!(log.try_next(), None);
    assert_eq!(server.context("/").unwrap().members(), [id]);
}

/// The place a connection has in the server's table, which only its `Debug` shows.
fn slot(id: ConnId) -> String {
    let shown = format!("{id:?}");
    let (slot, _) = shown.split_once(',').expect(&shown);
    slot.to_string()
}
