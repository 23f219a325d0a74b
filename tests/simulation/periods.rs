//! When each period begins, and that nobody is cut who is alive.

use std::time::Duration;

use super::world::{Peer, World, masked};
use crate::config::{Config, OnFull};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A peer that asked for this many bytes, of which its kernel has taken some.
fn reader(world: &mut World, bytes: usize) -> Peer {
    let peer = world.open();
    peer.sends(&masked(0x81, format!("+{bytes}").as_bytes()));
    world.turn_until_quiet();
    peer
}

/// Takes so many bytes each second, for at most `time`, until `wanted` have come. How many came.
fn reads(world: &mut World, peer: &Peer, each: usize, wanted: usize, time: Duration) -> usize {
    let mut came = 0;
    for _ in 0..time.as_secs() {
        came += peer.takes(each.min(wanted - came)).len();
        world.turns_for(SECOND, SECOND);
        let over = world.closed(peer).is_some() && peer.socket.borrow().under_way() == 0;
        if came == wanted || over {
            break;
        }
    }
    came
}

#[test]
fn who_reads_slowly_and_steadily_is_not_cut() {
    let mut world = World::new(Config::default());
    let size = 3 << 20;
    let peer = reader(&mut world, size);
    // Two minutes and more, at 24 KiB a second: a ping that was queued behind it all could be
    // answered in none of them.
    let wanted = size + 10;
    assert_eq!(reads(&mut world, &peer, 24 << 10, wanted, seconds(200)), wanted);
    assert_eq!(world.closed(&peer), None);
    // Then it is as silent as any other: pinged, and gone without an answer.
    let silent = world.dispatcher.peers.clock.now();
    while world.closed(&peer).is_none() {
        world.turns_for(SECOND, SECOND);
    }
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 no answer to a ping"));
    assert!(peer.takes_all().starts_with(b"\x89\x00"));
    let late = world.dispatcher.peers.clock.now() - silent;
    assert!((40_000..=70_000).contains(&late), "{late} ms");
}

#[test]
fn a_ping_that_is_under_way_gives_the_time_that_the_bytes_before_it_take() {
    let mut world = World::new(Config::default());
    let peer = world.open();
    world.turns_for(seconds(26), SECOND);
    assert_eq!(peer.socket.borrow().under_way(), 2, "a ping");
    // Behind the ping comes much; the peer takes it all, slowly, and the ping first.
    world.dispatcher.peers.send(peer.id, (&vec![b'x'; 1 << 20][..]).into());
    world.turn_until_quiet();
    let wanted = 2 + 10 + (1 << 20);
    assert_eq!(reads(&mut world, &peer, 16 << 10, wanted, seconds(100)), wanted);
    assert_eq!(world.closed(&peer), None);
}

#[test]
fn a_ping_for_which_there_is_no_room_is_not_missed() {
    let (max_backlog, on_full) = (1000, OnFull::Drop);
    let mut world = World::new(Config { max_backlog, on_full, ..Config::default() });
    let peer = world.open();
    world.turns_for(seconds(24), SECOND);
    world.pass(2 * SECOND);
    // In the turn in which the ping is due, the backlog is nearly full.
    world.dispatcher.peers.send(peer.id, (&[b'x'; 900][..]).into());
    world.turn_until_quiet();
    let came = peer.takes_all();
    assert_eq!((came.len(), &came[4 + 900..]), (4 + 900 + 2, &b"\x89\x00"[..]));
    assert_eq!(world.closed(&peer), None);
}

#[test]
fn a_ping_that_never_fits_is_not_asked_for_and_ends_nobody() {
    let (max_backlog, on_full) = (100, OnFull::Drop);
    let mut world = World::new(Config { max_backlog, on_full, ..Config::default() });
    let peer = world.open();
    world.turns_for(seconds(200), SECOND);
    assert_eq!((peer.takes_all(), world.closed(&peer)), (Vec::new(), None));
}

#[test]
fn who_takes_nothing_is_cut_as_before() {
    let mut world = World::new(Config::default());
    let peer = reader(&mut world, 1 << 20);
    world.turns_for(seconds(49), SECOND);
    assert_eq!(world.closed(&peer), None);
    world.turns_for(seconds(3), SECOND);
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 takes nothing"));
}

#[test]
fn who_made_just_enough_room_before_being_cut_is_asked_later_on() {
    let mut world = World::new(Config::default());
    let peer = reader(&mut world, 75_000);
    // Too little to be announced, and enough for what is left.
    assert_eq!(peer.takes(15_000).len(), 15_000);
    world.turns_for(seconds(51), SECOND);
    assert_eq!(peer.socket.borrow().under_way(), 75_010 - 15_000);
    assert_eq!(world.closed(&peer), None);
    world.turns_for(seconds(300), SECOND);
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 no answer to a ping"));
}

#[test]
fn who_takes_something_is_not_idle() {
    let config =
        Config { idle_timeout: Some(seconds(30)), ping_interval: None, ..Config::default() };
    let mut world = World::new(config);
    let size = 1 << 20;
    let peer = reader(&mut world, size);
    assert_eq!(reads(&mut world, &peer, 16 << 10, size + 10, seconds(100)), size + 10);
    assert_eq!(world.closed(&peer), None);
    world.turns_for(seconds(31), SECOND);
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 idle"));
}

#[test]
fn a_closing_that_makes_progress_is_let_go_on() {
    for who in ["handler", "peer", "stop"] {
        let mut world = World::new(Config::default());
        let size = 3 << 20;
        let peer = reader(&mut world, size);
        match who {
            "handler" => assert!(world.dispatcher.peers.close(peer.id, 1000, "")),
            "peer" => peer.sends(&masked(0x88, b"\x03\xe8")),
            _ => world.stop(),
        }
        world.turn_until_quiet();
        // All of it and the close frame, in most of a minute, where the close timeout is five seconds.
        let wanted = size + 10 + if who == "stop" { 4 + 16 } else { 4 };
        assert_eq!(reads(&mut world, &peer, 60 << 10, wanted, seconds(60)), wanted, "{who}");
        if who != "peer" {
            assert_eq!(world.closed(&peer), None, "{who}");
            peer.sends(&masked(0x88, b"\x03\xe8"));
        }
        world.turn_until_quiet();
        assert_eq!(world.closed(&peer).as_deref(), Some("1000 "), "{who}");
        peer.ends();
        world.turn_until_quiet();
        assert!(!world.has(&peer), "{who}");
    }
}

#[test]
fn a_closing_is_let_go_on_though_too_little_is_taken_to_be_announced() {
    let mut world = World::new(Config::default());
    let peer = reader(&mut world, 100_000);
    assert!(world.dispatcher.peers.close(peer.id, 1000, ""));
    world.turn_until_quiet();
    // A kernel with 64 KiB announces room once 21 KiB have gone, which takes 21 seconds here.
    assert_eq!(reads(&mut world, &peer, 1000, usize::MAX, seconds(20)), 20_000);
    assert_eq!(world.closed(&peer), None);
}

#[test]
fn a_closing_without_progress_is_cut_and_the_log_says_why() {
    // Takes nothing at all.
    let mut world = World::new(Config::default());
    let peer = reader(&mut world, 1 << 20);
    world.dispatcher.peers.close(peer.id, 1000, "");
    world.turns_for(seconds(7), SECOND);
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 takes nothing"));
    // Takes all, and does not answer.
    let peer = world.open();
    world.dispatcher.peers.close(peer.id, 1000, "");
    world.turn_until_quiet();
    world.turns_for(seconds(4), SECOND);
    assert_eq!(world.closed(&peer), None);
    world.turns_for(seconds(2), SECOND);
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 no answer to the close"));
    // Takes a little, for ever.
    let peer = reader(&mut world, 3 << 20);
    world.dispatcher.peers.close(peer.id, 1000, "");
    world.turn_until_quiet();
    assert!(reads(&mut world, &peer, 24 << 10, 3 << 20, seconds(100)) > 0);
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 takes too long to close"));
}

#[test]
fn nobody_is_judged_before_what_the_kernel_holds_was_read() {
    let config = Config { max_events: 2, idle_timeout: Some(seconds(30)), ..Config::default() };
    let mut world = World::new(config);
    let talkers: Vec<Peer> = (0..10).map(|_| world.open()).collect();
    let asking: Vec<Peer> = (0..10).map(|_| world.connect()).collect();
    let pinged = world.open();
    world.turns_for(seconds(8), SECOND);
    for peer in &talkers {
        peer.sends(&masked(0x81, b"alive"));
    }
    for peer in &asking {
        peer.sends(super::world::REQUEST);
    }
    // The program is stopped for longer than any deadline; the poll then tells of two of them.
    world.pass(seconds(70));
    world.turn();
    for peer in talkers.iter().chain(&asking) {
        assert_eq!(world.closed(peer), None);
        assert!(world.has(peer));
    }
    world.turn_until_quiet();
    assert_eq!(world.calls.borrow().iter().filter(|call| call.starts_with("open")).count(), 21);
    assert_eq!(world.closed(&pinged).as_deref(), Some("1006 idle"));
}

#[test]
fn a_pong_that_lies_unread_counts() {
    let mut world = World::new(Config::default());
    let peers: Vec<Peer> = (0..5).map(|_| world.open()).collect();
    world.max_events = 1;
    world.turns_for(seconds(26), SECOND);
    for peer in &peers {
        assert_eq!(peer.takes_all(), b"\x89\x00");
        peer.sends(&masked(0x8a, b""));
    }
    world.pass(seconds(60));
    world.turn_until_quiet();
    assert!(peers.iter().all(|peer| world.closed(peer).is_none()));
}

#[test]
fn a_request_longer_than_a_turn_reads_is_waited_for() {
    let config = Config { read_budget: 10, max_events: 1, ..Config::default() };
    let mut world = World::new(config);
    let peer = world.connect();
    peer.sends(super::world::REQUEST);
    world.pass(seconds(60));
    world.turn_until_quiet();
    assert_eq!(world.calls.borrow()[..], ["open 1"]);
    assert_eq!(world.closed(&peer), None);
}

#[test]
fn who_was_paused_for_long_is_asked_and_cut_after_the_resume() {
    let mut world = World::new(Config::default());
    let peer = world.open();
    world.dispatcher.peers.pause(peer.id);
    world.turns_for(seconds(100), SECOND);
    assert_eq!(peer.takes_all(), b"");
    world.dispatcher.peers.resume(peer.id);
    world.turns_for(seconds(24), SECOND);
    assert_eq!(peer.takes_all(), b"");
    world.turns_for(seconds(2), SECOND);
    assert_eq!(peer.takes_all(), b"\x89\x00");
    world.turns_for(seconds(26), SECOND);
    assert_eq!(world.closed(&peer).as_deref(), Some("1006 no answer to a ping"));
}

#[test]
fn who_was_paused_while_asked_is_asked_anew_after_the_resume() {
    let mut world = World::new(Config::default());
    let peer = world.open();
    world.turns_for(seconds(26), SECOND);
    assert_eq!(peer.takes_all(), b"\x89\x00");
    world.dispatcher.peers.pause(peer.id);
    world.turns_for(seconds(100), SECOND);
    world.dispatcher.peers.resume(peer.id);
    world.turns_for(seconds(24), SECOND);
    assert_eq!(world.closed(&peer), None);
    world.turns_for(seconds(2), SECOND);
    assert_eq!(peer.takes_all(), b"\x89\x00");
}

#[test]
fn whose_end_was_read_has_the_close_timeout_from_then_on() {
    let mut world = World::new(Config::default());
    let peer = reader(&mut world, 1 << 20);
    world.turns_for(seconds(10), SECOND);
    peer.ends();
    world.turn_until_quiet();
    world.turns_for(seconds(4), SECOND);
    assert!(world.has(&peer));
    world.turns_for(seconds(2), SECOND);
    assert!(!world.has(&peer));
}

#[test]
fn a_socket_lingers_for_the_close_timeout_from_its_end_on() {
    let mut world = World::new(Config::default());
    let peer = reader(&mut world, 1 << 20);
    // A broken rule: our close frame goes behind what is queued.
    peer.sends(b"\x81\x00");
    world.turn_until_quiet();
    world.turns_for(seconds(4), SECOND);
    while !peer.takes_all().is_empty() {
        world.turn_until_quiet();
    }
    assert!(peer.socket.borrow().server_has_ended());
    world.turns_for(seconds(4), SECOND);
    assert!(world.has(&peer), "the peer may still be reading");
    world.turns_for(seconds(20), SECOND);
    assert!(!world.has(&peer));
}

#[test]
fn a_response_that_began_long_ago_is_finished_when_the_server_stops() {
    let mut world = World::new(Config::default());
    world.dispatcher.site =
        crate::http::files::Site::Embedded(&[("/index.html", &[b'x'; 200_000])]);
    let peer = world.connect();
    peer.sends(b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n");
    world.turn_until_quiet();
    world.turns_for(seconds(20), SECOND);
    world.stop();
    world.turn_until_quiet();
    world.turns_for(seconds(4), SECOND);
    let mut came = 0;
    loop {
        match peer.takes_all().len() {
            0 => break,
            more => came += more,
        }
        world.turn_until_quiet();
    }
    assert!(came > 200_000, "{came} bytes");
}

#[test]
fn who_asks_for_more_and_takes_too_little_is_cut_as_well() {
    let mut world = World::new(Config::default());
    world.dispatcher.site =
        crate::http::files::Site::Embedded(&[("/index.html", &[b'x'; 100_000])]);
    let peer = world.connect();
    let request = b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n";
    peer.sends(request);
    world.turn_until_quiet();
    // The second request waits, since so much is to be written before its answer.
    peer.sends(request);
    world.turn();
    peer.takes(30_000);
    world.turn_until_quiet();
    assert!(world.has(&peer) && peer.socket.borrow().under_way() > 60_000);
    world.turns_for(seconds(51), SECOND);
    assert!(!world.has(&peer));
}

#[test]
fn who_takes_what_was_in_the_way_of_a_ping_is_asked_a_period_later() {
    use crate::config::OnFull;
    let config = Config { max_backlog: 1 << 20, on_full: OnFull::Drop, ..Config::default() };
    let mut world = World::new(config);
    let peer = world.open();
    world.pass(seconds(26));
    // It falls due in the turn in which much was queued, and none of that has met a full kernel yet.
    let text = "x".repeat((1 << 20) - 100);
    for text in ["", &text] {
        world.dispatcher.peers.send(peer.id, text.into());
    }
    world.turn();
    let mut came = Vec::new();
    while world.has(&peer) && came.len() < 2 + 10 + text.len() {
        came.extend(peer.takes_all());
        world.turn_until_quiet();
    }
    // It took all that, so that it is asked a period later.
    world.turns_for(seconds(24), SECOND);
    assert_eq!(peer.takes_all(), b"");
    world.turns_for(seconds(2), SECOND);
    assert_eq!(peer.takes_all(), b"\x89\x00");
}

#[test]
fn connections_that_come_and_go_leave_no_deadlines_behind() {
    for (handshake, most) in [(Duration::MAX, 0), (seconds(3600), 200)] {
        let config = Config { handshake_timeout: handshake, ..Config::default() };
        let mut world = World::new(config);
        let mut stays = Vec::new();
        for round in 0..2_000 {
            let peer = world.connect();
            if round < 20 {
                stays.push(peer);
            } else {
                world.dispatcher.peers.drop_now(peer.id, 1000, "");
            }
            world.turn();
        }
        let entries = world.dispatcher.peers.deadlines();
        assert!(entries <= most, "{entries} entries for {} connections", stays.len());
        // Those who stay are still judged, and told.
        world.pass(seconds(3601));
        world.turns_for(seconds(10), SECOND);
        assert_eq!(stays.iter().all(|peer| !world.has(peer)), handshake != Duration::MAX);
    }
}

/// A client that is sent a page of so many bytes, of which its kernel has taken some.
fn downloader(world: &mut World) -> Peer {
    const PAGE: &[u8] = &[b'x'; 300_000];
    world.dispatcher.site = crate::http::files::Site::Embedded(&[("/index.html", PAGE)]);
    let peer = world.connect();
    peer.sends(b"GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n");
    world.turn_until_quiet();
    peer
}

#[test]
fn a_download_over_a_slow_line_is_finished() {
    for each in [300, 1_000, 5_000] {
        let mut world = World::new(Config::default());
        let peer = downloader(&mut world);
        let mut came = 0;
        while came < 300_000 {
            let piece = peer.takes(each).len();
            assert!(piece > 0, "cut after {came} bytes at {each} a second");
            came += piece;
            world.turns_for(SECOND, SECOND);
        }
    }
}

#[test]
fn who_takes_too_little_of_a_response_is_cut() {
    let mut world = World::new(Config::default());
    let peer = downloader(&mut world);
    // Some in each second, so that it does not stall; too little in the minute.
    for _ in 0..59 {
        assert_eq!(peer.takes(250).len(), 250);
        world.turns_for(SECOND, SECOND);
    }
    assert!(world.has(&peer));
    peer.takes(250);
    world.turns_for(2 * SECOND, SECOND);
    assert!(!world.has(&peer));
    assert_eq!(world.dispatcher.peers.stats().cut, [("takes too little", 1)]);
    // Each minute counts for itself: much in one does not make up for the next.
    let peer = downloader(&mut world);
    peer.takes(64 * 1024);
    for second in 0..122 {
        assert!(world.has(&peer) || second > 119, "cut after {second} s");
        peer.takes(200);
        world.turns_for(SECOND, SECOND);
    }
    assert!(!world.has(&peer));
}
