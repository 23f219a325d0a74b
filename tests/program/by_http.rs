//! `--publish`, `--last`, and events: what scripts and `curl` do with a path by plain HTTP.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::common::*;
use crate::port::*;
use crate::program::*;
use wsloop::Version;

const EVENTS: &str = "Accept: text/event-stream\r\n";

/// One who listens, and has read the head.
fn listener(addr: SocketAddr, path: &str) -> Client {
    let mut client = Client::connect(addr);
    client.send(plain_request("GET", path, EVENTS).as_bytes());
    let head = client.read_head();
    assert!(head.contains("\r\nContent-Type: text/event-stream\r\n"), "{head}");
    client
}

fn hears(client: &mut Client, events: &str) {
    assert_eq!(String::from_utf8(client.read(events.len())).unwrap(), events);
}

fn post(addr: SocketAddr, path: &str, text: &str) -> Reply {
    let fields = format!("Content-Length: {}\r\n\r\n{text}", text.len());
    Client::connect(addr).http("POST", path, &fields)
}

#[test]
fn paths_of_broadcasts_are_heard_and_others_are_not() {
    let args = ["--route", "/room=broadcast", "--route", "/broadcast=chat"];
    let program = Program::start(&args);
    for path in ["/", "/room"] {
        let mut client = listener(program.addr(), path);
        let mut speaker = Client::open(program.addr(), Version::Rfc6455, path);
        speaker.text("said");
        hears(&mut client, "data: said\n\n");
    }
    for path in ["/chat", "/mirror", "/broadcast"] {
        let reply = Client::connect(program.addr()).http("GET", path, EVENTS);
        assert_eq!(reply.status, 426, "{path}");
    }
    // Nor can anything be said, where that was not asked for.
    assert_eq!(post(program.addr(), "/", "said").status, 413);
    // And a browser gets the page.
    let accept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    assert!(Client::connect(program.addr()).http("GET", "/", accept).text().contains("<html"));
    program.logged("#1 listens: / from 127.0.0.1:");
    program.logged("#1 listens no more: / 1006");
}

#[test]
fn what_is_published_is_heard_and_the_last_of_it_by_newcomers() {
    let args = ["--publish", "/live", "--last", "/live", "--publish", "/chat"];
    let program = Program::start(&args);
    let mut early = listener(program.addr(), "/live");
    for text in ["18.5", "19.0"] {
        assert_eq!(post(program.addr(), "/live", text).status, 204);
        hears(&mut early, &format!("data: {text}\n\n"));
    }
    hears(&mut listener(program.addr(), "/live"), "data: 19.0\n\n");
    let mut socket = Client::open(program.addr(), Version::Rfc6455, "/live");
    assert_eq!(socket.read_text(), "19.0");
    // Whatever serves the path.
    let mut chat = Client::open(program.addr(), Version::Rfc6455, "/chat");
    assert_eq!(post(program.addr(), "/chat", "dinner").status, 204);
    while chat.read_text() != "dinner" {}
}

#[test]
fn the_lines_of_a_feed_are_heard() {
    let mut command = Command::new(WSLOOP);
    let (input, mut output) = std::io::pipe().unwrap();
    let args = ["--feed", "-=/live", "--last", "/live"];
    let program = Program::start_reading(input.into(), &mut command, &["127.0.0.1:0"], &args);
    let mut client = listener(program.addr(), "/live");
    output.write_all(b"one\ntwo\r\n").unwrap();
    hears(&mut client, "data: one\n\ndata: two\n\n");
    hears(&mut listener(program.addr(), "/live"), "data: two\n\n");
}

#[test]
fn what_is_published_on_a_shared_bridge_goes_to_its_source() {
    let (port, addr) = crate::port::listener();
    let target = format!("/train=shared:lines:tcp:{addr}");
    let program = Program::start(&["--bridge", &target, "--publish", "/train"]);
    let mut port = BufReader::new(accept(&port));
    port.get_mut().write_all(b"ready\n").unwrap();
    let mut client = loop {
        let mut client = Client::connect(program.addr());
        client.send(plain_request("GET", "/train", EVENTS).as_bytes());
        // It may not be known to be reached yet.
        if client.read_head().starts_with("HTTP/1.1 200 ") {
            break client;
        }
    };
    assert_eq!(post(program.addr(), "/train", "lever 3").status, 204);
    let mut line = String::new();
    port.read_line(&mut line).unwrap();
    assert_eq!(line, "lever 3\n");
    port.get_mut().write_all(b"train at 7\n").unwrap();
    let mut heard = String::new();
    while !heard.ends_with("data: train at 7\n\n") {
        heard += str::from_utf8(&client.read(1)).unwrap();
    }
}

/// `curl`, with what it says on standard output.
fn curl(args: &[&str]) -> Child {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "10", "--noproxy", "*"]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// What `curl` says when it has ended.
fn curled(args: &[&str]) -> String {
    let output = curl(args).wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of the README.
#[test]
#[ignore = "needs curl; cargo test --test program -- --ignored"]
fn curl_hears_and_says() {
    let program = Program::start(&["--publish", "/live", "--last", "/live"]);
    let url = format!("http://{}/live", program.addr());
    let mut listening = curl(&["-N", "-H", "Accept: text/event-stream", &url]);
    program.logged("#1 listens: /live from 127.0.0.1:");
    let status = ["-w", "%{http_code}", "-o", "/dev/null"];
    let said = |args: &[&str]| curled(&[&status[..], args, &[&url]].concat());
    assert_eq!(said(&["-d", "hello"]), "204");
    // As much as curl asks leave for before it sends it.
    let large = "x".repeat(2_000);
    assert_eq!(said(&["-d", &large, "-H", "Expect: 100-continue"]), "204");
    assert_eq!(said(&["--http1.0", "-d", "old"]), "204");
    assert_eq!(said(&["-H", "Content-Type: application/octet-stream", "-d", "bytes"]), "204");
    assert_eq!(said(&["-X", "PUT", "-d", "text"]), "405");
    assert_eq!(said(&["-H", "Origin: http://example.com", "-d", "text"]), "403");
    assert_eq!(said(&["-d", &"x".repeat(100_000), "-H", "Content-Length: 2000000"]), "413");
    let mut piped = curl(&[&status[..], &["--data-binary", "@-", &url]].concat());
    piped.stdin.take().unwrap().write_all(b"a\nb").unwrap();
    assert_eq!(piped.wait_with_output().unwrap().stdout, b"204");

    let mut events = BufReader::new(listening.stdout.take().unwrap()).lines();
    let expected = ["hello", "", &large, "", "old", "", "a", "b", ""];
    for text in expected {
        let line = events.next().unwrap().unwrap();
        assert_eq!(line.strip_prefix("data: ").unwrap_or(&line), text);
    }
    drop(program);
    listening.wait().unwrap();
}
