//! No descriptors are left, for clients or for files; a shell sets the program's limit. Linux only,
//! since descriptors and processor time are read from `/proc`.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use rustix::net::sockopt;
use rustix::process::Signal;
use wsloop::Version;

impl Program {
    /// The descriptors it has.
    fn descriptors(&self) -> Vec<usize> {
        let path = format!("/proc/{}/fd", self.pid.as_raw_nonzero());
        let names = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.to_str().unwrap().parse().unwrap()).collect()
    }

    /// The processor time it has taken, in hundredths of a second.
    fn cpu_time(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        let stat = std::fs::read_to_string(path).unwrap();
        let (_, behind_name) = stat.rsplit_once(") ").unwrap();
        // utime and stime; the state is the first behind the name.
        behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

/// The program, with so few descriptors.
fn starved(descriptors: usize, args: &[&str]) -> Program {
    let script = format!("ulimit -Sn {descriptors}; ulimit -Hn {descriptors}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    Program::start_by(command.args(["-c", &script, WSLOOP]), &["127.0.0.1:0"], args)
}

/// It may wake now and then while it can take nobody in, but not turn and turn.
fn does_not_spin(program: &Program) {
    let before = program.cpu_time();
    let_pass(Duration::from_millis(2200));
    let spent = program.cpu_time() - before;
    assert!(spent <= 10, "{spent} hundredths of a second in two seconds of waiting");
}

/// Clients that have all asked for a WebSocket, in this order.
fn crowd(addr: SocketAddr, count: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = Client::connect(addr);
        client.ask(Version::Rfc6455, "/mirror");
        client
    };
    (0..count).map(ask).collect()
}

fn are_answered(clients: &mut [Client]) {
    for client in clients {
        client.read_answer();
    }
}

fn are_served(clients: &mut [Client]) {
    for client in clients {
        client.text("are you there?");
        assert_eq!(client.read_text(), "are you there?");
    }
}

#[test]
fn more_clients_than_descriptors_are_told() {
    const ROOM: usize = 64 - 32;
    let mut program = starved(64, &["--handshake-timeout", "60"]);
    let mut clients = crowd(program.addr(), 200);
    let refused = clients.split_off(ROOM);
    for client in &mut clients {
        client.read_answer();
    }
    let refused_now = |client: &mut Client| {
        assert_eq!(client.read_reply(false).status, 503);
        assert_eq!(client.read_to_end(), b"");
    };
    // As many are told as may be at a time; while they stay, the others wait.
    let mut refused = refused.into_iter();
    let mut told: Vec<Client> = refused.by_ref().take(16).collect();
    told.iter_mut().for_each(refused_now);
    does_not_spin(&program);
    are_served(&mut clients);
    drop(told);
    for mut client in refused {
        refused_now(&mut client);
    }
    // Who leaves makes room.
    for _ in 0..3 {
        let mut gone = clients.swap_remove(0);
        gone.end();
        assert_eq!(gone.read_to_end(), b"");
        clients.push(Client::open(program.addr(), Version::Rfc6455, "/mirror"));
    }
    are_served(&mut clients);
    assert_eq!(clients.len(), ROOM);
    drop(clients);
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    // None of this took the last descriptor.
    assert!(!program.all_logged().iter().any(|line| line.contains("clients")));
}

#[test]
fn programs_leave_room_for_others() {
    let program = starved(128, &["--bridge", "/cat=exec:exec cat"]);
    let mut clients = Vec::new();
    let refused = loop {
        let mut client = Client::connect(program.addr());
        client.ask(Version::Rfc6455, "/cat");
        let head = client.read_head();
        if !head.starts_with("HTTP/1.1 101 ") {
            break head;
        }
        client.text("is it there?");
        assert_eq!(client.read_text(), "is it there?");
        clients.push(client);
    };
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    // Each has two connections, and its program three descriptors more.
    assert_eq!(clients.len(), (128_usize - 32).div_ceil(5));
    are_served(&mut clients);
}

/// Those who wait to be accepted are answered when a server stops, but for them the descriptors that are
/// kept for other things are not taken.
#[test]
fn a_stop_accepts_nobody_beyond_the_limit() {
    let mut program = starved(40, &[]);
    let mut clients = crowd(program.addr(), 8 + 16 + 1);
    let mut waiting = clients.pop().unwrap();
    let mut told = clients.split_off(8);
    clients.iter_mut().for_each(|client| drop(client.read_answer()));
    told.iter_mut().for_each(|client| assert_eq!(client.read_reply(false).status, 503));
    assert!(waiting.has_nothing());
    program.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.read_close(), (1001, "the server stops".to_string()));
        client.close(1001, "");
    }
    waiting.wait_for_the_end();
    drop((clients, told));
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn no_descriptors_are_left() {
    let scratch = Scratch::new();
    scratch.write("page", "content");
    let long = "x".repeat(200);
    scratch.write(&long, "");
    let root = scratch.to_str().unwrap().to_string();
    let mut program =
        starved(64, &["--max-connections", "1000", "--handshake-timeout", "600", "--root", &root]);
    let taken = || program.descriptors().iter().filter(|number| **number < 64).count();
    let mut browser = Client::connect(program.addr());
    assert_eq!(browser.http("GET", "/page", "").text(), "content");
    // When this is answered, the file of the other answer is closed.
    assert_eq!(browser.http("GET", "/none", "").status, 404);
    let before = taken();

    let mut clients = crowd(program.addr(), 200);
    program.logged("clients have to wait");
    let room = 64 - before;
    let mut waiting = clients.split_off(room);
    for client in &mut clients {
        client.read_answer();
    }
    assert_eq!(taken(), 64);
    does_not_spin(&program);
    are_served(&mut clients);
    // A file takes a descriptor too; the connection outlives that there is none.
    assert_eq!(browser.http("GET", &format!("/{long}"), "").status, 503);
    // It is said which; no more of its name than of anything from outside.
    program.logged(&format!("cannot serve /{}…: ", &long[..99]));
    assert!(waiting.iter().all(Client::has_nothing));

    // Each that goes lets one in, in their order; however many do, it is no news yet.
    for gone in clients.drain(..room / 2) {
        gone.reset();
    }
    let mut let_in: Vec<Client> = waiting.drain(..room / 2).collect();
    for client in &mut let_in {
        client.read_answer();
    }
    are_served(&mut let_in);
    are_served(&mut clients);
    assert_eq!(taken(), 64);
    assert!(waiting.iter().all(Client::has_nothing));

    drop((clients, let_in));
    for mut client in waiting {
        client.read_answer();
    }
    program.logged("clients are accepted again");
    assert_eq!(browser.http("GET", "/page", "").text(), "content");
    Bystander::on(program.addr()).is_served();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    let again: Vec<String> = program.all_logged();
    let again: Vec<&String> = again.iter().filter(|line| line.contains("clients ")).collect();
    assert!(again.is_empty(), "{again:?}");
}

/// With 128 descriptors there is room for 96 connections and files, and for 12 files.
#[test]
fn slow_readers_of_a_large_file_leave_room_for_others() {
    const READERS: usize = 75;
    const FILES: usize = 12;
    let scratch = Scratch::new();
    scratch.write("page", "content");
    std::fs::File::create(scratch.join("large")).unwrap().set_len(1 << 30).unwrap();
    let program =
        starved(128, &["--handshake-timeout", "600", "--root", scratch.to_str().unwrap()]);
    let ask = |_| {
        let mut client = Client::connect(program.addr());
        sockopt::set_socket_recv_buffer_size(&client.stream, 4096).unwrap();
        client.send(plain_request("GET", "/large", "").as_bytes());
        client
    };
    let readers: Vec<Client> = (0..READERS).map(ask).collect();
    let (mut served, mut told) = (Vec::new(), Vec::new());
    for mut reader in readers {
        let head = reader.read_head();
        if head.starts_with("HTTP/1.1 200 ") {
            served.push(reader);
        } else {
            assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 5"), "{head}");
            told.push(reader);
        }
    }
    assert_eq!((served.len(), told.len()), (FILES, READERS - FILES));
    program.logged("cannot serve /large: 12 files are under way already");
    assert!(program.descriptors().len() < 128, "{:?}", program.descriptors());
    // Others are served, with small files too, and may ask what a large one is.
    Bystander::on(program.addr()).is_served();
    let mut client = Client::connect(program.addr());
    assert_eq!(client.http("GET", "/page", "").text(), "content");
    assert_eq!(client.http("HEAD", "/large", "").length(), Some(1 << 30));
    assert_eq!(client.http("GET", "/large", "").status, 503);
    // Both count where room for connections is counted.
    let room = 96 - FILES - READERS - 1;
    let mut others = crowd(program.addr(), room);
    are_answered(&mut others);
    let mut refused = Client::connect(program.addr());
    assert_eq!(refused.http("GET", "/page", "").status, 503);
    // Who goes makes room for files and for clients.
    drop(served);
    drop(refused);
    loop {
        let reply = client.http("HEAD", "/page", "");
        assert_eq!(reply.status, 200);
        client.send(plain_request("GET", "/large", "").as_bytes());
        let head = client.read_head();
        if head.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        client.read(b"too many open files\n".len());
    }
    Bystander::on(program.addr()).is_served();
    program.signal(Signal::TERM);
}

/// A file that ends makes room for who waits, though its connection stays.
#[test]
fn a_download_that_ends_lets_the_next_in() {
    const SIZE: usize = 32 << 20;
    let scratch = Scratch::new();
    std::fs::File::create(scratch.join("large")).unwrap().set_len(SIZE as u64).unwrap();
    let root = scratch.to_str().unwrap();
    let program = starved(64, &["--handshake-timeout", "600", "--root", root]);
    let mut reader = Client::connect(program.addr());
    reader.send(plain_request("GET", "/large", "").as_bytes());
    assert!(reader.read_head().starts_with("HTTP/1.1 200 "));
    // The reader and its file take 2 of 32 places; 16 more clients may be there to be told.
    let mut clients = crowd(program.addr(), 30 + 16 + 1);
    let mut waiting = clients.pop().unwrap();
    let mut told = clients.split_off(30);
    are_answered(&mut clients);
    told.iter_mut().for_each(|client| assert_eq!(client.read_reply(false).status, 503));
    does_not_spin(&program);
    assert!(waiting.has_nothing());
    assert_eq!(reader.read(SIZE).len(), SIZE);
    assert_eq!(waiting.read_reply(false).status, 503);
    are_served(&mut clients);
    assert_eq!(reader.http("HEAD", "/large", "").status, 200);
    program.signal(Signal::TERM);
}

/// What was said between two lines that are waited for is not looked at above: here all of it is.
#[test]
fn that_none_are_left_is_said_once() {
    let mut program = starved(40, &["--max-connections", "1000", "--handshake-timeout", "600"]);
    // Each in turn is let in, served, and gone; most of them while others wait.
    for mut client in crowd(program.addr(), 200) {
        client.read_answer();
        client.text("hello");
        assert_eq!(client.read_text(), "hello");
        client.reset();
    }
    Bystander::on(program.addr()).is_served();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
    let lines = program.all_logged();
    let count = |words| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!((count("clients have to wait"), count("clients are accepted again")), (1, 1));
}
