//! The programs of `demo/`, each started as a program and spoken to through raw sockets.
//!
//! `cargo test` builds them; before `cargo test --test program` alone, `cargo build --examples` does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::*;
use crate::neighbours::*;
use wsloop::Version;

/// RFC 6455 section 5.7: "Hello" from a client, masked, and from a server.
const HELLO_MASKED: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO: &[u8] = b"\x81\x05Hello";

/// A demo that runs, until this is dropped.
pub struct Demo {
    pub child: Child,
    /// Kept open, since a demo that prints to a closed pipe ends.
    stdout: BufReader<ChildStdout>,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Demo {
    /// Starts a demo on a free port. It must say that it listens, on this path.
    pub fn start(name: &str, path: &str) -> Demo {
        Demo::start_on(&["127.0.0.1:0"], name, path)
    }

    pub fn start_on(addrs: &[&str], name: &str, path: &str) -> Demo {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().with_file_name("examples").join(name);
        let mut child = Command::new(&program)
            .args(addrs)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?} (cargo build --examples): {error}"));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut demo = Demo { child, stdout, host: String::new() };
        demo.host = demo.said("listening on ws://", path);
        demo
    }

    /// What stands between these on its next line of output.
    pub fn said(&mut self, before: &str, behind: &str) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let said = line.trim_end().strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        said.unwrap_or_else(|| panic!("it said {line:?}")).to_string()
    }

    /// Opens a WebSocket as a page from elsewhere does.
    fn connect(&self, path: &str) -> TcpStream {
        let mut socket = TcpStream::connect(&self.host).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.host;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Origin: http://elsewhere.example\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        expect(
            &mut socket,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        socket
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has seen by then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads as many bytes as are wanted; they must be these.
fn expect(socket: &mut TcpStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    socket.read_exact(&mut got).unwrap();
    assert_eq!(got.escape_ascii().to_string(), wanted.escape_ascii().to_string());
}

#[test]
fn minimal_echoes() {
    let demo = Demo::start("minimal", "/");
    let mut socket = demo.connect("/");
    socket.write_all(HELLO_MASKED).unwrap();
    expect(&mut socket, HELLO);
    // The same bytes as a binary message, and the close: 1000.
    socket.write_all(b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").unwrap();
    expect(&mut socket, b"\x82\x05Hello");
    socket.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
    expect(&mut socket, b"\x88\x02\x03\xe8");
    assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the server ends the stream");
}

#[test]
fn hello_speaks_after_a_second_and_again_after_another() {
    let demo = Demo::start("hello", "/");
    let start = Instant::now();
    let mut socket = demo.connect("/");
    // The loop's clock counts whole milliseconds.
    for (word, millis) in [(b"\x81\x05hello", 999), (b"\x81\x05world", 1999)] {
        expect(&mut socket, word);
        assert!(start.elapsed() >= Duration::from_millis(millis), "{:?}", start.elapsed());
    }
}

#[test]
fn broadcast_reaches_everyone() {
    let mut demo = Demo::start("broadcast", "/broadcast");
    let mut sockets = [(); 3].map(|()| demo.connect("/broadcast"));
    sockets[1].write_all(HELLO_MASKED).unwrap();
    for socket in &mut sockets {
        expect(socket, HELLO);
    }
    demo.child.kill().unwrap();
    let mut said = String::new();
    demo.stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, [1, 2, 3].map(|here| format!("here: {here}, messages so far: 0\n")).concat());
}

impl Demo {
    fn client(&self, path: &str) -> Client {
        Client::open(self.host.parse().unwrap(), Version::Rfc6455, path)
    }
}

/// The page and what it needs come from the same program.
fn has_its_page(host: &str, title: &str) {
    let addr = host.parse().unwrap();
    let page = get(addr, "/", "");
    assert!(page.status == 200 && page.text().contains(title), "{}{}", page.head, page.text());
    for name in ["connection.js", "style.css", "favicon.svg"] {
        assert!(page.text().contains(name));
        let part = get(addr, &format!("/{name}"), "");
        assert_eq!(part.status, 200, "{name}: {}", part.head);
    }
}

#[test]
fn echo_puts_its_word_before_text() {
    let demo = Demo::start("echo", "/echo");
    let mut client = demo.client("/echo");
    client.text("Hello, Web Socket Echo!");
    assert_eq!(client.read_text(), "echo: Hello, Web Socket Echo!");
    client.send(&masked(0x82, b"\0\x01"));
    assert_eq!(client.read_frame(), (0x82, b"\0\x01".to_vec()));
}

#[test]
fn tracker_passes_positions_on() {
    let demo = Demo::start("tracker", "/");
    let (mut one, mut two) = (demo.client("/"), demo.client("/tracker"));
    // As the tutorial's page does: its own id in front, by which it knows itself again.
    one.text("[31415,47.3769,8.541694]");
    assert_eq!(one.read_text(), "[31415,47.3769,8.541694]");
    assert_eq!(two.read_text(), "[100001,47.3769,8.541694]");
    two.text("[-33.8688, 151.2093]");
    assert_eq!(one.read_text(), "[100002,-33.8688,151.2093]");
    assert_eq!(two.read_text(), "[100002,-33.8688,151.2093]");
    let mut late = demo.client("/");
    assert_eq!(late.read_text(), "[100001,47.3769,8.541694]");
    assert_eq!(late.read_text(), "[100002,-33.8688,151.2093]");
    // One withdraws and then leaves: said once. The other leaves without a word.
    one.text("[31415,null,null]");
    assert_eq!(late.read_text(), "[100001,null,null]");
    drop(one);
    drop(two);
    assert_eq!(late.read_text(), "[100002,null,null]");
    has_its_page(&demo.host, "<title>Tracker");
}

#[test]
fn tracker_passes_no_nonsense_on() {
    let demo = Demo::start("tracker", "/");
    let mut witness = demo.client("/");
    for nonsense in ["", "[1,90.5,0]", "[1,0,181]", "[\"<b>\",1,1]", "[1,1]]", &"[".repeat(5000)] {
        let mut client = demo.client("/");
        client.text(nonsense);
        let answer = (1008, "not [id, latitude, longitude]".to_string());
        assert_eq!(client.read_close(), answer, "{nonsense}");
    }
    witness.text("[7,1,2]");
    assert_eq!(witness.read_text(), "[7,1,2]");
}

#[test]
fn chat_echoes_and_has_a_room() {
    let demo = Demo::start("chat", "/websocket");
    let mut client = demo.client("/websocket");
    client.text("Here's some text that the server is urgently awaiting!");
    let answer = "Server echoed: Here's some text that the server is urgently awaiting!";
    assert_eq!(client.read_text(), answer);

    let (mut ann, mut ben) = (demo.client("/chat"), demo.client("/chat"));
    for client in [&mut ann, &mut ben] {
        assert_eq!(client.read_text(), "* What is your name?");
    }
    ann.text("Ann");
    assert_eq!(ann.read_text(), "* You are Ann. Here: nobody else");
    ann.text("is anybody there?");
    assert_eq!(ann.read_text(), "Ann: is anybody there?");
    ben.text(" *Ann:\n");
    assert_eq!(ben.read_text(), "Ann: is anybody there?");
    assert_eq!(ben.read_text(), "* You are Ann 2. Here: Ann");
    assert_eq!(ann.read_text(), "* Ann 2 has come.");
    ben.text("<b>\x1b[31mred</b>");
    for client in [&mut ann, &mut ben] {
        assert_eq!(client.read_text(), "Ann 2: <b> [31mred</b>");
    }
    ben.text(&"x".repeat(501));
    assert_eq!(ben.read_text(), "* Not passed on: it is longer than 500 characters.");
    drop(ben);
    assert_eq!(ann.read_text(), "* Ann 2 has gone.");
    has_its_page(&demo.host, "<title>Chat");
}

#[test]
fn chat_remembers_fifty_lines() {
    let demo = Demo::start("chat", "/websocket");
    let mut ann = demo.client("/chat");
    for words in ["Ann".to_string()].into_iter().chain((0..60).map(|i| format!("line {i}"))) {
        ann.text(&words);
    }
    while ann.read_text() != "Ann: line 59" {}
    let mut late = demo.client("/chat");
    late.text("Ben");
    assert_eq!(late.read_text(), "* What is your name?");
    for number in 10..60 {
        assert_eq!(late.read_text(), format!("Ann: line {number}"));
    }
    assert_eq!(late.read_text(), "* You are Ben. Here: Ann");
}

#[test]
fn websock_has_its_page_on_another_port() {
    let mut demo = Demo::start_on(&["127.0.0.1:0", "127.0.0.1:0"], "websock", "/");
    let page = demo.said("the page is on http://", "/");
    assert_ne!(page, demo.host);
    has_its_page(&page, "<title>Websock");
    let mut client = demo.client("/");
    for _ in 0..3 {
        client.text("*");
        assert_eq!(client.read_text(), "*");
    }
}

fn told(client: &mut Client) -> serde_json::Value {
    serde_json::from_str(&client.read_text()).unwrap()
}

/// Reads up to the state with this version, and returns it and how many came before it.
fn state_of(client: &mut Client, version: u64) -> (serde_json::Value, usize) {
    for before in 0.. {
        let state = told(client);
        if state["version"] == version {
            return (state, before);
        }
    }
    unreachable!()
}

#[test]
fn sync_keeps_one_state() {
    let demo = Demo::start("sync", "/sync");
    let (mut one, mut two) = (demo.client("/sync"), demo.client("/sync"));
    for (client, you) in [(&mut one, 1), (&mut two, 2)] {
        assert_eq!(told(client), serde_json::json!({ "you": you }));
        let state = told(client);
        assert_eq!((&state["version"], &state["playing"]), (&0.into(), &false.into()));
    }
    // Both at once: whichever came last, both are told the same.
    one.text("volume 10");
    two.text("volume 90");
    let (first, second) = (state_of(&mut one, 2).0, state_of(&mut two, 2).0);
    assert_eq!((&first["volume"], &first["by"]), (&second["volume"], &second["by"]));
    // Who makes changes is told how many were made, before the state that has them.
    one.text("position 12.5");
    assert_eq!(told(&mut one), serde_json::json!({ "made": 2 }));
    assert_eq!(told(&mut one)["version"], 3);
    let start = Instant::now();
    one.text("play");
    assert_eq!(state_of(&mut two, 4).0["playing"], true);
    std::thread::sleep(Duration::from_millis(300));
    let mut late = demo.client("/sync");
    assert_eq!(told(&mut late)["you"], 3);
    let position = told(&mut late)["position"].as_f64().unwrap();
    let most = 12.5 + start.elapsed().as_secs_f64() + 0.1;
    assert!((12.8..most).contains(&position), "{position}, at most {most}");
    // Nonsense ends the connection it came by, and changes nothing.
    two.text("volume 101");
    assert_eq!(two.read_close().0, 1008);
    late.text("pause");
    assert_eq!(state_of(&mut late, 5).0["by"], 3);
}

#[test]
fn sync_tells_of_many_changes_at_once() {
    const CHANGES: u64 = 5_000;
    let demo = Demo::start("sync", "/sync");
    let (mut hasty, mut bystander) = (demo.client("/sync"), demo.client("/sync"));
    let play = hasty.text_bytes("play");
    hasty.send(&play.repeat(CHANGES as usize));
    let (_, before) = state_of(&mut bystander, CHANGES);
    assert!(before < 200, "{before} messages for {CHANGES} changes");
    let (_, before) = state_of(&mut hasty, CHANGES);
    assert!(before < 400, "{before} messages for {CHANGES} changes");
}

#[test]
fn stocks_answers_and_pushes() {
    let demo = Demo::start("stocks", "/stocks");
    let quotes = |text: &str| -> serde_json::Value {
        let quotes: serde_json::Value = serde_json::from_str(text).unwrap();
        quotes["quotes"].clone()
    };
    let pushed = quotes(&demo.client("/stocks").read_text());
    let polled = get(demo.host.parse().unwrap(), "/quote", "");
    assert_eq!(quotes(polled.text()).as_array().map(Vec::len), pushed.as_array().map(Vec::len));
    has_its_page(&demo.host, "<title>Stocks");
}

#[test]
fn monitor_watches_itself() {
    let demo = Demo::start("monitor", "/stats");
    let mut other = demo.client("/anywhere");
    other.text("busy");
    assert_eq!(other.read_text(), "busy");
    let report: serde_json::Value =
        serde_json::from_str(&demo.client("/stats").read_text()).unwrap();
    assert!(report["open"].is_array() && report["uptime"].is_number(), "{report}");
    has_its_page(&demo.host, "<title>Monitor");
}
