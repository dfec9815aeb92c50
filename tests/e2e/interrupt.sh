#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fdlctl on a terminal: bars, and what Ctrl-C does once, twice, three times; the same by signals without a terminal.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
command -v script >/dev/null || { echo "skipped: script(1) of bsdutils is missing"; exit 77; }
enter_world --fast --device=phone-emmc,name=one --device=phone-emmc,name=two,port=1-2
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon
mkfifo "$WORK/keys"
exec 7<>"$WORK/keys"

# terminal COMMAND…: runs it on a terminal of 60 columns; what it shows is in $WORK/screen.
terminal() {
        : >"$WORK/screen"
        timeout 120 script -qefc "stty cols 60 rows 20; exec $FDLD_BUILD/fdlctl $*" "$WORK/screen" <"$WORK/keys" >/dev/null 2>&1 &
        terminal_pid=$!
}
# press TEXT: Ctrl-C as soon as the text is on the screen.
press() {
        local _
        for _ in $tries; do
                grep -qF -- "$1" "$WORK/screen" && { printf '\003' >&7; return; }
                sleep 0.05
        done
        fail "\"$1\" was never shown: $(cat -v "$WORK/screen")"
}
ends_with() {
        local status=0
        wait "$terminal_pid" || status=$?
        [ "$status" -eq "$1" ] || { cat -v "$WORK/screen" >&2; fail "exit code $status instead of $1"; }
}
shown() { grep -qF -- "$1" "$WORK/screen" || { cat -v "$WORK/screen" >&2; fail "not shown: $1"; }; }
state_of() { fdlctl -j show "$1" | grep -o '"State":"[a-z]*"'; }

# bars: no line is wider than the terminal, and the last words stand alone
terminal --all flash "$WORK/phone.pac"
ends_with 0
grep -qE '\[[#.]{20}\] +[0-9]+% ' "$WORK/screen" || fail "no bar was shown"
tr '\r' '\n' <"$WORK/screen" | sed '/^Script /d; s/\x1b\[[0-9]*[A-Z]//g' >"$WORK/lines"
while IFS= read -r line; do
        [ "${#line}" -lt 60 ] || fail "wider than the terminal: $line"
done <"$WORK/lines"
[ "$(grep -cE '^job [0-9]+: done$' "$WORK/lines")" -eq 3 ] || fail "the last words are spoilt: $(cat -v "$WORK/screen")"

# off a terminal: whole lines, nothing that moves a cursor
simctl '{"cmd":"unplug","device":"one"}' >/dev/null
simctl '{"cmd":"unplug","device":"two"}' >/dev/null
simctl '{"cmd":"plug","device":"one"}' >/dev/null
expect 0 fdlctl flash "$WORK/phone.pac"
says ": done"
says "load-fdl1"
if grep -q "$(printf '\033\\|\r')" "$WORK/err"; then fail "control characters off a terminal"; fi
simctl '{"cmd":"unplug","device":"one"}' >/dev/null
for _ in $tries; do
        [ "$(fdlctl -j devices)" = "[]" ] && break
        sleep 0.05
done

# once: detached, the job lives
terminal flash phone.pac
press "waiting for a device"
ends_with 130
shown "press Ctrl-C again within 2 seconds"
shown "To watch it again: fdlctl wait"
job=$(sed -n 's/.*fdlctl wait \([0-9]*\).*/\1/p' "$WORK/screen")
[ "$(state_of "$job")" = '"State":"waiting"' ] || fail "the job did not live on"

# twice: cancelled
terminal wait "$job"
press "waiting for a device"
press "Detaching"
ends_with 6
shown "Cancelling"
expect 6 fdlctl -q wait "$job"
says "canceled"

# the same by signals; SIGTERM detaches at once
signalled() { # STATUS SIGNAL…
        local status=0 want=$1 signal
        shift
        start_job flash phone.pac
        "$FDLD_BUILD/fdlctl" wait "$job" >"$WORK/out" 2>"$WORK/err" &
        local pid=$!
        for _ in $tries; do
                grep -q waiting "$WORK/err" && break
                sleep 0.02
        done
        for signal in "$@"; do
                kill "-$signal" "$pid"
                sleep 0.2
        done
        wait "$pid" || status=$?
        [ "$status" -eq "$want" ] || fail "exit code $status instead of $want after $*"
}
signalled 130 TERM
expect 0 fdlctl cancel "$job"
signalled 6 INT INT
echo "1 passed, 0 failed"
