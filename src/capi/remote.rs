//! What other threads use.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::mpsc::TrySendError;

use super::entry::{ask, guard};
use super::error::{Error, Outcome, WSLOOP_ERR_ARGUMENT, WSLOOP_ERR_PANIC, WSLOOP_OK};
use super::input::{conn, message};
use super::types::wsloop_conn;
use super::wsloop_server;
use crate::ids::RouteId;
use crate::proto::Message;
use crate::server::remote::{Command, MessageBuf, Remote};

#[allow(non_camel_case_types, reason = "the name in C")]
pub struct wsloop_remote {
    remote: Remote,
}

/// # Safety
/// `remote` is null, or was made and not freed.
unsafe fn enter(remote: *const wsloop_remote, body: impl FnOnce(&Remote) -> Outcome<()>) -> c_int {
    // SAFETY: what the caller promises; it is made to be shared.
    let Some(remote) = (unsafe { remote.as_ref() }) else { return WSLOOP_ERR_ARGUMENT };
    match guard(|| body(&remote.remote)) {
        Ok(Ok(())) => WSLOOP_OK,
        Ok(Err(error)) => error.code(),
        Err(_) => WSLOOP_ERR_PANIC,
    }
}

fn boxed(remote: &Remote) -> *mut wsloop_remote {
    Box::into_raw(Box::new(wsloop_remote { remote: remote.clone() }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_remote_new(server: *const wsloop_server) -> *mut wsloop_remote {
    // SAFETY: what the header demands is what `ask` demands.
    unsafe { ask(server, ptr::null_mut(), |this| Ok(boxed(&this.remote))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_remote_clone(remote: *const wsloop_remote) -> *mut wsloop_remote {
    // SAFETY: made and not freed, which the header demands.
    let Some(remote) = (unsafe { remote.as_ref() }) else { return ptr::null_mut() };
    guard(|| boxed(&remote.remote)).unwrap_or(ptr::null_mut())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_remote_free(remote: *mut wsloop_remote) {
    if !remote.is_null() {
        // SAFETY: made of a box, not freed, and not in use, which the header demands.
        let _ = guard(|| drop(unsafe { Box::from_raw(remote) }));
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_remote_wake(remote: *const wsloop_remote) -> c_int {
    let wake = |remote: &Remote| {
        remote.wake();
        Ok(())
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(remote, wake) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_remote_stop(remote: *const wsloop_remote) -> c_int {
    let stop = |remote: &Remote| {
        remote.stop();
        Ok(())
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(remote, stop) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_remote_send(
    remote: *const wsloop_remote,
    conn: wsloop_conn,
    kind: c_int,
    data: *const c_void,
    len: usize,
) -> c_int {
    let send = |remote: &Remote| {
        // SAFETY: what the header demands is what `message` demands.
        let message = unsafe { message(kind, data, len) }?;
        queue(remote, Command::Send(self::conn(conn), owned(message)))
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(remote, send) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_remote_broadcast(
    remote: *const wsloop_remote,
    route: c_int,
    kind: c_int,
    data: *const c_void,
    len: usize,
) -> c_int {
    let broadcast = |remote: &Remote| {
        let route = RouteId::try_from(route);
        let route = route.map_err(|_| Error::Argument("there is no route of this number"))?;
        // SAFETY: what the header demands is what `message` demands.
        let message = unsafe { message(kind, data, len) }?;
        queue(remote, Command::Route(route, owned(message)))
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(remote, broadcast) }
}

fn owned(message: Message<'_>) -> MessageBuf {
    match message {
        Message::Text(text) => MessageBuf::Text(text.to_string()),
        Message::Binary(bytes) => MessageBuf::Binary(bytes.to_vec()),
    }
}

fn queue(remote: &Remote, command: Command) -> Outcome<()> {
    remote.queue(command).map_err(|error| match error {
        TrySendError::Full(_) => Error::Full,
        TrySendError::Disconnected(_) => Error::Stopped,
    })
}
