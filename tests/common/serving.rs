//! Servers in the process of the test.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};

use crate::common::PATIENCE;
use wsloop::{Config, ListenAddr, Remote, Server};

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

/// Default limits, changed.
pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}
