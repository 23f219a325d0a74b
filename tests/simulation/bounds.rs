//! What one peer can cost the others, in work, in time and in memory.

use std::time::Duration;

use super::world::{Peer, World, masked};
use crate::config::Config;
use crate::context::Context;
use crate::handler::Handler;
use crate::ids::SourceId;
use crate::proto::Message;

const SECOND: Duration = Duration::from_secs(1);

/// A world in which every message goes to each member by itself, twenty times.
fn telling_everybody(members: usize) -> (World, Vec<Peer>) {
    let handler = |ws: &mut Context<'_>, message: Message<'_>| {
        for id in ws.members().to_vec() {
            for _ in 0..20 {
                ws.send_to(id, message);
            }
        }
    };
    let mut world = World::with_handler(Config::default(), Box::new(handler));
    let peers = (0..members).map(|_| world.open()).collect();
    (world, peers)
}

#[test]
fn what_a_connection_causes_in_a_turn_is_bounded_and_the_rest_waits() {
    let (mut world, peers) = telling_everybody(50);
    // Each is sent on a thousand times.
    peers[0].sends(&masked(0x81, b"x").repeat(500));
    for turns in 1..=100 {
        let queued = |world: &World| world.dispatcher.peers.stats.messages_out;
        let before = queued(&world);
        // One that comes meanwhile has its answer at the end of the turn.
        peers[1].sends(&masked(0x89, b"now"));
        world.turn();
        assert_eq!(queued(&world) - before, 5_000, "turn {turns}");
        for peer in &peers[2..] {
            assert_eq!(peer.takes_all().len(), 300);
        }
        peers[0].takes_all();
        let answer = b"\x8a\x03now";
        assert!(peers[1].takes_all().windows(5).any(|bytes| bytes == answer), "turn {turns}");
        assert_eq!(world.is_busy(), turns < 100, "turn {turns}");
    }
}

#[test]
fn what_the_lines_of_a_source_cause_is_bounded_too() {
    struct Lines;
    impl Handler for Lines {
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

        fn on_line(&mut self, ws: &mut Context<'_>, _: SourceId, line: &str) -> Result<(), String> {
            for id in ws.members().to_vec() {
                for _ in 0..100 {
                    ws.send_to(id, line);
                }
            }
            Ok(())
        }
    }
    let mut world = World::with_handler(Config::default(), Box::new(Lines));
    let (listener, source) = (world.open(), world.connect_source());
    let lines: Vec<String> = (0..205).map(|number| format!("{number:03}\n")).collect();
    source.sends(lines.concat().as_bytes());
    let mut came = Vec::new();
    for turns in 1..=5 {
        world.turn();
        came.extend(listener.takes_all());
        assert_eq!(came.len(), 5 * 100 * 205.min(41 * turns));
    }
    let texts: Vec<&[u8]> = came.chunks(500).map(|line| &line[2..5]).collect();
    let sent: Vec<&[u8]> = lines.iter().map(|line| &line.as_bytes()[..3]).collect();
    assert_eq!(texts, sent);
}

/// The code and the reason of the close frame that the peer is sent.
fn close_sent(peer: &Peer) -> (u16, String) {
    let bytes = peer.takes_all();
    let place = bytes
        .iter()
        .position(|byte| *byte == 0x88)
        .unwrap_or_else(|| panic!("no close frame in {bytes:x?}"));
    let code = u16::from_be_bytes([bytes[place + 2], bytes[place + 3]]);
    (code, String::from_utf8(bytes[place + 4..].to_vec()).unwrap())
}

#[test]
fn a_message_that_trickles_in_has_its_time_and_no_more() {
    // In one frame, in fragments, and with pings in between; each byte is a sign of life.
    let piece: [fn(u8) -> Vec<u8>; 3] = [
        |_| b"x".to_vec(),
        |_| masked(0x00, b"x"),
        |_| [masked(0x00, b""), masked(0x89, b"")].concat(),
    ];
    let beginnings = [&b"\x82\xfe\x10\0\0\0\0\0"[..], b"\x01\x81\0\0\0\0x", b"\x02\x80\0\0\0\0"];
    for (beginning, piece) in beginnings.into_iter().zip(piece) {
        let mut world = World::new(Config::default());
        let peer = world.open();
        world.turns_for(20 * SECOND, SECOND);
        peer.takes_all();
        peer.sends(&masked(0x81, b"whole"));
        peer.sends(beginning);
        peer.sends(&piece(0));
        world.turn_until_quiet();
        let begun = world.now();
        while world.dispatcher.peers.get(peer.id).is_some_and(|conn| conn.is_open()) {
            peer.sends(&piece(1));
            world.turns_for(SECOND, SECOND);
        }
        let late = world.now() - begun;
        assert!((60_000..=61_000).contains(&late), "{late} ms");
        assert_eq!(close_sent(&peer), (1008, "message not finished in time".to_string()));
    }
}

#[test]
fn a_large_message_that_comes_at_a_fair_rate_may_take_longer() {
    for (rate, whole) in [(5_000, true), (2_000, false)] {
        let mut world = World::new(Config::default());
        let peer = world.open();
        let message = masked(0x82, &vec![0; 600_000]);
        for piece in message.chunks(rate) {
            peer.sends(piece);
            world.turns_for(SECOND, SECOND);
        }
        let came = world.calls.borrow().iter().any(|call| call.ends_with(" 600000"));
        assert_eq!(came, whole, "{rate} bytes a second");
    }
}

#[test]
fn a_message_of_an_old_browser_has_its_time_too() {
    let mut world = World::new(Config { ping_interval: None, ..Config::default() });
    let peer = world.connect();
    peer.sends(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
          Origin: http://a\r\n\r\n",
    );
    peer.sends(b"\0whole\xff\0a");
    world.turn_until_quiet();
    world.turns_for(59 * SECOND, SECOND);
    assert_eq!(world.closed(&peer), None);
    peer.sends(b"b");
    world.turns_for(2 * SECOND, SECOND);
    peer.ends();
    world.turn_until_quiet();
    assert_eq!(world.closed(&peer).as_deref(), Some("1008 message not finished in time"));
}

#[test]
fn a_paused_peer_need_not_finish_its_message() {
    let config = Config { ping_interval: None, ..Config::default() };
    let mut world = World::new(config);
    let peer = world.open();
    peer.sends(b"\x01\x81\0\0\0\0x");
    world.turn_until_quiet();
    world.dispatcher.peers.pause(peer.id);
    world.turns_for(200 * SECOND, SECOND);
    world.dispatcher.peers.resume(peer.id);
    world.turns_for(59 * SECOND, SECOND);
    peer.sends(&masked(0x80, b"y"));
    world.turn_until_quiet();
    assert_eq!(world.closed(&peer), None);
    assert_eq!(peer.takes_all(), b"\x81\x02xy");
}

const KIB: usize = 1024;

/// A world whose connections may hold so much together.
fn within(max_memory: usize) -> World {
    World::new(Config { max_memory: Some(max_memory), ..Config::default() })
}

/// The beginning of a message of this size, of which so much comes.
fn begins(peer: &Peer, size: usize, bytes: usize) {
    let frame = masked(0x82, &vec![0; size]);
    peer.sends(&frame[..14 + bytes]);
}

#[test]
fn who_holds_the_most_goes_first_and_is_told() {
    let mut world = within(5_000_000);
    let peers: Vec<Peer> = (0..41).map(|_| world.open()).collect();
    begins(&peers[7], 1 << 20, 800 * KIB);
    world.turn_until_quiet();
    for peer in &peers {
        if peer.id != peers[7].id {
            begins(peer, 100 * KIB, 60 * KIB);
            world.turn_until_quiet();
        }
        let held = world.dispatcher.peers.held_in_all();
        assert!(held <= 5_000_000, "{held}");
    }
    assert_eq!(close_sent(&peers[7]), (1013, "short of memory".to_string()));
    peers[7].sends(&masked(0x88, b"\x03\xf5"));
    world.turn_until_quiet();
    assert_eq!(world.closed(&peers[7]).as_deref(), Some("1013 short of memory"));
    // The others finish what they have begun.
    for peer in &peers {
        if peer.id != peers[7].id {
            peer.sends(&vec![0; 40 * KIB]);
            world.turn_until_quiet();
            peer.takes_all();
            world.turns_for(SECOND, SECOND);
            while !peer.takes_all().is_empty() {
                world.turn_until_quiet();
            }
        }
    }
    assert_eq!(world.dispatcher.peers.stats.cut, [("short of memory", 1)]);
    assert_eq!(world.dispatcher.peers.counted(), 0);
}

#[test]
fn what_is_queued_counts_and_what_many_share_counts_once() {
    let mut world = within(8 << 20);
    let peers: Vec<Peer> = (0..20).map(|_| world.open()).collect();
    for _ in 0..3 {
        let message = vec![b'x'; 1 << 20];
        world.dispatcher.peers.broadcast(0, Message::Binary(&message), crate::ConnId::NONE);
        world.turn_until_quiet();
    }
    // Nobody reads: twenty times three megabytes wait, and three are held, twice as much at most.
    assert_eq!(world.dispatcher.peers.stats.cut, []);
    let shared = world.dispatcher.peers.counted_as_shared();
    assert!((3 << 20..=6 << 20).contains(&shared), "{shared}");
    // Of their own they have more than there may be: some go.
    for peer in &peers[..8] {
        let message = vec![b'y'; 900 * KIB];
        world.dispatcher.peers.send(peer.id, Message::Binary(&message));
        world.turn_until_quiet();
        let held = world.dispatcher.peers.held_in_all();
        assert!(held <= 8 << 20, "{held}");
    }
    let cut = &world.dispatcher.peers.stats.cut;
    assert!(matches!(cut[..], [("short of memory", 1..=8)]), "{cut:?}");
    for peer in &peers {
        while !peer.takes_all().is_empty() {
            world.turn_until_quiet();
        }
    }
    assert_eq!(world.dispatcher.peers.counted_as_shared(), 0);
    assert_eq!(world.dispatcher.peers.counted(), 0);
}

#[test]
fn nobody_is_let_in_while_there_is_no_room_for_one_more() {
    let mut world = within(10 * 200);
    let peers: Vec<Peer> = (0..9).map(|_| world.open()).collect();
    assert!(!world.dispatcher.peers.is_short_of_memory());
    let tenth = world.open();
    assert!(world.dispatcher.peers.is_short_of_memory());
    tenth.ends();
    world.turn_until_quiet();
    assert!(!world.dispatcher.peers.is_short_of_memory());
    assert_eq!((world.closed(&peers[0]), world.dispatcher.peers.counted()), (None, 0));
}

#[test]
fn a_backlog_holds_no_more_than_twice_what_is_counted() {
    let mut world = World::new(Config::default());
    let (slow, other) = (world.open(), world.open());
    let backlog = |world: &World| {
        let conn = world.dispatcher.peers.get(slow.id).unwrap();
        world.dispatcher.peers.backlog(conn)
    };
    // Broadcasts, each of which is acknowledged to one who does not read.
    while backlog(&world) < 3 << 20 {
        for _ in 0..15 {
            let text = vec![b'x'; 4_100];
            world.dispatcher.peers.broadcast(0, Message::Binary(&text), crate::ConnId::NONE);
            world.dispatcher.peers.send(slow.id, Message::Text("done"));
        }
        world.turn_until_quiet();
        while !other.takes_all().is_empty() {
            world.turn_until_quiet();
        }
    }
    let held = world.dispatcher.peers.counted() + world.dispatcher.peers.counted_as_shared();
    let most = 2 * backlog(&world) + 256 * KIB;
    assert!(held <= most, "{held} bytes, not {most}");
}

#[test]
fn whoever_holds_it_is_ended_a_client_a_source_or_one_that_is_closing() {
    let mut world = within(200_000);
    // A request, a line, and what one that is closing does not take.
    let client = world.connect();
    client.sends(&[b"GET / HTTP/1.1\r\nX: ", &vec![b'x'; 8000][..]].concat());
    world.turn_until_quiet();
    let source = world.connect_source();
    source.sends(&vec![b'x'; 60_000]);
    world.turn_until_quiet();
    let closing = world.open();
    closing.socket.borrow_mut().set_room(1000);
    world.dispatcher.peers.send(closing.id, Message::Binary(&[0; 100_000]));
    world.dispatcher.peers.close(closing.id, 1000, "");
    world.turn_until_quiet();
    assert!(world.has(&client) && world.has(&source) && world.has(&closing));
    // The largest goes, and then the next.
    let begin = |world: &mut World, size| {
        world.open().sends(&masked(0x02, &vec![0; size]));
        world.turn_until_quiet();
    };
    begin(&mut world, 40_000);
    assert!(!world.has(&closing) && world.has(&source) && world.has(&client));
    begin(&mut world, 50_000);
    begin(&mut world, 50_000);
    assert!(!world.has(&source) && world.has(&client));
    assert_eq!(world.closed(&closing).as_deref(), Some("1013 short of memory"));
}

#[test]
fn what_was_shared_and_is_written_counts_no_more() {
    let mut world = within(3 << 20);
    let (one, other) = (world.open(), world.open());
    for _ in 0..5 {
        let message = Message::Binary(&[0; 1 << 20]);
        world.dispatcher.peers.broadcast(0, message, crate::ConnId::NONE);
        world.turn_until_quiet();
        for peer in [&one, &other] {
            while !peer.takes_all().is_empty() {
                world.turn_until_quiet();
            }
        }
    }
    one.sends(&masked(0x02, &[0; 1000]));
    world.turn_until_quiet();
    assert_eq!(world.dispatcher.peers.stats.cut, []);
}

#[test]
fn where_only_places_are_taken_nobody_else_is_ended() {
    let mut world = within(2000);
    let peers: Vec<Peer> = (0..12).map(|_| world.open()).collect();
    peers[3].sends(&masked(0x02, b"x"));
    world.turn_until_quiet();
    assert_eq!(world.dispatcher.peers.stats.cut, [("short of memory", 1)]);
    assert_eq!(close_sent(&peers[3]).0, 1013);
}

#[test]
fn a_request_without_a_line_end_is_no_line() {
    let mut world = World::new(Config::default());
    let source = world.connect_source();
    source.sends(b"GET / HTTP/1.1");
    source.ends();
    world.turn_until_quiet();
    assert!(source.takes_all().starts_with(b"error: line 1: "));
    assert!(!world.has(&source));
}

#[test]
fn who_pauses_and_resumes_in_one_call_goes_on() {
    let handler = |ws: &mut Context<'_>, message: Message<'_>| {
        ws.pause();
        ws.resume();
        ws.send(message);
    };
    let mut world = World::with_handler(Config::default(), Box::new(handler));
    let peer = world.open();
    peer.sends(&[masked(0x81, b"a"), masked(0x81, b"b")].concat());
    world.turn_until_quiet();
    assert_eq!(peer.takes_all(), b"\x81\x01a\x81\x01b");
}
