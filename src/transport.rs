//! Sockets: where to listen, what was accepted, and the three calls made on it.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketType, sockopt};
use rustix::stdio::stdin;

/// Clients the kernel holds ready between two turns; mio asks for 128, which bursts overflow.
const BACKLOG: i32 = 4096;

/// A socket that clients connect to.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// With its path, and which file that is if it is ours to remove.
    Unix(UnixListener, PathBuf, Option<Inode>),
}

/// Which file a path led to: device and number.
type Inode = (u64, u64);

/// Where a server listens. Shown as the address of a WebSocket: `ws://127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => write!(f, "ws://{addr}"),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Listens on `host:port`, `[v6]:port` or `unix:/path`. Of several addresses behind a name,
    /// the first that can be had.
    pub(crate) fn bind(addr: &str) -> io::Result<Listener> {
        match addr.strip_prefix("unix:") {
            Some(path) => bind_unix(Path::new(path)),
            None => bind_tcp(addr),
        }
    }

    /// A socket that listens already. Its path, if it has one, is somebody else's to remove.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        match inspect(&fd, true)? {
            Family::Tcp => {
                sockopt::set_tcp_nodelay(&fd, true)?;
                Ok(Listener::Tcp(TcpListener::from_std(fd.into())))
            }
            Family::Unix => {
                let listener = UnixListener::from_std(fd.into());
                let addr = listener.local_addr()?;
                let path = addr.as_pathname().unwrap_or(Path::new("")).to_owned();
                Ok(Listener::Unix(listener, path, None))
            }
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<ListenAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(ListenAddr::Tcp),
            Listener::Unix(_, path, _) => Ok(ListenAddr::Unix(path.clone())),
        }
    }

    /// One client, and its address where it has one. Errors are those of accept(2), `WouldBlock`
    /// among them.
    pub(crate) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                listener.accept().map(|(stream, addr)| (Stream::Tcp(stream), Some(addr)))
            }
            Listener::Unix(listener, ..) => {
                listener.accept().map(|(stream, _)| (Stream::Unix(stream), None))
            }
        }
    }

    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp(listener) => listener,
            Listener::Unix(listener, ..) => listener,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path, Some(inode)) = self {
            // Nobody can connect to what nobody listens on; but another server may have put its
            // own socket there by now.
            if self::inode(path).is_ok_and(|now| now == *inode) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn inode(path: &Path) -> io::Result<Inode> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

fn bind_tcp(addr: &str) -> io::Result<Listener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no such address");
    for addr in addr.to_socket_addrs()? {
        match TcpListener::bind(addr) {
            Ok(listener) => {
                rustix::net::listen(&listener, BACKLOG)?;
                // Inherited by what is accepted: one call instead of one for each client.
                sockopt::set_tcp_nodelay(&listener, true)?;
                return Ok(Listener::Tcp(listener));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A socket that a server left behind is replaced; one that somebody listens on is not.
fn bind_unix(path: &Path) -> io::Result<Listener> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
            }
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let listener = UnixListener::bind(path)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(Listener::Unix(listener, path.to_owned(), Some(inode(path)?)))
}

/// Whose addresses a stream socket has.
enum Family {
    Tcp,
    Unix,
}

/// Looks at a socket that somebody else made, and makes it non-blocking.
fn inspect(fd: &OwnedFd, listening: bool) -> io::Result<Family> {
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

/// One client's socket, or the program's standard input.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Stdin,
}

impl Stream {
    /// A socket that is connected already, and the peer's address where it has one.
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

    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&mut &*stream).read(buf),
            Stream::Unix(stream) => (&mut &*stream).read(buf),
            Stream::Stdin => read_stdin(buf),
        }
    }

    /// Reads behind what a buffer holds, as much as it has room for.
    pub(crate) fn read_onto(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        Ok(rustix::io::read(self.as_fd(), rustix::buffer::spare_capacity(buffer))?)
    }

    /// Writes what the kernel takes of these parts. By sendmsg, since writev(2) would end a
    /// program that leaves SIGPIPE at its default when the peer has gone.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if cfg!(miri) {
            // Which has no sendmsg.
            let octets: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            return Ok(rustix::net::send(self.as_fd(), &octets, NO_SIGPIPE)?);
        }
        let mut no_control = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.as_fd(), parts, &mut no_control, NO_SIGPIPE)?)
    }

    /// The same of one part, by the shorter way.
    pub(crate) fn write_one(&self, part: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self.as_fd(), part, NO_SIGPIPE)?)
    }

    /// Sends the end of the stream behind what was written.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Stdin => Ok(()),
        }
    }

    /// Whether the other side can be answered.
    pub(crate) fn is_writable(&self) -> bool {
        !matches!(self, Stream::Stdin)
    }

    /// Has both directions announced. Registered once; edge-triggered, that is all the kernel ever
    /// needs to be told.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => registry.register(stream, token, both),
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

/// Reads if there is something to read. Standard input is shared with other programs, which may
/// not expect it to be non-blocking; so it stays as it is, and is asked first.
fn read_stdin(buf: &mut [u8]) -> io::Result<usize> {
    let mut fds = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
    if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::read(stdin(), buf)?)
}

#[cfg(not(target_vendor = "apple"))]
const NO_SIGPIPE: SendFlags = SendFlags::NOSIGNAL;
/// Apple's systems have no such flag; std and mio set SO_NOSIGPIPE on their sockets there.
#[cfg(target_vendor = "apple")]
const NO_SIGPIPE: SendFlags = SendFlags::empty();

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Stdin => stdin(),
        }
    }
}
