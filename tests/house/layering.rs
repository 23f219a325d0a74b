//! The shape of the source: which room may use which, who may know the poll, the sockets and the
//! clock, and what no file may hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The rooms of the library, from the ground floor up: each may use those before it. A folder is one
/// room, and so is each file that lies in `src/` itself.
const ROOMS: [&str; 14] = [
    "source", "http", "net", "proto", "ids", "stats", "config", "peers", "context", "handler",
    "handlers", "dispatch", "server", "capi",
];

/// What a program sees lies in `src/` itself, and nothing else.
const MOST_FILES_IN_SRC: usize = 12;

/// A guard against files that hold more than one idea.
const MOST_LINES: usize = 500;

struct Source {
    /// Below `src/`, without `.rs`: `proto/hybi`.
    name: String,
    text: String,
}

impl Source {
    fn new(name: &str, text: &str) -> Source {
        Source { name: name.to_string(), text: text.to_string() }
    }

    /// The folder below `src/`, or the file's own name if it is in none.
    fn room(&self) -> &str {
        self.name.split_once('/').map_or(&self.name, |(folder, _)| folder)
    }

    /// The lines up to the unit tests.
    fn program(&self) -> Vec<&str> {
        self.text.lines().take_while(|line| *line != "#[cfg(test)]").collect()
    }

    /// What is compiled of them: no comments.
    fn code(&self) -> Vec<&str> {
        let code = |line: &&str| !line.trim_start().starts_with("//");
        self.program().into_iter().filter(code).collect()
    }

    /// Whether the code holds this path or word.
    fn names(&self, name: &str) -> bool {
        self.code().iter().any(|line| holds(line, name))
    }

    /// What stands behind `crate::`, of groups each item.
    fn imports(&self) -> Vec<String> {
        let code = self.code().join("\n");
        let mut found = Vec::new();
        for (place, _) in code.match_indices("crate::") {
            let behind = &code[place + "crate::".len()..];
            match behind.strip_prefix('{') {
                Some(group) => {
                    let group = group.split(';').next().unwrap_or_default();
                    found.extend(group.split(',').map(|item| first_word(item.trim())));
                }
                None => found.push(first_word(behind)),
            }
        }
        found.retain(|word| !word.is_empty());
        found
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| is_of_a_name(*c)).collect()
}

/// Whether a line holds a path or a word as a whole, and not as a part of a longer one.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(place, _)| {
        !line[..place].ends_with(is_of_a_name)
            && !line[place + word.len()..].starts_with(is_of_a_name)
    })
}

/// All files of the library and the command, but those that only hold tests.
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

/// The library's sources: the command is a program of its own, and `lib.rs` only names what there is.
fn library() -> Vec<Source> {
    let outside = |source: &Source| source.room() == "command" || source.name == "lib";
    sources().into_iter().filter(|source| !outside(source)).collect()
}

/// Which room the names come from that `lib.rs` makes public.
fn homes() -> BTreeMap<String, String> {
    let lib = sources().into_iter().find(|source| source.name == "lib").unwrap();
    let code = lib.code().join("\n");
    let mut homes = BTreeMap::new();
    for item in code.split("pub use ").skip(1) {
        let path = item.split(';').next().unwrap();
        let (home, _) = path.split_once("::").unwrap();
        let names = path.rsplit("::").next().unwrap().trim_matches(['{', '}']);
        for name in names.split(',') {
            homes.insert(name.trim().to_string(), home.to_string());
        }
    }
    homes
}

/// What a source uses that is not below its own room.
fn arrows_up(source: &Source, homes: &BTreeMap<String, String>) -> Vec<String> {
    let place = |room: &str| ROOMS.iter().position(|known| *known == room);
    let own = source.room();
    let floor = place(own).unwrap_or_else(|| panic!("{own} is no room: see ROOMS"));
    let mut up = Vec::new();
    for word in source.imports() {
        let room = homes.get(&word).unwrap_or(&word);
        if room != own && place(room).is_none_or(|other| other > floor) {
            up.push(format!("{} uses {word}, of {room}", source.name));
        }
    }
    up
}

/// The rooms whose files name any of these.
fn rooms_that_name(words: &[&str]) -> Vec<String> {
    let mut rooms: Vec<String> = sources()
        .into_iter()
        .filter(|source| words.iter().any(|word| source.names(word)))
        .map(|source| source.room().to_string())
        .collect();
    rooms.sort();
    rooms.dedup();
    rooms
}

#[test]
fn each_room_uses_only_those_below_it() {
    let homes = homes();
    for source in library() {
        assert_eq!(arrows_up(&source, &homes), Vec::<String>::new());
    }
}

#[test]
fn an_arrow_up_is_found_however_it_is_written() {
    let homes = homes();
    for planted in [
        "use crate::handler::Handler;",
        "use crate::{config::Config, handler::Handler};",
        "use crate::{Config, Handler};",
        "fn call(it: &mut dyn crate::Handler) {}",
        "use crate::{\n    Config,\n    Handler,\n};",
    ] {
        let source = Source::new("peers/planted", planted);
        assert_eq!(arrows_up(&source, &homes).len(), 1, "{planted}");
    }
    for fine in ["use crate::config::Config;", "use crate::{Config, Version};", "// crate::Handler"]
    {
        assert!(arrows_up(&Source::new("peers/planted", fine), &homes).is_empty(), "{fine}");
    }
}

/// `peers` names no handler, `dispatch` no poll, `server` no frame.
#[test]
fn three_storeys_each_without_what_the_others_are_for() {
    for (room, words) in [
        ("peers", &["mio", "Handler", "Context", "Routes"][..]),
        ("dispatch", &["mio", "Poll", "Registry", "Waker"]),
        ("server", &["proto", "Decoder", "Framing", "Inbox"]),
    ] {
        let files: Vec<Source> =
            sources().into_iter().filter(|source| source.room() == room).collect();
        assert!(!files.is_empty(), "{room}");
        for file in files {
            for word in words {
                assert!(!file.names(word), "{} names {word}", file.name);
            }
        }
    }
    assert_eq!(rooms_that_name(&["mio"]), ["net", "server"]);
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
    let who = rooms_that_name(&of_the_world);
    assert!(who.contains(&"server".to_string()), "the search finds what there is: {who:?}");
    assert!(!who.contains(&"proto".to_string()), "{who:?}");
}

/// Deadlines go by a clock that nobody sets; the clock of the day is for dates in HTTP.
#[test]
fn only_dates_go_by_the_clock_of_the_day() {
    assert_eq!(rooms_that_name(&["SystemTime"]), ["http"]);
}

#[test]
fn in_src_itself_lies_what_a_program_sees() {
    let names: Vec<String> =
        sources().into_iter().map(|s| s.name).filter(|name| !name.contains('/')).collect();
    assert!(names.len() <= MOST_FILES_IN_SRC, "{names:?}");
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
        assert!(lines <= MOST_LINES, "{}.rs has {lines} lines before its tests", source.name);
    }
}

#[test]
fn words_are_found_whole() {
    assert!(holds("use mio::Poll;", "mio") && holds("(mio)", "mio"));
    assert!(!holds("use mioes::Poll;", "mio") && !holds("let a_mio = 1;", "mio"));
}

#[test]
fn the_server_on_one_page_is_short_and_does_without_the_library() {
    let source = include_str!("../../demo/tiny.rs");
    let lines = source.lines().map(str::trim);
    let code: Vec<&str> =
        lines.filter(|line| !line.is_empty() && !line.starts_with("//")).collect();
    assert!(code.len() <= 300, "{} lines of code", code.len());
    for line in code {
        if let Some(path) = line.strip_prefix("use ") {
            let (name, _) = path.split_once("::").unwrap();
            let known = ["std", "mio", "slab", "sha1", "md5", "base64", "ReadyState", "Version"];
            assert!(known.contains(&name), "{line}");
        }
        for word in ["wsloop", "unsafe", ".unwrap()", ".expect(", "panic!"] {
            assert!(!line.contains(word), "{line}");
        }
    }
}

/// Files are named in comments and texts for those who read on; they must be there.
#[test]
fn every_source_file_that_is_named_exists() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for text in [include_str!("../../demo/tiny.rs"), include_str!("../../README.md")] {
        for (place, _) in text.match_indices("src/") {
            let of_a_path = |c: &char| is_of_a_name(*c) || "/.".contains(*c);
            let path: String = text[place..].chars().take_while(of_a_path).collect();
            if path.ends_with(".rs") {
                assert!(package.join(&path).is_file(), "{path} is named and does not exist");
                named += 1;
            }
        }
    }
    assert!(named > 10, "{named} files");
}
