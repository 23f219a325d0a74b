//! Lines from standard input: `some-sensor | wsloop --feed -=/live`.

use std::fs::File;
use std::io::{PipeWriter, Write, pipe};
use std::process::{Command, Stdio};

use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use rustix::process::Signal;
use wsloop::Version;

/// The program, which hands the lines of this to those on a path.
fn reading(stdin: impl Into<Stdio>, path: &str) -> Program {
    let feed = format!("-={path}");
    let (mut command, addrs) = (Command::new(WSLOOP), ["127.0.0.1:0"]);
    Program::start_reading(stdin.into(), &mut command, &addrs, &["--feed", &feed])
}

/// The program at the end of a pipe, the other end of it, and somebody who hears what comes through.
fn piped() -> (Program, PipeWriter, Client) {
    let (theirs, ours) = pipe().unwrap();
    let program = reading(theirs, "/live");
    let client = Client::open(program.addr(), Version::Rfc6455, "/live");
    (program, ours, client)
}

/// It is served, and ended by a signal as ever.
fn goes_on(mut program: Program) {
    Bystander::on(program.addr()).is_served();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().code(), Some(0));
}

#[test]
fn lines_of_a_pipe_go_to_everyone_on_the_path() {
    let (program, mut sensor, mut client) = piped();
    let mut other = Client::open(program.addr(), Version::Hixie76, "/live");
    for line in ["21.5", "", "21.75 degrees"] {
        sensor.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        assert_eq!((client.read_text(), other.read_text()), (line.to_string(), line.to_string()));
    }
    // Several at once, and one in pieces.
    sensor.write_all(b"1\n2\n3").unwrap();
    assert_eq!([client.read_text(), client.read_text()], ["1", "2"]);
    sensor.write_all(b"45\n").unwrap();
    assert_eq!(client.read_text(), "345");
    // More than a pipe holds, and than is read at once.
    let long: Vec<String> = (0..20).map(|n| format!("{n}").repeat(30_000)).collect();
    sensor.write_all((long.join("\n") + "\n").as_bytes()).unwrap();
    for line in long {
        assert!(client.read_text() == line);
    }
    drop(sensor);
    program.logged("source of /live ended");
    client.send(&masked(0x89, b"is anybody there?"));
    assert_eq!(client.read_frame(), (0x8a, b"is anybody there?".to_vec()));
    drop((client, other));
    goes_on(program);
}

#[test]
fn the_last_line_of_a_pipe_needs_no_end() {
    let (program, mut sensor, mut client) = piped();
    sensor.write_all(b"first\nlast").unwrap();
    assert_eq!(client.read_text(), "first");
    drop(sensor);
    assert_eq!(client.read_text(), "last");
    program.logged("source of /live ended");
    drop(client);
    goes_on(program);
}

/// There is nobody who could be answered.
#[test]
fn wrong_lines_of_a_pipe_are_logged() {
    let (program, mut sensor, mut client) = piped();
    sensor.write_all(b"right\n\xff\x1b[31m\n").unwrap();
    sensor.write_all(&[&[b'x'; 64 * 1024 + 1][..], b"\nright again\n"].concat()).unwrap();
    assert_eq!([client.read_text(), client.read_text()], ["right", "right again"]);
    assert!(program.logged("line 2").contains("feed /live: line 2: \"not UTF-8\""));
    assert!(program.logged("line 3").contains("feed /live: line 3: \"over 65536 bytes\""));
    // The handler's own judgement, of a last line too.
    let (theirs, mut sensor) = pipe().unwrap();
    let plotter = reading(theirs, "/plot");
    sensor.write_all(b"name\n1 2\nnone").unwrap();
    drop(sensor);
    assert!(plotter.logged("line 3").contains("feed /plot: line 3: \"no point: "));
    plotter.logged("source of /plot ended");
}

#[test]
fn a_request_by_a_pipe_is_logged() {
    let (theirs, mut sensor) = pipe().unwrap();
    let program = reading(theirs, "/live");
    sensor.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    program.logged("speaks HTTP");
    goes_on(program);
}

#[test]
fn a_stop_does_not_wait_for_the_end_of_a_pipe() {
    let (mut program, _sensor, mut client) = piped();
    program.signal(Signal::TERM);
    assert_eq!(client.read_close().0, 1001);
    client.close(1001, "");
    assert_eq!(program.wait().code(), Some(0));
}

/// A file is read at once: who comes later hears of it what the handler keeps.
#[test]
fn a_file_is_read_to_its_end() {
    let scratch = Scratch::new();
    // The second is more than what is read in one turn.
    for count in [2, 9000] {
        let points: Vec<String> = (0..count).map(|n| format!("{n} {n}")).collect();
        // The last line has no end.
        scratch.write("points", format!("name\n{}", points.join("\n")));
        let program = reading(File::open(scratch.join("points")).unwrap(), "/plot");
        program.logged("source of /plot ended");
        let mut page = Client::open(program.addr(), Version::Rfc6455, "/plot");
        let last = format!("[{0},{0}]", count - 1);
        // A series of many points comes in several batches.
        while !page.read_text().contains(&last) {
            page.text("");
        }
        drop(page);
        goes_on(program);
    }
}

#[test]
fn an_empty_input_has_ended_at_once() {
    let program = reading(Stdio::null(), "/live");
    program.logged("source of /live ended");
    goes_on(program);
    let (theirs, ours) = pipe().unwrap();
    drop(ours);
    let program = reading(theirs, "/live");
    program.logged("source of /live ended");
    goes_on(program);
}

#[test]
fn who_listens_to_a_feed_says_nothing_to_the_others_unless_a_route_says_so() {
    for (path, route, speaks) in [
        ("/live", None, false),
        ("/", None, false),
        ("/live", Some("/live=broadcast"), true),
        ("/echo", None, true),
    ] {
        let (theirs, mut sensor) = pipe().unwrap();
        let feed = format!("-={path}");
        let args: Vec<&str> = ["--feed", &feed]
            .into_iter()
            .chain(route.into_iter().flat_map(|route| ["--route", route]))
            .collect();
        let mut command = Command::new(WSLOOP);
        let program = Program::start_reading(theirs.into(), &mut command, &["127.0.0.1:0"], &args);
        let mut client = Client::open(program.addr(), Version::Rfc6455, path);
        client.text("I think");
        client.send(&masked(0x89, b"is it said?"));
        if speaks {
            assert!(client.read_text().ends_with("I think"), "{path}");
        }
        assert_eq!(client.read_frame(), (0x8a, b"is it said?".to_vec()), "{path}");
        sensor.write_all(b"21.5\n").unwrap();
        assert_eq!(client.read_text(), "21.5", "{path}");
    }
}
