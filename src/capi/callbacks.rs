//! The handler that calls C.

use std::ffi::{CStr, c_int, c_void};

use log::Level;

use super::data::{WSLOOP_BINARY, WSLOOP_TEXT};
use super::input::{number, source_number};
use super::request::wsloop_request;
use super::sources::end_number;
use super::types::wsloop_handler;
use super::wsloop_server;
use crate::context::Context;
use crate::handler::{Answer, Handler};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::ids::SourceId;
use crate::proto::Message;
use crate::source::SourceEnd;

/// A route's functions in C.
pub(super) struct Callbacks {
    /// The server that this handler is part of. It exists for as long as this does.
    pub(super) server: *mut wsloop_server,
    pub(super) functions: wsloop_handler,
    pub(super) user: *mut c_void,
}

impl Callbacks {
    /// Calls C, unless a panic was caught before or C wants no such calls.
    fn call<F: Copy, T>(
        &self,
        ws: &mut Context<'_>,
        function: Option<F>,
        call: impl FnOnce(F, *mut wsloop_server, *mut c_void) -> T,
    ) -> Option<T> {
        let function = function?;
        // SAFETY: see the field; everybody else borrows it shared, too.
        let server = unsafe { &*self.server };
        if server.dead.get() {
            return None;
        }
        Some(server.lend(ws, || call(function, self.server, self.user)))
    }
}

/// A slice as C gets it: its address and its length.
fn parts(bytes: &[u8]) -> (*const c_void, usize) {
    (bytes.as_ptr().cast(), bytes.len())
}

impl Handler for Callbacks {
    fn on_request(&mut self, ws: &mut Context<'_>, request: &Request<'_>) -> Answer {
        let conn = number(ws.id());
        let mut given = wsloop_request::new(request, true);
        let place = &raw mut given;
        let status = self.call(ws, self.functions.on_request, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; the request lives until it
            // returns.
            unsafe { function(server, conn, place, user) }
        });
        answer(ws, status.unwrap_or(0), given)
    }

    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        let conn = number(ws.id());
        let mut given = wsloop_request::new(request, false);
        let place = (&raw mut given).cast_const();
        self.call(ws, self.functions.on_open, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; the request lives until it
            // returns.
            unsafe { function(server, conn, place, user) }
        });
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let conn = number(ws.id());
        let kind = match message {
            Message::Text(_) => WSLOOP_TEXT,
            Message::Binary(_) => WSLOOP_BINARY,
        };
        let (data, len) = parts(message.as_bytes());
        self.call(ws, self.functions.on_message, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; that many bytes are there.
            unsafe { function(server, conn, kind, data, len, user) }
        });
    }

    fn on_pong(&mut self, ws: &mut Context<'_>, payload: &[u8]) {
        let conn = number(ws.id());
        let (data, len) = parts(payload);
        self.call(ws, self.functions.on_pong, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; that many bytes are there.
            unsafe { function(server, conn, data, len, user) }
        });
    }

    fn on_drain(&mut self, ws: &mut Context<'_>) {
        let conn = number(ws.id());
        self.call(ws, self.functions.on_drain, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise.
            unsafe { function(server, conn, user) }
        });
    }

    fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
        let conn = number(ws.id());
        let (data, len) = parts(reason.as_bytes());
        self.call(ws, self.functions.on_close, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; that many bytes are there.
            unsafe { function(server, conn, code, data.cast(), len, user) }
        });
    }

    fn on_timer(&mut self, ws: &mut Context<'_>, tag: u64) {
        let conn = number(ws.id());
        self.call(ws, self.functions.on_timer, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise.
            unsafe { function(server, conn, tag, user) }
        });
    }

    fn on_line(
        &mut self,
        ws: &mut Context<'_>,
        source: SourceId,
        line: &str,
    ) -> Result<(), String> {
        if self.functions.on_line.is_none() {
            ws.broadcast(line);
            return Ok(());
        }
        let (data, len) = parts(line.as_bytes());
        let complaint = self.call(ws, self.functions.on_line, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; that many bytes are there.
            unsafe { function(server, source_number(source), data.cast(), len, user) }
        });
        match complaint {
            Some(text) if !text.is_null() => {
                // SAFETY: text that ends in NUL and is still there, which is C's promise.
                Err(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
            }
            _ => Ok(()),
        }
    }

    fn on_bytes(&mut self, ws: &mut Context<'_>, source: SourceId, bytes: &[u8]) {
        if self.functions.on_bytes.is_none() {
            ws.broadcast(bytes);
            return;
        }
        let (data, len) = parts(bytes);
        self.call(ws, self.functions.on_bytes, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; that many bytes are there.
            unsafe { function(server, source_number(source), data, len, user) }
        });
    }

    fn on_source_drain(&mut self, ws: &mut Context<'_>, source: SourceId) {
        self.call(ws, self.functions.on_source_drain, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise.
            unsafe { function(server, source_number(source), user) }
        });
    }

    fn on_source_end(&mut self, ws: &mut Context<'_>, source: SourceId, end: SourceEnd<'_>) {
        let (number, reason) = (end_number(end), end.to_string());
        let (data, len) = parts(reason.as_bytes());
        self.call(ws, self.functions.on_source_end, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise; that many bytes are there.
            unsafe { function(server, source_number(source), number, data.cast(), len, user) }
        });
    }

    fn on_wake(&mut self, ws: &mut Context<'_>) {
        self.call(ws, self.functions.on_wake, |function, server, user| {
            // SAFETY: a function of this type, which is C's promise.
            unsafe { function(server, user) }
        });
    }
}

/// What becomes of a request, by what C returned and what it did with the request before.
fn answer(ws: &mut Context<'_>, status: c_int, request: wsloop_request) -> Answer {
    let (protocol, response) = request.decided();
    match (status, response, protocol) {
        (_, Some(response), _) => Answer::Respond(response),
        (0, None, Some(protocol)) => Answer::Protocol(protocol),
        (0, None, None) => Answer::Proceed,
        (200..=599, None, _) => Answer::Respond(Response::text(status as u16, "refused\n")),
        _ => {
            let line = format_args!("on_request returned {status}, which is no status");
            ws.complain(Level::Error, line);
            Answer::Respond(Response::text(500, "the server made a mistake\n"))
        }
    }
}
