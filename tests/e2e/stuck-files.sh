#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Files of clients whose reading or closing never ends, where a package is expected and where nothing is: the daemon goes on.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc
finish() {
        [ -z "${stuckfs_pid:-}" ] || kill "$stuckfs_pid" 2>/dev/null || true
        stop_station
        umount -l "$WORK/stuck" 2>/dev/null || true
}
trap finish EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir "$WORK/stuck"
"$FDLD_BUILD/stuckfs" "$WORK/stuck" "$WORK/phone.pac" &
stuckfs_pid=$!
for _ in $tries; do
        [ -e "$WORK/stuck/read.pac" ] && break
        sleep 0.05
done
[ -e "$WORK/stuck/read.pac" ] || { echo "skipped: no FUSE mount is possible here"; exit 77; }
start_bus
start_daemon

# alive: the daemon answers at once.
alive() { expect 0 timeout 60 "$FDLD_BUILD/fdlctl" status; }

# a read that never ends holds only its own job, which can be cancelled
start_job import "$WORK/stuck/read.pac"
alive
expect 3 fdlctl -q --timeout=0.3 wait "$job"
says "Still not finished"
expect 0 fdlctl cancel "$job"
expect 6 timeout 60 "$FDLD_BUILD/fdlctl" -q wait "$job"

# a close that never ends: in a right call, in a refused one, and where no file is expected
expect 0 timeout 60 "$FDLD_BUILD/fdlctl" -q import "$WORK/stuck/flush.pac"
alive
expect 0 timeout 60 "$FDLD_BUILD/buspest" files "$WORK/stuck/flush.pac"
[ "$(wc -l <"$WORK/out")" -eq 11 ] || fail "not every call was answered"
says "bidi name: org.fdld.Fdld1.Error.InvalidOption"
says "empty name: org.fdld.Fdld1.Error.InvalidOption"
says "file as option: org.fdld.Fdld1.Error.InvalidOption Unknown option"
says "files nested: org.fdld.Fdld1.Error.InvalidOption Unknown option"
says "files for no job: org.fdld.Fdld1.Error.NoSuchJob"
says "file for no object: org.freedesktop.DBus.Error.Unknown"
alive

# meanwhile work goes on
expect 0 timeout 60 "$FDLD_BUILD/fdlctl" -q flash "$WORK/phone.pac"
alive
kill "$stuckfs_pid"
wait "$stuckfs_pid" 2>/dev/null || true
stuckfs_pid=
alive
echo "1 passed, 0 failed"
