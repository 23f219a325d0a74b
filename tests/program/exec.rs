//! `--bridge PATH=exec:COMMAND`: a program for each client, or one for all.

use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::bridges::let_in;
use crate::common::*;
use crate::program::*;
use rustix::process::Signal;
use wsloop::Version;

fn serving(bridges: &[&str]) -> Program {
    let args: Vec<&str> = bridges.iter().flat_map(|bridge| ["--bridge", bridge]).collect();
    Program::start(&args)
}

fn open(program: &Program, path: &str) -> Client {
    Client::open(program.addr(), Version::Rfc6455, path)
}

/// All texts until the close, and its code.
fn texts(client: &mut Client) -> (Vec<String>, u16) {
    let mut texts = Vec::new();
    loop {
        match client.read_frame() {
            (0x81, text) => texts.push(String::from_utf8(text).unwrap()),
            (0x88, payload) => return (texts, u16::from_be_bytes([payload[0], payload[1]])),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_page_drives_a_program_both_ways() {
    let program = serving(&["/count=exec:n=0; while read -r step; do echo $((n += step)); done"]);
    let mut client = open(&program, "/count");
    for (step, count) in [("1", "1"), ("41", "42"), ("-2", "40")] {
        client.text(step);
        assert_eq!(client.read_text(), count);
    }
    // Each client has a program of its own.
    let mut other = open(&program, "/count");
    other.text("7");
    assert_eq!(other.read_text(), "7");
    client.close(1000, "");
    assert_eq!(client.read_close(), (1000, String::new()));
    program.logged("source of /count ended");
}

/// What people start with: programs that count, greet, and show what they are given.
#[test]
fn the_first_programs_that_people_write() {
    let python = "import sys\nfor line in sys.stdin: print(\"Hello\", line.strip() + \"!\")";
    let program = serving(&[
        "/sh/count=exec:for n in 1 2 3 4 5 6 7 8 9 10; do echo $n; done",
        "/python/count=exec:python3 -c 'for n in range(1, 11): print(n)'",
        "/perl/count=exec:perl -e '$| = 1; print \"$_\\n\" for 1 .. 10'",
        "/awk/count=exec:awk 'BEGIN { for (n = 1; n <= 10; n++) print n }'",
        "/sh/greet=exec:while read -r name; do echo \"Hello $name!\"; done",
        &format!("/python/greet=exec:python3 -c '{python}'"),
        "/sh/env=exec:echo \"$REMOTE_ADDR asks for $REQUEST_URI\"; echo \"$HTTP_USER_AGENT\"",
        "/ls=exec:cd / && ls",
    ]);
    let ten: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
    for path in ["/sh/count", "/python/count", "/perl/count", "/awk/count"] {
        assert_eq!(texts(&mut open(&program, path)), (ten.clone(), 1000), "{path}");
    }
    for path in ["/sh/greet", "/python/greet"] {
        let mut client = open(&program, path);
        for name in ["Ada", "Grace"] {
            client.text(name);
            assert_eq!(client.read_text(), format!("Hello {name}!"), "{path}");
        }
    }
    let mut client = Client::connect(program.addr());
    client.send(&request(Version::Rfc6455, "/sh/env?a=b", "User-Agent: $(touch x); `y`\r\n"));
    client.read_answer();
    assert_eq!(client.read_text(), "127.0.0.1 asks for /sh/env?a=b");
    assert_eq!(client.read_text(), "$(touch x); `y`");
    assert!(texts(&mut open(&program, "/ls")).0.contains(&"etc".to_string()));
}

#[test]
fn a_log_is_followed() {
    let scratch = Scratch::new();
    scratch.write("log", "first\n");
    let file = scratch.join("log").display().to_string();
    let program = serving(&[&format!("/log=exec:tail -n +1 -f '{file}'")]);
    let mut client = open(&program, "/log");
    assert_eq!(client.read_text(), "first");
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .and_then(|mut log| std::io::Write::write_all(&mut log, b"second\n"))
        .unwrap();
    assert_eq!(client.read_text(), "second");
}

/// The names of what a process has open, or of its children.
fn listed(program: &Program, folder: &str) -> usize {
    let path = format!("/proc/{}/{folder}", program.pid.as_raw_nonzero());
    fs::read_dir(path).unwrap().count()
}

fn children(program: &Program) -> usize {
    let pid = program.pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().count()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} never came");
        std::thread::yield_now();
    }
}

#[test]
fn five_hundred_come_and_go_and_nothing_is_left_of_them() {
    let program = serving(&["/=exec:echo $$; exec cat"]);
    // Once it is in its loop.
    drop(open(&program, "/mirror"));
    let before = listed(&program, "fd");
    let mut processes = Vec::new();
    for round in 0..25 {
        let mut clients: Vec<Client> = (0..20).map(|_| open(&program, "/")).collect();
        for client in &mut clients {
            processes.push(client.read_text());
        }
        // Half of them say good-bye.
        for client in clients.iter_mut().skip(round % 2) {
            client.close(1000, "");
        }
        drop(clients);
        wait_until("the end of the programs", || children(&program) == 0);
    }
    wait_until("the end of the clients", || listed(&program, "fd") <= before);
    for process in processes {
        assert!(!fs::exists(format!("/proc/{process}")).unwrap(), "{process}");
    }
}

#[test]
fn a_stop_leaves_nobody_behind() {
    let bridges = ["/=exec:trap '' TERM; sleep 1000 & echo $! $$; while :; do wait; done"];
    let mut program = Program::start(&["--bridge", bridges[0], "--program-grace", "0.1"]);
    let mut client = open(&program, "/");
    let processes = client.read_text();
    program.signal(Signal::TERM);
    assert_eq!(client.read_close().0, 1001);
    client.close(1001, "");
    assert_eq!(program.wait().code(), Some(0));
    for process in processes.split_whitespace() {
        // Who waits for what the program has started is not our business.
        let ended = || match fs::read_to_string(format!("/proc/{process}/stat")) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        wait_until("the end of a process", ended);
    }
}

#[test]
fn there_may_be_so_many_and_the_environment_is_what_is_passed_on() {
    let scratch = Scratch::new();
    let file = scratch.join("limit").display().to_string();
    let mut command = Command::new("/bin/sh");
    let start = format!("ulimit -S -n 100; ulimit -n >'{file}'; exec \"$0\" \"$@\"");
    command.args(["-c", &start, WSLOOP]).env("SECRET", "1").env("WANTED", "a b");
    let bridge = "/=exec:echo \"$SECRET, $WANTED, $NEVER_SET\"; ulimit -S -n; exec cat";
    let args = ["--bridge", bridge, "--pass-env", "WANTED", "--pass-env", "NEVER_SET"];
    let args = [&args[..], &["--max-programs", "1"]].concat();
    let program = Program::start_by(&mut command, &["127.0.0.1:0"], &args);
    let mut client = open(&program, "/");
    assert_eq!(client.read_text(), ", a b, ");
    assert_eq!(client.read_text(), fs::read_to_string(&file).unwrap().trim());
    let mut more = Client::connect(program.addr());
    more.send(&request(Version::Rfc6455, "/", ""));
    let head = more.read_head();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: 1\r\n"), "{head}");
}

#[test]
fn every_page_may_use_a_program_only_after_a_warning() {
    let program = Program::start(&["--bridge", "/cat=exec:cat", "--origin", "*"]);
    let line = program.logged("--origin '*'");
    assert!(line.contains("exec:cat") && line.contains("/cat"), "{line}");
    // Without it no page of another host may, and nothing is to be said.
    let mut program = Program::start(&["--bridge", "/cat=exec:cat"]);
    program.signal(Signal::TERM);
    program.wait();
    assert!(!program.all_logged().iter().any(|line| line.contains("--origin")));
}

#[test]
fn one_for_all_is_started_at_once_and_again() {
    let program = serving(&["/=shared:exec:echo ready; read -r line; echo \"$line\"; exit 4"]);
    for _ in 0..2 {
        let mut client = let_in(&program);
        client.text("go");
        let (mut said, code) = texts(&mut client);
        // It may have said so before the client came.
        said.retain(|text| text != "ready");
        assert_eq!((said, code), (vec!["go".to_string()], 1013));
        program.logged("it has ended with exit code 4; it is tried again in");
    }
}

/// The demo: one train for all, whose points do not move under it.
#[test]
fn the_train_does_as_it_is_told() {
    let program = serving(&["/train=shared:exec:demo/train.py"]);
    let state = |speed: i32, second: &str, at: &str| {
        [format!("speed {speed}"), "points 1 left".into(), format!("points 2 {second}"), at.into()]
    };
    let mut driver = open(&program, "/train");
    let mut other = open(&program, "/train");
    let standing = "at 0 270.0 0.0";
    driver.text("hello");
    driver.text("points 2 left");
    for line in ["points 1 right", "points 3 left", "points", "speed fast", "speed"] {
        driver.text(line); // all of them in vain
    }
    driver.text("whistle");
    driver.text("speed 1000");
    let no = "no, that is not how a train is driven".to_string();
    let mut expected = state(0, "right", standing).to_vec();
    expected.extend(state(0, "left", standing));
    expected.push("no, points 1 do not move under a train".into());
    expected.extend([no.clone(), no.clone(), no.clone(), no, "whistle".into()]);
    expected.extend(state(100, "left", standing));
    for client in [&mut driver, &mut other] {
        let said: Vec<String> = expected.iter().map(|_| client.read_text()).collect();
        assert_eq!(said, expected);
    }
    // It gathers speed, and both see the same.
    let moving = driver.read_text();
    assert!(moving.starts_with("at 0 ") && !moving.ends_with(" 0.0"), "{moving}");
    assert_eq!(other.read_text(), moving);
    driver.text("speed 0");
    let stops = stop(&mut driver);
    assert_eq!(stop(&mut other), stops);
    driver.text("hello");
    let stands: Vec<String> = (0..4).map(|_| other.read_text()).collect();
    assert_eq!(stands, state(0, "left", &stops));
}

/// Where the train is when it has come to a stop.
fn stop(client: &mut Client) -> String {
    loop {
        let line = client.read_text();
        if line.starts_with("at ") && line.ends_with(" 0.0") {
            return line;
        }
    }
}

/// The sections that it comes through, up to the first again.
fn circuit(client: &mut Client) -> Vec<String> {
    let mut sections = Vec::new();
    while sections.len() < 5 {
        let line = client.read_text();
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "at" && sections.last().is_none_or(|last| last != words[1]) {
            sections.push(words[1].to_string());
        }
    }
    sections
}

#[test]
#[ignore = "half a minute"]
fn the_train_goes_round_both_ways() {
    let program = serving(&["/train=shared:exec:demo/train.py"]);
    let mut driver = open(&program, "/train");
    driver.text("speed 100");
    assert_eq!(circuit(&mut driver), ["0", "1", "2", "3", "0"]);
    driver.text("speed 0");
    assert!(stop(&mut driver).starts_with("at 0 "));
    driver.text("speed -100");
    assert_eq!(circuit(&mut driver), ["0", "3", "2", "1", "0"]);
}

/// The lines of README that start a server, as a shell reads them, and the targets that --help shows.
#[test]
fn the_examples_of_readme_and_help_begin_to_serve() {
    let readme = include_str!("../../README.md");
    let help = include_str!("../../src/command/help.txt");
    let lines = readme.split("```sh\n").skip(1).flat_map(|block| {
        block
            .split("```")
            .next()
            .unwrap()
            .lines()
            .filter(|line| line.starts_with("wsloop --bridge"))
    });
    let targets = help
        .lines()
        .map(str::trim)
        .filter(|line| (line.starts_with("'/") || line.starts_with('/')) && line.contains('='));
    let targets = targets.map(|target| format!("wsloop --bridge {target}"));
    let lines: Vec<String> = lines.map(str::to_string).chain(targets).collect();
    assert!(lines.len() >= 12, "{lines:?}");
    for line in lines {
        let mut shell = Command::new("/bin/sh");
        let wsloop = format!("wsloop() {{ exec '{WSLOOP}' --listen 127.0.0.1:0 \"$@\"; }}");
        shell.args(["-c", &format!("{wsloop}\n{line}")]);
        let mut program = Program::start_by(&mut shell, &["127.0.0.1:0"], &[]);
        program.signal(Signal::TERM);
        assert_eq!(program.wait().code(), Some(0), "{line}");
    }
}
