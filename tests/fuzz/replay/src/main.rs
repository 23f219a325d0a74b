//! Gives every seed and every regression to the property it is for; stable Rust, no libFuzzer.
//!
//! The seeds are made here, from `tests/vectors`. `replay` runs them, and the files in
//! `regressions/TARGET/`; `replay FILE…` runs only these, each for the target its folder is named
//! after; `replay --seeds FOLDER` writes the seeds to FOLDER/TARGET/, for cargo-fuzz to begin with.

#[cfg(not(fuzzing))]
compile_error!("needs RUSTFLAGS='--cfg fuzzing'; see replay.sh");

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

mod seeds;

type Property = fn(&[u8]);

const TARGETS: [(&str, Property); 8] = [
    ("head", wsloop::fuzzing::head),
    ("hybi", wsloop::fuzzing::hybi),
    ("hixie", wsloop::fuzzing::hixie),
    ("inflate", wsloop::fuzzing::inflate),
    ("connection", wsloop::fuzzing::connection),
    ("compressed", wsloop::fuzzing::compressed),
    ("tls", wsloop::fuzzing::tls),
    ("path", wsloop::fuzzing::path),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if let [option, folder] = &arguments[..]
        && option == "--seeds"
    {
        write_seeds(Path::new(folder));
        return ExitCode::SUCCESS;
    }
    let mut inputs = Vec::new();
    if arguments.is_empty() {
        for (target, bytes) in seeds::all() {
            inputs.push((target, format!("seed {}", bytes.escape_ascii()), bytes));
        }
        for (target, _) in TARGETS {
            let folder = home.join("regressions").join(target);
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.expect("a folder that can be read").path();
                inputs.push((target, path.display().to_string(), read(&path)));
            }
        }
    }
    for file in arguments {
        let path = PathBuf::from(&file);
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        let target = TARGETS.iter().map(|(name, _)| *name).find(|name| folder == *name);
        let target = target.unwrap_or_else(|| panic!("{file}: its folder names no target"));
        inputs.push((target, file, read(&path)));
    }
    replay(&inputs)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn replay(inputs: &[(&str, String, Vec<u8>)]) -> ExitCode {
    let mut failed = 0;
    for (target, property) in TARGETS {
        let start = Instant::now();
        let of_target = inputs.iter().filter(|(of, ..)| *of == target);
        let mut count = 0;
        for (_, name, bytes) in of_target {
            count += 1;
            if catch_unwind(AssertUnwindSafe(|| property(bytes))).is_err() {
                failed += 1;
                eprintln!("FAILED: {target}, {name}");
            }
        }
        println!("{target}: {count} inputs in {:.1} s", start.elapsed().as_secs_f64());
    }
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_seeds(folder: &Path) {
    let mut counts = BTreeMap::new();
    for (target, bytes) in seeds::all() {
        let count = counts.entry(target).or_insert(0);
        let folder = folder.join(target);
        fs::create_dir_all(&folder).expect("a folder that can be made");
        fs::write(folder.join(format!("seed-{count:04}")), bytes).expect("room on the disk");
        *count += 1;
    }
    println!("{counts:?}");
}
