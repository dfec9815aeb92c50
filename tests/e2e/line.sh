#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The line: the first article goes alone and is confirmed by a person, the others wait in their boot ROM; a straggler costs its own slot
# only; a unit unlike its cohort pauses the batch before a byte of its flash is changed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
quick=fast=1
enter_world --device=phone-emmc,name=a,port=1-1,seed=1,$quick --device=phone-emmc,name=b,port=1-2,seed=2,$quick \
        --device=phone-emmc,name=c,port=1-3,seed=3,$quick --device=phone-emmc,name=slow,port=1-4,plug=no,seed=4,flash-rate=400k,fdl1-start=5,fdl2-start=10
trap stop_station EXIT
path=/org/fdld/Fdld1/batches
until_batch() {
        for _ in $tries; do
                fdlctl -j show "$path/_$batch" >"$WORK/out" && grep -qF -- "$1" "$WORK/out" && return 0
                sleep 0.05
        done
        cat "$WORK/out" >&2
        fail "batch $batch never said $1"
}
begin_batch() {
        expect 0 fdlctl -q start-batch "$@"
        batch=$(sed -n 's/^batch //p' "$WORK/out")
}
plug() { simctl "{\"cmd\":\"plug\",\"device\":\"$1\"}" >/dev/null; }
swap() {
        simctl "{\"cmd\":\"swap\",\"device\":\"$1\",\"spec\":\"$2\"}" >/dev/null
        plug "$1" || true
}
slots_say() { fdlctl -j slots | grep -oF -- "$1" | wc -l; }

"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon
root=$(port_of a)
root=${root%:*}

# Three are there: one goes, two have been greeted and wait, also for the confirmation.
begin_batch "$WORK/phone.pac" --first-article=confirm --straggler=park --retry=0
until_batch '"FirstArticle":"confirm"'
until_batch '"Passed":1'
for _ in $tries; do [ "$(slots_say '"Action":"wait"')" -eq 2 ] && break; sleep 0.05; done
[ "$(slots_say '"Action":"wait"')" -eq 2 ] || fail "the others do not wait for the first article"
expect 0 fdlctl status
head -1 "$WORK/out" | grep -q "first article to be confirmed" || fail "status does not ask for the confirmation"
sleep 0.3
until_batch '"Passed":1'
# Confirmed while the batch is paused: who waits has not begun, and waits on.
expect 0 fdlctl pause-batch
expect 0 fdlctl confirm
sleep 0.5
until_batch '"Passed":1'
[ "$(slots_say '"Action":"wait"')" -eq 2 ] || fail "the others do not wait for the batch to be resumed"
expect 0 fdlctl resume-batch
until_batch '"Passed":3'
expect 1 fdlctl confirm

# A straggler: flagged, parked; the batch goes on in the other slots meanwhile.
plug slow
for round in 1 2 3; do
        for unit in a b; do swap $unit "phone-emmc,name=$unit,seed=$round$(printf %d "'$unit"),fast=1"; done
        until_batch "\"Passed\":$((3 + 2 * round))"
done
slow_job=$(fdlctl jobs --no-legend | awk '$3 == "running" { print $1 }')
for _ in $tries; do fdlctl -j show "$slow_job" | grep -qF '"Straggler":true' && break; sleep 0.05; done
expect 0 fdlctl -j show "$slow_job"
says '"Straggler":true'
expect 0 fdlctl drain-batch
until_batch '"State":"stopped"'
expect 0 fdlctl -j show "$slow_job"
says '"State":"running"'
simctl '{"cmd":"unplug","device":"slow"}' >/dev/null

# Another storage than that of the units before: nothing is written to it, and the line stops.
begin_batch phone.pac --slots="$root:1,$root:2" --retry=0
swap a "phone-emmc,name=a,seed=501,fast=1"
until_batch '"Passed":1'
swap b "phone-emmc,name=b,seed=502,fast=1,storage=ufs"
until_batch '"State":"paused"'
until_batch 'differs from the others'
before=$(simctl '{"cmd":"describe","device":"b"}' | grep -o '"bytes_written":[0-9]*')
[ "$before" = '"bytes_written":0' ] || fail "the unit that differs was written to: $before"
expect 0 fdlctl history --code=identify-mismatch-cohort
says identify-mismatch-cohort
expect 0 fdlctl stop-batch "$batch"

# A unit leaves the bus when its first loader starts; somebody takes it out and puts the next one in. That one is flashed as it is.
begin_batch phone.pac --slots="$root:1,$root:9" --retry=0
swap a "phone-emmc,name=a,seed=601,fast=1,brom-refuse=drop"
for _ in $tries; do fdlctl -j slots | grep -qF '"Device":"/","Job":"/org' && break; sleep 0.05; done
sleep 3.2
swap a "phone-emmc,name=a,seed=602,fast=1"
until_batch '"Passed":1'
until_batch '"Failed":1'
expect 0 fdlctl history --code=exec-fdl1-mismatch-other-unit --batch="$batch" --no-legend
[ "$(wc -l <"$WORK/out")" -eq 1 ] || fail "the first of the two has no record: $(cat "$WORK/out")"
[ "$(simctl '{"cmd":"describe","device":"a"}' | grep -o '"power_cycles":[0-9]*')" = '"power_cycles":1' ] || fail "the next unit had to be plugged in again"
# After a restart a slot says what it wants, as before: its good unit, which runs its own system now, is to be taken out.
soon '"Device":"/"' fdlctl -j show "$root:1"
stop_daemon
start_daemon
soon '"Action":"unplug"' fdlctl -j show "$root:1"
says '"Action":"unplug"'
says '"State":"passed"'
expect 0 fdlctl -j show "$root:9"
says '"Action":"plug-in"'
stop_station
trap - EXIT
echo "first article, straggler, cohort"
