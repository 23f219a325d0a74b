//! Servers that are turned by hand, so that the test decides what a turn finds.

use std::time::{Duration, Instant};

use crate::common::{Client, PATIENCE};
use crate::recorder::{Event, Log, What};
use crate::serving::tcp_addr;
use wsloop::{ConnId, Server, Version};

/// Turns until `done` has what it waits for.
pub fn turn_until<T>(
    server: &mut Server,
    waiting_for: &str,
    mut done: impl FnMut(&mut Server) -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = done(server) {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{waiting_for} never came");
        server.turn(Some(Duration::from_millis(20))).unwrap();
    }
}

impl Log {
    /// A call that was made already.
    pub fn try_next(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

/// The next call of a handler.
pub fn next_event(server: &mut Server, log: &Log) -> Event {
    turn_until(server, "a call", |_| log.try_next())
}

/// A WebSocket, open, on a server that is turned by hand.
pub fn open_by_turns(
    server: &mut Server,
    log: &Log,
    version: Version,
    path: &str,
) -> (Client, ConnId) {
    let mut client = Client::connect(tcp_addr(server));
    client.ask(version, path);
    let event = next_event(server, log);
    assert_eq!(event.what, What::Open(path.to_string()));
    client.read_answer();
    (client, event.id)
}

/// Turns while there is work at hand, and not a moment longer.
pub fn turn_while_busy(server: &mut Server) {
    while server.turn(Some(Duration::ZERO)).unwrap() > 0
        || server.poll_timeout() == Some(Duration::ZERO)
    {}
}
