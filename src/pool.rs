//! Buffers that were emptied, for the next to need one.
//!
//! What is queued during a turn is mostly written at its end, and a message that came in pieces is
//! delivered once it is whole; so a few buffers serve many connections, and an idle one holds none.

use crate::buffer::Queue;
use crate::proto::deflate::{Agreed, Contexts, Deflate};

/// Empty buffers of two sizes, a few, and empty queues; together they hold no more than 6 MiB.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a queue moves as a pointer, between here and a connection")]
pub(crate) struct Pool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    queues: Vec<Box<Queue>>,
    /// Octets of memory that those hold.
    in_queues: usize,
    pub(crate) contexts: Contexts,
}

const SMALL: usize = 16 * 1024;
const MOST_SMALL: usize = 64;
const LARGE: usize = 1024 * 1024;
const MOST_LARGE: usize = 4;
/// Enough for a few messages to each of a thousand, all in one turn.
const MOST_IN_QUEUES: usize = 1024 * 1024;

impl Pool {
    pub(crate) fn new(deflate: Option<Deflate>) -> Pool {
        Pool { contexts: Contexts::new(deflate), ..Pool::default() }
    }

    /// A payload in its compressed form, if it should be sent so.
    pub(crate) fn deflate(&mut self, agreed: Agreed, payload: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = self.take(payload.len());
        if self.contexts.deflate(agreed, payload, &mut buffer) {
            return Some(buffer);
        }
        self.give(buffer);
        None
    }

    /// An empty buffer for about `len` octets.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let spare = if len <= SMALL { &mut self.small } else { &mut self.large };
        spare.pop().unwrap_or_default()
    }

    /// An empty queue.
    pub(crate) fn take_queue(&mut self) -> Box<Queue> {
        let queue = self.queues.pop().unwrap_or_default();
        self.in_queues = self.in_queues.saturating_sub(queue.memory());
        queue
    }

    /// Takes an empty queue back, or frees it. A small buffer stays with it.
    pub(crate) fn give_queue(&mut self, mut queue: Box<Queue>) {
        if let Some(large) = queue.take_tail_over(SMALL) {
            self.give(large);
        }
        let in_queues = self.in_queues + queue.memory();
        if in_queues <= MOST_IN_QUEUES && queue.is_small() {
            self.in_queues = in_queues;
            self.queues.push(queue);
        }
    }

    /// Takes a buffer back, or frees it.
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
        assert_eq!(pool.take(200_000).capacity(), 100_000);
        assert_eq!(pool.take(50_000).capacity(), 0);
        let small = pool.take(10);
        assert_eq!((small.len(), small.capacity()), (0, 100));
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
    #[test]
    fn queues_are_kept_as_long_as_they_take_little_together() {
        let mut pool = Pool::default();
        let mut queues: Vec<Box<Queue>> = (0..1000).map(|_| pool.take_queue()).collect();
        assert_eq!(pool.in_queues, 0);
        for queue in &mut queues {
            queue.reserve(2000);
        }
        for queue in queues {
            pool.give_queue(queue);
        }
        let kept = pool.queues.len();
        assert!((400..530).contains(&kept), "{kept}");
        assert!(pool.in_queues <= MOST_IN_QUEUES);
        for _ in 0..kept {
            pool.take_queue();
        }
        assert_eq!((pool.in_queues, pool.queues.len()), (0, 0));
    }
}
