//! The table of other servers' advisories names tests; they must exist.

use std::path::Path;

#[test]
fn every_test_named_exists() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(package.join("tests/ADVISORIES.md")).unwrap();
    let rows =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| project"));
    let mut named = 0;
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 5, "{row}");
        let answer = cells[4].trim_end_matches(" |");
        for name in answer.split('`').filter(|name| name.contains("::")) {
            let (file, test) = name.rsplit_once("::").unwrap();
            let path = match file.split_once("::") {
                None => package.join(file),
                Some((program, file)) => package.join(format!("tests/{program}/{file}.rs")),
            };
            let source = std::fs::read_to_string(&path);
            let source = source.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let attributed = source.contains(&format!("fn {test}()"));
            assert!(attributed, "{name} does not exist: {row}");
            named += 1;
        }
        assert!(answer == "—" || answer.contains("::"), "no test and no dash: {row}");
    }
    assert!(named > 80, "{named} tests");
}
