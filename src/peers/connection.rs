//! One peer: its socket, what it sent that is not whole yet, what waits to be sent to it, and
//! where it stands between opening and closing.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;

use crate::config::Times;
use crate::ids::{ConnId, RouteId};
use crate::net::stream::{Got, Stream};
use crate::peers::addr::PeerAddr;
use crate::peers::sending::outbox::{Flushed, Outbox, Spares};
use crate::peers::time::{Millis, NEVER};
use crate::proto::deflate::Agreed;
use crate::proto::lines::Lines;
use crate::proto::{Decoder, Framing, MAX_HEAD, Version};

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

/// Room for what begins a large message, if the message before it was large: the longest head and a
/// page, or all of a small one. With a whole page taken, what follows is copied to where it is aligned.
const FIRST_OF_LARGE: usize = MAX_HEAD + 4 * 1024;

/// What the bytes that come in are.
#[derive(Debug)]
pub(crate) enum Inbox {
    /// A request head, as far as it has come.
    Head(Vec<u8>),
    /// The eight bytes behind a Hixie-76 head.
    Challenge(Box<Challenge>),
    /// Frames.
    Frames(Decoder),
    /// Lines: this is no client, but a source that feeds a route.
    Lines(Box<Lines>),
    /// In use further up the stack, while a handler runs.
    Lent,
    /// Nobody's business: the connection is at its end.
    Discard,
}

/// A Hixie-76 handshake that waits for its last bytes.
#[derive(Debug)]
pub(crate) struct Challenge {
    /// The request head, for `on_open`.
    pub(crate) head: Vec<u8>,
    pub(crate) parts: [u32; 2],
    pub(crate) bytes: Vec<u8>,
}

/// Why and how a connection ended, for `on_close` and the log.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// Which deadline a connection missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    Handshake,
    Ping,
    Pong,
    Idle,
    Stall,
    Close,
}

#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Bytes that were read but may not be looked at yet: the handler paused the connection, or
    /// HTTP responses are still on their way.
    pub(crate) held: Vec<u8>,
    /// The subprotocol chosen.
    pub(crate) protocol: Option<Box<str>>,
    /// Set once it is known how the connection ends.
    pub(crate) ending: Option<Ending>,
    /// What the program keeps with the connection.
    pub(crate) data: usize,
}

/// What one read brought.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) bytes: usize,
    /// There may be more.
    pub(crate) more: bool,
    /// They went into a message; these lay behind it. Otherwise all are in the receive buffer.
    pub(crate) behind: Option<Vec<u8>>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) stream: Stream,
    pub(crate) addr: PeerAddr,
    pub(crate) ready_state: ReadyState,
    pub(crate) version: Version,
    /// What was agreed on about compression.
    pub(crate) deflate: Option<Agreed>,
    pub(crate) route: RouteId,
    /// This connection's place among the members of its route's room.
    pub(crate) member: u32,
    /// How many of the messages that wait in the room it has had, or is not to have.
    pub(crate) had: u16,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    /// What most connections have nothing of, most of the time.
    rare: Option<Box<Rare>>,

    /// A source of lines; `on_source_end` is owed.
    pub(crate) source: bool,
    /// Is `on_close` owed? Set by `on_open`, cleared by the call.
    pub(crate) opened: bool,
    /// On the dirty list.
    pub(crate) dirty: bool,
    /// The kernel may have more for us; edge-triggered, it will not say so again.
    pub(crate) readable: bool,
    /// On the list of connections to read on next turn.
    pub(crate) ready: bool,
    /// The end of the peer's stream was announced. Kept, since it is announced once.
    pub(crate) read_closed: bool,
    /// The end of the peer's stream was read.
    pub(crate) read_ended: bool,
    /// The kernel took less than was offered; it will say when it takes more.
    pub(crate) blocked: bool,
    /// The handler was told of backpressure and is owed `on_drain`.
    pub(crate) pressed: bool,
    /// The handler wants nothing read.
    pub(crate) paused: bool,
    /// The last read went into a large message, past the receive buffer.
    landed: bool,
    /// So much was inflated this turn that the rest waits for the next.
    pub(crate) sated: bool,
    /// Our close frame is queued.
    pub(crate) close_sent: bool,
    /// Nothing will be queued behind what is: when it is written, the connection ends.
    pub(crate) last_words: bool,
    /// At its end, wait for the peer's before closing the socket: closing one that has unread
    /// bytes resets it, and the reset can overtake what was just written.
    pub(crate) linger: bool,
    pub(crate) awaiting_pong: bool,
    /// At least one HTTP request was answered.
    pub(crate) served: bool,
    /// To be removed at the end of the turn.
    pub(crate) gone: bool,

    /// When it came to where it stands: accepted, answered, pinged, or began to close.
    pub(crate) since: Millis,
    /// When anything was last read.
    pub(crate) heard: Millis,
    /// When the peer last took anything, or what waits was queued.
    pub(crate) taken: Millis,
    /// The entry among the deadlines that counts; earlier ones are stale.
    pub(crate) armed: Millis,
}

impl Connection {
    pub(crate) fn new(id: ConnId, stream: Stream, addr: Option<SocketAddr>, now: Millis) -> Self {
        Connection {
            id,
            stream,
            addr: addr.into(),
            ready_state: ReadyState::Connecting,
            version: Version::Rfc6455,
            deflate: None,
            route: 0,
            member: 0,
            had: 0,
            inbox: Inbox::Head(Vec::new()),
            outbox: Outbox::default(),
            rare: None,
            source: false,
            opened: false,
            dirty: false,
            readable: false,
            ready: false,
            read_closed: false,
            read_ended: false,
            blocked: false,
            pressed: false,
            paused: false,
            landed: false,
            sated: false,
            close_sent: false,
            last_words: false,
            linger: false,
            awaiting_pong: false,
            served: false,
            gone: false,
            since: now,
            heard: now,
            taken: now,
            armed: NEVER,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.ready_state == ReadyState::Open
    }

    pub(crate) fn framing(&self) -> Framing {
        Framing::of(self.version, self.deflate)
    }

    /// Puts it on the list of those to be flushed when the turn ends.
    pub(crate) fn mark_dirty(&mut self, dirty: &mut VecDeque<ConnId>) {
        if !std::mem::replace(&mut self.dirty, true) {
            dirty.push_back(self.id);
        }
    }

    /// Puts it on the list of those to read on next turn, if there may be anything to read.
    pub(crate) fn mark_ready(&mut self, ready: &mut Vec<ConnId>) {
        if (self.may_read() || self.may_take_held()) && !std::mem::replace(&mut self.ready, true) {
            ready.push(self.id);
        }
    }

    /// Whether bytes that came in have to wait.
    pub(crate) fn is_holding(&self) -> bool {
        self.paused || self.sated || (matches!(self.inbox, Inbox::Head(_)) && self.outbox.is_busy())
    }

    pub(crate) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether it is known how the connection ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.rare().is_some_and(|rare| rare.ending.is_some())
    }

    /// Bytes that were read before and may be looked at now.
    pub(crate) fn take_held(&mut self) -> Option<Vec<u8>> {
        self.may_take_held().then(|| std::mem::take(&mut self.rare_mut().held))
    }

    fn may_take_held(&self) -> bool {
        self.rare().is_some_and(|rare| !rare.held.is_empty()) && !self.is_holding()
    }

    /// One read: into a large message that is under way, or else into the receive buffer.
    pub(crate) fn read(&mut self, receive: &mut [u8]) -> io::Result<Fresh> {
        if let Inbox::Frames(decoder) = &mut self.inbox
            && !self.stream.is_tls()
            && let Some(message) = decoder.landing()
        {
            self.landed = true;
            let room = message.capacity() - message.len();
            let bytes = self.stream.read_onto(message)?;
            let behind = Some(decoder.landed(bytes));
            return Ok(Fresh { bytes, more: bytes == room, behind });
        }
        // After one large message, the next is met with little room, so that little is copied.
        let most = if self.landed { FIRST_OF_LARGE.min(receive.len()) } else { receive.len() };
        let Got { bytes, more } = self.stream.read(&mut receive[..most])?;
        self.landed = false;
        Ok(Fresh { bytes, more, behind: None })
    }

    /// Has the kernel take what it will of these parts, if nothing waits before them; how much.
    pub(crate) fn offer(&mut self, parts: &[IoSlice<'_>]) -> usize {
        if !self.outbox.is_empty() || self.blocked || self.stream.is_tls() {
            return 0;
        }
        // An error is none yet: the parts are queued, and the flush meets it again.
        self.stream.write(parts).map_or(0, |taken| taken.bytes)
    }

    /// Writes what the kernel takes of what waits, within the budget, and counts it.
    pub(crate) fn flush(
        &mut self,
        scratch: &mut [u8],
        spares: &mut Spares,
        counter: &mut u64,
    ) -> io::Result<Flushed> {
        let flushed = self.outbox.flush(&mut self.stream, scratch, spares, counter)?;
        if flushed != Flushed::All {
            return Ok(flushed);
        }
        let taken = if self.last_words { self.stream.close()? } else { self.stream.flush()? };
        Ok(if taken.blocked { Flushed::Blocked { progress: taken.progress } } else { flushed })
    }

    /// Whether there may be something to read that anybody wants.
    pub(crate) fn may_read(&self) -> bool {
        self.readable && !self.read_ended && !self.gone && !self.is_holding()
    }

    /// The next deadline, computed from the state alone.
    pub(crate) fn deadline(&self, times: &Times) -> (Millis, Overdue) {
        let after = |start: Millis, time: Millis| start.saturating_add(time);
        let stall = if self.blocked { after(self.taken, times.stall) } else { NEVER };
        let stall = (stall, Overdue::Stall);
        match self.ready_state {
            // Nothing else can be on its way yet.
            ReadyState::Connecting if self.stream.is_handshaking() => {
                (after(self.since, times.handshake), Overdue::Handshake)
            }
            // A response is on its way, or the refusal of a late request.
            ReadyState::Connecting if !self.outbox.is_empty() => stall,
            ReadyState::Connecting => (after(self.since, times.handshake), Overdue::Handshake),
            // A sensor may be silent for days, and need not read what it is answered.
            ReadyState::Open if self.source => (NEVER, Overdue::Stall),
            // A paused peer cannot be heard: that is not its fault.
            ReadyState::Open if self.paused => stall,
            ReadyState::Open => {
                let ping = match self.awaiting_pong {
                    true => (after(self.since, times.pong), Overdue::Pong),
                    false if self.version.is_hixie() => (NEVER, Overdue::Ping),
                    false => (after(self.heard, times.ping), Overdue::Ping),
                };
                let idle = (after(self.heard, times.idle), Overdue::Idle);
                [ping, idle].into_iter().fold(stall, |a, b| if b.0 < a.0 { b } else { a })
            }
            ReadyState::Closing | ReadyState::Closed => {
                (after(self.since, times.close), Overdue::Close)
            }
        }
    }
}
