//! What goes wrong around a server: no descriptors left, peers that vanish, a log that nobody
//! reads, a file that shrinks, and signals in the midst of work. Linux only, as descriptors and
//! processor time are read from `/proc`.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::attack::*;
use crate::common::*;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGPIPE;
use wsloop::{Config, Context, SendStatus, Version, handlers};

const WSLOOP: &str = env!("CARGO_BIN_EXE_wsloop");
const SHORT: Duration = Duration::from_millis(60);

// Descriptors.

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
fn no_descriptors_are_left() {
    let scratch = Scratch::new();
    scratch.write("page", "content");
    let root = scratch.path().to_str().unwrap().to_string();
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
    assert_eq!(browser.http("GET", "/page", "").status, 503);
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

// Peers.

/// Queues more than any kernel takes for a client that does not read.
fn flood(ws: &mut Context<'_>, what: &What) {
    if let What::Text(_) = what {
        let piece = "x".repeat(1 << 20);
        while ws.buffered_amount() < 24 << 20 && ws.send(&piece) != SendStatus::Dropped {}
    }
}

#[test]
fn a_reset_in_the_midst_of_a_frame_and_of_a_write() {
    let (recorder, log) = record_with(flood);
    let limits = config(|config| config.max_backlog = 32 << 20);
    let server = serve(limits, |server| {
        server.route("/", recorder);
        server.route("/mirror", handlers::Mirror);
    });
    let mut bystander = Bystander::on(server.addr);
    let gone = |id| {
        let (code, reason) = log.closed(id);
        assert_eq!(code, 1006);
        assert!(reason.contains("reset") || reason.contains("Broken pipe"), "{reason}");
    };
    for version in VERSIONS {
        let mut client = Client::open(server.addr, version, "/");
        let id = log.opened();
        let whole = client.text_bytes("never whole");
        client.send(&whole[..whole.len() / 2]);
        client.reset();
        gone(id);
        bystander.is_served();

        let mut client = Client::with_small_window(server.addr, version, "/");
        let id = log.opened();
        client.text("go");
        log.expect(id, What::Text("go".into()));
        client.read(2);
        client.reset();
        gone(id);
        bystander.is_served();
    }
    server.stop();
    assert_eq!(log.rest(), []);
}

/// Nobody is at the other end, and no byte says so.
#[test]
fn peers_that_neither_read_nor_answer() {
    let (recorder, log) = record_with(flood);
    let short = config(|config| {
        config.ping_interval = Some(SHORT);
        config.pong_timeout = SHORT;
        config.max_backlog = 32 << 20;
    });
    let server = serve(short, |server| {
        server.route("/", recorder);
        server.route("/mirror", handlers::Mirror);
    });
    // One that is never pinged, and so may take its time.
    let mut other = Client::open(server.addr, Version::Hixie76, "/mirror");
    for version in HYBI {
        let silent = Client::open(server.addr, version, "/");
        let id = log.opened();
        assert_eq!(log.closed(id), (1006, "no answer to a ping".into()), "{version}");
        drop(silent);
        // The same with so much before the ping that it never goes out.
        let mut stalled = Client::with_small_window(server.addr, version, "/");
        let id = log.opened();
        stalled.text("go");
        log.expect(id, What::Text("go".into()));
        let (code, reason) = log.closed(id);
        assert_eq!(code, 1006, "{version}");
        assert!(["no answer to a ping", "takes nothing"].contains(&&*reason), "{reason}");
        drop(stalled);
        other.text("still here");
        assert_eq!(other.read_text(), "still here");
    }
}

/// A program that leaves SIGPIPE at its default would be ended by it: so there must be none.
#[test]
fn nothing_raises_sigpipe() {
    let raised = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGPIPE, Arc::clone(&raised)).unwrap();
    // It would be noticed.
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(raised.swap(false, Ordering::SeqCst));

    // Over a Unix socket what is written is refused at once when the peer has gone.
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    let (recorder, log) = record_with(|ws, what| {
        if let What::Text(_) = what {
            ws.set_timer(Duration::ZERO, 0);
        }
        if let What::Timer(_) = what {
            // Large enough to be offered to the kernel at once, and then again when queued.
            ws.send(&"x".repeat(100_000));
            ws.send("y");
        }
    });
    let mut server = wsloop::Server::new(Config::default()).unwrap();
    server.listen(&format!("unix:{}", path.display())).unwrap();
    server.route("/", recorder);
    for version in VERSIONS {
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(&request(version, "/", "")).unwrap();
        let id = turn_until(&mut server, "the opening", |_| log.try_next()).id;
        let text: &[u8] = if version.is_hixie() { b"\0go\xff" } else { &masked(0x81, b"go") };
        client.write_all(text).unwrap();
        let event = turn_until(&mut server, "the message", |_| log.try_next());
        assert_eq!(event.what, What::Text("go".into()));
        // Gone before the timer is looked at.
        drop(client);
        let mut events = Vec::new();
        turn_until(&mut server, "the end", |_| {
            events.extend(log.try_next());
            events.iter().any(|event| matches!(event.what, What::Close(1006, _))).then_some(())
        });
        assert!(events.iter().all(|event| event.id == id));
    }
    drop(server);
    assert!(!raised.load(Ordering::SeqCst));
}

/// In another order than they came, and each in another way; nobody misses a message for it.
#[test]
fn connections_end_in_any_order() {
    let program = Program::start(&[]);
    let addr = program.addr();
    let mut speaker = Client::open(addr, Version::Rfc6455, "/broadcast");
    let mut members: Vec<Client> =
        (0..40).map(|place| Client::open(addr, VERSIONS[place % 5], "/broadcast")).collect();
    let mut round = 0;
    while !members.is_empty() {
        let text = format!("round {round}");
        speaker.text(&text);
        assert_eq!(speaker.read_text(), text);
        for member in &mut members {
            assert_eq!(member.read_text(), text, "{}", member.version);
        }
        // From the front, the back and the middle; another comes for every third that goes.
        let place = [0, members.len() - 1, members.len() / 2][round % 3];
        let mut gone = members.remove(place);
        match round % 4 {
            0 => gone.reset(),
            1 => {
                gone.end();
                gone.wait_for_the_end();
            }
            2 if !gone.version.is_hixie() => {
                // The end of the stream right behind the close, and no word of the answer read.
                gone.close(1000, "bye");
                gone.end();
            }
            _ => {
                let half = gone.text_bytes("half of it");
                gone.send(&half[..half.len() - 3]);
                drop(gone);
            }
        }
        if round % 3 == 2 && round < 30 {
            members.push(Client::open(addr, VERSIONS[round % 5], "/broadcast"));
        }
        round += 1;
    }
    assert_eq!(round, 50);
    Bystander::on(addr).is_served();
}

/// A close, and behind it things that come too late; what came before it is still answered.
#[test]
fn a_close_before_its_time() {
    // Together more than the kernel holds for a client that does not read.
    const MESSAGES: usize = 14;
    let program = Program::start(&["--max-backlog", "33554432"]);
    let message = vec![b'm'; 900_000];
    let frame = masked(0x82, &message);
    for version in HYBI {
        let mut client = Client::open(program.addr(), version, "/mirror");
        let first_half = masked(0x01, b"never whole");
        let frames = [
            masked(0x81, b"one"),
            first_half,
            masked_close(1000, "now"),
            masked(0x80, b"the other half"),
            masked(0x81, b"too late"),
            masked_close(1001, "too late"),
        ];
        client.send(&frames.concat());
        assert_eq!(client.read_text(), "one");
        assert_eq!(client.read_close(), (1000, String::new()));
        client.wait_for_the_end();
        let line = program.logged("closed");
        assert!(line.contains(" 1000 \"now\""), "{line}");

        // With megabytes of answers still to come: all do, and then the close.
        let mut client = Client::open(program.addr(), version, "/mirror");
        for _ in 0..MESSAGES {
            client.send(&frame);
        }
        client.close(1000, "");
        for _ in 0..MESSAGES {
            assert!(client.read_frame() == (0x82, message.clone()));
        }
        assert_eq!(client.read_close(), (1000, String::new()));
        assert_eq!(client.read_to_end(), b"");
        let line = program.logged("closed");
        assert!(line.contains(" 1000 \"\""), "{line}");
    }
}

// The log and standard output.

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
        program.ends_well();
    }
}

// Signals.

/// What a mirror sends for these bytes of a client.
fn echoed(version: Version, text: &str) -> Vec<u8> {
    if version.is_hixie() {
        return [b"\0", text.as_bytes(), b"\xff"].concat();
    }
    let len = u16::try_from(text.len()).unwrap();
    assert!(len > 125);
    [&[0x81, 126], &len.to_be_bytes()[..], text.as_bytes()].concat()
}

/// The server's goodbye, and the end.
fn is_told_goodbye(client: &mut Client) {
    match client.version {
        Version::Hixie75 => {}
        Version::Hixie76 => assert_eq!(client.read(2), [0xff, 0]),
        _ => {
            assert_eq!(client.read_close(), (1001, "the server stops".into()));
            client.close(1001, "");
        }
    }
    assert_eq!(client.read_to_end(), b"");
}

/// Slow readers with megabytes queued: when a neighbour has a message, it is queued for them too.
#[test]
fn all_that_is_queued_comes_before_the_goodbye() {
    // Together more than the kernel holds for a client that does not read.
    const COUNT: usize = 200;
    let mut program = Program::start(&["--max-backlog", "33554432"]);
    let addr = program.addr();
    let mut slow = VERSIONS.map(|version| Client::open(addr, version, "/broadcast"));
    let mut speaker = Client::open(addr, Version::Hybi08, "/broadcast");
    let texts: Vec<String> = (0..COUNT).map(|n| format!("{n:06}").repeat(10_000)).collect();
    for text in &texts {
        speaker.text(text);
        assert!(speaker.read_text() == *text);
    }
    program.signal(Signal::TERM);
    program.logged("stopping");
    is_told_goodbye(&mut speaker);
    thread::scope(|scope| {
        for client in &mut slow {
            scope.spawn(|| {
                for text in &texts {
                    let expected = echoed(client.version, text);
                    assert!(client.read(expected.len()) == expected, "{}", client.version);
                }
                is_told_goodbye(client);
                if client.version.is_hixie() {
                    client.end();
                }
            });
        }
    });
    assert_eq!(program.wait().code(), Some(0));
}

/// Message number `n`: text of 1 to 9 kB.
fn numbered(n: usize) -> String {
    format!("{n:08}").repeat(125 + 250 * (n % 5))
}

/// Reads echoes and has one message more sent for each, until the goodbye; how many came.
fn read_echoes(client: &mut Client, credit: &Sender<()>, warm: &Sender<()>) -> usize {
    let mut count = 0;
    loop {
        let expected = echoed(client.version, &numbered(count));
        let mut first = [0];
        let goodbye = match client.stream.read(&mut first).unwrap() {
            0 => return count,
            _ => first[0] != expected[0],
        };
        if goodbye {
            let rest = client.read(if client.version.is_hixie() { 1 } else { 3 });
            assert!(
                (first[0] == 0xff && rest == [0])
                    || (first[0] == 0x88 && rest[1..] == 1001u16.to_be_bytes())
            );
            return count;
        }
        assert!(client.read(expected.len() - 1) == expected[1..], "{count}");
        count += 1;
        let _ = credit.send(());
        if count == 50 {
            warm.send(()).unwrap();
        }
    }
}

/// Sends message after message, as many ahead of the echoes as there is credit.
fn keep_sending(mut stream: std::net::TcpStream, version: Version, credit: &Receiver<()>) {
    let mut n = 0;
    while credit.recv().is_ok() {
        let text = numbered(n);
        let bytes =
            if version.is_hixie() { echoed(version, &text) } else { masked(0x81, text.as_bytes()) };
        if stream.write_all(&bytes).is_err() {
            return;
        }
        n += 1;
    }
}

#[test]
fn a_stop_in_the_midst_of_work() {
    let mut program = Program::start(&[]);
    let addr = program.addr();
    let (warm, warmed) = channel();
    thread::scope(|scope| {
        for version in VERSIONS {
            let mut client = Client::open(addr, version, "/mirror");
            let (credit, allowed) = channel();
            for _ in 0..100 {
                credit.send(()).unwrap();
            }
            let writing = client.stream.try_clone().unwrap();
            scope.spawn(move || keep_sending(writing, version, &allowed));
            let warm = warm.clone();
            scope.spawn(move || {
                // Every echo in its order, none left out, and behind the last one the goodbye.
                assert!(read_echoes(&mut client, &credit, &warm) >= 50);
                drop(credit);
                if !version.is_hixie() {
                    // The other thread may be in the midst of a message: so just the end.
                    client.end();
                }
                let _ = client.stream.shutdown(std::net::Shutdown::Both);
            });
        }
        for _ in VERSIONS {
            warmed.recv_timeout(2 * PATIENCE).expect("echoes come");
        }
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0));
        // The port is free at once.
        let again = Program::start_on(&[&addr.to_string()], &[]);
        Bystander::on(again.addr()).is_served();
    });
}

#[test]
fn a_second_signal_does_not_wait_for_anybody() {
    for (first, second, code) in
        [(Signal::TERM, Signal::INT, 128 + 2), (Signal::INT, Signal::TERM, 128 + 15)]
    {
        let mut program = Program::start(&[]);
        let mut slow = Client::with_small_window(program.addr(), Version::Rfc6455, "/mirror");
        // More than is taken off its hands, and none of it is read.
        for _ in 0..3 {
            slow.send(&masked(0x82, &vec![0; 1 << 20]));
        }
        slow.read(2);
        program.signal(first);
        program.logged("stopping");
        program.signal(second);
        assert_eq!(program.wait().code(), Some(code));
        drop(slow);
    }
}

/// The states of the connections that have this as their port here, as the kernel numbers them.
fn states(addr: SocketAddr) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", addr.port());
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&port)).map(|row| row[3].to_string()).collect()
}

#[test]
fn a_restart_on_the_same_port() {
    const TIME_WAIT: &str = "06";
    let mut program = Program::start(&[]);
    let addr = program.addr();
    for round in 0..3 {
        // The server is the first to end these, so it is its side that remembers them.
        for _ in 0..10 {
            let mut client = Client::connect(addr);
            client.http("GET", "/", "Connection: close\r\n");
            assert_eq!(client.read_to_end(), b"");
        }
        let mut open = Client::open(addr, Version::Rfc6455, "/mirror");
        let waiting = || states(addr).iter().any(|state| state == TIME_WAIT);
        let start = Instant::now();
        while !waiting() {
            assert!(start.elapsed() < PATIENCE, "{:?}", states(addr));
            thread::sleep(Duration::from_millis(5));
        }
        // Asked to end or just ended, with a connection that was open to the last.
        if round == 1 {
            program.signal(Signal::KILL);
            assert_eq!(program.wait().code(), None);
            open.wait_for_the_end();
        } else {
            program.signal(Signal::TERM);
            assert_eq!(open.read_close().0, 1001);
            open.close(1001, "");
            assert_eq!(program.wait().code(), Some(0));
        }
        assert!(waiting(), "{:?}", states(addr));
        program = Program::start_on(&[&addr.to_string()], &[]);
        Bystander::on(addr).is_served();
    }
}

// Files.

#[test]
fn a_file_shrinks_while_it_is_sent() {
    const SIZE: usize = 64 << 20;
    let scratch = Scratch::new();
    let file = std::fs::File::create(scratch.join("large")).unwrap();
    let program = Program::start(&["--root", scratch.path().to_str().unwrap()]);
    let mut bystander = Bystander::on(program.addr());
    for left in [0, 1 << 20] {
        file.set_len(SIZE as u64).unwrap();
        let mut client = Client::connect(program.addr());
        client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
        let length = format!("Content-Length: {SIZE}\r\n");
        assert!(client.read_head().contains(&length));
        file.set_len(left).unwrap();
        // Less than was announced, no filler, and no other answer behind it.
        let mut bytes = Vec::new();
        match client.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(bytes.len() < SIZE && bytes.iter().all(|byte| *byte == 0));
        let line = program.logged("cut short");
        assert!(line.contains("WARN") && line.contains("the file ended before"), "{line}");
        bystander.is_served();
    }
}
