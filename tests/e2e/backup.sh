#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A whole device out and back in: what was erased and overwritten meanwhile is what it was, byte for byte, calibration and all; a backup
# that was changed, of another unit or another table is refused before anything is touched.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone,size=640M --device=phone-emmc,name=other,port=1-2,size=640M,seed=9 \
        --device=uis8850,name=module,port=1-3,image-check=0,zlp=no,mps=64 \
        --device=uis8850,name=stranger,port=1-4,image-check=0,seed=9
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

# same UNIT: the flash of a unit is what it was at the beginning.
same() {
        diff -rq "$WORK/before/$1" "$WORK/flash/$1" | grep -v '/miscdata ' >"$WORK/differences" || true
        [ ! -s "$WORK/differences" ] || { cat "$WORK/differences" >&2; fail "$1 is not what it was"; }
        # Whenever miscdata is written the loader clears two fields of it by itself: log level and date.
        { cmp -l "$WORK/before/$1/parts/miscdata" "$WORK/flash/$1/parts/miscdata" || true; } |
                awk '!(($1 > 9216 && $1 <= 9224) || ($1 > 529408 && $1 <= 529424)) { bad = 1 } END { exit bad }' || fail "miscdata of $1 is not what it was"
}

# The device may be told by its socket.
expect 0 fdlctl --slot="$phone" --package=phone.pac backup whole --dry-run
says "whole/l_fixnv1.img"
[ ! -e whole ] || fail "a dry run made something"
expect 0 fdlctl -q --device="$phone" --package=phone.pac backup whole
[ -s whole/manifest.json ] && [ -s whole/l_fixnv1.img ] && [ -s whole/splloader.img ] || fail "the backup is not whole: $(ls whole)"
same phone
expect 9 fdlctl -q --device="$phone" --package=phone.pac backup whole
says "holds something already"
[ "$(stat -c %b whole/userdata.img)" -lt 20000 ] || fail "holes did not stay holes"

expect 0 fdlctl --device="$phone" --package=phone.pac --finish=nothing verify whole
says "files of the backup are on the device as they were"

names=$(grep -o '"partition": *"[^"]*"' whole/manifest.json | cut -d'"' -f4 | tr '\n' ' ')
# shellcheck disable=SC2086 # one word each
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing erase $names
cmp -s <(cat before/phone/*) <(cat flash/phone/*) && fail "nothing was erased"
expect 2 fdlctl -q --device="$phone" --package=phone.pac restore whole
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing restore whole
same phone

# A difference is found where it is, nothing is written for that, and nothing is left beside the backup.
head -c 5000 /dev/urandom >noise
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing --any-image write logo=noise
expect 5 fdlctl --device="$phone" --package=phone.pac --finish=nothing verify whole
says "logo: differs from byte 0 on, in 2 of"
[ -z "$(find whole -name '.verify*')" ] || fail "what was read lies around"
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --finish=nothing restore whole logo
same phone

# Refused before the first write.
expect 5 fdlctl -q --device="$other" --package=phone.pac --yes --finish=nothing restore whole
says "calibration or identity"
expect 0 fdlctl -q --device="$other" --package=phone.pac --yes --finish=nothing restore whole logo boot
cp -a --sparse=always whole damaged
printf x | dd of=damaged/logo.img bs=1 seek=1000 conv=notrunc 2>/dev/null
expect 5 fdlctl -q --device="$phone" --package=phone.pac --yes restore damaged
says "logo.img is not what was saved"
rm damaged/logo.img
expect 9 fdlctl -q --device="$phone" --package=phone.pac --yes restore damaged
expect 3 fdlctl -q --device="$phone" --package=phone.pac --yes restore "$WORK/nowhere"
sed -i 's/"name":"logo"/"name":"ogol"/; s/"name": *"logo"/"name":"ogol"/' damaged/manifest.json
cp whole/logo.img damaged/
expect 5 fdlctl -q --device="$phone" --package=phone.pac --yes restore damaged
says "is not that of the backup"

# A module: all that it shows, found by asking. Flash of another size is another device, and all of it holds calibration too.
expect 0 fdlctl -q --device="$module" --package=module.pac backup all
[ "$(stat -c %s all/0x60000000.img all/0xfe000002.img all/0xfe000003.img | xargs)" = "8388608 256 163840" ] || fail "not all: $(ls -l all)"
cmp all/0x60000000.img flash/module/flash.bin || fail "the module's flash was not read as it is"
expect 5 fdlctl -q --device="$module" --package=module.pac --yes --finish=nothing restore all 0x60000000
says "add --unproven"
sed -i 's/8388608/16777216/' all/manifest.json && truncate -s 16M all/0x60000000.img
sed -i "s/$(head -c 8388608 all/0x60000000.img | sha256sum | cut -d' ' -f1)/$(sha256sum <all/0x60000000.img | cut -d' ' -f1)/" all/manifest.json
expect 5 fdlctl -q --device="$module" --package=module.pac --yes --finish=nothing --unproven restore all
says "the backup is of one with 16777216"
rm -r all
# Ranges, and the fixed NV.
expect 0 fdlctl -q --device="$module" --package=module.pac backup ranges 0x60000000+256K 0xfe000003+0x28000
expect 0 fdlctl -q --device="$module" --package=module.pac --yes --finish=nothing erase 0x60020000+0x20000
expect 0 fdlctl -q --device="$module" --package=module.pac --yes --finish=nothing restore ranges 0x60000000
expect 0 fdlctl -q --device="$module" --package=module.pac read 0x60000000+256K=again.img
cmp ranges/0x60000000.img again.img || fail "the module's flash is not what it was"
# It cannot say who it is: a person does, and yet calibration with another IMEI than the unit's own is not put there.
expect 5 fdlctl -q --device="$module" --package=module.pac --yes --finish=nothing restore ranges 0xfe000003
says "add --unproven"
expect 0 fdlctl -q --device="$module" --package=module.pac --yes --finish=nothing --unproven restore ranges 0xfe000003
stranger=$(port_of stranger)
expect 5 fdlctl -q --device="$stranger" --package=module.pac --yes --finish=nothing --unproven restore ranges 0xfe000003
says "of a unit with another IMEI"
diff -r before/stranger flash/stranger || fail "the calibration of another unit was written"
# This module ends no reply with a zero-length packet. Replies that fill their last packet are heard nevertheless: 8 bytes stand around
# the data, as long as no byte needs to be escaped.
for length in 56 120 184 248; do
        expect 0 fdlctl -q --device="$module" --package=module.pac read "0x60020000+$length=piece.$length"
        cmp "piece.$length" <(tail -c +131073 again.img | head -c "$length") || fail "$length bytes are not what they were"
done
stop_station
trap - EXIT
echo "backed up, erased, restored: the same bytes"
