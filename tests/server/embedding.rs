//! What a program with wsloop inside needs: sockets of its own making handed over, a value for each
//! connection, budgets, and the loop inside another one, even by the descriptor alone.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use crate::turning::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use wsloop::{Config, Context, ListenAddr, Server, Version};

/// A server that listens nowhere, with one route for all paths that sends texts back.
pub fn server(config: Config) -> (Server, Log) {
    let (recorder, log) = record_with(|ws, what| {
        if let What::Text(text) = what {
            ws.send(text.as_str());
        }
    });
    let mut server = Server::new(config).unwrap();
    server.route("*", recorder);
    (server, log)
}

fn next(server: &mut Server, log: &Log) -> What {
    next_event(server, log).what
}

/// Opens a WebSocket on any stream; `sent` bytes of the request have gone out already.
pub fn open(server: &mut Server, log: &Log, mut peer: impl Read + Write, sent: usize) {
    peer.write_all(&request(Version::Rfc6455, "/", "")[sent..]).unwrap();
    assert_eq!(next(server, log), What::Open("/".into()));
    assert!(read_head(&mut peer).starts_with("HTTP/1.1 101 "));
}

/// Sends a text and has it come back.
fn talk(server: &mut Server, log: &Log, mut peer: impl Read + Write) {
    peer.write_all(&masked(0x81, b"hello")).unwrap();
    assert_eq!(next(server, log), What::Text("hello".into()));
    turn_while_busy(server);
    let mut back = [0; 7];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(back, *b"\x81\x05hello");
}

/// What was called up to now.
pub fn called(log: &Log) -> Vec<What> {
    std::iter::from_fn(|| log.try_next()).map(|event| event.what).collect()
}

pub fn patient(peer: UnixStream) -> UnixStream {
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

// ------------------------------------------------------------------ sockets that are handed over

#[test]
fn a_tcp_listener_is_taken_over() {
    let (mut server, log) = server(Config::default());
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = ours.local_addr().unwrap();
    assert_eq!(server.listen_fd(ours.into()).unwrap(), ListenAddr::Tcp(addr));
    assert_eq!(server.local_addr().unwrap(), ListenAddr::Tcp(addr));
    let clients = [Client::connect(addr), Client::connect(addr)];
    for client in &clients {
        open(&mut server, &log, &client.stream, 0);
        talk(&mut server, &log, &client.stream);
    }
    // It is closed with the server.
    drop(server);
    assert!(TcpListener::bind(addr).is_ok());
}

#[test]
fn a_unix_listener_is_taken_over_and_its_path_is_left() {
    let (scratch, (mut server, log)) = (Scratch::new(), server(Config::default()));
    let path = scratch.join("socket");
    let ours = UnixListener::bind(&path).unwrap();
    assert_eq!(server.listen_fd(ours.into()).unwrap(), ListenAddr::Unix(path.clone()));
    let client = patient(UnixStream::connect(&path).unwrap());
    open(&mut server, &log, &client, 0);
    talk(&mut server, &log, &client);
    drop(server);
    assert!(path.exists(), "whoever made it removes it");
    assert!(UnixStream::connect(&path).is_err());
}

#[test]
fn one_end_of_a_pair_is_adopted_with_what_was_read_from_it() {
    let (mut server, log) = server(Config::default());
    let bytes = request(Version::Rfc6455, "/", "");
    // Nothing, something, everything.
    for read in [0, 20, bytes.len()] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ours = patient(ours);
        server.adopt(theirs.into(), &bytes[..read]).unwrap();
        open(&mut server, &log, &ours, read);
        talk(&mut server, &log, &ours);
        assert_eq!(members(&mut server), 1);
        drop(ours);
        assert!(matches!(next(&mut server, &log), What::Close(1006, _)));
    }
}

fn members(server: &mut Server) -> usize {
    server.context("*").unwrap().members().len()
}

#[test]
fn an_adopted_tcp_connection_has_the_address_of_its_peer() {
    let (mut server, log) = server(Config::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = Client::connect(listener.local_addr().unwrap());
    let (theirs, addr) = listener.accept().unwrap();
    server.adopt(theirs.into(), b"").unwrap();
    open(&mut server, &log, &ours.stream, 0);
    talk(&mut server, &log, &ours.stream);
    let mut context = server.context("*").unwrap();
    let id = context.members()[0];
    assert_eq!(context.to(id).remote_addr(), Some(addr));
}

#[test]
fn what_is_no_such_socket_is_refused_and_left_as_it_was() {
    let (mut server, _) = server(Config::default());
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (pipe, _other) = std::io::pipe().unwrap();
    let file = File::create(scratch.join("file")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let neither: [(OwnedFd, _); 3] = [
        (pipe.into(), "not a socket"),
        (file.into(), "not a socket"),
        (udp.into(), "not a stream socket"),
    ];
    let mut refuse = |fd: &OwnedFd, adopt: bool, why: &str| {
        let copy = fd.try_clone().unwrap();
        let refused = if adopt {
            server.adopt(copy, b"").unwrap_err()
        } else {
            server.listen_fd(copy).unwrap_err()
        };
        assert_eq!((refused.kind(), &*refused.to_string()), (ErrorKind::InvalidInput, why));
        assert!(!fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK), "{why}");
    };
    for (fd, why) in &neither {
        refuse(fd, true, why);
        refuse(fd, false, why);
    }
    refuse(&listener.into(), true, "it listens");
    refuse(&stream.into(), false, "it does not listen");
    assert_eq!(server.local_addr().unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn a_server_that_stops_takes_nothing_over() {
    let (mut server, _) = server(Config::default());
    server.stop();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    assert!(server.adopt(theirs.into(), b"").is_err());
    assert_eq!(ours.read(&mut [0]).unwrap(), 0, "it was closed");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(server.listen_fd(listener.into()).is_err());
    assert!(server.is_stopped());
}

#[test]
fn a_listener_more_than_there_may_be_is_refused() {
    let mut server = Server::new(Config::default()).unwrap();
    for _ in 0..256 {
        server.listen("127.0.0.1:0").unwrap();
    }
    let refused = server.listen("127.0.0.1:0").unwrap_err();
    assert_eq!(refused.to_string(), "more than 256 listeners");
    // The last has an event of its own, as the first.
    assert!(server.local_addr().is_ok());
}

#[test]
fn a_socket_of_somebody_else_at_the_path_is_left() {
    let (scratch, mut server) = (Scratch::new(), Server::new(Config::default()).unwrap());
    let (path, other) = (scratch.join("socket"), scratch.join("other"));
    server.listen(&format!("unix:{}", path.display())).unwrap();
    let theirs = UnixListener::bind(&other).unwrap();
    std::fs::rename(&other, &path).unwrap();
    drop(server);
    let client = UnixStream::connect(&path).unwrap();
    assert!(theirs.accept().is_ok());
    drop(client);
}

/// Whether somebody listens on a socket of another kind cannot be found out by connecting to it.
#[test]
fn a_path_where_a_socket_of_another_kind_lies_is_left() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let theirs = UnixDatagram::bind(&path).unwrap();
    let error = Server::bind(&format!("unix:{}", path.display())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    UnixDatagram::unbound().unwrap().send_to(b"still here", &path).unwrap();
    assert_eq!(theirs.recv(&mut [0; 20]).unwrap(), 10);
}

/// A copy of the descriptor that the program keeps also keeps the socket in the poll, under the
/// name of a connection that has gone, and so in the slot of the next.
#[test]
fn events_for_who_had_the_slot_before_are_nobodys() {
    let (mut server, log) = server(Config::default());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (mut ours, kept) = (patient(ours), theirs.try_clone().unwrap());
    server.adopt(theirs.into(), b"").unwrap();
    open(&mut server, &log, &ours, 0);
    let before = server.context("*").unwrap().members()[0];
    server.context("*").unwrap().to(before).terminate();
    assert_eq!(next(&mut server, &log), What::Close(1006, "terminated".into()));
    let (next_one, theirs) = UnixStream::pair().unwrap();
    let next_one = patient(next_one);
    server.adopt(theirs.into(), b"").unwrap();
    open(&mut server, &log, &next_one, 0);
    let after = server.context("*").unwrap().members()[0];
    let slot = |id: wsloop::ConnId| format!("{id:?}").split(',').next().unwrap().to_string();
    assert_eq!(slot(before), slot(after));
    turn_while_busy(&mut server);
    for _ in 0..3 {
        // Where the server has ended it for all copies, there is nobody to write to.
        let _ = ours.write(&masked(0x81, b"to nobody"));
        turn_while_busy(&mut server);
        talk(&mut server, &log, &next_one);
    }
    drop((ours, kept));
    turn_while_busy(&mut server);
    talk(&mut server, &log, &next_one);
    assert_eq!(called(&log), []);
}

// ---------------------------------------------------------------- a value for each connection

#[test]
fn a_value_stays_with_its_connection_to_the_end() {
    let (recorder, log) = record_with(|ws: &mut Context<'_>, what| match what {
        What::Text(text) => assert!(ws.set_data(text.parse().unwrap())),
        What::Close(..) => {
            let last = ws.data();
            ws.broadcast(&format!("{last} left"));
        }
        _ => assert_eq!(ws.data(), 0, "of one that is new"),
    });
    let mut server = listening(Config::default());
    server.route("*", recorder);
    let addr = tcp_addr(&server);
    let mut clients = [Client::connect(addr), Client::connect(addr)];
    for (client, number) in clients.iter_mut().zip(["7", "18446744073709551615"]) {
        open(&mut server, &log, &client.stream, 0);
        client.text(number);
        assert_eq!(next(&mut server, &log), What::Text(number.into()));
    }
    let ids = server.context("*").unwrap().members().to_vec();
    let data = |server: &mut Server, place: usize| {
        let mut context = server.context("*").unwrap();
        context.to(ids[place]).data()
    };
    assert_eq!((data(&mut server, 0), data(&mut server, 1)), (7, usize::MAX));
    let [mut staying, leaving] = clients;
    leaving.reset();
    assert!(matches!(next(&mut server, &log), What::Close(..)));
    assert_eq!(staying.read_text(), format!("{} left", usize::MAX));
    // It has gone, and so has its value; who comes into its place has none.
    assert_eq!((data(&mut server, 0), data(&mut server, 1)), (7, 0));
    assert!(!server.context("*").unwrap().to(ids[1]).set_data(1));
    let another = Client::connect(addr);
    open(&mut server, &log, &another.stream, 0);
}

// --------------------------------------------------------------------------------- the budgets

/// Waits for the descriptor as another loop does, and turns.
fn wait_and_turn(server: &mut Server, timeout: Option<Duration>, start: Instant) {
    let wait = Timespec::try_from(timeout.unwrap_or(PATIENCE).min(PATIENCE)).unwrap();
    poll(&mut [PollFd::new(&server.as_fd(), PollFlags::IN)], Some(&wait)).unwrap();
    server.turn(Some(Duration::ZERO)).unwrap();
    assert!(start.elapsed() < PATIENCE, "it stalls");
}

#[test]
fn a_small_read_budget_lets_others_in_and_leaves_nothing_lying() {
    const MANY: usize = 20_000;
    const BUDGET: usize = 256;
    let (recorder, log) = record();
    let mut server = listening(config(|config| config.read_budget = BUDGET));
    server.route("*", recorder);
    let addr = tcp_addr(&server);
    let [busy, mut quiet] = [Client::connect(addr), Client::connect(addr)];
    open(&mut server, &log, &busy.stream, 0);
    open(&mut server, &log, &quiet.stream, 0);
    turn_while_busy(&mut server);
    quiet.text("let me in");
    let mut all = busy.stream.try_clone().unwrap();
    let frame = masked(0x81, b"");
    let flood = frame.repeat(MANY);
    let sender = thread::spawn(move || all.write_all(&flood).unwrap());
    let (start, mut before, mut seen) = (Instant::now(), None, 0);
    while seen < MANY || before.is_none() {
        let timeout = server.poll_timeout();
        wait_and_turn(&mut server, timeout, start);
        let at_once = called(&log);
        assert!(at_once.len() <= BUDGET / frame.len() + 1 + 1, "more than the budget in one turn");
        for what in at_once {
            match what {
                What::Text(text) if text == "let me in" => before = Some(seen),
                What::Text(_) => seen += 1,
                what => panic!("{what:?}"),
            }
        }
    }
    sender.join().unwrap();
    assert!(before.unwrap() <= BUDGET / frame.len() + 1, "{before:?} came before it");
}

#[test]
fn few_events_in_a_turn_leave_the_rest_for_the_next() {
    let (recorder, log) = record();
    let mut server = listening(config(|config| config.max_events = 1));
    server.route("*", recorder);
    let addr = tcp_addr(&server);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(addr)).collect();
    for client in &clients {
        open(&mut server, &log, &client.stream, 0);
    }
    turn_while_busy(&mut server);
    clients.iter_mut().for_each(|client| client.text("hello"));
    let (start, mut seen) = (Instant::now(), 0);
    while seen < clients.len() {
        let timeout = server.poll_timeout();
        wait_and_turn(&mut server, timeout, start);
        let at_once = called(&log).len();
        assert!(at_once <= 1, "{at_once} in one turn");
        seen += at_once;
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[test]
fn the_descriptor_alone_is_enough_on_linux_only() {
    let refused = Server::new(config(|config| config.fd_only = true)).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}
