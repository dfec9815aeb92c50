#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The program is replaced while a job runs: the daemon goes on, says so in its status line, and is the new one once nothing runs: the
# same process, with queue, slots and finished jobs as before.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --device=phone-emmc,name=unit,fdl2-start=50,flash-rate=8M --device=phone-emmc,name=later,port=1-2
sink=
finish() {
        stop_station
        [ -z "$sink" ] || kill "$sink" 2>/dev/null || true
}
trap finish EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
"$FDLD_BUILD/notifysink" "$WORK/notify" >"$WORK/told" &
sink=$!
for _ in $tries; do
        [ -S "$WORK/notify" ] && break
        sleep 0.02
done
start_bus
# A place of its own, where it can be replaced; station.sh starts what stands in FDLD_BUILD.
real=$FDLD_BUILD
mkdir "$WORK/sbin"
cp "$real/fdld" "$WORK/sbin/fdld"
ln -s "$real/fdlctl" "$WORK/sbin/fdlctl"
export NOTIFY_SOCKET=$WORK/notify
# shellcheck disable=SC2119
FDLD_BUILD=$WORK/sbin start_daemon
unset NOTIFY_SOCKET
pid=$daemon_pid
expect 0 fdlctl -q import "$WORK/phone.pac"
start_job flash phone.pac --slot="$(port_of unit)"
running=$job
later=$(port_of later)
simctl '{"cmd":"unplug","device":"later"}' >/dev/null
start_job flash phone.pac --slot="$later"
queued=$job
simctl '{"cmd":"wait","device":"unit","until":"bytes_written>1000000","timeout":60000}' >/dev/null || fail "the job never wrote"

old=$(stat -Lc %i "/proc/$pid/exe")
# Whoever unpacks a package writes more than this one file.
while :; do : >"$WORK/sbin/other"; sleep 0.001; done &
writer=$!
cp "$real/fdld" "$WORK/sbin/fdld.new"
mv "$WORK/sbin/fdld.new" "$WORK/sbin/fdld"
for _ in $tries; do
        grep -q 'the program was upgraded' "$WORK/told" && break
        sleep 0.05
done
grep -q 'STATUS=1 running, 1 queued.*the program was upgraded, the new one takes over when no job runs' "$WORK/told" ||
        fail "the status line does not tell of the upgrade: $(cat "$WORK/told")"
[ "$(stat -Lc %i "/proc/$pid/exe")" = "$old" ] || fail "the new program took over while a job ran"
expect 0 fdlctl -q --timeout=600 wait "$running"
kill "$writer"
wait "$writer" 2>/dev/null || true

for _ in $tries; do
        [ "$(stat -Lc %i "/proc/$pid/exe")" != "$old" ] && break
        sleep 0.05
done
[ "$(stat -Lc %i "/proc/$pid/exe")" = "$(stat -c %i "$WORK/sbin/fdld")" ] || fail "the new program did not take over"
for _ in $tries; do
        fdlctl status >/dev/null 2>&1 && break
        sleep 0.05
done
expect 0 fdlctl -j show "$running"
says '"Result":"done"'
for _ in $tries; do [ "$(grep -c 'READY=1' "$WORK/told")" = 2 ] && break; sleep 0.05; done
[ "$(grep -c 'READY=1' "$WORK/told")" = 2 ] || fail "systemd was not told twice that it is ready: $(cat "$WORK/told")"
grep -q 'RELOADING=1' "$WORK/told" || fail "systemd was not told"
grep -q 'STOPPING=1' "$WORK/told" && fail "systemd was told of an end"
for _ in $tries; do
        fdlctl -j show "$queued" | grep -q '"State":"waiting"' && break
        sleep 0.05
done
simctl '{"cmd":"plug","device":"later"}' >/dev/null
expect 0 fdlctl -q --timeout=600 wait "$queued"
# A program that only goes away is no upgrade.
rm "$WORK/sbin/fdld"
expect 0 fdlctl status
stop_daemon
for _ in $tries; do grep -q 'STOPPING=1' "$WORK/told" && break; sleep 0.05; done
[ "$(grep -c 'STOPPING=1' "$WORK/told")" = 1 ] || fail "systemd was not told of the end"
echo "upgraded while a job ran; the new program took over when it was done"
