//! What may be done with connections, in callbacks and between them.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

use super::entry::{ask, enter};
use super::error::{Error, Outcome, WSLOOP_BACKPRESSURE, WSLOOP_OK};
use super::input::{bytes, conn, copy_out, message, number, put, route, text};
use super::types::{wsloop_conn, wsloop_timer};
use super::wsloop_server;
use crate::context::Context;
use crate::ids::ConnId;
use crate::peers::connection::ReadyState;
use crate::peers::sending::SendStatus;
use crate::peers::time::TimerId;
use crate::proto::{Message, Version};

/// Every route.
pub const WSLOOP_ALL_ROUTES: c_int = -1;

/// An open connection, to do something with.
fn open<'c>(ws: &'c mut Context<'_>, number: wsloop_conn) -> Outcome<Context<'c>> {
    let ws = ws.at(conn(number), 0);
    match ws.ready_state() {
        ReadyState::Open => Ok(ws),
        ReadyState::Connecting | ReadyState::Closing => Err(Error::State),
        ReadyState::Closed => Err(Error::Gone),
    }
}

/// A connection that still exists, even if it is ending.
fn known<'c>(ws: &'c mut Context<'_>, number: wsloop_conn) -> Outcome<Context<'c>> {
    let ws = ws.at(conn(number), 0);
    if ws.is_known() { Ok(ws) } else { Err(Error::Gone) }
}

/// The code that C gets for a message or a ping to an open connection.
fn sent(status: SendStatus, has_form: bool) -> Outcome {
    match status {
        SendStatus::Queued => Ok(WSLOOP_OK),
        SendStatus::Backpressure => Ok(WSLOOP_BACKPRESSURE),
        SendStatus::Dropped if has_form => Err(Error::Full),
        SendStatus::Dropped => {
            Err(Error::Unsupported("the peer's version of the protocol has text only"))
        }
    }
}

fn is_hixie(ws: &Context<'_>) -> bool {
    ws.version().is_some_and(Version::is_hixie)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_send(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    kind: c_int,
    data: *const c_void,
    len: usize,
) -> c_int {
    let send = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `message` demands.
        let message = unsafe { message(kind, data, len) }?;
        this.with_context(|ws| {
            let mut ws = open(ws, conn)?;
            let has_form = matches!(message, Message::Text(_)) || !is_hixie(&ws);
            sent(ws.send(message), has_form)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, send) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_broadcast(
    server: *mut wsloop_server,
    route: c_int,
    except: wsloop_conn,
    kind: c_int,
    data: *const c_void,
    len: usize,
) -> c_int {
    let broadcast = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `message` demands.
        let message = unsafe { message(kind, data, len) }?;
        this.with_context(|ws| {
            for route in routes(ws, route)? {
                ws.at(conn(except), route).broadcast_to_others(message);
            }
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, broadcast) }
}

/// One route, or all.
fn routes(ws: &Context<'_>, number: c_int) -> Outcome<std::ops::Range<u16>> {
    if number == WSLOOP_ALL_ROUTES {
        return Ok(0..ws.routes());
    }
    let route = route(number, ws.routes())?;
    Ok(route..route.saturating_add(1))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_ping(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    data: *const c_void,
    len: usize,
) -> c_int {
    let ping = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `bytes` demands.
        let payload = unsafe { bytes(data, len) }?;
        if payload.len() > 125 {
            return Err(Error::Argument("a ping has 125 bytes at most"));
        }
        this.with_context(|ws| {
            let mut ws = open(ws, conn)?;
            let has_form = !is_hixie(&ws);
            sent(ws.ping(payload), has_form)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, ping) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_close(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    code: u16,
    reason: *const c_char,
    len: usize,
) -> c_int {
    let close = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `text` demands.
        let reason = unsafe { text(reason, len) }?;
        this.with_context(|ws| match open(ws, conn)?.close(code, reason) {
            true => Ok(WSLOOP_OK),
            false => Err(Error::Argument("this close code may not be sent")),
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, close) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_terminate(server: *mut wsloop_server, conn: wsloop_conn) -> c_int {
    let terminate = |this: &wsloop_server| {
        this.with_context(|ws| {
            let mut ws = ws.at(self::conn(conn), 0);
            if ws.ready_state() == ReadyState::Closed {
                return Err(Error::Gone);
            }
            ws.terminate();
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, terminate) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_pause(server: *mut wsloop_server, conn: wsloop_conn) -> c_int {
    let pause = |this: &wsloop_server| {
        this.with_context(|ws| {
            open(ws, conn)?.pause();
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, pause) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_resume(server: *mut wsloop_server, conn: wsloop_conn) -> c_int {
    let resume = |this: &wsloop_server| {
        this.with_context(|ws| {
            open(ws, conn)?.resume();
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, resume) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_buffered(server: *const wsloop_server, conn: wsloop_conn) -> usize {
    let look = |this: &wsloop_server| {
        this.with_context(|ws| Ok(ws.at(self::conn(conn), 0).buffered_amount()))
    };
    // SAFETY: what the header demands is what `ask` demands.
    unsafe { ask(server, 0, look) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_ready_state(
    server: *const wsloop_server,
    conn: wsloop_conn,
) -> c_int {
    let look = |this: &wsloop_server| {
        this.with_context(|ws| Ok(ws.at(self::conn(conn), 0).ready_state() as c_int))
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, look) }
}

/// The browser's numbers.
pub const WSLOOP_CONNECTING: c_int = 0;
pub const WSLOOP_OPEN: c_int = 1;
pub const WSLOOP_CLOSING: c_int = 2;
pub const WSLOOP_CLOSED: c_int = 3;

const _: () = assert!(
    ReadyState::Connecting as c_int == WSLOOP_CONNECTING
        && ReadyState::Open as c_int == WSLOOP_OPEN
        && ReadyState::Closing as c_int == WSLOOP_CLOSING
        && ReadyState::Closed as c_int == WSLOOP_CLOSED
);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_set_data(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    data: *mut c_void,
) -> c_int {
    let set = |this: &wsloop_server| {
        this.with_context(|ws| {
            known(ws, conn)?.set_data(data.expose_provenance());
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, set) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_data(
    server: *const wsloop_server,
    conn: wsloop_conn,
) -> *mut c_void {
    let look = |this: &wsloop_server| {
        this.with_context(|ws| {
            Ok(ptr::with_exposed_provenance_mut(ws.at(self::conn(conn), 0).data()))
        })
    };
    // SAFETY: what the header demands is what `ask` demands.
    unsafe { ask(server, ptr::null_mut(), look) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_peer_addr(
    server: *const wsloop_server,
    conn: wsloop_conn,
    out: *mut c_char,
    room: usize,
) -> c_int {
    let tell = |this: &wsloop_server| {
        let addr = this.with_context(|ws| Ok(known(ws, conn)?.remote_addr()))?;
        let text = addr.map_or(String::new(), |addr| addr.to_string());
        // SAFETY: what the header demands is what `copy_out` demands.
        unsafe { copy_out(&text, out, room) }
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, tell) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_protocol(
    server: *const wsloop_server,
    conn: wsloop_conn,
    out: *mut c_char,
    room: usize,
) -> c_int {
    let tell = |this: &wsloop_server| {
        this.with_context(|ws| {
            let ws = known(ws, conn)?;
            // SAFETY: what the header demands is what `copy_out` demands.
            unsafe { copy_out(ws.protocol().unwrap_or_default(), out, room) }
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, tell) }
}

/// The index of each in [`Version::ALL`], plus one.
pub const WSLOOP_HIXIE_75: c_int = 1;
pub const WSLOOP_HIXIE_76: c_int = 2;
pub const WSLOOP_HYBI_07: c_int = 3;
pub const WSLOOP_HYBI_08: c_int = 4;
pub const WSLOOP_RFC_6455: c_int = 5;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_protocol_version(
    server: *const wsloop_server,
    conn: wsloop_conn,
) -> c_int {
    let look = |this: &wsloop_server| {
        this.with_context(|ws| match ws.at(self::conn(conn), 0).version() {
            None => Err(Error::Gone),
            Some(Version::Hixie75) => Ok(WSLOOP_HIXIE_75),
            Some(Version::Hixie76) => Ok(WSLOOP_HIXIE_76),
            Some(Version::Hybi07) => Ok(WSLOOP_HYBI_07),
            Some(Version::Hybi08) => Ok(WSLOOP_HYBI_08),
            Some(Version::Rfc6455) => Ok(WSLOOP_RFC_6455),
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, look) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_members(
    server: *const wsloop_server,
    route: c_int,
    out: *mut wsloop_conn,
    room: usize,
) -> usize {
    let list = |this: &wsloop_server| {
        this.with_context(|ws| {
            let mut count: usize = 0;
            for route in routes(ws, route)? {
                for &id in ws.at(ConnId::NONE, route).members() {
                    if count < room && !out.is_null() {
                        // SAFETY: there is room for that many, which the header demands.
                        unsafe { out.add(count).write(number(id)) };
                    }
                    count = count.saturating_add(1);
                }
            }
            Ok(count)
        })
    };
    // SAFETY: what the header demands is what `ask` demands.
    unsafe { ask(server, 0, list) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_set_timer(
    server: *mut wsloop_server,
    conn: wsloop_conn,
    after_ms: u32,
    tag: u64,
    out: *mut wsloop_timer,
) -> c_int {
    let set = |this: &wsloop_server| {
        this.with_context(|ws| {
            let id = open(ws, conn)?.id();
            let timer = ws.to(id).set_timer(Duration::from_millis(after_ms.into()), tag);
            // SAFETY: what the header demands is what `put` demands.
            unsafe { put(out, wsloop_timer { opaque: timer.to_words() }) };
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, set) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_set_route_timer(
    server: *mut wsloop_server,
    route: c_int,
    after_ms: u32,
    tag: u64,
    out: *mut wsloop_timer,
) -> c_int {
    let set = |this: &wsloop_server| {
        this.with_context(|ws| {
            let route = self::route(route, ws.routes())?;
            let after = Duration::from_millis(after_ms.into());
            let timer = ws.at(ConnId::NONE, route).set_timer(after, tag);
            // SAFETY: what the header demands is what `put` demands.
            unsafe { put(out, wsloop_timer { opaque: timer.to_words() }) };
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, set) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_clear_timer(
    server: *mut wsloop_server,
    timer: wsloop_timer,
) -> c_int {
    let clear = |this: &wsloop_server| {
        this.with_context(|ws| {
            ws.clear_timer(TimerId::from_words(timer.opaque));
            Ok(WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, clear) }
}
