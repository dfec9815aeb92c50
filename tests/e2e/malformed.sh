#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Packages that are wrong, each in one point: inspect, plan and import refuse them, naming field, offset and reason. Packages that
# are dangerous, though well formed: they are shown and imported with their warnings, and flashed only when told so.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=unit
trap stop_station EXIT
start_bus
start_daemon

# refused POINT TEXT FAMILY OPTION…
n=0
refused() {
        local point=$1 text=$2 verb
        shift 2
        rm -f "$WORK/bad.pac"
        "$FDLD_BUILD/pacmaker" "$1" "$WORK/bad.pac" "${@:2}" || fail "point $point: no package was made"
        still_refused "$point" "$text"
}

# The same for $WORK/bad.pac as it is.
still_refused() {
        local point=$1 text=$2 verb
        for verb in inspect plan import; do
                expect 9 fdlctl -q $verb "$WORK/bad.pac"
                says "$text"
                says " at offset "
                says "import-plan"
                [ -n "${VERBOSE:-}" ] && [ $verb = inspect ] && echo "$point: $(head -n 1 "$WORK/err")"
        done
        n=$((n + 1))
}

high=FFFFFFFF
refused 1 'package size at offset 48' uis8850 --poke=48=05000000
refused 1 'package size, high word at offset 44' uis8850 --poke=44=01000000
refused 1 'number of files at offset 1076' uis8850 --poke=1076=$high
refused 1 'number of files at offset 1076' uis8850 --poke=1076=00000000
refused 1 'number of files at offset 1076' uis8850 --poke=1076=F4010000
refused 1 'place of the file table at offset 1080' uis8850 --poke=1080=4D080000
refused 1 'version at offset 0' uis8850 --poke=0=58
refused 1 'high words of size and offset at offset 8816' uis8850 --poke=2+1532=01000000
refused 2 'size of the table entry at offset 4704' uis8850 --poke=1+0=130A0000
refused 3 'data offset and size at offset 8824' uis8850 --poke=2+1540=FFFFFF7F
refused 3 'data offset at offset 8836' uis8850 --poke=2+1552=10000000
refused 3 'data offset and size at offset 8824' uis8850 --set=header=2 --poke=2+1532=$high
refused 3 'overlap those before' uis8850 --poke=2+1552=AC8C0100
refused 3 'do not follow those before' uis8850 --poke=2+1552=CC8C0100
refused 4 'file flag at offset 8828' uis8850 --poke=2+1544=00000000
refused 4 'file size at offset' uis8850 --poke=2+1540=00000000 --poke=2+1556=00000000
refused 5 'end of the data at offset' uis8850 --trailing=3
refused 6 'magic at offset 2116' uis8850 --poke=2116=00000000
refused 6 'header checksum at offset 2120' uis8850 --break=2120
refused 6 'data checksum at offset 2122' uis8850 --break=2122
refused 6 'encryption mark at offset 1316' uis8850 --poke=1316=0100
refused 7 'stands there twice' uis8850 --file=APPIMG=id=boot
refused 7 'there are two configurations' uis8850 --poke=2+1544=02000000
refused 7 'file flag at offset' uis8850 --poke=11+1544=01000000
refused 7 'no first loader' uis8850 --file=FDL=id=LOADER
refused 8 'product version at offset 564' uis8850 --poke=564=61002E20
refused 8 'product name at offset 52' uis8850 --poke=52=6100000062
refused 8 'file ID at offset' uis8850 --poke=2+4=610000D8
for name in a/b '..\x' C:x nul .hidden; do
        refused 9 'file name at offset 7800' uis8850 "--file=BOOT=name=$name"
done
refused 10 'document type' uis8850 '--xml=<BMAConfig>=><!DOCTYPE a [<!ENTITY x "y">]><BMAConfig>'
refused 10 'configuration' uis8850 '--xml=<ID>BOOT</ID>=><ID>&boot;</ID>'
refused 11 'Base' uis8850 '--xml=<Base>0x60020000</Base>=><Base>1610743808</Base>'
refused 11 'name' uis8850 '--xml=<Product name="8850_MODEM">=><Product>'
refused 12 'artition' phone '--xml=<Partition id="boot" size="32"/>=><Partition id="boot" size="0xFFFFFFFF"/>'
refused 12 'artition' phone '--xml=<Partition id="boot" size="32"/>=><Partition id="dtbo" size="32"/>'
refused 13 'roduct' uis8850 '--xml=<Product name="8850_MODEM">=><Product name="OTHER">'
refused 13 'cheme' uis8850 '--xml=<SchemeName>8850_MODEM=><SchemeName>OTHER'
refused 13 'is not in it' uis8850 --file=APPIMG=table=0
refused 13 'the configuration has no file' uis8850 --file=APPIMG=xml=0
refused 15 'EnableSecureBoot' uis8850 '--xml=<Type>EraseFlash</Type>=><Type>EnableSecureBoot</Type>'

# warned POINT TEXT FAMILY OPTION…: a second package is made; import names the warning, plan and flash want the option.
warned=0
warned() {
        local point=$1 text=$2
        rm -f "$WORK/warned.pac"
        "$FDLD_BUILD/pacmaker" "$3" "$WORK/warned.pac" "${@:4}" || fail "point $point: no package was made"
        expect 0 fdlctl inspect "$WORK/warned.pac"
        says "$text"
        expect 0 fdlctl plan "$WORK/warned.pac"
        says 'Cannot run: The package has 1 warning, so it needs the option --allow-warnings.'
        expect 0 fdlctl plan --allow-warnings "$WORK/warned.pac"
        says "$text"
        ! grep -q 'Cannot run' "$WORK/out" || fail "point $point: --allow-warnings does not help"
        expect 0 fdlctl -q import "$WORK/warned.pac"
        says "Warning: "
        says "$text"
        expect 9 fdlctl -q flash warned.pac
        says "$text"
        says --allow-warnings
        fdlctl remove warned.pac >/dev/null
        warned=$((warned + 1))
}

warned 14 'overlap in memory' uis8910 --file=FDL2=base=0x838010 --file=FDL2=load=0x838050
warned 14 'no memory for it' uis8850 --file=FDL=base=0x50000000
warned 16 'in the package but not selected' uis8850 --unselect=FLASH
warned 16 'nothing writes it again' uis8850 --unselect=SPL
warned 16 'keeps none' uis8850 --set=nv-backup=0
warned 16 'BOOT, which belongs to it' phone --unselect=BOOT
warned 17 'has only 1048576' phone --size=VBMETA=0x100002
warned 17 'expands to 16781312' phone --sparse=Cache --size=Cache=0x1001000
warned 19 'UIS8850' phone --file=BOOT=head=SIHR
# What upgrade mode never does is refused whatever the options are.
"$FDLD_BUILD/pacmaker" phone "$WORK/erase.pac" --file=EraseMisc=block=erase_all
expect 0 fdlctl inspect "$WORK/erase.pac"
says 'erases the whole flash'
expect 9 fdlctl plan --allow-warnings "$WORK/erase.pac"
says 'upgrade mode never does'

# The option works to the end: the device is flashed.
rm -f "$WORK/warned.pac"
"$FDLD_BUILD/pacmaker" phone "$WORK/warned.pac" --file=BOOT=head=SIHR
expect 0 fdlctl -q flash --allow-warnings --timeout=600 "$WORK/warned.pac"
says 'Warning: BOOT is a signed image of the UIS8850'
stop_station
trap - EXIT
echo "$n malformed packages refused, $warned dangerous ones only on request"
