//! Sources of lines: what their handler is told, and what they are.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::common::*;
use crate::serving::*;
use crate::turning::*;
use wsloop::handlers::Mirror;
use wsloop::{Config, Context, Handler, ListenAddr, Message, Server, SourceEnd, SourceId, Version};

/// What a handler of lines is called for.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Line(String),
    End,
}

/// A handler of lines, and its record.
pub fn lines<J>(judge: J) -> (Lines<J>, Receiver<Said>)
where
    J: FnMut(&str) -> Result<(), String> + Send + 'static,
{
    let (log, said) = channel();
    (Lines { log, judge }, said)
}

pub struct Lines<J> {
    log: Sender<Said>,
    judge: J,
}

impl<J: FnMut(&str) -> Result<(), String>> Handler for Lines<J> {
    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

    fn on_line(&mut self, _: &mut Context<'_>, _: SourceId, line: &str) -> Result<(), String> {
        // A test that has ended reads no more.
        let _ = self.log.send(Said::Line(line.to_string()));
        (self.judge)(line)
    }

    fn on_source_end(&mut self, _: &mut Context<'_>, _: SourceId, _: SourceEnd<'_>) {
        let _ = self.log.send(Said::End);
    }
}

/// Listens for sources.
pub fn feed(server: &mut Server, path: &str) -> SocketAddr {
    match server.feed("127.0.0.1:0", path).unwrap() {
        ListenAddr::Tcp(addr) => addr,
        other => panic!("{other} is no TCP address"),
    }
}

fn server(
    config: Config,
    judge: impl FnMut(&str) -> Result<(), String> + Send + 'static,
) -> (Server, SocketAddr, Receiver<Said>) {
    let (lines, said) = lines(judge);
    let mut server = listening(config);
    server.route("/mirror", Mirror);
    server.route("/lines", lines);
    let addr = feed(&mut server, "/lines");
    (server, addr, said)
}

fn next(server: &mut Server, said: &Receiver<Said>) -> Said {
    turn_until(server, "a call", |_| said.try_recv().ok())
}

fn line(text: &str) -> Said {
    Said::Line(text.to_string())
}

#[test]
fn a_line_in_two_pieces_and_then_the_end_is_handed_over_once() {
    let (mut server, addr, said) = server(Config::default(), |_| Ok(()));
    let mut source = Client::connect(addr);
    source.send(b"on");
    turn_until(&mut server, "a piece", |server| (server.stats().bytes_in == 2).then_some(()));
    source.send(b"e\n");
    assert_eq!(next(&mut server, &said), line("one"));
    source.end();
    assert_eq!(next(&mut server, &said), Said::End);
    assert_eq!(source.read_to_end(), b"");
}

#[test]
fn a_wrong_last_line_without_an_end_is_answered() {
    let judge = |line: &str| if line == "four" { Err("no number".to_string()) } else { Ok(()) };
    let (mut server, addr, said) = server(Config::default(), judge);
    let mut source = Client::connect(addr);
    source.send(b"1\nfour");
    source.end();
    assert_eq!([0; 3].map(|_| next(&mut server, &said)), [line("1"), line("four"), Said::End]);
    turn_while_busy(&mut server);
    assert_eq!(source.read_to_end(), b"error: line 2: no number\n");
}

#[test]
fn a_source_more_than_there_may_be_connections_is_closed() {
    let (mut server, addr, said) = server(config(|c| c.max_connections = Some(1)), |_| Ok(()));
    let mut client = Client::connect(tcp_addr(&server));
    client.ask(Version::Rfc6455, "/mirror");
    turn_until(&mut server, "an answer", |_| (!client.has_nothing()).then_some(()));
    client.read_answer();
    let mut refused = Client::connect(addr);
    turn_until(&mut server, "the end", |_| (!refused.has_nothing()).then_some(()));
    assert_eq!(refused.read_to_end(), b"");
    client.close(1000, "");
    turn_until(&mut server, "the goodbye", |_| (!client.has_nothing()).then_some(()));
    assert_eq!(client.read_close().0, 1000);
    // There is room again.
    let mut source = Client::connect(addr);
    source.send(b"heard\n");
    assert_eq!(next(&mut server, &said), line("heard"));
}

/// A web page can have a browser send this to any port, and what it likes in the body.
#[test]
fn a_page_cannot_write_to_a_feed() {
    let (mut server, addr, said) = server(Config::default(), |_| Ok(()));
    for begin in
        ["POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\u{16}\u{3}\u{1}\0", "PROXY UNKNOWN\r\n"]
    {
        let mut page = Client::connect(addr);
        page.send(format!("{begin}1 666\n").as_bytes());
        turn_until(&mut server, "an answer", |_| (!page.has_nothing()).then_some(()));
        let answer = String::from_utf8(page.read_to_end()).unwrap();
        assert!(answer.starts_with("error: line 1: lines of text are read here"), "{answer}");
        page.send(b"2 666\n");
        page.end();
        assert_eq!(next(&mut server, &said), Said::End, "{begin:?}");
        turn_while_busy(&mut server);
    }
    // Nothing was said but the ends, and a source of lines is heard.
    let mut source = Client::connect(addr);
    source.send(b"1 2\n");
    assert_eq!(next(&mut server, &said), line("1 2"));
    let cut = server.stats().cut;
    assert_eq!(cut, [("speaks another protocol to a feed", 3)]);
}

/// Answers wait up to 64 KiB, and behind that none is queued; more than any kernel takes is due.
#[test]
fn a_source_that_does_not_read_what_it_is_answered_takes_bounded_memory() {
    const LIMIT: u64 = 64 * 1024;
    const WHY: usize = 2000;
    let (mut server, _, said) = server(Config::default(), |_| Err("y".repeat(WHY)));
    let scratch = Scratch::new();
    let path = scratch.join("socket");
    server.feed(&format!("unix:{}", path.display()), "/lines").unwrap();
    let mut source = UnixStream::connect(&path).unwrap();
    let mut sent = 0;
    let mut be_wrong = |server: &mut Server, count: usize| {
        (&source).write_all("wrong\n".repeat(count).as_bytes()).unwrap();
        for _ in 0..count {
            assert_eq!(next(server, &said), line("wrong"));
        }
        let waiting = server.stats().backlog;
        assert!(waiting < LIMIT + 2 * WHY as u64, "{waiting} bytes wait");
        sent += count;
        waiting
    };
    while be_wrong(&mut server, 10) < LIMIT {}
    be_wrong(&mut server, 3000);
    // The others are served meanwhile.
    let mut client = Client::connect(tcp_addr(&server));
    client.ask(Version::Rfc6455, "/mirror");
    client.text("hello");
    turn_until(&mut server, "an answer", |_| (!client.has_nothing()).then_some(()));
    client.read_answer();
    turn_until(&mut server, "an echo", |_| (!client.has_nothing()).then_some(()));
    assert_eq!(client.read_text(), "hello");
    // Once it reads, it gets whole answers to the first of them, and is answered on.
    source.set_nonblocking(true).unwrap();
    let mut answers = BufReader::new(source.try_clone().unwrap());
    let (mut answer, mut numbers) = (String::new(), Vec::new());
    let mut read = || {
        while answers.read_line(&mut answer).is_ok() {
            let said = answer.strip_prefix("error: line ").unwrap();
            let (number, why) = said.split_once(": ").unwrap();
            assert_eq!(why.len(), WHY + 1);
            numbers.push(number.parse::<usize>().unwrap());
            answer.clear();
        }
        numbers.last().copied()
    };
    turn_until(&mut server, "room", |server| {
        read();
        (server.stats().backlog == 0).then_some(())
    });
    source.write_all(b"wrong again\n").unwrap();
    turn_until(&mut server, "the last answer", |_| read().filter(|last| *last == sent + 1));
    let first: Vec<usize> = (1..numbers.len()).collect();
    assert_eq!(numbers.split_last().unwrap(), (&(sent + 1), &first[..]));
    assert!(first.len() < sent - 2900, "{} of {sent} were answered", first.len());
}
