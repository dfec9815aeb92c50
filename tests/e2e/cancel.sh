#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Cancel at every stage: at once where nothing is being changed, else at the next safe point, never as a failure; whether the unit
# must be flashed again is told right; the slot's counters, LastResult and SafeToUnplug too. A retry mends it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages
enter_world --fast --device=uis8850,name=unit
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=1782:4d16\n' >"$WORK/etc/fdld.conf"
package=$FDLD_TEST_PACS/uis8850_full.pac
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$package"
port=$(port_of unit)

slot_says() { # slot_says TEXT WHEN
        fdlctl -j show "$port" >"$WORK/slot"
        grep -qF "$1" "$WORK/slot" || fail "$2: the slot does not say $1: $(cat "$WORK/slot")"
}

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# where the unit takes its time, in which stage, safe to unplug then, must be flashed again afterwards
points='brom:sync+silence+count=forever handshake true false
brom:midst:30000+slow=40000 load-fdl1 true false
fdl2:sync+silence+count=forever exec-fdl1 true false
fdl2:read:100000+slow=4000 backup true false
fdl2:erase:#1+slow=1500 erase false true
fdl2:midst:500000+slow=1500 write false true
fdl2:end:#3+slow=1500 write false true'
passed=0 n=0
while read -r fault stage safe must; do
        simctl '{"cmd":"replug","device":"unit"}' >/dev/null
        simctl "{\"cmd\":\"fault\",\"device\":\"unit\",\"fault\":\"at=${fault//+/ }\"}" >/dev/null || fail "no fault at $fault"
        start_job flash uis8850_full.pac --slot="$port"
        simctl '{"cmd":"wait","device":"unit","until":"faults_hit>'$n'","timeout":60000}' >"$WORK/out" || fail "$fault: never reached: $(cat "$WORK/out")"
        for _ in $tries; do
                fdlctl -j show "$job" | grep -q "\"Stage\":\"$stage\"" && break
                sleep 0.02
        done
        expect 0 fdlctl -j show "$job"
        says "\"Stage\":\"$stage\""
        slot_says "\"SafeToUnplug\":$safe" "in $fault"
        slot_says '"State":"busy"' "in $fault"
        begin=$(now_ms)
        expect 0 fdlctl cancel "$job"
        got=0
        fdlctl -q --timeout=600 wait "$job" >"$WORK/out" 2>"$WORK/err" || got=$?
        took=$(($(now_ms) - begin))
        expect 0 fdlctl -j show "$job"
        says '"Result":"canceled"'
        told=false
        grep -q '"must_reflash":true' "$WORK/out" && told=true
        [ $told = $must ] || fail "$fault: must_reflash is told as $told: $(cat "$WORK/out")"
        [ "$got" -eq 6 ] || { [ $must = true ] && [ "$got" -eq 10 ]; } || fail "$fault: exit code $got"
        # Where nothing is written nobody waits for an answer that takes its time.
        [ $safe = false ] || [ "$took" -lt 10000 ] || fail "$fault: cancelled only after $took ms"
        slot_says '"LastResult":"canceled"' "after $fault"
        slot_says '"SafeToUnplug":true' "after $fault"
        slot_says "\"Passed\":$passed" "after $fault"
        slot_says '"Failed":0' "after $fault"
        [ -z "${FDLD_TELL:-}" ] || echo "$fault: $took ms, exit $got"
        n=$(simctl '{"cmd":"describe","device":"unit"}' | grep -o '"faults_hit":[0-9]*' | cut -d: -f2)
        simctl '{"cmd":"fault","device":"unit","fault":"clear"}' >/dev/null
        start_job retry "$job"
        fdlctl -j show "$job" | grep -q '"UserAction":"replug"' && simctl '{"cmd":"replug","device":"unit"}' >/dev/null
        expect 0 fdlctl -q --timeout=600 wait "$job"
        passed=$((passed + 1))
        "$FDLD_BUILD/flashcheck" "$package" "$WORK/before/unit" "$WORK/flash/unit" || fail "$fault: not mended"
        slot_says '"LastResult":"done"' "after the retry of $fault"
        slot_says "\"Passed\":$passed" "after the retry of $fault"
done <<<"$points"
stop_station
trap - EXIT
echo "cancelled at $passed points"
