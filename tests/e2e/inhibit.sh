#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# While flash is written logind keeps the computer up, and no longer; a logind that lets us only delay, and none at all. SIGTERM meanwhile:
# what writes is finished first, and the status line says so.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --device=phone-emmc,name=a,port=1-1,flash-rate=8M,fdl1-start=5,fdl2-start=10
logind=
clean() {
        [ -z "$logind" ] || kill "$logind" 2>/dev/null || true
        stop_station
}
trap clean EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
"$FDLD_BUILD/logindmock" --no-block >"$WORK/logind" &
logind=$!
# The status line as systemd would get it.
export NOTIFY_SOCKET=$WORK/notify
"$FDLD_BUILD/logindmock" --notify "$WORK/notify" >"$WORK/status" &
listener=$!
for _ in $tries; do [ -S "$WORK/notify" ] && break; sleep 0.02; done
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
start_job flash phone.pac
simctl '{"cmd":"wait","device":"a","until":"bytes_written>1000000","timeout":60000}' >/dev/null || fail "the job never wrote"
grep -q '^inhibit shutdown:sleep fdld block$' "$WORK/logind" || fail "logind was not asked: $(cat "$WORK/logind")"
grep -q '^inhibit shutdown:sleep fdld delay$' "$WORK/logind" || fail "no delay was asked for where blocking is refused"
! grep -q released "$WORK/logind" || fail "let go while flash is written"
kill -TERM "$daemon_pid"
wait "$daemon_pid" || fail "fdld did not end well"
daemon_pid=
# Both stand-ins may be slower than the daemon's end.
for _ in $tries; do grep -q 'STATUS=Stopping' "$WORK/status" && break; sleep 0.02; done
grep -q 'STATUS=Stopping: 1 running, .*1 changing flash' "$WORK/status" || fail "the status line does not say what is waited for: $(cat "$WORK/status")"
for _ in $tries; do grep -q '^released$' "$WORK/logind" && break; sleep 0.02; done
kill "$listener" "$logind" 2>/dev/null || true
wait "$listener" "$logind" 2>/dev/null || true
logind=
grep -q '^released$' "$WORK/logind" || fail "the inhibitor was kept"
unset NOTIFY_SOCKET
# Without logind it works as well, and the unit was finished.
start_daemon
expect 0 fdlctl -j show "$job"
says '"Result":"done"'
for _ in $tries; do fdlctl -j packages | grep -q '"Ready":true' && break; sleep 0.05; done
simctl '{"cmd":"replug","device":"a","delay":10}' >/dev/null
expect 0 fdlctl -q --timeout=600 flash phone.pac --slot="$(port_of a)"
clean
trap - EXIT
echo "kept up while flash is written"
