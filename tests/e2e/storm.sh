#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Many units at once, plugged in and pulled out at random moments while their jobs run: every job ends, the bus answers, and left
# alone every unit can be flashed. Then one unit is plugged into a socket whose job waits, and how soon the first byte leaves is told.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages
count=8 rounds=4
[ -z "${FDLD_LONG:-}" ] || count=40 rounds=20
devices=()
for i in $(seq 0 $((count - 1))); do devices+=("--device=uis8850,name=u$i"); done
enter_world --fast "${devices[@]}"
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=1782:4d16\n\n[Timeouts]\nSecondEnumerationMSec=300\n' >"$WORK/etc/fdld.conf"
package=$FDLD_TEST_PACS/uis8850_full.pac
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$package"
RANDOM=7
ports=() jobs=()
for i in $(seq 0 $((count - 1))); do ports+=("$(port_of "u$i")"); done
for _ in $(seq $rounds); do
        for i in $(seq 0 $((count - 1))); do
                if [ $((RANDOM % 3)) -eq 0 ]; then
                        start_job flash uis8850_full.pac --slot="${ports[$i]}"
                        jobs+=("$job")
                fi
                case $((RANDOM % 6)) in
                0 | 1) simctl "{\"cmd\":\"unplug\",\"device\":\"u$i\"}" >/dev/null || true ;;
                2 | 3) simctl "{\"cmd\":\"plug\",\"device\":\"u$i\"}" >/dev/null || true ;;
                4) simctl "{\"cmd\":\"replug\",\"device\":\"u$i\"}" >/dev/null || true ;;
                esac
        done
        timeout 60 "$FDLD_BUILD/fdlctl" status >"$WORK/out" || fail "the bus does not answer in the storm"
done
# The storm is over: what still waits is cancelled, what runs may end.
for job in "${jobs[@]}"; do
        fdlctl -j show "$job" | grep -qE '"State":"(queued|waiting)"' && fdlctl cancel "$job" >/dev/null 2>&1 || true
done
fdlctl -q --timeout=600 wait "${jobs[@]}" >"$WORK/out" 2>"$WORK/err" || true
[ "$(fdlctl jobs --no-legend | grep -cE ' (running|cancelling|waiting|queued) ' || true)" -eq 0 ] || fail "jobs are left over: $(fdlctl jobs)"
jobs=()
for i in $(seq 0 $((count - 1))); do
        simctl "{\"cmd\":\"replug\",\"device\":\"u$i\"}" >/dev/null
        start_job flash uis8850_full.pac --slot="${ports[$i]}"
        jobs+=("$job")
done
expect 0 fdlctl -q --timeout=600 wait "${jobs[@]}"
for i in $(seq 0 $((count - 1))); do
        "$FDLD_BUILD/flashcheck" "$package" "$WORK/before/u$i" "$WORK/flash/u$i" || fail "flash of unit $i is not what it must be"
done

# The best of a few: the machine has other things to do.
best=1000000
for _ in $(seq 5); do
        simctl '{"cmd":"unplug","device":"u0"}' >/dev/null || true
        start_job flash uis8850_full.pac --slot="${ports[0]}"
        simctl '{"cmd":"plug","device":"u0"}' >/dev/null
        expect 0 fdlctl -q --timeout=600 wait "$job"
        took=$(simctl '{"cmd":"describe","device":"u0"}' | grep -o '"first_byte_us":[0-9]*' | head -n 1 | cut -d: -f2)
        [ "$took" -ge "$best" ] || best=$took
done
[ "$best" -gt 0 ] || fail "it is not known when the first byte left"
stop_station
trap - EXIT
echo "$count units in a storm; first byte after $best µs"
