#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A phone whose boot key was not held shows its boot ROM for a moment: that is told by itself. Loaders that were left running are used
# without a power cycle, on every family.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
families="phone-emmc:phone phone-ufs-ab:phone-ab phone-old:phone-old phone-nand:phone-nand phone-lk:phone-lk feature-nor:feature"
devices=()
for pair in $families; do devices+=("--device=${pair%:*},name=${pair%:*},plug=no"); done
enter_world --fast --controllers=4 --device=phone-emmc,name=key,brom-window=900,plug=no "${devices[@]}"
trap stop_station EXIT
start_bus
start_daemon

fdlctl monitor >"$WORK/monitor" &
monitor=$!
trap 'kill $monitor 2>/dev/null; stop_station' EXIT
sleep 0.3
simctl '{"cmd":"plug","device":"key"}' >/dev/null
for _ in $tries; do
        grep -q LeftEarly "$WORK/monitor" && break
        sleep 0.05
done
grep -q 'LeftEarly.*hold the boot key' "$WORK/monitor" || fail "nobody was told that the boot key was not held"
grep -q 'was seen for [0-9.]* s and left without a word. Was its boot key held?' "$WORK/fdld.log" || fail "it is not in the journal"

execs() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -o '"exec":[0-9]*' | head -n 1 | cut -d: -f2; }

# one job leaves the last loader running; the next goes on with it, the same loader, no power cycle
for pair in $families; do
        unit=${pair%:*} package=${pair#*:}
        "$FDLD_BUILD/pacmaker" "$package" "$WORK/$package.pac" >/dev/null
        simctl "{\"cmd\":\"plug\",\"device\":\"$unit\"}" >/dev/null
        at=$(port_of "$unit")
        expect 0 fdlctl -q --timeout=600 flash "$WORK/$package.pac" --finish=nothing --slot="$at"
        before=$(execs "$unit")
        [ "${before:-0}" -gt 0 ] || fail "$unit: no loader was started"
        expect 0 fdlctl -q --timeout=600 flash "$package.pac" --device="$at"
        [ "$(execs "$unit")" = "$before" ] || fail "$unit: the loaders were sent again"
done
# so is a first loader that a cancelled job has left
simctl '{"cmd":"replug","device":"phone-emmc"}' >/dev/null
at=$(port_of phone-emmc)
simctl '{"cmd":"fault","device":"phone-emmc","fault":"at=fdl1:midst:#3 slow=3000"}' >/dev/null
start_job flash phone.pac --slot="$at"
for _ in $tries; do
        fdlctl -j show "$job" | grep -q '"Stage":"load-fdl2"' && break
        sleep 0.02
done
sleep 0.2
expect 0 fdlctl cancel "$job"
fdlctl -q --timeout=600 wait "$job" >"$WORK/out" 2>"$WORK/err" || true
expect 0 fdlctl -j show "$job"
says '"Result":"canceled"'
before=$(execs phone-emmc)
expect 0 fdlctl -q --timeout=600 flash phone.pac --device="$at"
[ "$(execs phone-emmc)" -eq $((before + 1)) ] || fail "the first loader was sent again"
# a unit that was pulled is no such case
[ "$(grep -c LeftEarly "$WORK/monitor")" -eq 1 ] || fail "told too often"
kill $monitor
wait $monitor 2>/dev/null || true
stop_station
trap - EXIT
echo "1 passed, 0 failed"
