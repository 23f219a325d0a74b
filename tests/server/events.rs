//! Clients of plain HTTP that hear a route as Server-Sent Events, and messages that come by POST.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use wsloop::handlers::Broadcast;
use wsloop::{
    Answer, Config, ConnId, Context, Handler, Message, OnFull, ReadyState, Request, Response,
    SendStatus, Server, Version,
};

const EVENTS: &str = "Accept: text/event-stream\r\n";

/// A server whose route `/` offers everything, with a handler that records.
fn offering(config: Config) -> (Server, Log) {
    let (recorder, log) = record();
    let mut server = listening(config);
    server.route("/", recorder);
    server.events("/").unwrap();
    server.publish("/").unwrap();
    (server, log)
}

/// The same with broadcasts, on a thread.
fn serving(config: Config) -> Running {
    serve(config, |server| {
        server.route("/", Broadcast);
        server.events("/").unwrap();
        server.publish("/").unwrap();
        server.serve_embedded(&[("/index.html", b"front")]);
    })
}

impl Client {
    /// Asks for events, and reads the head of the answer.
    fn listens(addr: SocketAddr, path: &str) -> Client {
        let mut client = Client::connect(addr);
        client.send(plain_request("GET", path, EVENTS).as_bytes());
        let head = client.read_head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        client
    }

    /// What comes next must be this.
    fn hears(&mut self, events: &str) {
        assert_eq!(String::from_utf8(self.read(events.len())).unwrap(), events);
    }

    fn posts(&mut self, text: &str) -> Reply {
        self.http("POST", "/", &format!("Content-Length: {}\r\n\r\n{text}", text.len()))
    }
}

/// One more who listens, on a server that is turned by hand.
fn listener(server: &mut Server) -> Client {
    let mut client = Client::connect(tcp_addr(server));
    client.send(plain_request("GET", "/", EVENTS).as_bytes());
    let listening = server.stats().listening + 1;
    turn_until(server, "a listener", |s| (s.stats().listening == listening).then_some(()));
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client
}

// Events.

#[test]
fn texts_are_heard_as_events_and_nothing_else_is() {
    let server = serving(Config::default());
    let mut speaker = Client::open(server.addr, Version::Rfc6455, "/");
    let mut listeners = Vec::new();
    for line in ["GET / HTTP/1.1\r\nHost: localhost", "GET / HTTP/1.0"] {
        let mut client = Client::connect(server.addr);
        client.send(
            format!("{line}\r\nAccept: text/html, text/event-stream;q=0.9\r\n\r\n").as_bytes(),
        );
        let head = client.read_head();
        let reply = Reply { status: 200, head, body: Vec::new() };
        assert!(reply.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", reply.head);
        assert_eq!(reply.field("Content-Type"), Some("text/event-stream"));
        assert_eq!(reply.field("Cache-Control"), Some("no-store"));
        assert_eq!(reply.field("Connection"), Some("close"));
        for field in ["Content-Length", "Transfer-Encoding", "Access-Control-Allow-Origin"] {
            assert_eq!(reply.field(field), None, "{}", reply.head);
        }
        listeners.push(client);
    }
    for (first, message) in
        [(0x81, "one"), (0x81, ""), (0x82, "bytes"), (0x81, "a\r\nb\n"), (0x81, "\u{e9}")]
    {
        speaker.send(&masked(first, message.as_bytes()));
    }
    let large = "x".repeat(100_000);
    speaker.text(&large);
    for client in &mut listeners {
        client.hears("data: one\n\ndata: \n\ndata: a\ndata: b\ndata: \n\ndata: \u{e9}\n\n");
        client.hears(&format!("data: {large}\n\n"));
    }
}

#[test]
fn other_requests_are_served_as_before() {
    let server = serve(Config::default(), |server| {
        server.route("/", Broadcast);
        server.route("/deaf", Broadcast);
        server.events("/").unwrap();
        server.serve_embedded(&[("/index.html", b"front")]);
    });
    let mut client = Client::connect(server.addr);
    for fields in ["", "Accept: text/html\r\n", "Accept: */*\r\n"] {
        assert_eq!(client.http("GET", "/", fields).text(), "front");
    }
    assert_eq!(client.http("GET", "/deaf", EVENTS).status, 426);
    assert_eq!(client.http("GET", "/nowhere", EVENTS).status, 404);
    let reply = client.http("POST", "/", EVENTS);
    assert_eq!((reply.status, reply.field("Allow")), (405, Some("GET, HEAD")));
    let reply = client.http("OPTIONS", "/", "");
    assert_eq!((reply.status, reply.field("Allow")), (204, Some("GET, HEAD, OPTIONS")));
    // The head alone, and the end.
    let reply = client.http("HEAD", "/", EVENTS);
    assert_eq!(reply.field("Content-Type"), Some("text/event-stream"));
    assert_eq!((reply.status, reply.length()), (200, None));
    assert_eq!(client.read_to_end(), b"");
    let mut socket = Client::open(server.addr, Version::Rfc6455, "/");
    socket.text("still");
    assert_eq!(socket.read_text(), "still");
}

#[test]
fn pages_of_other_origins_are_let_in_by_the_same_rules() {
    let origins = vec!["http://a.org".parse().unwrap()];
    let server = serving(config(|config| config.origins = origins));
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        for origin in ["http://b.org", "null", "http://localhost"] {
            let mut client = Client::connect(server.addr);
            let reply = client.http(method, "/", &format!("{EVENTS}Origin: {origin}\r\n"));
            assert_eq!(reply.status, 403, "{method} {origin}");
            assert_eq!(reply.field("Access-Control-Allow-Origin"), None);
            assert_eq!(client.read_to_end(), b"");
        }
    }
    let fields = "Origin: http://a.org\r\n";
    let let_in = |reply: &Reply| {
        assert_eq!(reply.field("Access-Control-Allow-Origin"), Some("http://a.org"));
        assert_eq!(reply.field("Vary"), Some("Origin"));
    };
    let mut page = Client::connect(server.addr);
    page.send(plain_request("GET", "/", &format!("{EVENTS}{fields}")).as_bytes());
    let_in(&Reply { status: 200, head: page.read_head(), body: Vec::new() });

    let mut client = Client::connect(server.addr);
    let asks = "Access-Control-Request-Method: POST\r\n";
    let reply = client.http("OPTIONS", "/", &format!("{fields}{asks}"));
    let_in(&reply);
    assert_eq!(reply.status, 204);
    assert_eq!(reply.field("Access-Control-Allow-Methods"), Some("GET, HEAD, OPTIONS, POST"));
    assert!(reply.field("Access-Control-Allow-Headers").unwrap().contains("Content-Type"));
    let reply = client.http("POST", "/", &format!("{fields}Content-Length: 2\r\n\r\nhi"));
    let_in(&reply);
    assert_eq!(reply.status, 204);
    page.hears("data: hi\n\n");
    // A name that was made to point here is no way in either.
    for method in ["GET", "POST", "OPTIONS"] {
        let mut client = Client::connect(server.addr);
        let head = format!("{method} / HTTP/1.1\r\nHost: a.org\r\n{EVENTS}{fields}\r\n");
        client.send(head.as_bytes());
        assert_eq!(client.read_reply(false).status, 421, "{method}");
    }
    // Why it failed can be read as well.
    let reply = client.http("PUT", "/", fields);
    let_in(&reply);
    assert_eq!(reply.status, 405);
    let reply = client.http("POST", "/", fields);
    let_in(&reply);
    assert_eq!(reply.status, 411);
}

#[test]
fn handlers_decide_on_each_request_and_are_told_of_nobody_who_listens() {
    struct Door(Recorder<fn(&mut Context<'_>, &What)>);
    impl Handler for Door {
        fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
            match request.query() {
                "sesame" => Answer::Proceed,
                _ => Answer::Respond(Response::text(401, "say the word\n")),
            }
        }
        fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
            self.0.on_open(ws, request);
        }
        fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
            self.0.on_message(ws, message);
        }
        fn on_drain(&mut self, ws: &mut Context<'_>) {
            self.0.on_drain(ws);
        }
        fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
            self.0.on_close(ws, code, reason);
        }
    }
    let (recorder, log) = record_with((|_, _| {}) as fn(&mut Context<'_>, &What));
    let server = serve(Config::default(), |server| {
        server.route("/", Door(recorder));
        server.events("/").unwrap();
        server.publish("/").unwrap();
    });
    let mut client = Client::connect(server.addr);
    for _ in 0..2 {
        let reply = client.http("GET", "/", EVENTS);
        assert_eq!((reply.status, reply.text()), (401, "say the word\n"));
    }
    let reply = client.http("GET", "/", &format!("{EVENTS}Connection: close\r\n"));
    assert_eq!((reply.status, client.read_to_end()), (401, Vec::new()));
    client = Client::connect(server.addr);
    let mut listener = Client::listens(server.addr, "/?sesame");
    // What would be its body is not read: so nothing may follow it.
    let reply = client.http("POST", "/", "Content-Length: 6\r\n\r\nsecret");
    assert_eq!((reply.status, reply.field("Connection")), (401, Some("close")));
    assert_eq!(client.read_to_end(), b"");
    client = Client::connect(server.addr);
    let reply = client.http("POST", "/?sesame", "Content-Length: 4\r\n\r\nopen");
    assert_eq!(reply.status, 204);
    listener.hears("data: open\n\n");
    drop((client, listener));
    server.stop();
    assert_eq!(log.rest(), []);
}

#[test]
fn who_may_read_a_handlers_answer_is_said_once() {
    struct Generous;
    impl Handler for Generous {
        fn on_request(&mut self, _: &mut Context<'_>, _: &Request<'_>) -> Answer {
            Answer::Respond(Response::text(200, "").header("access-control-allow-origin", "*"))
        }
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
    }
    let server = serve(Config::default(), |server| {
        server.route("/", Generous);
        server.events("/").unwrap();
    });
    let fields = format!("{EVENTS}Origin: http://localhost\r\n");
    let head = Client::connect(server.addr).http("GET", "/", &fields).head.to_ascii_lowercase();
    let said: Vec<&str> =
        head.lines().filter(|line| line.starts_with("access-control-allow-origin")).collect();
    assert_eq!(said, ["access-control-allow-origin: *"]);
}

#[test]
fn who_is_ended_while_he_asks_hears_and_says_nothing() {
    struct Shut;
    impl Handler for Shut {
        fn on_request(&mut self, ws: &mut Context<'_>, _: &Request<'_>) -> Answer {
            assert_eq!(ws.version(), None);
            ws.terminate();
            Answer::Proceed
        }
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
        fn on_publish(&mut self, _: &mut Context<'_>, _: Message<'_>) {
            panic!("it has ended");
        }
    }
    let server = serve(Config::default(), |server| {
        server.route("/", Shut);
        server.events("/").unwrap();
        server.publish("/").unwrap();
    });
    for request in [
        plain_request("GET", "/", EVENTS),
        plain_request("POST", "/", "Content-Length: 0\r\n"),
        plain_request("POST", "/", "Content-Length: 5\r\n") + "abcde",
    ] {
        let mut client = Client::connect(server.addr);
        client.send(request.as_bytes());
        client.wait_for_the_end();
    }
}

#[test]
fn a_listener_is_a_member_and_can_be_sent_to() {
    let (mut server, log) = offering(Config::default());
    server.route("/other", Broadcast);
    let mut client = listener(&mut server);
    let mut other = Client::connect(tcp_addr(&server));
    other.send(&request(Version::Rfc6455, "/other", ""));
    turn_until(&mut server, "a WebSocket", |s| (s.stats().opened == 1).then_some(()));
    other.read_answer();

    let id = {
        let ws = server.context("/").unwrap();
        assert_eq!(ws.members().len(), 1);
        ws.members()[0]
    };
    let mut ws = server.context("/other").unwrap();
    assert_eq!(ws.send_to(id, "a\nb"), SendStatus::Queued);
    let bytes = ws.send_to(id, &b"bytes"[..]);
    assert_eq!(bytes, SendStatus::Dropped);
    let mut to = ws.to(id);
    assert_eq!((to.version(), to.ready_state()), (None, ReadyState::Open));
    assert_eq!(to.ping(b"no payload"), SendStatus::Queued);
    to.broadcast("to its own route");
    assert_eq!(to.buffered_amount(), "data: a\ndata: b\n\n:\ndata: to its own route\n\n".len());
    to.broadcast_to_others("to nobody");
    assert!(!to.close(1005, "this code is not sent"));
    assert!(to.close(1000, "enough"));
    assert!(!to.close(1000, "again"));
    assert_eq!(to.send("late"), SendStatus::Dropped);
    to.broadcast("to nobody");
    turn_while_busy(&mut server);
    client.hears("data: a\ndata: b\n\n:\ndata: to its own route\n\n");
    assert_eq!(client.read_to_end(), b"");
    drop(client);
    turn_until(&mut server, "an end", |s| {
        (s.context("/").unwrap().members().is_empty()).then_some(())
    });
    assert!(log.try_next().is_none());
    assert!(other.has_nothing());
}

#[test]
fn who_leaves_is_gone_and_what_he_sends_is_not_looked_at() {
    let (mut server, _log) = offering(Config::default());
    let mut stays = listener(&mut server);
    let mut leaves = listener(&mut server);
    let read = server.stats().bytes_in;
    stays.send(plain_request("GET", "/", EVENTS).as_bytes());
    turn_until(&mut server, "bytes", |s| (s.stats().bytes_in > read).then_some(()));
    leaves.end();
    turn_until(&mut server, "an end", |s| (s.stats().listening == 1).then_some(()));
    assert_eq!(leaves.read_to_end(), b"");
    server.context("/").unwrap().broadcast("here");
    turn_while_busy(&mut server);
    stays.hears("data: here\n\n");
    assert!(stays.has_nothing());
}

/// Broadcasts pieces until the listener's backlog is full, and a last one.
fn overwhelm(server: &mut Server, id: ConnId, enough: usize) {
    let piece = "x".repeat(1 << 20);
    loop {
        server.context("/").unwrap().broadcast(&piece);
        turn_while_busy(server);
        let ws = &mut server.context("/").unwrap();
        if ws.to(id).ready_state() != ReadyState::Open || ws.to(id).buffered_amount() > enough {
            break;
        }
    }
    server.context("/").unwrap().broadcast(&piece);
    turn_while_busy(server);
}

#[test]
fn a_slow_listener_is_cut_at_its_backlog() {
    let (mut server, log) = offering(config(|config| config.max_backlog = 3 << 20));
    let mut client = listener(&mut server);
    let id = server.context("/").unwrap().members()[0];
    overwhelm(&mut server, id, usize::MAX);
    assert_eq!(server.stats().cut, [("backlog full", 1)]);
    let reader = std::thread::spawn(move || client.read_to_end());
    turn_until(&mut server, "an end", |s| (s.stats().backlog == 0).then_some(()));
    // Whole messages, and the end.
    let bytes = reader.join().unwrap();
    assert!(bytes.ends_with(b"x\n\n") && bytes.len() % ((1 << 20) + 8) == 0, "{}", bytes.len());
    assert!(log.try_next().is_none());
}

#[test]
fn a_slow_listener_may_miss_messages_instead() {
    let limits = |config: &mut Config| {
        config.max_backlog = 3 << 20;
        config.on_full = OnFull::Drop;
    };
    let (mut server, log) = offering(config(limits));
    let mut client = listener(&mut server);
    let id = server.context("/").unwrap().members()[0];
    overwhelm(&mut server, id, 2 << 20);
    overwhelm(&mut server, id, 2 << 20);
    let reader = std::thread::spawn(move || {
        let (mut bytes, mut piece) = (Vec::new(), [0; 64 * 1024]);
        while !bytes.ends_with(b"the end\n\n") {
            let count = client.stream.read(&mut piece).unwrap();
            bytes.extend_from_slice(&piece[..count]);
        }
        bytes.len()
    });
    turn_until(&mut server, "a drain", |s| (s.stats().backlog == 0).then_some(()));
    server.context("/").unwrap().broadcast("the end");
    turn_until(&mut server, "the end", |_| reader.is_finished().then_some(()));
    let len = reader.join().unwrap();
    assert_eq!((len - "data: the end\n\n".len()) % ((1 << 20) + 8), 0, "{len}");
    // It is not told to the handler, which does not know the listener.
    assert!(log.try_next().is_none());
}

#[test]
fn a_stop_ends_the_stream_and_waits_for_nobody_who_listens() {
    let (mut server, log) = offering(config(|config| config.close_timeout = 10 * PATIENCE));
    let mut client = listener(&mut server);
    server.context("/").unwrap().broadcast("last");
    server.stop();
    turn_while_busy(&mut server);
    client.hears("data: last\n\n");
    assert_eq!(client.read_to_end(), b"");
    drop(client);
    turn_until(&mut server, "the end", |server| server.is_stopped().then_some(()));
    assert!(log.try_next().is_none());
}

#[test]
fn who_listens_counts_as_a_connection() {
    let server = serving(config(|config| config.max_connections = Some(1)));
    let _listener = Client::listens(server.addr, "/");
    let head = Client::connect(server.addr).read_head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");

    let limits = |config: &mut Config| {
        config.max_per_address = Some(1);
        config.trust_proxy = true;
    };
    let server = serving(config(limits));
    let from = |addr: &str| {
        let mut client = Client::connect(server.addr);
        let fields = format!("{EVENTS}X-Forwarded-For: {addr}\r\n");
        client.send(plain_request("GET", "/", &fields).as_bytes());
        let head = client.read_head();
        (client, head)
    };
    for addr in ["192.0.2.1", "192.0.2.2"] {
        let (_listener, head) = from(addr);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let (_refused, head) = from(addr);
        assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    }
}

#[test]
fn comments_come_while_nothing_is_said() {
    let ping = |config: &mut Config| config.ping_interval = Some(Duration::from_millis(20));
    let server = serving(config(ping));
    let mut client = Client::listens(server.addr, "/");
    client.hears(":\n:\n:\n");
}

// Messages by POST.

#[test]
fn what_is_posted_is_heard_by_all() {
    let server = serving(Config::default());
    let mut socket = Client::open(server.addr, Version::Rfc6455, "/");
    let mut listener = Client::listens(server.addr, "/");
    let mut client = Client::connect(server.addr);
    for text in ["one", "", "\u{e9}\nline", "x".repeat(100_000).as_str()] {
        let reply = client.posts(text);
        assert_eq!((reply.status, reply.field("Vary")), (204, Some("Origin")));
        assert_eq!(socket.read_text(), text);
        listener.hears(&format!("data: {}\n\n", text.replace('\n', "\ndata: ")));
    }
    // In bytes that are no text, and byte by byte.
    let head = plain_request(
        "POST",
        "/",
        "Content-Type: application/octet-stream; a=b\r\nContent-Length: 3\r\n",
    );
    for byte in [head.as_bytes(), b"\xff\0\n"].concat() {
        client.send(&[byte]);
    }
    assert_eq!(client.read_reply(false).status, 204);
    assert_eq!(socket.read_frame(), (0x82, vec![0xff, 0, b'\n']));
    // One behind the other, and something else behind them.
    let post = |text: &str| plain_request("POST", "/", "Content-Length: 1\r\n") + text;
    let asked = [post("a"), post("b"), post("c"), plain_request("GET", "/", "")].concat();
    client.send(asked.as_bytes());
    for text in ["a", "b", "c"] {
        assert_eq!(client.read_reply(false).status, 204);
        assert_eq!(socket.read_text(), text);
    }
    assert_eq!(client.read_reply(false).text(), "front");
    // By HTTP/1.0, which ends with the answer.
    client.send(b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nold");
    assert_eq!(client.read_reply(false).status, 204);
    assert_eq!(client.read_to_end(), b"");
    assert_eq!(socket.read_text(), "old");
}

#[test]
fn who_expects_to_be_told_to_go_on_is_told() {
    let server = serving(config(|config| config.max_message = 10));
    let mut socket = Client::open(server.addr, Version::Rfc6455, "/");
    let mut client = Client::connect(server.addr);
    for text in ["first", "second"] {
        let len = text.len();
        let fields = format!("Content-Length: {len}\r\nExpect: 100-continue\r\n");
        client.send(plain_request("POST", "/", &fields).as_bytes());
        assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send(text.as_bytes());
        assert_eq!(client.read_reply(false).status, 204);
        assert_eq!(socket.read_text(), text);
    }
    let reply = client.http("POST", "/", "Content-Length: 11\r\nExpect: 100-continue\r\n");
    assert_eq!((reply.status, reply.text()), (413, "a message may have 10 bytes\n"));
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn what_is_no_message_is_refused() {
    let server = serving(config(|config| config.max_message = 10));
    let mut socket = Client::open(server.addr, Version::Rfc6455, "/");
    for (method, fields, status) in [
        ("POST", "", 411),
        ("POST", "Content-Length: 11\r\n\r\n01234567890", 413),
        ("POST", "Content-Length: 99999999999999999999999\r\n", 413),
        ("POST", "Content-Length: x\r\n", 400),
        ("POST", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", 400),
        ("POST", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("PUT", "Content-Length: 1\r\n\r\na", 405),
        ("GET", "Content-Length: 1\r\n\r\na", 413),
    ] {
        let mut client = Client::connect(server.addr);
        let reply = client.http(method, "/", fields);
        assert_eq!(reply.status, status, "{method} {fields}");
        assert_eq!(reply.field("Connection"), Some("close"));
        assert_eq!(client.read_to_end(), b"", "{method} {fields}");
    }
    let mut client = Client::connect(server.addr);
    for method in ["PUT", "DELETE", "PATCH", "post"] {
        let reply = client.http(method, "/", "");
        assert_eq!((reply.status, reply.field("Allow")), (405, Some("GET, HEAD, OPTIONS, POST")));
    }
    let mut bytes = plain_request("POST", "/", "Content-Length: 2\r\n").into_bytes();
    bytes.extend(b"\xc3\x28");
    client.send(&bytes);
    let reply = client.read_reply(false);
    assert_eq!(reply.status, 400);
    assert!(reply.text().starts_with("a text is UTF-8"), "{}", reply.text());
    // That was read to its end, so that another may follow.
    assert_eq!(client.posts("0123456789").status, 204);
    assert_eq!(socket.read_text(), "0123456789");
}

#[test]
fn a_message_that_does_not_come_in_time_is_not_waited_for() {
    let time = |config: &mut Config| config.message_timeout = Some(Duration::from_millis(50));
    let server = serving(config(time));
    let mut client = Client::connect(server.addr);
    // Nor on a connection that was served before.
    assert_eq!(client.posts("one").status, 204);
    client.send(plain_request("POST", "/", "Content-Length: 10\r\n").as_bytes());
    client.send(b"begun");
    let reply = client.read_reply(false);
    assert_eq!(reply.status, 408);
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn who_is_in_the_midst_of_a_message_when_the_server_stops_is_told() {
    let (mut server, log) = offering(config(|config| config.close_timeout = 10 * PATIENCE));
    let mut client = Client::connect(tcp_addr(&server));
    let post = plain_request("POST", "/", "Content-Length: 10\r\n") + "begun";
    client.send(post.as_bytes());
    turn_until(&mut server, "it", |s| (s.stats().bytes_in == post.len() as u64).then_some(()));
    server.stop();
    turn_while_busy(&mut server);
    assert_eq!(client.read_reply(false).status, 503);
    assert_eq!(client.read_to_end(), b"");
    drop(client);
    turn_until(&mut server, "the end", |server| server.is_stopped().then_some(()));
    assert!(log.try_next().is_none());
}

#[test]
fn who_posts_much_takes_turns_with_the_others() {
    let (mut server, log) = offering(Config::default());
    let (mut socket, _) = open_by_turns(&mut server, &log, Version::Rfc6455, "/");
    let mut client = Client::connect(tcp_addr(&server));
    let post = plain_request("POST", "/", "Content-Length: 1\r\n") + "a";
    client.send(post.repeat(20).as_bytes());
    let before = server.stats().messages_in;
    for turn in 1..=20 {
        // One message in each turn, however many have come.
        turn_until(&mut server, "one", |s| {
            (s.stats().messages_in > before + turn - 1).then_some(())
        });
        assert_eq!(server.stats().messages_in, before + turn);
    }
    turn_while_busy(&mut server);
    for _ in 0..20 {
        assert_eq!(client.read_reply(false).status, 204);
        assert_eq!(socket.read_text(), "a");
    }
}

#[test]
fn handlers_may_do_something_else_with_what_is_posted() {
    struct Lowercase;
    impl Handler for Lowercase {
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
        fn on_publish(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
            assert_eq!(ws.remote_addr().unwrap().ip().to_string(), "127.0.0.1");
            assert_eq!(ws.send("not open"), SendStatus::Dropped);
            match message {
                Message::Text("bye") => ws.terminate(),
                Message::Text(text) => ws.broadcast(&text.to_lowercase()),
                Message::Binary(_) => {}
            }
        }
    }
    let server = serve(Config::default(), |server| {
        server.route("/", Lowercase);
        server.publish("/").unwrap();
    });
    let mut socket = Client::open(server.addr, Version::Hixie76, "/");
    let mut client = Client::connect(server.addr);
    // To be heard by plain HTTP is another matter.
    assert_eq!(client.http("GET", "/", EVENTS).status, 426);
    assert_eq!(client.http("OPTIONS", "/", "").field("Allow"), Some("GET, HEAD, OPTIONS, POST"));
    assert_eq!(client.posts("LOUD").status, 204);
    assert_eq!(socket.read_text(), "loud");
    client.send((plain_request("POST", "/", "Content-Length: 3\r\n") + "bye").as_bytes());
    client.wait_for_the_end();
}

// The last message.

#[test]
fn newcomers_are_sent_the_last_message() {
    let (mut server, _log) = offering(config(|config| config.max_message = 10));
    server.keep_last("/").unwrap();
    let open = |server: &mut Server, version| {
        let mut client = Client::connect(tcp_addr(server));
        client.ask(version, "/");
        let opened = server.stats().opened;
        turn_until(server, "it", |s| (s.stats().opened > opened).then_some(()));
        client.read_answer();
        client
    };
    let first = open(&mut server, Version::Rfc6455);
    assert!(first.has_nothing(), "nothing was said");
    server.context("/").unwrap().broadcast("one");
    server.context("/").unwrap().broadcast("two");
    turn_while_busy(&mut server);
    for version in VERSIONS {
        let mut client = open(&mut server, version);
        assert_eq!(client.read_text(), "two", "{version}");
        assert!(client.has_nothing());
    }
    listener(&mut server).hears("data: two\n\n");
    // By whomever and however it was said.
    let mut client = Client::connect(tcp_addr(&server));
    client.send((plain_request("POST", "/", "Content-Length: 5\r\n") + "three").as_bytes());
    turn_until(&mut server, "it", |s| (s.stats().messages_in == 1).then_some(()));
    listener(&mut server).hears("data: three\n\n");
    // Bytes are sent to whoever can have them.
    server.context("/").unwrap().broadcast(&b"\xff"[..]);
    turn_while_busy(&mut server);
    assert_eq!(open(&mut server, Version::Rfc6455).read_frame(), (0x82, vec![0xff]));
    assert!(open(&mut server, Version::Hixie76).has_nothing());
    assert!(listener(&mut server).has_nothing());
    // What is too large is not kept, and what was before it is not the last.
    server.context("/").unwrap().broadcast("01234567890");
    turn_while_busy(&mut server);
    assert!(open(&mut server, Version::Rfc6455).has_nothing());
}

#[test]
fn what_a_route_offers_is_said_of_a_route_that_is_there() {
    let mut server = listening(Config::default());
    for offered in [server.events("/"), server.publish("/"), server.keep_last("/")] {
        assert_eq!(offered.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }
    // A new handler offers nothing before it is asked to.
    let server = serve(Config::default(), |server| {
        server.route("/", Broadcast);
        server.events("/").unwrap();
        server.publish("/").unwrap();
        server.route("/", Broadcast);
    });
    let mut client = Client::connect(server.addr);
    assert_eq!(client.http("GET", "/", EVENTS).status, 426);
    assert_eq!(client.http("POST", "/", "Content-Length: 1\r\n\r\na").status, 413);
}
