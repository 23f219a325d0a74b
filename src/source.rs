//! What is no client: streams that a handler opens, or that came by a feed.

use std::ffi::OsString;
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
    /// It need not take what it is told.
    pub(crate) never_stalls: bool,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Device(PathBuf),
    Program(Launch),
}

/// How a program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    command: String,
    /// What it finds in its environment beside what every program finds there.
    pub(crate) environment: Vec<(String, OsString)>,
    /// Its soft limit of open files; `None` for ours.
    open_files: Option<u64>,
}

impl Launch {
    /// What the shell is to run.
    pub(crate) fn script(&self) -> String {
        match self.open_files {
            Some(limit) => format!("ulimit -S -n {limit}; {}", self.command),
            None => self.command.clone(),
        }
    }
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
    fn to(target: Target, cut: Cut) -> Source {
        Source { target, cut, never_stalls: false }
    }

    /// Who listens at this address of TCP; its bytes are taken as they come.
    pub fn tcp(addr: SocketAddr) -> Source {
        Source::to(Target::Tcp(addr), Cut::Bytes)
    }

    /// Who listens on the Unix socket of this path; its bytes are taken as they come.
    pub fn unix(path: impl Into<PathBuf>) -> Source {
        Source::to(Target::Unix(path.into()), Cut::Bytes)
    }

    /// A device, such as a serial port; its bytes are lines of text. It is opened to be read and
    /// written, and nothing about it is set: give it its speed, and `raw -echo`, by `stty` before.
    pub fn device(path: impl Into<PathBuf>) -> Source {
        Source::to(Target::Device(path.into()), Cut::Lines)
    }

    /// A program: what it is told goes to its standard input, and lines of text come from its standard
    /// output. Its standard error is ours.
    ///
    /// The command is for `/bin/sh -c`. It is started in the next turn, and at most eight programs are in
    /// one turn. It leads a process group, and finds in its environment `PATH`, `HOME`, `LANG` and `TZ` as
    /// they are here, `PYTHONUNBUFFERED=1`, since Python would keep back what it prints, and what is
    /// [added](Source::env). Other languages do the same: of many programs `stdbuf -oL` makes each line
    /// come at once.
    ///
    /// It ends when it exits, whoever else may still hold its output. One that ends its output and runs on
    /// is told no more, as by [`Context::end_source`](crate::Context::end_source). When it is closed its
    /// input ends; if it runs on for [`Config::program_grace`](crate::Config::program_grace) its group is
    /// sent SIGTERM, and after as long again SIGKILL. Who is left in the group of a program that has exited
    /// is sent the same two. Until then it counts as a connection, and a server that stops waits for it.
    pub fn program(command: impl Into<String>) -> Source {
        let launch = Launch { command: command.into(), environment: Vec::new(), open_files: None };
        Source::to(Target::Program(launch), Cut::Lines)
    }

    /// Adds a variable to the environment of a program. Elsewhere it has no effect.
    #[must_use]
    pub fn env(self, name: impl Into<String>, value: impl Into<OsString>) -> Source {
        self.envs([(name.into(), value.into())])
    }

    /// Adds several variables.
    #[must_use]
    pub fn envs(mut self, variables: impl IntoIterator<Item = (String, OsString)>) -> Source {
        if let Target::Program(launch) = &mut self.target {
            launch.environment.extend(variables);
        }
        self
    }

    /// How many files a program may have open, as its soft limit: a server may have raised its own, and
    /// some programs are slow, or fail, with a high one. Without this the program inherits ours.
    #[must_use]
    pub fn open_files(mut self, limit: u64) -> Source {
        if let Target::Program(launch) = &mut self.target {
            launch.open_files = Some(limit);
        }
        self
    }

    /// It need not take what it is told: it does not end as [`SourceEnd::Stalled`], however long something
    /// waits for it. Once its backlog is full, what it is told is dropped.
    #[must_use]
    pub fn never_stalls(self) -> Source {
        Source { never_stalls: true, ..self }
    }

    /// Whether it is a program.
    pub fn is_program(&self) -> bool {
        matches!(self.target, Target::Program(_))
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

/// `exec:COMMAND`, `tcp:HOST:PORT`, `unix:/PATH` or `dev:/PATH`, and before it `lines:` or `bytes:`; without
/// that programs and devices have lines, and the others bytes.
///
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
        Some(("exec", command)) if !command.trim().is_empty() => Ok(Source::program(command)),
        Some(("unix", path)) if path.starts_with('/') => Ok(Source::unix(path)),
        Some(("dev", path)) if path.starts_with('/') => Ok(Source::device(path)),
        _ => Err(wrong(format!(
            "'{word}' is none of exec:COMMAND, tcp:HOST:PORT, unix:/PATH, dev:/PATH"
        ))),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Tcp(addr) => write!(f, "tcp:{addr}"),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Device(path) => write!(f, "dev:{}", path.display()),
            Target::Program(launch) => write!(f, "exec:{}", launch.command),
        }
    }
}

/// Why a source has ended, for [`Handler::on_source_end`](crate::Handler::on_source_end). As text it
/// is a sentence without its stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEnd<'a> {
    /// Its stream has ended, a program has exited with 0, or it was
    /// [closed](crate::Context::close_source).
    Ended,
    /// It could not be reached, for this reason: nobody listens there, a program cannot be started, or
    /// nobody answered within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    Unreachable(&'a str),
    /// The connection broke, for this reason.
    Failed(&'a str),
    /// A program has exited with this code, which is not 0. The shell says 127 of a command that it does
    /// not find.
    Exited(i32),
    /// A program was ended by this signal.
    Killed(i32),
    /// It took nothing of what it was told, for as long as a client may.
    Stalled,
    /// The server stops, or was dropped.
    Stopped,
}

impl fmt::Display for SourceEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceEnd::Ended => f.write_str("it has ended"),
            SourceEnd::Unreachable(why) => write!(f, "it cannot be reached: {why}"),
            SourceEnd::Failed(why) => write!(f, "it failed: {why}"),
            SourceEnd::Exited(code) => write!(f, "it has ended with exit code {code}"),
            SourceEnd::Killed(signal) => write!(f, "it was ended by signal {signal}"),
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
        assert_eq!(read("lines:tcp:127.0.0.1:5900").unwrap(), vnc.clone().lines());
        let six = Source::tcp(([0, 0, 0, 0, 0, 0, 0, 1], 1).into());
        assert_eq!(read("tcp:[::1]:1").unwrap(), six);
        assert_eq!(read("lines:unix:/a:b=c").unwrap(), Source::unix("/a:b=c").lines());
        assert_eq!(read("dev:/dev/ttyS0").unwrap(), Source::device("/dev/ttyS0"));
        let program = Source::program("cat; exit 3");
        assert_eq!(read("exec:cat; exit 3").unwrap(), program);
        assert!(program.is_program() && program.is_lines() && !vnc.is_program());
        assert_eq!(program.to_string(), "exec:cat; exit 3");
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
            "exec:",
            "exec: ",
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
            (SourceEnd::Exited(3), "it has ended with exit code 3"),
            (SourceEnd::Killed(15), "it was ended by signal 15"),
            (SourceEnd::Stalled, "it takes nothing"),
            (SourceEnd::Stopped, "the server stops"),
        ] {
            assert_eq!(end.to_string(), words);
        }
    }
}
