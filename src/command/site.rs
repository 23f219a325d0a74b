//! The demo site, part of the program.

use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

/// The paths and the files behind them.
pub const FILES: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("../../demo/web/index.html")),
    ("/echo.html", include_bytes!("../../demo/web/echo.html")),
    ("/broadcast.html", include_bytes!("../../demo/web/broadcast.html")),
    ("/hello.html", include_bytes!("../../demo/web/hello.html")),
    ("/tracker.html", include_bytes!("../../demo/web/tracker.html")),
    ("/chat.html", include_bytes!("../../demo/web/chat.html")),
    ("/websock.html", include_bytes!("../../demo/web/websock.html")),
    ("/sync.html", include_bytes!("../../demo/web/sync.html")),
    ("/plotter.html", include_bytes!("../../demo/web/plotter.html")),
    ("/stocks.html", include_bytes!("../../demo/web/stocks.html")),
    ("/monitor.html", include_bytes!("../../demo/web/monitor.html")),
    ("/train.html", include_bytes!("../../demo/web/train.html")),
    ("/terminal.html", include_bytes!("../../demo/web/terminal.html")),
    ("/style.css", include_bytes!("../../demo/web/style.css")),
    ("/connection.js", include_bytes!("../../demo/web/connection.js")),
    ("/favicon.svg", include_bytes!("../../demo/web/favicon.svg")),
    // The programs, to read.
    ("/demo/tiny.rs", include_bytes!("../../demo/tiny.rs")),
    ("/demo/minimal.rs", include_bytes!("../../demo/minimal.rs")),
    ("/demo/hello.rs", include_bytes!("../../demo/hello.rs")),
    ("/demo/echo.rs", include_bytes!("../../demo/echo.rs")),
    ("/demo/broadcast.rs", include_bytes!("../../demo/broadcast.rs")),
    ("/demo/tracker.rs", include_bytes!("../../demo/tracker.rs")),
    ("/demo/chat.rs", include_bytes!("../../demo/chat.rs")),
    ("/demo/websock.rs", include_bytes!("../../demo/websock.rs")),
    ("/demo/plotter.rs", include_bytes!("../../demo/plotter.rs")),
    ("/demo/stocks.rs", include_bytes!("../../demo/stocks.rs")),
    ("/demo/monitor.rs", include_bytes!("../../demo/monitor.rs")),
    ("/demo/sync.rs", include_bytes!("../../demo/sync.rs")),
    ("/demo/train.py", include_bytes!("../../demo/train.py")),
];

/// The Content-Security-Policy of the pages. Their own scripts and styles stand in them and are known by
/// their hashes, so that nothing runs which somebody has brought into a page by a message. The first
/// browsers with policies, of 2013, know no hashes, and are let run what stands in a page; for all later
/// ones a hash turns that word off (Content Security Policy Level 2).
pub fn policy() -> String {
    const POLICY: &str = include_str!("policy.txt");
    let policy = POLICY.replace("{scripts}", &hashes("script"));
    policy.replace("{styles}", &hashes("style")).trim_end().replace('\n', " ")
}

/// Of everything that stands within this element on a page.
fn hashes(element: &str) -> String {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let pages = FILES.iter().filter(|(path, _)| path.ends_with(".html"));
    let mut found = String::new();
    for page in pages.filter_map(|(_, bytes)| str::from_utf8(bytes).ok()) {
        for part in page.split(&begin).skip(1) {
            let content = part.split(&end).next().unwrap_or_default();
            let hash = BASE64_STANDARD.encode(Sha256::digest(content));
            found += &format!("'sha256-{hash}' ");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_and_style_of_the_pages_is_in_the_policy() {
        let policy = policy();
        let pages = FILES.iter().filter(|(path, _)| path.ends_with(".html"));
        let mut elements = 0;
        for (path, bytes) in pages {
            let page = str::from_utf8(bytes).unwrap();
            elements += page.matches("<script>").count() + page.matches("<style>").count();
            // What no hash allows.
            for never in [" onclick=\"", " onload=\"", " style=\"", "javascript:", "<script type"] {
                assert!(!page.contains(never), "{path}: {never}");
            }
        }
        assert!(elements > 10 && policy.matches("'sha256-").count() == elements, "{policy}");
        assert!(policy.starts_with("default-src 'self'; script-src 'self' ") && policy.is_ascii());
        assert!(!policy.contains(['{', '}']) && !policy.contains("eval"), "{policy}");
    }
}
