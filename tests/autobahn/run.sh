#!/usr/bin/env bash
# The Autobahn conformance suite (all but the compression cases) against the binary, on /mirror.
# Usage: run.sh WSLOOP_BINARY      AUTOBAHN_DIR: the folder with the suite's run.sh
#                                  (default: shared/autobahn beside the repository)
set -euo pipefail
[ $# = 1 ] || { echo "usage: run.sh WSLOOP_BINARY" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=${AUTOBAHN_DIR:-$here/../../../shared/autobahn}
[ -x "$suite/run.sh" ] || {
    echo "run.sh: no $suite/run.sh: set AUTOBAHN_DIR to the folder with the Autobahn fuzzing client's run.sh" >&2
    exit 1
}
# shellcheck source=tests/interop/server.sh
. "$here/../interop/server.sh"

report=${CI_ARTEFACTS:-$work}/autobahn
rm -f "$report/index.json" "$report/summary.json" # of an earlier run
start_server "$1" --max-message 16777216
failed=0
# Its own verdict is not ours: compare.py decides, from the report.
"$suite/run.sh" "ws://$address/mirror" --exclude '12.*,13.*' --timeout 900 --out "$report" || true
python3 "$here/compare.py" "$here/expected.json" "$report" || failed=1
stop_server || failed=1
exit "$failed"
