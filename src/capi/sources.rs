//! What may be done with sources, in callbacks and between them.

use std::ffi::{c_char, c_int, c_void};
use std::io;

use super::entry::{ask, enter};
use super::error::{Error, Outcome, WSLOOP_BACKPRESSURE, WSLOOP_OK};
use super::input::{bytes, name, put, route, source, source_number};
use super::types::wsloop_source;
use super::wsloop_server;
use crate::context::Context;
use crate::ids::{ConnId, SourceId};
use crate::peers::connection::Connection;
use crate::peers::sending::SendStatus;
use crate::proto::Message;
use crate::source::{Source, SourceEnd};

/// How a source has ended: less than 0 is not well, and more is what a program has ended with.
pub const WSLOOP_END_OK: c_int = 0;
pub const WSLOOP_END_UNREACHABLE: c_int = -1;
pub const WSLOOP_END_FAILED: c_int = -2;
pub const WSLOOP_END_STALLED: c_int = -3;
pub const WSLOOP_END_STOPPED: c_int = -4;
/// What the shell adds to the number of a signal.
const KILLED: c_int = 128;

pub(super) fn end_number(end: SourceEnd<'_>) -> c_int {
    match end {
        SourceEnd::Ended => WSLOOP_END_OK,
        SourceEnd::Exited(code) => code,
        SourceEnd::Killed(signal) => KILLED.saturating_add(signal),
        SourceEnd::Unreachable(_) => WSLOOP_END_UNREACHABLE,
        SourceEnd::Failed(_) => WSLOOP_END_FAILED,
        SourceEnd::Stalled => WSLOOP_END_STALLED,
        SourceEnd::Stopped => WSLOOP_END_STOPPED,
    }
}

/// A source that exists, even if it is ending, and stands where it `may`.
fn source_that(
    ws: &Context<'_>,
    number: wsloop_source,
    may: impl FnOnce(&Connection) -> bool,
) -> Outcome<SourceId> {
    let id = source(number);
    match ws.source(id).map(may) {
        None => Err(Error::Gone),
        Some(false) => Err(Error::State),
        Some(true) => Ok(id),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_open(
    server: *mut wsloop_server,
    route: c_int,
    target: *const c_char,
    out: *mut wsloop_source,
) -> c_int {
    let open = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `name` demands.
        let source = read(unsafe { name(target) }?)?;
        this.with_context(|ws| {
            let route = self::route(route, ws.routes())?;
            if ws.is_stopping() {
                return Err(Error::Stopped);
            }
            if !ws.has_room_for(&source) {
                return Err(Error::Full);
            }
            let id = ws.at(ConnId::NONE, route).open(&source)?;
            // SAFETY: what the header demands is what `put` demands.
            unsafe { put(out, source_number(id)) };
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `put` demands.
    unsafe { put(out, 0) };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, open) }
}

/// A source by its words.
fn read(words: &str) -> Outcome<Source> {
    words.parse().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::InvalidInput => Error::Malformed(error.to_string()),
        _ => Error::System(error),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_tell(
    server: *mut wsloop_server,
    source: wsloop_source,
    data: *const c_void,
    len: usize,
) -> c_int {
    let tell = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `bytes` demands.
        let bytes = unsafe { bytes(data, len) }?;
        this.with_context(|ws| {
            let id = source_that(ws, source, |source| !source.has_last_words())?;
            if ws.source(id).is_some_and(|source| !source.stream.takes_answers()) {
                return Err(Error::Unsupported("standard input can be told nothing"));
            }
            match ws.tell(id, Message::Binary(bytes)) {
                SendStatus::Queued => Ok(WSLOOP_OK),
                SendStatus::Backpressure => Ok(WSLOOP_BACKPRESSURE),
                SendStatus::Dropped => Err(Error::Full),
            }
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, tell) }
}

/// Does something with a source that stands where it `may`.
///
/// # Safety
/// As for [`enter`].
unsafe fn with_source(
    server: *mut wsloop_server,
    source: wsloop_source,
    may: impl FnOnce(&Connection) -> bool,
    act: impl FnOnce(&mut Context<'_>, SourceId),
) -> c_int {
    let call = |this: &wsloop_server| {
        this.with_context(|ws| {
            let id = source_that(ws, source, may)?;
            act(ws, id);
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what `enter` demands is demanded of the caller.
    unsafe { enter(server, call) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_end_source(
    server: *mut wsloop_server,
    source: wsloop_source,
) -> c_int {
    // SAFETY: what the header demands is what `with_source` demands.
    unsafe {
        with_source(server, source, |source| !source.has_last_words(), |ws, id| ws.end_source(id))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_close_source(
    server: *mut wsloop_server,
    source: wsloop_source,
) -> c_int {
    // SAFETY: what the header demands is what `with_source` demands.
    unsafe { with_source(server, source, |_| true, |ws, id| ws.close_source(id)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_pause_source(
    server: *mut wsloop_server,
    source: wsloop_source,
) -> c_int {
    // SAFETY: what the header demands is what `with_source` demands.
    unsafe { with_source(server, source, Connection::is_heard, |ws, id| ws.pause_source(id)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_resume_source(
    server: *mut wsloop_server,
    source: wsloop_source,
) -> c_int {
    // SAFETY: what the header demands is what `with_source` demands.
    unsafe { with_source(server, source, |_| true, |ws, id| ws.resume_source(id)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_source_buffered(
    server: *const wsloop_server,
    source: wsloop_source,
) -> usize {
    let look = |this: &wsloop_server| {
        this.with_context(|ws| Ok(ws.source_buffered_amount(self::source(source))))
    };
    // SAFETY: what the header demands is what `ask` demands.
    unsafe { ask(server, 0, look) }
}
