//! The C API. `src/capi/wsloop.h` is its manual: what each function does is written there, and here is
//! only how. `tests/capi` holds the two against each other.
//!
//! Nothing is done twice here: every function checks what it was given and calls the Rust
//! interface. There are two ways to it. Between callbacks the server is in its `RefCell`, and
//! whoever needs it borrows it. While a turn runs it is borrowed, so that whatever wants it then is
//! told `WSLOOP_ERR_BUSY`; a callback leaves its [`Context`] in a cell meanwhile, and functions that
//! a callback may call take it from there.

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

/// What C has a pointer to. Only ever borrowed shared, since callbacks come back to it.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct wsloop_server {
    /// `None` while it is being freed.
    server: RefCell<Option<Server>>,
    /// While a callback runs, and none of our functions in it: the callback's.
    context: Cell<Option<NonNull<Context<'static>>>>,
    /// A panic was caught. What it left behind is not touched any more.
    dead: Cell<bool>,
    /// The last error that was answered, in words.
    said: RefCell<CString>,
    /// And its number, if it was the system's.
    errno: Cell<i32>,
    /// For [`wsloop_stop`](lifecycle::wsloop_stop), which may be called while all else is in use.
    remote: Remote,
}
