//! The shape of the source: who may know the sockets, the clock and the loop (DESIGN.md section 1),
//! and what no file may hold.

use std::fs;
use std::path::Path;

struct Source {
    /// Below `src/`, without `.rs`: `proto/hybi`.
    name: String,
    text: String,
}

impl Source {
    /// The lines up to the unit tests.
    fn program(&self) -> Vec<&str> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
    }

    /// What is compiled of them: no comments.
    fn code(&self) -> Vec<&str> {
        let code = |line: &&str| !line.trim_start().starts_with("//");
        self.program().into_iter().filter(code).collect()
    }

    /// The words of the code that name something: `std::net` is one.
    fn names(&self, name: &str) -> bool {
        self.code().iter().any(|line| holds(line, name))
    }
}

/// Whether a line holds a path or a word as a whole, and not as a part of a longer one.
fn holds(line: &str, word: &str) -> bool {
    let of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(place, _)| {
        !line[..place].ends_with(of_a_name) && !line[place + word.len()..].starts_with(of_a_name)
    })
}

/// All files, but those that only hold tests.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    assert!(sources.len() > 20, "{} files", sources.len());
    sources
}

fn collect(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = format!("{prefix}{stem}");
        if stem == "tests" {
        } else if path.is_dir() {
            collect(&path, &format!("{name}/"), sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source { text: fs::read_to_string(&path).unwrap(), name });
        }
    }
}

/// The files that name any of these.
fn who_names(words: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = sources()
        .into_iter()
        .filter(|source| words.iter().any(|word| source.names(word)))
        .map(|source| source.name)
        .collect();
    names.sort();
    names
}

#[test]
fn few_know_the_poll() {
    assert_eq!(
        who_names(&["mio"]),
        [
            "ids",
            "net/listener",
            "net/stream",
            "peers/mod",
            "server/accept",
            "server/alarm",
            "server/mod",
            "server/remote",
            "server/signals",
            "server/turn",
        ]
    );
}

#[test]
fn the_protocols_know_no_socket_no_clock_and_no_log() {
    let of_the_world = [
        "mio",
        "log",
        "rustix",
        "std::net",
        "std::time",
        "std::io",
        "std::fs",
        "std::thread",
        "std::os",
        "net::",
        "Instant",
        "Read",
        "Write",
        "TcpStream",
    ];
    let who = who_names(&of_the_world);
    assert!(who.contains(&"server/mod".to_string()), "the search finds what there is: {who:?}");
    assert!(!who.iter().any(|name| name.starts_with("proto/")), "{who:?}");
}

#[test]
fn nobody_is_called_from_further_right() {
    for (left, right) in [
        // What is sans-I/O knows heads of requests, and nothing else of this crate.
        ("proto/", ["server", "peers", "context", "handler", "dispatch", "net"]),
        // No handler can be called while the connections are borrowed.
        ("peers/", ["server", "dispatch", "handler", "handlers", "context", "capi"]),
        // The built-in handlers could be anybody's: they have what the crate exports.
        ("handlers/", ["server", "peers", "net", "dispatch", "proto", "capi"]),
    ] {
        let of_left = |source: &Source| source.name.starts_with(left);
        let files: Vec<Source> = sources().into_iter().filter(of_left).collect();
        assert!(!files.is_empty(), "{left}");
        for file in files {
            for module in right {
                assert!(!file.names(&format!("crate::{module}")), "{} uses {module}", file.name);
            }
        }
    }
}

#[test]
fn nothing_is_unsafe_or_unfinished() {
    for source in sources() {
        // But in the C API, where each block says why it is safe.
        let may_be_unsafe = source.name.starts_with("capi/");
        for word in ["unsafe", "todo!", "unimplemented!", "dbg!", "println!", "eprintln!"] {
            let allowed = may_be_unsafe && word == "unsafe";
            assert!(allowed || !source.names(word), "{}: {word}", source.name);
        }
        if may_be_unsafe {
            continue;
        }
        // In the tests neither; there, of all places, it would go unseen.
        assert!(!source.text.lines().any(|line| holds(line, "unsafe {")), "{}", source.name);
    }
}

#[test]
fn files_are_short() {
    for source in sources() {
        let lines = source.program().len();
        assert!(lines <= 400, "{}.rs has {lines} lines before its tests", source.name);
    }
}

#[test]
fn words_are_found_whole() {
    assert!(holds("use mio::Poll;", "mio") && holds("(mio)", "mio"));
    assert!(!holds("use mioes::Poll;", "mio") && !holds("let a_mio = 1;", "mio"));
}
