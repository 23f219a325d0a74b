//! What is no client: streams that a handler opens, or that came by a feed.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// Something that a handler opens by [`Context::open`](crate::Context::open): what comes of it is
/// handed to the handler, and what it is told by [`Context::tell`](crate::Context::tell) goes to it.
///
/// ```
/// use wsloop::Source;
///
/// let printer = Source::tcp(([127, 0, 0, 1], 9100).into());
/// let player = Source::unix("/run/player.sock").lines();
/// assert_eq!(printer.to_string(), "tcp:127.0.0.1:9100");
/// assert_eq!(player.to_string(), "unix:/run/player.sock");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub(crate) target: Target,
    pub(crate) cut: Cut,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Device(PathBuf),
}

/// What the bytes of a source are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Text, in lines that end in LF or CR LF.
    Lines,
    /// Whatever they are, as they come.
    Bytes,
}

impl Source {
    /// Who listens at this address of TCP; its bytes are taken as they come.
    pub fn tcp(addr: SocketAddr) -> Source {
        Source { target: Target::Tcp(addr), cut: Cut::Bytes }
    }

    /// Who listens on the Unix socket of this path; its bytes are taken as they come.
    pub fn unix(path: impl Into<PathBuf>) -> Source {
        Source { target: Target::Unix(path.into()), cut: Cut::Bytes }
    }

    /// A device, such as a serial port; its bytes are lines of text. It is opened to be read and
    /// written, and nothing about it is set: give it its speed, and `raw -echo`, by `stty` before.
    pub fn device(path: impl Into<PathBuf>) -> Source {
        Source { target: Target::Device(path.into()), cut: Cut::Lines }
    }

    /// Its bytes are taken as they come, and handed to
    /// [`Handler::on_bytes`](crate::Handler::on_bytes).
    #[must_use]
    pub fn bytes(self) -> Source {
        Source { cut: Cut::Bytes, ..self }
    }

    /// Its bytes are lines of text, of at most 64 KiB each: they are handed to
    /// [`Handler::on_line`](crate::Handler::on_line), and what it is told gets a line end.
    #[must_use]
    pub fn lines(self) -> Source {
        Source { cut: Cut::Lines, ..self }
    }

    /// Whether its bytes are lines of text.
    pub fn is_lines(&self) -> bool {
        self.cut == Cut::Lines
    }
}

/// `tcp:HOST:PORT`, `unix:/PATH` or `dev:/PATH`, and before it `lines:` or `bytes:`; without that a device
/// has lines, and the others bytes.
/// A name of a host is looked up now, which may take a while, and its first IPv4 address is taken, or
/// else its first.
impl FromStr for Source {
    type Err = io::Error;

    fn from_str(word: &str) -> io::Result<Source> {
        if let Some(rest) = word.strip_prefix("lines:") {
            return target(rest).map(Source::lines);
        }
        match word.strip_prefix("bytes:") {
            Some(rest) => target(rest).map(Source::bytes),
            None => target(word),
        }
    }
}

fn target(word: &str) -> io::Result<Source> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    match word.split_once(':') {
        Some(("tcp", addr)) => {
            let addrs = addr.to_socket_addrs().map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => wrong(format!("'{addr}' is not HOST:PORT")),
                _ => error,
            })?;
            let addrs: Vec<SocketAddr> = addrs.collect();
            let first = addrs.iter().find(|addr| addr.is_ipv4()).or(addrs.first());
            let first = first.ok_or_else(|| wrong(format!("'{addr}' has no address")))?;
            Ok(Source::tcp(*first))
        }
        Some(("unix", path)) if path.starts_with('/') => Ok(Source::unix(path)),
        Some(("dev", path)) if path.starts_with('/') => Ok(Source::device(path)),
        _ => Err(wrong(format!("'{word}' is none of tcp:HOST:PORT, unix:/PATH and dev:/PATH"))),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Tcp(addr) => write!(f, "tcp:{addr}"),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Device(path) => write!(f, "dev:{}", path.display()),
        }
    }
}

/// Why a source has ended, for [`Handler::on_source_end`](crate::Handler::on_source_end). As text it
/// is a sentence without its stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEnd<'a> {
    /// Its stream has ended, or it was [closed](crate::Context::close_source).
    Ended,
    /// It could not be reached, for this reason: nobody listens there, or nobody answered within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    Unreachable(&'a str),
    /// The connection broke, for this reason.
    Failed(&'a str),
    /// It took nothing of what it was told, for as long as a client may.
    Stalled,
    /// The server stops.
    Stopped,
}

impl fmt::Display for SourceEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceEnd::Ended => f.write_str("it has ended"),
            SourceEnd::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            SourceEnd::Failed(why) => write!(f, "it failed: {why}"),
            SourceEnd::Stalled => f.write_str("it takes nothing"),
            SourceEnd::Stopped => f.write_str("the server stops"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_words() {
        let read = |word: &str| word.parse::<Source>();
        let vnc = Source::tcp(([127, 0, 0, 1], 5900).into());
        assert_eq!(read("tcp:127.0.0.1:5900").unwrap(), vnc);
        // The address of IPv4 is preferred, by which most programs listen.
        assert_eq!(read("bytes:tcp:localhost:5900").unwrap(), vnc);
        assert_eq!(read("lines:tcp:127.0.0.1:5900").unwrap(), vnc.lines());
        let six = Source::tcp(([0, 0, 0, 0, 0, 0, 0, 1], 1).into());
        assert_eq!(read("tcp:[::1]:1").unwrap(), six);
        assert_eq!(read("lines:unix:/a:b=c").unwrap(), Source::unix("/a:b=c").lines());
        assert_eq!(read("dev:/dev/ttyS0").unwrap(), Source::device("/dev/ttyS0"));
        let bytes = Source::device("/dev/ttyS0").bytes();
        assert_eq!(read("bytes:dev:/dev/ttyS0").unwrap(), bytes);
        assert_eq!(bytes.to_string(), "dev:/dev/ttyS0");
        for word in [
            "",
            "dev:ttyS0",
            "tcp",
            "tcp:",
            "tcp:5900",
            "tcp:a:port",
            "unix:a",
            "udp:1.2.3.4:5",
            "x:tcp:",
        ] {
            let error = read(word).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{word}");
            assert!(error.to_string().starts_with('\''), "{word}: {error}");
        }
    }

    #[test]
    fn sources_and_ends_are_told_in_words() {
        let unix = Source::unix("/run/a b").lines();
        assert_eq!((unix.to_string(), unix.cut), ("unix:/run/a b".to_string(), Cut::Lines));
        let tcp = Source::tcp(([0, 0, 0, 0, 0, 0, 0, 1], 5900).into());
        assert_eq!((tcp.to_string(), tcp.cut), ("tcp:[::1]:5900".to_string(), Cut::Bytes));
        for (end, words) in [
            (SourceEnd::Ended, "it has ended"),
            (SourceEnd::Unreachable("refused"), "it cannot be reached: refused"),
            (SourceEnd::Failed("reset"), "it failed: reset"),
            (SourceEnd::Stalled, "it takes nothing"),
            (SourceEnd::Stopped, "the server stops"),
        ] {
            assert_eq!(end.to_string(), words);
        }
    }
}
