//! A peer's stream: its socket, and the TLS on it if there is any.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Duration;

use mio::{Registry, Token};

use super::program::Program;
pub(crate) use super::socket::{KEEP_ALIVE, Readiness, Socket};
use super::tls::{Session, Tls};
use super::transfer::{Received, Written};
use crate::source::Target;

/// What is read and written goes through the session, if there is one; the socket then carries it
/// encrypted.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    session: Option<Session>,
}

impl Stream {
    pub(crate) fn plain(socket: Socket) -> Stream {
        Stream { socket, session: None }
    }

    /// Begins to connect. What is written or read before the kernel announces that it is connected
    /// fails with `WouldBlock`, or with why it cannot be.
    pub(crate) fn open(target: &Target) -> io::Result<Stream> {
        Socket::open(target).map(Stream::plain)
    }

    /// Whether the socket is connected, after it was [opened](Stream::open).
    pub(crate) fn is_connected(&self) -> bool {
        self.socket.is_connected()
    }

    /// A socket that is connected already, and the peer's address where it has one.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<(Stream, Option<SocketAddr>)> {
        Socket::from_fd(fd).map(|(socket, addr)| (Stream::plain(socket), addr))
    }

    /// The same stream, with TLS on it if there is any; a Unix socket stays as it is.
    pub(crate) fn with_tls(mut self, tls: Option<&Tls>) -> io::Result<Stream> {
        if let Some(tls) = tls.filter(|_| !matches!(self.socket, Socket::Unix(_) | Socket::Stdin)) {
            self.session = Some(Session::new(tls)?);
        }
        Ok(self)
    }

    /// The address of who is at the other end of the socket, where it has one.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Puts back bytes that somebody else read from the socket, if they are TLS: the next read
    /// returns them. False if they are not.
    pub(crate) fn unread(&mut self, bytes: &[u8]) -> bool {
        self.session.as_mut().map(|session| session.unread(bytes)).is_some()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.session.is_some()
    }

    /// Whether nothing can be read or written yet, since TLS is still being agreed on.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_handshaking)
    }

    /// Reads what has come. `Unsupported` if a client speaks HTTP where TLS is spoken: from then on
    /// the stream is a plain one, so that the client can be told.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> io::Result<Received> {
        let Some(session) = &mut self.session else {
            if let Some(program) = self.socket.program_mut() {
                return program.read(buf);
            }
            let room = buf.len();
            return self.socket.read(buf).map(|count| Received::of(count, room));
        };
        let received = session.read(&mut self.socket, buf);
        match received.as_ref().map_err(io::Error::kind) {
            Err(io::ErrorKind::Unsupported) => self.session = None,
            // The alert is the last that the client hears of us. No matter if it fails.
            Err(io::ErrorKind::InvalidData) => drop(self.flush()),
            _ => {}
        }
        received
    }

    /// Appends to a buffer what has come, as much as it has room for. Not for TLS.
    pub(crate) fn read_onto(&mut self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        let room = buffer.capacity().saturating_sub(buffer.len());
        let count = self.socket.read_onto(buffer)?;
        let more = count == room;
        Ok(if count == 0 { Received::End } else { Received::Onto { count, more } })
    }

    /// Writes what is taken of these parts. The rest must be offered again unchanged: a session may
    /// have encrypted it already.
    pub(crate) fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<Written> {
        if let Some(session) = &mut self.session {
            return session.write(&mut self.socket, parts);
        }
        let offered = parts.iter().map(|part| part.len()).sum();
        self.socket.write_vectored(parts).map(|bytes| Written::of(bytes, offered))
    }

    /// Writes what a session itself has to send.
    pub(crate) fn flush(&mut self) -> io::Result<Written> {
        if self.is_tls() { self.write(&[]) } else { Ok(Written::of(0, 0)) }
    }

    /// Says that nothing more comes, where there is a way to say so before the socket ends.
    pub(crate) fn close(&mut self) -> io::Result<Written> {
        if let Some(session) = &mut self.session {
            session.close();
        }
        self.flush()
    }

    /// Sends the end of the stream behind what was written.
    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    /// Ends the connection both ways, for everybody who has a descriptor of it.
    pub(crate) fn shutdown(&self) {
        self.socket.shutdown();
    }

    /// Whether the kernel holds bytes of the peer. Closing the socket would reset the connection then.
    pub(crate) fn has_unread(&self) -> bool {
        self.socket.has_unread()
    }

    /// Whether the other side ends the stream once ours is ended. A device has no end.
    pub(crate) fn ends_in_answer(&self) -> bool {
        !matches!(self.socket, Socket::Device(_))
    }

    /// Whether it is a program, which is to be ended step by step.
    pub(crate) fn is_program(&self) -> bool {
        self.socket.program().is_some()
    }

    /// Nobody is interested any more in what a program says.
    pub(crate) fn turn_away(&mut self) {
        self.socket.program_mut().into_iter().for_each(Program::turn_away);
    }

    /// Takes the next step to end a program. False if there is nobody to wait for.
    pub(crate) fn urge(&mut self) -> bool {
        self.socket.program_mut().is_some_and(Program::urge)
    }

    /// Whether a program has ended that has left others.
    pub(crate) fn has_left_others(&self) -> bool {
        self.socket.program().is_some_and(Program::has_left_others)
    }

    /// How a program has ended, if it has and that is known.
    pub(crate) fn exit_status(&self) -> Option<ExitStatus> {
        self.socket.program()?.exit_status()
    }

    /// Whether the other side can be answered.
    pub(crate) fn takes_answers(&self) -> bool {
        !matches!(self.socket, Socket::Stdin)
    }

    /// Has the kernel end the connection when what was sent stays unacknowledged for so long.
    pub(crate) fn limit_unacknowledged(&self, time: Duration) {
        self.socket.limit_unacknowledged(time);
    }

    /// The socket of TCP in it.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn into_fd(self) -> OwnedFd {
        match self.socket {
            Socket::Tcp(stream) => std::net::TcpStream::from(stream).into(),
            other => panic!("{other:?} is no TCP socket"),
        }
    }

    /// Asks the kernel to announce both directions. With edge-triggered events, this is all it ever
    /// needs to be told.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.register(registry, token)
    }
}
