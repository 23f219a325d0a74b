//! What comes in from one peer: what its bytes are, whether there are any, and why they may have to
//! wait.

use crate::proto::Decoder;
use crate::proto::lines::Lines;

/// What the incoming bytes are.
#[derive(Debug)]
pub(crate) enum Inbox {
    /// A request head, as far as it has come.
    Head(Vec<u8>),
    /// The body of a request, which is a message.
    Post(Box<Post>),
    /// The eight bytes behind a Hixie-76 head.
    Challenge(Box<Challenge>),
    /// Frames.
    Frames(Decoder),
    /// Lines: the peer is no client, but a source.
    Lines(Box<Lines>),
    /// Bytes of a source, handed over as they come.
    Bytes,
    /// In use further up the stack, while a handler runs.
    Lent,
    /// Ignored: the connection is at its end.
    Discard,
}

/// A message that comes by POST.
#[derive(Debug)]
pub(crate) struct Post {
    /// As much of it as has come.
    pub(crate) body: Vec<u8>,
    /// Its length, as it was announced.
    pub(crate) len: usize,
    pub(crate) is_binary: bool,
    /// That of the page that sends it, if it is a page.
    pub(crate) origin: Option<String>,
    /// Whether another request may follow.
    pub(crate) keep_alive: bool,
}

impl Post {
    /// Bytes of memory that it holds.
    pub(super) fn held(&self) -> usize {
        self.body.capacity().saturating_add(self.origin.as_ref().map_or(0, String::capacity))
    }
}

/// A Hixie-76 handshake that waits for its last bytes.
#[derive(Debug)]
pub(crate) struct Challenge {
    /// The request head, for `on_open`.
    pub(crate) head: Vec<u8>,
    pub(crate) parts: [u32; 2],
    pub(crate) bytes: Vec<u8>,
}

/// What the kernel may hold for us. It announces each change once (edge-triggered), so this is kept
/// until a read shows otherwise. An announcement only moves it down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Incoming {
    /// All was read. The kernel announces what comes next.
    Nothing,
    /// There may be something to read.
    Bytes,
    /// The same, and the end of the peer's stream was announced: it lies behind them.
    BytesAndEnd,
    /// The end was read.
    Ended,
}

/// Why nothing is read from a peer, though there may be something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    /// It caused so much work in this turn that the rest waits for the next.
    Sated,
    /// The handler paused the connection.
    Paused,
}

/// What is to be read from one peer, and what keeps it from being read.
#[derive(Debug)]
pub(super) struct Reading {
    incoming: Incoming,
    /// On the list of connections to read on next turn.
    listed: bool,
    wait: Wait,
    /// The last read went into a large message, past the receive buffer.
    landed: bool,
}

impl Reading {
    pub(super) fn new() -> Reading {
        Reading { incoming: Incoming::Nothing, listed: false, wait: Wait::No, landed: false }
    }

    /// The kernel announced bytes, or the end of the stream.
    pub(super) fn announced(&mut self, end: bool) {
        let now = if end { Incoming::BytesAndEnd } else { Incoming::Bytes };
        self.incoming = self.incoming.max(now);
    }

    /// A read brought less than it had room for, so the socket is empty. The end of the stream is
    /// announced only once: if it was, it is still to be read, and this returns true.
    pub(super) fn emptied(&mut self) -> bool {
        if self.incoming == Incoming::Bytes {
            self.incoming = Incoming::Nothing;
        }
        self.incoming == Incoming::BytesAndEnd
    }

    /// The kernel says that it holds nothing.
    pub(super) fn would_block(&mut self) {
        self.incoming = Incoming::Nothing;
    }

    /// The end of the stream was read, or an error that is as good as the end.
    pub(super) fn ended(&mut self) {
        self.incoming = Incoming::Ended;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.incoming == Incoming::Ended
    }

    /// Whether the kernel may hold something.
    pub(super) fn may_have_more(&self) -> bool {
        matches!(self.incoming, Incoming::Bytes | Incoming::BytesAndEnd)
    }

    pub(super) fn pause(&mut self) {
        self.wait = Wait::Paused;
    }

    /// True if it was paused.
    pub(super) fn resume(&mut self) -> bool {
        let paused = self.is_paused();
        self.wait = Wait::No;
        paused
    }

    pub(super) fn is_paused(&self) -> bool {
        self.wait == Wait::Paused
    }

    /// It caused enough work for this turn. If it is paused, that lasts longer.
    pub(super) fn sate(&mut self) {
        if self.wait == Wait::No {
            self.wait = Wait::Sated;
        }
    }

    /// The turn's reading is over.
    pub(super) fn hunger(&mut self) {
        if self.wait == Wait::Sated {
            self.wait = Wait::No;
        }
    }

    /// Whether what has come has to wait.
    pub(super) fn has_to_wait(&self) -> bool {
        self.wait != Wait::No
    }

    /// True if it was not on the list yet.
    pub(super) fn enlist(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    pub(super) fn delist(&mut self) {
        self.listed = false;
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    pub(super) fn note_landing(&mut self, landed: bool) {
        self.landed = landed;
    }

    pub(super) fn has_landed(&self) -> bool {
        self.landed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_outlasts_the_turn_however_much_work_there_was() {
        let mut reading = Reading::new();
        reading.sate();
        assert!(reading.has_to_wait());
        reading.hunger();
        assert!(!reading.has_to_wait());
        reading.pause();
        reading.sate();
        reading.hunger();
        assert!(reading.is_paused());
    }

    #[test]
    fn an_end_that_was_announced_is_read_however_little_comes_before_it() {
        let mut reading = Reading::new();
        reading.announced(false);
        assert!(!reading.emptied() && !reading.may_have_more());
        reading.announced(true);
        reading.announced(false);
        assert!(reading.emptied() && reading.may_have_more());
        reading.ended();
        reading.announced(true);
        assert!(reading.has_ended() && !reading.may_have_more());
    }
}
