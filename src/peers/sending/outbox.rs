//! What is queued for one peer: small messages side by side, large ones shared, files still unread.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use crate::net::stream::Stream;
use crate::net::transfer::Written;
use crate::peers::time::Millis;
use crate::proto::memory;
use crate::proto::pool::{Pool, SMALL};

/// Most slices in one system call.
const MAX_SLICES: usize = 16;
/// A chunk of own bytes grows no further than this; the next bytes begin another.
const CHUNK: usize = 64 * 1024;
/// Pipelined requests are answered until this much waits; the rest once it is written.
const BUSY: usize = 16 * 1024;
/// Most bytes written to one peer in a turn, so that a fast reader starves nobody.
const WRITE_BUDGET: usize = if cfg!(test) { 32 * 1024 } else { 1024 * 1024 };

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    /// The bytes from this index on.
    Shared(Rc<Vec<u8>>, usize),
    File {
        file: File,
        offset: u64,
        left: u64,
        /// One of those that [`Spares`] counts.
        _counted: Rc<()>,
    },
}

impl Chunk {
    /// The bytes, unless they are still in a file.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Chunk::Own(bytes) => Some(bytes),
            Chunk::Shared(bytes, from) => bytes.get(*from..),
            Chunk::File { .. } => None,
        }
    }
}

/// What a flush left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All is written.
    Nothing,
    /// The kernel takes no more until it announces that it does. Tells whether it took anything.
    Blocked { progress: bool },
    /// The budget is spent; the kernel would take more.
    Budget,
}

/// The write buffer of one connection; an empty one is a null pointer.
#[derive(Debug, Default)]
pub(in crate::peers) struct Outbox {
    queue: Option<Box<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    /// Behind all chunks: what small messages are appended to.
    tail: Vec<u8>,
    /// Bytes of memory that the chunks have which are no one else's.
    own: usize,
    /// Bytes of the first chunk that are written already, or of the tail if there is none.
    written: usize,
    /// Bytes queued and not written; those of files do not count, since they take no memory.
    len: usize,
    /// When the peer was last looked at for what it takes in a while,
    watched: Millis,
    /// and how many bytes the kernel has taken for it since.
    taken: u64,
}

impl Outbox {
    /// Bytes that wait in memory.
    pub(in crate::peers) fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len)
    }

    /// Bytes of memory that it has for itself, not for what others are sent too.
    pub(in crate::peers) fn memory(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.memory().saturating_add(queue.own))
    }

    /// Whether nothing waits, neither in memory nor in a file.
    pub(in crate::peers) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Looks from now on how much the peer takes. Returns how many bytes it was before.
    pub(in crate::peers) fn watch(&mut self, now: Millis) -> u64 {
        let Some(queue) = &mut self.queue else { return 0 };
        queue.watched = now;
        std::mem::take(&mut queue.taken)
    }

    /// Since when it is looked at; 0 if it is not yet.
    pub(in crate::peers) fn watched(&self) -> Millis {
        self.queue.as_ref().map_or(0, |queue| queue.watched)
    }

    /// Whether so much waits that answers to further requests should not be put behind it.
    pub(in crate::peers) fn is_busy(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.len >= BUSY || queue.ends_in_file())
    }

    /// Queues what `write` appends: about `len` bytes. False, and nothing is queued, if there is no
    /// memory for so many.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of what lies in memory")]
    pub(super) fn append(
        &mut self,
        spares: &mut Spares,
        len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let queue = self.queue.get_or_insert_with(|| spares.take_queue());
        if !queue.make_room(len, &mut spares.pool) {
            self.give_back_if_empty(spares);
            return false;
        }
        let before = queue.tail.len();
        write(&mut queue.tail);
        let appended = queue.tail.len() - before;
        queue.len += appended;
        if appended == 0 {
            self.give_back_if_empty(spares);
        }
        true
    }

    #[cold]
    fn give_back_if_empty(&mut self, spares: &mut Spares) {
        if self.queue.as_ref().is_some_and(|queue| queue.is_empty()) {
            self.give_back(spares);
        }
    }

    /// Queues bytes that other connections are sent too, from index `from` on.
    pub(super) fn append_shared(&mut self, spares: &mut Spares, bytes: &Rc<Vec<u8>>, from: usize) {
        let queue = self.queue.get_or_insert_with(|| spares.take_queue());
        queue.end_tail();
        queue.len = queue.len.saturating_add(bytes.len().saturating_sub(from));
        queue.chunks.push_back(Chunk::Shared(Rc::clone(bytes), from));
    }

    /// Queues `left` bytes of a file, to be read as the peer takes them.
    pub(super) fn append_file(&mut self, spares: &mut Spares, file: File, offset: u64, left: u64) {
        if left > 0 {
            let queue = self.queue.get_or_insert_with(|| spares.take_queue());
            queue.end_tail();
            let _counted = Rc::clone(&spares.files);
            queue.chunks.push_back(Chunk::File { file, offset, left, _counted });
        }
    }

    /// Forgets everything, and gives the memory back.
    pub(in crate::peers) fn clear(&mut self) {
        self.queue = None;
    }

    /// Writes what the kernel takes, within the budget.
    pub(super) fn flush(&mut self, stream: &mut Stream, spares: &mut Spares) -> io::Result<Left> {
        let Some(queue) = &mut self.queue else { return Ok(Left::Nothing) };
        let left = queue.flush(stream, spares);
        if matches!(left, Ok(Left::Nothing)) {
            self.give_back(spares);
        }
        left
    }

    fn give_back(&mut self, spares: &mut Spares) {
        if let Some(queue) = self.queue.take() {
            spares.give_queue(queue);
        }
    }
}

impl Queue {
    /// Bytes of memory that it needs while nothing waits in it.
    #[expect(clippy::arithmetic_side_effects, reason = "it lies in memory")]
    fn memory(&self) -> usize {
        size_of::<Queue>() + self.chunks.capacity() * size_of::<Chunk>() + self.tail.capacity()
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.tail.is_empty()
    }

    fn ends_in_file(&self) -> bool {
        self.tail.is_empty() && matches!(self.chunks.back(), Some(Chunk::File { .. }))
    }

    /// Makes room in the tail for so many bytes more. False if there is no memory for them.
    #[inline]
    #[expect(clippy::arithmetic_side_effects, reason = "a length is no more than its capacity")]
    fn make_room(&mut self, len: usize, pool: &mut Pool) -> bool {
        if self.tail.len() >= CHUNK || self.tail.capacity() - self.tail.len() < len {
            return self.grow(len, pool);
        }
        true
    }

    #[cold]
    fn grow(&mut self, len: usize, pool: &mut Pool) -> bool {
        if self.tail.len() >= CHUNK {
            self.end_tail();
        }
        if self.tail.capacity() < len && self.tail.is_empty() {
            let larger = pool.take(len);
            pool.give(std::mem::replace(&mut self.tail, larger));
        }
        memory::make_room(&mut self.tail, len).is_ok()
    }

    /// What is in the tail becomes a chunk, since something else comes behind it. A large buffer with
    /// little in it stays the tail: what waits may wait for long.
    fn end_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let little = self.tail.len() < self.tail.capacity() / 2;
        let chunk = if little { self.tail.clone() } else { std::mem::take(&mut self.tail) };
        self.tail.clear();
        self.own = self.own.saturating_add(chunk.capacity());
        self.chunks.push_back(Chunk::Own(chunk));
    }

    fn flush(&mut self, stream: &mut Stream, spares: &mut Spares) -> io::Result<Left> {
        let mut total = 0;
        while !self.is_empty() {
            if total >= WRITE_BUDGET {
                return Ok(Left::Budget);
            }
            let written = match self.write_some(stream, spares) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Written::NOTHING,
                Err(error) => return Err(error),
            };
            self.advance(written.bytes, &mut spares.pool);
            spares.count_written(written.bytes);
            self.taken = self.taken.saturating_add(written.taken as u64);
            total = total.saturating_add(written.bytes);
            // A short write is as good as WouldBlock: the kernel announces when there is room.
            if written.blocked {
                return Ok(Left::Blocked { progress: written.taken > 0 || total > 0 });
            }
        }
        Ok(Left::Nothing)
    }

    /// Offers as much as fits into one call.
    fn write_some(&self, stream: &mut Stream, spares: &mut Spares) -> io::Result<Written> {
        if !self.chunks.is_empty() {
            return self.write_chunks(stream, spares);
        }
        let bytes = self.tail.get(self.written..).unwrap_or_default();
        stream.write(&[IoSlice::new(bytes)])
    }

    /// Separate, so that the tail alone, which is the usual case, needs no stack for so many
    /// slices.
    #[inline(never)]
    fn write_chunks(&self, stream: &mut Stream, spares: &mut Spares) -> io::Result<Written> {
        if let Some(Chunk::File { file, offset, left, .. }) = self.chunks.front() {
            let scratch = spares.scratch();
            let want = scratch.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            let piece = scratch.get_mut(..want).unwrap_or_default();
            let read = file.read_at(piece, *offset)?;
            if read == 0 {
                let message = "the file ended before the length that was announced";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
            return stream.write(&[IoSlice::new(piece.get(..read).unwrap_or_default())]);
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut skip) = (0_usize, self.written);
        // The tail too, unless a file comes before it.
        let tail =
            self.chunks.iter().all(|chunk| chunk.bytes().is_some()).then_some(self.tail.as_slice());
        let bytes = self.chunks.iter().map_while(Chunk::bytes).chain(tail);
        for (slice, bytes) in slices.iter_mut().zip(bytes) {
            let bytes = bytes.get(skip..).unwrap_or_default();
            *slice = IoSlice::new(bytes);
            count = count.saturating_add(1);
            skip = 0;
        }
        stream.write(slices.get(..count).unwrap_or_default())
    }

    /// Drops what was written from the front.
    #[expect(clippy::arithmetic_side_effects, reason = "no more is written than was queued")]
    fn advance(&mut self, written: usize, pool: &mut Pool) {
        let written =
            if self.chunks.is_empty() { written } else { self.advance_chunks(written, pool) };
        self.len -= written;
        self.written += written;
        if self.chunks.is_empty() && self.written == self.tail.len() {
            self.written = 0;
            self.tail.clear();
        }
    }

    /// The same for the chunks. Returns how much of `written` was behind them.
    #[expect(clippy::arithmetic_side_effects, reason = "no more is written than was queued")]
    #[inline(never)]
    fn advance_chunks(&mut self, mut written: usize, pool: &mut Pool) -> usize {
        while let Some(chunk) = self.chunks.front_mut()
            && written > 0
        {
            let begun = match chunk {
                Chunk::Own(bytes) => bytes.len(),
                Chunk::Shared(bytes, from) => bytes.len() - *from,
                Chunk::File { offset, left, .. } => {
                    *offset += written as u64;
                    *left -= written as u64;
                    if *left == 0 {
                        self.chunks.pop_front();
                    }
                    return 0;
                }
            };
            let left = begun - self.written;
            let gone = left.min(written);
            written -= gone;
            self.len -= gone;
            self.written += gone;
            if gone == left {
                self.written = 0;
                if let Some(Chunk::Own(buffer)) = self.chunks.pop_front() {
                    self.own = self.own.saturating_sub(buffer.capacity());
                    pool.give(buffer);
                }
            }
        }
        written
    }
}

/// What all outboxes share: empty queues, buffers for what is queued, and a count of what was
/// written.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a queue moves as a pointer, between here and a connection")]
pub(in crate::peers) struct Spares {
    pub(in crate::peers) pool: Pool,
    queues: Vec<Box<Queue>>,
    /// Bytes of memory in those queues, no more than 1 MiB.
    in_queues: usize,
    /// Where pieces of files are read to on their way; allocated for the first.
    scratch: Vec<u8>,
    /// Shared by all files that are under way.
    files: Rc<()>,
    /// Bytes that the kernel has taken of all that was queued or offered.
    pub(in crate::peers) written: u64,
}

/// Bytes of a file that are read at a time.
const SCRATCH: usize = 64 * 1024;
/// Enough for a few messages to each of a thousand peers, all in one turn.
const MOST_IN_QUEUES: usize = 1024 * 1024;

impl Spares {
    pub(crate) fn new(pool: Pool) -> Spares {
        Spares { pool, ..Spares::default() }
    }

    /// How many files are under way. Each holds a descriptor.
    pub(in crate::peers) fn files(&self) -> usize {
        Rc::strong_count(&self.files).saturating_sub(1)
    }

    pub(super) fn count_written(&mut self, bytes: usize) {
        self.written = self.written.wrapping_add(bytes as u64);
    }

    fn scratch(&mut self) -> &mut [u8] {
        self.scratch.resize(SCRATCH, 0);
        &mut self.scratch
    }

    /// An empty queue, kept or new.
    fn take_queue(&mut self) -> Box<Queue> {
        let mut queue = self.queues.pop().unwrap_or_default();
        self.in_queues = self.in_queues.saturating_sub(queue.memory());
        (queue.watched, queue.taken) = (0, 0);
        queue
    }

    /// Keeps an empty queue for later, or frees it. A small buffer stays with it.
    #[expect(clippy::arithmetic_side_effects, reason = "it all lies in memory")]
    fn give_queue(&mut self, mut queue: Box<Queue>) {
        if queue.tail.capacity() > SMALL {
            self.pool.give(std::mem::take(&mut queue.tail));
        }
        let in_queues = self.in_queues + queue.memory();
        // A queue that was long once is not worth keeping.
        if in_queues <= MOST_IN_QUEUES && queue.chunks.capacity() <= MAX_SLICES {
            self.in_queues = in_queues;
            self.queues.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn pair() -> (Stream, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        (Stream::from_fd(ours.into()).unwrap().0, theirs)
    }

    fn flush(outbox: &mut Outbox, stream: &mut Stream) -> Left {
        outbox.flush(stream, &mut Spares::default()).unwrap()
    }

    #[test]
    fn small_messages_lie_side_by_side_and_empty_ones_take_nothing() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        assert!(outbox.append(&mut spares, 0, |out| out.extend_from_slice(b"ab")));
        assert!(outbox.append(&mut spares, 0, |out| out.extend_from_slice(b"cd")));
        assert!(outbox.append(&mut spares, 0, |_| {}));
        assert_eq!(outbox.queue.as_ref().map(|queue| (queue.tail.len(), queue.len)), Some((4, 4)));
        let (mut stream, mut peer) = pair();
        assert_eq!(flush(&mut outbox, &mut stream), Left::Nothing);
        assert!(outbox.is_empty());
        let mut got = [0; 4];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abcd");
    }

    #[test]
    fn what_is_written_is_counted_no_more_whoever_has_the_queue_next() {
        let (mut stream, _peer) = pair();
        let mut spares = Spares::default();
        for _ in 0..2 {
            let mut outbox = Outbox::default();
            assert!(outbox.append(&mut spares, 0, |out| out.extend_from_slice(b"abcd")));
            assert_eq!(outbox.len(), 4);
            outbox.append_shared(&mut spares, &Rc::new(b"efgh".to_vec()), 1);
            assert_eq!(outbox.len(), 7);
            assert_eq!(outbox.flush(&mut stream, &mut spares).unwrap(), Left::Nothing);
            assert_eq!((outbox.len(), spares.queues.len()), (0, 1));
        }
    }

    #[test]
    fn what_there_is_no_memory_for_leaves_nothing() {
        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        for len in [usize::MAX, isize::MAX as usize] {
            let never = |_: &mut Vec<u8>| panic!("there is no such memory");
            assert!(!outbox.append(&mut spares, len, never));
            assert!(outbox.is_empty());
            assert!(outbox.append(&mut spares, 2, |out| out.extend_from_slice(b"ab")));
            assert!(!outbox.append(&mut spares, len, never));
            assert_eq!(outbox.len(), 2);
            outbox.clear();
        }
    }

    #[test]
    fn everything_arrives_in_order_however_slowly_it_is_taken() {
        let path = std::env::temp_dir().join(format!("wsloop-buffer-{}", std::process::id()));
        let mut file = File::create_new(&path).unwrap();
        file.write_all(&[b'f'; 300_000]).unwrap();
        let file = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();

        let (mut outbox, mut spares) = (Outbox::default(), Spares::default());
        let shared = Rc::new([&b"not these"[..], &[b's'; 400_000]].concat());
        assert!(outbox.append(&mut spares, 0, |out| out.extend_from_slice(b"head")));
        outbox.append_shared(&mut spares, &shared, 9);
        outbox.append_file(&mut spares, file, 100_000, 200_000);
        assert!(outbox.append(&mut spares, 0, |out| out.extend_from_slice(b"tail")));
        assert_eq!(outbox.len(), 400_008);

        let (mut stream, mut peer) = pair();
        assert!(matches!(flush(&mut outbox, &mut stream), Left::Blocked { progress: true }));
        assert_eq!(flush(&mut outbox, &mut stream), Left::Blocked { progress: false });
        let mut got = Vec::new();
        let mut piece = vec![0; 7000];
        while !outbox.is_empty() {
            let n = peer.read(&mut piece).unwrap();
            got.extend_from_slice(&piece[..n]);
            flush(&mut outbox, &mut stream);
        }
        drop(stream);
        peer.read_to_end(&mut got).unwrap();
        let expected = [&b"head"[..], &shared[9..], &[b'f'; 200_000], b"tail"].concat();
        assert!(got == expected, "{} bytes", got.len());
        assert_eq!((outbox.len(), Rc::strong_count(&shared)), (0, 1));
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let (mut outbox, (mut stream, _peer)) = (Outbox::default(), pair());
        outbox.append_file(&mut Spares::default(), File::open("/dev/null").unwrap(), 0, 1);
        let error = outbox.flush(&mut stream, &mut Spares::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn queues_are_kept_as_long_as_they_take_little_together() {
        let mut spares = Spares::default();
        let mut queues: Vec<Box<Queue>> = (0..1000).map(|_| spares.take_queue()).collect();
        assert_eq!(spares.in_queues, 0);
        for queue in &mut queues {
            queue.tail.reserve(2000);
        }
        for queue in queues {
            spares.give_queue(queue);
        }
        let kept = spares.queues.len();
        assert!((400..530).contains(&kept), "{kept}");
        assert!(spares.in_queues <= MOST_IN_QUEUES);
        for _ in 0..kept {
            spares.take_queue();
        }
        assert_eq!((spares.in_queues, spares.queues.len()), (0, 0));
    }
}
