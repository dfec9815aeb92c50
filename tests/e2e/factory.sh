#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Factory mode: the phase-check area is made anew with a serial number, which is given, asked for, or the next of a range. A number is used
# by a pass alone, given to nobody twice, refused if a unit got it before, and told to nobody who may not read records.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
devices=()
for i in 1 2 3 4; do devices+=("--device=phone-emmc,name=u$i,port=1-$i"); done
enter_world --fast "${devices[@]}" --device=uis8850,name=m,image-check=0,port=1-5,plug=no --device=uis8910,name=n,image-check=0,port=1-6,plug=no
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n[Factory]\nStations=DOWNLOAD CAL MMI\n' >"$WORK/etc/fdld.conf"
for p in phone uis8850 uis8910; do "$FDLD_BUILD/pacmaker" $p "$WORK/$p.pac" >/dev/null; done
start_bus
start_daemon

# bytes FILE OFFSET LENGTH: as text, without zeros
bytes() { dd if="$1" bs=1 skip="$2" count="$3" status=none | tr -d '\0'; }
area() { find "$WORK/flash/$1" -name "$2" | head -n 1; }
# phone_holds UNIT NUMBER
phone_holds() {
        local file
        file=$(area "$1" miscdata)
        [ "$(bytes "$file" 0 4)" = 51PS ] && [ "$(bytes "$file" 4 64)" = "$2" ] && [ "$(bytes "$file" 136 15)" = DOWNLOAD ] ||
                fail "the phase-check area of $1 does not hold $2: $(dd if="$file" bs=512 count=1 status=none | xxd | head -n 12)"
        # the bits of DOWNLOAD, and of no other: passed, tested
        [ "$(dd if="$file" bs=1 skip=484 count=8 status=none | xxd -p)" = fefffffffeffffff ] || fail "the bits of the stations are wrong"
}
replug() {
        simctl "{\"cmd\":\"replug\",\"device\":\"$1\",\"delay\":20}" >/dev/null
        sleep 0.2
}
# asks JOB: it waits for a number
asks() {
        for _ in $tries; do
                fdlctl -j show "$1" >"$WORK/out" && grep -qF '"UserAction":"serial-number"' "$WORK/out" && return 0
                sleep 0.05
        done
        cat "$WORK/out" >&2
        fail "job $1 never asked"
}
flash_in() { # SLOT-UNIT OPTION…
        local unit=$1
        shift
        start_job flash phone.pac --mode=factory --slot="$(port_of "$unit")" "$@"
}

# ---- a number of the job's own, and what else factory mode does
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 0 fdlctl plan "$WORK/phone.pac" --mode=factory
says "not calibrated"
flash_in u1 --serial=GIVEN-0001
expect 0 fdlctl -q wait "$job"
phone_holds u1 GIVEN-0001
expect 0 fdlctl -j history --serial=GIVEN-0001
says '"serial-written":"GIVEN-0001"'
expect 0 fdlctl -j vault
says '"miscdata"'
says '"l_fixnv1"'
# Never twice, whoever says it, and without a device already.
replug u1
expect 9 fdlctl -q flash phone.pac --mode=factory --slot="$(port_of u1)" --serial=GIVEN-0001
says "was given to another unit before (job $job)"
expect 2 fdlctl -q flash phone.pac --serial=GIVEN-0009 --slot="$(port_of u1)"
says "in factory mode only"
expect 2 fdlctl -q flash phone.pac --mode=factory --slot="$(port_of u1)" --serial="BAD NUMBER"
expect 2 fdlctl -q flash phone.pac --mode=factory --slot="$(port_of u1)" --serials=0001-0500
says "A range looks like"

# ---- asked for while the device waits: by D-Bus, by fdlctl; a duplicate is refused and the job asks on
flash_in u1
asks "$job"
grep -qE '"AnswerByUSec":[0-9]{16},' "$WORK/out" || fail "no deadline: $(cat "$WORK/out")"
expect 0 fdlctl -j slots
says '"Action":"serial-number"'
expect 9 fdlctl answer "$job" GIVEN-0001
says "still asks for one"
expect 2 fdlctl answer "$job" "NOT A NUMBER"
expect 2 fdlctl answer "$job"
says "none was given"
busctl --address="$DBUS_SYSTEM_BUS_ADDRESS" call org.fdld.Fdld1 "/org/fdld/Fdld1/jobs/_$job" org.fdld.Fdld1.Job Answer 'sa{sv}' \
        serial-number 1 serial s ASKED-0001 >"$WORK/out" 2>&1 || fail "not answered: $(cat "$WORK/out")"
expect 0 fdlctl -q wait "$job"
phone_holds u1 ASKED-0001
flash_in u2
asks "$job"
echo ASKED-0002 | fdlctl answer "$job" || fail "not answered from a pipe"
expect 0 fdlctl -q wait "$job"
phone_holds u2 ASKED-0002

# ---- cancelled, and stopped, while it asks: nothing was written
before=$(sha256sum "$(area u3 miscdata)")
flash_in u3
asks "$job"
expect 0 fdlctl cancel "$job"
expect 6 fdlctl -q wait "$job"
replug u3
flash_in u3
asks "$job"
simctl '{"cmd":"unplug","device":"u3"}' >/dev/null
expect 4 fdlctl -q wait "$job"
says "left the bus while it waited for its serial number"
simctl '{"cmd":"plug","device":"u3"}' >/dev/null
sleep 0.2
flash_in u3
asks "$job"
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
expect 1 fdlctl answer "$job" TOO-LATE
expect 0 fdlctl -j show "$job"
says '"interrupted"'
[ "$(sha256sum "$(area u3 miscdata)")" = "$before" ] || fail "miscdata was written before the number was known"
replug u3

# ---- nobody answers
printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n[Factory]\nAnswerTimeoutSec=1\nStations=DOWNLOAD CAL MMI\n' >"$WORK/etc/fdld.conf"
kill -HUP "$daemon_pid"
flash_in u3
expect 9 fdlctl -q wait "$job"
says "Nobody said the serial number"
replug u3

# ---- a range over all slots at once; one unit fails after it got its number, and its number goes to another
simctl '{"cmd":"fault","device":"u2","fault":"at=fdl2:end nak=a2 count=1"}' >/dev/null || fail "no such fault"
expect 0 fdlctl -q start-batch phone.pac --mode=factory --serials=AB24:0001-0004 --retry=0 --reflash --stop-after=never
batch=$(sed -n 's/^batch //p' "$WORK/out")
for i in 1 2; do replug "u$i"; done # the others are there
batch_says() { soon "$1" fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"; }
batch_says '"Passed":3'
batch_says '"Failed":1'
replug u2
batch_says '"Passed":4'
numbers=$(for i in 1 2 3 4; do bytes "$(area "u$i" miscdata)" 4 64; echo; done | sort | tr '\n' ' ')
[ "$numbers" = "AB240001 AB240002 AB240003 AB240004 " ] || fail "the numbers are: $numbers"
# There are no more.
simctl '{"cmd":"swap","device":"u4","spec":"phone-emmc,name=u4,seed=77"}' >/dev/null
batch_says '"Failed":2'
expect 0 fdlctl -j history --limit=1
says serials-used-up
expect 0 fdlctl stop-batch "$batch"

# ---- modules: SP09
for unit in m n; do
        simctl "{\"cmd\":\"plug\",\"device\":\"$unit\"}" >/dev/null
        pac=uis8850
        [ $unit = m ] || pac=uis8910
        expect 0 fdlctl -q flash "$WORK/$pac.pac" --mode=factory --serial="MOD$unit" --slot="$(port_of $unit)"
        file=$(area $unit phasecheck.bin)
        [ "$(bytes "$file" 0 4)" = 90PS ] && [ "$(bytes "$file" 4 24)" = "MOD$unit" ] && [ "$(bytes "$file" 66 10)" = CAL ] ||
                fail "the phase-check area of $unit is wrong: $(xxd "$file")"
        # Their loader puts the old area back with the NV when all is erased: the new one comes behind it.
        replug $unit
        expect 0 fdlctl -q flash "$WORK/$pac.pac" --mode=factory --serial="ALL$unit" --erase-all --slot="$(port_of $unit)"
        [ "$(bytes "$file" 4 24)" = "ALL$unit" ] || fail "the serial number of $unit was undone: $(xxd "$file")"
done
expect 2 fdlctl -q flash uis8850.pac --mode=factory --serial="$(printf 'X%.0s' $(seq 24))"

# ---- first-boot mode
replug u1
expect 0 fdlctl -q flash phone.pac --mode=factory --serial=BBAT1 --first-mode=bbat --slot="$(port_of u1)"
[ "$(dd if="$(area u1 miscdata)" bs=1 skip=$((0x2420)) count=5 status=none | xxd -p)" = 004d465311 ] || fail "the first mode was not written"
expect 9 fdlctl -q flash uis8850.pac --mode=factory --first-mode=bbat

# ---- nothing of it is where everyone may read
{
        fdlctl -j status
        for kind in jobs slots devices batches packages; do fdlctl -j $kind; done
        for j in $(seq "$job"); do fdlctl -j show "$j" || true; done
        fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"
        cat "$WORK/fdld.log"
} >"$WORK/told" 2>&1
for secret in GIVEN-0001 ASKED-0001 ASKED-0002 AB24 BBAT1; do
        ! grep -qF "$secret" "$WORK/told" || fail "everyone may read $secret: $(grep -F "$secret" "$WORK/told" | head -n 2 | cut -c1-400)"
done
