#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Single things of a phone are damaged: each is found, named, mended from the package or from a backup, and everything else stays as it
# was, byte for byte. Nothing broken, another version, another table, a loader that shows nothing: said, and nothing written.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
unit="phone-ufs-ab,size=256M,fixnv=0x180000,table=$here/repartition.table"
enter_world --fast --controllers=2 --device="$unit,name=one"
trap stop_station EXIT
table=
while read -r name before _; do
        [ "$before" != rest ] || before=0xFFFFFFFF
        case $name in '' | '#'*) ;; *) table+=${table:+,}$name=$before ;; esac
done <"$here/repartition.table"
make_pac() {
        "$FDLD_BUILD/pacmaker" phone-ab "$WORK/$1.pac" --remove=CH_SYS --remove=EraseMisc --size=Super=2M --size=BOOT=512K --size=Vendor_boot=512K --size=FDL2=128K \
                --file=NV_NR=limit=0x100000 --file=ProdNV=limit=0x400000 --partitions="$table" \
                --file=UBOOTLoader=head=DHTB --file=SML=head=DHTB --file=BOOT=head=DHTB --file=VBMETA=head=AVB0 --file=Modem_NR=head=DHTB "${@:2}" >/dev/null
}
make_pac ab
make_pac newer --seed=99
start_bus
start_daemon
cd "$WORK"
expect 0 fdlctl -q import ab.pac newer.pac
rm ab.pac newer.pac # their names are those of the store from here on
at=$(port_of one)
flash=$WORK/flash/one
fresh() { simctl '{"cmd":"replug","device":"one"}' >/dev/null; } # a power cycle: what loaders hold in RAM is gone
expect 0 fdlctl -q flash ab.pac --slot="$at"
fresh
expect 0 fdlctl -q --device="$at" --package=ab.pac --yes --finish=nothing backup saved
fresh
cp -a --sparse=always "$flash" good

# same: the flash is what it was before it was damaged
same() {
        diff -rq good "$flash" >differences || true
        [ ! -s differences ] || { cat differences >&2; fail "$1: the flash is not what it was"; }
}
written() { simctl '{"cmd":"describe","device":"one"}' | grep -o '"bytes_written":[0-9]*' | cut -d: -f2; }
over() { # FILE OFFSET BYTES: each of them becomes another one
        dd if="$flash/$1" bs=1 skip="$2" count="$3" status=none | LC_ALL=C tr '\000-\377' '\200-\377\000-\177' >noise
        dd if=noise of="$flash/$1" bs=1 seek="$2" conv=notrunc status=none
}
zero() { dd if=/dev/zero of="$flash/$1" bs=1 seek="$2" count="$3" conv=notrunc status=none; }
# mend WHAT SAYS [SOURCE]: it is broken; named as SAYS, mended, and all is as before
mend() {
        fresh
        diff -rq good "$flash" >/dev/null && fail "$1: nothing was damaged"
        start_job --yes repair --from="${3:-ab.pac}" --slot="$at"
        expect 0 fdlctl -q --timeout=600 wait "$job"
        expect 0 fdlctl -j show "$job"
        says "broken: $2"
        says "mended and read back:"
        same "$1"
}

# nothing broken: said, nothing written
before=$(written)
start_job --yes repair --from=ab.pac --slot="$at"
expect 0 fdlctl -q --timeout=600 wait "$job"
expect 0 fdlctl -j show "$job"
says '"Kind":"repair"'
says "nothing is broken: "
same nothing
[ "$(written)" = "$before" ] || fail "something was written although nothing is broken"

over parts/uboot_b 100000 1
mend "second copy" "uboot_b (differs from byte 100000 on"
over parts/uboot_a 100 3000
zero parts/uboot_b 0 600
mend "both copies" "uboot_a (differs from byte 100 on, in 1 of 192 blocks), uboot_b (it has no header)"
zero boot1.bin 0 512
mend "block before the SPL" "splloader (the block before it is empty)"
over boot2.bin 20000 9
mend "second SPL" "splloader_bak (differs from byte 20000 on"
over parts/boot_a 300 2
mend "boot header" "boot_a (its header differs at byte 300, its data do not)"
zero parts/vbmeta_a 0 4096
mend vbmeta "vbmeta_a (its header differs at byte 0, its data do not)"
zero parts/nr_modem_a 0 512
mend "modem header" "nr_modem_a (its header differs at byte 0, its data do not)"
over parts/misc $((0x800 + 28)) 4
mend "slot sum" "misc (the sum of the block that chooses the slot is wrong)"
over gpt.bin 8300 20
mend "first GPT" "partition table (the first copy is damaged)"
over gpt-backup.bin 100 20
mend "second GPT" "partition table (the second copy is damaged)" saved
zero gpt.bin 0 8192
zero gpt-backup.bin 0 20480
mend "both GPTs" "partition table (no copy of it is whole)"
over parts/misc $((0x800)) 12
mend "slot block" "misc (the block that chooses the slot is damaged)" saved
over parts/sml_a 700 1
over parts/boot_a 5 1
mend "several" "sml_a (differs from byte 700 on" saved

# refused, and nothing written
before=$(written)
fresh
expect 5 fdlctl -q --timeout=600 --yes repair --from=newer.pac --slot="$at"
says "verify-mismatch-source"
fresh
expect 2 fdlctl -q repair --from=ab.pac --slot="$at"
says "Add --yes"
expect 2 fdlctl -q repair
expect 0 fdlctl --dry-run repair --from=ab.pac
says "repair-table"
expect 0 fdlctl --dry-run repair --from=saved
says "uboot_a"
make_pac other --partitions="${table/miscdata=1/miscdata=2}"
expect 5 fdlctl -q --timeout=600 --yes repair --from=other.pac --slot="$at"
says "whole, but another one than the source's: miscdata is 1 MiB on the device, 2 MiB in the package"
fresh
simctl '{"cmd":"fault","device":"one","fault":"at=fdl2:read-start nak=fe count=forever"}' >/dev/null
expect 9 fdlctl -q --timeout=600 --yes repair --from=ab.pac --slot="$at"
says "plan-unreadable"
says "does not show what is in flash"
same refused
[ "$(written)" = "$before" ] || fail "something was written to a unit that was refused"

stop_station
trap - EXIT
echo "1 passed, 0 failed"
