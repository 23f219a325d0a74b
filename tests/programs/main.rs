//! Servers in this process that start programs: what these are told and say, every way they end, and what
//! becomes of those that they have started themselves. They are small scripts of the shell.

#![allow(dead_code, reason = "not all is needed of what the others share")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/recorder.rs"]
mod recorder;
#[path = "../common/serving.rs"]
mod serving;
#[path = "../common/sourced.rs"]
mod sourced;
#[path = "../common/turning.rs"]
mod turning;

use std::fs;
use std::io::Write;
use std::time::Duration;

use common::*;
use serving::*;
use sourced::*;
use turning::*;
use wsloop::handlers::{Each, Shared};
use wsloop::{Config, SendStatus, Server, Source, SourceId, Version};

/// Times that are soon over, for what a program does not do.
fn hasty() -> Config {
    config(|config| {
        config.program_grace = Duration::from_millis(50);
        config.close_timeout = Duration::from_millis(50);
    })
}

fn line(text: &str) -> Said {
    Said::Line(text.to_string())
}

fn end(text: &str) -> Said {
    Said::End(text.to_string())
}

/// The next line that a program says, as the number of a process.
fn process(server: &mut Server, said: &std::sync::mpsc::Receiver<Said>) -> u32 {
    let Said::Line(line) = next(server, said) else { panic!("it says nothing") };
    line.parse().unwrap()
}

/// Whether this process has ended, be it waited for or not.
fn has_ended(process: u32) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']),
        Err(_) => true,
    }
}

/// Whether it is there, if only to be waited for.
fn is_known(process: u32) -> bool {
    fs::exists(format!("/proc/{process}")).unwrap()
}

fn turn_until_ended(server: &mut Server, processes: &[u32]) {
    turn_until(server, "the end of a process", |_| {
        processes.iter().all(|process| has_ended(*process)).then_some(())
    });
}

fn close(server: &mut Server, id: SourceId) {
    server.context("/").unwrap().close_source(id);
}

#[test]
fn lines_go_both_ways_and_the_end_of_the_input_is_an_end() {
    let (mut server, said) = server(Config::default());
    let script = "echo ready; while read -r line; do echo \"<$line>\"; done; printf bye";
    let id = open(&mut server, &Source::program(script));
    // It is started in the next turn, and is told then.
    assert_eq!(tell(&mut server, id, "one"), SendStatus::Queued);
    assert_eq!(server.poll_timeout(), Some(Duration::ZERO), "a loop around it has to turn");
    assert_eq!(next(&mut server, &said), line("ready"));
    assert_eq!(next(&mut server, &said), line("<one>"));
    assert_eq!(tell(&mut server, id, "two"), SendStatus::Queued);
    assert_eq!(next(&mut server, &said), line("<two>"));
    server.context("/").unwrap().end_source(id);
    assert!(!server.context("/").unwrap().is_source_open(id));
    assert_eq!(next(&mut server, &said), line("bye"));
    assert_eq!(next(&mut server, &said), end("it has ended"));
}

#[test]
fn how_it_ends_is_told() {
    let (mut server, said) = server(Config::default());
    for (script, why) in [
        ("exit 0", "it has ended"),
        ("exit 3", "it has ended with exit code 3"),
        ("kill -9 $$", "it was ended by signal 9"),
        ("/no/such/program 2>&-", "it has ended with exit code 127"),
    ] {
        open(&mut server, &Source::program(script));
        assert_eq!(next(&mut server, &said), end(why), "{script}");
    }
    // Nothing is started, and nothing can be.
    let broken = Source::program("true").env("NAME", "a\0b");
    open(&mut server, &broken);
    let Said::End(why) = next(&mut server, &said) else { panic!("it has not ended") };
    assert!(why.starts_with("it cannot be reached: "), "{why}");
}

#[test]
fn all_that_it_says_comes_before_its_end() {
    let (mut server, said) = server(Config::default());
    let script = "head -c 3000000 /dev/zero; printf end";
    open(&mut server, &Source::program(script).bytes());
    let (bytes, why) = rest(&mut server, &said);
    assert_eq!((bytes.len(), why.as_str()), (3_000_003, "it has ended"));
    assert!(bytes.ends_with(b"\0end"));
}

#[test]
fn its_environment_is_what_it_is_given() {
    let (mut server, said) = server(Config::default());
    let script =
        "env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo \"$A, $PYTHONUNBUFFERED\"; ulimit -n";
    let source = Source::program(script).env("A", "a b").open_files(77);
    // Elsewhere it has no effect.
    assert_eq!(Source::device("/dev/null").env("A", "").open_files(1), Source::device("/dev/null"));
    open(&mut server, &source);
    let Said::Line(names) = next(&mut server, &said) else { panic!("no names") };
    for name in names.split_whitespace() {
        // The shell sets some itself.
        let known =
            ["A", "HOME", "LANG", "OLDPWD", "PATH", "PWD", "PYTHONUNBUFFERED", "SHLVL", "TZ", "_"];
        assert!(known.contains(&name), "{name} in {names}");
    }
    assert!(names.contains("PATH"), "{names}");
    assert_eq!(next(&mut server, &said), line("a b, 1"));
    assert_eq!(next(&mut server, &said), line("77"));
}

#[test]
fn who_is_closed_has_its_input_ended_and_time_to_go() {
    let (mut server, said) = server(Config::default());
    let scratch = Scratch::new();
    let file = scratch.join("last");
    // What it says then is not read, however much it is.
    let script = format!(
        "echo $$; cat >'{0}.new'; head -c 10000 /dev/zero; mv '{0}.new' '{0}'",
        file.display()
    );
    let id = open(&mut server, &Source::program(script));
    let shell = process(&mut server, &said);
    tell(&mut server, id, "written");
    close(&mut server, id);
    assert_eq!(next(&mut server, &said), end("it has ended"));
    turn_until(&mut server, "the last word", |_| fs::read_to_string(&file).ok());
    assert_eq!(fs::read_to_string(&file).unwrap(), "written\n");
    turn_until(&mut server, "the end", |_| (!is_known(shell)).then_some(()));
}

#[test]
fn who_does_not_go_is_sent_signals_and_all_its_group() {
    // Grandchildren have to go as well, and those who ignore the first signal.
    for ignores in ["", "trap '' TERM; "] {
        let (mut server, said) = server(hasty());
        let script = format!("{ignores}sleep 1000 & echo $!; echo $$; wait; sleep 1000");
        let id = open(&mut server, &Source::program(script));
        let (child, shell) = (process(&mut server, &said), process(&mut server, &said));
        assert!(!has_ended(child) && !has_ended(shell));
        close(&mut server, id);
        assert_eq!(next(&mut server, &said), end("it has ended"));
        turn_until_ended(&mut server, &[child, shell]);
        turn_until(&mut server, "the wait for it", |_| (!is_known(shell)).then_some(()));
    }
}

#[test]
fn whom_it_leaves_behind_is_ended_too() {
    for ignores in ["", "trap '' TERM; "] {
        let (mut server, said) = server(hasty());
        let script = format!("{ignores}sleep 1000 & echo $!");
        open(&mut server, &Source::program(script));
        let child = process(&mut server, &said);
        // Though its child holds its output.
        assert_eq!(next(&mut server, &said), end("it has ended"));
        turn_until_ended(&mut server, &[child]);
    }
}

#[test]
fn who_ends_its_output_alone_is_told_no_more() {
    let (mut server, said) = server(hasty());
    let scratch = Scratch::new();
    let file = scratch.join("told");
    let script = format!(
        "printf last; exec >&-; cat >'{0}.new'; mv '{0}.new' '{0}'; exit 7",
        file.display()
    );
    let id = open(&mut server, &Source::program(script));
    tell(&mut server, id, "before");
    assert_eq!(next(&mut server, &said), line("last"));
    assert_eq!(next(&mut server, &said), end("it has ended with exit code 7"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "before\n");
    // One that does not go by itself.
    open(&mut server, &Source::program("echo $$; exec >&-; exec sleep 1000"));
    let process = process(&mut server, &said);
    assert_eq!(next(&mut server, &said), end("it failed: not done in time"));
    turn_until_ended(&mut server, &[process]);
}

#[test]
fn who_takes_nothing_is_given_up() {
    let (mut server, said) = server(config(|config| {
        config.stall_timeout = Some(Duration::from_millis(100));
        config.program_grace = Duration::from_millis(50);
    }));
    let id = open(&mut server, &Source::program("echo $$; exec sleep 1000"));
    let process = process(&mut server, &said);
    tell(&mut server, id, &vec![b'x'; 1 << 20][..]);
    assert_eq!(next(&mut server, &said), end("it takes nothing"));
    turn_until_ended(&mut server, &[process]);
}

#[test]
fn a_flood_is_held_back_and_ended() {
    let (mut server, said) = server_doing(hasty(), |ws, id, _| ws.pause_source(id));
    let id = open(&mut server, &Source::program("echo $$; exec yes"));
    let process = process(&mut server, &said);
    turn_while_busy(&mut server);
    assert_eq!(said.try_recv().ok(), None, "it is paused");
    close(&mut server, id);
    assert_eq!(next(&mut server, &said), end("it has ended"));
    turn_until_ended(&mut server, &[process]);
}

#[test]
fn a_stop_waits_until_all_have_ended() {
    let (mut server, said) = server(hasty());
    open(&mut server, &Source::program("trap '' TERM; echo $$; while :; do sleep 1000; done"));
    let stubborn = process(&mut server, &said);
    open(&mut server, &Source::program("echo $$; exec cat"));
    let mild = process(&mut server, &said);
    // One that is not started yet never is.
    open(&mut server, &Source::program("echo started"));
    server.stop();
    for _ in 0..3 {
        assert_eq!(next(&mut server, &said), end("the server stops"));
    }
    turn_until(&mut server, "the stop", |server| server.is_stopped().then_some(()));
    assert!(!is_known(stubborn) && !is_known(mild));
    assert!(said.try_recv().is_err());
}

#[test]
fn a_server_that_goes_takes_its_programs_along() {
    let (mut server, said) = server(Config::default());
    open(&mut server, &Source::program("trap '' TERM; sleep 1000 & echo $!; echo $$; wait; wait"));
    let (child, shell) = (process(&mut server, &said), process(&mut server, &said));
    drop(server);
    assert!(!is_known(shell));
    let mut other = listening(Config::default());
    turn_until_ended(&mut other, &[child]);
}

#[test]
fn many_at_once_are_started_a_few_in_a_turn_and_no_more_than_may() {
    let (mut server, said) = server(config(|config| config.max_programs = 20));
    for _ in 0..20 {
        open(&mut server, &Source::program("read -r line; echo \"$line\""));
    }
    let more = Source::program("true");
    assert!(!server.context("/").unwrap().has_room_for(&more));
    let error = server.context("/").unwrap().open(&more).unwrap_err();
    assert_eq!(error.to_string(), "20 programs run, and no more may");
    // Other sources are not counted with them.
    assert!(server.context("/").unwrap().has_room_for(&Source::unix("/nowhere")));
    server.turn(Some(Duration::ZERO)).unwrap();
    let running = children();
    assert!(running <= 8, "{running}");
    turn_while_busy(&mut server);
    server.stop();
    for _ in 0..20 {
        assert_eq!(next(&mut server, &said), end("the server stops"));
    }
    turn_until(&mut server, "the stop", |server| server.is_stopped().then_some(()));
}

/// How many children this process's thread has.
fn children() -> usize {
    let path = "/proc/thread-self/children";
    fs::read_to_string(path).unwrap().split_whitespace().count()
}

/// A client on `/` of a server that bridges each to a program.
fn bridged(config: Config, script: &str) -> (Running, Client) {
    let each = Each::new(Source::program(script));
    let running = serve(config, move |server| server.route("/", each));
    let client = Client::open(running.addr, Version::Rfc6455, "/");
    (running, client)
}

#[test]
fn the_end_of_a_program_closes_its_client_and_says_why() {
    for (script, code, reason) in [
        ("echo hello", 1000, ""),
        ("echo hello; exit 3", 1011, "it has ended with exit code 3"),
        ("echo hello; kill -TERM $$", 1011, "it was ended by signal 15"),
    ] {
        let (running, mut client) = bridged(Config::default(), script);
        assert_eq!(client.read_text(), "hello");
        assert_eq!(client.read_close(), (code, reason.to_string()));
        drop(client);
        running.stop();
    }
}

#[test]
fn what_is_said_to_a_program_that_is_about_to_end_is_dropped() {
    // Its output has ended, and it goes on until it is closed.
    let script = "echo ready; exec >&-; exec sleep 1000";
    let (running, mut client) = bridged(hasty(), script);
    assert_eq!(client.read_text(), "ready");
    while client.has_nothing() {
        client.text("nobody reads this");
    }
    let why = "it failed: not done in time".to_string();
    assert_eq!(client.read_close(), (1011, why));
    running.stop();
}

#[test]
fn a_program_sees_the_request() {
    let script = "for name in REQUEST_METHOD REQUEST_URI SCRIPT_NAME PATH_INFO QUERY_STRING SERVER_NAME \
        SERVER_PROTOCOL GATEWAY_INTERFACE REMOTE_ADDR HTTP_COOKIE HTTP_X_A HTTP_PROXY HTTP_X_B HTTPS; do \
        eval \"echo $name=\\$$name\"; done; echo $SERVER_PORT $REMOTE_PORT; exec cat";
    let each = Each::new(Source::program(script));
    let running = serve(Config::default(), move |server| server.route("/a b", each));
    let mut client = Client::connect(running.addr);
    let fields = "Cookie: a=b\r\nCookie: c=d\r\nX-A: 1\r\nx-a: $(id)\r\nProxy: evil\r\nX_B: c\r\n";
    client.send(&request(Version::Rfc6455, "/a%20b?x=1&y=%20", fields));
    client.read_answer();
    let mut expected = vec![
        "REQUEST_METHOD=GET",
        "REQUEST_URI=/a%20b?x=1&y=%20",
        "SCRIPT_NAME=/a%20b",
        "PATH_INFO=",
        "QUERY_STRING=x=1&y=%20",
        "SERVER_NAME=localhost",
        "SERVER_PROTOCOL=HTTP/1.1",
        "GATEWAY_INTERFACE=CGI/1.1",
        "REMOTE_ADDR=127.0.0.1",
        "HTTP_COOKIE=a=b; c=d",
        "HTTP_X_A=1, $(id)",
        "HTTP_PROXY=",
        "HTTP_X_B=",
        "HTTPS=",
    ];
    let ports = format!("80 {}", client.stream.local_addr().unwrap().port());
    expected.push(&ports);
    for expected in expected {
        assert_eq!(client.read_text(), expected);
    }
    client.close(1000, "");
    running.stop();
}

#[test]
fn who_comes_while_there_are_enough_programs_is_asked_to_come_again() {
    let few = config(|config| config.max_programs = 1);
    let (running, first) = bridged(few, "exec cat");
    let mut second = Client::connect(running.addr);
    second.ask(Version::Rfc6455, "/");
    let answer = second.read_head();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After: 1"), "{answer}");
    drop(first);
    running.stop();
}

#[test]
fn both_directions_are_complete_however_slow_the_client_is() {
    const FRAME: usize = 50_000;
    const FRAMES: usize = 200;
    let each = Each::new(Source::program("exec cat").bytes());
    let running = serve(Config::default(), move |server| server.route("/", each));
    let mut client = Client::open(running.addr, Version::Rfc6455, "/");
    let mut writer = client.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for number in 0..FRAMES {
            writer.write_all(&masked(0x82, &vec![number as u8; FRAME])).unwrap();
        }
    });
    let mut count = 0;
    while count < FRAME * FRAMES {
        let (first, payload) = client.read_frame();
        assert_eq!(first, 0x82);
        for byte in payload {
            assert_eq!(byte, (count / FRAME) as u8);
            count += 1;
        }
    }
    writing.join().unwrap();
    client.close(1000, "");
    running.stop();
}

#[test]
fn a_shared_program_is_started_again_when_it_ends() {
    let scratch = Scratch::new();
    let count = scratch.join("count");
    let script = format!("echo x >>'{0}'; wc -l <'{0}'; read -r line; exit 5", count.display());
    let shared = Shared::new(Source::program(script));
    let running = serve(hasty(), move |server| server.route("/", shared));
    let mut first = Client::open(running.addr, Version::Rfc6455, "/");
    // It may have said its first line before the client came.
    first.text("end");
    let close = loop {
        match first.read_frame() {
            (0x81, _) => {}
            (0x88, payload) => break payload,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(&close[2..], b"it has ended with exit code 5");
    assert_eq!(u16::from_be_bytes([close[0], close[1]]), 1013);
    // Until then it is away.
    let mut again = loop {
        let mut client = Client::connect(running.addr);
        client.ask(Version::Rfc6455, "/");
        if client.read_head().starts_with("HTTP/1.1 101 ") {
            break client;
        }
    };
    again.text("end");
    running.stop();
    assert!(fs::read_to_string(&count).unwrap().len() >= 4);
}

#[test]
fn a_shared_program_need_not_read() {
    let config = config(|config| {
        config.stall_timeout = Some(Duration::from_millis(1));
        config.max_backlog = 200_000;
    });
    let shared =
        Shared::new(Source::program("echo ready; sleep 0.2; echo still there; exec sleep 1000"));
    let running = serve(config, move |server| server.route("/", shared));
    let mut client = Client::open(running.addr, Version::Rfc6455, "/");
    // More than its pipe takes, and than may wait for it.
    for _ in 0..10 {
        client.text(&"x".repeat(60_000));
    }
    while client.read_text() != "still there" {}
    client.send(&masked(0x89, b"and so are we"));
    assert_eq!(client.read_frame(), (0x8a, b"and so are we".to_vec()));
    running.stop();
}
