#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The daemon is killed while a batch writes: the batch goes on by itself and takes up the unit that still sits in its loader.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --device=phone-emmc,name=unit,fdl1-start=5,fdl2-start=50,flash-rate=15M
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon
expect 0 fdlctl -q start-batch "$WORK/phone.pac"
batch=$(sed -n 's/^batch //p' "$WORK/out")
simctl '{"cmd":"wait","device":"unit","until":"bytes_written>3000000","timeout":60000}' >/dev/null || fail "the batch never wrote"
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
soon '"Passed":1' fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"
says '"Failed":0'
expect 0 fdlctl history --no-legend
[ "$(grep -c interrupted "$WORK/out")" -eq 1 ] && [ "$(grep -c ' done ' "$WORK/out")" -eq 1 ] || fail "not one record for each attempt: $(cat "$WORK/out")"
expect 0 fdlctl history --check

# It passed. Now it is flashed by hand, and that is broken off: it is no longer a unit that passed, and a batch does not skip it.
expect 0 fdlctl stop-batch "$batch"
chip=$(fdlctl -j history --result=done | grep -o '"chip-uid":"[^"]*"' | cut -d'"' -f4)
[ -n "$chip" ] || fail "the record does not tell the chip"
simctl '{"cmd":"replug","device":"unit"}' >/dev/null
start_job flash phone.pac --slot="$(port_of unit)"
written=$(simctl '{"cmd":"describe","device":"unit"}' | grep -o '"bytes_written":[0-9]*' | cut -d: -f2)
simctl "{\"cmd\":\"wait\",\"device\":\"unit\",\"until\":\"bytes_written>$((written + 3000000))\",\"timeout\":60000}" >/dev/null || fail "the job never wrote"
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
expect 0 fdlctl -j history --chip="$chip" --result=interrupted
says "\"job\":$job"
says '"must_reflash":true'
packages_ready
expect 0 fdlctl -q start-batch phone.pac
batch=$(sed -n 's/^batch //p' "$WORK/out")
soon '"Passed":1' fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"
says '"Skipped":0'

# Killed three times more with the same loader running: each daemon asks it for its chip UID, which it knows, and not CONNECT, which would cost it
# one of three buffers, so it never falls silent.
simctl '{"cmd":"swap","device":"unit","spec":"phone-emmc,name=unit,fdl1-start=5,fdl2-start=50,flash-rate=15M,seed=9"}' >/dev/null
said() { simctl '{"cmd":"describe","device":"unit"}' | grep -o "\"$1\":[0-9]*" | head -1 | cut -d: -f2; }
unknown=
for _ in 1 2 3 4; do
        written=$(said bytes_written)
        simctl "{\"cmd\":\"wait\",\"device\":\"unit\",\"until\":\"bytes_written>$((written + 1500000))\",\"timeout\":60000}" >/dev/null || fail "the batch does not go on"
        [ -n "$unknown" ] || unknown=$(said unknown)
        kill -9 "$daemon_pid"
        wait "$daemon_pid" 2>/dev/null || true
        start_daemon
done
soon '"Passed":2' fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"
[ "$(said unknown)" = "$unknown" ] || fail "the loader was asked for something that it does not know: $(simctl '{"cmd":"describe","device":"unit"}')"

# An answer that was damaged on its way: the loader proves that nothing is outstanding, so the unit is tried again as it is, in smaller frames.
simctl '{"cmd":"swap","device":"unit","spec":"phone-emmc,name=unit,fdl1-start=5,fdl2-start=50,seed=10,fault=at=fdl2:midst:#40+bad-sum"}' >/dev/null
soon '"Passed":3' fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"
says '"Failed":1'
expect 0 fdlctl -j history --code=write-garbled
says '"device_state":"syncs"'
[ "$(said power_cycles)" = 1 ] || fail "somebody had to plug the unit in again"
stop_station
trap - EXIT
echo "killed while a batch wrote; taken up, passed"
