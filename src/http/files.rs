//! Static content beside the WebSocket: a folder's files, or pages that are part of the program
//! (RFC 9110: GET, HEAD, conditions, one range).
//!
//! A path is decoded once, component by component, and never normalised: no spelling of `..` has a
//! meaning. The file it leads to, all links followed, must lie within the folder. Files are opened
//! and read in the loop, which waits for the disk: this is for small sites.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::fs::OFlags;
use rustix::io::Errno;
use sha1::{Digest, Sha1};

use crate::http::content_type::content_type;
use crate::http::path::decode_component;
use crate::http::request::Request;
use crate::http::response::{Response, bad_request};

/// A file, or a part of one, of no more bytes than this is read at once, and its descriptor is free.
const SMALL: u64 = 16 * 1024;

/// What is served to plain GET and HEAD requests that no handler answers.
#[derive(Debug, Clone)]
pub(crate) enum Site {
    /// Nothing: every path is 404.
    None,
    /// The files in and below this folder; the path is canonical.
    Folder(PathBuf),
    /// Pages by the path they are served under: `("/index.html", bytes)`.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

impl Site {
    /// Serves a folder. The error names the path if it is missing or is not a directory.
    pub(crate) fn folder(root: &Path) -> io::Result<Site> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
        let canonical = fs::canonicalize(root).map_err(named)?;
        if !fs::metadata(&canonical).map_err(named)?.is_dir() {
            return Err(named(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Site::Folder(canonical))
    }

    /// Answers a request. Pages of other origins may neither show nor run what is served here, nor
    /// have it in their process, where they could spy on it (Fetch Standard section 3.7). The answer
    /// to HEAD has a body too, for its length: whoever sends the response leaves it out.
    pub(crate) fn respond(&self, request: &Request<'_>) -> Response {
        let (Ok(response) | Err(response)) = self.answer(request);
        response
            .header("X-Content-Type-Options", "nosniff")
            .header("Cross-Origin-Resource-Policy", "same-origin")
    }

    fn answer(&self, request: &Request<'_>) -> Result<Response, Response> {
        if !matches!(request.method(), "GET" | "HEAD") {
            return Err(Response::text(405, "GET and HEAD only\n").header("Allow", "GET, HEAD"));
        }
        let names_directory = request.path().ends_with('/');
        let index = if names_directory { "index.html" } else { "" };
        let path = decode(&format!("{}{index}", request.path()))?;
        match self.find(&path)? {
            Found::Content(representation) => Ok(representation.respond(request)),
            Found::Directory if names_directory => Err(not_found()),
            Found::Directory => Ok(redirect(&path, request.query())),
        }
    }

    fn find(&self, path: &[u8]) -> Result<Found, Response> {
        match self {
            Site::None => Err(not_found()),
            Site::Folder(root) => find_file(root, Path::new(OsStr::from_bytes(path))),
            Site::Embedded(pages) => find_page(pages, path).ok_or_else(not_found),
        }
    }
}

/// What a path leads to.
enum Found {
    Content(Representation),
    Directory,
}

/// The path decoded, without its leading slash: `a/b`, no component empty, hidden, `.` or `..`.
fn decode(path: &str) -> Result<Vec<u8>, Response> {
    let relative = path.strip_prefix('/').ok_or_else(|| bad_request("the target is no path"))?;
    let names = relative.split('/').map(file_name).collect::<Result<Vec<_>, _>>()?;
    Ok(names.join(&b'/'))
}

/// One file name. A backslash is an ordinary character of it, and so are bytes that are not
/// UTF-8. An encoded slash is 404, not a separator: it is data within its component (RFC 3986
/// section 2.2), and no file has a name with a slash in it.
fn file_name(raw: &str) -> Result<Vec<u8>, Response> {
    let name = decode_component(raw).map_err(bad_request)?;
    if name.is_empty() || is_hidden(&name) || name.contains(&b'/') {
        return Err(not_found());
    }
    Ok(name)
}

/// `.git`, `.env` and the like are rarely meant to be seen; RFC 8615 names the exception.
fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(b".") && name != b".well-known"
}

/// The redirect for a directory whose path came without its last slash; 301, since browsers older
/// than 308 are served here. The path is encoded anew, `\` included, which browsers read as a
/// slash; and its first component is not empty. So this never begins with `//` and stays on this
/// host.
fn redirect(path: &[u8], query: &str) -> Response {
    const LITERAL: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let question_mark = if query.is_empty() { "" } else { "?" };
    let location = format!("/{}/{question_mark}{query}", percent_encode(path, LITERAL));
    Response::new(301).header("Location", location).header("Cache-Control", "no-cache")
}

/// Opens a file below the root. Whoever could put a link in a directory's place between the check
/// and the opening may write to the folder, and is trusted with it.
fn find_file(root: &Path, path: &Path) -> Result<Found, Response> {
    let refused = |error| refusal(&error);
    let canonical = fs::canonicalize(root.join(path)).map_err(refused)?;
    // A link may lead anywhere: what counts is where the file lies.
    let below = canonical.strip_prefix(root).map_err(|_| not_found())?;
    if below.iter().any(|name| is_hidden(name.as_bytes())) {
        return Err(not_found());
    }
    if canonical.is_dir() {
        return Ok(Found::Directory);
    }
    let file = open(&canonical).map_err(refused)?;
    let metadata = file.metadata().map_err(refused)?;
    if !metadata.is_file() {
        return Err(not_found());
    }
    Ok(Found::Content(Representation::of_file(path, file, &metadata)))
}

/// Opens for reading without waiting for a FIFO's writer, without following a link that was put
/// there since, and without making a terminal ours.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn refusal(error: &io::Error) -> Response {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => not_found(),
        // A socket, or a device nobody drives.
        Some(Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP) => not_found(),
        Some(Errno::ACCESS | Errno::PERM) => Response::text(403, "forbidden\n"),
        // This passes.
        Some(Errno::MFILE | Errno::NFILE) => too_many_files().because(error),
        _ => Response::text(500, "this file cannot be read\n").because(error),
    }
}

/// The files that are under way to others, or whatever else is open, leave no descriptor for one more.
/// This passes.
pub(crate) fn too_many_files() -> Response {
    Response::text(503, "too many open files\n").header("Retry-After", "5")
}

fn not_found() -> Response {
    Response::text(404, "not found\n")
}

fn find_page(pages: &[(&str, &'static [u8])], path: &[u8]) -> Option<Found> {
    let page = |suffix: &[u8]| {
        let wanted = [b"/", path, suffix].concat();
        pages.iter().find(|(name, _)| name.as_bytes() == wanted)
    };
    if let Some((name, bytes)) = page(b"") {
        return Some(Found::Content(Representation::of_page(name, bytes)));
    }
    page(b"/index.html").map(|_| Found::Directory)
}

/// One file or page, and what caches and conditions depend on.
struct Representation {
    content_type: &'static str,
    etag: String,
    modified: Option<SystemTime>,
    len: u64,
    content: Content,
}

enum Content {
    Bytes(&'static [u8]),
    File(File),
}

impl Representation {
    /// The tag is weak: the clock behind a file's times ticks every few milliseconds, so a file can
    /// change twice and neither time nor length show it (RFC 9110 section 8.8.1). The change time
    /// is in it because package managers and image builders give every file the same modification
    /// time: an update of the same length would go unseen.
    fn of_file(path: &Path, file: File, metadata: &Metadata) -> Representation {
        let (len, modified, changed) = (metadata.len(), metadata.mtime(), metadata.ctime());
        let (modified_ns, changed_ns) = (metadata.mtime_nsec(), metadata.ctime_nsec());
        Representation {
            content_type: content_type(path),
            etag: format!("W/\"{len:x}-{modified:x}.{modified_ns:x}-{changed:x}.{changed_ns:x}\""),
            modified: last_modified(metadata),
            len,
            content: Content::File(file),
        }
    }

    /// The tag is strong: it is a hash of the content. The program's build is no date to rely on.
    fn of_page(name: &str, bytes: &'static [u8]) -> Representation {
        Representation {
            content_type: content_type(Path::new(name)),
            etag: format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(Sha1::digest(bytes))),
            modified: None,
            len: bytes.len() as u64,
            content: Content::Bytes(bytes),
        }
    }

    fn respond(self, request: &Request<'_>) -> Response {
        if let Some(status) = self.failed_condition(request) {
            return self.validated(status);
        }
        let len = self.len;
        match self.selection(request) {
            Selection::Whole => self.part(200, 0..len),
            Selection::Part(range) => {
                let content_range =
                    format!("bytes {}-{}/{len}", range.start, range.end.saturating_sub(1));
                self.part(206, range).header("Content-Range", content_range)
            }
            Selection::Nothing => Response::text(416, "the range begins behind the end\n")
                .header("Content-Range", format!("bytes */{len}"))
                .header("Accept-Ranges", "bytes"),
        }
    }

    /// The fields that a 304 repeats of the 200 it stands for (RFC 9110 section 15.4.5). `no-cache`
    /// makes caches keep a copy but ask each time: no name here tells versions apart.
    fn validated(&self, status: u16) -> Response {
        Response::new(status).header("ETag", self.etag.as_str()).header("Cache-Control", "no-cache")
    }

    fn part(self, status: u16, range: Range<u64>) -> Response {
        let mut response = self
            .validated(status)
            .header("Content-Type", self.content_type)
            .header("Accept-Ranges", "bytes");
        if let Some(modified) = self.modified {
            response = response.header("Last-Modified", httpdate::fmt_http_date(modified));
        }
        match self.content {
            Content::Bytes(bytes) => {
                let part = bytes.get(range.start as usize..range.end as usize);
                response.static_body(part.unwrap_or_default())
            }
            Content::File(file) => {
                let (begin, len) = (range.start, range.end.saturating_sub(range.start));
                if len > SMALL {
                    return response.file(file, begin, len);
                }
                let mut bytes = vec![0; len as usize];
                match file.read_exact_at(&mut bytes, begin) {
                    Ok(()) => response.body(bytes),
                    Err(error) => refusal(&error),
                }
            }
        }
    }

    /// The status a condition ends the request with, in the order of RFC 9110 section 13.2.2.
    fn failed_condition(&self, request: &Request<'_>) -> Option<u16> {
        let precondition_holds = any_tag(request, "If-Match", |tag| self.is_strongly(tag))
            .or_else(|| self.is_unmodified_since(request, "If-Unmodified-Since"));
        let client_has_it = any_tag(request, "If-None-Match", |tag| self.is_weakly(tag))
            .or_else(|| self.is_unmodified_since(request, "If-Modified-Since"));
        if precondition_holds == Some(false) {
            return Some(412);
        }
        (client_has_it == Some(true)).then_some(304)
    }

    /// RFC 9110 section 8.8.3.2: in a strong comparison, a weak tag does not even equal itself.
    fn is_strongly(&self, tag: &[u8]) -> bool {
        !self.etag.starts_with("W/") && self.etag.as_bytes() == tag
    }

    fn is_weakly(&self, tag: &[u8]) -> bool {
        self.etag.trim_start_matches("W/").as_bytes() == tag.strip_prefix(b"W/").unwrap_or(tag)
    }

    /// `None` if either date is missing.
    fn is_unmodified_since(&self, request: &Request<'_>, name: &str) -> Option<bool> {
        Some(self.modified? <= date(request, name)?)
    }

    /// RFC 9110 section 14.2: only GET has ranges.
    fn selection(&self, request: &Request<'_>) -> Selection {
        let applies = request.method() == "GET" && self.if_range(request);
        let range = request.header("Range").filter(|_| applies);
        range.map_or(Selection::Whole, |range| select(range, self.len))
    }

    /// RFC 9110 section 13.1.5. A date counts only if it is the very same: the client may only send
    /// one that was over a second old when it got it, and a later change has a later date.
    fn if_range(&self, request: &Request<'_>) -> bool {
        let Some(validator) = request.header_bytes("If-Range") else { return true };
        let is_date = |date| self.modified == Some(date);
        self.is_strongly(validator) || date(request, "If-Range").is_some_and(is_date)
    }
}

/// In whole seconds, as it is sent. None before 1970, which `httpdate` cannot write, and none in
/// the future, which may not be sent (RFC 9110 section 8.8.2.1).
fn last_modified(metadata: &Metadata) -> Option<SystemTime> {
    let seconds = Duration::from_secs(u64::try_from(metadata.mtime()).ok()?);
    UNIX_EPOCH.checked_add(seconds).filter(|&modified| modified <= SystemTime::now())
}

/// Whether any tag of a list passes, as `*` does; `None` if the field is missing. Commas may stand
/// within a tag, but ours have none, and no part of a longer tag has both its quotes.
fn any_tag(request: &Request<'_>, name: &str, passes: impl Fn(&[u8]) -> bool) -> Option<bool> {
    request.header_bytes(name)?;
    let mut tags = request.header_values(name).flat_map(|list| list.split(|&byte| byte == b','));
    Some(tags.any(|tag| tag.trim_ascii() == b"*" || passes(tag.trim_ascii())))
}

/// A malformed date is no date (RFC 9110 sections 13.1.3 and 13.1.4).
fn date(request: &Request<'_>, name: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(request.header(name)?).ok()
}

/// What of the content a `Range` field asks for. A part is never empty.
#[derive(Debug, PartialEq, Eq)]
enum Selection {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// RFC 9110 section 14.1.2. Several ranges, and malformed ones, may be ignored (section 14.2), and
/// are: assembling many small parts is work for us alone.
fn select(range: &str, len: u64) -> Selection {
    match range_spec(range) {
        None | Some((None, None)) => Selection::Whole,
        Some((None, Some(0))) => Selection::Nothing,
        // The last bytes of nothing: satisfiable, but no Content-Range could say so.
        Some((None, Some(_))) if len == 0 => Selection::Whole,
        Some((None, Some(suffix))) => Selection::Part(len.saturating_sub(suffix)..len),
        Some((Some(first), Some(last))) if last < first => Selection::Whole,
        Some((Some(first), _)) if first >= len => Selection::Nothing,
        Some((Some(first), last)) => {
            Selection::Part(first..last.map_or(len, |last| last.saturating_add(1).min(len)))
        }
    }
}

/// `bytes=first-last`, either of which may be missing.
fn range_spec(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, spec) = range.split_once('=')?;
    let (first, last) = spec.split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((position(first)?, position(last)?))
}

/// Digits, any number of them: a number too large for `u64` lies behind every end all the same.
fn position(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::http::request::parse;
    use crate::http::response::Body;

    /// A folder to serve and, beside it, what must not be served.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("wsloop-files-{}-{number}", std::process::id());
            let scratch = Scratch(std::env::temp_dir().join(name));
            for folder in ["root/sub/empty", "root/.git", "root/.well-known", "root-beside"] {
                fs::create_dir_all(scratch.0.join(folder)).unwrap();
            }
            for (name, content) in [
                ("root/index.html", "home"),
                ("root/digits.txt", "0123456789"),
                ("root/nothing", ""),
                ("root/sub/index.html", "sub"),
                ("root/sub/a b\\c.CSS", "spaced"),
                ("root/.git/config", "secret"),
                ("root/.env", "secret"),
                ("root/.well-known/security.txt", "contact"),
                ("root-beside/secret.txt", "secret"),
                ("secret.txt", "secret"),
            ] {
                fs::write(scratch.0.join(name), content).unwrap();
            }
            scratch
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join("root").join(name)
        }

        fn site(&self) -> Site {
            Site::folder(&self.path("")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const PAGES: Site = Site::Embedded(&[
        ("/index.html", b"home"),
        ("/echo.html", b"0123456789"),
        ("/demo/index.html", b"demo"),
    ]);

    struct Answer {
        status: u16,
        head: String,
        body: Vec<u8>,
    }

    impl Answer {
        fn header(&self, name: &str) -> Option<&str> {
            let fields = self.head.lines().filter_map(|line| line.split_once(": "));
            fields.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
        }

        fn text(&self) -> &str {
            std::str::from_utf8(&self.body).unwrap()
        }
    }

    /// A request by its first line and further fields, each ended by CR LF.
    fn ask(site: &Site, method: &str, target: &str, fields: &str) -> Answer {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut slots = [httparse::EMPTY_HEADER; 8];
        let request = parse(head.as_bytes(), &mut slots).unwrap();
        answer(site.respond(&request))
    }

    fn answer(response: Response) -> Answer {
        let mut head = Vec::new();
        response.write_head(true, &mut head);
        let status = response.status;
        let body = match response.body {
            Body::Bytes(bytes) => bytes.into_owned(),
            Body::File { file, offset, len } => read_part(&file, offset, len),
            Body::Events => panic!("the site has none"),
        };
        Answer { status, head: String::from_utf8(head).unwrap(), body }
    }

    fn read_part(file: &File, offset: u64, len: u64) -> Vec<u8> {
        let mut part = vec![0; usize::try_from(len).unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut part, offset).unwrap();
        part
    }

    fn get(site: &Site, target: &str) -> Answer {
        ask(site, "GET", target, "")
    }

    fn header(answer: &Answer, name: &str) -> String {
        answer.header(name).unwrap_or_else(|| panic!("no {name} in {}", answer.head)).to_string()
    }

    #[test]
    fn files_are_served_by_their_decoded_names() {
        let scratch = Scratch::new();
        let site = scratch.site();
        for (target, content, content_type) in [
            ("/", "home", "text/html; charset=utf-8"),
            ("/index.html?x=/../y", "home", "text/html; charset=utf-8"),
            ("/%69ndex%2Ehtml", "home", "text/html; charset=utf-8"),
            ("/sub/", "sub", "text/html; charset=utf-8"),
            ("/sub/a%20b%5cc.CSS", "spaced", "text/css; charset=utf-8"),
            ("/sub/a%20b\\c.CSS", "spaced", "text/css; charset=utf-8"),
            ("/.well-known/security.txt", "contact", "text/plain; charset=utf-8"),
            ("/nothing", "", "application/octet-stream"),
        ] {
            let answer = get(&site, target);
            assert_eq!((answer.status, answer.text()), (200, content), "{target}");
            assert_eq!(answer.header("Content-Type"), Some(content_type), "{target}");
            assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{target}");
            assert_eq!(answer.header("Cache-Control"), Some("no-cache"), "{target}");
            assert_eq!(answer.header("Accept-Ranges"), Some("bytes"), "{target}");
            assert!(header(&answer, "ETag").starts_with("W/\""), "{target}");
            assert!(answer.header("Last-Modified").is_some(), "{target}");
        }
    }

    #[test]
    fn names_need_not_be_utf_8() {
        let scratch = Scratch::new();
        let name = OsStr::from_bytes(b"caf\xe9.txt");
        // Some file systems allow UTF-8 names only.
        if fs::write(scratch.0.join("root").join(name), "latin").is_ok() {
            assert_eq!(get(&scratch.site(), "/caf%E9.txt").text(), "latin");
        }
        assert_eq!(get(&scratch.site(), "/%ff").status, 404);
        assert_eq!(get(&PAGES, "/%ff").status, 404);
    }

    #[test]
    fn no_spelling_leads_out_of_the_folder() {
        let scratch = Scratch::new();
        for target in [
            "/../secret.txt",
            "/..",
            "/../",
            "/sub/../index.html",
            "/sub/../../secret.txt",
            "/%2e%2e/secret.txt",
            "/.%2e/secret.txt",
            "/%2E./secret.txt",
            "/%2e%2e%2fsecret.txt",
            "/..%2fsecret.txt",
            "/..%2Fsecret.txt",
            "/sub%2f..%2f..%2fsecret.txt",
            "/sub%2findex.html",
            "/%2fetc%2fpasswd",
            "//etc/passwd",
            "///etc/passwd",
            "/%2f/etc/passwd",
            "/..\\secret.txt",
            "/..%5csecret.txt",
            "/sub\\..\\..\\secret.txt",
            "/sub/..%5c..%5csecret.txt",
            "/%252e%252e/secret.txt",
            "/%252e%252e%252fsecret.txt",
            "/%c0%ae%c0%ae/secret.txt",
            "/..%c0%afsecret.txt",
            "/%uff0e%uff0e/secret.txt",
            "/..;/secret.txt",
            "/../root-beside/secret.txt",
            "/./index.html",
            "/.",
            "/%2e/",
            "/sub//index.html",
            "/sub/./index.html",
            "//",
            "//index.html",
            "/index.html/",
            "/index.html/.",
            "/index.html/x",
            "/.git/config",
            "/%2egit/config",
            "/.git/",
            "/.git",
            "/.env",
            "/.well-known/../.env",
            "/.well-known-not/x",
            "/sub/empty/",
            "/.well-known/",
            "/missing",
            "/missing/",
        ] {
            for site in [&scratch.site(), &PAGES, &Site::None] {
                let answer = get(site, target);
                let malformed = target.starts_with("/%u");
                assert_eq!(answer.status, if malformed { 400 } else { 404 }, "{target}");
                assert_eq!(answer.header("Location"), None, "{target}");
                assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{target}");
            }
        }
    }

    #[test]
    fn malformed_escapes_and_nul_are_bad_requests() {
        let scratch = Scratch::new();
        for target in [
            "/%",
            "/%4",
            "/%zz",
            "/a%",
            "/%%41",
            "/%4/1",
            "/%+1",
            "/%00",
            "/a%00.txt",
            "/index.html%00",
            "/%00/",
            "/sub/%0g/",
        ] {
            assert_eq!(get(&scratch.site(), target).status, 400, "{target}");
            assert_eq!(get(&PAGES, target).status, 400, "{target}");
        }
        assert_eq!(get(&PAGES, "/%0d%0aSet-Cookie:%20a").status, 404);
    }

    #[test]
    fn a_directory_without_its_slash_redirects_on_this_host() {
        let scratch = Scratch::new();
        for name in ["\\evil.example", "evil.example", "a?b#c\r\nX: y", "%2e"] {
            fs::create_dir_all(scratch.path(name)).unwrap();
        }
        for (target, location) in [
            ("/sub", "/sub/"),
            ("/sub?", "/sub/"),
            ("/sub?q=%0d&r=//x", "/sub/?q=%0d&r=//x"),
            ("/sub/empty", "/sub/empty/"),
            ("/%73ub", "/sub/"),
            ("/\\evil.example", "/%5Cevil.example/"),
            ("/%5cevil.example", "/%5Cevil.example/"),
            ("/a%3fb%23c%0d%0aX:%20y", "/a%3Fb%23c%0D%0AX%3A%20y/"),
            ("/%252e", "/%252e/"),
            ("http://a/sub", "/sub/"),
        ] {
            let answer = get(&scratch.site(), target);
            assert_eq!((answer.status, answer.header("Location")), (301, Some(location)));
            assert_eq!(answer.header("Cache-Control"), Some("no-cache"));
        }
        for target in ["//evil.example", "/%2fevil.example", "http://a//evil.example", "//sub"] {
            let answer = get(&scratch.site(), target);
            assert_eq!((answer.status, answer.header("Location")), (404, None), "{target}");
        }
        assert_eq!(get(&PAGES, "/demo?a").header("Location"), Some("/demo/?a"));
        assert_eq!(get(&PAGES, "/dem").status, 404);
    }

    #[test]
    fn a_folder_whose_index_is_a_folder_has_none() {
        let scratch = Scratch::new();
        let site = scratch.site();
        fs::create_dir_all(scratch.path("odd/index.html")).unwrap();
        fs::write(scratch.path("odd/index.html/page"), "inner").unwrap();
        for target in ["/odd/", "/odd/index.html/", "/%6fdd/"] {
            let answer = get(&site, target);
            assert_eq!((answer.status, answer.header("Location")), (404, None), "{target}");
        }
        let answer = get(&site, "/odd/index.html");
        assert_eq!((answer.status, &*header(&answer, "Location")), (301, "/odd/index.html/"));
        assert_eq!(get(&site, "/odd/index.html/page").text(), "inner");
    }

    #[test]
    fn links_may_point_within_the_folder_only() {
        let scratch = Scratch::new();
        for (target, link) in [
            ("sub/index.html", "in.html"),
            ("sub", "subway"),
            ("../secret.txt", "out.txt"),
            ("/etc", "etc"),
            ("..", "up"),
            ("../root-beside", "beside"),
            ("/dev/null", "null"),
            ("loop", "loop"),
            ("gone", "dangling"),
            (".git", "shown"),
            (".git/config", "config"),
            (".well-known", "known"),
        ] {
            symlink(target, scratch.path(link)).unwrap();
        }
        let site = scratch.site();
        assert_eq!(get(&site, "/in.html").text(), "sub");
        assert_eq!(get(&site, "/subway/").text(), "sub");
        assert_eq!(get(&site, "/subway").header("Location"), Some("/subway/"));
        assert_eq!(get(&site, "/known").status, 301);
        for target in [
            "/out.txt",
            "/etc",
            "/etc/",
            "/etc/passwd",
            "/up",
            "/up/secret.txt",
            "/up/root/index.html/",
            "/beside/secret.txt",
            "/null",
            "/loop",
            "/loop/",
            "/dangling",
            // What is hidden is so by any name.
            "/shown",
            "/shown/config",
            "/config",
        ] {
            assert_eq!(get(&site, target).status, 404, "{target}");
        }
    }

    #[test]
    fn the_folder_itself_may_be_a_link_or_hidden() {
        let scratch = Scratch::new();
        symlink("root", scratch.0.join("link")).unwrap();
        let linked = Site::folder(&scratch.0.join("link")).unwrap();
        assert_eq!(get(&linked, "/").text(), "home");
        let hidden = Site::folder(&scratch.path(".git")).unwrap();
        assert_eq!(get(&hidden, "/config").text(), "secret");
    }

    #[test]
    fn a_wrong_folder_is_named() {
        let scratch = Scratch::new();
        for (name, kind) in
            [("missing", io::ErrorKind::NotFound), ("index.html", io::ErrorKind::NotADirectory)]
        {
            let error = Site::folder(&scratch.path(name)).unwrap_err();
            assert_eq!(error.kind(), kind);
            let path = scratch.path(name).display().to_string();
            assert!(error.to_string().starts_with(&format!("{path}: ")), "{error}");
        }
    }

    #[test]
    fn only_regular_files_are_served_and_nothing_blocks() {
        let scratch = Scratch::new();
        let _listener = UnixListener::bind(scratch.path("socket")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(scratch.path("fifo")).status();
        assert!(made.unwrap().success());
        for target in ["/socket", "/fifo", "/fifo/", "/sub/empty/"] {
            assert_eq!(get(&scratch.site(), target).status, 404, "{target}");
        }
        assert!(!open(Path::new("/dev/null")).unwrap().metadata().unwrap().is_file());
    }

    #[test]
    fn errors_of_the_file_system_have_their_statuses() {
        let status = |errno: Errno| refusal(&errno.into()).status;
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP, Errno::NXIO] {
            assert_eq!(status(errno), 404, "{errno:?}");
        }
        assert_eq!((status(Errno::ACCESS), status(Errno::PERM)), (403, 403));
        assert_eq!((status(Errno::IO), status(Errno::MFILE)), (500, 503));
        let other = refusal(&io::Error::other("it is broken"));
        assert_eq!((other.status, other.trouble.as_deref()), (500, Some("it is broken")));
    }

    #[test]
    fn unreadable_files_are_forbidden_and_long_names_missing() {
        let scratch = Scratch::new();
        let closed = fs::Permissions::from_mode(0o000);
        fs::set_permissions(scratch.path("digits.txt"), closed).unwrap();
        let for_root = if rustix::process::geteuid().is_root() { 200 } else { 403 };
        assert_eq!(get(&scratch.site(), "/digits.txt").status, for_root);
        assert_eq!(get(&scratch.site(), &format!("/{}", "a".repeat(300))).status, 404);
        assert_eq!(get(&scratch.site(), &"/a".repeat(5000)).status, 404);
    }

    #[test]
    fn a_file_replaced_by_a_link_is_not_followed() {
        let scratch = Scratch::new();
        symlink("digits.txt", scratch.path("late")).unwrap();
        let error = open(&scratch.path("late")).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::LOOP));
    }

    #[test]
    fn other_methods_are_not_allowed() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "X"] {
            for site in [&PAGES, &Site::None] {
                let answer = ask(site, method, "/", "");
                assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")));
            }
        }
        assert_eq!(ask(&PAGES, "OPTIONS", "*", "").status, 405);
    }

    #[test]
    fn head_says_what_get_would_and_has_no_ranges() {
        let scratch = Scratch::new();
        for (site, target) in [(scratch.site(), "/digits.txt"), (PAGES, "/echo.html")] {
            let (get, head) = (get(&site, target), ask(&site, "HEAD", target, ""));
            for name in ["Content-Type", "Content-Length", "ETag", "Last-Modified"] {
                assert_eq!(get.header(name), head.header(name));
            }
            let ranged = ask(&site, "HEAD", target, "Range: bytes=1-2\r\n");
            assert_eq!((ranged.status, ranged.header("Content-Length")), (200, Some("10")));
            let tag = header(&get, "ETag");
            let fresh = ask(&site, "HEAD", target, &format!("If-None-Match: {tag}\r\n"));
            assert_eq!(fresh.status, 304);
        }
        assert_eq!(ask(&scratch.site(), "HEAD", "/sub", "").status, 301);
    }

    #[test]
    fn ranges() {
        let scratch = Scratch::new();
        for (range, status, content_range, content) in [
            ("bytes=0-0", 206, "bytes 0-0/10", "0"),
            ("bytes=2-4", 206, "bytes 2-4/10", "234"),
            ("BYTES=2-4", 206, "bytes 2-4/10", "234"),
            ("bytes=0-9", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=7-", 206, "bytes 7-9/10", "789"),
            ("bytes=9-99", 206, "bytes 9-9/10", "9"),
            ("bytes=0-18446744073709551615", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=8-99999999999999999999999", 206, "bytes 8-9/10", "89"),
            ("bytes=-3", 206, "bytes 7-9/10", "789"),
            ("bytes=-10", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=-18446744073709551616", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=10-11", 416, "bytes */10", ""),
            ("bytes=-0", 416, "bytes */10", ""),
            ("bytes=18446744073709551615-", 416, "bytes */10", ""),
            ("bytes=18446744073709551616-18446744073709551617", 416, "bytes */10", ""),
            ("bytes=4-2", 200, "", "0123456789"),
            ("bytes=0-1,3-4", 200, "", "0123456789"),
            ("bytes=0-1,", 200, "", "0123456789"),
            ("bytes=-", 200, "", "0123456789"),
            ("bytes=", 200, "", "0123456789"),
            ("bytes", 200, "", "0123456789"),
            ("", 200, "", "0123456789"),
            ("bytes=1", 200, "", "0123456789"),
            ("bytes=a-b", 200, "", "0123456789"),
            ("bytes=+1-2", 200, "", "0123456789"),
            ("bytes=--1", 200, "", "0123456789"),
            ("bytes=1-2-3", 200, "", "0123456789"),
            ("bytes=0x1-2", 200, "", "0123456789"),
            ("bytes= 1-2", 200, "", "0123456789"),
            ("lines=1-2", 200, "", "0123456789"),
        ] {
            for (site, target) in [(scratch.site(), "/digits.txt"), (PAGES, "/echo.html")] {
                let answer = ask(&site, "GET", target, &format!("Range: {range}\r\n"));
                assert_eq!(answer.status, status, "{range}");
                assert_eq!(answer.header("Content-Range").unwrap_or(""), content_range, "{range}");
                if status != 416 {
                    assert_eq!(answer.text(), content, "{range}");
                    assert!(answer.header("ETag").is_some(), "{range}");
                }
            }
        }
    }

    #[test]
    fn nothing_has_few_ranges() {
        let scratch = Scratch::new();
        for (range, status) in [("0-", 416), ("0-0", 416), ("-0", 416), ("-1", 200)] {
            let fields = format!("Range: bytes={range}\r\n");
            let answer = ask(&scratch.site(), "GET", "/nothing", &fields);
            assert_eq!(answer.status, status, "{range}");
        }
    }

    #[test]
    fn the_largest_file_has_ranges_too() {
        let part = |range| select(range, u64::MAX);
        assert_eq!(part("bytes=5-"), Selection::Part(5..u64::MAX));
        assert_eq!(part("bytes=5-18446744073709551615"), Selection::Part(5..u64::MAX));
        assert_eq!(part("bytes=18446744073709551615-"), Selection::Nothing);
        assert_eq!(part("bytes=-99999999999999999999"), Selection::Part(0..u64::MAX));
    }

    /// 1 April 2020, 12:00:00.5 GMT.
    fn set_time(path: &Path) {
        set_time_to(path, UNIX_EPOCH + Duration::from_millis(1_585_742_400_500));
    }

    fn set_time_to(path: &Path, time: SystemTime) {
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    const EARLIER: &str = "Wed, 01 Apr 2020 11:59:59 GMT";
    const SAME: &str = "Wed, 01 Apr 2020 12:00:00 GMT";
    const LATER: &str = "Wed, 01 Apr 2020 12:00:01 GMT";

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let scratch = Scratch::new();
        let site = scratch.site();
        set_time(&scratch.path("digits.txt"));
        let first = get(&site, "/digits.txt");
        assert_eq!(first.header("Last-Modified"), Some(SAME));
        let weak = header(&first, "ETag");
        let opaque = weak.trim_start_matches("W/");
        for (fields, status) in [
            (format!("If-None-Match: {weak}\r\n"), 304),
            (format!("If-None-Match: {opaque}\r\n"), 304),
            (format!("If-None-Match: \"x,y\" ,{weak}\r\n"), 304),
            (format!("If-None-Match: \"x\"\r\nIf-None-Match: {weak}\r\n"), 304),
            ("If-None-Match: *\r\n".to_string(), 304),
            ("If-None-Match: \"x\"\r\n".to_string(), 200),
            ("If-None-Match: \r\n".to_string(), 200),
            (format!("If-None-Match: {}\r\n", opaque.trim_matches('"')), 200),
            (format!("If-Modified-Since: {EARLIER}\r\n"), 200),
            (format!("If-Modified-Since: {SAME}\r\n"), 304),
            (format!("If-Modified-Since: {LATER}\r\n"), 304),
            ("If-Modified-Since: Wednesday, 01-Apr-20 12:00:00 GMT\r\n".to_string(), 304),
            ("If-Modified-Since: yesterday\r\n".to_string(), 200),
            (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {LATER}\r\n"), 200),
            (format!("If-None-Match: {weak}\r\nRange: bytes=0-1\r\n"), 304),
            // A weak tag matches nothing strongly, not even itself.
            (format!("If-Match: {weak}\r\n"), 412),
            (format!("If-Match: {opaque}\r\n"), 412),
            ("If-Match: *\r\n".to_string(), 200),
            (format!("If-Match: *\r\nIf-Unmodified-Since: {EARLIER}\r\n"), 200),
            (format!("If-Unmodified-Since: {EARLIER}\r\n"), 412),
            (format!("If-Unmodified-Since: {SAME}\r\n"), 200),
            ("If-Unmodified-Since: never\r\n".to_string(), 200),
            (format!("If-Unmodified-Since: {EARLIER}\r\nIf-None-Match: *\r\n"), 412),
        ] {
            let answer = ask(&site, "GET", "/digits.txt", &fields);
            assert_eq!(answer.status, status, "{fields}");
            assert_eq!(answer.header("ETag"), Some(&*weak), "{fields}");
            assert_eq!(answer.body.is_empty(), status != 200, "{fields}");
            assert_eq!(answer.header("Cache-Control"), Some("no-cache"), "{fields}");
        }
    }

    #[test]
    fn embedded_pages_go_by_their_content() {
        let first = get(&PAGES, "/echo.html");
        assert_eq!((first.header("Last-Modified"), first.text()), (None, "0123456789"));
        let tag = header(&first, "ETag");
        assert!(tag.starts_with('"') && tag != header(&get(&PAGES, "/"), "ETag"));
        for (fields, status) in [
            (format!("If-None-Match: {tag}\r\n"), 304),
            (format!("If-None-Match: W/{tag}\r\n"), 304),
            (format!("If-Match: {tag}\r\n"), 200),
            (format!("If-Match: \"x\", {tag}\r\n"), 200),
            (format!("If-Match: W/{tag}\r\n"), 412),
            (format!("If-Modified-Since: {LATER}\r\n"), 200),
            (format!("If-Unmodified-Since: {EARLIER}\r\n"), 200),
            (format!("Range: bytes=1-1\r\nIf-Range: {tag}\r\n"), 206),
            (format!("Range: bytes=1-1\r\nIf-Range: W/{tag}\r\n"), 200),
            (format!("Range: bytes=1-1\r\nIf-Range: {SAME}\r\n"), 200),
        ] {
            assert_eq!(ask(&PAGES, "GET", "/echo.html", &fields).status, status, "{fields}");
        }
    }

    #[test]
    fn if_range_needs_the_very_date_or_a_strong_tag() {
        let scratch = Scratch::new();
        set_time(&scratch.path("digits.txt"));
        let weak = header(&get(&scratch.site(), "/digits.txt"), "ETag");
        let opaque = weak.trim_start_matches("W/");
        for (validator, status) in [
            (SAME, 206),
            (EARLIER, 200),
            (LATER, 200),
            (&*weak, 200),
            (opaque, 200),
            ("*", 200),
            ("", 200),
        ] {
            let fields = format!("Range: bytes=1-2\r\nIf-Range: {validator}\r\n");
            let answer = ask(&scratch.site(), "GET", "/digits.txt", &fields);
            assert_eq!(answer.status, status, "{validator}");
            // A range that If-Range turns off cannot be a bad one.
            let fields = format!("Range: bytes=99-\r\nIf-Range: {validator}\r\n");
            let answer = ask(&scratch.site(), "GET", "/digits.txt", &fields);
            assert_eq!(answer.status, if status == 206 { 416 } else { 200 }, "{validator}");
        }
    }

    #[test]
    fn dates_that_cannot_be_sent_are_not() {
        let scratch = Scratch::new();
        let path = scratch.path("digits.txt");
        let day = Duration::from_secs(86400);
        let mut tags = Vec::new();
        for time in [UNIX_EPOCH - day, SystemTime::now() + day, SystemTime::now() + day * 1_000] {
            set_time_to(&path, time);
            let fields = format!("If-Modified-Since: {SAME}\r\nIf-Unmodified-Since: {SAME}\r\n");
            let answer = ask(&scratch.site(), "GET", "/digits.txt", &fields);
            assert_eq!((answer.status, answer.header("Last-Modified")), (200, None));
            tags.push(header(&answer, "ETag"));
        }
        tags.dedup();
        assert_eq!(tags.len(), 3);
    }

    #[test]
    fn a_tag_sees_what_the_modification_time_does_not() {
        let scratch = Scratch::new();
        let path = scratch.path("digits.txt");
        set_time(&path);
        let before = header(&get(&scratch.site(), "/digits.txt"), "ETag");
        // Longer than a tick of the clock behind the change time.
        std::thread::sleep(Duration::from_millis(30));
        fs::write(&path, "9876543210").unwrap();
        set_time(&path);
        assert_ne!(header(&get(&scratch.site(), "/digits.txt"), "ETag"), before);
    }

    #[test]
    fn nothing_is_read_before_it_is_sent() {
        let scratch = Scratch::new();
        File::create(scratch.path("huge.bin")).unwrap().set_len(1 << 40).unwrap();
        let mut slots = [httparse::EMPTY_HEADER; 2];
        let head = b"GET /huge.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=5-\r\n\r\n";
        let request = parse(head, &mut slots).unwrap();
        let response = scratch.site().respond(&request);
        assert!(matches!(response.body, Body::File { offset: 5, len, .. } if len == (1 << 40) - 5));
    }
}
