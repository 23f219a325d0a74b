//! Setting a server up, running it, and its end.

use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::callbacks::Callbacks;
use super::entry::{ask, enter, guard, keep_panics_quiet};
use super::error::{
    Error, Outcome, WSLOOP_ERR_ARGUMENT, WSLOOP_ERR_BUSY, WSLOOP_ERR_PANIC, WSLOOP_OK,
};
use super::input::{bytes, copy_out, name, route};
use super::types::{copy_in, wsloop_config, wsloop_handler};
use super::wsloop_server;
use crate::config::Config;
use crate::net::listener::ListenAddr;
use crate::server::Server;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

#[unsafe(no_mangle)]
pub extern "C" fn wsloop_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_new(
    config: *const wsloop_config,
    out: *mut *mut wsloop_server,
) -> c_int {
    if out.is_null() {
        return WSLOOP_ERR_ARGUMENT;
    }
    keep_panics_quiet();
    // SAFETY: what the header demands of the config is what `make` demands.
    let made = guard(|| unsafe { make(config) });
    let (server, code) = match made {
        Ok(Ok(server)) => (Box::into_raw(Box::new(server)), WSLOOP_OK),
        Ok(Err(error)) => {
            log::error!("no server: {}", error.text());
            (std::ptr::null_mut(), error.code())
        }
        Err(_) => (std::ptr::null_mut(), WSLOOP_ERR_PANIC),
    };
    // SAFETY: it is not null, and C's to be written to.
    unsafe { out.write(server) };
    code
}

/// # Safety
/// `config` is null or as the header says.
unsafe fn make(config: *const wsloop_config) -> Outcome<wsloop_server> {
    let config = match config.is_null() {
        true => Config::default(),
        // SAFETY: it is not null, and the rest is what the caller promises.
        false => unsafe { copy_in(config)?.read()? },
    };
    let server = Server::new(config)?;
    Ok(wsloop_server {
        remote: server.remote(),
        server: RefCell::new(Some(server)),
        context: Cell::new(None),
        dead: Cell::new(false),
        said: RefCell::new(CString::default()),
        errno: Cell::new(0),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_free(server: *mut wsloop_server) -> c_int {
    {
        // SAFETY: as every function; see `enter`, which a dead server does not pass.
        let Some(server) = (unsafe { server.as_ref() }) else { return WSLOOP_OK };
        // This refuses a callback of this very call, too: the server is borrowed then, or gone.
        let taken = server.server.try_borrow_mut().ok().and_then(|mut inner| inner.take());
        let Some(inner) = taken else { return WSLOOP_ERR_BUSY };
        // The last calls of `on_close` come here. If one panics, the rest goes on.
        let _ = guard(|| drop(inner));
    }
    // SAFETY: `wsloop_new` made it of a box; nothing borrows it any more, since what was in it is
    // gone, with the callbacks that had its address.
    let _ = guard(|| drop(unsafe { Box::from_raw(server) }));
    WSLOOP_OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_route(
    server: *mut wsloop_server,
    path: *const c_char,
    handler: *const wsloop_handler,
    user: *mut c_void,
) -> c_int {
    let add = |this: &wsloop_server| {
        // SAFETY: what the header demands is what both demand.
        let (path, functions) = unsafe { (name(path)?, copy_in(handler)?) };
        if !path.starts_with('/') && path != "*" {
            return Err(Error::Argument("a path begins with a slash, or is *"));
        }
        this.with_server(|inner| {
            inner.route(path, Callbacks { server, functions, user });
            let route = inner.route_named(path);
            route.map(c_int::from).ok_or(Error::Argument("too many routes"))
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, add) }
}

/// What C gets for listening: the port.
fn port(addr: ListenAddr) -> c_int {
    match addr {
        ListenAddr::Tcp(addr) | ListenAddr::Tls(addr) => addr.port().into(),
        ListenAddr::Unix(_) => 0,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_listen(server: *mut wsloop_server, addr: *const c_char) -> c_int {
    let listen = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `name` demands.
        let addr = unsafe { name(addr) }?;
        this.with_server(|inner| Ok(port(inner.listen(addr)?)))
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, listen) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_set_tls(
    server: *mut wsloop_server,
    cert: *const c_char,
    key: *const c_char,
) -> c_int {
    let set = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `name` demands.
        let (cert, key) = unsafe { (name(cert)?, name(key)?) };
        this.with_server(|inner| set_tls(inner, cert, key))
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, set) }
}

#[cfg(feature = "tls")]
fn set_tls(server: &mut Server, cert: &str, key: &str) -> Outcome {
    server.set_tls(crate::Tls::from_files(cert, key)?);
    Ok(WSLOOP_OK)
}

#[cfg(not(feature = "tls"))]
fn set_tls(_: &mut Server, _: &str, _: &str) -> Outcome {
    Err(Error::Unsupported("the library was built without the feature tls"))
}

/// Does something with a copy of a descriptor; if that succeeds, the original is closed.
///
/// # Safety
/// `fd` is C's own to give away, or no descriptor.
unsafe fn take_over(fd: c_int, adopt: impl FnOnce(OwnedFd) -> Outcome) -> Outcome {
    if fd < 0 {
        return Err(Error::Argument("this is no descriptor"));
    }
    // SAFETY: it is not -1, and stays open in here; if it is not open at all, the system says so.
    let copy = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
    let answer = adopt(copy)?;
    // SAFETY: the caller has given it away.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(answer)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_listen_fd(server: *mut wsloop_server, fd: c_int) -> c_int {
    let listen = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `take_over` demands.
        this.with_server(|inner| unsafe { take_over(fd, |fd| Ok(port(inner.listen_fd(fd)?))) })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, listen) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_adopt_fd(
    server: *mut wsloop_server,
    fd: c_int,
    read: *const c_void,
    len: usize,
) -> c_int {
    let adopt = |this: &wsloop_server| {
        // SAFETY: what the header demands is what both demand.
        this.with_server(|inner| unsafe {
            let read = bytes(read, len)?;
            take_over(fd, |fd| Ok(inner.adopt(fd, read).map(|()| WSLOOP_OK)?))
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, adopt) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_feed(
    server: *mut wsloop_server,
    addr: *const c_char,
    route: c_int,
) -> c_int {
    let feed = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `name` demands.
        let addr = unsafe { name(addr) }?;
        this.with_server(|inner| {
            let path = path_of(inner, route)?;
            Ok(port(inner.feed(addr, &path)?))
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, feed) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_feed_stdin(server: *mut wsloop_server, route: c_int) -> c_int {
    let feed = |this: &wsloop_server| {
        this.with_server(|inner| {
            let path = path_of(inner, route)?;
            Ok(inner.feed_stdin(&path).map(|()| WSLOOP_OK)?)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, feed) }
}

fn path_of(server: &Server, number: c_int) -> Outcome<String> {
    let route = route(number, server.routes())?;
    Ok(server.route_path(route).to_string())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_serve_folder(
    server: *mut wsloop_server,
    folder: *const c_char,
) -> c_int {
    let serve = |this: &wsloop_server| {
        // SAFETY: what the header demands is what `name` demands.
        let folder = unsafe { name(folder) }?;
        this.with_server(|inner| Ok(inner.serve_folder(folder).map(|()| WSLOOP_OK)?))
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, serve) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_local_addr(
    server: *const wsloop_server,
    out: *mut c_char,
    room: usize,
) -> c_int {
    let tell = |this: &wsloop_server| {
        let addr = this.with_server(|inner| Ok(inner.local_addr()?.to_string()))?;
        // SAFETY: what the header demands is what `copy_out` demands.
        unsafe { copy_out(&addr, out, room) }
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, tell) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_run(server: *mut wsloop_server) -> c_int {
    let run = |this: &wsloop_server| {
        this.with_server(|inner| {
            // A panic that was caught in a callback ends it too.
            while !inner.is_stopped() && !this.dead.get() {
                inner.turn(None)?;
            }
            this.alive().map(|()| WSLOOP_OK)
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, run) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_turn(server: *mut wsloop_server, timeout_ms: c_int) -> c_int {
    let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
    let turn = |this: &wsloop_server| {
        this.with_server(|inner| {
            if inner.is_stopped() {
                return Err(Error::Stopped);
            }
            let count = inner.turn(timeout)?;
            this.alive()?;
            if inner.is_stopped() {
                return Err(Error::Stopped);
            }
            Ok(c_int::try_from(count).unwrap_or(c_int::MAX))
        })
    };
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, turn) }
}

impl wsloop_server {
    fn alive(&self) -> Outcome<()> {
        if self.dead.get() { Err(Error::Dead) } else { Ok(()) }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_fd(server: *const wsloop_server) -> c_int {
    // SAFETY: what the header demands is what `enter` demands.
    unsafe { enter(server, |this| this.with_server(|inner| Ok(inner.fd()))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_timeout_ms(server: *const wsloop_server) -> c_int {
    let wait = |this: &wsloop_server| {
        this.with_server(|inner| match inner.poll_timeout() {
            _ if inner.is_stopped() => Ok(0),
            None => Ok(-1),
            Some(wait) => Ok(whole_ms(wait)),
        })
    };
    // SAFETY: what the header demands is what `ask` demands.
    unsafe { ask(server, 0, wait) }
}

/// Rounded up: a wait that ends too early only leads to another.
fn whole_ms(wait: Duration) -> c_int {
    c_int::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_stop(server: *const wsloop_server) -> c_int {
    // SAFETY: made and not freed, which the header demands. Only this field of it is looked at, and
    // nobody changes that: so this may be called beside any other function.
    match unsafe { server.as_ref() } {
        None => WSLOOP_ERR_ARGUMENT,
        Some(server) => {
            server.remote.stop();
            WSLOOP_OK
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_wake(server: *const wsloop_server) -> c_int {
    // SAFETY: as in `wsloop_stop`.
    match unsafe { server.as_ref() } {
        None => WSLOOP_ERR_ARGUMENT,
        Some(server) => {
            server.remote.wake();
            WSLOOP_OK
        }
    }
}
