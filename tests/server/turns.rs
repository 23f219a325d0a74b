//! What happens within one turn and between turns: a server is turned by hand, so that the tests
//! decide what a turn finds.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use wsloop::{Config, ConnId, Context, SendStatus, Server, Version};

impl Client {
    /// Reads what has come, without waiting for more; how much that was.
    pub fn take_what_is_there(&mut self) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let (mut total, mut buf) = (0, vec![0; 64 * 1024]);
        loop {
            match self.stream.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => total += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        total
    }
}

const TICK: Duration = Duration::from_millis(20);

/// A server with one route for all paths.
fn server(
    config: Config,
    act: impl FnMut(&mut Context<'_>, &What) + Send + 'static,
) -> (Server, Log) {
    let (recorder, log) = record_with(act);
    let mut server = listening(config);
    server.route("*", recorder);
    (server, log)
}

#[test]
fn a_goodbye_to_the_others_goes_out_in_the_turn_of_the_end() {
    let (mut server, log) = server(Config::default(), |ws, what| {
        if let What::Close(code, _) = what {
            ws.broadcast(&format!("one left with {code}"));
        }
    });
    let (mut leaving, id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let (mut staying, _) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    turn_while_busy(&mut server);
    leaving.close(3000, "");
    assert_eq!(next_event(&mut server, &log), Event { id, what: What::Close(3000, String::new()) });
    // That turn was the last: were the goodbye still queued, it would never come.
    assert_eq!(staying.read_text(), "one left with 3000");
    assert_ne!(server.poll_timeout(), Some(Duration::ZERO));
}

#[test]
fn one_end_leads_to_another_and_all_goodbyes_go_out() {
    let mut ids = Vec::new();
    let (mut server, log) = server(Config::default(), move |ws, what| match what {
        What::Open(_) => ids.push(ws.id()),
        What::Close(..) => {
            let place = ids.iter().position(|id| *id == ws.id()).unwrap();
            ws.broadcast(&format!("{place} left"));
            if let Some(&after) = ids.get(place + 1).filter(|_| place < 2) {
                ws.to(after).terminate();
            }
        }
        _ => {}
    });
    let (mut clients, ids): (Vec<_>, Vec<_>) =
        (0..4).map(|_| open_by_turns(&mut server, &log, Version::Rfc6455, "/")).collect();
    turn_while_busy(&mut server);
    clients[0].end();
    assert_eq!(next_event(&mut server, &log).id, ids[0]);
    let rest: Vec<ConnId> = std::iter::from_fn(|| log.try_next()).map(|event| event.id).collect();
    assert_eq!(rest, ids[1..3], "all in the same turn");
    assert_eq!(
        ["0 left", "1 left", "2 left"].map(|_| clients[3].read_text()),
        ["0 left", "1 left", "2 left"]
    );
}

#[test]
fn an_event_behind_the_end_of_its_connection_is_nobodys() {
    let (mut server, log) = server(Config::default(), |ws, what| {
        if *what == What::Text("end the others".into()) {
            let judge = ws.id();
            for id in ws.members().to_vec() {
                if id != judge {
                    ws.to(id).terminate();
                }
            }
        }
    });
    let (mut judge, judge_id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let mut unheard = 0;
    for _ in 0..20 {
        let (mut victim, id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
        turn_while_busy(&mut server);
        // Both lie ready for the next turn, in this order.
        judge.text("end the others");
        victim.text("late");
        let mut seen = Vec::new();
        while !matches!(seen.last(), Some(Event { what: What::Close(..), .. })) {
            seen.push(next_event(&mut server, &log));
        }
        turn_while_busy(&mut server);
        assert_eq!(log.try_next(), None);
        let seen = only(&seen, id);
        let terminated = What::Close(1006, "terminated".into());
        assert_eq!(seen.last(), Some(&terminated));
        assert!(seen.len() == 1 || seen == [What::Text("late".into()), terminated]);
        unheard += usize::from(seen.len() == 1);
        victim.wait_for_the_end();
    }
    assert!(unheard > 0, "the case that this is about never came");
    assert_eq!(server.context("*").unwrap().members(), [judge_id]);
}

/// In each round one connection ends and the next comes with all it has to say, in the same turn.
#[test]
fn slots_are_used_again_and_nothing_is_mixed_up() {
    let (mut server, log) = server(Config::default(), |_, _| {});
    let mut before: Option<Client> = None;
    let mut events = Vec::new();
    for round in 0..60 {
        match before.take() {
            Some(mut client) if round % 3 == 0 => client.end(),
            Some(client) if round % 3 == 1 => client.reset(),
            Some(client) => drop(client),
            None => {}
        }
        let mut client = Client::connect(tcp_addr(&server));
        let text = client.text_bytes(&format!("/{round}"));
        client.send(&[request(Version::Rfc6455, &format!("/{round}"), ""), text].concat());
        let said = What::Text(format!("/{round}"));
        while events.last().is_none_or(|event: &Event| event.what != said) {
            events.push(next_event(&mut server, &log));
        }
        before = Some(client);
    }
    drop(before);
    events.push(next_event(&mut server, &log));
    let ids: HashSet<ConnId> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 60);
    for id in &ids {
        let seen = only(&events, *id);
        let [What::Open(path), What::Text(text), What::Close(1006, _)] = &seen[..] else {
            panic!("{seen:?}")
        };
        assert_eq!(path, text);
    }
    let slots: HashSet<String> =
        ids.iter().map(|id| format!("{id:?}").split(',').next().unwrap().to_string()).collect();
    assert!(slots.len() <= 10, "{slots:?}");
}

#[test]
fn timers_of_a_connection_that_ended_do_not_fire() {
    let (mut server, log) = server(Config::default(), |ws, what| {
        if let What::Open(_) = what {
            ws.set_timer(5 * TICK, 1);
            let cleared = ws.set_timer(TICK, 2);
            ws.clear_timer(cleared);
            ws.clear_timer(cleared);
        }
    });
    let (mut gone, gone_id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let (mut lingering, lingering_id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let (_there, there_id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    gone.close(1000, "");
    lingering.send(b"\x81\x01x");
    let mut events: Vec<Event> = Vec::new();
    let closed = |events: &[Event]| {
        events.iter().filter(|event| matches!(event.what, What::Close(..))).count()
    };
    while closed(&events) < 2 {
        events.push(next_event(&mut server, &log));
    }
    // Set last, and so the last to fire.
    while !events.contains(&Event { id: there_id, what: What::Timer(1) }) {
        events.push(next_event(&mut server, &log));
    }
    for id in [gone_id, lingering_id] {
        let seen = only(&events, id);
        assert!(matches!(seen.last(), Some(What::Close(..))), "{seen:?}");
    }
    assert_eq!(lingering.read_close().0, 1002);
    assert_eq!(only(&events, there_id), [What::Timer(1)]);
}

#[test]
fn a_timer_fires_no_earlier_than_asked_for() {
    let (mut server, log) = server(Config::default(), |_, _| {});
    // The server's idea of the time is as old as its last turn.
    let_pass(3 * TICK);
    let set = Instant::now();
    server.context("*").unwrap().set_timer(2 * TICK, 7);
    let event = next_event(&mut server, &log);
    assert_eq!(event.what, What::Timer(7));
    assert!(set.elapsed() >= 2 * TICK, "{:?}", set.elapsed());
}

/// Answers five pings and more, for as long as it takes for a deadline to be missed. What has come
/// is always read before deadlines are looked at, so the machine may be slow.
fn answer_pings(config: Config) {
    let (mut server, log) = server(config, |_, _| {});
    let (mut client, id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let start = Instant::now();
    let mut pings = 0;
    while pings < 5 || start.elapsed() < 25 * TICK {
        pings += 1;
        turn_until(&mut server, "a ping", |_| (!client.has_nothing()).then_some(()));
        assert_eq!(client.read_frame(), (0x89, vec![]));
        client.send(&masked(0x8a, b""));
    }
    client.text("still here");
    assert_eq!(next_event(&mut server, &log), Event { id, what: What::Text("still here".into()) });
}

#[test]
fn a_peer_that_answers_its_pings_is_kept() {
    answer_pings(config(|config| {
        config.ping_interval = Some(TICK);
        config.pong_timeout = 10 * TICK;
    }));
}

#[test]
fn the_next_ping_does_not_wait_for_the_deadline_of_the_last() {
    answer_pings(config(|config| {
        config.ping_interval = Some(TICK);
        config.pong_timeout = 10 * PATIENCE;
    }));
}

#[test]
fn a_paused_peer_is_not_timed_out() {
    let (mut server, log) = server(
        config(|config| {
            config.ping_interval = Some(TICK);
            config.pong_timeout = 20 * TICK;
            config.idle_timeout = Some(20 * TICK);
        }),
        |_, _| {},
    );
    let (mut client, id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    turn_until(&mut server, "a ping", |_| (!client.has_nothing()).then_some(()));
    server.context("*").unwrap().to(id).pause();
    client.send(&masked(0x8a, b""));
    client.text("unheard until resumed");
    let over = Instant::now() + 25 * TICK;
    while Instant::now() < over {
        server.turn(Some(TICK)).unwrap();
        assert_eq!(log.try_next(), None);
    }
    server.context("*").unwrap().to(id).resume();
    assert_eq!(server.poll_timeout(), Some(Duration::ZERO));
    let text = What::Text("unheard until resumed".into());
    assert_eq!(next_event(&mut server, &log), Event { id, what: text });
}

/// To resume somebody counts as a sign of life only where it ends a pause.
#[test]
fn to_resume_who_is_not_paused_changes_nothing() {
    let (mut server, log) = server(
        config(|config| {
            config.ping_interval = Some(TICK);
            config.pong_timeout = 5 * TICK;
        }),
        |_, _| {},
    );
    let (_silent, id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let event = turn_until(&mut server, "the end", |server| {
        server.context("*").unwrap().to(id).resume();
        log.try_next()
    });
    assert_eq!(event, Event { id, what: What::Close(1006, "no answer to a ping".into()) });
}

#[test]
fn a_response_may_take_longer_than_the_handshake() {
    const SIZE: usize = 8 << 20;
    let scratch = Scratch::new();
    std::fs::File::create(scratch.join("big")).unwrap().set_len(SIZE as u64).unwrap();
    let mut server = listening(config(|config| config.handshake_timeout = TICK));
    server.serve_folder(&*scratch).unwrap();
    let mut client = Client::connect(tcp_addr(&server));
    client.send(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // Accepted, and by the time of the next turn late: but the request is there.
    while server.turn(Some(TICK)).unwrap() == 0 {}
    let_pass(2 * TICK);
    turn_while_busy(&mut server);
    let reader = thread::spawn(move || {
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        client.read_to_end().len()
    });
    turn_until(&mut server, "the whole file", |_| reader.is_finished().then_some(()));
    assert_eq!(reader.join().unwrap(), SIZE);
}

#[test]
fn a_handler_that_refills_does_not_hold_the_turn() {
    let (mut server, log) = server(Config::default(), |ws, what| {
        if matches!(what, What::Open(_) | What::Drain) {
            while ws.send(&[7; 10_000][..]) == SendStatus::Queued {}
        }
    });
    let (mut client, id) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    // Of the turn that opened it.
    log.expect(id, What::Drain);
    let mut drained = 0;
    while drained < 20 {
        server.turn(Some(TICK)).unwrap();
        let events: Vec<Event> = std::iter::from_fn(|| log.try_next()).collect();
        assert!(events.len() <= 1, "{} calls in one turn", events.len());
        assert!(events.iter().all(|event| *event == Event { id, what: What::Drain }));
        drained += events.len();
        client.take_what_is_there();
    }
}

#[test]
fn a_client_that_has_said_all_and_reads_slowly_takes_no_idle_turns() {
    let large: &'static [u8] = vec![b'x'; 16 * 1024 * 1024].leak();
    let (mut server, _log) = server(Config::default(), |_, _| {});
    server.serve_embedded(vec![("/large", large)].leak());
    let mut client = Client::connect(tcp_addr(&server));
    client.send(b"GET /large HTTP/1.0\r\n\r\n");
    client.end();
    turn_until(&mut server, "the response", |server| (server.stats().backlog > 0).then_some(()));
    while server.stats().backlog > 0 {
        // Room is announced, and the end of the stream with it, once more.
        client.take_what_is_there();
        let mut busy = || {
            server.turn(Some(TICK)).unwrap() > 0 || server.poll_timeout() == Some(Duration::ZERO)
        };
        assert!((0..500).any(|_| !busy()), "turns without end");
    }
}

/// A Unix socket announces room when three quarters of it are free; one message makes less.
#[test]
fn who_took_something_at_the_last_moment_has_deadlines_still() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let (mut server, log) = server(
        config(|c| {
            c.ping_interval = None;
            c.pong_timeout = Duration::from_millis(200);
            c.idle_timeout = Some(Duration::from_millis(600));
        }),
        |_, _| {},
    );
    server.listen(&format!("unix:{}", path.display())).unwrap();
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    client.write_all(&request(Version::Rfc6455, "/", "")).unwrap();
    let id = next_event(&mut server, &log).id;
    let message = vec![b'm'; 4096];
    while server.context("*").unwrap().to(id).buffered_amount() == 0 {
        server.context("*").unwrap().send_to(id, &message[..]);
        turn_while_busy(&mut server);
    }
    client.read_exact(&mut [0; 32 * 1024]).unwrap();
    turn_until(&mut server, "the last write", |server| (server.stats().backlog == 0).then_some(()));
    assert_eq!(log.try_next(), None);
    assert_eq!(next_event(&mut server, &log).what, What::Close(1006, "idle".to_string()));
}
