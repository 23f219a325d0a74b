//! A client's socket, and the calls made on it.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::event::Event;
use mio::net::{TcpStream, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketType, sockopt};
use rustix::stdio::stdin;

use super::tls::{Session, Tls};
use super::transfer::{Received, Written};

/// The kind of addresses a stream socket has.
pub(super) enum Family {
    Tcp,
    Unix,
}

/// Checks a socket that somebody else made, and makes it non-blocking.
pub(super) fn inspect(fd: &OwnedFd, listening: bool) -> io::Result<Family> {
    let wrong = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let not_ours = |error: Errno| match error {
        Errno::NOTSOCK => io::Error::new(io::ErrorKind::InvalidInput, "not a socket"),
        error => error.into(),
    };
    if sockopt::socket_type(fd).map_err(not_ours)? != SocketType::STREAM {
        return wrong("not a stream socket");
    }
    if sockopt::socket_acceptconn(fd)? != listening {
        return wrong(if listening { "it does not listen" } else { "it listens" });
    }
    let family = match sockopt::socket_domain(fd)? {
        AddressFamily::INET | AddressFamily::INET6 => Family::Tcp,
        AddressFamily::UNIX => Family::Unix,
        _ => return wrong("neither TCP nor a Unix socket"),
    };
    rustix::io::ioctl_fionbio(fd, true)?;
    Ok(family)
}

/// What the kernel announces of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readiness {
    /// There is something to read: bytes, the end, or an error.
    pub(crate) readable: bool,
    /// The peer sends no more: the end lies behind what is to be read.
    pub(crate) read_closed: bool,
    pub(crate) writable: bool,
}

impl Readiness {
    pub(crate) fn of(event: &Event) -> Readiness {
        let read_closed = event.is_read_closed();
        Readiness {
            readable: event.is_readable() || read_closed || event.is_error(),
            read_closed,
            writable: event.is_writable(),
        }
    }
}

/// One client's socket, or the program's standard input.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// What is read and written goes through the session; the socket carries it encrypted.
    Tls(TcpStream, Session),
    Stdin,
}

impl Stream {
    /// A socket that is connected already, and the peer's address if it has one.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<(Stream, Option<SocketAddr>)> {
        match inspect(&fd, false)? {
            Family::Tcp => {
                sockopt::set_tcp_nodelay(&fd, true)?;
                let stream = TcpStream::from_std(fd.into());
                let addr = stream.peer_addr()?;
                Ok((Stream::Tcp(stream), Some(addr)))
            }
            Family::Unix => Ok((Stream::Unix(UnixStream::from_std(fd.into())), None)),
        }
    }

    /// The same stream, with TLS on it if there is any; a Unix socket stays as it is.
    pub(crate) fn with_tls(self, tls: Option<&Tls>) -> io::Result<Stream> {
        match (self, tls) {
            (Stream::Tcp(socket), Some(tls)) => Ok(Stream::Tls(socket, Session::new(tls)?)),
            (stream, _) => Ok(stream),
        }
    }

    /// Puts back bytes that somebody else read from the socket, if they are TLS: the next read
    /// returns them. False if they are not.
    pub(crate) fn unread(&mut self, bytes: &[u8]) -> bool {
        match self {
            Stream::Tls(_, session) => session.unread(bytes),
            _ => return false,
        }
        true
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(..))
    }

    /// Whether nothing can be read or written yet, since TLS is still being agreed on.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self, Stream::Tls(_, session) if session.is_handshaking())
    }

    /// Reads what has come. `Unsupported` if a client speaks HTTP where TLS is spoken: from then on
    /// the stream is a plain one, so that the client can be told.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> io::Result<Received> {
        let room = buf.len();
        let got = |count| Received::of(count, room);
        match self {
            Stream::Tcp(stream) => stream.read(buf).map(got),
            Stream::Unix(stream) => stream.read(buf).map(got),
            Stream::Stdin => read_stdin(buf).map(got),
            Stream::Tls(socket, session) => match session.read(socket, buf) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    if let Stream::Tls(socket, _) = std::mem::replace(self, Stream::Stdin) {
                        *self = Stream::Tcp(socket);
                    }
                    Err(error)
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    // The alert is the last that the client hears of us. No matter if it fails.
                    let _ = self.flush();
                    Err(error)
                }
                result => result,
            },
        }
    }

    /// Appends to a buffer what has come, as much as it has room for. Not for TLS.
    pub(crate) fn read_onto(&self, buffer: &mut Vec<u8>) -> io::Result<Received> {
        let room = buffer.capacity().saturating_sub(buffer.len());
        let count = rustix::io::read(self.as_fd(), rustix::buffer::spare_capacity(buffer))?;
        let more = count == room;
        Ok(if count == 0 { Received::End } else { Received::Onto { count, more } })
    }

    /// Writes what is taken of these parts. The rest must be offered again unchanged: a session may
    /// have encrypted it already.
    pub(crate) fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<Written> {
        if let Stream::Tls(socket, session) = self {
            return session.write(&mut Socket(socket.as_fd()), parts);
        }
        let offered = parts.iter().map(|part| part.len()).sum();
        Socket(self.as_fd()).write_vectored(parts).map(|bytes| Written::of(bytes, offered))
    }

    /// Writes what a session itself has to send.
    pub(crate) fn flush(&mut self) -> io::Result<Written> {
        match self {
            Stream::Tls(..) => self.write(&[]),
            _ => Ok(Written::of(0, 0)),
        }
    }

    /// Says that nothing more comes, where there is a way to say so before the socket ends.
    pub(crate) fn close(&mut self) -> io::Result<Written> {
        if let Stream::Tls(_, session) = self {
            session.close();
        }
        self.flush()
    }

    /// Sends the end of the stream behind what was written.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) | Stream::Tls(stream, _) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Stdin => Ok(()),
        }
    }

    /// Whether the other side can be answered.
    pub(crate) fn takes_answers(&self) -> bool {
        !matches!(self, Stream::Stdin)
    }

    /// Asks the kernel to announce both directions. With edge-triggered events, this is all it ever
    /// needs to be told.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) | Stream::Tls(stream, _) => registry.register(stream, token, both),
            Stream::Unix(stream) => registry.register(stream, token, both),
            Stream::Stdin => {
                let fd = stdin().as_raw_fd();
                match registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
                    // A regular file, which is always ready.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                    result => result,
                }
            }
        }
    }
}

/// Reads if there is something to read. Standard input is shared with other programs, which may not
/// expect it to be non-blocking; so it stays as it is, and is polled first.
fn read_stdin(buf: &mut [u8]) -> io::Result<usize> {
    let mut fds = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
    if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::read(stdin(), buf)?)
}

/// Writes to a socket by sendmsg: once the peer has gone, writev(2) would end a program that leaves
/// SIGPIPE at its default.
struct Socket<'a>(BorrowedFd<'a>);

impl Write for Socket<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.0, part, NO_SIGPIPE)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // The usual case, for which send is the shorter way.
        if let [part] = parts {
            return self.write(part);
        }
        if cfg!(miri) {
            // Miri has no sendmsg.
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            return self.write(&bytes);
        }
        let mut no_control = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.0, parts, &mut no_control, NO_SIGPIPE)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(target_vendor = "apple"))]
const NO_SIGPIPE: SendFlags = SendFlags::NOSIGNAL;
/// Apple's systems have no such flag; std and mio set SO_NOSIGPIPE on their sockets there.
#[cfg(target_vendor = "apple")]
const NO_SIGPIPE: SendFlags = SendFlags::empty();

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) | Stream::Tls(stream, _) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Stdin => stdin(),
        }
    }
}
