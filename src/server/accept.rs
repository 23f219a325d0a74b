//! Taking clients in, and what to do when there is no room for them.

use std::io;
use std::net::SocketAddr;

use log::{debug, error, info, warn};
use mio::{Interest, Registry, Token};

use crate::config::Config;
use crate::http::response::Response;
use crate::ids::{MAX_SLOTS, RouteId};
use crate::net::listener::{ListenAddr, Listener};
use crate::net::stream::Stream;
use crate::peers::Engine;
use crate::peers::time::Millis;

/// Most clients taken from one listener in a turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Descriptors left alone: listeners, the poll, files being sent, the program's own.
const RESERVE: usize = 32;
/// Clients beyond the limit that are told so; more wait in the kernel's queue until one has gone.
const REFUSALS: usize = 16;
/// How long to wait for a descriptor before asking again.
const RETRY: Millis = 1000;

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Clients, by HTTP.
    Clients,
    /// Sources of lines for a route.
    Feed(RouteId),
}

struct Port {
    listener: Listener,
    purpose: Purpose,
    /// Somebody may be waiting; edge-triggered, the kernel will not say so again.
    waiting: bool,
}

/// What holds accepting back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Nothing,
    /// As many connections as there may be; one must go first.
    Full,
    /// No descriptor to be had; one may be at this time, or when a connection goes.
    NoDescriptors {
        retry: Millis,
    },
}

/// The listeners.
pub(crate) struct Acceptor {
    ports: Vec<Port>,
    max_connections: usize,
    hold: Hold,
    /// Said in the log that there are no descriptors, and clients wait since.
    complained: bool,
}

impl Acceptor {
    pub(crate) fn new(config: &Config) -> Acceptor {
        let max_connections =
            config.max_connections.unwrap_or_else(|| descriptors().saturating_sub(RESERVE));
        Acceptor {
            ports: Vec::new(),
            max_connections: max_connections.clamp(1, MAX_SLOTS - REFUSALS),
            hold: Hold::Nothing,
            complained: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ports.len()
    }

    pub(crate) fn add(
        &mut self,
        mut listener: Listener,
        purpose: Purpose,
        registry: &Registry,
        token: Token,
    ) -> io::Result<ListenAddr> {
        registry.register(listener.source(), token, Interest::READABLE)?;
        let addr = listener.local_addr()?;
        self.ports.push(Port { listener, purpose, waiting: true });
        Ok(addr)
    }

    pub(crate) fn local_addr(&self) -> io::Result<ListenAddr> {
        match self.ports.iter().find(|port| port.purpose == Purpose::Clients) {
            Some(port) => port.listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    pub(crate) fn close(&mut self) {
        self.ports.clear();
    }

    /// An event said that clients wait.
    pub(crate) fn announce(&mut self, place: usize) {
        if let Some(source) = self.ports.get_mut(place) {
            source.waiting = true;
        }
    }

    /// A connection has gone: there is room, and a descriptor.
    pub(crate) fn resume(&mut self) {
        self.hold = Hold::Nothing;
    }

    /// When to accept again without being told to: at once, later, or not before something goes.
    pub(crate) fn due(&self) -> Option<Millis> {
        if !self.ports.iter().any(|port| port.waiting) {
            return None;
        }
        match self.hold {
            Hold::Nothing => Some(0),
            Hold::Full => None,
            Hold::NoDescriptors { retry } => Some(retry),
        }
    }

    /// Takes in who waits, within the budget and the limits.
    pub(crate) fn accept(&mut self, registry: &Registry, engine: &mut Engine) {
        if self.due().is_none_or(|at| at > engine.clock.now()) {
            return;
        }
        self.hold = Hold::Nothing;
        for place in 0..self.ports.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if self.hold != Hold::Nothing || !self.ports[place].waiting {
                    break;
                }
                self.accept_one(place, registry, engine);
            }
        }
    }

    #[inline(never)]
    fn accept_one(&mut self, place: usize, registry: &Registry, engine: &mut Engine) {
        if engine.conns.len() >= self.max_connections + REFUSALS {
            self.hold = Hold::Full;
            return;
        }
        let port = &mut self.ports[place];
        match port.listener.accept() {
            Ok((stream, addr)) => {
                let (purpose, secure) = (port.purpose, port.listener.is_secure());
                let admitted = stream
                    .with_tls(engine.config.tls.as_ref().filter(|_| secure))
                    .and_then(|stream| self.admit(purpose, stream, addr, registry, engine));
                if let Err(error) = admitted {
                    warn!("a client cannot be watched: {error}");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                port.waiting = false;
                self.recover();
            }
            // The client's trouble, not ours: it was gone before it was taken in.
            Err(error) if is_passing(&error) => debug!("accept: {error}"),
            Err(error) => self.exhausted(&error, engine.clock.now()),
        }
    }

    fn admit(
        &self,
        purpose: Purpose,
        stream: Stream,
        addr: Option<SocketAddr>,
        registry: &Registry,
        engine: &mut Engine,
    ) -> io::Result<()> {
        let crowded = engine.conns.len() >= self.max_connections;
        match purpose {
            // Its socket is dropped: a source can only be told in its own language, and has none.
            Purpose::Feed(_) if crowded => debug!("a source refused: too many connections"),
            Purpose::Feed(route) => {
                let id = engine.admit_source(registry, stream, addr, route)?;
                let from = addr.map_or("a Unix socket".to_string(), |addr| addr.to_string());
                info!("#{} source from {from}", id.serial());
            }
            Purpose::Clients => self.adopt(stream, addr, b"", registry, engine)?,
        }
        Ok(())
    }

    /// Takes in a client. Of what it sent, `read` was read already.
    pub(crate) fn adopt(
        &self,
        stream: Stream,
        addr: Option<SocketAddr>,
        read: &[u8],
        registry: &Registry,
        engine: &mut Engine,
    ) -> io::Result<()> {
        let crowded = engine.conns.len() >= self.max_connections;
        let id = engine.admit(registry, stream, addr)?;
        if crowded {
            debug!("#{} refused: {} connections", id.serial(), self.max_connections);
            engine.respond_last(id, Response::text(503, "too many connections\n"));
        } else if !read.is_empty() {
            engine.hold(id, read);
        }
        Ok(())
    }

    fn exhausted(&mut self, cause: &io::Error, now: Millis) {
        self.hold = Hold::NoDescriptors { retry: now + RETRY };
        if !std::mem::replace(&mut self.complained, true) {
            let hint = if is_exhaustion(cause) {
                ": raise the limit of open files (ulimit -n)"
            } else {
                ""
            };
            error!("clients have to wait, for {cause}{hint}");
        }
    }

    /// Nobody waits at one of the ports. Said once nobody does at any of them: while the queue is
    /// long, each client that goes makes room for one, and that is no news.
    fn recover(&mut self) {
        let nobody_waits = !self.ports.iter().any(|port| port.waiting);
        if nobody_waits && std::mem::take(&mut self.complained) {
            info!("clients are accepted again");
        }
    }
}

/// Whether the next client may fare better.
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

/// How many descriptors this process may have.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}
