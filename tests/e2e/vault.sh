#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Calibration that was saved before something was written: it is listed with its unit, comes back to that unit and to no other, and
# survives the loss of the station's disk in a folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone,size=640M --device=phone-emmc,name=other,port=1-2,size=640M,seed=9 \
        --device=uis8850,name=module,port=1-3,image-check=0
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=1782:4d16\n' >"$WORK/etc/fdld.conf"
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
"$FDLD_BUILD/pacmaker" uis8850 "$WORK/module.pac" >/dev/null
cp -a --sparse=always "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac" "$WORK/module.pac"
phone=$(port_of phone) other=$(port_of other) module=$(port_of module)
cd "$WORK"

entry() { # PATTERN: the id of the newest whose line has it
        fdlctl vault list >list
        grep -m 1 -E "$1" list | cut -c1-32
}
nv_is() { # DEVICE: its calibration is what it was at the beginning
        cmp "before/$1/parts/l_fixnv1" "flash/$1/parts/l_fixnv1" && cmp "before/$1/parts/l_fixnv2" "flash/$1/parts/l_fixnv2" || fail "the NV of $1 is not what it was"
}

expect 0 fdlctl vault
says "0 items"
# Erasing calibration saves it first.
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing erase l_fixnv1 l_fixnv2
cmp -s before/phone/parts/l_fixnv1 flash/phone/parts/l_fixnv1 && fail "nothing was erased"
id=$(entry "chip:.*l_fixnv1")
[ ${#id} = 32 ] || fail "the vault has no entry for the unit: $(fdlctl vault)"

# Damaged calibration is named, with the ways out.
expect 0 fdlctl explain backup-refused-84
says "fdlctl vault restore"

# Not to another unit, whatever it is called.
expect 5 fdlctl --device="$other" --package=phone.pac --yes --finish=nothing vault restore "$id"
says "and this is another one"
nv_is other
expect 0 fdlctl --device="$phone" --package=phone.pac --dry-run vault restore "$id"
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing vault restore "$id"
nv_is phone

# A module says who it is only in what is to be restored.
expect 0 fdlctl -q --device="$module" --finish=nothing flash module.pac
module_id=$(entry "(imei|nv):")
expect 9 fdlctl -q --device="$module" --package=module.pac --yes --finish=nothing vault restore "$module_id"
says "cannot prove who it is"
expect 3 fdlctl vault restore 00000000000000000000000000000000
expect 2 fdlctl vault restore nonsense
expect 2 fdlctl vault lose

# The disk of the station dies; a folder has all of it.
expect 0 fdlctl -q vault export saved
expect 9 fdlctl -q vault export saved
[ "$(stat -c %a "saved/$id.img")" = 600 ] || fail "everybody may read calibration"
expect 0 fdlctl vault import saved
says "0 entries were taken in"
stop_daemon
rm -rf "${WORK:?}/state"/*
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
cp -a saved tampered
printf x | dd of="tampered/$id.img" bs=1 seek=100 conv=notrunc 2>/dev/null
expect 5 fdlctl vault import tampered
expect 0 fdlctl vault import saved
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing erase l_fixnv1 l_fixnv2
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing vault restore "$id"
nv_is phone

# Of the disk only the index is lost: the files are there, are found, and are taken for what they are.
before=$(fdlctl vault --no-legend | wc -l)
stop_daemon
rm "$WORK"/state/fdld.db*
start_daemon
for _ in $tries; do
        [ "$(fdlctl vault --no-legend | grep -cE ' recovered .* (recovered|blank)$')" -ge "$before" ] && break
        sleep 0.05
done
[ "$(fdlctl vault --no-legend | grep -cE ' recovered .* (recovered|blank)$')" -eq "$before" ] || fail "files of the vault are not found: $(fdlctl vault)"
expect 9 fdlctl -q --device="$phone" --package=phone.pac --yes vault restore "$id"
says "was lost"
expect 0 fdlctl vault import saved
says "; 0 were here already"
[ "$(entry "$id")" = "$id" ] || fail "the entry is not known again"
expect 0 fdlctl vault export again
cmp "saved/$id.img" "again/$id.img" || fail "the entry is not what it was"
stop_station
trap - EXIT
echo "saved, kept from others, restored, brought over"
