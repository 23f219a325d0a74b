//! Where a server listens, for clients and for sources of lines, and the sockets it adopts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use mio::Token;

use super::accept::{Purpose, watch};
use super::{LISTENERS, MAX_LISTENERS, Server};
use crate::ids::RouteId;
use crate::net::listener::{ListenAddr, Listener};
use crate::net::stream::{Socket, Stream};

impl Server {
    /// Listens on one more address: `127.0.0.1:8080`, `8080`, which is the same, `[::1]:8080`,
    /// `localhost:8080` (the first address of that name that is free) or `unix:/path`. Port 0 lets the
    /// system choose; the result tells which. A Unix socket that a dead server left behind is replaced.
    ///
    /// TLS is spoken on TCP if the server has a certificate ([`Config::tls`](crate::Config)). An
    /// address may also say so itself: `wss://0.0.0.0:443`, and `ws://0.0.0.0:80` for a plain one
    /// beside it.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if another server listens there,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for `wss://` without a certificate, an error
    /// if there are 256 listeners already or the server is stopping, and any error of the system.
    pub fn listen(&mut self, addr: &str) -> io::Result<ListenAddr> {
        let certified = self.dispatcher.peers.config.tls.is_some();
        let (addr, secure) = match (addr.strip_prefix("ws://"), addr.strip_prefix("wss://")) {
            (Some(plain), _) => (plain, false),
            (_, Some(secure)) => (secure, true),
            _ => (addr, certified),
        };
        if secure && !certified {
            let missing = "TLS needs a certificate";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, missing));
        }
        let mut listener = Listener::bind(addr)?;
        if secure {
            listener.secure();
        }
        self.add_listener(listener, Purpose::Clients)
    }

    /// Listens on one more address for sources of lines, such as `nc` or a sensor. Each line of
    /// theirs is handed to the handler of a route, named as it was added
    /// ([`on_line`](crate::Handler::on_line)). Lines end in LF or CR LF and have 64 KiB at most; a
    /// source is told which of its lines was wrong.
    ///
    /// Whoever can connect there may write: a source is not asked who it is. One that begins with a
    /// line of HTTP, TLS or the PROXY protocol is cut, and nothing of it is handed over, since any web
    /// page can have its reader's browser send a request to an address of this machine.
    ///
    /// # Errors
    /// As [`listen`](Server::listen); [`NotFound`](io::ErrorKind::NotFound) if there is no such
    /// route.
    pub fn feed(&mut self, addr: &str, path: &str) -> io::Result<ListenAddr> {
        let route = self.named_route(path)?;
        self.add_listener(Listener::bind(addr)?, Purpose::Feed(route))
    }

    /// Hands the lines of standard input to the handler of a route. When the input ends, the server
    /// goes on.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such route, and any error of the system
    /// if standard input cannot be watched.
    pub fn feed_stdin(&mut self, path: &str) -> io::Result<()> {
        let route = self.named_route(path)?;
        let peers = &mut self.dispatcher.peers;
        let stdin = watch(self.poll.registry(), peers, Stream::plain(Socket::Stdin))?;
        peers.admit_source(stdin, None, route);
        self.set_alarm();
        Ok(())
    }

    /// Listens on a socket that listens already: one that systemd or a parent process hands down,
    /// or whose options the program has set. TCP or Unix, a stream. It is made non-blocking, also
    /// for others that share it; the path of a Unix socket is not removed in the end. TLS is spoken
    /// on TCP if the server has a certificate.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is no such socket; otherwise as
    /// [`listen`](Server::listen).
    pub fn listen_fd(&mut self, fd: OwnedFd) -> io::Result<ListenAddr> {
        let mut listener = Listener::from_fd(fd)?;
        if self.dispatcher.peers.config.tls.is_some() {
            listener.secure();
        }
        self.add_listener(listener, Purpose::Clients)
    }

    /// Adopts a socket that is connected to a client: TCP or Unix, a stream. `read` is what the
    /// program has read from it, the beginning of a request; it may be empty. The socket is made
    /// non-blocking, also for others that share it. If the server has a certificate, the client of
    /// a TCP socket has to speak TLS, and `read` is TLS then, too.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is no such socket; an error if the
    /// server is stopping.
    pub fn adopt(&mut self, fd: OwnedFd, read: &[u8]) -> io::Result<()> {
        if self.dispatcher.peers.is_stopping() {
            return Err(io::Error::other("the server is stopping"));
        }
        let (stream, addr) = Stream::from_fd(fd)?;
        let stream = stream.with_tls(self.dispatcher.peers.config.tls.as_ref())?;
        self.adopt_stream(stream, addr, read)
    }

    /// Adopts a client's stream; `read` was read from it already.
    pub(crate) fn adopt_stream(
        &mut self,
        stream: Stream,
        addr: Option<SocketAddr>,
        read: &[u8],
    ) -> io::Result<()> {
        let (registry, peers) = (self.poll.registry(), &mut self.dispatcher.peers);
        // The last turn may have been long ago.
        peers.clock.tick();
        self.acceptor.adopt(stream, addr, read, registry, peers)?;
        self.set_alarm();
        Ok(())
    }

    /// The address of the first listener for clients.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if there is none.
    pub fn local_addr(&self) -> io::Result<ListenAddr> {
        self.acceptor.local_addr()
    }

    fn add_listener(&mut self, listener: Listener, purpose: Purpose) -> io::Result<ListenAddr> {
        if self.dispatcher.peers.is_stopping() {
            return Err(io::Error::other("the server is stopping"));
        }
        if self.acceptor.len() >= MAX_LISTENERS {
            return Err(io::Error::other(format!("more than {MAX_LISTENERS} listeners")));
        }
        let token = Token(LISTENERS.saturating_sub(self.acceptor.len()));
        let addr = self.acceptor.add(listener, purpose, self.poll.registry(), token)?;
        self.dispatcher.is_local = self.acceptor.is_local();
        self.set_alarm();
        Ok(addr)
    }

    pub(super) fn named_route(&self, path: &str) -> io::Result<RouteId> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no route {path}"));
        self.dispatcher.routes.named(path).ok_or_else(missing)
    }
}
