//! Where a server listens, for clients and for sources of lines, and the sockets it takes over.

use std::io;
use std::os::fd::OwnedFd;

use crate::ids::RouteId;
use crate::net::listener::{ListenAddr, Listener};
use crate::net::stream::Stream;
use crate::server::accept::Purpose;
use crate::server::{MAX_LISTENERS, Server, listener_token};

impl Server {
    /// Listens on one more address: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` (the first
    /// address of that name that can be had) or `unix:/path`. Port 0 lets the system choose; the
    /// answer tells which. A Unix socket that a dead server left behind is replaced.
    ///
    /// TLS is spoken on TCP if the server has a certificate ([`Config::tls`](crate::Config)). An
    /// address may also say so itself: `wss://0.0.0.0:443`, and `ws://0.0.0.0:80` for a plain one
    /// beside it.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if another server listens there,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for `wss://` without a certificate, and
    /// whatever else the system says.
    pub fn listen(&mut self, addr: &str) -> io::Result<ListenAddr> {
        let certified = self.engine.config.tls.is_some();
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
        self.add_port(listener, Purpose::Clients)
    }

    /// Listens on one more address for sources of lines: whatever connects there, such as `nc` or a
    /// sensor, has its lines handed to the handler of a route, named as it was added
    /// ([`on_line`](crate::Handler::on_line)). Lines end in LF or CR LF and have 64 KiB at most; a
    /// source is told which of its lines was wrong.
    ///
    /// # Errors
    /// As [`listen`](Server::listen); [`NotFound`](io::ErrorKind::NotFound) if there is no such
    /// route.
    pub fn feed(&mut self, addr: &str, path: &str) -> io::Result<ListenAddr> {
        let route = self.named_route(path)?;
        self.add_port(Listener::bind(addr)?, Purpose::Feed(route))
    }

    /// Hands the lines of standard input to the handler of a route. Where it ends, the server goes
    /// on.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such route, and what the system says
    /// if standard input cannot be watched.
    pub fn feed_stdin(&mut self, path: &str) -> io::Result<()> {
        let route = self.named_route(path)?;
        let stdin = Stream::Stdin;
        self.engine.admit_source(self.poll.registry(), stdin, None, route)?;
        self.set_alarm();
        Ok(())
    }

    /// Takes over a socket that listens already: one that systemd or a parent process hands down,
    /// or whose options the program has set. TCP or Unix, a stream. It is made non-blocking, which
    /// everybody sees who shares it; the path of a Unix socket is not removed in the end. TLS is
    /// spoken on TCP if the server has a certificate.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is no such socket.
    pub fn listen_fd(&mut self, fd: OwnedFd) -> io::Result<ListenAddr> {
        let mut listener = Listener::from_fd(fd)?;
        if self.engine.config.tls.is_some() {
            listener.secure();
        }
        self.add_port(listener, Purpose::Clients)
    }

    /// Takes over a socket that is connected to a client: TCP or Unix, a stream. `read` is what
    /// the program has read from it, the beginning of a request; there may be none. The socket
    /// is made non-blocking, which everybody sees who shares it. If the server has a certificate,
    /// the client on a TCP socket is to speak TLS, and so is what was read of it.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is no such socket.
    pub fn adopt(&mut self, fd: OwnedFd, read: &[u8]) -> io::Result<()> {
        if self.engine.stopping {
            return Err(io::Error::other("the server is stopping"));
        }
        let (stream, addr) = Stream::from_fd(fd)?;
        let stream = stream.with_tls(self.engine.config.tls.as_ref())?;
        self.acceptor.adopt(stream, addr, read, self.poll.registry(), &mut self.engine)?;
        self.set_alarm();
        Ok(())
    }

    /// The address of the first listener.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if there is none.
    pub fn local_addr(&self) -> io::Result<ListenAddr> {
        self.acceptor.local_addr()
    }

    fn add_port(&mut self, listener: Listener, purpose: Purpose) -> io::Result<ListenAddr> {
        if self.engine.stopping {
            return Err(io::Error::other("the server is stopping"));
        }
        if self.acceptor.len() >= MAX_LISTENERS {
            return Err(io::Error::other(format!("more than {MAX_LISTENERS} listeners")));
        }
        let token = listener_token(self.acceptor.len());
        let addr = self.acceptor.add(listener, purpose, self.poll.registry(), token)?;
        self.set_alarm();
        Ok(addr)
    }

    fn named_route(&self, path: &str) -> io::Result<RouteId> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no route {path}"));
        self.routes.named(path).ok_or_else(missing)
    }
}
