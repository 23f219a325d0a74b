//! One peer: its socket, what it sent that is not whole yet, what waits to be sent to it, and where
//! it stands between opening and closing.
//!
//! | [`ReadyState`] | [`Role`] | [`Exit`] | where it stands |
//! |---|---|---|---|
//! | Connecting | Http | None | a request or its response is under way, or the next is awaited |
//! | Connecting | Http | LastWords | the last response is being written |
//! | Open | WebSocket | None | messages go both ways |
//! | Open | Listener | None | what is said on its route goes out, as events in a response without end |
//! | Connecting | Source | None | a source that was opened, and is not reached yet |
//! | Open | Source | None | lines or bytes come in, and what it is told goes out |
//! | Closing | Source | Lingering | it is told no more; what still comes is awaited, and its end |
//! | Closing | WebSocket | None | our close frame is queued or sent; the peer's is awaited |
//! | Closing | any | LastWords | the last bytes are being written |
//! | Closing | WebSocket | Lingering | Hixie: our end was sent; the peer's is awaited |
//! | Closed | any | Lingering | all was written; the peer's end is awaited |
//! | Closed | any | Gone | to be removed at the end of the turn |
//!
//! Once `on_close` or `on_source_end` was called, the role is `Reported`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use super::addr::PeerAddr;
use super::inbox::{Inbox, Reading};
use super::room::Membership;
use super::sending::outbox::Outbox;
use super::time::{Millis, NEVER};
use crate::ids::{ConnId, RouteId};
use crate::net::stream::Stream;
use crate::net::transfer::Received;
use crate::proto::{Framing, MAX_HEAD, Version};
use crate::source::Cut;

/// Where a connection stands, in the words of the browser's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyState {
    /// The opening handshake is not done, or this is plain HTTP.
    Connecting,
    /// Messages go both ways.
    Open,
    /// A close frame was sent or received; nothing more is delivered.
    Closing,
    /// `on_close` is called or about to be.
    Closed,
}

/// What kind of peer it is, and what its handler is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Speaks HTTP, as every client does at first. No handler is owed anything.
    Http {
        /// At least one request was answered.
        served: bool,
    },
    /// `on_open` was called, and `on_close` is owed.
    WebSocket {
        /// It was pinged, and has sent nothing since.
        awaiting_pong: bool,
    },
    /// Hears what is said on its route by plain HTTP. No handler is owed anything.
    Listener,
    /// A source; `on_source_end` is owed.
    Source { reach: Reach, cut: Cut },
    /// Its handler was told of its end.
    Reported,
}

/// How a source came to be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By a feed.
    Came,
    /// A handler opens it: the kernel is connecting.
    Opening,
    /// A handler has opened it.
    Opened,
}

/// How far it is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It stays: more may be queued.
    None,
    /// Nothing more will be queued; once all is written, the stream ends. With `linger` the socket
    /// then waits for the peer's end: closing one that has unread bytes resets it, and the reset
    /// can overtake what was just written.
    LastWords { linger: bool },
    /// All was written and our end was sent; the peer's is awaited.
    Lingering,
    /// To be removed at the end of the turn.
    Gone,
}

/// Why and how a connection ended, for `on_close` and the log.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// What is written to one peer, and whether it takes it.
#[derive(Debug, Default)]
pub(super) struct Writing {
    pub(super) outbox: Outbox,
    /// Something waits though it was tried to write it: the kernel announces when it takes more, or
    /// would take more at once, and this turn's budget is spent.
    pub(super) blocked: bool,
    /// The handler was told of backpressure and is owed `on_drain`.
    pub(super) pressed: bool,
    /// On the list of connections to write to when the turn ends.
    listed: bool,
    /// It need not take what waits.
    pub(super) never_stalls: bool,
    /// What the connection holds in KiB, both ways, when that was last looked at; see
    /// [`memory`](super::memory). It lies here because here it takes no room.
    pub(super) weight: u32,
}

impl Writing {
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    pub(super) fn delist(&mut self) {
        self.listed = false;
    }
}

/// Fields that few connections use, boxed to keep the rest small.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Bytes that were read but may not be looked at yet: the handler paused the connection, or
    /// HTTP responses are still on their way.
    pub(super) unread: Vec<u8>,
    /// The subprotocol chosen.
    pub(crate) protocol: Option<Box<str>>,
    /// Set once it is known how the connection ends.
    pub(crate) ending: Option<Ending>,
    /// The value that the program keeps with the connection.
    pub(crate) data: usize,
}

/// Room for the beginning of a large message, if the message before it was large: the longest head
/// and a page, or all of a small message. What follows a whole page lands where it is aligned.
/// aligned.
const FIRST_OF_LARGE: usize = MAX_HEAD + 4 * 1024;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) id: ConnId,
    pub(crate) stream: Stream,
    pub(crate) addr: PeerAddr,
    pub(crate) version: Version,
    /// How what is sent to it is framed: by its version and the compression agreed on.
    pub(crate) framing: Framing,
    pub(crate) route: RouteId,
    pub(crate) inbox: Inbox,

    pub(super) role: Role,
    pub(super) ready_state: ReadyState,
    pub(super) exit: Exit,
    /// Our close frame was queued.
    pub(super) close_sent: bool,
    /// Its place in its route's room.
    pub(super) membership: Membership,
    pub(super) reading: Reading,
    pub(super) writing: Writing,
    extras: Option<Box<Extras>>,

    /// When it came to where it stands: was accepted, answered or pinged, or began to close.
    pub(super) since: Millis,
    /// When anything was last read.
    pub(super) heard: Millis,
    /// When the peer last took anything, or when what waits was queued.
    pub(super) written: Millis,
    /// Its entry among the deadlines that counts; earlier ones are stale.
    pub(super) armed: Millis,
}

impl Connection {
    pub(super) fn new(id: ConnId, stream: Stream, addr: Option<SocketAddr>, now: Millis) -> Self {
        Connection {
            id,
            stream,
            addr: addr.into(),
            version: Version::Rfc6455,
            framing: Framing::Hybi,
            route: 0,
            inbox: Inbox::Head(Vec::new()),
            role: Role::Http { served: false },
            ready_state: ReadyState::Connecting,
            exit: Exit::None,
            close_sent: false,
            membership: Membership::default(),
            reading: Reading::new(),
            writing: Writing::default(),
            extras: None,
            since: now,
            heard: now,
            written: now,
            armed: NEVER,
        }
    }

    pub(crate) fn ready_state(&self) -> ReadyState {
        self.ready_state
    }

    pub(crate) fn is_open(&self) -> bool {
        self.ready_state == ReadyState::Open
    }

    /// Whether `on_open` was called and `on_close` was not.
    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self.role, Role::WebSocket { .. })
    }

    /// Whether the request at hand is not its first.
    pub(crate) fn was_answered(&self) -> bool {
        self.role == (Role::Http { served: true })
    }

    /// The peer has sent something. True if a pong was awaited.
    pub(super) fn stop_awaiting_pong(&mut self) -> bool {
        match &mut self.role {
            Role::WebSocket { awaiting_pong } => std::mem::take(awaiting_pong),
            _ => false,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.exit == Exit::Gone
    }

    pub(crate) fn extras(&self) -> Option<&Extras> {
        self.extras.as_deref()
    }

    pub(crate) fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Whether it is known how the connection ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.extras().is_some_and(|extras| extras.ending.is_some())
    }

    // Reading.

    /// Reads once: onto a large message that is under way, or else into the receive buffer.
    pub(super) fn read(&mut self, receive: &mut [u8]) -> io::Result<Received> {
        if let Inbox::Frames(decoder) = &mut self.inbox
            && !self.stream.is_tls()
            && let Some(message) = decoder.landing()
        {
            self.reading.note_landing(true);
            return self.stream.read_onto(message);
        }
        // After one large message, the next gets little room here, so that little of it is copied.
        let landed = self.reading.has_landed();
        let most = if landed { FIRST_OF_LARGE.min(receive.len()) } else { receive.len() };
        let received = self.stream.read(receive.get_mut(..most).unwrap_or_default())?;
        self.reading.note_landing(false);
        Ok(received)
    }

    /// Whether there may be something to read, and it may be looked at.
    pub(super) fn may_read(&self) -> bool {
        self.reading.may_have_more() && !self.is_gone() && !self.has_to_wait()
    }

    /// Whether it is read in the next turn, and not only once something is announced.
    pub(super) fn is_read_next(&self) -> bool {
        self.may_read() && self.reading.is_listed()
    }

    /// Whether bytes that came in have to wait.
    pub(crate) fn has_to_wait(&self) -> bool {
        // Of who is not reached nothing can be read but why.
        (self.reading.has_to_wait() && !self.is_opening())
            || (matches!(self.inbox, Inbox::Head(_)) && self.writing.outbox.is_busy())
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.reading.is_paused()
    }

    /// Keeps bytes that have to wait.
    pub(super) fn put_aside(&mut self, bytes: &[u8]) {
        self.extras_mut().unread.extend_from_slice(bytes);
    }

    /// Bytes that were put aside and may be looked at now.
    pub(super) fn take_unread(&mut self) -> Option<Vec<u8>> {
        self.may_take_unread().then(|| std::mem::take(&mut self.extras_mut().unread))
    }

    /// Bytes that were put aside.
    #[cfg(test)]
    pub(crate) fn unread(&self) -> usize {
        self.extras().map_or(0, |extras| extras.unread.len())
    }

    fn may_take_unread(&self) -> bool {
        self.extras().is_some_and(|extras| !extras.unread.is_empty()) && !self.has_to_wait()
    }

    /// Puts it on the list of those to read from next turn, if there may be anything to read.
    pub(super) fn list_to_read(&mut self, to_read: &mut Vec<ConnId>) {
        if (self.may_read() || self.may_take_unread()) && self.reading.enlist() {
            to_read.push(self.id);
        }
    }

    // Writing.

    /// Puts it on the list of those to write to when the turn ends.
    pub(super) fn list_to_write(&mut self, to_write: &mut VecDeque<ConnId>) {
        if !std::mem::replace(&mut self.writing.listed, true) {
            to_write.push_back(self.id);
        }
    }

    /// Bytes that wait in its outbox.
    pub(crate) fn queued(&self) -> usize {
        self.writing.outbox.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With its entry among the deadlines, and what the slab keeps of it; its queue and its buffers
    /// were given back.
    #[test]
    fn an_idle_connection_takes_200_bytes() {
        let entry = size_of::<Option<Connection>>();
        let taken = entry + size_of::<(Millis, ConnId)>();
        // Beside that a slab and a heap have room that they do not use yet.
        let most = if cfg!(feature = "tls") { 200 } else { 184 };
        assert!(taken <= most, "{taken} bytes");
    }
}
