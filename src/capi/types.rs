//! The structs and numbers of the header, as they lie in memory. Fields are only ever appended, and
//! without padding between them on 64 bits.

#![allow(non_camel_case_types, reason = "the names in C")]

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use super::error::{Error, Outcome};
use super::input::name;
use super::request::wsloop_request;
use super::wsloop_server;
use crate::config::{Config, OnFull};
use crate::http::host::is_pattern;
use crate::proto::Version;

pub const WSLOOP_F_FD_ONLY: u32 = 1;
pub const WSLOOP_F_DROP_WHEN_FULL: u32 = 2;
pub const WSLOOP_F_SECURE_PROXY: u32 = 4;
pub const WSLOOP_F_TRUST_PROXY: u32 = 8;
pub const WSLOOP_F_DEFLATE: u32 = 16;
pub const WSLOOP_F_RFC6455_ONLY: u32 = 32;
const ALL_FLAGS: u32 = 63;

pub const WSLOOP_NEVER: u32 = u32::MAX;

/// The largest `size` that is believed: a larger one means that nobody has set it.
const MAX_SIZE: usize = 4096;
/// The smallest `size`, of which every size is a multiple.
const WORD: usize = size_of::<usize>();

pub type wsloop_conn = u64;
pub type wsloop_source = u64;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct wsloop_timer {
    pub opaque: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct wsloop_config {
    pub size: usize,
    pub flags: u32,
    pub max_connections: u32,
    pub max_head: usize,
    pub max_message: usize,
    pub max_backlog: usize,
    pub max_headers: u32,
    pub max_fragments: u32,
    pub handshake_timeout_ms: u32,
    pub ping_interval_ms: u32,
    pub pong_timeout_ms: u32,
    pub idle_timeout_ms: u32,
    pub close_timeout_ms: u32,
    pub max_events: u32,
    pub read_budget: usize,
    pub origins: *const *const c_char,
    pub origin_count: usize,
    pub deflate_threshold: u32,
    pub deflate_level: u32,
    pub message_timeout_ms: u32,
    pub max_per_address: u32,
    pub max_memory: usize,
    pub hosts: *const *const c_char,
    pub host_count: usize,
    pub max_programs: u32,
    pub program_grace_ms: u32,
    pub stall_timeout_ms: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
#[rustfmt::skip]
pub struct wsloop_handler {
    pub size: usize,
    pub on_request: Option<unsafe extern "C" fn(server: *mut wsloop_server, conn: wsloop_conn, request: *mut wsloop_request, user: *mut c_void) -> c_int>,
    pub on_open: Option<unsafe extern "C" fn(server: *mut wsloop_server, conn: wsloop_conn, request: *const wsloop_request, user: *mut c_void)>,
    pub on_message: Option<unsafe extern "C" fn(server: *mut wsloop_server, conn: wsloop_conn, kind: c_int, data: *const c_void, len: usize, user: *mut c_void)>,
    pub on_pong: Option<unsafe extern "C" fn(server: *mut wsloop_server, conn: wsloop_conn, data: *const c_void, len: usize, user: *mut c_void)>,
    pub on_drain: Option<unsafe extern "C" fn(server: *mut wsloop_server, conn: wsloop_conn, user: *mut c_void)>,
    pub on_close: Option<unsafe extern "C" fn(server: *mut wsloop_server, conn: wsloop_conn, code: u16, reason: *const c_char, len: usize, user: *mut c_void)>,
    pub on_timer: Option<unsafe extern "C" fn(server: *mut wsloop_server, conn: wsloop_conn, tag: u64, user: *mut c_void)>,
    pub on_line: Option<unsafe extern "C" fn(server: *mut wsloop_server, source: wsloop_source, line: *const c_char, len: usize, user: *mut c_void) -> *const c_char>,
    pub on_bytes: Option<unsafe extern "C" fn(server: *mut wsloop_server, source: wsloop_source, data: *const c_void, len: usize, user: *mut c_void)>,
    pub on_source_drain: Option<unsafe extern "C" fn(server: *mut wsloop_server, source: wsloop_source, user: *mut c_void)>,
    pub on_source_end: Option<unsafe extern "C" fn(server: *mut wsloop_server, source: wsloop_source, end: c_int, reason: *const c_char, len: usize, user: *mut c_void)>,
    pub on_wake: Option<unsafe extern "C" fn(server: *mut wsloop_server, user: *mut c_void)>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct wsloop_stats {
    pub size: usize,
    pub uptime_ms: u64,
    pub accepted: u64,
    pub refused: u64,
    pub opened: u64,
    pub closed: u64,
    pub open: [u64; 5],
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub backlog: u64,
}

/// A struct that begins with its size, and for which all zeros are a value.
///
/// # Safety
/// Implemented for such structs only.
pub(super) unsafe trait Versioned {}

// SAFETY: its first field is its size; integers and pointers may be 0.
unsafe impl Versioned for wsloop_config {}
// SAFETY: its first field is its size; functions that are optional may be 0.
unsafe impl Versioned for wsloop_handler {}
// SAFETY: its first field is its size; integers may be 0.
unsafe impl Versioned for wsloop_stats {}

/// How large the caller's struct is, as the caller's header knew it.
///
/// # Safety
/// `given` is null or points to a size.
pub(super) unsafe fn size_of_given<T: Versioned>(given: *const T) -> Outcome<usize> {
    if given.is_null() {
        return Err(Error::Argument("a struct is NULL"));
    }
    // SAFETY: it is not null, and begins with its size.
    match unsafe { given.cast::<usize>().read() } {
        size @ WORD..=MAX_SIZE if size % WORD == 0 => Ok(size),
        _ => Err(Error::Argument("the struct's size is not set")),
    }
}

/// Copies a struct of the caller's, of an older and shorter version or a newer and longer one.
/// Fields that the caller does not know are zero; fields that we do not know must be.
///
/// # Safety
/// `given` is null, or points to a struct of the size that it begins with.
pub(super) unsafe fn copy_in<T: Versioned>(given: *const T) -> Outcome<T> {
    // SAFETY: what the caller promises.
    let size = unsafe { size_of_given(given) }?;
    // SAFETY: that many bytes are there; they may be padding, so they are only copied.
    let bytes = unsafe { std::slice::from_raw_parts(given.cast::<MaybeUninit<u8>>(), size) };
    let (known, unknown) = bytes.split_at(size.min(size_of::<T>()));
    // SAFETY: fields of a later version, in which there is no padding.
    if unknown.iter().any(|byte| unsafe { byte.assume_init() } != 0) {
        return Err(Error::Unsupported("a field of a later version is set"));
    }
    let mut copy = MaybeUninit::<T>::zeroed();
    // SAFETY: as many bytes as both have; all zero is a value, and so is what the caller has set.
    unsafe {
        copy.as_mut_ptr()
            .cast::<MaybeUninit<u8>>()
            .copy_from_nonoverlapping(known.as_ptr(), known.len());
        Ok(copy.assume_init())
    }
}

/// Copies a struct out to the caller, as much as the caller knows of it. The size stays as it is.
///
/// # Safety
/// `out` is null, or points to a struct of the size that it begins with.
pub(super) unsafe fn copy_to<T: Versioned>(value: &T, out: *mut T) -> Outcome {
    // SAFETY: what the caller promises.
    let size = unsafe { size_of_given(out) }?.min(size_of::<T>());
    // SAFETY: both have that many bytes.
    unsafe {
        let from = ptr::from_ref(value).cast::<u8>().add(WORD);
        out.cast::<u8>().add(WORD).copy_from_nonoverlapping(from, size.saturating_sub(WORD));
    }
    Ok(0)
}

impl wsloop_config {
    /// The library's settings for it: 0 is the default everywhere.
    ///
    /// # Safety
    /// The origins and the hosts are as the header says.
    pub(super) unsafe fn read(&self) -> Outcome<Config> {
        if self.flags & !ALL_FLAGS != 0 {
            return Err(Error::Unsupported("a flag of a later version is set"));
        }
        let mut config = Config::default();
        set(&mut config.max_head, self.max_head);
        set(&mut config.max_message, self.max_message);
        set(&mut config.max_backlog, self.max_backlog);
        set(&mut config.read_budget, self.read_budget);
        set(&mut config.max_headers, self.max_headers as usize);
        set(&mut config.max_events, self.max_events as usize);
        if self.max_fragments != 0 {
            config.max_fragments = self.max_fragments;
        }
        if self.max_connections != 0 {
            config.max_connections = Some(self.max_connections as usize);
        }
        set_time(&mut config.handshake_timeout, self.handshake_timeout_ms);
        set_time(&mut config.pong_timeout, self.pong_timeout_ms);
        set_time(&mut config.close_timeout, self.close_timeout_ms);
        set_interval(&mut config.ping_interval, self.ping_interval_ms);
        set_interval(&mut config.idle_timeout, self.idle_timeout_ms);
        set_interval(&mut config.message_timeout, self.message_timeout_ms);
        if self.max_per_address != 0 {
            config.max_per_address = Some(self.max_per_address as usize);
        }
        set(&mut config.max_programs, self.max_programs as usize);
        set_time(&mut config.program_grace, self.program_grace_ms);
        if self.stall_timeout_ms != 0 {
            set_time(config.stall_timeout.get_or_insert_default(), self.stall_timeout_ms);
        }
        if self.max_memory != 0 {
            config.max_memory = Some(self.max_memory);
        }
        config.fd_only = self.flags & WSLOOP_F_FD_ONLY != 0;
        config.secure_proxy = self.flags & WSLOOP_F_SECURE_PROXY != 0;
        config.trust_proxy = self.flags & WSLOOP_F_TRUST_PROXY != 0;
        if self.flags & WSLOOP_F_RFC6455_ONLY != 0 {
            config.versions = vec![Version::Rfc6455];
        }
        if self.flags & WSLOOP_F_DROP_WHEN_FULL != 0 {
            config.on_full = OnFull::Drop;
        }
        // SAFETY: what the caller promises.
        unsafe { self.read_origins(&mut config) }?;
        // SAFETY: what the caller promises.
        unsafe { self.read_hosts(&mut config) }?;
        self.read_deflate(&mut config)?;
        Ok(config)
    }

    fn read_deflate(&self, config: &mut Config) -> Outcome<()> {
        if self.deflate_level > 9 {
            return Err(Error::Argument("a level is 1 to 9"));
        }
        if self.flags & WSLOOP_F_DEFLATE != 0 {
            return self.set_deflate(config);
        }
        match (self.deflate_threshold, self.deflate_level) {
            (0, 0) => Ok(()),
            _ => Err(Error::Argument("compression is described, but its flag is not set")),
        }
    }

    #[cfg(feature = "deflate")]
    fn set_deflate(&self, config: &mut Config) -> Outcome<()> {
        let mut deflate = crate::Deflate::default();
        set(&mut deflate.threshold, self.deflate_threshold as usize);
        if self.deflate_level != 0 {
            deflate.level = self.deflate_level as u8;
        }
        config.deflate = Some(deflate);
        Ok(())
    }

    #[cfg(not(feature = "deflate"))]
    fn set_deflate(&self, _: &mut Config) -> Outcome<()> {
        Err(Error::Unsupported("the library was built without the feature deflate"))
    }

    /// # Safety
    /// As [`read`](wsloop_config::read).
    unsafe fn read_origins(&self, config: &mut Config) -> Outcome<()> {
        const NULL: &str = "the origins are NULL, but their count is not 0";
        // SAFETY: what the caller promises.
        let origins = unsafe { names(self.origins, self.origin_count, NULL) }?;
        if origins.is_empty() {
            return Ok(());
        }
        config.origins.clear();
        for origin in origins {
            let rule = origin.parse().map_err(|_| Error::Argument("malformed origin"))?;
            config.origins.push(rule);
        }
        Ok(())
    }

    /// # Safety
    /// As [`read`](wsloop_config::read).
    unsafe fn read_hosts(&self, config: &mut Config) -> Outcome<()> {
        const NULL: &str = "the hosts are NULL, but their count is not 0";
        // SAFETY: what the caller promises.
        for host in unsafe { names(self.hosts, self.host_count, NULL) }? {
            if !is_pattern(host) {
                return Err(Error::Argument("malformed host"));
            }
            config.hosts.push(host.to_string());
        }
        Ok(())
    }
}

/// The names of a list; `null` is the error if there is none.
///
/// # Safety
/// The list is null, or has so many, each of them a name.
unsafe fn names<'a>(
    list: *const *const c_char,
    count: usize,
    null: &'static str,
) -> Outcome<Vec<&'a str>> {
    if count > 0 && list.is_null() {
        return Err(Error::Argument(null));
    }
    // SAFETY: what the caller promises.
    (0..count).map(|place| unsafe { name(list.add(place).read()) }).collect()
}

fn set(field: &mut usize, value: usize) {
    if value != 0 {
        *field = value;
    }
}

fn set_time(field: &mut Duration, ms: u32) {
    match ms {
        0 => {}
        WSLOOP_NEVER => *field = Duration::MAX,
        ms => *field = Duration::from_millis(ms.into()),
    }
}

fn set_interval(field: &mut Option<Duration>, ms: u32) {
    match ms {
        0 => {}
        WSLOOP_NEVER => *field = None,
        ms => *field = Some(Duration::from_millis(ms.into())),
    }
}
