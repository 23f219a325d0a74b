//! Where to listen: TCP and Unix sockets, the system's options on them, and who connects.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use rustix::net::{Shutdown, shutdown};

use super::socket::{Family, Socket, inspect, set_up_tcp};
use super::stream::Stream;

/// Clients that the kernel keeps ready between two turns; mio asks for 128, which bursts overflow.
pub(crate) const BACKLOG: i32 = 4096;

/// A socket that clients connect to.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp {
        socket: TcpListener,
        /// Whether its clients speak TLS.
        secure: bool,
        /// Whether it was made here.
        ours: bool,
    },
    /// With its path, and which file that is if the file is ours to remove.
    Unix(UnixListener, PathBuf, Option<Inode>),
}

/// Which file a path led to: device and number.
type Inode = (u64, u64);

/// Where a server listens. Shown as the address of a WebSocket: `ws://127.0.0.1:8080`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A TCP socket on which TLS is spoken: `wss://127.0.0.1:8443`.
    Tls(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => write!(f, "ws://{addr}"),
            ListenAddr::Tls(addr) => write!(f, "wss://{addr}"),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Listens on `host:port`, `[v6]:port`, a port alone, which is one of 127.0.0.1, or `unix:/path`.
    /// Of several addresses behind a name it uses the first that is free.
    pub(crate) fn bind(addr: &str) -> io::Result<Listener> {
        match addr.strip_prefix("unix:") {
            Some(path) => bind_unix(Path::new(path)),
            None => bind_tcp(addr),
        }
    }

    /// Listens on a socket that listens already. Its path, if it has one, is not ours to remove.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<Listener> {
        match inspect(&fd, true)? {
            Family::Tcp => {
                set_up_tcp(&fd)?;
                let socket = TcpListener::from_std(fd.into());
                Ok(Listener::Tcp { socket, secure: false, ours: false })
            }
            Family::Unix => {
                let listener = UnixListener::from_std(fd.into());
                let addr = listener.local_addr()?;
                let path = addr.as_pathname().unwrap_or(Path::new("")).to_owned();
                Ok(Listener::Unix(listener, path, None))
            }
        }
    }

    /// From now on its clients speak TLS. Those of a Unix socket never do: they are on this machine.
    pub(crate) fn secure(&mut self) {
        if let Listener::Tcp { secure, .. } = self {
            *secure = true;
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        matches!(self, Listener::Tcp { secure: true, .. })
    }

    /// Whether it was made here. Of one that was handed over somebody else may have a descriptor.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Listener::Tcp { ours, .. } => *ours,
            Listener::Unix(_, _, inode) => inode.is_some(),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<ListenAddr> {
        match self {
            Listener::Tcp { socket, secure, .. } => {
                socket.local_addr().map(if *secure { ListenAddr::Tls } else { ListenAddr::Tcp })
            }
            Listener::Unix(_, path, _) => Ok(ListenAddr::Unix(path.clone())),
        }
    }

    /// Accepts one client; its address comes with it, if it has one. Errors are those of accept(2),
    /// `WouldBlock` among them.
    pub(crate) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp { socket, .. } => socket
                .accept()
                .map(|(stream, addr)| (Stream::plain(Socket::Tcp(stream)), Some(addr))),
            Listener::Unix(listener, ..) => {
                listener.accept().map(|(stream, _)| (Stream::plain(Socket::Unix(stream)), None))
            }
        }
    }

    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp { socket, .. } => socket,
            Listener::Unix(listener, ..) => listener,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A child that a C program forked has a copy of the descriptor. Without this the child would
        // keep the address, and clients would wait in a queue that nobody empties. A socket that was
        // handed over is left alone, since others who share it may go on listening.
        if cfg!(feature = "capi") && self.is_ours() {
            let _ = match self {
                Listener::Tcp { socket, .. } => shutdown(socket, Shutdown::Both),
                Listener::Unix(socket, ..) => shutdown(socket, Shutdown::Both),
            };
        }
        if let Listener::Unix(_, path, Some(inode)) = self {
            // Nobody listens there any more, so nobody can connect; but another server may have put
            // its own socket there by now.
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
    let of_this_machine = |port| format!("127.0.0.1:{port}");
    let addr = addr.parse::<u16>().map_or(addr.to_string(), of_this_machine);
    for addr in addr.to_socket_addrs()? {
        match TcpListener::bind(addr) {
            Ok(listener) => {
                rustix::net::listen(&listener, BACKLOG)?;
                set_up_tcp(&listener)?;
                return Ok(Listener::Tcp { socket: listener, secure: false, ours: true });
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// A socket file that a server left behind is replaced; one that somebody listens on is not.
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

#[cfg(all(test, feature = "capi", target_os = "linux"))]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn copy(listener: &Listener) -> OwnedFd {
        let fd = match listener {
            Listener::Tcp { socket, .. } => socket.as_fd(),
            Listener::Unix(socket, ..) => socket.as_fd(),
        };
        fd.try_clone_to_owned().unwrap()
    }

    #[test]
    fn a_copy_in_a_forked_child_does_not_keep_the_address() {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let Ok(ListenAddr::Tcp(addr)) = listener.local_addr() else { panic!("no TCP address") };
        let copy = copy(&listener);
        drop(listener);
        assert!(std::net::TcpStream::connect(addr).is_err(), "nobody listens any more");
        drop(Listener::bind(&addr.to_string()).unwrap());
        drop(copy);
    }

    #[test]
    fn a_socket_that_was_handed_over_goes_on_listening_for_the_others() {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = theirs.local_addr().unwrap();
        drop(Listener::from_fd(theirs.try_clone().unwrap().into()).unwrap());
        std::net::TcpStream::connect(addr).unwrap();
    }
}
