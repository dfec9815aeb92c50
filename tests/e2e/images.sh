#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Files that are not what their partition holds are refused before a byte is sent; sparse images are expanded here or there; what the
# device holds already is not written again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=4M --sparse=System >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/wrong.pac" --size=System=4M --file=BOOT=head=AVB0 >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/signed.pac" --size=System=4M --file=FDL=head=DHTB >/dev/null
start_bus
start_daemon
cd "$WORK"
port=$(port_of phone)
expect 0 fdlctl -q import phone.pac wrong.pac signed.pac

# no byte goes to the device for any of these
printf 'AVB0%01000d' 0 >vbmeta.img
printf 'ANDROID!%04000d' 0 >boot.img
head -c 8192 /dev/zero | tr '\0' 'x' >noise
expect 9 fdlctl --yes --package=phone.pac --slot="$port" write boot=vbmeta.img
says "claim-plan-image-type"
says "the file for boot is a vbmeta image, and an Android boot image belongs there"
expect 9 fdlctl --yes --package=phone.pac --slot="$port" write vbmeta=boot.img
expect 9 fdlctl --yes --package=phone.pac --slot="$port" write splloader=boot.img
says "a loader belongs there"
expect 9 fdlctl --yes --package=signed.pac --slot="$port" write uboot=noise
says "no signature (DHTB header)"
expect 9 fdlctl flash --yes wrong.pac --slot="$port"
says "BOOT, which goes to boot, is a vbmeta image, and an Android boot image belongs there."
for name in boot vbmeta dtbo recovery; do
        expect 9 fdlctl --yes --package=phone.pac --slot="$port" write "$name=noise"
        says "the file for $name is data of no known kind"
done
says "--any-image"
expect 9 fdlctl -q write --yes --package=phone.pac --slot="$port" boot=phone.pac
simctl '{"cmd":"describe","device":"phone"}' | grep -q '"stage":"brom"' || fail "something was sent"
expect 2 fdlctl flash phone.pac --sparse=perhaps
expect 0 fdlctl plan wrong.pac --any-image

# expanded here, then found to be there already, then expanded by the loader: the same flash each time
expect 0 fdlctl -q flash --yes phone.pac --slot="$port"
cp -a "$WORK/flash/phone" first
expect 0 fdlctl -j history --limit=1
says '"expanded":"super"'
written() { simctl '{"cmd":"describe","device":"phone"}' | grep -o '"bytes_written":[0-9]*' | cut -d: -f2; }
for way in "--skip-equal" "--sparse=asis" "--any-image"; do
        simctl '{"cmd":"replug","device":"phone"}' >/dev/null
        before=$(written)
        expect 0 fdlctl -q flash --yes phone.pac "$way" --slot="$port"
        [ "$way" = --skip-equal ] && skipped=$(($(written) - before))
        for file in first/parts/*; do
                cmp "$file" "$WORK/flash/phone/parts/${file##*/}" || fail "$way: ${file##*/} is another"
        done
done
[ "$skipped" -lt 4000000 ] || fail "$skipped bytes were written although they were there"
expect 0 fdlctl -j history --limit=3
says '"skipped":"'
says "boot"
stop_station
trap - EXIT
