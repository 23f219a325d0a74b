//! What C passes in, checked.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::slice;

use super::data::{WSLOOP_BINARY, WSLOOP_TEXT};
use super::error::{Error, Outcome};
use crate::ids::{ConnId, RouteId, SourceId};
use crate::proto::Message;

/// Bytes by address and length; the address may be null if the length is 0.
///
/// # Safety
/// What it points to can be read and does not change while it is borrowed.
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Outcome<&'a [u8]> {
    match (data.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Error::Argument("the data is NULL, but its length is not 0")),
        (_, len) if isize::try_from(len).is_err() => Err(Error::Argument("the length is absurd")),
        // SAFETY: it is not null and not absurdly long, and the rest is what the caller promises.
        (false, _) => Ok(unsafe { slice::from_raw_parts(data.cast(), len) }),
    }
}

/// # Safety
/// As [`bytes`].
pub(super) unsafe fn text<'a>(data: *const c_char, len: usize) -> Outcome<&'a str> {
    // SAFETY: what the caller promises.
    let bytes = unsafe { bytes(data.cast(), len) }?;
    str::from_utf8(bytes).map_err(|_| Error::Argument("the text is not UTF-8"))
}

/// A name that ends in NUL.
///
/// # Safety
/// It is null, or ends in NUL and does not change while it is borrowed.
pub(super) unsafe fn name<'a>(name: *const c_char) -> Outcome<&'a str> {
    if name.is_null() {
        return Err(Error::Argument("a name is NULL"));
    }
    // SAFETY: it is not null, and the rest is what the caller promises.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().map_err(|_| Error::Argument("a name is not UTF-8"))
}

/// # Safety
/// As [`bytes`].
pub(super) unsafe fn message<'a>(
    kind: c_int,
    data: *const c_void,
    len: usize,
) -> Outcome<Message<'a>> {
    match kind {
        // SAFETY: what the caller promises.
        WSLOOP_TEXT => Ok(Message::Text(unsafe { text(data.cast(), len) }?)),
        // SAFETY: what the caller promises.
        WSLOOP_BINARY => Ok(Message::Binary(unsafe { bytes(data, len) }?)),
        _ => Err(Error::Argument("a message is WSLOOP_TEXT or WSLOOP_BINARY")),
    }
}

/// A place for an answer.
///
/// # Safety
/// It is null, or may be written to.
pub(super) unsafe fn put<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: it is not null, and the rest is what the caller promises.
        unsafe { place.write(value) };
    }
}

/// Copies text out, as much as there is room for with a NUL behind it. Returns the length of the
/// whole text, as snprintf(3) does.
///
/// # Safety
/// `room` bytes may be written to `out`; if it is null or `room` is 0, nothing is.
pub(super) unsafe fn copy_out(text: &str, out: *mut c_char, room: usize) -> Outcome {
    if !out.is_null() && room > 0 {
        let fits = text.len().min(room.saturating_sub(1));
        // SAFETY: there is room for that much and the NUL, which is what the caller promises.
        unsafe {
            out.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), fits);
            out.add(fits).write(0);
        }
    }
    c_int::try_from(text.len()).map_err(|_| Error::Argument("the text is absurdly long"))
}

/// A connection as a number: serial and slot. The slot is one more than ours, so that it is never
/// 0 and no connection is 0 either.
pub(super) fn number(id: ConnId) -> u64 {
    match id {
        ConnId::NONE => 0,
        id => (u64::from(id.serial()) << 32) | (id.slot() as u64).saturating_add(1),
    }
}

/// Marks the number of a source, so that nothing mistakes it for a connection: no slot is as high.
const SOURCE: u64 = 1 << 31;

pub(super) fn source_number(source: SourceId) -> u64 {
    number(source.0) | SOURCE
}

/// The source of this number, whether there is one or not.
pub(super) fn source(number: u64) -> SourceId {
    match number & SOURCE {
        0 => SourceId(ConnId::NONE),
        _ => SourceId(conn(number & !SOURCE)),
    }
}

/// The connection of this number, whether there is one or not.
pub(super) fn conn(number: u64) -> ConnId {
    match (number as u32).checked_sub(1) {
        Some(slot) => ConnId::new(slot, (number >> 32) as u32),
        None => ConnId::NONE,
    }
}

pub(super) fn route(number: c_int, routes: RouteId) -> Outcome<RouteId> {
    let known = RouteId::try_from(number).ok().filter(|route| *route < routes);
    known.ok_or(Error::Argument("there is no route of this number"))
}
