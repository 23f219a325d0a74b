//! HTTP/1 (RFC 9110 and 9112): request heads, responses, which pages may connect, files. Nothing
//! here knows a socket or the poll; only `files` knows the file system.

pub(crate) mod content_type;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod request;
pub(crate) mod response;
