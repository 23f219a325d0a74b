//! The sockets of peers, and the system calls made on them.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpStream, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendFlags, SocketType, sockopt};
use rustix::stdio::stdin;

#[cfg(test)]
use super::played::Played;
use super::program::Program;
use crate::source::Target;

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

/// One client's socket, or what stands in its place.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A serial port or the like.
    Device(OwnedFd),
    /// The pipes of a program that we start.
    Program(Box<Program>),
    /// Our own standard input.
    Stdin,
    /// What a test plays in a socket's place.
    #[cfg(test)]
    Played(Played),
}

impl Socket {
    /// Begins to connect.
    pub(super) fn open(target: &Target) -> io::Result<Socket> {
        match target {
            Target::Tcp(addr) => {
                let stream = TcpStream::connect(*addr)?;
                set_up_tcp(&stream)?;
                Ok(Socket::Tcp(stream))
            }
            Target::Unix(path) => UnixStream::connect(path).map(Socket::Unix),
            Target::Device(path) => {
                use rustix::fs::{Mode, OFlags, open};
                let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                Ok(Socket::Device(open(path, flags, Mode::empty())?))
            }
            Target::Program(launch) => {
                Ok(Socket::Program(Box::new(Program::Waiting(launch.clone()))))
            }
        }
    }

    /// Whether it is connected, after it was opened.
    pub(super) fn is_connected(&self) -> bool {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().is_ok(),
            Socket::Unix(stream) => stream.peer_addr().is_ok(),
            Socket::Device(_) | Socket::Stdin => true,
            Socket::Program(program) => program.was_started(),
            #[cfg(test)]
            Socket::Played(_) => true,
        }
    }

    /// A socket that is connected already, and the peer's address where it has one.
    pub(super) fn from_fd(fd: OwnedFd) -> io::Result<(Socket, Option<SocketAddr>)> {
        match inspect(&fd, false)? {
            Family::Tcp => {
                set_up_tcp(&fd)?;
                let stream = TcpStream::from_std(fd.into());
                let addr = stream.peer_addr()?;
                Ok((Socket::Tcp(stream), Some(addr)))
            }
            Family::Unix => Ok((Socket::Unix(UnixStream::from_std(fd.into())), None)),
        }
    }

    /// The peer's address, where it has one.
    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(stream) => stream.peer_addr().ok(),
            Socket::Unix(_) | Socket::Device(_) | Socket::Program(_) | Socket::Stdin => None,
            #[cfg(test)]
            Socket::Played(_) => None,
        }
    }

    /// The program in its place, if there is one.
    pub(super) fn program(&self) -> Option<&Program> {
        match self {
            Socket::Program(program) => Some(program),
            _ => None,
        }
    }

    pub(super) fn program_mut(&mut self) -> Option<&mut Program> {
        match self {
            Socket::Program(program) => Some(program),
            _ => None,
        }
    }

    /// Reads behind what a buffer holds, as much as it has room for.
    pub(super) fn read_onto(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            #[cfg(test)]
            Socket::Played(played) => played.read_onto(buffer),
            _ => Ok(rustix::io::read(self.as_fd()?, rustix::buffer::spare_capacity(buffer))?),
        }
    }

    /// Sends the end of the stream behind what was written.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            Socket::Program(program) => {
                program.end_input();
                Ok(())
            }
            Socket::Device(_) | Socket::Stdin => Ok(()),
            #[cfg(test)]
            Socket::Played(played) => played.shutdown_write(),
        }
    }

    /// Ends the connection both ways, for everybody who has a descriptor of it.
    pub(super) fn shutdown(&self) {
        // An error means that it has ended already.
        let _ = match self {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
            Socket::Device(_) | Socket::Program(_) | Socket::Stdin => Ok(()),
            #[cfg(test)]
            Socket::Played(_) => Ok(()),
        };
    }

    /// Whether the kernel holds bytes of the peer.
    pub(super) fn has_unread(&self) -> bool {
        self.as_fd().is_ok_and(|fd| rustix::io::ioctl_fionread(fd).is_ok_and(|bytes| bytes > 0))
    }

    /// Has the kernel end the connection when what was sent stays unacknowledged for so long, and so
    /// keep-alive cannot ask. A Unix socket's peer cannot vanish.
    pub(super) fn limit_unacknowledged(&self, time: Duration) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Socket::Tcp(stream) = self {
            let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            // An error means that it has ended already.
            let _ = sockopt::set_tcp_user_timeout(stream, millis);
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = time;
    }

    /// Asks the kernel to announce both directions. Edge-triggered, this is all that it ever needs to
    /// be told.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Socket::Tcp(stream) => registry.register(stream, token, both),
            Socket::Unix(stream) => registry.register(stream, token, both),
            Socket::Device(fd) => registry.register(&mut SourceFd(&fd.as_raw_fd()), token, both),
            Socket::Program(program) => program.start(registry, token),
            Socket::Stdin => {
                let fd = stdin().as_raw_fd();
                match registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
                    // A regular file, which is always ready.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                    result => result,
                }
            }
            #[cfg(test)]
            Socket::Played(_) => Ok(()),
        }
    }

    fn is_played(&self) -> bool {
        #[cfg(test)]
        return matches!(self, Socket::Played(_));
        #[cfg(not(test))]
        false
    }

    fn as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Socket::Tcp(stream) => Ok(stream.as_fd()),
            Socket::Unix(stream) => Ok(stream.as_fd()),
            _ => self.fd_elsewhere(),
        }
    }

    // Sockets are many, and what stands in their place is rare: so that is kept out of their way.

    #[inline(never)]
    fn fd_elsewhere(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Socket::Tcp(stream) => Ok(stream.as_fd()),
            Socket::Unix(stream) => Ok(stream.as_fd()),
            Socket::Device(fd) => Ok(fd.as_fd()),
            Socket::Program(program) => program.as_fd(),
            Socket::Stdin => Ok(stdin()),
            #[cfg(test)]
            Socket::Played(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    #[inline(never)]
    fn read_elsewhere(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Stdin => read_stdin(buf),
            #[cfg(test)]
            Socket::Played(played) => played.read(buf),
            _ => Ok(rustix::io::read(self.as_fd()?, buf)?),
        }
    }

    /// That it is no socket is found out by trying.
    #[inline(never)]
    fn write_elsewhere(&mut self, part: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Program(program) => program.write(&[IoSlice::new(part)]),
            _ => Ok(rustix::io::write(self.as_fd()?, part)?),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buf),
            Socket::Unix(stream) => stream.read(buf),
            _ => self.read_elsewhere(buf),
        }
    }
}

/// By send and sendmsg, since writev(2) would end a program that leaves SIGPIPE at its default when
/// the peer has gone. No device does that.
impl Write for Socket {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        match self {
            #[cfg(test)]
            Socket::Played(played) => played.write(part),
            _ => match rustix::net::send(self.as_fd()?, part, NO_SIGPIPE) {
                Err(Errno::NOTSOCK) => self.write_elsewhere(part),
                sent => Ok(sent?),
            },
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        // One part is the rule, and send is the shorter way.
        if let [part] = parts {
            return self.write(part);
        }
        match self {
            Socket::Device(fd) => return Ok(rustix::io::writev(fd, parts)?),
            Socket::Program(program) => return program.write(parts),
            _ => {}
        }
        // Neither Miri nor a socket that a test plays has a sendmsg.
        if cfg!(miri) || self.is_played() {
            let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
            return self.write(&parts.concat());
        }
        let mut no_control = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.as_fd()?, parts, &mut no_control, NO_SIGPIPE)?)
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

/// A TCP peer that has vanished, its line cut or its machine without power, is found by keep-alive:
/// after so much silence the kernel asks it for a sign of life,
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
/// again and again,
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// and ends the connection when so many questions have no answer.
const KEEP_ALIVE_COUNT: u32 = 6;
/// How long all that takes.
pub(crate) const KEEP_ALIVE: Duration =
    KEEP_ALIVE_IDLE.saturating_add(KEEP_ALIVE_INTERVAL.saturating_mul(KEEP_ALIVE_COUNT));

/// Sets the options of a TCP socket. Those of a listener are inherited by the sockets that it accepts:
/// one call instead of one for each client.
pub(super) fn set_up_tcp(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd();
    sockopt::set_tcp_nodelay(fd, true)?;
    sockopt::set_socket_keepalive(fd, true)?;
    // Elsewhere the system's times hold, of two hours and more.
    #[cfg(not(any(target_os = "haiku", target_os = "nto", target_os = "openbsd")))]
    {
        sockopt::set_tcp_keepidle(fd, KEEP_ALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(fd, KEEP_ALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(fd, KEEP_ALIVE_COUNT)?;
    }
    Ok(())
}

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

/// Reads if there is something to read. Standard input is shared with other programs, which may
/// not expect it to be non-blocking; so it stays as it is, and is asked first.
fn read_stdin(buf: &mut [u8]) -> io::Result<usize> {
    let mut fds = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
    if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::read(stdin(), buf)?)
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;
    use crate::net::listener::{ListenAddr, Listener};

    /// Whether it is kept alive, and after which times it is gone if nobody answers.
    fn keep_alive(fd: impl AsFd) -> (bool, Duration) {
        let fd = fd.as_fd();
        let (idle, interval) = (sockopt::tcp_keepidle(fd), sockopt::tcp_keepintvl(fd));
        let all = idle.unwrap() + interval.unwrap() * sockopt::tcp_keepcnt(fd).unwrap();
        (sockopt::socket_keepalive(fd).unwrap(), all)
    }

    #[test]
    fn peers_that_vanish_are_found_by_keep_alive() {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let Ok(ListenAddr::Tcp(addr)) = listener.local_addr() else { panic!("no TCP address") };
        let client = std::net::TcpStream::connect(addr).unwrap();
        assert!(!keep_alive(&client).0, "it is not the default");
        let fd = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream.into_fd(),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert_eq!(keep_alive(&fd), (true, KEEP_ALIVE));
        Socket::from_fd(client.try_clone().unwrap().into()).unwrap();
        assert_eq!(keep_alive(&client), (true, KEEP_ALIVE));
        let handed_over = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Listener::from_fd(handed_over.try_clone().unwrap().into()).unwrap();
        assert_eq!(keep_alive(&handed_over), (true, KEEP_ALIVE));
    }
}
