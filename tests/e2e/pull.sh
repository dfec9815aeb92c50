#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A device is pulled out at different stages while its neighbour is flashed: always a typed failure of class gone at the right
# stage, never a hang or a wrong success; the neighbour passes; the backup is on disk; flashing again mends the unit.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages
enter_world --fast --device=uis8850,name=victim --device=uis8850,name=neighbour,port=1-2
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=1782:4d16\n\n[Timeouts]\nSecondEnumerationMSec=500\n' >"$WORK/etc/fdld.conf"
package=$FDLD_TEST_PACS/uis8850_full.pac
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$package"
victim=$(port_of victim) neighbour=$(port_of neighbour)

# where the fault is set, what the code must begin with, whether flash was touched
points='brom:start load-fdl1-gone no
brom:midst:30000 load-fdl1-gone no
brom:exec exec-fdl1-gone no
fdl2:read:0 backup-gone no
fdl2:erase erase-gone yes
fdl2:midst:500000 write-gone yes
fdl2:end write-gone yes'
n=0
while read -r at code touched; do
        simctl "{\"cmd\":\"fault\",\"device\":\"victim\",\"fault\":\"at=$at disconnect count=1\"}" >/dev/null || fail "no fault at $at"
        expect 0 fdlctl -q flash uis8850_full.pac --slot="$victim" --no-wait
        job=$(sed 's/^job //' "$WORK/out")
        expect 0 fdlctl -q flash uis8850_full.pac --slot="$neighbour" --no-wait
        other=$(sed 's/^job //' "$WORK/out")
        status=0
        fdlctl -q --timeout=600 wait "$job" >"$WORK/out" 2>"$WORK/err" || status=$?
        says "$code"
        if [ "$touched" = yes ]; then
                [ "$status" -eq 10 ] || fail "pulled at $at: exit code $status, not 10"
                [ -n "$(ls -A "$WORK/state/vault" 2>/dev/null)" ] || fail "pulled at $at: no backup on disk"
        else
                [ "$status" -eq 4 ] || fail "pulled at $at: exit code $status, not 4"
        fi
        expect 0 fdlctl -q --timeout=600 wait "$other"
        expect 0 fdlctl -q retry "$job" --no-wait
        again=$(sed 's/^job //' "$WORK/out")
        simctl '{"cmd":"unplug","device":"victim"}' >/dev/null || true
        simctl '{"cmd":"plug","device":"victim"}' >/dev/null
        expect 0 fdlctl -q --timeout=600 wait "$again"
        "$FDLD_BUILD/flashcheck" "$package" "$WORK/before/victim" "$WORK/flash/victim" || fail "pulled at $at: not mended"
        simctl '{"cmd":"replug","device":"victim"}' >/dev/null || true
        simctl '{"cmd":"replug","device":"neighbour"}' >/dev/null || true
        n=$((n + 1))
done <<<"$points"
stop_station
trap - EXIT
echo "pulled at $n points; each failed as it must, and was mended"
