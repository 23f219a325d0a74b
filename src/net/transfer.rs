//! The result of one read or one write on a stream.

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes, at least one, and whether there may be more.
    Bytes { count: usize, more: bool },
    /// The same, appended to a buffer.
    Onto { count: usize, more: bool },
    /// Nothing that can be handed on yet: only a part of a TLS record has come.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "TLS alone says so"))]
    Nothing { more: bool },
    /// No more comes of a program, which runs on.
    HalfEnd,
    /// The end of the stream.
    End,
}

impl Received {
    /// What a read of `count` bytes into this much room means: if the room is full there may be
    /// more, and if not, the socket is empty.
    pub(super) fn of(count: usize, room: usize) -> Received {
        if count == 0 { Received::End } else { Received::Bytes { count, more: count == room } }
    }
}

/// What became of bytes that were offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    /// The kernel takes no more; it announces when it does.
    pub(crate) blocked: bool,
    /// How many it took, be they what TLS made of earlier bytes.
    pub(crate) taken: usize,
}

impl Written {
    /// The kernel has no room.
    pub(crate) const NOTHING: Written = Written { bytes: 0, blocked: true, taken: 0 };

    /// The kernel took `bytes` of the `offered` ones.
    pub(super) fn of(bytes: usize, offered: usize) -> Written {
        Written { bytes, blocked: bytes < offered, taken: bytes }
    }
}
