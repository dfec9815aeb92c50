#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Upgrades keep the unit's own calibration and IMEIs bit for bit, in every copy that its loader keeps, although they stand in another order
# than in the package; a damaged copy is written anew from the good one; where no copy is good nothing is written, and the ways out are
# said. What is in flash is looked at by nvcheck, which shares nothing with the daemon. Without FDLD_LONG only some of the units.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"

# quick or long|device specification|package|the good copies before: first, second, none (the code of the failure)
matrix=(
        'quick|phone-emmc,nv-order=reversed|phone|first'
        'quick|phone-emmc,nv-order=reversed,nv=twin-bad|phone|first'
        'quick|phone-emmc,nv-order=reversed,nv=first-bad|phone|second'
        'quick|phone-emmc,nv-order=reversed,nv=both-bad|phone|backup-refused-84'
        'quick|phone-lk,nv-order=reversed,nv=both-bad|phone-lk|backup-refused-d2'
        'quick|phone-emmc,nv=bad|phone|backup-mismatch-nv'
        'quick|uis8850,nv-order=reversed,image-check=0|uis8850|first'
        'quick|feature-nor,nv-order=reversed|feature|first'
        'long|phone-ufs-ab,nv-order=reversed|phone-ab|first'
        'long|phone-ufs-ab,nv-order=reversed,slot=b,nv=twin-bad|phone-ab|first'
        'long|phone-ufs-ab,nv-order=reversed,nv=first-bad|phone-ab|second'
        'long|phone-ufs-ab,nv=both-bad|phone-ab|backup-refused-84'
        'long|phone-lk,nv-order=reversed|phone-lk|first'
        'long|phone-lk,nv-order=reversed,slot=b,nv=first-bad|phone-lk|second'
        'long|phone-lk,nv-order=reversed,nv=twin-bad|phone-lk|first'
        'long|phone-nand,nv-order=reversed|phone-nand|first'
        'long|phone-nand,nv-order=reversed,nv=first-bad|phone-nand|second'
        'long|phone-nand,nv-order=reversed,nv=twin-bad|phone-nand|first'
        'long|phone-nand,nv=both-bad|phone-nand|backup-refused-84'
        'long|phone-old,nv-order=reversed|phone-old|first'
        'long|phone-old,nv-order=reversed,nv=first-bad|phone-old|second'
        'long|phone-old,nv-order=reversed,nv=twin-bad|phone-old|first'
        'long|phone-old,nv=both-bad|phone-old|backup-refused-84'
        'long|phone-nand,nv=bad|phone-nand|backup-mismatch-nv'
        'long|feature-nor,loaders=1,nv-order=reversed|feature-one|first'
        'long|feature-nor,nv=bad|feature|backup-mismatch-nv'
        'long|feature-nor,nv=missing|feature|backup-mismatch-nv'
        'long|uis8910,nv-order=reversed,image-check=0|uis8910|first'
        'long|uis8910,nv=bad,image-check=0|uis8910|backup-mismatch-nv.*'
        'long|uis8850,nv=missing,image-check=0|uis8850|backup-refused-84'
)
rows=()
for row in "${matrix[@]}"; do
        [[ -n ${FDLD_LONG:-} || $row == quick* ]] && rows+=("${row#*|}")
done
devices=()
for i in "${!rows[@]}"; do devices+=("--device=${rows[i]%%|*},name=u$i"); done
enter_world --fast "${devices[@]}"
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Devices]\nAllowIds=0525:a4a7 1782:4d16\n' >"$WORK/etc/fdld.conf"
for row in "${rows[@]}"; do
        package=$(cut -d'|' -f2 <<<"$row")
        [ -f "$WORK/$package.pac" ] || "$FDLD_BUILD/pacmaker" "$package" "$WORK/$package.pac" >/dev/null
done
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK"/*.pac
for i in "${!rows[@]}"; do
        IFS='|' read -r _ package _ <<<"${rows[i]}"
        start_job flash "$package.pac" --slot="$(port_of "u$i")"
        jobs[i]=$job
done

# IMEIs, GSM and LTE calibration, Bluetooth address: what the packages name as the unit's own.
items=(0x5 0x179 0x186 0x1e4 0x2 0x26d 0x26e 0x191)
copies_of() { # UNIT DIGIT: first or second copies of the fixed NV, in both slots
        (cd "$WORK/flash/$1" && ls parts/*fixnv"$2" parts/*fixnv"$2"_[ab] 2>/dev/null || true)
}

kept_on_phone() { # UNIT GOOD
        local first second copies good
        mapfile -t first < <(copies_of "$1" 1)
        mapfile -t second < <(copies_of "$1" 2)
        copies=("${first[@]}" "${second[@]}")
        [ "${#copies[@]}" -ge 2 ] || fail "$1 has no calibration"
        good=${first[0]}
        [ "$2" = first ] || good=${second[0]}
        for copy in "${copies[@]}"; do
                "$FDLD_BUILD/nvcheck" "$WORK/before/$1/$good" "$WORK/flash/$1/$copy" -- "${items[@]}" >"$WORK/out" || fail "calibration of $1: $copy"
                [ "${spec/reversed/}" = "$spec" ] || says "other order"
                cmp -n 131584 "$WORK/flash/$1/${copies[0]}" "$WORK/flash/$1/$copy" || fail "the copies of $1 are not alike"
        done
        # The damaged ones were damaged.
        if [[ $spec =~ (first|twin)-bad ]]; then
                [ "$2" = first ] && copies=("${second[@]}") || copies=("${first[@]}")
                for copy in "${copies[@]}"; do
                        ! "$FDLD_BUILD/nvcheck" "$WORK/before/$1/$good" "$WORK/before/$1/$copy" -- "${items[@]}" >/dev/null 2>&1 || fail "$copy was not damaged"
                done
        fi
        cmp "$WORK/before/$1/parts/prodnv" "$WORK/flash/$1/parts/prodnv" || fail "product data of $1 are not what they were"
        # The serial number is at the front of phase check.
        cmp -n 8192 "$WORK/before/$1/parts/miscdata" "$WORK/flash/$1/parts/miscdata" || fail "phase check of $1 is not what it was"
        # Running NV is made anew from the fixed one: the package erases it, in both copies.
        [ "$(cat "$WORK/flash/$1"/parts/*runtimenv* | tr -d '\000\377' | wc -c)" = 0 ] || fail "the running NV of $1 is still there"
}

kept_on_feature() {
        for when in before flash; do tail -c +$((0x360001)) "$WORK/$when/$1/flash.bin" | head -c $((0x20000)) >"$WORK/nv.$when" || true; done
        "$FDLD_BUILD/nvcheck" --raw "$WORK/nv.before" "$WORK/nv.flash" -- 0x5 0x179 0x186 0x1e4 0x2 0x26d >"$WORK/out" || fail "calibration of $1"
        says "other order"
}

kept_on_module() {
        local files=(imei.bin nv0002.bin nv026e.bin phasecheck.bin)
        [ "$2" = uis8910 ] && files+=(nv026d.bin) || files+=(nv026f.bin nv01b4.bin nv01f0.bin nv0300.bin)
        for file in "${files[@]}"; do cmp "$WORK/before/$1/FFAC/$file" "$WORK/flash/$1/FFAC/$file" || fail "$file of $1 is not what it was"; done
        ! diff -rq "$WORK/before/$1/FFAC" "$WORK/flash/$1/FFAC" >/dev/null || fail "nothing of the package came to $1"
}

# Nothing was written, and a person is told what can be done.
refused() {
        local code
        expect 0 fdlctl -j show "${jobs[$1]}"
        code=$(grep -o '"code":"[^"]*"' "$WORK/out" | head -n 1 | cut -d'"' -f4)
        [[ $code =~ ^$2$ ]] || fail "$spec ended with $code"
        simctl "{\"cmd\":\"describe\",\"device\":\"u$1\"}" >"$WORK/out"
        says '"bytes_written":0'
        says '"bytes_erased":0'
        expect 0 fdlctl explain "$code"
        says "fdlctl vault restore"
        says "factory mode"
}

for i in "${!rows[@]}"; do
        IFS='|' read -r spec package good <<<"${rows[i]}"
        if [[ $good == backup-* ]]; then
                ! fdlctl -q --timeout=600 wait "${jobs[$i]}" >"$WORK/out" 2>"$WORK/err" || fail "$spec: it passed"
                refused "$i" "$good"
                continue
        fi
        expect 0 fdlctl -q --timeout=600 wait "${jobs[$i]}"
        case $spec in
        phone-*) kept_on_phone "u$i" "$good" ;;
        feature-*) kept_on_feature "u$i" ;;
        *) kept_on_module "u$i" "$package" ;;
        esac
done
stop_station
trap - EXIT
echo "${#rows[@]} units kept what is theirs"
