//! A message that is not whole yet, as far as it has come.

use super::Violation;
use super::deflate::Inflater;
use super::frame::TEXT;
use super::utf8::Text;

/// An announced payload gets this much memory at once, and more as it arrives.
pub(super) const RESERVE_AT_ONCE: usize = if cfg!(fuzzing) { 256 } else { 64 * 1024 };

/// What is kept while something is incomplete; an idle connection has none.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The opcode of the message whose fragments are coming in.
    pub(super) opcode: Option<u8>,
    /// How many of its fragments came after the first.
    pub(super) continuations: u32,
    pub(super) text: Text,
    pub(super) binary: Vec<u8>,
    /// For a message that is compressed.
    pub(super) inflater: Option<Box<Inflater>>,
    /// Bytes of its compressed form that have come or were announced.
    pub(super) deflated: usize,
    /// A control frame's payload; it may come between the fragments.
    pub(super) control: Vec<u8>,
}

impl Partial {
    /// Begins a message, in a buffer from the pool.
    pub(super) fn begin(&mut self, opcode: u8, buffer: Vec<u8>) {
        self.opcode = Some(opcode);
        if opcode == TEXT {
            self.text = Text::within(buffer);
        } else {
            self.binary = buffer;
        }
    }

    /// Makes room for bytes that are here and for some of those that are announced: for no more than
    /// [`RESERVE_AT_ONCE`] or as many as have come already, since an announcement costs the peer
    /// nothing. If the message's last bytes are among them, the room is exact, so that the pool can
    /// use the buffer again.
    pub(super) fn reserve(&mut self, here: usize, announced: usize, last: bool) {
        let come = self.message_len().saturating_add(here);
        let more = announced.min(RESERVE_AT_ONCE.max(come));
        let room = here.saturating_add(more);
        match (self.opcode == Some(TEXT), last && more == announced) {
            (true, true) => self.text.reserve_exact(room),
            (true, false) => self.text.reserve(room),
            (false, true) => self.binary.reserve_exact(room),
            (false, false) => self.binary.reserve(room),
        }
    }

    /// Appends a piece of the message; text is checked now, not at the end (section 8.1).
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        if self.opcode == Some(TEXT) {
            self.text.push(piece).map_err(|_| Violation::NotUtf8)
        } else {
            self.binary.extend_from_slice(piece);
            Ok(())
        }
    }

    /// Appends what a piece of a compressed message inflates to, up to the limit. With the last
    /// piece the message is whole.
    pub(super) fn inflate(
        &mut self,
        inflater: &mut Inflater,
        piece: &[u8],
        last: bool,
        limit: usize,
    ) -> Result<(), Violation> {
        let push = &mut |bytes: &[u8]| {
            let room = limit.saturating_sub(self.message_len());
            let (within, beyond) = bytes.split_at(bytes.len().min(room));
            self.push(within)?;
            if beyond.is_empty() { Ok(()) } else { Err(Violation::MessageTooBig) }
        };
        inflater.inflate(piece, push)?;
        if last { inflater.finish(push) } else { Ok(()) }
    }

    pub(super) fn message_len(&self) -> usize {
        self.text.len().saturating_add(self.binary.len())
    }
}
