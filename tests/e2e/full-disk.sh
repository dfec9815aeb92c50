#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The disk of the state directory becomes full, or read-only, while a job runs: the job lives on, new work is refused with path and
# owner, and after the cure work is taken again without a restart.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --device=phone-emmc,name=one --device=phone-emmc,name=two,port=1-2
finish() {
        stop_station
        umount -l "$WORK/state" 2>/dev/null || true
}
trap finish EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir "$WORK/state"
mount -t tmpfs -o size=64m,mode=0700 fdld-test "$WORK/state" || { echo "skipped: no tmpfs can be mounted here"; exit 77; }
start_bus

# not writable at the start
# With the source named, mount does not hand back what the kernel shows of it: as an ordinary user that holds an id which is unknown here.
mount -o remount,ro fdld-test "$WORK/state"
status=0
mkdir -p "$WORK/run" "$WORK/etc"
STATE_DIRECTORY=$WORK/state RUNTIME_DIRECTORY=$WORK/run CONFIGURATION_DIRECTORY=$WORK/etc \
        timeout 120 "$FDLD_BUILD/fdld" >"$WORK/out" 2>"$WORK/err" || status=$?
[ "$status" -ne 0 ] && [ "$status" -ne 124 ] || fail "started on a directory that cannot be written"
says "$WORK/state"
says "uid 0"
[ "$(grep -c . "$WORK/err")" -eq 1 ] || fail "more than one line"
mount -o remount,rw fdld-test "$WORK/state"

start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
slot=$(port_of two)
simctl '{"cmd":"unplug","device":"two"}' >/dev/null
start_job flash phone.pac --slot="$(port_of one)"
for _ in $tries; do
        fdlctl -j show "$job" | grep -q '"Stage":"write"' && break
        sleep 0.05
done
dd if=/dev/zero of="$WORK/state/fill" bs=64k 2>/dev/null || true
dd if=/dev/zero of="$WORK/state/fill" bs=1 oflag=append conv=notrunc 2>/dev/null || true
running=$job
for _ in $tries; do
        fdlctl --no-wait -q flash phone.pac --slot="$slot" >"$WORK/out" 2>"$WORK/err" || break
        # It was taken before the daemon met the full disk.
        expect 0 fdlctl cancel "$(sed -n 's/^job //p' "$WORK/out")"
        sleep 0.05
done
says "$WORK/state cannot be written (No space left on device)"
says "uid 0"
expect 1 fdlctl -q import "$WORK/phone.pac"
expect 0 fdlctl status
expect 0 fdlctl -q wait "$running"

rm "$WORK/state/fill"
for _ in $tries; do
        fdlctl --no-wait -q flash phone.pac --slot="$slot" >"$WORK/out" 2>"$WORK/err" && break
        sleep 0.1
done
simctl '{"cmd":"plug","device":"two"}' >/dev/null
expect 0 fdlctl -q wait "$(sed -n 's/^job //p' "$WORK/out")"
echo "1 passed, 0 failed"
