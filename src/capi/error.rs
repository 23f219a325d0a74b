//! What C gets when something does not work.

use std::ffi::{CStr, c_char, c_int};
use std::io;

/// The numbers of the header.
pub const WSLOOP_OK: c_int = 0;
pub const WSLOOP_BACKPRESSURE: c_int = 1;
pub const WSLOOP_ERR_ARGUMENT: c_int = -1;
pub const WSLOOP_ERR_BUSY: c_int = -2;
pub const WSLOOP_ERR_GONE: c_int = -3;
pub const WSLOOP_ERR_STATE: c_int = -4;
pub const WSLOOP_ERR_FULL: c_int = -5;
pub const WSLOOP_ERR_SYSTEM: c_int = -6;
pub const WSLOOP_ERR_STOPPED: c_int = -7;
pub const WSLOOP_ERR_UNSUPPORTED: c_int = -8;
pub const WSLOOP_ERR_PANIC: c_int = -9;

/// Why a function did not do what it was called for.
#[derive(Debug)]
pub(super) enum Error {
    /// The caller's mistake, and which.
    Argument(&'static str),
    /// The same, in the words of who has found it.
    Malformed(String),
    Busy,
    Gone,
    State,
    Full,
    System(io::Error),
    Stopped,
    Unsupported(&'static str),
    Panic(String),
    /// A panic was caught before, and its text stays.
    Dead,
}

pub(super) type Outcome<T = c_int> = Result<T, Error>;

impl Error {
    pub(super) fn code(&self) -> c_int {
        match self {
            Error::Argument(_) | Error::Malformed(_) => WSLOOP_ERR_ARGUMENT,
            Error::Busy => WSLOOP_ERR_BUSY,
            Error::Gone => WSLOOP_ERR_GONE,
            Error::State => WSLOOP_ERR_STATE,
            Error::Full => WSLOOP_ERR_FULL,
            Error::System(_) => WSLOOP_ERR_SYSTEM,
            Error::Stopped => WSLOOP_ERR_STOPPED,
            Error::Unsupported(_) => WSLOOP_ERR_UNSUPPORTED,
            Error::Panic(_) | Error::Dead => WSLOOP_ERR_PANIC,
        }
    }

    /// errno, if the system reported it.
    pub(super) fn errno(&self) -> c_int {
        match self {
            Error::System(error) => error.raw_os_error().unwrap_or(0),
            _ => 0,
        }
    }

    /// What there is to say beyond what [`explain`] says of the code.
    pub(super) fn text(&self) -> String {
        match self {
            Error::Argument(why) | Error::Unsupported(why) => why.to_string(),
            Error::Malformed(why) => why.clone(),
            Error::System(error) => error.to_string(),
            Error::Panic(message) => format!("a bug of wsloop's: {message}"),
            _ => explain(self.code()).to_string_lossy().into_owned(),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => {
                Error::Argument("the descriptor or address is not of the kind that is wanted")
            }
            io::ErrorKind::Unsupported => Error::Unsupported("this system has it not"),
            _ => Error::System(error),
        }
    }
}

fn explain(code: c_int) -> &'static CStr {
    match code {
        WSLOOP_OK => c"all is well",
        WSLOOP_BACKPRESSURE => c"queued, but the peer does not keep up",
        WSLOOP_ERR_ARGUMENT => c"an argument makes no sense",
        WSLOOP_ERR_BUSY => c"not possible inside a callback",
        WSLOOP_ERR_GONE => c"there is no such connection or source, or none any more",
        WSLOOP_ERR_STATE => c"it is not open, or that was done before",
        WSLOOP_ERR_FULL => c"so much waits already that nothing was added",
        WSLOOP_ERR_SYSTEM => c"the system refused",
        WSLOOP_ERR_STOPPED => c"the server has stopped",
        WSLOOP_ERR_UNSUPPORTED => c"not possible on this system, or with this peer",
        WSLOOP_ERR_PANIC => c"a bug of wsloop's was caught: only wsloop_free() is left",
        _ => c"no error of wsloop's",
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn wsloop_strerror(error: c_int) -> *const c_char {
    explain(error).as_ptr()
}
