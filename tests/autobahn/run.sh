#!/usr/bin/env bash
# The Autobahn conformance suite against the binary, on /mirror.
# Usage: run.sh WSLOOP_BINARY              all but the compression cases
#        run.sh WSLOOP_BINARY deflate      a sample of the compression cases, for a binary with the
#                                          feature
#        run.sh WSLOOP_BINARY deflate-all  all of them, a quarter of an hour
# AUTOBAHN_DIR: the folder with the suite's run.sh (default: shared/autobahn beside the repository)
set -euo pipefail
usage='usage: run.sh WSLOOP_BINARY [deflate | deflate-all]'
case $#-${2-plain} in
1-plain) cases=(--exclude '12.*,13.*') expected=expected.json flags=() ;;
2-deflate) cases=(--cases '12.*.5,13.*.5') expected=expected-deflate.json flags=(--deflate) ;;
2-deflate-all) cases=(--cases '12.*,13.*') expected=expected-deflate-all.json flags=(--deflate) ;;
*) echo "$usage" >&2 && exit 2 ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=${AUTOBAHN_DIR:-$here/../../../shared/autobahn}
[ -x "$suite/run.sh" ] || {
    echo "run.sh: no $suite/run.sh: set AUTOBAHN_DIR to the folder with the Autobahn fuzzing client's run.sh" >&2
    exit 1
}
# shellcheck source=tests/interop/server.sh
. "$here/../interop/server.sh"

report=${CI_ARTEFACTS:-$work}/autobahn-${2-plain}
rm -f "$report/index.json" "$report/summary.json" # of an earlier run
start_server "$1" --max-message 16777216 "${flags[@]}"
failed=0
# Its own verdict is not ours: compare.py decides, from the report.
"$suite/run.sh" "ws://$address/mirror" "${cases[@]}" --timeout 1800 --out "$report" || true
python3 "$here/compare.py" "$here/$expected" "$report" || failed=1
stop_server || failed=1
exit "$failed"
