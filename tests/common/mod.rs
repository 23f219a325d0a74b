//! What the integration tests share: servers that stop when dropped, a client that speaks all five
//! versions byte by byte, and a handler that tells what it was called for.
//!
//! Nothing here sleeps to let something happen: tests wait for an event or a byte. The timeouts
//! are only there so that a test that would hang fails instead.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

mod client;
mod program;
mod recorder;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use client::{
    Client, HYBI, Reply, VERSIONS, masked, masked_close, read_head, request, server_frame,
};
pub use program::{Program, Scratch};
pub use recorder::{Event, Log, Recorder, What, only, record, record_with};
use wsloop::{Config, ConnId, ListenAddr, Remote, Server, Version};

/// How long a test waits for what must come: far longer than it takes on any machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a thread of its own. Dropping it stops it, and fails the test if it panicked, met
/// an error or does not end.
pub struct Running {
    pub addr: SocketAddr,
    pub remote: Remote,
    thread: Option<JoinHandle<()>>,
    alive: Receiver<()>,
}

/// Starts a server with these limits; `mount` adds its routes.
pub fn serve(config: Config, mount: impl FnOnce(&mut Server) + Send + 'static) -> Running {
    let (ready, started) = channel();
    let (living, alive) = channel();
    let thread = thread::spawn(move || {
        let _living = living;
        let mut server = listening(config);
        mount(&mut server);
        ready.send((tcp_addr(&server), server.remote())).unwrap();
        server.run().unwrap();
    });
    let (addr, remote) = started.recv_timeout(PATIENCE).expect("the server starts");
    Running { addr, remote, thread: Some(thread), alive }
}

impl Running {
    /// Stops the server and waits for its end.
    pub fn stop(self) {}
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.stop();
        // Nothing is ever sent: the thread's end disconnects the channel.
        let ended = self.alive.recv_timeout(2 * PATIENCE) == Err(RecvTimeoutError::Disconnected);
        if thread::panicking() {
            return;
        }
        assert!(ended, "the server does not stop");
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A server to be turned by hand, on a port that the system chose.
pub fn listening(config: Config) -> Server {
    let mut server = Server::new(config).unwrap();
    server.listen("127.0.0.1:0").unwrap();
    server
}

pub fn tcp_addr(server: &Server) -> SocketAddr {
    match server.local_addr().unwrap() {
        ListenAddr::Tcp(addr) | ListenAddr::Tls(addr) => addr,
        ListenAddr::Unix(path) => panic!("{path:?} is no TCP address"),
    }
}

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

/// Default limits, changed.
pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// Lets time pass, for a deadline to be over; never to let something happen.
pub fn let_pass(time: Duration) {
    thread::sleep(time);
}
