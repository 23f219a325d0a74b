//! What a file's name says of its content.

use std::path::Path;

/// The media type by the last extension; that of plain bytes if the extension is not known.
pub(super) fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().unwrap_or_default();
    CONTENT_TYPES
        .iter()
        .find(|(_, extensions)| {
            extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
        })
        .map_or("application/octet-stream", |(content_type, _)| content_type)
}

/// Types and their extensions. JSON has no charset parameter (RFC 8259 section 11); XML states its
/// own.
const CONTENT_TYPES: &[(&str, &[&str])] = &[
    ("text/html; charset=utf-8", &["html", "htm"]),
    ("text/css; charset=utf-8", &["css"]),
    ("text/javascript; charset=utf-8", &["js", "mjs"]),
    ("text/plain; charset=utf-8", &["txt", "rs", "py"]),
    ("text/markdown; charset=utf-8", &["md"]),
    ("text/csv; charset=utf-8", &["csv"]),
    ("application/json", &["json", "map"]),
    ("application/manifest+json", &["webmanifest"]),
    ("application/xml", &["xml"]),
    ("application/pdf", &["pdf"]),
    ("application/wasm", &["wasm"]),
    ("image/svg+xml", &["svg"]),
    ("image/png", &["png"]),
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("image/avif", &["avif"]),
    ("image/x-icon", &["ico"]),
    ("font/woff", &["woff"]),
    ("font/woff2", &["woff2"]),
    ("font/ttf", &["ttf"]),
    ("audio/mpeg", &["mp3"]),
    ("audio/ogg", &["ogg"]),
    ("audio/wav", &["wav"]),
    ("video/mp4", &["mp4"]),
    ("video/webm", &["webm"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_go_by_the_last_extension() {
        for (name, expected) in [
            ("a.HTM", "text/html; charset=utf-8"),
            ("a.min.mjs", "text/javascript; charset=utf-8"),
            ("a.js.map", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.jpeg", "image/jpeg"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.html.bak", "application/octet-stream"),
            ("html", "application/octet-stream"),
            ("dir.html/a", "application/octet-stream"),
            ("a.", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), expected, "{name}");
        }
    }
}
