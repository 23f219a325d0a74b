//! The log, handed to a function of C.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

use log::{LevelFilter, Log, Metadata, Record};

use super::entry::guard;
use super::error::{WSLOOP_ERR_ARGUMENT, WSLOOP_ERR_PANIC, WSLOOP_ERR_STATE, WSLOOP_OK};

pub const WSLOOP_LOG_OFF: c_int = 0;
pub const WSLOOP_LOG_ERROR: c_int = 1;
pub const WSLOOP_LOG_WARN: c_int = 2;
pub const WSLOOP_LOG_INFO: c_int = 3;
pub const WSLOOP_LOG_DEBUG: c_int = 4;
pub const WSLOOP_LOG_TRACE: c_int = 5;

#[allow(non_camel_case_types, reason = "the name in C")]
#[rustfmt::skip]
pub type wsloop_log = Option<unsafe extern "C" fn(level: c_int, text: *const c_char, len: usize, user: *mut c_void)>;

struct Sink {
    function: wsloop_log,
    user: *mut c_void,
}

// SAFETY: the pointer is only handed back to C, which knows that any thread may bring it.
unsafe impl Send for Sink {}
// SAFETY: the same.
unsafe impl Sync for Sink {}

static SINK: OnceLock<Sink> = OnceLock::new();

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if let (Some(function), true) = (self.function, self.enabled(record.metadata())) {
            let text = record.args().to_string();
            let level = record.level() as c_int;
            // SAFETY: a function of this type, which is C's promise; that many bytes are there.
            unsafe { function(level, text.as_ptr().cast(), text.len(), self.user) };
        }
    }

    fn flush(&self) {}
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_set_log(
    level: c_int,
    function: wsloop_log,
    user: *mut c_void,
) -> c_int {
    let filter = match level {
        WSLOOP_LOG_OFF => LevelFilter::Off,
        WSLOOP_LOG_ERROR => LevelFilter::Error,
        WSLOOP_LOG_WARN => LevelFilter::Warn,
        WSLOOP_LOG_INFO => LevelFilter::Info,
        WSLOOP_LOG_DEBUG => LevelFilter::Debug,
        WSLOOP_LOG_TRACE => LevelFilter::Trace,
        _ => return WSLOOP_ERR_ARGUMENT,
    };
    if function.is_none() {
        return WSLOOP_ERR_ARGUMENT;
    }
    let set = || {
        let mut fresh = false;
        let sink = SINK.get_or_init(|| {
            fresh = true;
            Sink { function, user }
        });
        fresh && log::set_logger(sink).is_ok()
    };
    match guard(set) {
        Ok(true) => {
            log::set_max_level(filter);
            WSLOOP_OK
        }
        Ok(false) => WSLOOP_ERR_STATE,
        Err(_) => WSLOOP_ERR_PANIC,
    }
}
