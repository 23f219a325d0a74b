//! Where C enters: no panic leaves, and no two calls use the server at the same time.

use std::any::Any;
use std::cell::Cell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::ptr::NonNull;
use std::sync::OnceLock;

use super::error::{Error, Outcome, WSLOOP_ERR_ARGUMENT};
use super::wsloop_server;
use crate::context::Context;
use crate::ids::ConnId;
use crate::server::Server;

thread_local! {
    /// How many of our functions this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// What every function with a server begins with.
///
/// # Safety
/// `server` is null, or one that was made and not freed, and no other thread is in it.
pub(super) unsafe fn enter(
    server: *const wsloop_server,
    body: impl FnOnce(&wsloop_server) -> Outcome,
) -> c_int {
    // SAFETY: what the caller promises; it is borrowed shared, and so are all others.
    let Some(server) = (unsafe { server.as_ref() }) else { return WSLOOP_ERR_ARGUMENT };
    if server.dead.get() {
        return Error::Dead.code();
    }
    match guard(|| body(server)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => server.answer(&error),
        Err(message) => {
            server.dead.set(true);
            server.answer(&Error::Panic(message))
        }
    }
}

/// The same for functions that do not return a code: `fallback` stands for all errors.
///
/// # Safety
/// As [`enter`].
pub(super) unsafe fn ask<T>(
    server: *const wsloop_server,
    fallback: T,
    body: impl FnOnce(&wsloop_server) -> Outcome<T>,
) -> T {
    let mut answer = None;
    let look = |server: &wsloop_server| {
        answer = Some(body(server)?);
        Ok(0)
    };
    // SAFETY: what the caller promises.
    unsafe { enter(server, look) };
    answer.unwrap_or(fallback)
}

/// Runs code of ours. The error is the text of a panic.
pub(super) fn guard<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    DEPTH.set(DEPTH.get().saturating_add(1));
    let outcome = catch_unwind(AssertUnwindSafe(body));
    DEPTH.set(DEPTH.get().saturating_sub(1));
    outcome.map_err(message)
}

fn message(panic: Box<dyn Any + Send>) -> String {
    let panic = match panic.downcast::<&str>() {
        Ok(text) => return text.to_string(),
        Err(panic) => panic,
    };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            // Dropping it might panic again.
            std::mem::forget(panic);
            "a panic without words".to_string()
        }
    }
}

/// Standard error is the program's: the text of a panic goes to the log, if the panic is in our
/// code. The hook belongs to this library's own copy of the Rust runtime, where it is built for C.
pub(super) fn keep_panics_quiet() {
    type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;
    static BEFORE: OnceLock<Hook> = OnceLock::new();
    BEFORE.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(|panic| match BEFORE.get() {
            Some(before) if DEPTH.get() == 0 => before(panic),
            _ => log::error!("{panic}"),
        }));
        before
    });
}

impl wsloop_server {
    /// For what changes the server itself, and so cannot be done in a callback.
    pub(super) fn with_server<T>(
        &self,
        body: impl FnOnce(&mut Server) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut server = self.server.try_borrow_mut().map_err(|_| Error::Busy)?;
        body(server.as_mut().ok_or(Error::Busy)?)
    }

    /// For what may be done in a callback too.
    pub(super) fn with_context<T>(
        &self,
        body: impl FnOnce(&mut Context<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        // Taken out meanwhile: if the log calls C, and C comes back here, it finds nothing.
        let Some(mut context) = self.context.take() else {
            return self.with_server(|server| {
                let answer = body(&mut server.context_of(ConnId::NONE, 0));
                server.set_alarm();
                answer
            });
        };
        // SAFETY: `lend` put it there, and does not touch it before C returns; C has not.
        let answer = body(unsafe { context.as_mut() });
        self.context.set(Some(context));
        answer
    }

    /// Calls C with the context where [`with_context`](wsloop_server::with_context) finds it.
    pub(super) fn lend<T>(&self, ws: &mut Context<'_>, call: impl FnOnce() -> T) -> T {
        self.context.set(Some(NonNull::from(ws).cast()));
        let answer = call();
        self.context.set(None);
        answer
    }

    fn answer(&self, error: &Error) -> c_int {
        if matches!(error, Error::Dead) {
            return error.code();
        }
        // The new text is made before the old one goes: C may still read that, and a log may come
        // back here.
        let text = CString::new(error.text().replace('\0', "?")).unwrap_or_default();
        self.said.replace(text);
        self.errno.set(error.errno());
        error.code()
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_error_text(server: *const wsloop_server) -> *const c_char {
    // SAFETY: as every function; see `enter`, which a dead server does not pass.
    match unsafe { server.as_ref() } {
        None => c"no server".as_ptr(),
        Some(server) => server.said.borrow().as_ptr(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_errno(server: *const wsloop_server) -> c_int {
    // SAFETY: as every function; see `enter`, which a dead server does not pass.
    unsafe { server.as_ref() }.map_or(0, |server| server.errno.get())
}
