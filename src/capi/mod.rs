//! The C API. `src/capi/wsloop.h` is its manual: what each function does is written there, and only
//! how is here. `tests/capi` compares the two.
//!
//! Nothing is implemented twice: every function checks what it was given and calls the Rust
//! interface. There are two ways to the server. Between callbacks it is in its `RefCell`, and
//! whoever needs it borrows it. While a turn runs it is borrowed, so that other functions return
//! `WSLOOP_ERR_BUSY`; a callback leaves its [`Context`] in a cell meanwhile, and functions that a
//! callback may call take it from there.

mod callbacks;
mod connections;
mod data;
mod entry;
mod error;
mod input;
mod lifecycle;
mod log;
mod remote;
mod request;
mod sources;
mod stats;
#[cfg(test)]
mod tests;
mod types;

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::ptr::NonNull;

use crate::context::Context;
use crate::server::Server;
use crate::server::remote::Remote;

/// What C has a pointer to. It is only ever borrowed shared, since callbacks come back to it.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct wsloop_server {
    /// `None` while it is being freed.
    server: RefCell<Option<Server>>,
    /// The callback's context, while a callback runs and none of our functions runs in it.
    context: Cell<Option<NonNull<Context<'static>>>>,
    /// A panic was caught. What it left behind is not used any more.
    dead: Cell<bool>,
    /// The text of the last error.
    said: RefCell<CString>,
    /// The errno of that error, if the system reported one.
    errno: Cell<i32>,
    /// For [`wsloop_stop`](lifecycle::wsloop_stop), which may be called while all else is in use.
    remote: Remote,
}
