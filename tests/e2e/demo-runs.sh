#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The demo passes with generated packages, its output in a log, and with real ones (where there are), on a terminal,
# and nothing is left behind.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/fdld-test.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export FDLD_BUILD TMPDIR=$WORK/tmp
mkdir "$TMPDIR"

fail() {
        echo "FAIL: $*" >&2
        tail -n 40 "$WORK/log" "$WORK/terminal" >&2
        exit 1
}

# has FILE TEXT…
has() {
        local text
        for text in "${@:2}"; do
                grep -qF -- "$text" "$1" || fail "$(basename "$1") does not say \"$text\""
        done
}

env -u FDLD_TEST_PACS timeout 600 "$here/demo.sh" >"$WORK/log" 2>&1 </dev/null &
demo=$!
on_terminal=0
if command -v script >/dev/null; then
        TERM=xterm timeout 600 script -qec "$here/demo.sh" /dev/null >"$WORK/terminal" 2>&1 </dev/null || on_terminal=$?
else
        echo "not tried on a terminal: there is no script(1)" | tee "$WORK/terminal"
fi
status=0
wait "$demo" || status=$?
[ "$status" -eq 0 ] || fail "in a log the demo ends with $status"
[ "$on_terminal" -eq 0 ] || fail "on a terminal the demo ends with $on_terminal"

has "$WORK/log" 'generated packages' 'failed, write-gone' 'what to do:' "exit code is 10" 'job 16: done' 'every unit passed'
! grep -q $'[\033\r]' "$WORK/log" || fail "there are control characters in the log"
[ "$(grep -cE '^[1-8] [a-z0-9-]+ .* passed .* done ' "$WORK/log")" -eq 15 ] || fail "the tables do not show seven, then eight units that passed"
[ "$(grep -oE '^[1-8] [a-z0-9-]+' "$WORK/log" | sed 's/^. //' | sort -u | wc -l)" -ge 5 ] || fail "fewer than five families"
while read -r line; do
        [ ${#line} -le 140 ] || fail "a line of the log is too long: $line"
done <"$WORK/log"
if command -v script >/dev/null; then
        has "$WORK/terminal" 'failed, write-gone' 'every unit passed' '[####' $'\033[1m'
        [ -z "${FDLD_TEST_PACS:-}" ] || has "$WORK/terminal" '8850 MODULE'
fi
[ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(ls -A "$TMPDIR")"
echo "the demo passes in a log and on a terminal"
