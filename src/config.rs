//! Every limit and every deadline, with its default and the reason for it.

use std::time::Duration;

use crate::http::origin::OriginRule;
use crate::net::tls::Tls;
use crate::proto::deflate::Deflate;
use crate::proto::{Limits, Version};

/// What a server allows its peers. All limits are finite. A value beyond what its field says is
/// taken as the nearest that is not.
///
/// ```
/// use std::time::Duration;
/// use wsloop::Config;
///
/// let mut config = Config::default();
/// config.max_message = 64 * 1024;
/// config.ping_interval = Some(Duration::from_secs(10));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Largest request head in bytes. Default 8 KiB, which browsers with many cookies need.
    /// At most 64 MiB. Exceeded: 431, and the connection is closed.
    pub max_head: usize,
    /// Most header fields in a request, from 1 to 1,024: there is room made for so many. Default
    /// 100. Exceeded: 431, closed.
    pub max_headers: usize,
    /// Longest time from accepting a connection to the end of its opening handshake; bytes that
    /// trickle in do not extend it. Also how long a kept-alive HTTP connection may wait for its
    /// next request. Default 10 s. Exceeded: 408, closed; without 408 where no next request has
    /// begun. And the longest time for a source that a handler [opens](crate::Context::open) to answer.
    pub handshake_timeout: Duration,
    /// Largest message in bytes, all fragments together; checked by the announced length, before
    /// memory is taken. Default 1 MiB. At most a quarter of what can be addressed, `isize::MAX / 4`.
    /// Exceeded: close code 1009, or 413 for a POST. A message that is within it, but that memory cannot be had for as
    /// it comes, ends its connection too, with 1011.
    pub max_message: usize,
    /// Most fragments in one message. They share one growing buffer, so this bounds only the work.
    /// Default 131,072. Exceeded: close code 1008.
    pub max_fragments: u32,
    /// Most bytes queued for one connection and not yet taken by the kernel, counted with the
    /// message that is being added. Default 4 MiB. At most `isize::MAX / 4`. Exceeded: see
    /// [`Config::on_full`]. A message that is within it, but that memory cannot be had for, ends the
    /// connection, with 1011.
    pub max_backlog: usize,
    /// Most bytes that all connections hold together: what messages, heads and lines take as they come,
    /// and what is queued, by the memory that it has; 200 bytes for each connection, and 40 KiB for
    /// each with TLS. What one callback queues comes on top, until its turn ends. `None`, the default:
    /// a quarter of the memory of the machine, or of its control group. Exceeded: those that hold the
    /// most end, with close code 1013, and are named in the log; and who connects while there is no
    /// room for one more gets 503.
    pub max_memory: Option<usize>,
    /// What happens to a connection whose backlog is full. Default [`OnFull::Close`].
    pub on_full: OnFull,
    /// After this much silence a ping is sent, and this often a comment to who listens by plain HTTP; a peer that takes bytes it had to wait for is not
    /// silent. Default 25 s: proxies forget idle connections after 30 to 60. `None`: no pings. The
    /// Hixie versions have no ping: there, as for sources of lines, the keep-alive of TCP finds out
    /// that a peer has vanished, two minutes after it has.
    pub ping_interval: Option<Duration>,
    /// How long after a ping anything at all must have come. It begins when the ping has left for the
    /// peer: behind bytes that the peer takes slowly, that is later. Default 25 s. Exceeded: the
    /// connection is gone, close code 1006.
    pub pong_timeout: Duration,
    /// How long a message may take from its first byte to its last; for a large one longer, by a
    /// second for each 4 KiB of it that have come. Default 60 s; `None`: for ever. Exceeded: close code
    /// 1008, or 408 for a POST.
    pub message_timeout: Option<Duration>,
    /// Longest silence, pongs counted as sound, and bytes taken that had to wait. Default none, for
    /// Hixie clients neither, which send no pongs: a page that only listens would be cut. Who listens by
    /// plain HTTP is never cut for it. Exceeded: the connection is gone.
    pub idle_timeout: Option<Duration>,
    /// How long what is queued for a peer may wait while it takes none of it; for a source that was
    /// [opened](crate::Context::open) too. `None`, the default: as long as a silent peer is kept,
    /// `ping_interval` and `pong_timeout` together. `idle_timeout` holds as well, if it is shorter.
    /// Exceeded: the peer is gone, close code 1006.
    pub stall_timeout: Option<Duration>,
    /// How long the peer has to answer a close frame, or to take the last bytes. As long as it takes
    /// some, the period begins anew, and ends after twelve such periods whatever it takes; the same
    /// holds when the server stops. Default 5 s, so a minute on the whole. Exceeded: the connection
    /// is gone, close code 1006.
    pub close_timeout: Duration,
    /// Most connections. `None`, the default: the limit of open descriptors, less a reserve of 32,
    /// less one for each file of over 16 KiB that is under way to a client, and less three for each
    /// program. Such files may be an eighth of that limit, and who asks for one more gets 503 with
    /// `Retry-After`. Exceeded: 503, closed; beyond 16 of these, clients wait to be accepted.
    pub max_connections: Option<usize>,
    /// Most connections from one address; of IPv6 the first 64 bits count. Where
    /// [`trust_proxy`](Config::trust_proxy) is set, the address that the proxy names counts. Loopback
    /// and Unix sockets are not counted. `None`, the default: no such limit. Exceeded: 429, closed.
    pub max_per_address: Option<usize>,
    /// Most programs that handlers have [opened](crate::Context::open) and that have not ended. Default
    /// 64. Exceeded: no more are started; [`Each`](crate::handlers::Each) answers 503.
    pub max_programs: usize,
    /// How long a program has to end by itself when its input has ended, and again when its group was
    /// sent SIGTERM; then it is sent SIGKILL. Default 2 s.
    pub program_grace: Duration,
    /// Most events taken from the kernel in one turn, from 1 to 65,536; the rest come in the next.
    /// Default 1,024.
    pub max_events: usize,
    /// Most bytes read from one connection in a turn, so that a busy peer starves nobody; the rest
    /// is read in the next. A large message, which is read straight to its final place, may exceed
    /// it. Default 64 KiB: turns stay short beside a connection that floods, and larger messages
    /// gain nothing from more. At most 256 KiB.
    pub read_budget: usize,
    /// Makes [`fd`](crate::Server::fd) readable for deadlines and for left-over work too: a loop
    /// around it then needs no timeout. It costs one more descriptor, and a system call when the
    /// next deadline comes closer. Linux and Android only; elsewhere
    /// [`Server::new`](crate::Server::new) refuses it. Default off.
    pub fd_only: bool,
    /// The hosts that are served, on any port: `example.com`, `[2001:db8::1]`; `*.example.com` for all
    /// names below one, `*` for all. A request whose `Host` field names another gets 421. So no page
    /// reads what is served here by a name of its own that points at this machine (DNS rebinding). A
    /// request without `Host`, of HTTP/1.0, does not come from a browser and is served.
    ///
    /// Default: none, which means `localhost`, what is below it, and loopback addresses where
    /// [`listen`](crate::Server::listen) was called for loopback addresses alone, and for clients who
    /// come from one; every host elsewhere, on Unix sockets, and with `trust_proxy` or `secure_proxy`.
    pub hosts: Vec<String>,
    /// The protocol versions that are spoken. Default: all of them. A client of another one gets 426,
    /// with the list of those that `Sec-WebSocket-Version` can name. The drafts prove less of a client
    /// than RFC 6455 does, and only browsers from before 2012 need them; `vec![Version::Rfc6455]` turns
    /// them off.
    pub versions: Vec<Version>,
    /// Which pages may connect, and listen and post by plain HTTP where that is offered. Default: those of the same host, on any port; `localhost`, `127.0.0.1`
    /// and `[::1]` are one host. Others: 403.
    pub origins: Vec<OriginRule>,
    /// A proxy in front ends TLS: the Hixie answers say `wss`. Default off.
    pub secure_proxy: bool,
    /// A proxy in front sets `X-Forwarded-For` and `X-Forwarded-Proto`; believe them. Default off,
    /// since any client can send them.
    pub trust_proxy: bool,
    /// Whether and how messages are compressed, both ways, for clients that offer
    /// permessage-deflate (RFC 7692). Default `None`: not at all.
    ///
    /// Neither side keeps its window from one message to the next, so an idle connection needs no
    /// more memory than one without compression. `max_message` limits the message as it is
    /// delivered; its compressed form may exceed that limit by an eighth and 64 bytes.
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
    #[cfg(not(feature = "deflate"))]
    pub(crate) deflate: Option<Deflate>,
    /// The certificate for TLS (`wss://`, `https://`). Default `None`: plain. With one, TCP
    /// addresses speak TLS unless they say otherwise: see
    /// [`Server::listen`](crate::Server::listen).
    ///
    /// The handshake of TLS counts towards `handshake_timeout`. For a client that reads nothing, up
    /// to 64 KiB is held encrypted, beside `max_backlog`.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    #[cfg(not(feature = "tls"))]
    pub(crate) tls: Option<Tls>,
}

/// What happens to a connection whose backlog is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// It is closed with 1008, so that it never misses a message without noticing; the events of who
    /// listens by plain HTTP end. The default.
    Close,
    /// The message is dropped for this connection alone, and the connection stays open.
    Drop,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_head: 8 * 1024,
            max_headers: 100,
            handshake_timeout: Duration::from_secs(10),
            max_message: 1024 * 1024,
            max_fragments: 131_072,
            max_backlog: 4 * 1024 * 1024,
            max_memory: None,
            on_full: OnFull::Close,
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_secs(25),
            message_timeout: Some(Duration::from_secs(60)),
            idle_timeout: None,
            stall_timeout: None,
            close_timeout: Duration::from_secs(5),
            max_connections: None,
            max_per_address: None,
            max_programs: 64,
            program_grace: Duration::from_secs(2),
            max_events: 1024,
            read_budget: 64 * 1024,
            fd_only: false,
            hosts: Vec::new(),
            versions: Version::ALL.to_vec(),
            origins: vec![OriginRule::SameHost],
            secure_proxy: false,
            trust_proxy: false,
            deflate: None,
            tls: None,
        }
    }
}

/// So much can be added up a few times without an overflow.
const MOST_BYTES: usize = isize::MAX as usize / 4;
const MOST_HEAD: usize = 64 * 1024 * 1024;
const MOST_HEADERS: usize = 1024;
const MOST_EVENTS: usize = 65_536;

impl Config {
    /// The same with each value within the bounds that its field states.
    pub(crate) fn within_bounds(self) -> Config {
        Config {
            max_head: self.max_head.min(MOST_HEAD),
            max_headers: self.max_headers.clamp(1, MOST_HEADERS),
            max_message: self.max_message.min(MOST_BYTES),
            max_backlog: self.max_backlog.min(MOST_BYTES),
            max_events: self.max_events.clamp(1, MOST_EVENTS),
            ..self
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { message: self.max_message, fragments: self.max_fragments }
    }
}
