//! One socket as a kernel has it: what came from the peer and was not read, what was written and is
//! not with the peer yet, and what is still to be announced.

use std::io::{self, ErrorKind};

use crate::net::played::Play;
use crate::net::stream::Readiness;

/// The bytes that a kernel takes for a peer that does not read.
pub const ROOM: usize = 64 * 1024;

#[derive(Default)]
pub struct Kernel {
    /// From the peer.
    came: Vec<u8>,
    peer_ended: bool,
    peer_reset: bool,
    /// For the peer.
    written: Vec<u8>,
    server_ended: bool,
    /// How much it takes; a socket begins with [`ROOM`].
    room: Option<usize>,
    /// The server was told that there is no room, and is to be told when there is.
    refused: bool,
    /// The last write was not taken whole.
    cut_short: bool,
    announce_readable: bool,
    announce_writable: bool,
    /// The end of the peer's stream was announced.
    end_announced: bool,
    /// An announcement tells all there is, as by epoll, and not only what has changed, as by kqueue.
    pub merges: bool,
    /// In so many turns the poll tells nothing of this socket, since others come first.
    pub late: usize,
    /// What goes wrong in the next calls, the last first.
    pub read_faults: Vec<Fault>,
    pub write_faults: Vec<Fault>,
    /// What the server has seen and done so far.
    pub seen: Seen,
}

/// What a call may do instead of all that it was asked for.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It reads or writes this many bytes at most; what is missing comes, or fits, just behind it.
    Short(usize),
    Error(ErrorKind),
}

/// What the server has seen of a socket, and done with it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How often it has called.
    pub calls: usize,
    pub read: u64,
    pub written: u64,
    /// How often a write took something after one that had found no room.
    pub progress: u64,
    /// How often it was told that there is nothing more to read, or no room, just before there was.
    pub missed: u64,
    /// The peer's end was read.
    pub end: bool,
    /// An error that ends a connection was returned.
    pub error: bool,
}

impl Kernel {
    fn room(&self) -> usize {
        self.room.unwrap_or(ROOM)
    }

    // The peer's side.

    pub fn peer_sends(&mut self, bytes: &[u8]) {
        self.came.extend_from_slice(bytes);
        self.announce_readable = true;
    }

    /// The peer takes this many bytes, or all there are.
    pub fn peer_takes(&mut self, most: usize) -> Vec<u8> {
        let taken = self.written.drain(..most.min(self.written.len())).collect();
        self.announce_room();
        taken
    }

    /// As Linux does: once a third is free.
    fn announce_room(&mut self) {
        if self.refused && self.written.len() <= self.room() / 3 * 2 {
            self.refused = false;
            self.announce_writable = true;
        }
    }

    /// The peer sends no more.
    pub fn peer_ends(&mut self) {
        self.peer_ended = true;
        self.announce_readable = true;
    }

    /// The peer is gone.
    pub fn peer_resets(&mut self) {
        self.peer_reset = true;
        self.announce_readable = true;
        self.announce_writable = true;
    }

    /// Bytes that are on their way to the peer.
    pub fn under_way(&self) -> usize {
        self.written.len()
    }

    /// The server was told that there is no room, and was not told that there is again.
    pub fn is_blocked(&self) -> bool {
        self.refused
    }

    /// The last write was not taken whole, so that the server has something that waits.
    pub fn owes_room(&self) -> bool {
        self.cut_short
    }

    /// The kernel takes so many bytes for a peer that does not read.
    pub fn set_room(&mut self, room: usize) {
        self.room = Some(room);
    }

    /// An announcement of what there is, though nothing has changed.
    pub fn announce(&mut self) {
        self.announce_readable = true;
        self.announce_writable = true;
    }

    pub fn server_has_ended(&self) -> bool {
        self.server_ended
    }

    /// Bytes that the server has not read.
    pub fn unread(&self) -> usize {
        self.came.len()
    }

    /// Whether the poll has something to tell of this socket.
    pub fn is_announced(&self) -> bool {
        self.announce_readable || self.announce_writable
    }

    /// What the poll would tell of this socket, once.
    pub fn take_announcement(&mut self) -> Option<Readiness> {
        if self.late > 0 {
            self.late -= 1;
            return None;
        }
        let mut readable = std::mem::take(&mut self.announce_readable);
        let mut writable = std::mem::take(&mut self.announce_writable);
        let read_closed = self.peer_ended || self.peer_reset;
        if readable || writable {
            readable |= read_closed || (self.merges && !self.came.is_empty());
            writable |= self.merges && self.written.len() <= self.room() / 3 * 2;
        }
        self.end_announced |= readable && read_closed;
        (readable || writable).then_some(Readiness { readable, read_closed, writable })
    }

    fn fails(&mut self, error: ErrorKind) -> io::Error {
        self.seen.error |= !matches!(error, ErrorKind::Interrupted | ErrorKind::WouldBlock);
        error.into()
    }
}

impl Play for Kernel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.seen.calls += 1;
        if self.peer_reset {
            return Err(self.fails(ErrorKind::ConnectionReset));
        }
        // Once its end was announced, all that a peer has sent is there.
        let fault = self.read_faults.pop().filter(|fault| match fault {
            Fault::Short(_) | Fault::Error(ErrorKind::WouldBlock) => !self.end_announced,
            Fault::Error(_) => true,
        });
        let most = match fault {
            None => buf.len(),
            Some(Fault::Short(most)) => most.max(1).min(buf.len()),
            Some(Fault::Error(error)) => {
                self.announce_readable |= !self.came.is_empty() || self.peer_ended;
                self.seen.missed += 1;
                return Err(self.fails(error));
            }
        };
        let count = most.min(self.came.len());
        if count == 0 {
            self.seen.end |= self.peer_ended;
            return if self.peer_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        buf[..count].copy_from_slice(&self.came[..count]);
        self.came.drain(..count);
        self.seen.read += count as u64;
        // What is left has come since, and is announced.
        let missed = count < buf.len() && !self.came.is_empty();
        self.announce_readable |= missed;
        self.seen.missed += u64::from(missed);
        Ok(count)
    }

    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.seen.calls += 1;
        if self.peer_reset || self.server_ended {
            return Err(self.fails(ErrorKind::BrokenPipe));
        }
        let free = self.room().saturating_sub(self.written.len());
        let most = match self.write_faults.pop() {
            Some(Fault::Error(ErrorKind::WouldBlock)) => {
                self.seen.missed += 1;
                0
            }
            Some(Fault::Error(error)) => return Err(self.fails(error)),
            Some(Fault::Short(most)) => most.max(1).min(free),
            None => free,
        };
        let count = most.min(part.len());
        let after_short = std::mem::replace(&mut self.cut_short, count < part.len());
        self.refused = self.cut_short;
        self.announce_room();
        if count == 0 && !part.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.written.extend_from_slice(&part[..count]);
        self.seen.written += count as u64;
        self.seen.progress += u64::from(after_short);
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.server_ended = true;
        Ok(())
    }
}
