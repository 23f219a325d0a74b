//! Percent-encoding in paths (RFC 3986 section 2.1).

use percent_encoding::percent_decode_str;

/// One component of a path, decoded once. The error says why there is no such thing.
pub(super) fn decode_component(raw: &str) -> Result<Vec<u8>, &'static str> {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    if !raw.split('%').skip(1).all(|rest| rest.as_bytes().get(..2).is_some_and(is_hex)) {
        return Err("the path holds a % that two hexadecimal digits do not follow");
    }
    let decoded: Vec<u8> = percent_decode_str(raw).collect();
    if decoded.contains(&0) {
        return Err("the path holds a NUL");
    }
    Ok(decoded)
}

/// A whole path, decoded. `None` if it does not come to text, or holds an encoded slash, which is
/// data within its component and separates nothing (RFC 3986 section 2.2).
pub(crate) fn decode(path: &str) -> Option<String> {
    let names = path.split('/').map(decode_component).collect::<Result<Vec<_>, _>>().ok()?;
    if names.iter().any(|name| name.contains(&b'/')) {
        return None;
    }
    String::from_utf8(names.join(&b'/')).ok()
}
