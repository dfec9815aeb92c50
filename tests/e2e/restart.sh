#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The daemon is killed while it writes: the job is interrupted at the step it had reached, queued jobs go on, numbers are not used
# twice, and the unit can be flashed again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --device=phone-emmc,name=unit,fdl2-start=50,flash-rate=4M --device=phone-emmc,name=later,port=1-2
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
# As many finished jobs as are kept: the one that is interrupted later can be retried nevertheless.
later=$(port_of later)
simctl '{"cmd":"unplug","device":"later"}' >/dev/null
ids=()
for _ in $(seq 64); do ids+=("$(fdlctl -q flash phone.pac --slot="$later" --no-wait | sed 's/^job //')"); done
expect 0 fdlctl -q --no-wait cancel "${ids[@]}"
expect 0 fdlctl -q flash phone.pac --slot="$(port_of unit)" --no-wait
running=$(sed 's/^job //' "$WORK/out")
expect 0 fdlctl -q flash phone.pac --slot="$later" --no-wait
queued=$(sed 's/^job //' "$WORK/out")
simctl '{"cmd":"wait","device":"unit","until":"bytes_written>3000000","timeout":60000}' >/dev/null || fail "the job never wrote"
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
expect 0 fdlctl -j show "$running"
says '"Result":"interrupted"'
# The device may just have been checking an image that it had whole.
grep -qE '"Stage":"(write|checking)"' "$WORK/out" || fail "the record does not say that it was writing"
# It is queued until its package was checked again, then it waits for its device.
for _ in $tries; do
        fdlctl -j show "$queued" | grep -q '"State":"waiting"' && break
        sleep 0.05
done
expect 0 fdlctl -j show "$queued"
says '"State":"waiting"'
simctl '{"cmd":"plug","device":"later"}' >/dev/null
expect 0 fdlctl -q --timeout=600 wait "$queued"
# The unit still sits in FDL2: it is picked up as it is.
start_job retry "$running"
[ "$job" -gt "$queued" ] || fail "job numbers went backwards"
expect 0 fdlctl -q --timeout=600 wait "$job"
stop_station
trap - EXIT
echo "killed while writing; interrupted, picked up, mended"
