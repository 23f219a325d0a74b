//! SIGPIPE, which a write raises when its reader has gone. Whoever catches it does so for the whole
//! process.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::*;
use crate::recorder::*;
use crate::turning::*;
use signal_hook::consts::SIGPIPE;
use wsloop::Config;

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
        client.write_all(&text_message(version, b"go")).unwrap();
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
