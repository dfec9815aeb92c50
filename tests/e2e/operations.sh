#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What works on which family: every cell of operations.table on a simulated unit of that family, and the README's table is that one.
# What works is compared with the unit's flash, byte for byte; what does not is refused with the words that the table says, and flash is
# as it was. Without FDLD_LONG only some families are tried.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"

operations=(probe flash verify write read erase backup compare restore repartition reset power-off)
families=(phone-emmc phone-ufs-ab phone-lk phone-old phone-nand feature-nor feature-one uis8910 uis8850)
# Other ones for a look: FDLD_FAMILIES.
quick="${FDLD_FAMILIES:-phone-nand feature-one uis8910}"

# ---- the table ----------------------------------------------------------------------------------------------------

declare -A exit_of words_of note_of
while IFS='|' read -r family operation status words note; do
        case $family in '#'* | '') continue ;; esac
        exit_of[$family.$operation]=$status words_of[$family.$operation]=$words note_of[$family.$operation]=$note
done <"$here/operations.table"

title() {
        case $1 in
        phone-emmc) echo "phone, eMMC" ;;
        phone-ufs-ab) echo "phone, UFS, two slots" ;;
        phone-lk) echo "phone, LK loader" ;;
        phone-old) echo "phone, old loader" ;;
        phone-nand) echo "phone, NAND" ;;
        feature-nor) echo "feature phone, two loaders" ;;
        feature-one) echo "feature phone, one loader" ;;
        uis8910) echo "UIS8910 module" ;;
        uis8850) echo "UIS8850 module" ;;
        esac
}

# As the README has it: a number where there is something to say.
readme_table() {
        local notes=() family operation note i
        printf '| |' && printf ' %s |' "${operations[@]}" && printf '\n|---|' && printf -- '---|%.0s' "${operations[@]}" && echo
        for family in "${families[@]}"; do
                printf '| %s |' "$(title "$family")"
                for operation in "${operations[@]}"; do
                        printf ' %s' "$([ "${exit_of[$family.$operation]}" = 0 ] && echo yes || echo no)"
                        note=${note_of[$family.$operation]}
                        if [ -n "$note" ]; then
                                for ((i = 0; i < ${#notes[@]}; i++)); do [ "${notes[i]}" != "$note" ] || break; done
                                notes[i]=$note
                                printf ' (%d)' $((i + 1))
                        fi
                        printf ' |'
                done
                echo
        done
        echo
        for ((i = 0; i < ${#notes[@]}; i++)); do echo "$((i + 1)). ${notes[i]}"; done
}

for family in $("$FDLD_BUILD/usbsim" --list | sed -n "/^Options/q; s/^  \([a-z0-9-]*\) *\[[A-Z]*\] .*/\1/p"); do
        [ "$family" != replay ] || continue # no device of its own: it does what a trace says
        [[ " ${families[*]} " == *" $family "* ]] || { echo "the simulator's $family is not in the table" >&2; exit 1; }
done
for family in "${families[@]}"; do
        for operation in "${operations[@]}"; do
                [ -n "${exit_of[$family.$operation]+set}" ] || { echo "operations.table has no row $family|$operation" >&2; exit 1; }
        done
done
[ "${1:-}" != --print ] || { readme_table; exit 0; }
table=$(readme_table)
if [ -z "${FDLD_FAMILIES:-}" ] && [[ $(<"$here/../../README.md") != *"$table"* ]]; then
        echo "the README's table is not that of operations.table; it must be:" >&2
        readme_table >&2
        exit 1
fi

# ---- units of every family, small ones ---------------------------------------------------------------------------

[ -z "${FDLD_LONG:-}" ] || quick="${families[*]}"
model=$here/../usbsim/model
# small HEADER: lines "name MiB" of a table as the simulator's, no partition larger than 8 MiB
small() { sed -n 's/.*X("\([^"]*\)", \([0-9A-Fx]*\)).*/\1 \2/p' "$1" | awk '{ print $1, ($2 ~ /^0x/ ? "rest" : $2 > 8 && $1 !~ /nv[12]/ ? 8 : $2) }'; }
partitions() { sed 's/ rest/ 0xFFFFFFFF/; s/ /=/' "$1" | paste -sd,; }
header_of() {
        case $1 in
        phone-emmc) echo phone-table.h ;;
        phone-ufs-ab | phone-lk) echo phone-ab-table.h ;;
        phone-old) echo phone-old-table.h ;;
        phone-nand) echo phone-nand-table.h ;;
        esac
}
package_of() {
        case $1 in
        phone-emmc) echo phone ;;
        phone-ufs-ab) echo phone-ab ;;
        feature-nor) echo feature ;;
        *) echo "$1" ;;
        esac
}
spec_of() {
        case $1 in
        phone-emmc) echo "$1,size=160M" ;;
        phone-old) echo "$1,size=96M" ;;
        phone-ufs-ab | phone-lk) echo "$1,size=544M,snapshot" ;;
        phone-nand) echo "$1,size=176M" ;;
        feature-one) echo "feature-nor,loaders=1" ;;
        uis*) echo "$1,image-check=0" ;;
        *) echo "$1" ;;
        esac
}

if [ "${FDLD_INSIDE:-}" != "$0" ]; then
        tables=$(mktemp -d "${TMPDIR:-/tmp}/fdld-tables.XXXXXX")
        trap 'rm -rf "$tables"' EXIT
        export tables
fi
devices=()
for family in $quick; do
        header=$(header_of "$family") spec=$(spec_of "$family"),name=$family
        if [ -n "$header" ]; then
                small "$model/$header" >"$tables/$family"
                spec+=,table=$tables/$family
        fi
        devices+=("--device=$spec")
done
if [ "${FDLD_INSIDE:-}" != "$0" ]; then
        (enter_world --fast "${devices[@]}") || exit $?
        exit 0
fi
trap stop_station EXIT
root=$WORK
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n' >"$WORK/etc/fdld.conf"

make_package() {
        local header options=()
        header=$(header_of "$1")
        [ -z "$header" ] || options=("--partitions=$(partitions "$tables/$1")" "--set=product=SMALL_${1//-/_}")
        "$FDLD_BUILD/pacmaker" "$(package_of "$1")" "$WORK/$1.pac" "${options[@]}" >/dev/null
        # another table, for repartition
        options=("${options[@]/logo=?/logo=5}" --set=version=2)
        "$FDLD_BUILD/pacmaker" "$(package_of "$1")" "$WORK/$1-other.pac" "${options[@]}" >/dev/null
}

# Where what is read and written lies in the unit: place, its length, file in the simulator's flash, offset there.
where() {
        case $1 in
        phone-*) echo logo 65536 parts/logo 0 ;;
        feature-*) echo 0x90000004 65536 flash.bin $((0x220000)) ;;
        uis*) echo 0x60700000 65536 flash.bin $((0x700000)) ;;
        esac
}
piece() { head -c $(($2 + $3)) "$root/flash/$family/$1" | tail -c "$3"; }
written() { simctl "{\"cmd\":\"describe\",\"device\":\"$family\"}" | grep -o '"bytes_\(written\|erased\)":[0-9]*' | tr '\n' ' '; }
ctl() { expect "${exit_of[$family.$operation]}" fdlctl -q --timeout=${FDLD_PATIENCE:-120} --device="$(port_of "$family")" "$@"; }
steps() { ctl --package="$family.pac" --finish=nothing --yes "$@"; }

op_probe() {
        ctl probe
        expect 0 fdlctl -j devices
}
op_flash() {
        ctl --finish=nothing flash "$family.pac"
        "$FDLD_BUILD/flashcheck" "$root/$family.pac" "$root/before/$family" "$root/flash/$family" || fail "flash is not what it must be"
}
op_verify() { ctl --finish=nothing verify "$family.pac"; }
op_write() {
        read -r place length file at <<<"$(where "$family")"
        head -c "$length" /dev/urandom >"$WORK/noise"
        steps --any-image write "$place=$WORK/noise"
        piece "$file" "$at" "$length" | cmp - "$WORK/noise" || fail "what was written is not there"
}
op_read() {
        read -r place length file at <<<"$(where "$family")"
        steps --length="$length" read "$place=$WORK/read"
        piece "$file" "$at" "$length" | cmp - "$WORK/read" || fail "what was read is not what is there"
}
op_erase() {
        read -r place length file at <<<"$(where "$family")"
        case $place in 0x*) steps erase "$place+$length" ;; *) steps erase "$place" ;; esac
        [ "$(piece "$file" "$at" "$length" | tr -d '\000\377' | wc -c)" = 0 ] || fail "it is not blank"
}
op_backup() {
        cp -a --sparse=always "$root/flash/$family" "$WORK/saved"
        steps backup "$WORK/backup"
}
op_compare() { steps verify "$WORK/backup"; }
# Everything that the backup names is erased; what cannot be erased by itself is overwritten.
wipe() {
        local names
        case $family in
        phone-*)
                names=$(grep -o '"partition": *"[^"]*"' "$WORK/backup/manifest.json" | cut -d'"' -f4)
                # shellcheck disable=SC2086
                steps erase $names
                ;;
        feature-*)
                names=$(grep -o '"address": *[0-9]*' "$WORK/backup/manifest.json" | grep -o '[0-9]*$' | xargs printf '0x%x\n')
                # shellcheck disable=SC2086
                steps erase $names
                ;;
        uis*)
                steps erase 0x60000000+8M 0xfe000002
                # No loader erases calibration alone: it is taken away while the unit has no power.
                simctl "{\"cmd\":\"unplug\",\"device\":\"$family\"}" >/dev/null
                rm "$root/flash/$family"/FFAC/nv*.bin "$root/flash/$family/FFAC/imei.bin"
                simctl "{\"cmd\":\"plug\",\"device\":\"$family\"}" >/dev/null
                ;;
        esac
        # Calibration is gone in all its copies; modules keep theirs.
        case $family in
        phone-*) names=$(cd "$root/flash/$family" && find . -path '*/parts/*fixnv*' -size +0 | while read -r name; do tr -d '\000\377' <"$name" | head -c 1; done) ;;
        feature-*) names=$(piece flash.bin $((0x360000)) $((0x20000)) | tr -d '\000\377') ;;
        *) names= ;;
        esac
        [ -z "$names" ] || fail "calibration was not erased"
        ! diff -rq "$WORK/saved" "$root/flash/$family" >/dev/null || fail "nothing was erased"
}
# The loader clears two fields of miscdata whenever it is written: log level and date.
same() {
        diff -rq "$WORK/saved" "$root/flash/$family" | grep -v '/miscdata ' >"$WORK/differences" || true
        [ ! -s "$WORK/differences" ] || { cat "$WORK/differences" >&2; fail "the flash is not what it was"; }
        [ -e "$WORK/saved/parts/miscdata" ] || return 0
        { cmp -l "$WORK/saved/parts/miscdata" "$root/flash/$family/parts/miscdata" || true; } |
                awk '!(($1 > 9216 && $1 <= 9224) || ($1 > 529408 && $1 <= 529424)) { bad = 1 } END { exit bad }' || fail "miscdata is not what it was"
}
op_restore() {
        wipe
        if [[ ${note_of[$family.restore]} == *--unproven* ]]; then
                before=$(written)
                expect 5 fdlctl -q --device="$(port_of "$family")" --package="$family.pac" --finish=nothing --yes restore "$WORK/backup"
                says "it does not say who it is"
                [ "$(written)" = "$before" ] || fail "something was written all the same: $before, $(written)"
                steps --unproven restore "$WORK/backup"
        else
                steps restore "$WORK/backup"
        fi
        same
}
op_repartition() {
        local copies
        copies=$(cd "$root/flash/$family" && find . -path '*/parts/*nv[12]*' | sort)
        (cd "$root/flash/$family" && cat /dev/null $copies) >"$WORK/calibration"
        ctl --finish=nothing repartition "$family-other.pac"
        [ "${exit_of[$family.repartition]}" = 0 ] || return 0
        [ "$(stat -c %s "$root/flash/$family/parts/logo")" = $((5 << 20)) ] || fail "the table was not changed"
        (cd "$root/flash/$family" && cat $copies) | cmp - "$WORK/calibration" || fail "calibration is not what it was"
}
op_reset() {
        ctl reset
        simctl "{\"cmd\":\"wait\",\"device\":\"$family\",\"until\":\"present=false\",\"timeout\":5000}" >"$WORK/out" || fail "it did not restart"
}
op_power-off() {
        simctl "{\"cmd\":\"wait\",\"device\":\"$family\",\"until\":\"present=false\",\"timeout\":5000}" >"$WORK/out" || fail "it did not leave"
        simctl "{\"cmd\":\"replug\",\"device\":\"$family\"}" >"$WORK/out"
        steps --length=4096 read "$(where "$family" | cut -d' ' -f1)=$WORK/again"
        ctl --finish=power-off reset
        simctl "{\"cmd\":\"describe\",\"device\":\"$family\"}" | grep -q 'waits until it is unplugged' || fail "it does not wait until it is unplugged"
}

# ---- all of it --------------------------------------------------------------------------------------------------------

one() {
        local before
        if [ "${exit_of[$family.$operation]}" = 0 ]; then
                "op_$operation"
                return
        fi
        before=$(written)
        "op_$operation"
        says "${words_of[$family.$operation]}"
        [ "$(written)" = "$before" ] || fail "it was refused, and yet flash was written to"
}

# A unit goes through all operations; what fails does not keep the others from being tried.
unit() {
        WORK=$root/work-$family
        mkdir "$WORK"
        ln -s "$root/fdld.log" "$WORK/fdld.log"
        cd "$WORK"
        for operation in "${operations[@]}"; do
                (one) >"$WORK/log.$operation" 2>&1 && continue
                echo "FAIL: $family $operation"
                grep -v '^<' "$WORK/log.$operation" | head -n 12
        done
}

for family in $quick; do make_package "$family"; done
cp -a --sparse=always "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK"/*.pac
for family in $quick; do unit "$family" >"$WORK/result.$family" & units+=($!); done
wait "${units[@]}"
cat "$WORK"/result.*
! grep -q FAIL "$WORK"/result.* || { [ -z "${FDLD_KEEP:-}" ] || cp -a "$WORK" "$FDLD_KEEP"; exit 1; }
stop_station
trap - EXIT
set -- $quick
echo "$(($# * ${#operations[@]})) cells of $# families"
