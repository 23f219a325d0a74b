//! A message that is not whole yet, as far as it has come.

use super::Violation;
use super::deflate::Inflater;
use super::frame::TEXT;
use super::memory;
use super::utf8::Text;

/// An announced payload gets this much memory at once, and more as it arrives.
pub(super) const RESERVE_AT_ONCE: usize = if cfg!(fuzzing) { 256 } else { 64 * 1024 };

/// What is kept while something is incomplete; an idle connection has none.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The opcode of the message whose fragments are coming in.
    pub(super) opcode: Option<u8>,
    /// When it began, if anybody said so.
    pub(super) begun: u64,
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

    /// Makes room for bytes that are here, unless there is enough. Some of those that are announced
    /// are given room too, but no more than have come already, since an announcement costs the peer
    /// nothing. If the message ends with them it is given no more than it needs, so that the pool
    /// takes the buffer back.
    ///
    /// So the memory that a message has is never more than twice what has come of it and
    /// [`RESERVE_AT_ONCE`], and it moves to more of it seldom enough for all moves together to cost
    /// no more than a few copies.
    pub(super) fn reserve(
        &mut self,
        here: usize,
        announced: usize,
        last: bool,
    ) -> Result<(), Violation> {
        let come = self.message_len().saturating_add(here);
        if come > self.capacity() { self.grow(come, announced, last) } else { Ok(()) }
    }

    /// Makes room to read bytes to that are announced, if less than `least` is left.
    pub(super) fn reserve_landing(
        &mut self,
        least: usize,
        announced: usize,
        last: bool,
    ) -> Result<(), Violation> {
        let come = self.message_len();
        let room = self.capacity().saturating_sub(come);
        if room < least { self.grow(come, announced, last) } else { Ok(()) }
    }

    /// `come` is close to the capacity, or over it. Where more frames may follow, the memory at
    /// least doubles, however little of them is announced.
    fn grow(&mut self, come: usize, announced: usize, last: bool) -> Result<(), Violation> {
        let wanted = come.saturating_add(announced.min(RESERVE_AT_ONCE.max(come)));
        let doubled = if last { 0 } else { self.capacity().saturating_mul(2) };
        let wanted = wanted.max(doubled);
        if self.opcode == Some(TEXT) {
            self.text.grow(wanted)
        } else {
            let more = wanted.saturating_sub(self.binary.len());
            memory::make_exact_room(&mut self.binary, more)
        }
    }

    /// Appends a piece of the message, for which there is room; text is checked now, not at the end
    /// (section 8.1).
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
            self.reserve(within.len(), 0, false)?;
            self.push(within)?;
            if beyond.is_empty() { Ok(()) } else { Err(Violation::MessageTooBig) }
        };
        inflater.inflate(piece, push)?;
        if last { inflater.finish(push) } else { Ok(()) }
    }

    pub(super) fn message_len(&self) -> usize {
        self.text.len().saturating_add(self.binary.len())
    }

    /// Bytes of memory that the message has.
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity().saturating_add(self.binary.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::BINARY;
    use super::*;

    #[test]
    #[cfg(feature = "deflate")]
    fn no_more_is_inflated_than_the_limit_allows() {
        let payload = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        for (limit, outcome) in [(5, Ok(())), (4, Err(Violation::MessageTooBig))] {
            let mut inflater = super::super::deflate::Contexts::default().take_inflater().unwrap();
            let mut partial = Partial::default();
            partial.begin(BINARY, Vec::new());
            assert_eq!(partial.inflate(&mut inflater, payload, true, limit), outcome);
            assert_eq!(partial.binary, &b"Hello"[..limit]);
        }
    }

    #[test]
    fn memory_that_cannot_be_had_is_no_end_of_the_program() {
        for opcode in [TEXT, BINARY] {
            let mut partial = Partial::default();
            partial.begin(opcode, Vec::new());
            partial.reserve(3, 0, false).unwrap();
            partial.push(b"abc").unwrap();
            for bytes in [usize::MAX, isize::MAX as usize] {
                assert_eq!(partial.reserve(bytes, 0, true), Err(Violation::NoMemory));
            }
            assert_eq!(partial.message_len(), 3);
        }
    }
}
