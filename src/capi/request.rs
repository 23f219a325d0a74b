//! The request as C sees it, in `on_request` and `on_open`.

use std::borrow::Cow;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

use super::data::wsloop_str;
use super::entry::guard;
use super::error::{Error, Outcome, WSLOOP_ERR_ARGUMENT, WSLOOP_ERR_PANIC, WSLOOP_OK};
use super::input::{bytes, name, put, text};
use crate::http::request::{Request, is_token};
use crate::http::response::{Response, is_framing};

/// It lives on the stack, for one callback.
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct wsloop_request {
    request: NonNull<Request<'static>>,
    /// Whether there is an answer to be given yet.
    undecided: bool,
    protocol: Option<String>,
    response: Option<Response>,
}

impl wsloop_request {
    /// For `on_request`, where it is `undecided`, or for `on_open`. The result must not outlive the
    /// request.
    pub(super) fn new(request: &Request<'_>, undecided: bool) -> wsloop_request {
        let request = NonNull::from(request).cast();
        wsloop_request { request, undecided, protocol: None, response: None }
    }

    pub(super) fn decided(self) -> (Option<String>, Option<Response>) {
        (self.protocol, self.response)
    }

    fn request(&self) -> &Request<'static> {
        // SAFETY: it is alive, which is what `new` demands; and nobody changes it.
        unsafe { self.request.as_ref() }
    }
}

/// Looks something up in a request; `None` if anything is wrong.
///
/// # Safety
/// `request` is null, or what a callback was given that has not returned.
unsafe fn look<T>(
    request: *const wsloop_request,
    body: impl FnOnce(&Request<'static>) -> Option<T>,
) -> Option<T> {
    // SAFETY: what the caller promises.
    let request = unsafe { request.as_ref() }?;
    guard(|| body(request.request())).ok().flatten()
}

/// The same for text.
///
/// # Safety
/// As [`look`].
unsafe fn read(
    request: *const wsloop_request,
    body: impl FnOnce(&Request<'static>) -> Option<&'static [u8]>,
) -> wsloop_str {
    // SAFETY: what the caller promises.
    unsafe { look(request, |request| body(request).map(wsloop_str::of)) }
        .unwrap_or(wsloop_str::NONE)
}

/// Changes the answer to a request.
///
/// # Safety
/// `request` is null, or what a callback was given that has not returned. In `on_open` that is
/// `const` in C, where a cast can make it look like this, so it lies in memory that may be written to.
unsafe fn change(
    request: *mut wsloop_request,
    body: impl FnOnce(&mut wsloop_request) -> Outcome<()>,
) -> c_int {
    // SAFETY: what the caller promises; nobody else has it while C is in this call.
    let Some(request) = (unsafe { request.as_mut() }) else { return WSLOOP_ERR_ARGUMENT };
    if !request.undecided {
        return Error::State.code();
    }
    match guard(|| body(request)) {
        Ok(Ok(())) => WSLOOP_OK,
        Ok(Err(error)) => error.code(),
        Err(_) => WSLOOP_ERR_PANIC,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_method(request: *const wsloop_request) -> wsloop_str {
    // SAFETY: what the header demands is what `read` demands.
    unsafe { read(request, |request| Some(request.method().as_bytes())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_path(request: *const wsloop_request) -> wsloop_str {
    // SAFETY: what the header demands is what `read` demands.
    unsafe { read(request, |request| Some(request.path().as_bytes())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_query(request: *const wsloop_request) -> wsloop_str {
    // SAFETY: what the header demands is what `read` demands.
    unsafe { read(request, |request| Some(request.query().as_bytes())) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_header(
    request: *const wsloop_request,
    name: *const c_char,
) -> wsloop_str {
    // SAFETY: what the header demands is what both demand.
    unsafe {
        let Ok(name) = self::name(name) else { return wsloop_str::NONE };
        read(request, |request| request.header_bytes(name))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_field(
    request: *const wsloop_request,
    place: usize,
    name: *mut wsloop_str,
    value: *mut wsloop_str,
) -> c_int {
    // SAFETY: what the header demands is what both demand.
    unsafe {
        let field = look(request, |request| request.headers().nth(place));
        let Some((field, bytes)) = field else { return WSLOOP_ERR_ARGUMENT };
        put(name, wsloop_str::of(field.as_bytes()));
        put(value, wsloop_str::of(bytes));
    }
    WSLOOP_OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_protocol(
    request: *const wsloop_request,
    place: usize,
) -> wsloop_str {
    // SAFETY: what the header demands is what `read` demands.
    unsafe { read(request, |request| request.protocols().nth(place).map(str::as_bytes)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_choose(
    request: *mut wsloop_request,
    protocol: *const c_char,
    len: usize,
) -> c_int {
    let choose = |request: &mut wsloop_request| {
        // SAFETY: what the header demands is what `text` demands.
        let protocol = unsafe { text(protocol, len) }?;
        if !request.request().protocols().any(|offered| offered == protocol) {
            return Err(Error::Argument("this subprotocol is not offered"));
        }
        request.protocol = Some(protocol.to_string());
        Ok(())
    };
    // SAFETY: what the header demands is what `change` demands.
    unsafe { change(request, choose) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_respond(
    request: *mut wsloop_request,
    status: c_int,
    content_type: *const c_char,
    body: *const c_void,
    len: usize,
) -> c_int {
    let respond = |request: &mut wsloop_request| {
        let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        let status = status.ok_or(Error::Argument("a status is 200 to 599"))?;
        // SAFETY: what the header demands is what `bytes` demands.
        let mut response = Response::new(status).body(unsafe { bytes(body, len) }?);
        if !content_type.is_null() {
            // SAFETY: what the header demands is what `name` demands.
            response = response.header("Content-Type", unsafe { name(content_type) }?);
        }
        request.response = Some(response);
        Ok(())
    };
    // SAFETY: what the header demands is what `change` demands.
    unsafe { change(request, respond) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn wsloop_request_add_field(
    request: *mut wsloop_request,
    name: *const c_char,
    value: *const c_char,
) -> c_int {
    let add = |request: &mut wsloop_request| {
        // SAFETY: what the header demands is what `name` demands.
        let (field, value) = unsafe { (self::name(name)?, self::name(value)?) };
        if !is_token(field) || value.chars().any(char::is_control) {
            return Err(Error::Argument("a field's name is a token, its value without controls"));
        }
        if is_framing(field) {
            return Err(Error::Argument("where the answer ends is the server's to say"));
        }
        let response = request.response.as_mut().ok_or(Error::State)?;
        response.add_header(Cow::Owned(field.to_string()), value.to_string());
        Ok(())
    };
    // SAFETY: what the header demands is what `change` demands.
    unsafe { change(request, add) }
}
