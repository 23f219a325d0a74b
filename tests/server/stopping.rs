//! A server that stops: who is answered, who is told goodbye, and that nobody holds it up.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::calls::*;
use crate::common::*;
use crate::embedding::{open, patient};
use crate::feeds::*;
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use wsloop::handlers::Mirror;
use wsloop::{Config, Server, Version};

/// No end that these tests wait for may come by a deadline.
fn no_deadlines() -> Config {
    config(|config| {
        config.close_timeout = 10 * PATIENCE;
        config.handshake_timeout = 10 * PATIENCE;
    })
}

fn server(config: Config) -> Server {
    let mut server = listening(config);
    server.route("/mirror", Mirror);
    server
}

/// A client that is accepted and has sent this.
fn accepted(server: &mut Server, sent: &[u8]) -> Client {
    let mut client = Client::connect(tcp_addr(server));
    client.send(sent);
    let so_far = server.stats().bytes_in;
    let all_read = so_far + sent.len() as u64;
    turn_until(server, "a client", |server| (server.stats().bytes_in == all_read).then_some(()));
    turn_while_busy(server);
    client
}

/// Reads the answer of a server that stops, and the end behind it.
fn is_turned_away(server: &mut Server, client: &mut Client) {
    turn_until(server, "an answer", |_| (!client.has_nothing()).then_some(()));
    let reply = client.read_reply(false);
    assert_eq!((reply.status, reply.text()), (503, "the server is stopping\n"));
    assert_eq!(reply.field("Retry-After"), Some("1"));
    assert_eq!(reply.field("Connection"), Some("close"));
    assert_eq!(client.read_to_end(), b"");
}

fn ends(server: &mut Server) {
    turn_until(server, "the end", |server| server.is_stopped().then_some(()));
}

#[test]
fn clients_that_wait_to_be_accepted_are_answered() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let mut server = server(no_deadlines());
    server.listen(&format!("unix:{}", path.display())).unwrap();
    let addr = tcp_addr(&server);
    let requests = VERSIONS.map(|version| request(version, "/mirror", ""));
    let plain = plain_request("GET", "/", "").into_bytes();
    let half = plain[..plain.len() / 2].to_vec();
    let mut clients: Vec<Client> = Vec::new();
    for sent in requests.iter().chain([&plain, &half, &Vec::new()]) {
        let mut client = Client::connect(addr);
        client.send(sent);
        clients.push(client);
    }
    let mut neighbour = patient(UnixStream::connect(&path).unwrap());
    neighbour.write_all(&plain).unwrap();
    server.stop();
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
    assert!(UnixStream::connect(&path).is_err());
    for mut client in clients {
        is_turned_away(&mut server, &mut client);
    }
    let mut answer = String::new();
    neighbour.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(neighbour);
    ends(&mut server);
}

/// Some are accepted in the turn of the stop, which is too late for their requests to be read, and the
/// others are more than are accepted in one turn.
#[test]
fn clients_that_come_in_the_turn_of_the_stop_are_answered() {
    let mut server = server(no_deadlines());
    let addr = tcp_addr(&server);
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        client.send(plain_request("GET", "/", "").as_bytes());
    }
    server.remote().stop();
    for mut client in clients {
        is_turned_away(&mut server, &mut client);
    }
    ends(&mut server);
}

/// Another server may share the socket, or systemd keep it for the next one.
#[test]
fn who_waits_on_a_socket_that_was_handed_over_is_left_to_the_others() {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server::new(no_deadlines()).unwrap();
    server.listen_fd(theirs.try_clone().unwrap().into()).unwrap();
    let mut client = Client::connect(theirs.local_addr().unwrap());
    server.stop();
    assert!(server.is_stopped());
    drop(server);
    theirs.set_nonblocking(false).unwrap();
    theirs.accept().unwrap().0.write_all(b"welcome").unwrap();
    assert_eq!(client.read_to_end(), b"welcome");
}

/// A copy of the descriptor that the others keep also keeps the socket in the poll.
#[test]
fn who_comes_to_such_a_socket_after_the_stop_is_left_to_the_others_too() {
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = server(no_deadlines());
    server.listen_fd(theirs.try_clone().unwrap().into()).unwrap();
    let mut open = accepted(&mut server, &request(Version::Rfc6455, "/mirror", ""));
    open.read_answer();
    server.stop();
    turn_while_busy(&mut server);
    let mut late = Client::connect(theirs.local_addr().unwrap());
    turn_while_busy(&mut server);
    assert_eq!(server.stats().accepted, 1);
    assert_eq!(open.read_close(), ended(1001, "the server stops"));
    open.close(1001, "");
    ends(&mut server);
    theirs.set_nonblocking(false).unwrap();
    theirs.accept().unwrap().0.write_all(b"welcome").unwrap();
    assert_eq!(late.read_to_end(), b"welcome");
}

#[test]
fn who_has_said_nothing_is_answered_and_not_waited_for() {
    let mut server = server(no_deadlines());
    let addr = tcp_addr(&server);
    let mut silent = Client::connect(addr);
    turn_until(&mut server, "a client", |server| (server.stats().accepted == 1).then_some(()));
    let mut waiting = Client::connect(addr);
    server.stop();
    turn_while_busy(&mut server);
    assert!(server.is_stopped(), "with both clients still there");
    is_turned_away(&mut server, &mut silent);
    is_turned_away(&mut server, &mut waiting);
}

#[test]
fn who_is_in_the_midst_of_a_request_is_answered() {
    let requests = VERSIONS.map(|version| request(version, "/mirror", ""));
    for request in requests.iter().chain([&plain_request("GET", "/", "").into_bytes()]) {
        let mut server = server(no_deadlines());
        let (sent, rest) = request.split_at(20);
        let mut client = accepted(&mut server, sent);
        server.stop();
        turn_while_busy(&mut server);
        // It may have been on its way: it must not reset what is not read yet.
        client.send(rest);
        turn_while_busy(&mut server);
        is_turned_away(&mut server, &mut client);
        drop(client);
        ends(&mut server);
    }
}

#[test]
fn what_was_read_of_an_adopted_client_is_a_beginning_too() {
    let mut server = server(no_deadlines());
    let (ours, theirs) = UnixStream::pair().unwrap();
    server.adopt(theirs.into(), b"GET / HTT").unwrap();
    server.stop();
    turn_while_busy(&mut server);
    let mut ours = patient(ours);
    ours.write_all(b"P/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    turn_while_busy(&mut server);
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(ours);
    ends(&mut server);
}

#[test]
fn who_waits_for_the_next_request_is_closed_and_who_has_sent_it_answered() {
    let mut server = server(no_deadlines());
    let mut clients = [0; 2].map(|_| {
        let mut client = accepted(&mut server, plain_request("GET", "/", "").as_bytes());
        assert_eq!(client.read_reply(false).status, 404);
        client
    });
    clients[1].send(plain_request("GET", "/", "").as_bytes());
    server.stop();
    turn_while_busy(&mut server);
    assert_eq!(clients[0].read_to_end(), b"");
    is_turned_away(&mut server, &mut clients[1]);
    drop(clients);
    ends(&mut server);
}

#[test]
fn a_hixie_handshake_without_its_last_bytes_is_not_answered_twice() {
    let mut server = server(no_deadlines());
    let bytes = request(Version::Hixie76, "/mirror", "");
    let (head, last) = bytes.split_at(bytes.len() - 8);
    let mut client = accepted(&mut server, head);
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    client.send(last);
    server.stop();
    turn_while_busy(&mut server);
    client.wait_for_the_end();
    ends(&mut server);
}

#[test]
fn to_stop_twice_is_to_stop_once() {
    let mut server = server(no_deadlines());
    let mut client = accepted(&mut server, &request(Version::Rfc6455, "/mirror", ""));
    client.read_answer();
    server.stop();
    server.stop();
    turn_while_busy(&mut server);
    server.stop();
    assert_eq!(client.read_close(), ended(1001, "the server stops"));
    client.close(1001, "");
    ends(&mut server);
    server.stop();
    assert!(server.is_stopped());
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn sources_are_closed() {
    let (lines, said) = lines(|_| Ok(()));
    let mut server = server(no_deadlines());
    server.route("/lines", lines);
    let addr = feed(&mut server, "/lines");
    let mut source = Client::connect(addr);
    source.send(b"one\nhalf of an");
    turn_until(&mut server, "a line", |_| said.try_recv().ok());
    let mut waiting = Client::connect(addr);
    waiting.send(b"unheard\n");
    server.stop();
    ends(&mut server);
    assert_eq!(said.try_iter().collect::<Vec<_>>(), [Said::End]);
    source.wait_for_the_end();
    waiting.wait_for_the_end();
}

/// The thread unwinds: another panic, in a handler that is told of an end, would end the process.
#[test]
fn a_server_that_a_panic_takes_along_calls_nobody() {
    let (recorder, log) = record_with(|_, what| {
        if *what == What::Text("panic".into()) {
            panic!("a handler met a bug");
        }
    });
    let mut server = server(Config::default());
    server.route("*", recorder);
    let mut clients = ["/a", "/b"].map(|path| {
        let mut client = Client::connect(tcp_addr(&server));
        open(&mut server, &log, &client.stream, 0);
        client.text(path);
        assert_eq!(next_event(&mut server, &log).what, What::Text(path.into()));
        client
    });
    clients[0].text("panic");
    let turn = AssertUnwindSafe(move || {
        loop {
            server.turn(Some(Duration::from_millis(20))).unwrap();
        }
    });
    let panic = catch_unwind(turn).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"a handler met a bug"));
    let called: Vec<What> = log.rest().into_iter().map(|event| event.what).collect();
    assert_eq!(called, [What::Text("panic".into())]);
    clients.iter_mut().for_each(Client::wait_for_the_end);
}
