#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A job and its unit: another one that comes back on the port after the first loader was started, or that sits there when the daemon is back,
# is refused; a unit that comes back after the deadline is taken as a new one, and said.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --controllers=2 --device=phone-emmc,fast,name=swapped,second-enum,reenum-delay=60000 --device=phone-emmc,fast,name=late,second-enum,reenum-delay=5500 \
        --device=phone-emmc,fast,name=killed
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Timeouts]\nSecondEnumerationSec=4\nMidstSec=20\n' >"$WORK/etc/fdld.conf"
small=(--remove=Recovery --size=System=256K --size=BOOT=256K)
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" "${small[@]}" >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/again.pac" "${small[@]}" --second-enum >/dev/null
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac" "$WORK/again.pac"

wait_stage() { # JOB STAGE
        for _ in $tries; do
                fdlctl -j show "$1" | grep -q "\"Stage\":\"$2\"" && return 0
                sleep 0.02
        done
        fail "job $1 did not come to $2: $(fdlctl -j show "$1")"
}

# late: the deadline passes, and the unit comes back all the same
late=$(port_of late)
start_job flash again.pac --slot="$late"
gone=$job

# swapped: while it is off the bus another unit is put into its place
start_job flash again.pac --slot="$(port_of swapped)"
wait_stage "$job" reenumerate
simctl '{"cmd":"swap","device":"swapped"}' >/dev/null
expect 5 fdlctl -q --timeout=600 wait "$job"
says "mismatch-other-unit"
says "another unit in this slot: what came back"
simctl '{"cmd":"describe","device":"swapped"}' | grep -q '"bytes_written":0' || fail "the other unit was written to"
expect 0 fdlctl explain reenumerate-mismatch-other-unit

expect 4 fdlctl -q --timeout=600 wait "$gone"
says "gone"
for _ in $tries; do
        fdlctl -j show "$gone" | grep -q "a device came back to this slot [0-9.]* s after job $gone gave up" && break
        sleep 0.02
done
expect 0 fdlctl -j show "$gone"
says "a device came back to this slot"
grep -q "came back to this slot [0-9.]* s after job $gone gave up; it is taken as a new one" "$WORK/fdld.log" || fail "it is not in the journal"
expect 0 fdlctl -q --timeout=600 flash phone.pac --slot="$late"
expect 0 fdlctl -j history
says "this device came back"

# killed: another unit sits in the socket when the daemon is back
killed=$(port_of killed)
simctl '{"cmd":"fault","device":"killed","fault":"at=fdl2:midst:#3 slow=3000"}' >/dev/null
start_job flash phone.pac --slot="$killed"
wait_stage "$job" write
kill -KILL "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
simctl '{"cmd":"swap","device":"killed"}' >/dev/null
start_daemon
for _ in $tries; do # the package is looked at first
        fdlctl -q --no-wait retry "$job" >"$WORK/out" 2>"$WORK/err" && break
        sleep 0.05
done
again=$(sed -n 's/^job //p' "$WORK/out")
expect 5 fdlctl -q --timeout=600 wait "$again"
says "identify-mismatch-other-unit"
simctl '{"cmd":"describe","device":"killed"}' | grep -q '"bytes_written":0' || fail "the other unit was written to"
simctl '{"cmd":"replug","device":"killed"}' >/dev/null
expect 0 fdlctl -q --timeout=600 flash phone.pac --slot="$killed"
stop_station
trap - EXIT
echo "1 passed, 0 failed"
