#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is written is read back: the levels, what a difference looks like to a person, and where the level that was reached is told.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=usual --device=phone-emmc,name=trusted,port=1-2 --device=phone-emmc,name=bad,port=1-3 \
        --device=phone-nand,name=whole,port=1-4 --device=uis8850,name=module,port=1-5,id=1782:4d00,image-check=0
trap stop_station EXIT
for family in phone phone-nand uis8850; do
        "$FDLD_BUILD/pacmaker" "$family" "$WORK/$family.pac" >/dev/null
done
start_bus
start_daemon

# reached JOB LEVEL: the job says it, its record too.
reached() {
        expect 0 fdlctl -j show "$1"
        says "\"Verified\":\"$2\""
        expect 0 fdlctl -j history
        grep -o '"job":'"$1"',.*' "$WORK/out" >"$WORK/record" || fail "job $1 has no record"
        grep -q "\"verify\":\"$2\"" "$WORK/record" || fail "the record of job $1 does not say $2"
}

# One bit of boot falls over in flash: the first file of three megabytes or more that is written.
damage() { simctl "{\"cmd\":\"fault\",\"device\":\"$1\",\"fault\":\"at=fdl2:midst:3000000 bad-readback\"}" >/dev/null; }

expect 2 fdlctl flash --verify=some "$WORK/phone.pac"
says "is no level for --verify"
expect 0 fdlctl plan --verify=ack "$WORK/phone.pac"
! grep -q "read back and compared" "$WORK/out" || fail "ack reads back"
expect 0 fdlctl plan "$WORK/phone.pac"
says "read back and compared"

expect 0 fdlctl -q flash "$WORK/phone.pac" --slot="$(port_of usual)"
reached 2 critical

damage trusted
expect 0 fdlctl -q flash phone.pac --verify=ack --slot="$(port_of trusted)"
reached 3 ack

damage bad
expect 5 fdlctl -q flash phone.pac --slot="$(port_of bad)"
says "verify-mismatch-read-back"
says "boot was written, but reads back differently: first at byte 2097152 "
says "in 1 of 1024 blocks"
says "must be flashed again"

echo '[Station]
Verify=full' >"$WORK/etc/fdld.conf"
kill -HUP "$daemon_pid"
expect 0 fdlctl -q flash "$WORK/phone-nand.pac" --slot="$(port_of whole)"
reached 6 full

expect 0 fdlctl -q flash "$WORK/uis8850.pac" --slot="$(port_of module)"
reached 8 full

# A device is compared with a package, and nothing is written.
simctl '{"cmd":"replug","device":"usual"}' >/dev/null
simctl '{"cmd":"replug","device":"bad"}' >/dev/null
expect 0 fdlctl -q verify phone.pac --slot="$(port_of usual)"
expect 5 fdlctl -q verify phone.pac --slot="$(port_of bad)"
says "verify-mismatch-differs"
says "boot differs from the package: first at byte 2097152 "
! grep -q "must be flashed again" "$WORK/out" "$WORK/err" || fail "nothing was written, and yet the unit is to be flashed again"

stop_daemon
echo "1 passed, 0 failed"
