#!/usr/bin/env python3
"""Compares an Autobahn report with the verdicts we expect, case by case.

Usage: compare.py EXPECTED.json REPORT_FOLDER     (exit 1: differences, listed)

EXPECTED.json: case → [behavior, behaviorClose]. The suite's summary.json says whether the run was
whole, its index.json has each case's verdicts.
"""
import json
import pathlib
import sys


def main(expected_file, folder):
    expected = json.loads(pathlib.Path(expected_file).read_text())
    try:
        summary = json.loads(pathlib.Path(folder, "summary.json").read_text())
        cases = json.loads(pathlib.Path(folder, "index.json").read_text())["server"]
    except (OSError, KeyError) as e:
        print(f"compare.py: no report of a finished run: {e!r}")
        return 1
    got = {case: [r["behavior"], r["behaviorClose"]] for case, r in cases.items()}
    differences = [f"{case}: expected {want}, got {got.get(case, 'no result')}"
                   for case, want in expected.items() if got.get(case) != want]
    differences += [f"{case}: not in the list, got {got[case]}" for case in got if case not in expected]
    differences += [f"client: {text}" for text in summary["trouble"]]
    print("\n".join(differences + [f"{len(expected)} cases expected, {len(got)} ran, {len(differences)} differences"]))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
