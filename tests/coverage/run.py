#!/usr/bin/env python3
"""Which branches of the library no test takes: each must have its reason in uncovered.md.

Usage: run.py      (needs the nightly Rust of tests/nightly.sh, with llvm-tools)

Counted is the union: an outcome of a condition is covered if it occurs in any test program, in any
instance of its function. In src/proto/ the tests of the file itself and those in src/proto/tests must do
so alone. The C API and the command are left out, since C programs and shell scripts test them.
"""

import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = pathlib.Path(__file__).with_name("uncovered.md")
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "coverage"
PROFILES = TARGET / "profiles"
LEFT_OUT = ("src/capi/", "src/command/", "src/proto/tests", "src/net/played.rs")
# Of this package alone. With the last, counters lie in a file that is mapped into memory, so that a
# program that is killed has written them as well.
FLAGS = ["-Cinstrument-coverage", "-Zcoverage-options=branch", "-Cllvm-args=-runtime-counter-relocation"]
NIGHTLY = "+" + subprocess.check_output(
    ["bash", "-c", '. "$0"; echo "$nightly"', str(ROOT / "tests/nightly.sh")], text=True
).strip()
CARGO = ["cargo", NIGHTLY, "--config", "profile.dev.debug=false", "-Zprofile-rustflags"]
CARGO += ["--config", f"profile.dev.package.wsloop.rustflags={json.dumps(FLAGS)}"]


def run(*command, profiles="build", **options):
    """Runs a command whose counters go to a folder of this name."""
    profile = PROFILES / profiles / "%c%p-%m.profraw"
    env = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "LLVM_PROFILE_FILE": str(profile)}
    return subprocess.run(command, cwd=ROOT, env=env, check=True, text=True, **options)


def output(*command):
    return run(*command, stdout=subprocess.PIPE).stdout


def build():
    """Builds everything, and returns the library's tests, and all programs."""
    run(*CARGO, "build", "--all-features", "--examples")
    what = ["--all-features", "--no-run", "--message-format=json-render-diagnostics"]
    messages = map(json.loads, output(*CARGO, "test", *what).splitlines())
    built = [message for message in messages if message.get("executable")]
    (tests,) = (message["executable"] for message in built if message["target"]["kind"] == ["lib"])
    return tests, [message["executable"] for message in built]


class File:
    """A source file, and what of it was executed."""

    def __init__(self, name):
        self.text = (ROOT / name).read_text(encoding="utf-8").splitlines()
        # The unit tests are the end of a file, and are not counted.
        tests = (number for number, line in enumerate(self.text) if line in ("mod tests {", "mod tests;"))
        self.end = next(tests, len(self.text))
        # How often each line on which something begins was executed, and each condition was true and
        # false.
        self.lines = collections.Counter()
        self.branches = collections.defaultdict(lambda: (0, 0))

    def add(self, function):
        """What one instance of a function has executed."""
        for line, _, _, _, count, *_ in function["regions"]:
            if line <= self.end:
                self.lines[line] += count
        for *place, true, false, _, _, _ in function["branches"]:
            if place[0] <= self.end:
                before = self.branches[*place]
                self.branches[*place] = (before[0] + true, before[1] + false)

    def outcomes(self):
        """Each outcome of each condition: its line, how the list names it, and whether it occurred."""
        beginning = collections.Counter(first for first, *_ in self.branches)
        for (first, left, last, right), counts in sorted(self.branches.items()):
            line = self.text[first - 1].strip()
            if beginning[first] > 1:
                text = self.text[first - 1 : last]
                text[-1] = text[-1][: right - 1]
                text[0] = text[0][left - 1 :]
                line = f"{' '.join(part.strip() for part in text)}  in  {line}"
            for outcome, count in zip(("true", "false"), counts):
                yield first, f"{outcome}: {line}", count > 0


def measure(programs, *folders):
    """What the programs have executed whose counters are in these folders, by the name of the file."""
    (tools,) = pathlib.Path(output("rustc", NIGHTLY, "--print", "sysroot").strip()).glob("lib/rustlib/*/bin")
    merged = PROFILES / "merged.profdata"
    profiles = [path for folder in folders for path in (PROFILES / folder).glob("*.profraw")]
    run(tools / "llvm-profdata", "merge", "-o", merged, *profiles)
    objects = [argument for program in programs for argument in ("--object", program)]
    exported = json.loads(output(tools / "llvm-cov", "export", "--instr-profile", merged, *objects))
    files = {}
    for function in exported["data"][0]["functions"]:
        name = os.path.relpath(function["filenames"][0], ROOT)
        if name.startswith("src/") and not name.startswith(LEFT_OUT):
            if name not in files:
                files[name] = File(name)
            files[name].add(function)
    return files


def test():
    """Runs all tests, and returns what they have executed."""
    shutil.rmtree(PROFILES, ignore_errors=True)
    tests, programs = build()
    run(*CARGO, "test", "--quiet", "--all-features", "--lib", "--bins", "--tests", profiles="all")
    # What may run beside nothing else.
    run(tests, "--quiet", "--ignored", "net::program::", profiles="all")
    files = measure(programs, "all")
    run(tests, "--quiet", "proto::tests::", profiles="proto")
    for name in sorted(files):
        if match := re.fullmatch(r"src/proto/(\w+)\.rs", name):
            module = match[1]
            run(tests, "--quiet", f"proto::{module}::", profiles=module)
            files[name] = measure([tests], "proto", module)[name]
    return files


def listed():
    """What the list explains: how often each outcome is missing, and whether that varies."""
    entries = {}
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            match = re.fullmatch(r"    (src/\S+): (sometimes )?(?:(\d+) x )?((?:true|false): .+)", line)
            if not match or (match[1], match[4]) in entries:
                sys.exit(f"{LIST.name}: not understood, or twice: {line.strip()}")
            entries[match[1], match[4]] = (int(match[3] or 1), bool(match[2]))
    return entries


def report(files):
    """Prints how much is covered, and what is not. Returns the places of each outcome: those that are
    missing, and how many there are."""
    rows, missing, known = {}, collections.defaultdict(list), collections.Counter()
    for name, file in sorted(files.items()):
        outcomes = list(file.outcomes())
        for line, outcome, occurred in outcomes:
            known[name, outcome] += 1
            if not occurred:
                missing[name, outcome].append(line)
                print(f"{name}:{line}: {outcome}")
        executed = sum(count > 0 for count in file.lines.values())
        occurred = sum(occurred for _, _, occurred in outcomes)
        rows[name] = (executed, len(file.lines), occurred, len(outcomes))
    rows["all"] = tuple(map(sum, zip(*rows.values())))
    print(f"\n{'lines':>12} {'branches':>12}")
    for name, (executed, lines, occurred, branches) in rows.items():
        print(f"{f'{executed}/{lines}':>12} {f'{occurred}/{branches}':>12}  {name}")
    return missing, known


def main():
    entries = listed()
    missing, known = report(test())
    wrong = []
    for key in sorted(known.keys() | entries.keys()):
        (name, outcome), lines = key, missing.get(key, [])
        count, varies = entries.get(key, (0, False))
        if len(lines) > count:
            places = ", ".join(map(str, lines))
            wrong.append(f"{name}:{places}: {len(lines)} not covered, {count} listed: {outcome}")
        elif known[key] < count or (len(lines) < count and not varies):
            wrong.append(f"{name}: {count} listed, but only {len(lines)} not covered: {outcome}")
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        sys.exit(f"{len(wrong)} differences from {LIST.relative_to(ROOT)}")
    print(f"{sum(map(len, missing.values()))} not covered, all of them listed")


main()
