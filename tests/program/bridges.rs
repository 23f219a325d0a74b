//! `--bridge`: each client of a path speaks with a port or a socket of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use crate::common::*;
use crate::port::*;
use crate::program::*;
use rustix::process::Signal;
use wsloop::Version;

/// A port that a client of the path `/` is bridged to, and the program that does it.
fn bridged(cut: &str) -> (Program, TcpListener) {
    let (listener, addr) = listener();
    let target = format!("/={cut}tcp:{addr}");
    (Program::start(&["--bridge", &target]), listener)
}

/// An address at which nobody listens, and the socket that keeps it so. A listener that is closed may
/// live on for a moment in a child that another test starts.
fn nobody() -> (OwnedFd, SocketAddr) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
    (socket, addr)
}

#[test]
fn bytes_go_both_ways_and_the_end_of_either_ends_the_other() {
    let (program, listener) = bridged("");
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/");
    let mut port = accept(&listener);
    port.write_all(b"RFB 003.008\n").unwrap();
    assert_eq!(client.read_frame(), (0x82, b"RFB 003.008\n".to_vec()));
    // Text is bytes as well.
    client.send(&masked(0x82, b"RFB "));
    client.text("003.003\n");
    let mut got = [0; 12];
    port.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"RFB 003.003\n");
    port.write_all(b"bye").unwrap();
    drop(port);
    assert_eq!(client.read_frame(), (0x82, b"bye".to_vec()));
    assert_eq!(client.read_close(), (1000, String::new()));

    // Each client has its own; the other way round.
    let mut client = Client::open(program.addr(), Version::Hybi08, "/");
    let mut port = accept(&listener);
    client.send(&masked(0x82, b"last words"));
    client.close(1000, "");
    let mut got = Vec::new();
    port.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"last words");
    drop(port);
    program.logged("#3 closed: HyBi-08 / 1000");
    program.logged("#4 source of / ended");
}

#[test]
fn lines_are_text_messages_and_each_message_is_a_line() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let target = format!("/train=lines:unix:{}", path.display());
    let program = Program::start(&["--bridge", &target]);
    // Text is all that the oldest browsers have.
    for version in [Version::Rfc6455, Version::Hixie75] {
        let mut client = Client::open(program.addr(), version, "/train");
        let (port, _) = listener.accept().unwrap();
        port.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut port = BufReader::new(port);
        client.text("speed 3");
        client.text("");
        for expected in ["speed 3\n", "\n"] {
            let mut line = String::new();
            port.read_line(&mut line).unwrap();
            assert_eq!(line, expected);
        }
        port.get_mut().write_all("points left\r\nGET / HTTP/1.1\nüb".as_bytes()).unwrap();
        assert_eq!(client.read_text(), "points left");
        assert_eq!(client.read_text(), "GET / HTTP/1.1");
        drop(port);
        assert_eq!(client.read_text(), "üb");
    }
}

#[test]
fn who_cannot_be_had_is_named_in_the_close() {
    let (_nobody, addr) = nobody();
    let program = Program::start(&["--bridge", &format!("/=tcp:{addr}")]);
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/");
    let (code, reason) = client.read_close();
    assert_eq!(code, 1011);
    assert!(reason.starts_with("it cannot be reached: Connection refused"), "{reason}");
    client.close(1011, "");
    let line = program.logged("source of /");
    assert!(line.contains("it cannot be reached"), "{line}");

    let program = Program::start(&["--bridge", "/=unix:/none/such"]);
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/");
    let (code, reason) = client.read_close();
    assert_eq!(code, 1011);
    assert!(reason.starts_with("it cannot be reached: No such file"), "{reason}");
}

#[test]
fn the_subprotocol_of_vnc_is_agreed_on_and_bytes_need_a_version_that_has_them() {
    let (program, listener) = bridged("bytes:");
    let mut client = Client::connect(program.addr());
    let fields = "Sec-WebSocket-Protocol: base64, binary\r\n";
    client.send(&request(Version::Rfc6455, "/", fields));
    let head = client.read_answer();
    assert!(head.contains("\r\nSec-WebSocket-Protocol: binary\r\n"), "{head}");
    let mut port = accept(&listener);
    port.write_all(b"\0").unwrap();
    assert_eq!(client.read_frame(), (0x82, vec![0]));

    let mut old = Client::open(program.addr(), Version::Hixie76, "/");
    assert_eq!(old.read(2), [0xff, 0]);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nothing was opened for it");
}

#[test]
fn a_stop_ends_both_sides() {
    let (mut program, listener) = bridged("");
    let mut client = Client::open(program.addr(), Version::Rfc6455, "/");
    let mut port = accept(&listener);
    client.send(&masked(0x82, b"the last"));
    let mut got = [0; 8];
    port.read_exact(&mut got).unwrap();
    program.signal(Signal::TERM);
    assert_eq!(client.read_close(), (1001, "the server stops".to_string()));
    client.close(1001, "");
    assert_eq!(port.read(&mut got).unwrap(), 0);
    drop(port);
    assert_eq!(program.wait().code(), Some(0));
}

/// The next client who opens, once the program has found the port again.
pub fn let_in(program: &Program) -> Client {
    let start = std::time::Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "nobody is let in");
        let mut client = Client::connect(program.addr());
        client.send(&request(Version::Rfc6455, "/", ""));
        let head = client.read_head();
        if head.starts_with("HTTP/1.1 101 ") {
            return client;
        }
        assert!(
            head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: 1\r\n"),
            "{head}"
        );
        let_pass(std::time::Duration::from_millis(20));
    }
}

#[test]
fn one_for_all_hears_all_and_tells_all_and_is_opened_again() {
    let (program, listener) = bridged("shared:lines:");
    let addr = listener.local_addr().unwrap();
    let mut port = BufReader::new(accept(&listener));
    let mut clients: Vec<Client> = (0..2).map(|_| let_in(&program)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.text(&format!("lever {number}"));
        let mut line = String::new();
        port.read_line(&mut line).unwrap();
        assert_eq!(line, format!("lever {number}\n"));
    }
    port.get_mut().write_all(b"train 1 at 7\n").unwrap();
    for client in &mut clients {
        assert_eq!(client.read_text(), "train 1 at 7");
    }
    // It goes: everybody is told, and who comes meanwhile is not let in.
    drop((port, listener));
    for client in &mut clients {
        assert_eq!(client.read_close(), (1013, "it has ended".to_string()));
        client.close(1013, "");
    }
    program.logged("it cannot be reached: Connection refused");
    let start = std::time::Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "all are let in");
        let mut early = Client::connect(program.addr());
        early.send(&request(Version::Rfc6455, "/", ""));
        // Between being tried and being refused it may seem to be there.
        if early.read_head().starts_with("HTTP/1.1 503 ") {
            break;
        }
    }
    // It comes back.
    let listener = TcpListener::bind(addr).unwrap();
    let mut port = accept(&listener);
    let mut client = let_in(&program);
    port.write_all(b"train 1 at 8\n").unwrap();
    assert_eq!(client.read_text(), "train 1 at 8");
}

#[test]
fn one_for_all_that_does_not_keep_up_slows_nobody_down() {
    let (program, listener) = bridged("shared:");
    let mut port = accept(&listener);
    let mut client = let_in(&program);
    let mut bystander = Client::open(program.addr(), Version::Rfc6455, "/echo");
    // More than the buffers between hold, and the backlog of 4 MiB.
    let message = masked(0x82, &vec![b'x'; 1 << 20]);
    for _ in 0..20 {
        client.send(&message);
    }
    client.send(&masked(0x89, b"all came"));
    assert_eq!(client.read_frame(), (0x8a, b"all came".to_vec()));
    bystander.text("hello");
    assert_eq!(bystander.read_text(), "echo: hello");
    // It wakes up: what is left of them is whole.
    let mut got = vec![0; 1 << 20];
    port.read_exact(&mut got).unwrap();
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = port.read_to_end(&mut rest);
        rest.len()
    });
    let line = program.logged("did not keep up: ");
    let (_, dropped) = line.rsplit_once("did not keep up: ").unwrap();
    let dropped: usize = dropped.strip_suffix(" messages were dropped").unwrap().parse().unwrap();
    drop(client);
    program.signal(Signal::TERM);
    let read = (1 << 20) + reader.join().unwrap();
    assert_eq!(read, (20 - dropped) << 20);
}
