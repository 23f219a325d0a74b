//! What one read or one write on a stream came to.

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes, at least one, and whether there may be more.
    Bytes { count: usize, more: bool },
    /// The same, read behind what a buffer held.
    Onto { count: usize, more: bool },
    /// Nothing that can be handed on yet: of a TLS record a part has come.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "TLS alone says so"))]
    Nothing { more: bool },
    /// The end of the stream.
    End,
}

impl Received {
    /// What a read of `count` bytes into this much room means: what fills the room may not be all,
    /// and what does not has emptied the socket.
    pub(super) fn of(count: usize, room: usize) -> Received {
        if count == 0 { Received::End } else { Received::Bytes { count, more: count == room } }
    }
}

/// What became of bytes that were offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    /// The kernel takes no more; it will say when it does.
    pub(crate) blocked: bool,
    /// It took something, be it of what a TLS session made of earlier bytes.
    pub(crate) progress: bool,
}

impl Written {
    /// The kernel has no room.
    pub(crate) const NOTHING: Written = Written { bytes: 0, blocked: true, progress: false };

    /// Of so many bytes that were offered to the kernel.
    pub(super) fn of(bytes: usize, offered: usize) -> Written {
        Written { bytes, blocked: bytes < offered, progress: bytes > 0 }
    }
}
