#!/usr/bin/env python3
"""Compares what `wsloop --licences` prints with the crates that are linked into the program.

Usage: tests/house/licences.py [--write]      (needs Cargo; --write brings the texts up to date)

src/command/licences.txt is for the program without TLS, licences-tls.txt for what TLS adds. Of the
licences that a crate offers, MIT is taken where it is one of them: then its copyright notice is
enough beside the text of the licence, which all share.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"


def cargo(*args):
    command = ["cargo", *args, "--locked"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def linked(features):
    """The names and versions of the crates that are linked with these features."""
    tree = cargo("tree", "-e", "normal,no-proc-macro", "--no-default-features", "--features", features,
                 "--target", TARGET, "--prefix", "none", "--format", "{p}")
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    return sorted((name, version.removeprefix("v")) for name, version in names if name != "wsloop")


def licence_files(package):
    """Its licence files, those for MIT first."""
    folder = Path(package["manifest_path"]).parent
    files = [path for path in folder.iterdir() if path.is_file() and re.match(r"(?i)(licen[sc]e|copying)", path.name)]
    return sorted(files, key=lambda path: ("MIT" not in path.name.upper(), path.name))


def copyrights(package):
    """The copyright notices of its first licence file that has any, or its authors."""
    for path in licence_files(package):
        if "APACHE" in path.name.upper():
            continue
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
        found = [line for line in lines if re.match(r"(?i)copyright (\(c\)|©|\d)", line)]
        if found:
            return list(dict.fromkeys(found))
    authors = ", ".join(re.sub(r" <.*?>", "", author) for author in package["authors"])
    return [f"Copyright (c) {authors or 'the ' + package['name'] + ' developers'}"]


def offers_mit(package):
    return "MIT" in re.split(r"[ /()]+", package["license"] or "")


def entry(package):
    notices = "".join(f"    {line}\n" for line in copyrights(package))
    return f"{package['name']} {package['version']}\n{notices}"


def whole(package):
    """A crate that is not under MIT: with the whole text of its licences."""
    texts = [path.read_text(errors="replace").strip() for path in licence_files(package)]
    assert texts, f"{package['name']} has no licence file"
    head = f"{package['name']} {package['version']} ({package['license']})"
    return f"{head}\n{'-' * len(head)}\n\n" + "\n\n".join(texts) + "\n"


def text_for(names, packages, head, std):
    crates = [packages[name] for name in names]
    parts = [head.strip("\n") + "\n", std + "".join(entry(crate) for crate in crates if offers_mit(crate))]
    parts += [whole(crate) for crate in crates if not offers_mit(crate)]
    return "\n".join(parts)


def texts():
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--all-features", "--filter-platform", TARGET))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    plain = linked("cli,deflate")
    tls = [name for name in linked("cli,deflate,tls") if name not in plain]
    mit = (ROOT / "LICENSE-MIT").read_text().strip()
    head = f"""
wsloop is licensed under the MIT licence, which follows, or the Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0), at your option.

{mit}

The program has the following in it as well. Each is under the MIT licence too, whose text is that above
with its own copyright notice, except where another licence follows its name.
"""
    std = "The Rust standard library\n    Copyright (c) The Rust Project Contributors\n"
    return {
        "licences.txt": text_for(plain, packages, head, std),
        "licences-tls.txt": text_for(tls, packages, "For TLS it has these as well:", ""),
    }


def main():
    stale = []
    for name, text in texts().items():
        path = ROOT / "src/command" / name
        if "--write" in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(str(path.relative_to(ROOT)))
    if stale:
        sys.exit(f"{', '.join(stale)}: not what is linked now; tests/house/licences.py --write")


main()
