//! What the program says on standard error and standard output, and what if nobody reads it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use crate::program::*;
use rustix::process::{Pid, Signal, kill_process};
use wsloop::Version;

#[test]
fn openings_and_closings_are_logged() {
    let program = Program::start(&[]);
    for version in HYBI {
        let mut client = Client::open(program.addr(), version, "/mirror");
        let addr = client.stream.local_addr().unwrap().to_string();
        let line = program.logged("open");
        for word in [&version.to_string(), "/mirror", &addr] {
            assert!(line.contains(word), "{word} in {line}");
        }
        // Nothing a peer sends reaches the log as it is.
        client.close(3456, "a\r\nforged line\u{1b}[31m");
        let line = program.logged("closed");
        for word in [&version.to_string(), "/mirror", "3456", r"a\r\nforged line\u{1b}[31m"] {
            assert!(line.contains(word), "{word} in {line}");
        }
    }
    let quiet = Program::start(&["--quiet", "--max-message", "5"]);
    let mut client = Client::open(quiet.addr(), Version::Rfc6455, "/mirror");
    client.text("too long");
    assert_eq!(client.read_close().0, 1009);
    quiet.signal(Signal::TERM);
    drop(client);
    assert_eq!(quiet.all_logged(), [""; 0]);
}

/// What a line says, behind the time, the level and the place.
fn words(line: &str) -> &str {
    line.split_once("] ").unwrap().1
}

/// How many lines this one stands for, if it is one that counts what was left out.
fn left_out(line: &str) -> Option<usize> {
    words(line).strip_suffix(" more like these were left out")?.parse().ok()
}

/// What a peer sends is cut, what it can have said as often as it likes is limited, and nothing goes
/// uncounted.
#[test]
fn a_peer_cannot_fill_the_log() {
    const COUNT: usize = 1000;
    let program = Program::start(&[]);
    let bytes = request_from(Version::Rfc6455, "/mirror", "localhost", Some(&[0xff; 7000]), "");
    for _ in 0..COUNT {
        let mut client = Client::connect(program.addr());
        client.send(&bytes);
        assert_eq!(client.read_reply(false).status, 403);
    }
    // Two lines for each: whose pages they are, and which status it came to. The last of them are
    // counted without anything that happens then.
    let (mut lines, mut counted, mut counts) = (0, 0, 0);
    while counted < 2 * COUNT {
        let line = program.logged("");
        assert!(line.len() < 600, "{} bytes: {line}", line.len());
        match left_out(&line) {
            Some(count) => (counted, counts) = (counted + count, counts + 1),
            None if words(&line).contains("may not connect") => {
                assert!(line.contains("…") && !line.contains(&r"\xff".repeat(101)), "{line}");
                (counted, lines) = (counted + 1, lines + 1);
            }
            None => {
                assert!(line.ends_with("refused: 403"), "{line}");
                (counted, lines) = (counted + 1, lines + 1);
            }
        }
    }
    assert_eq!(counted, 2 * COUNT);
    assert!(counts >= 2 && lines < COUNT, "{lines} lines, and {counts} times a count");
}

/// What is left out when the program ends is counted at its end.
#[test]
fn nothing_goes_uncounted_at_the_end() {
    const COUNT: usize = 200;
    let program = Program::start(&[]);
    let mut clients: Vec<Client> = (0..COUNT).map(|_| Client::connect(program.addr())).collect();
    clients.iter_mut().for_each(|client| client.send(b"!\r\n\r\n"));
    for client in &mut clients {
        assert_eq!(client.read_reply(false).status, 400);
    }
    program.signal(Signal::TERM);
    let lines = program.all_logged();
    let refused = lines.iter().filter(|line| line.ends_with("refused: 400")).count();
    let uncounted: usize = lines.iter().filter_map(|line| left_out(line)).sum();
    assert_eq!(refused + uncounted, COUNT, "{lines:?}");
}

/// Paths and reasons for a close are cut too, at a mark that says so.
#[test]
fn what_a_peer_says_is_cut() {
    let program = Program::start(&["--route", "*=mirror"]);
    for version in VERSIONS {
        let path = format!("/{}", "a".repeat(7000));
        let client = Client::open(program.addr(), version, &path);
        let line = program.logged("open");
        assert!(line.contains(&format!(" {}… from 127.0.0.1:", &path[..100])), "{line}");
        drop(client);
    }
    for version in HYBI {
        let mut client = Client::open(program.addr(), version, "/mirror");
        let reason = format!("{}\u{e4}{}", "b".repeat(99), "c".repeat(22));
        client.close(4000, &reason);
        let line = program.logged("4000");
        assert!(line.ends_with(&format!(" 4000 \"{}\"…", "b".repeat(99))), "{line}");
    }
}

/// The program without anybody who reads what it says.
struct Unheard {
    child: Child,
}

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Unheard {
    /// Starts it with these streams, and waits until it listens on a socket in this folder.
    fn start(command: &mut Command, scratch: &Scratch) -> Unheard {
        let path = scratch.join("socket");
        let child = command
            .args(["--listen", &format!("unix:{}", path.display()), "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let unheard = Unheard { child };
        let start = Instant::now();
        while UnixStream::connect(&path).is_err() {
            assert!(start.elapsed() < PATIENCE, "it does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        unheard
    }

    fn ends_well(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let (sender, ended) = channel();
        let mut status = None;
        thread::scope(|scope| {
            let child = &mut self.child;
            scope.spawn(move || sender.send(child.wait().unwrap()));
            status = ended.recv_timeout(2 * PATIENCE).ok();
            if status.is_none() {
                panic!("the program does not end");
            }
        });
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

/// Its TCP address, which is the second that it tells.
fn tcp_address(stdout: impl Read) -> SocketAddr {
    let line = BufReader::new(stdout).lines().nth(1).unwrap().unwrap();
    line.strip_prefix("listening on ws://").expect(&line).parse().unwrap()
}

/// Opens and ends so many connections, one after the other; two lines of the log each.
fn come_and_go(addr: SocketAddr, count: usize) {
    for round in 0..count {
        let mut client = Client::open(addr, VERSIONS[round % 5], "/mirror");
        client.text("heard?");
        assert_eq!(client.read_text(), "heard?");
        client.end();
        client.wait_for_the_end();
    }
}

#[test]
fn a_log_that_nobody_reads_for_a_while() {
    const COUNT: usize = 1500;
    let scratch = Scratch::new();
    let mut command = Command::new(WSLOOP);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Unheard::start(&mut command, &scratch);
    let addr = tcp_address(program.child.stdout.take().unwrap());
    let mut log = BufReader::new(program.child.stderr.take().unwrap()).lines();
    come_and_go(addr, COUNT);
    // Of what the pipe holds, some is read: there is room again.
    let mut lines: Vec<String> = log.by_ref().take(400).map(Result::unwrap).collect();
    assert!(!lines.iter().any(|line| line.contains("lost")));
    come_and_go(addr, 1);
    program.ends_well();
    lines.extend(log.map(Result::unwrap));
    let notes: Vec<u64> = lines
        .iter()
        .filter(|line| line.ends_with("log lines were lost: nobody read them]"))
        .map(|line| line[1..].split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(!notes.is_empty(), "{} lines, and no note", lines.len());
    // Every line is there or was counted: an opening and an end for each, and the stopping.
    let lost: u64 = notes.iter().sum();
    let whole = lines.len() - notes.len();
    assert_eq!(whole as u64 + lost, 2 * (COUNT as u64 + 1) + 1, "{whole} whole, {lost} lost");
    // None is torn.
    assert!(lines.iter().all(|line| line.starts_with('[')), "{lines:?}");
}

#[test]
fn a_log_that_nobody_reads_any_more() {
    let scratch = Scratch::new();
    let mut command = Command::new(WSLOOP);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = Unheard::start(&mut command, &scratch);
    let addr = tcp_address(program.child.stdout.take().unwrap());
    drop(program.child.stderr.take());
    come_and_go(addr, 100);
    program.ends_well();

    // Nor is there one at all, from the beginning.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&-", WSLOOP]).stdout(Stdio::piped());
    let mut program = Unheard::start(&mut command, &scratch);
    let addr = tcp_address(program.child.stdout.take().unwrap());
    come_and_go(addr, 100);
    program.ends_well();
}

#[test]
fn nobody_is_told_where_it_listens() {
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut closed = Command::new("sh");
    closed.args(["-c", "exec \"$0\" \"$@\" >&-", WSLOOP]);
    let mut broken = Command::new(WSLOOP);
    broken.stdout(writer);
    let mut no_room = Command::new(WSLOOP);
    no_room.stdout(full);
    for command in [&mut closed, &mut broken, &mut no_room] {
        let mut program = Unheard::start(command.stderr(Stdio::null()), &scratch);
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"GET /nowhere HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        // Its end is waited for, for as long as the close timeout.
        drop(client);
        program.ends_well();
    }
}
