//! Accepts clients, and decides what to do when there is no room for them.

use std::io;
use std::net::SocketAddr;

use log::{Level, debug, error, info};
use mio::{Interest, Registry, Token};

use super::machine::descriptors;
use crate::dispatch::too_many_from_there;
use crate::http::response::Response;
use crate::ids::{MAX_SLOTS, RouteId};
use crate::net::listener::{BACKLOG, ListenAddr, Listener};
use crate::net::stream::Stream;
use crate::peers::Peers;
use crate::peers::addr::PeerAddr;
use crate::peers::time::Millis;

/// Most clients accepted from one listener in a turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Descriptors left alone: listeners, the poll, the program's own, files that are read at once.
const RESERVE: usize = 32;
/// Of the other descriptors one in so many may be a file's that is under way to a client.
const FILES: usize = 8;
/// Clients beyond the limit that are told so; more wait in the kernel's queue until a connection
/// has gone.
const REFUSALS: usize = 16;
/// How long to wait for a descriptor before asking again.
const RETRY: Millis = 1000;

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Clients, by HTTP.
    Clients,
    /// Sources of lines for a route.
    Feed(RouteId),
}

struct Listening {
    listener: Listener,
    purpose: Purpose,
    /// A client may be waiting; edge-triggered, the kernel does not say so again.
    waiting: bool,
}

/// Why nobody is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    None,
    /// As many connections as allowed; one must go first.
    Full,
    /// No descriptor is free; one may be at this time, or when a connection goes.
    NoDescriptors {
        retry: Millis,
    },
}

/// The listeners.
pub(super) struct Acceptor {
    listening: Vec<Listening>,
    max_connections: usize,
    /// Most descriptors of connections, files under way and programs together.
    places: usize,
    pause: Pause,
    /// How many files were under way when that began.
    files_then: usize,
    /// The log was told that there are no descriptors, and clients have waited since.
    complained: bool,
    /// How many were refused since the log was told that there are too many connections.
    refused: u64,
}

impl Acceptor {
    /// Tells the peers how many files may be under way to them, too.
    pub(super) fn new(peers: &mut Peers) -> Acceptor {
        let room = descriptors().saturating_sub(RESERVE);
        let max_connections = peers.config.max_connections.unwrap_or(room);
        let places = room.max(max_connections).max(1);
        peers.limit_files(places, (room / FILES).max(1));
        Acceptor {
            listening: Vec::new(),
            max_connections: max_connections.clamp(1, MAX_SLOTS - REFUSALS),
            places,
            pause: Pause::None,
            files_then: 0,
            complained: false,
            refused: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.listening.len()
    }

    pub(super) fn add(
        &mut self,
        mut listener: Listener,
        purpose: Purpose,
        registry: &Registry,
        token: Token,
    ) -> io::Result<ListenAddr> {
        registry.register(listener.source(), token, Interest::READABLE)?;
        let addr = listener.local_addr()?;
        self.listening.push(Listening { listener, purpose, waiting: true });
        Ok(addr)
    }

    pub(super) fn local_addr(&self) -> io::Result<ListenAddr> {
        match self.listening.iter().find(|listening| listening.purpose == Purpose::Clients) {
            Some(listening) => listening.listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether clients are listened for by TCP, and on loopback addresses alone.
    pub(super) fn is_local(&self) -> bool {
        let mut is_local = false;
        for listening in &self.listening {
            let addr = listening.listener.local_addr();
            if let (Purpose::Clients, Ok(ListenAddr::Tcp(addr) | ListenAddr::Tls(addr))) =
                (listening.purpose, addr)
            {
                if !addr.ip().to_canonical().is_loopback() {
                    return false;
                }
                is_local = true;
            }
        }
        is_local
    }

    /// The server stops. Clients that wait in a queue would be reset when the listener closes, so they
    /// are accepted, as far as there are descriptors, to be answered like the others. Sources cannot be
    /// told anything. And clients of a socket that was handed over are left to whoever shares it: other
    /// servers, or systemd, which keeps it for the next one.
    pub(super) fn close(&mut self, registry: &Registry, peers: &mut Peers) {
        let most = descriptors().saturating_sub(RESERVE).min(MAX_SLOTS);
        for Listening { listener, purpose, .. } in std::mem::take(&mut self.listening) {
            if purpose != Purpose::Clients || !listener.is_ours() {
                continue;
            }
            for _ in 0..BACKLOG {
                if peers.len() >= most {
                    break;
                }
                match listener.accept() {
                    Ok((stream, addr)) => {
                        let admitted = with_tls_of(&listener, stream, peers)
                            .and_then(|stream| watch(registry, peers, stream));
                        if let Ok(stream) = admitted {
                            peers.admit(stream, addr);
                        }
                    }
                    Err(error) if is_passing(&error) => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// An event said that clients wait.
    pub(super) fn announce(&mut self, place: usize) {
        if let Some(listening) = self.listening.get_mut(place) {
            listening.waiting = true;
        }
    }

    /// Whether clients have waited for a file to end, and one has.
    pub(super) fn may_resume(&self, peers: &Peers) -> bool {
        self.pause != Pause::None && peers.files() < self.files_then
    }

    /// A connection has gone, or a file: there is room, and a descriptor.
    pub(super) fn resume(&mut self, peers: &mut Peers) {
        self.pause = Pause::None;
        // At the limit, each that goes makes room for one, which is no news; an eighth is.
        let many = self.max_connections.saturating_sub(self.max_connections / 8);
        if self.refused > 0 && peers.len() < many {
            let count = std::mem::take(&mut self.refused);
            let line = format_args!("there is room again: {count} were refused");
            peers.complain(Level::Info, line);
        }
    }

    /// Whether there are as many connections as there may be, so that one more is refused.
    fn is_crowded(&mut self, peers: &mut Peers) -> bool {
        if !self.is_beyond(peers, 0) {
            return false;
        }
        if self.refused == 0 {
            let count = peers.len();
            if count >= self.max_connections {
                let line = format_args!("there are {count} connections, the most there may be");
                peers.complain(Level::Warn, line);
            } else {
                let others = peers.descriptors().saturating_sub(count);
                let line = format_args!(
                    "there are {count} connections, and files under way and programs have {others} \
                     descriptors, which leaves none: raise the limit of open files (ulimit -n)"
                );
                peers.complain(Level::Warn, line);
            }
        }
        self.refused = self.refused.saturating_add(1);
        true
    }

    /// Whether there are as many connections, or as many descriptors are taken, as there may be, and so
    /// many more.
    fn is_beyond(&self, peers: &Peers, more: usize) -> bool {
        peers.len() >= self.max_connections.saturating_add(more)
            || peers.descriptors() >= self.places.saturating_add(more)
    }

    /// When to accept without a further event: at once, or later. `None` if nobody waits, or if a
    /// connection must go first.
    pub(super) fn due(&self) -> Option<Millis> {
        if !self.listening.iter().any(|listening| listening.waiting) {
            return None;
        }
        match self.pause {
            Pause::None => Some(0),
            Pause::Full => None,
            Pause::NoDescriptors { retry } => Some(retry),
        }
    }

    /// Accepts those who wait, within the budget and the limits.
    pub(super) fn accept(&mut self, registry: &Registry, peers: &mut Peers) {
        if self.due().is_none_or(|at| at > peers.clock.now()) {
            return;
        }
        self.pause = Pause::None;
        for place in 0..self.listening.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if self.pause != Pause::None || !self.accept_one(place, registry, peers) {
                    break;
                }
            }
        }
    }

    /// Accepts one client. False if nobody waits there.
    #[inline(never)]
    fn accept_one(&mut self, place: usize, registry: &Registry, peers: &mut Peers) -> bool {
        let is_full = self.is_beyond(peers, REFUSALS);
        let waits = |listening: &&mut Listening| listening.waiting;
        let Some(listening) = self.listening.get_mut(place).filter(waits) else { return false };
        if is_full {
            (self.pause, self.files_then) = (Pause::Full, peers.files());
            return true;
        }
        match listening.listener.accept() {
            Ok((stream, addr)) => {
                let purpose = listening.purpose;
                let admitted = with_tls_of(&listening.listener, stream, peers)
                    .and_then(|stream| self.admit(purpose, stream, addr, registry, peers));
                if let Err(error) = admitted {
                    let line = format_args!("a client cannot be watched: {error}");
                    peers.complain(Level::Warn, line);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                listening.waiting = false;
                self.recover();
            }
            // The client's trouble, not ours: it was gone before it was accepted.
            Err(error) if is_passing(&error) => debug!("accept: {error}"),
            Err(error) => {
                self.files_then = peers.files();
                self.exhausted(&error, peers.clock.now());
            }
        }
        true
    }

    fn admit(
        &mut self,
        purpose: Purpose,
        stream: Stream,
        addr: Option<SocketAddr>,
        registry: &Registry,
        peers: &mut Peers,
    ) -> io::Result<()> {
        match purpose {
            // Its socket is dropped: a source can only be told in its own language, and has none.
            Purpose::Feed(_) if self.is_crowded(peers) => {
                let line = format_args!("a source refused: too many connections");
                peers.complain(Level::Debug, line);
            }
            Purpose::Feed(route) => {
                let stream = watch(registry, peers, stream)?;
                let id = peers.admit_source(stream, addr, route);
                info!("#{} source from {}", id.serial(), PeerAddr::from(addr));
            }
            Purpose::Clients => self.adopt(stream, addr, b"", registry, peers)?,
        }
        Ok(())
    }

    /// Adopts a client; `read` was read from it already.
    pub(super) fn adopt(
        &mut self,
        stream: Stream,
        addr: Option<SocketAddr>,
        read: &[u8],
        registry: &Registry,
        peers: &mut Peers,
    ) -> io::Result<()> {
        let stream = watch(registry, peers, stream)?;
        let crowded = self.is_crowded(peers);
        let short = peers.is_short_of_memory();
        let too_many = peers.has_too_many_from(addr);
        let id = peers.admit(stream, addr);
        if crowded {
            let (serial, count) = (id.serial(), peers.len());
            let line = format_args!("#{serial} refused: it would be one of {count} connections");
            peers.complain(Level::Debug, line);
            peers.respond(id, Response::text(503, "too many connections\n"), false, false);
        } else if short {
            let held = peers.held_in_all();
            let line = format_args!("#{} refused: {held} bytes are held in all", id.serial());
            peers.complain(Level::Warn, line);
            let later = Response::text(503, "the server is short of memory\n");
            peers.respond(id, later.header("Retry-After", "5"), false, false);
        } else if too_many {
            peers.refuse(id, too_many_from_there(), false);
        } else if !read.is_empty() {
            peers.unread(id, read);
        }
        Ok(())
    }

    fn exhausted(&mut self, cause: &io::Error, now: Millis) {
        self.pause = Pause::NoDescriptors { retry: now.saturating_add(RETRY) };
        if !std::mem::replace(&mut self.complained, true) {
            let hint = if is_exhaustion(cause) {
                ": raise the limit of open files (ulimit -n)"
            } else {
                ""
            };
            error!("clients have to wait, for {cause}{hint}");
        }
    }

    /// This queue is empty. Logged only once all are: while a queue is long, each connection that
    /// goes makes room for one client, and that is no news.
    fn recover(&mut self) {
        let nobody_waits = !self.listening.iter().any(|listening| listening.waiting);
        if nobody_waits && std::mem::take(&mut self.complained) {
            info!("clients are accepted again");
        }
    }
}

/// The stream of a client that came by this listener: TLS, if that is spoken there.
fn with_tls_of(listener: &Listener, stream: Stream, peers: &Peers) -> io::Result<Stream> {
    stream.with_tls(peers.config.tls.as_ref().filter(|_| listener.is_secure()))
}

/// Registers a stream with the poll, under the name that the peers will give it.
pub(super) fn watch(registry: &Registry, peers: &Peers, mut stream: Stream) -> io::Result<Stream> {
    stream.register(registry, Token(peers.next_id().token()))?;
    Ok(stream)
}

/// Whether only this client failed, and the next may succeed.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// The system, or this process, has no room for another socket.
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}
