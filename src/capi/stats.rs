//! What the server counts about itself.

use std::ffi::c_int;

use super::data::wsloop_str;
use super::entry::enter;
use super::error::{Error, WSLOOP_OK};
use super::input::put;
use super::types::{copy_to, wsloop_stats};
use super::wsloop_server;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_get_stats(
    server: *const wsloop_server,
    out: *mut wsloop_stats,
) -> c_int {
    let tell = |this: &wsloop_server| {
        let stats = this.with_context(|ws| Ok(ws.stats()))?;
        let ours = wsloop_stats {
            size: size_of::<wsloop_stats>(),
            uptime_ms: u64::try_from(stats.uptime.as_millis()).unwrap_or(u64::MAX),
            accepted: stats.accepted,
            refused: stats.refused,
            opened: stats.opened,
            closed: stats.closed,
            open: stats.open,
            messages_in: stats.messages_in,
            messages_out: stats.messages_out,
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
            backlog: stats.backlog,
        };
        // SAFETY: what the header demands is what `copy_to` demands.
        unsafe { copy_to(&ours, out) }
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, tell) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_get_cut(
    server: *const wsloop_server,
    place: usize,
    reason: *mut wsloop_str,
    count: *mut u64,
) -> c_int {
    let tell = |this: &wsloop_server| {
        let cut = this.with_context(|ws| Ok(ws.stats().cut.get(place).copied()))?;
        let (why, times) = cut.ok_or(Error::Argument("there are not so many reasons"))?;
        // SAFETY: what the header demands is what `put` demands.
        unsafe {
            put(reason, wsloop_str::of(why.as_bytes()));
            put(count, times);
        }
        Ok(WSLOOP_OK)
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, tell) }
}
