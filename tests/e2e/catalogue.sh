#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The entries of the protocol's failure catalogue that need a USB stack or a job of another kind than flashing: a device that fails so,
# its code, and the cause that is named first. The others are in tests/matrix/test-catalogue.c.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --controllers=2 --device=phone-emmc,name=closed,perm=denied --device=phone-emmc,name=held,held-by=program \
        --device=phone-emmc,name=drops,plug=no --device=phone-emmc,name=short,plug=no --device=phone-emmc,name=blank,nv=both-bad,plug=no \
        --device=phone-emmc,name=system,id=1782:4d03,plug=no --device=phone-emmc,name=chain,plug=no --device=phone-emmc,name=nospl,plug=no --device=phone-emmc,name=key,brom-window=1500,plug=no
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=1M --size=BOOT=256K --size=Recovery=256K >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/part.pac" --size=System=1M --size=BOOT=256K --size=Recovery=256K --seed=2 \
        --remove=UBOOTLoader --remove=SPLLoader --remove=EraseSPL >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/nouboot.pac" --size=System=1M --size=BOOT=256K --size=Recovery=256K --seed=3 --remove=UBOOTLoader >/dev/null
mkdir -p "$WORK/etc"
printf '[Timeouts]\nReadMSec=1000\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
cd "$WORK"

# fails_as ENTRY CODE CAUSE JOB: the job failed with that code, and that is the first thing that a person reads.
fails_as() {
        expect 0 fdlctl -j show "$4"
        says "\"code\":\"$2\""
        grep -o '"causes":\["[^"]*"' out | head -n 1 | grep -qi -- "$3" || {
                grep -o '"causes":\[[^]]*\]' out >&2
                fail "$1: the first cause of $2 does not say \"$3\""
        }
}
last_job() { fdlctl -j history --kind=read --limit=1 | tr -d " \n" | grep -oE "\"(job|id)\":[0-9]+" | head -n 1 | cut -d: -f2; }

# reads UNIT STATUS FAULT PARTITION
reads() {
        simctl "{\"cmd\":\"plug\",\"device\":\"$1\"}" >/dev/null
        [ -z "$3" ] || simctl "{\"cmd\":\"fault\",\"device\":\"$1\",\"fault\":\"$3\"}" >/dev/null
        expect "$2" fdlctl -q --device="$(port_of "$1")" --package=phone.pac read "$4=$1.img"
}

start_job flash phone.pac --slot="$(port_of closed)"
expect 1 fdlctl -q --timeout=600 wait "$job"
fails_as F3 claim-host-permission "udev rules" "$job"
start_job flash phone.pac --slot="$(port_of held)"
expect 1 fdlctl -q --timeout=600 wait "$job"
fails_as F3 claim-host-busy "another flashing tool" "$job"

simctl '{"cmd":"plug","device":"key"}' >/dev/null
simctl '{"cmd":"fault","device":"key","fault":"at=brom:sync silence count=forever"}' >/dev/null
start_job flash phone.pac --slot="$(port_of key)"
expect 4 fdlctl -q --timeout=600 wait "$job"
fails_as F1 handshake-gone "boot key" "$job"

reads drops 4 "at=fdl2:read-midst:0x4000000 disconnect" super
fails_as F17 read-gone "RAM" "$(last_job)"
reads short 4 "at=fdl2:read-midst:#20 truncate count=forever" super
fails_as F18 read-garbled "larger than the loader can send" "$(last_job)"
reads blank 4 "" l_fixnv1
fails_as F21 read-refused-84 "copies of the data are damaged" "$(last_job)"

# blank UNIT FILE…: nothing is in these places of its flash any more.
blank() {
        local file unit=$1
        shift
        for file in "$@"; do
                dd if=/dev/zero of="$WORK/flash/$unit/$file" bs=64K count=16 conv=notrunc status=none
        done
}
# comes_back ENTRY UNIT PACKAGE CODE CAUSE: the package is flashed, the job is done, and the unit stands in download mode again instead of starting.
comes_back() {
        simctl "{\"cmd\":\"plug\",\"device\":\"$2\"}" >/dev/null
        start_job flash "$3" --slot="$(port_of "$2")"
        expect 0 fdlctl -q --timeout=600 wait "$job"
        soon "$4" fdlctl -j show "$job"
        says '"Result":"done"'
        grep -q -- "$5" out || fail "$1: the cause is not named: $(cat out)"
        fdlctl -j explain "$4" | grep -o '"causes":\["[^"]*"' | grep -q -- "$5" || fail "$1: $4 is explained in another way"
}
expect 0 fdlctl -q import "$WORK/part.pac" "$WORK/nouboot.pac"
blank chain parts/uboot parts/uboot_bak
comes_back F22 chain nouboot.pac finish-mismatch-boot-rom "boot chain is incomplete"
blank nospl boot1.bin boot2.bin
comes_back F23 nospl part.pac finish-mismatch-autodloader "erased on purpose"
# What the catalogue says is what helps: the whole package, boot loader included.
start_job flash phone.pac --slot="$(port_of nospl)"
expect 0 fdlctl -q --timeout=600 wait "$job"
simctl '{"cmd":"describe","device":"nospl"}' | grep -q '"bootable":true' || fail "the unit does not start with the whole package"
# A batch knows what it has flashed: it is no new unit, however often it comes back.
chain=$(port_of chain)
simctl '{"cmd":"unplug","device":"chain"}' >/dev/null
expect 0 fdlctl -q start-batch nouboot.pac --slots="$chain"
simctl '{"cmd":"plug","device":"chain"}' >/dev/null
soon '"Skipped":1' fdlctl -j batches
says '"Passed":0'
# A job that meets it again at once knows it for certain.
simctl '{"cmd":"unplug","device":"nospl"}' >/dev/null
blank nospl boot1.bin boot2.bin
comes_back F23 nospl part.pac finish-mismatch-autodloader "erased on purpose"
start_job flash phone.pac --slot="$(port_of nospl)"
expect 0 fdlctl -q --timeout=600 wait "$job"
fdlctl -j show "$job" | grep -q "this very unit, and it is in download mode again at once: its boot loader was erased on purpose" || fail "the same unit is not known again: $(fdlctl show "$job")"

simctl '{"cmd":"plug","device":"system"}' >/dev/null
for _ in $tries; do
        fdlctl devices >out 2>&1
        grep -q "4d03" out && break
        sleep 0.05
done
expect 0 fdlctl devices
grep -qE '4d03 +not-boot' out || fail "F26: a device that is not in download mode is not told as such: $(cat out)"
stop_station
trap - EXIT
echo "nine entries of the catalogue, each with its device and its cause"
