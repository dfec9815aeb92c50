#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The four real packages onto their devices, over everything: flash is compared byte for byte, the unit's own IMEIs and calibration
# are still there, and the commands are as many as the vendor's tools send (plus the extra reads before the first erase). Packages
# whose NV does not fit the unit's are refused before the first erase.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages
enter_world --fast --device=uis8910,name=cat1,port=1-1 --device=uis8850,name=full,port=1-2 --device=uis8850,name=app,port=1-3 \
        --device=uis8850,name=erase,port=1-4 --device=uis8850,name=other,port=1-5,image-check=0
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n' >"$WORK/etc/fdld.conf"
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$FDLD_TEST_PACS"/uis8910_full.pac "$FDLD_TEST_PACS"/uis8850_{full,app_only,erase_only}.pac

# counted UNIT COMMAND: how many of them the unit has seen.
counted() {
        local n
        n=$(simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -o "\"$2\":[0-9]*" | head -n 1)
        echo "${n##*:}"
}

# sent UNIT COMMAND=N…
sent() {
        local unit=$1 want
        for want in "${@:2}"; do
                [ "$(counted "$unit" "${want%=*}")" = "${want#*=}" ] || fail "$unit: $(counted "$unit" "${want%=*}") times ${want%=*}, not ${want#*=}"
        done
}

# flashed UNIT PACKAGE
flashed() {
        expect 0 fdlctl -q --timeout=600 flash "$2" --verify=ack --slot="$(port_of "$1")"
        "$FDLD_BUILD/flashcheck" "$FDLD_TEST_PACS/$2" "$WORK/before/$1" "$WORK/flash/$1" || fail "$2: flash is not what it must be"
        simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -q '"bootable":true' || fail "$2: the unit does not boot"
        for item in imei.bin phasecheck.bin nv0002.bin nv026e.bin; do
                [ ! -f "$WORK/before/$1/FFAC/$item" ] || cmp -s "$WORK/before/$1/FFAC/$item" "$WORK/flash/$1/FFAC/$item" || fail "$2: $item is not the unit's own any more"
        done
        [ -s "$WORK/before/$1/FFAC/imei.bin" ] || fail "$2: the unit had no IMEI, nothing was proven"
}

flashed cat1 uis8910_full.pac
# FDL2, BOOTLOADER, AP, PS, NV, PREPACK: 25+21+633+1280+64+1 packets.
sent cat1 pdl-e4=1 pdl-e5=7 pdl-e6=1 pdl-e7=1 start=6 midst=2024 end=6 exec=1 erase=2 read=24 reset=1
# What could not be proven stands in the record, also after a restart.
expect 0 fdlctl -j jobs
cat1_job=$(grep -o '"Id":[0-9]*,"Kind":"flash"' "$WORK/out" | head -n 1 | grep -o '[0-9]*')
stop_daemon
start_daemon
expect 0 fdlctl -j show "$cat1_job"
says "NV not proven: it was acknowledged"
says "identity not proven"
flashed full uis8850_full.pac
# FDL, BOOT, NV, AP, APPIMG, CP, INDELTANV, SPL; the last 14 of the reads check the NV.
sent full start=8 midst=1445 end=8 exec=1 erase=3 read=44 reset=1

# The first boot stage stays as it is, and so does everything but the application.
flashed app uis8850_app_only.pac
sent app start=2 midst=148 end=2 exec=1 reset=1 erase= read=
flashed erase uis8850_erase_only.pac
sent erase start=1 midst=130 end=1 exec=1 erase=1 reset=1 read=

# does_not_fit CODE TEXT: the real package on the unit as it is now; nothing may be erased or written.
does_not_fit() {
        cp -a "$WORK/flash/other" "$WORK/other"
        expect 5 fdlctl -q --timeout=600 flash "${3:-uis8850_full.pac}" --slot="$(port_of other)"
        says "$1"
        says "$2"
        says 'what to do:'
        diff -r "$WORK/other" "$WORK/flash/other" >/dev/null || fail "$1: the unit was changed"
        [ -z "$(counted other erase)" ] || fail "$1: something was erased"
        simctl '{"cmd":"replug","device":"other"}' >/dev/null
        rm -rf "$WORK/other" "$WORK/flash/other/FFAC"
        cp -a "$WORK/before/other/FFAC" "$WORK/flash/other/FFAC"
}

items=$WORK/flash/other/FFAC
rm "$items/nv026e.bin"
does_not_fit backup-mismatch-nv-device-id 'LTE Calibration (0x26e)'
truncate -s 100 "$items/nv026e.bin"
does_not_fit backup-mismatch-nv-length '100 bytes in the device'
printf '\377\377' | dd of="$items/nv0002.bin" bs=1 conv=notrunc status=none
does_not_fit backup-mismatch-nv 'has an unknown version'
printf '\013\377' | dd of="$items/nv0002.bin" bs=1 conv=notrunc status=none
does_not_fit backup-mismatch-nv-version '0xff0b in the device, 0xff0a in the package'
"$FDLD_BUILD/pacmaker" uis8850 "$WORK/odd.pac" '--xml=<ID>0x26e</ID>=><ID>0x777</ID>'
does_not_fit backup-mismatch-nv-file-id 'LTE Calibration (0x777)' "$WORK/odd.pac"
stop_station
trap - EXIT
echo "four real packages, command by command"
