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
    announce_readable: bool,
    announce_writable: bool,
    /// The most bytes that one call reads or writes, if not as many as there are.
    pub most_read: Option<usize>,
    pub most_written: Option<usize>,
    /// Errors for the next calls, the last first.
    pub read_errors: Vec<ErrorKind>,
    pub write_errors: Vec<ErrorKind>,
    /// How often the server has called.
    pub calls: usize,
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
        // As Linux does: once a third is free.
        if self.refused && self.written.len() <= self.room() / 3 * 2 {
            self.refused = false;
            self.announce_writable = true;
        }
        taken
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
        let readable = std::mem::take(&mut self.announce_readable);
        let writable = std::mem::take(&mut self.announce_writable);
        let read_closed = self.peer_ended || self.peer_reset;
        (readable || writable).then_some(Readiness { readable, read_closed, writable })
    }
}

impl Play for Kernel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if let Some(error) = self.read_errors.pop() {
            return Err(error.into());
        }
        if self.peer_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let most = self.most_read.unwrap_or(usize::MAX).min(buf.len()).min(self.came.len());
        if most == 0 {
            return if self.peer_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        buf[..most].copy_from_slice(&self.came[..most]);
        self.came.drain(..most);
        Ok(most)
    }

    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if let Some(error) = self.write_errors.pop() {
            return Err(error.into());
        }
        if self.peer_reset || self.server_ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let free = self.room().saturating_sub(self.written.len());
        let most = self.most_written.unwrap_or(usize::MAX).min(part.len()).min(free);
        self.refused |= most < part.len();
        if most == 0 && !part.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.written.extend_from_slice(&part[..most]);
        Ok(most)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.server_ended = true;
        Ok(())
    }
}
