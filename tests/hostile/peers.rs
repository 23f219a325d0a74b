//! Peers that vanish, stall or end out of turn, and a file that shrinks while one of them reads it.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use crate::recorder::*;
use crate::serving::*;
use wsloop::{Version, handlers};

const SHORT: Duration = Duration::from_millis(60);

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
    // Else its goodbye would be waited for.
    drop(bystander);
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

#[test]
fn a_file_shrinks_while_it_is_sent() {
    const SIZE: usize = 64 << 20;
    let scratch = Scratch::new();
    let file = std::fs::File::create(scratch.join("large")).unwrap();
    let program = Program::start(&["--root", scratch.to_str().unwrap()]);
    let mut bystander = Bystander::on(program.addr());
    for left in [0, 1 << 20] {
        file.set_len(SIZE as u64).unwrap();
        let mut client = Client::connect(program.addr());
        client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
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
