//! What is said about other servers' advisories, and about limits: the tests it names must exist,
//! and nothing that is there may be said to be absent.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// The rows of the table.
fn rows() -> Vec<Vec<String>> {
    let table = read("tests/ADVISORIES.md");
    let rows =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| project"));
    let cells = |row: &str| -> Vec<String> {
        row.trim_end_matches(" |").split(" | ").map(str::to_string).collect()
    };
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    for row in &rows {
        assert_eq!(row.len(), 5, "{row:?}");
    }
    rows
}

/// The tests that a text names: `program::file::test`, or `src/some/file.rs::test`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').filter(|name| name.contains("::") && !name.contains(' '))
}

/// Panics unless there is such a test.
fn check_exists(name: &str) {
    let (place, test) = name.rsplit_once("::").unwrap();
    let path = match place.split_once("::") {
        None => place.to_string(),
        Some((program, file)) => {
            // The simulation is compiled with the unit tests.
            let root = if program == "simulation" { "mod.rs" } else { "main.rs" };
            let main = read(&format!("tests/{program}/{root}"));
            assert!(main.contains(&format!("\nmod {file};\n")), "{program} has no {file}: {name}");
            format!("tests/{program}/{file}.rs")
        }
    };
    let source = read(&path);
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let place = lines.iter().position(|line| *line == format!("fn {test}() {{"));
    let place = place.unwrap_or_else(|| panic!("{name} does not exist"));
    let mut attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
    assert!(attributes.any(|line| *line == "#[test]"), "{name} is no test");
}

#[test]
fn every_test_named_exists() {
    let mut count = 0;
    for row in rows() {
        let answer = row[4].as_str();
        named(answer).for_each(check_exists);
        let tests = named(answer).count();
        assert!(answer == "—" || tests > 0, "no test and no dash: {row:?}");
        count += tests;
    }
    assert!(count > 80, "{count} tests");
}

/// The sentences that README promises under "Security".
fn promises() -> Vec<String> {
    let readme = read("README.md");
    let (_, section) = readme.split_once("What is promised: ").unwrap();
    let (section, _) = section.split_once("What is not promised: ").unwrap();
    let (_, list) = section.split_once("\n\n- ").unwrap();
    let items =
        list.split("\n- ").map(|item| item.split_whitespace().collect::<Vec<_>>().join(" "));
    let sentences = items.flat_map(|item| {
        let sentences = item.split_inclusive(". ").map(|sentence| sentence.trim().to_string());
        sentences.collect::<Vec<_>>()
    });
    sentences.collect()
}

#[test]
fn every_promise_has_its_tests() {
    let table = read("tests/PROMISES.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows: Vec<(&str, &str)> = rows.filter_map(|row| row.split_once(" | ")).skip(1).collect();
    let promises = promises();
    assert!(promises.len() > 10, "{promises:?}");
    for promise in &promises {
        let row = rows.iter().find(|(promised, _)| promised == promise);
        let (_, tests) = row.unwrap_or_else(|| panic!("no test is named for: {promise}"));
        assert!(named(tests).count() > 0, "no test is named for: {promise}");
        named(tests).for_each(check_exists);
    }
    assert_eq!(rows.len(), promises.len(), "a promise that README does not make");
}

#[test]
fn every_test_named_for_a_limit_exists() {
    let source = read("tests/hostile/limits.rs");
    let rows: Vec<&str> = source.lines().filter(|line| line.starts_with("//! | ")).collect();
    assert!(rows.len() > 10, "{rows:?}");
    rows.into_iter().flat_map(named).for_each(check_exists);
}

/// Compression and TLS are there; and a row is written when there is something to answer with.
#[test]
fn nothing_that_is_there_is_said_to_be_absent() {
    for line in read("tests/ADVISORIES.md").to_lowercase().lines() {
        for words in
            ["not yet", "no compression", "no tls", "no extension", "nothing is decompressed"]
        {
            assert!(!line.contains(words), "{words}: {line}");
        }
    }
}
