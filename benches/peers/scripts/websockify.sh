#!/bin/sh
# Usage: websockify.sh LOG ARGUMENT…    What it says of every connection goes to LOG.
log=$1
shift
exec websockify "$@" 2>"$log"
