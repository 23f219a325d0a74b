//! Emptied buffers, kept for whoever needs one next.
//!
//! What is queued during a turn is mostly written at its end, and a message that came in pieces is
//! delivered once it is whole; so a few buffers serve many connections, and an idle one holds none.

use super::deflate::{Agreed, Contexts, Deflate};

/// A few empty buffers of two sizes: together they hold no more than 5 MiB.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    pub(super) contexts: Contexts,
}

/// The largest buffer that counts as small.
pub(crate) const SMALL: usize = 16 * 1024;
const MOST_SMALL: usize = 64;
const LARGE: usize = 1024 * 1024;
const MOST_LARGE: usize = 4;
/// A large buffer is lent out for no less than this part of it.
const MOST_TOO_LARGE: usize = 4;

impl Pool {
    pub(crate) fn new(deflate: Option<Deflate>) -> Pool {
        Pool { contexts: Contexts::new(deflate), ..Pool::default() }
    }

    /// A payload in its compressed form, if it should be sent in that form.
    pub(crate) fn deflate(&mut self, agreed: Agreed, payload: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = self.take(payload.len());
        if self.contexts.deflate(agreed, payload, &mut buffer) {
            return Some(buffer);
        }
        self.give(buffer);
        None
    }

    /// What was inflated and compressed so far, in units of about 100 ns.
    pub(crate) fn work(&self) -> u64 {
        self.contexts.work()
    }

    /// An empty buffer for about `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        if len <= SMALL {
            return self.small.pop().unwrap_or_default();
        }
        // None that is much too large: it may be kept for as long as a peer reads nothing.
        let fits = |buffer: &Vec<u8>| buffer.capacity() / MOST_TOO_LARGE <= len;
        let place = self.large.iter().position(fits);
        place.map(|place| self.large.swap_remove(place)).unwrap_or_default()
    }

    /// Keeps a buffer for later, or frees it.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let (spare, most) = match buffer.capacity() {
            1..=SMALL => (&mut self.small, MOST_SMALL),
            0 => return,
            LARGE.. if buffer.capacity() > LARGE => return,
            _ => (&mut self.large, MOST_LARGE),
        };
        if spare.len() < most {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_by_size() {
        let mut pool = Pool::default();
        pool.give(vec![1; 100]);
        pool.give(vec![2; 100_000]);
        assert_eq!(pool.take(24_999).capacity(), 0);
        assert_eq!(pool.take(200_000).capacity(), 100_000);
        assert_eq!(pool.take(50_000).capacity(), 0);
        let small = pool.take(10);
        assert_eq!((small.len(), small.capacity()), (0, 100));
    }

    #[test]
    #[cfg(feature = "deflate")]
    fn a_buffer_that_was_of_no_use_comes_back() {
        let mut pool = Pool::default();
        let agreed =
            super::super::deflate::agree([&b"permessage-deflate"[..]].into_iter()).unwrap();
        let made = pool.deflate(agreed, &[b'a'; 2000]).unwrap();
        assert!(made.len() < 2000);
        pool.give(made);
        assert_eq!(pool.deflate(agreed, b"short"), None);
        assert_eq!(pool.small.len(), 1);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut pool = Pool::default();
        pool.give(Vec::new());
        pool.give(vec![0; LARGE + 1]);
        assert!(pool.small.is_empty() && pool.large.is_empty());
        for _ in 0..100 {
            pool.give(vec![0; 10]);
            pool.give(vec![0; SMALL + 1]);
        }
        assert_eq!((pool.small.len(), pool.large.len()), (MOST_SMALL, MOST_LARGE));
    }
}
