//! Memory for messages. There may be none left for a large one; then its connection ends, and not the
//! program. So whatever grows with a message asks here, where asking can fail, and where a test can
//! play a system that has no more.

use super::close::Violation;

/// Makes room for so many bytes behind those that a buffer holds. One that grows at least doubles,
/// since nobody knows how much follows.
#[inline]
pub(crate) fn make_room(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), Violation> {
    #[cfg(test)]
    scarcity::ask(bytes, buffer.capacity().saturating_sub(buffer.len()))?;
    buffer.try_reserve(bytes).map_err(|_| Violation::NoMemory)
}

/// The same where it is known how much follows: the buffer grows by no more than that.
#[inline]
pub(super) fn make_exact_room(buffer: &mut Vec<u8>, bytes: usize) -> Result<(), Violation> {
    #[cfg(test)]
    scarcity::ask(bytes, buffer.capacity().saturating_sub(buffer.len()))?;
    buffer.try_reserve_exact(bytes).map_err(|_| Violation::NoMemory)
}

/// The same for text.
#[inline]
pub(super) fn make_exact_text_room(text: &mut String, bytes: usize) -> Result<(), Violation> {
    #[cfg(test)]
    scarcity::ask(bytes, text.capacity().saturating_sub(text.len()))?;
    text.try_reserve_exact(bytes).map_err(|_| Violation::NoMemory)
}

/// What a test says of the memory that its thread may have.
#[cfg(test)]
pub(crate) mod scarcity {
    use super::Violation;
    use std::cell::{Cell, RefCell};

    /// Which requests are refused.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Scarcity {
        None,
        /// One, when so many others were granted.
        After(usize),
        /// All for more than so many bytes.
        Over(usize),
    }

    thread_local! {
        static NOW: Cell<Scarcity> = const { Cell::new(Scarcity::None) };
        static REFUSED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn set(scarcity: Scarcity) {
        NOW.set(scarcity);
    }

    /// The requests that were refused since this was last called, each by how many bytes it was for.
    pub(crate) fn take_refused() -> Vec<usize> {
        REFUSED.take()
    }

    /// Somebody needs so many bytes, and has this much room. Who has enough asks for nothing.
    pub(super) fn ask(bytes: usize, room: usize) -> Result<(), Violation> {
        let refuses = bytes > room
            && match NOW.get() {
                Scarcity::None => false,
                Scarcity::Over(most) => bytes > most,
                Scarcity::After(0) => {
                    NOW.set(Scarcity::None);
                    true
                }
                Scarcity::After(others) => {
                    NOW.set(Scarcity::After(others - 1));
                    false
                }
            };
        if refuses {
            REFUSED.with_borrow_mut(|refused| refused.push(bytes));
            return Err(Violation::NoMemory);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::scarcity::{self, Scarcity};
    use super::*;
    use crate::proto::tests::{LIMITS, Reader, Seen, masked};
    use crate::proto::{Decoder, Event, Version};

    const KEY: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn what_cannot_be_had_changes_nothing() {
        let (mut buffer, mut text) = (b"abc".to_vec(), "abc".to_string());
        for bytes in [usize::MAX, isize::MAX as usize] {
            assert_eq!(make_room(&mut buffer, bytes), Err(Violation::NoMemory));
            assert_eq!(make_exact_room(&mut buffer, bytes), Err(Violation::NoMemory));
            assert_eq!(make_exact_text_room(&mut text, bytes), Err(Violation::NoMemory));
        }
        assert_eq!((&buffer[..], &*text), (&b"abc"[..], "abc"));
    }

    #[test]
    fn a_test_refuses_what_would_need_memory() {
        let mut buffer = Vec::new();
        scarcity::set(Scarcity::After(1));
        make_room(&mut buffer, 100).unwrap();
        make_room(&mut buffer, 100).unwrap();
        assert_eq!(make_room(&mut buffer, 101), Err(Violation::NoMemory));
        make_room(&mut buffer, 101).unwrap();
        scarcity::set(Scarcity::Over(1000));
        make_exact_room(&mut buffer, 1000).unwrap();
        assert_eq!(make_exact_room(&mut buffer, 1001), Err(Violation::NoMemory));
        scarcity::set(Scarcity::None);
        make_exact_room(&mut buffer, 1001).unwrap();
        assert_eq!(scarcity::take_refused(), [101, 1001]);
    }

    #[test]
    fn a_message_fails_where_there_is_no_memory_for_a_part_of_it() {
        scarcity::set(Scarcity::Over(0));
        for (version, bytes) in [
            (Version::Hixie76, b"\0begun".to_vec()),
            (Version::Hixie75, b"\0to be mended: \xc3\xff".to_vec()),
            (Version::Rfc6455, masked(0x01, KEY, b"begun")),
            (Version::Rfc6455, masked(0x82, KEY, b"begun")[..8].to_vec()),
        ] {
            let seen = Reader::new(version, &LIMITS).read(&bytes);
            assert_eq!(seen, [Seen::Failed(Violation::NoMemory)], "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_lies_behind_a_message_that_landed_may_find_no_memory() {
        let mut pool = crate::proto::pool::Pool::default();
        pool.give(Vec::with_capacity(100_000));
        let bytes = [masked(0x82, KEY, &[b'x'; 50_000]), masked(0x81, KEY, b"next")].concat();
        let (first, rest) = bytes.split_at(1000);
        for scarcity in [Scarcity::None, Scarcity::Over(0)] {
            let mut decoder = Decoder::new(Version::Rfc6455, None);
            let mut first = first.to_vec();
            let event = decoder.next(&mut &mut first[..], &LIMITS, &mut pool);
            assert!(matches!(event, Some(Event::Begun(_))), "{event:?}");
            decoder.landing().unwrap().extend_from_slice(rest);
            scarcity::set(scarcity);
            match decoder.landed(rest.len()) {
                Ok(behind) => assert!(scarcity == Scarcity::None && behind.len() == 10),
                Err(violation) => {
                    assert_eq!((scarcity, violation), (Scarcity::Over(0), Violation::NoMemory));
                }
            }
            pool.give(Vec::with_capacity(100_000));
        }
    }
}
