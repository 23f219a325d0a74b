//! Text and bytes, as they pass between C and Rust.

#![allow(non_camel_case_types, reason = "the names in C")]

use std::ffi::{c_char, c_int};
use std::ptr;

pub const WSLOOP_TEXT: c_int = 1;
pub const WSLOOP_BINARY: c_int = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct wsloop_str {
    pub ptr: *const c_char,
    pub len: usize,
}

impl wsloop_str {
    pub(super) const NONE: wsloop_str = wsloop_str { ptr: ptr::null(), len: 0 };

    pub(super) fn of(bytes: &[u8]) -> wsloop_str {
        wsloop_str { ptr: bytes.as_ptr().cast(), len: bytes.len() }
    }
}
