#!/bin/sh
# Run the long proofs and keep a dated record: docs/proofs/YYYY-MM-DD.txt with machine and commit on top.
# Those that only compute share the processors; those that watch a clock have the machine to themselves.
set -eu
cd "$(dirname "$0")/.."
mkdir -p docs/proofs
record=docs/proofs/$(date -u +%Y-%m-%d).txt
# Before the record is begun, which itself would make the tree dirty.
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
{
    echo "date    $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "commit  $commit"
    echo "machine $(uname -sm), $(getconf _NPROCESSORS_ONLN) processors"
    echo "python  $(.venv/bin/python -V 2>&1)"
    echo
} >"$record"
status=0
run() {
    .venv/bin/python -m pytest --no-header -v --timeout=7200 --durations=0 "$@" >>"$record" 2>&1 || status=$?
}
run -m "prove and computes" --numprocesses=logical --maxprocesses=4
run -m "prove and not computes"
cat "$record"
echo "recorded in $record"
exit "$status"
