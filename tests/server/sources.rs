//! Sources that a handler opens: what they are told, what comes of them, and how they end.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use crate::common::*;
use crate::port::*;
use crate::serving::*;
use crate::sourced::*;
use crate::turning::*;
use wsloop::handlers::{Each, Shared};
use wsloop::{
    Config, Context, Handler, Message, OnFull, SendStatus, Source, SourceEnd, SourceId, Version,
};

#[test]
fn what_it_is_told_before_it_is_reached_comes_first_and_its_end_is_handed_over() {
    let (mut server, said) = server(Config::default());
    let (listener, addr) = listener();
    let id = open(&mut server, &Source::tcp(addr));
    assert_eq!(tell(&mut server, id, "one "), SendStatus::Queued);
    assert_eq!(server.poll_timeout(), Some(Duration::ZERO), "a loop around it has to turn");
    turn_while_busy(&mut server);
    let mut peer = accept(&listener);
    tell(&mut server, id, &b"two"[..]);
    turn_while_busy(&mut server);
    let mut got = [0; 7];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"one two");
    server.context("/").unwrap().end_source(id);
    turn_while_busy(&mut server);
    assert_eq!(peer.read(&mut got).unwrap(), 0);
    peer.write_all(b"its last words").unwrap();
    drop(peer);
    assert_eq!(rest(&mut server, &said), (b"its last words".to_vec(), "it has ended".to_string()));
    // Its name is harmless now.
    assert_eq!(tell(&mut server, id, "three"), SendStatus::Dropped);
    server.context("/").unwrap().end_source(id);
    assert_eq!(server.stats().accepted, 0);
}

#[test]
fn its_end_goes_behind_what_is_queued_and_what_still_comes_is_handed_over() {
    let (mut server, said) = server(Config::default());
    let (listener, addr) = listener();
    let id = open(&mut server, &Source::tcp(addr));
    let much = vec![b'x'; 3 << 20];
    assert_eq!(tell(&mut server, id, &much[..]), SendStatus::Backpressure);
    server.context("/").unwrap().end_source(id);
    assert_eq!(tell(&mut server, id, "too late"), SendStatus::Dropped);
    let reader = std::thread::spawn(move || {
        let mut peer = accept(&listener);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        peer.write_all(format!("{} came", got.len()).as_bytes()).unwrap();
    });
    let expected = format!("{} came", 3 << 20);
    assert_eq!(rest(&mut server, &said), (expected.into_bytes(), "it has ended".to_string()));
    reader.join().unwrap();
}

#[test]
fn who_is_not_there_is_unreachable_and_the_error_is_told() {
    let (mut server, said) = server(Config::default());
    let (listener, addr) = listener();
    drop(listener);
    let id = open(&mut server, &Source::tcp(addr));
    tell(&mut server, id, "is anybody there?");
    let refused = std::io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
    let end = format!("it cannot be reached: {refused}");
    assert_eq!(next(&mut server, &said), Said::End(end.clone()));
    // Without anything to tell it too.
    open(&mut server, &Source::tcp(addr));
    assert_eq!(next(&mut server, &said), Said::End(end));
    let scratch = Scratch::new();
    let nowhere = Source::unix(scratch.join("socket"));
    let error = server.context("/").unwrap().open(&nowhere).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    turn_while_busy(&mut server);
    assert!(said.try_recv().is_err());
}

#[test]
fn lines_go_both_ways_over_a_unix_socket_and_may_be_paused() {
    let pause = |ws: &mut Context<'_>, id, line: &str| {
        if line == "wait" {
            ws.pause_source(id);
        }
    };
    let (mut server, said) = server_doing(Config::default(), pause);
    let scratch = Scratch::new();
    let listener = UnixListener::bind(scratch.join("socket")).unwrap();
    let id = open(&mut server, &Source::unix(scratch.join("socket")).lines());
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    // What a source begins with that this program has connected to is a line like any other.
    peer.write_all(b"GET / HTTP/1.1\r\nwait\nbad\nlast").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(next(&mut server, &said), Said::Line("GET / HTTP/1.1".to_string()));
    assert_eq!(next(&mut server, &said), Said::Line("wait".to_string()));
    turn_while_busy(&mut server);
    assert!(said.try_recv().is_err(), "it is paused");
    assert_eq!(tell(&mut server, id, "go on"), SendStatus::Queued);
    server.context("/").unwrap().resume_source(id);
    assert_eq!(next(&mut server, &said), Said::Line("bad".to_string()));
    assert_eq!(next(&mut server, &said), Said::Line("last".to_string()));
    assert_eq!(next(&mut server, &said), Said::End("it has ended".to_string()));
    // It is told what the program tells it, and not what is wrong with its lines.
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"go on\n");
}

#[test]
fn who_came_by_a_feed_is_answered() {
    let answer = |ws: &mut Context<'_>, id, line: &str| {
        ws.tell(id, format!("{line}?").as_str());
    };
    let (mut server, said) = server_doing(Config::default(), answer);
    let addr = crate::feeds::feed(&mut server, "/");
    let mut source = Client::connect(addr);
    source.send(b"hello\n");
    assert_eq!(next(&mut server, &said), Said::Line("hello".to_string()));
    turn_while_busy(&mut server);
    assert_eq!(source.read(7), b"hello?\n");
    source.send(b"bad\n");
    assert_eq!(next(&mut server, &said), Said::Line("bad".to_string()));
    turn_while_busy(&mut server);
    let answer = b"bad?\nerror: line 2: it says so\n";
    assert_eq!(source.read(answer.len()), answer);
}

#[test]
fn what_does_not_fit_is_dropped_and_its_handler_told_when_there_is_room() {
    let (mut server, said) = server(config(|config| config.max_backlog = 100_000));
    let (listener, addr) = listener();
    let id = open(&mut server, &Source::tcp(addr));
    assert_eq!(tell(&mut server, id, &[b'x'; 60_000][..]), SendStatus::Queued);
    assert_eq!(tell(&mut server, id, &[b'x'; 60_000][..]), SendStatus::Dropped);
    assert_eq!(server.context("/").unwrap().source_buffered_amount(id), 60_000);
    let mut peer = accept(&listener);
    assert_eq!(next(&mut server, &said), Said::Drain);
    assert_eq!(tell(&mut server, id, "more"), SendStatus::Queued);
    turn_while_busy(&mut server);
    let mut got = vec![0; 60_004];
    peer.read_exact(&mut got).unwrap();
    assert!(got.ends_with(b"xxmore"));
}

#[test]
fn a_stop_closes_it_behind_what_it_was_told_and_waits_for_its_end() {
    let (mut server, said) = server(Config::default());
    let (listener, addr) = listener();
    let id = open(&mut server, &Source::tcp(addr));
    let mut peer = accept(&listener);
    turn_while_busy(&mut server);
    tell(&mut server, id, "good night");
    server.stop();
    // One that is opened now would hold the server up.
    let too_late = server.context("/").unwrap().open(&Source::tcp(addr));
    assert_eq!(too_late.unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    turn_while_busy(&mut server);
    assert!(!server.is_stopped());
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!(got, "good night");
    assert_eq!(next(&mut server, &said), Said::End("the server stops".to_string()));
    // Nothing of this is handed over.
    peer.write_all(b"and you").unwrap();
    drop(peer);
    turn_until(&mut server, "the stop", |server| server.is_stopped().then_some(()));
    assert!(said.try_recv().is_err());
}

#[test]
fn a_stop_does_not_wait_for_one_that_is_not_reached() {
    let (mut server, said) = server(Config::default());
    let (_listener, addr) = listener();
    open(&mut server, &Source::tcp(addr));
    server.stop();
    assert_eq!(next(&mut server, &said), Said::End("the server stops".to_string()));
    assert!(server.is_stopped());
}

/// A pseudo-terminal: what stands for the device's other end, and the device's path. It passes bytes on
/// as they are.
fn pseudo_terminal() -> (std::fs::File, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let mut how = tcgetattr(&far).unwrap();
    how.make_raw();
    tcsetattr(&far, OptionalActions::Now, &how).unwrap();
    let path = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    (far.into(), path)
}

#[test]
fn a_device_sends_lines_and_is_told_some() {
    let (mut server, said) = server(Config::default());
    let (mut far, path) = pseudo_terminal();
    let id = open(&mut server, &Source::device(&path));
    far.write_all(b"21.5 C\r\n").unwrap();
    assert_eq!(next(&mut server, &said), Said::Line("21.5 C".to_string()));
    assert_eq!(tell(&mut server, id, "speed 3"), SendStatus::Queued);
    turn_while_busy(&mut server);
    let mut got = [0; 8];
    far.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"speed 3\n");
    // It is unplugged.
    drop(far);
    let Said::End(end) = next(&mut server, &said) else { panic!("it has not ended") };
    assert!(end == "it has ended" || end.starts_with("it failed: "), "{end}");
    // What nobody ends does not hold a stop up.
    let (_far, path) = pseudo_terminal();
    let id = open(&mut server, &Source::device(&path));
    turn_while_busy(&mut server);
    tell(&mut server, id, "good night");
    server.stop();
    assert_eq!(next(&mut server, &said), Said::End("the server stops".to_string()));
    assert!(server.is_stopped());
}

#[test]
fn a_device_takes_a_long_line_in_pieces() {
    let (mut server, said) = server(Config::default());
    let (mut far, path) = pseudo_terminal();
    let id = open(&mut server, &Source::device(&path));
    let long = "x".repeat(20_000);
    // Once what follows an open is done: then it is offered to the kernel at once.
    turn_while_busy(&mut server);
    tell(&mut server, id, &*long);
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; 20_001];
        far.read_exact(&mut got).unwrap();
        got
    });
    turn_until(&mut server, "the line", |_| reader.is_finished().then_some(()));
    let got = reader.join().unwrap();
    assert!(got.starts_with(long.as_bytes()) && got.ends_with(b"x\n"));
    assert!(matches!(next(&mut server, &said), Said::End(_)));
}

#[test]
fn a_feed_beside_a_shared_source_may_end() {
    let (listener, addr) = listener();
    let mut server = listening(Config::default());
    server.route("/", Shared::new(Source::tcp(addr).lines()));
    let feed = crate::feeds::feed(&mut server, "/");
    let mut client = Client::connect(tcp_addr(&server));
    client.ask(Version::Rfc6455, "/");
    turn_until(&mut server, "the client", |server| (server.stats().opened == 1).then_some(()));
    client.read_answer();
    let mut port = accept(&listener);
    std::net::TcpStream::connect(feed).unwrap().write_all(b"fed\n").unwrap();
    turn_until(&mut server, "the feed", |server| (server.stats().messages_out == 1).then_some(()));
    turn_while_busy(&mut server);
    assert_eq!(client.read_text(), "fed");
    port.write_all(b"said\n").unwrap();
    turn_until(&mut server, "the line", |server| (server.stats().messages_out == 2).then_some(()));
    turn_while_busy(&mut server);
    assert_eq!(client.read_text(), "said");
    // What it says is for the source alone.
    client.text("told");
    let mut got = [0; 5];
    turn_until(&mut server, "the message", |server| {
        (server.stats().messages_in == 1).then_some(())
    });
    turn_while_busy(&mut server);
    port.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"told\n");
    // A stop is the end of it: it is not opened again.
    server.stop();
    turn_while_busy(&mut server);
    assert_eq!(client.read_close(), (1001, "the server stops".to_string()));
    drop(port);
    client.close(1001, "");
    turn_until(&mut server, "the stop", |server| server.is_stopped().then_some(()));
}

#[test]
fn bytes_for_all_are_kept_from_those_who_cannot_read_them() {
    let (_listener, addr) = listener();
    let source = Source::tcp(addr);
    // Nobody ends what is opened here.
    let hasty = config(|config| config.close_timeout = Duration::from_millis(100));
    let running = serve(hasty, move |server| {
        server.route("/bytes", Shared::new(source.clone()));
        server.route("/lines", Shared::new(source.lines()));
    });
    let mut old = Client::open(running.addr, Version::Hixie76, "/bytes");
    assert_eq!(old.read(2), [0xff, 0]);
    old.end();
    let mut old = Client::open(running.addr, Version::Hixie76, "/lines");
    old.text("hello");
    let mut new = Client::open(running.addr, Version::Rfc6455, "/bytes");
    new.text("hello");
    running.stop();
}

#[test]
fn what_cannot_be_watched_is_no_device() {
    let (mut server, said) = server(Config::default());
    let scratch = Scratch::new();
    std::fs::write(scratch.join("file"), "a line\n").unwrap();
    open(&mut server, &Source::device(scratch.join("file")));
    let Said::End(end) = next(&mut server, &said) else { panic!("it has not ended") };
    assert!(end.starts_with("it failed: "), "{end}");
}

#[test]
fn who_leaves_takes_the_other_end_of_the_bridge_along() {
    let (listener, addr) = listener();
    let each = Each::new(Source::tcp(addr));
    let running = serve(Config::default(), move |server| server.route("/", each));
    let mut client = Client::open(running.addr, Version::Rfc6455, "/");
    let mut peer = accept(&listener);
    client.send(&masked(0x82, b"last words"));
    client.close(1000, "");
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"last words");
    // Nobody hears this.
    peer.write_all(b"and yours?").unwrap();
    drop(peer);
    assert_eq!(client.read_close(), (1000, String::new()));
    assert_eq!(client.read_to_end(), b"");
    running.stop();
}

#[test]
fn both_directions_of_a_bridge_are_complete_however_slow_either_end_is() {
    const FRAME: usize = 50_000;
    const FRAMES: usize = 600;
    let (listener, addr) = listener();
    let running =
        serve(Config::default(), move |server| server.route("/", Each::new(Source::tcp(addr))));
    // It says back what comes, and reads nothing while nobody takes that.
    let echo = std::thread::spawn(move || {
        let mut peer = accept(&listener);
        let (mut buffer, mut left) = (vec![0; 30_000], FRAME * FRAMES);
        while left > 0 {
            let count = peer.read(&mut buffer).unwrap();
            assert!(count > 0, "{left} bytes are missing");
            peer.write_all(&buffer[..count]).unwrap();
            left -= count;
        }
    });
    let mut client = Client::open(running.addr, Version::Rfc6455, "/");
    let mut writer = client.stream.try_clone().unwrap();
    let frame = |number: usize| vec![number as u8; FRAME];
    let writing = std::thread::spawn(move || {
        for number in 0..FRAMES {
            writer.write_all(&masked(0x82, &frame(number))).unwrap();
        }
    });
    // The client reads nothing before it has said a part, which the buffers between cannot hold.
    let_pass(Duration::from_millis(300));
    let mut got = VecDeque::new();
    for number in 0..FRAMES {
        while got.len() < FRAME {
            let (first, payload) = client.read_frame();
            assert_eq!(first, 0x82, "{} frames have come", number);
            got.extend(payload);
        }
        assert!(got.drain(..FRAME).all(|byte| byte == number as u8), "{number}");
    }
    writing.join().unwrap();
    echo.join().unwrap();
    assert_eq!(client.read_close(), (1000, String::new()));
    client.close(1000, "");
    running.stop();
}

/// A Unix socket, and the source that is it.
fn unix_listener(scratch: &Scratch) -> (UnixListener, Source) {
    let path = scratch.join("socket");
    (UnixListener::bind(&path).unwrap(), Source::unix(path))
}

#[test]
fn what_it_said_before_it_went_is_handed_over_though_it_can_be_told_nothing_more() {
    // So little is read in a turn that there is more when it is told something.
    let (mut server, said) = server(config(|config| config.read_budget = 1_000));
    let scratch = Scratch::new();
    let (listener, source) = unix_listener(&scratch);
    let id = open(&mut server, &source);
    let (mut peer, _) = listener.accept().unwrap();
    turn_while_busy(&mut server);
    peer.write_all(&[b'x'; 50_000]).unwrap();
    drop(peer);
    assert_eq!(tell(&mut server, id, "are you there?"), SendStatus::Queued);
    let (all, end) = rest(&mut server, &said);
    assert_eq!((all.len(), &*end), (50_000, "it has ended"));
}

#[test]
fn one_that_is_told_no_more_may_be_paused_before_and_after() {
    for before in [true, false] {
        let (mut server, said) = server(Config::default());
        let scratch = Scratch::new();
        let (listener, source) = unix_listener(&scratch);
        let id = open(&mut server, &source);
        let (mut peer, _) = listener.accept().unwrap();
        turn_while_busy(&mut server);
        if before {
            server.context("/").unwrap().pause_source(id);
        }
        server.context("/").unwrap().end_source(id);
        turn_while_busy(&mut server);
        server.context("/").unwrap().pause_source(id);
        peer.write_all(b"much").unwrap();
        drop(peer);
        turn_while_busy(&mut server);
        assert_eq!(said.try_recv().ok(), None, "it is paused");
        server.context("/").unwrap().resume_source(id);
        assert_eq!(rest(&mut server, &said), (b"much".to_vec(), "it has ended".to_string()));
    }
}

#[test]
fn one_that_is_paused_and_cannot_be_reached_has_its_reason_at_once() {
    let (mut server, said) = server(Config::default());
    let (listener, addr) = listener();
    drop(listener);
    let id = open(&mut server, &Source::tcp(addr));
    server.context("/").unwrap().pause_source(id);
    let Said::End(end) = next(&mut server, &said) else { panic!("it has not ended") };
    assert!(end.starts_with("it cannot be reached: Connection refused"), "{end}");
}

#[test]
fn one_that_is_paused_before_it_is_reached_is_not_read() {
    let (mut server, said) = server(Config::default());
    let scratch = Scratch::new();
    let (listener, source) = unix_listener(&scratch);
    let id = open(&mut server, &source);
    server.context("/").unwrap().pause_source(id);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"early").unwrap();
    drop(peer);
    turn_while_busy(&mut server);
    assert_eq!(said.try_recv().ok(), None, "it is paused");
    server.context("/").unwrap().resume_source(id);
    assert_eq!(rest(&mut server, &said), (b"early".to_vec(), "it has ended".to_string()));
}

/// Opens its source again whenever it has ended.
struct Stubborn {
    source: Source,
    ends: Sender<(SourceId, String, bool)>,
}

impl Handler for Stubborn {
    fn on_start(&mut self, ws: &mut Context<'_>) {
        ws.open(&self.source).unwrap();
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

    fn on_source_end(&mut self, ws: &mut Context<'_>, id: SourceId, end: SourceEnd<'_>) {
        let again = ws.open(&self.source).is_ok();
        let _ = self.ends.send((id, end.to_string(), again));
    }
}

#[test]
fn a_server_that_goes_is_one_that_stops() {
    let (_listener, addr) = listener();
    let (ends, ended) = channel();
    let mut server = listening(Config::default());
    server.route("/", Stubborn { source: Source::tcp(addr), ends });
    turn_while_busy(&mut server);
    drop(server);
    let ended: Vec<_> = ended.try_iter().map(|(_, end, again)| (end, again)).collect();
    assert_eq!(ended, [("the server stops".to_string(), false)]);
}

#[test]
fn a_bridge_ends_where_it_would_leave_something_out() {
    let drops = config(|config| {
        config.on_full = OnFull::Drop;
        config.max_backlog = 10_000;
    });
    let (listener, addr) = listener();
    let running = serve(drops, move |server| server.route("/", Each::new(Source::tcp(addr))));
    let mut client = Client::open(running.addr, Version::Rfc6455, "/");
    let mut peer = accept(&listener);
    peer.write_all(&[b'x'; 50_000]).unwrap();
    let (mut first, mut came) = (0x82, 0);
    while first == 0x82 {
        let (next, payload) = client.read_frame();
        (first, came) = (next, came + payload.len());
    }
    assert_eq!(first, 0x88, "after {came} bytes");
    drop((client, peer));
    running.stop();
}

#[test]
fn a_client_is_read_on_when_the_other_side_of_its_bridge_has_caught_up() {
    let scratch = Scratch::new();
    let (listener, source) = unix_listener(&scratch);
    let running = serve(Config::default(), move |server| server.route("/", Each::new(source)));
    let mut client = Client::open(running.addr, Version::Rfc6455, "/");
    // Several times what the kernel holds for a Unix socket.
    client.send(&masked(0x82, &[b'x'; 1_000_000]));
    client.send(&masked(0x82, b"and on"));
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut got = vec![0; 1_000_006];
    peer.read_exact(&mut got).unwrap();
    assert!(got.ends_with(b"xxand on"));
    drop(peer);
    assert_eq!(client.read_close(), (1000, String::new()));
    client.close(1000, "");
    running.stop();
}

#[test]
fn a_message_that_is_over_the_backlog_ends_its_bridge() {
    let scratch = Scratch::new();
    let (listener, source) = unix_listener(&scratch);
    let small = config(|config| config.max_backlog = 10_000);
    let running = serve(small, move |server| server.route("/", Each::new(source)));
    let mut client = Client::open(running.addr, Version::Rfc6455, "/");
    client.send(&masked(0x82, &[b'x'; 50_000]));
    let why = "more than may wait for the other side".to_string();
    assert_eq!(client.read_close(), (1009, why));
    client.close(1009, "");
    drop(listener);
    running.stop();
}
