#!/usr/bin/env python3
"""Holds the header against src/capi: cbindgen says in C what the Rust is, and the compilers compare.

Usage: judge.py HEADER WORK      (WORK: a folder for what it writes; needs cbindgen, gcc, clang)

Held against each other are every prototype; the names, types, offsets and sizes of every field of
every struct; every constant; and that neither has anything the other has not. Exit status 0: they agree.
"""
import re
import subprocess
import sys
from pathlib import Path

# The header's own: its guard, and its version, which tests/capi/unit.c compares.
ONLY_IN_THE_HEADER = {"WSLOOP_H", "WSLOOP_VERSION"}
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
CONSTANT = re.compile(r"^#define (WSLOOP_\w+) (.+)$", re.MULTILINE)
STRUCT = re.compile(r"^typedef struct (wsloop_\w+) \{(.*?)^\} \1;$", re.MULTILINE | re.DOTALL)
FUNCTION = re.compile(r"\b(wsloop_\w+)\(")


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def cbindgen(work, items):
    """What cbindgen makes of items of these kinds."""
    config = work / "cbindgen.toml"
    config.write_text(
        'language = "C"\nno_includes = true\nusize_is_size_t = true\ndocumentation = false\n'
        f"[export]\nitem_types = {items}\n"
    )
    return run("cbindgen", "--quiet", "--config", str(config), "--crate", "wsloop", ".")


def fields(body):
    """The names of a struct's fields: `int open[5]`, `void (*on_drain)(...)`."""
    for field in filter(None, map(str.strip, body.split(";"))):
        yield re.search(r"\(\*(\w+)\)|(\w+)(?:\[\d+\])?$", field).group(1, 2)


def same_names(what, header, rust):
    print(f"{len(header)} {what}")
    for name in sorted(header ^ rust):
        print(f"judge.py: {name} is only in {'the header' if name in header else 'Rust'}")
    return bool(header) and header == rust


def checks(struct, body):
    """That two structs have the same fields, at the same places, with nothing between them."""
    rust = f"rust_{struct}"
    sizes = ["0"]
    for name in (one or other for one, other in fields(body)):
        ours, theirs = f"(({rust} *)0)->{name}", f"(({struct} *)0)->{name}"
        where = f"offsetof({rust}, {name}) == offsetof({struct}, {name})"
        what = f"__builtin_types_compatible_p(__typeof__({ours}), __typeof__({theirs}))"
        yield f'_Static_assert({where}, "the place of {struct}.{name}");'
        yield f'_Static_assert({what}, "the type of {struct}.{name}");'
        sizes.append(f"sizeof({ours})")
    yield f'_Static_assert(sizeof({rust}) == sizeof({struct}), "the size of {struct}");'
    # So that the header has no field but those: there is no room for it.
    yield f'_Static_assert({" + ".join(sizes)} == sizeof({struct}), "padding in {struct}");'


def main():
    path, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    functions = cbindgen(work, ["functions"])
    types = cbindgen(work, ["structs", "typedefs", "opaque"])
    constants = dict(CONSTANT.findall(cbindgen(work, ["constants"])))
    structs = dict(STRUCT.findall(types))

    # Without comments, but with its #defines.
    header = run("gcc", "-fpreprocessed", "-dD", "-E", "-P", str(path))
    words = set(re.findall(r"\bWSLOOP_\w+", header)) - ONLY_IN_THE_HEADER
    agree = [
        same_names("functions", set(FUNCTION.findall(header)), set(FUNCTION.findall(functions))),
        same_names("structs", {name for name, _ in STRUCT.findall(header)}, set(structs)),
        same_names("constants", words, set(constants)),
    ]

    source = [f'#include "{path}"', "/* Two declarations that differ do not compile. */", functions]
    source += [f"#define {name} rust_{name}" for name in structs]
    source += [types]
    source += [f"#undef {name}" for name in structs]
    source += [f'_Static_assert(({name}) == ({value}), "{name}");' for name, value in constants.items()]
    source += [line for struct, body in structs.items() for line in checks(struct, body)]
    file = work / "judge.c"
    file.write_text("\n".join(source) + "\n")
    for compiler in ("gcc", "clang"):
        agree.append(subprocess.run([compiler, *FLAGS, file]).returncode == 0)
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
