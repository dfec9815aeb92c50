#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Escaped, without escaping, raw by chunk and raw by file: the same flash, on each kind of phone. Then all that goes wrong while data go raw:
# it ends with the code that the table says, or with data in frames; what failed is mended by plugging in again and retry. Without
# FDLD_LONG only some of the rows are tried.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"

# quick or long|device specification|package|what comes of it: same flash: "escaped", "frames", "level 1", "level 2", "refused" (and went in
# frames); or a code (a pattern)
limit=unknown-limit=0
matrix=(
        'quick|phone-emmc,hdlc=always|phone|escaped'
        'quick|phone-emmc|phone|frames'
        'quick|phone-emmc,raw=1|phone|level 1'
        'quick|phone-emmc,raw=2,info=tlv|phone|level 2'
        "quick|phone-emmc,raw=1,$limit,fault=at=fdl2:enable-raw+nak=fe+count=forever|phone-refusing1|refused"
        'quick|phone-emmc,raw=1,fault=at=fdl2:raw-data:#3+write-error|phone|(write|checking)-refused-a2'
        'quick|phone-emmc,raw=1,fault=at=fdl2:raw-piece:#3+nak=8a|phone|checking-refused-8a'
        'quick|phone-emmc,raw=2,fault=at=fdl2:raw-piece:#3+disconnect|phone|checking-gone'
        'quick|phone-emmc,raw=1,fault=at=fdl2:raw-data:#2+silence|phone|checking-silent(-dead)?'
        'long|phone-ufs-ab,hdlc=always|phone-ab|escaped'
        'long|phone-ufs-ab,raw=0|phone-ab|frames'
        'long|phone-ufs-ab|phone-ab|level 1'
        'long|phone-ufs-ab,raw=2|phone-ab|level 2'
        'long|phone-lk,raw=1|phone-lk|level 1'
        'long|phone-lk,raw=2|phone-lk|level 2'
        'long|phone-nand,hdlc=always|phone-nand|escaped'
        'long|phone-nand|phone-nand|frames'
        'long|phone-nand,raw=1|phone-nand|level 1'
        'long|phone-nand,raw=2|phone-nand|level 2'
        'long|phone-old,raw=2|phone-old|escaped'
        'long|phone-emmc,raw=1,speed=full|phone|level 1'
        'long|phone-emmc,raw=2,speed=full|phone|level 2'
        "long|phone-emmc,raw=2,$limit,fault=at=fdl2:raw-start2+nak=fe+count=forever|phone-refusing2|refused"
        "long|phone-emmc,raw=1,$limit,fault=at=fdl2:raw-start+nak=fe+count=forever|phone-refusing3|refused"
        # refused at START, or before
        'long|phone-emmc,raw=1,fault=at=fdl2:start:#2+nak=8a|phone|write-refused-8a'
        'long|phone-emmc,raw=2,fault=at=fdl2:start:#2+nak=96|phone|write-refused-96'
        'long|phone-emmc,raw=1,fault=at=fdl2:enable-raw+silence|phone|write-silent(-dead)?'
        'long|phone-emmc,raw=1,fault=at=fdl2:enable-raw+garbage|phone|write-garbled.*'
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-start:#2+stall|phone|write-silent(-dead)?'
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-start:#8+nak=fe|phone|write-refused-fe'
        'long|phone-emmc,raw=2,fault=at=fdl2:raw-start2:#2+disconnect|phone|write-gone'
        # in the middle of a chunk
        'long|phone-emmc,raw=2,fault=at=fdl2:raw-piece:#3+nak=84|phone|checking-refused-84'
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-piece:#40+stall|phone|(write|checking)-silent(-dead)?'
        'long|phone-emmc,raw=2,fault=at=fdl2:raw-piece:#40+stall|phone|(write|checking)-silent(-dead)?'
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-piece:#40+disconnect|phone|(write|checking)-gone'
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-piece:#3+silence|phone|checking-refused-8b'
        # the answer to a chunk
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-data+write-error|phone|(write|checking)-refused-a2'
        'long|phone-emmc,raw=2,fault=at=fdl2:raw-data+write-error|phone|checking-refused-a2'
        'long|phone-emmc,raw=2,fault=at=fdl2:raw-data:#2+nak=8a|phone|checking-refused-8a'
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-data+bad-sum|phone|checking-garbled.*'
        'long|phone-emmc,raw=2,fault=at=fdl2:raw-data+truncate|phone|checking-garbled.*'
        'long|phone-emmc,raw=1,fault=at=fdl2:raw-data:#2+hang-after-ack|phone|checking-silent(-dead)?'
        'long|phone-emmc,raw=2,fault=at=fdl2:raw-data:#2+disconnect|phone|checking-gone'
        'long|phone-emmc,raw=2,fault=at=fdl2:end:#2+silence|phone|checking-silent(-dead)?'
        'long|phone-emmc,raw=1,fault=at=fdl2:end:#2+disconnect|phone|checking-gone'
)
rows=()
for row in "${matrix[@]}"; do
        [[ -z ${FDLD_ROWS:-} || $row =~ $FDLD_ROWS ]] || continue
        [[ -n ${FDLD_LONG:-} || $row == quick* ]] && rows+=("${row#*|}")
done
devices=()
for i in "${!rows[@]}"; do devices+=("--device=${rows[i]%%|*},name=u$i"); done
enter_world --fast "${devices[@]}"
trap stop_station EXIT
mkdir -p "$WORK/etc"
printf '[Timeouts]\nMidstMSec=4000\nMidstLastMSec=4000\nEndMSec=4000\nStartMSec=4000\n' >"$WORK/etc/fdld.conf"
for row in "${rows[@]}"; do
        package=$(cut -d'|' -f2 <<<"$row")
        case $package in
        # What refuses is remembered by its loader, so these have loaders of their own.
        phone-refusing*) "$FDLD_BUILD/pacmaker" phone "$WORK/$package.pac" --seed="1${package#phone-refusing}" --set=product="$package" >/dev/null ;;
        *) [ -f "$WORK/$package.pac" ] || "$FDLD_BUILD/pacmaker" "$package" "$WORK/$package.pac" >/dev/null ;;
        esac
done
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 2 fdlctl flash phone.pac --raw=perhaps
expect 0 fdlctl -q import "$WORK"/*.pac

same() { # UNIT PACKAGE
        "$FDLD_BUILD/flashcheck" "$WORK/$2.pac" "$WORK/before/$1" "$WORK/flash/$1" || fail "flash of $spec is not what it must be"
}
record_of() { grep "\"job\":${jobs[$1]}," "$WORK/history" >"$WORK/record" || fail "$spec left no record"; }
has() { grep -qF -- "$1" "$WORK/record" || fail "the record of $spec does not say $1: $(cat "$WORK/record")"; }

for i in "${!rows[@]}"; do
        IFS='|' read -r _ package _ <<<"${rows[i]}"
        start_job flash "$package.pac" --raw=on --verify=ack --slot="$(port_of "u$i")"
        jobs[i]=$job
done
for i in "${!rows[@]}"; do
        got=0
        fdlctl -q --timeout=600 wait "${jobs[i]}" >"$WORK/out.$i" 2>"$WORK/err.$i" || got=$?
        results[i]=$got
done
expect 0 fdlctl export "$WORK/history" # JSON lines
for i in "${!rows[@]}"; do
        IFS='|' read -r spec package want <<<"${rows[i]}"
        case $want in
        escaped | frames | level* | refused)
                [ "${results[i]}" = 0 ] || { cat "$WORK/err.$i" >&2; fail "$spec ended with ${results[i]}"; }
                same "u$i" "$package"
                record_of "$i"
                case $want in
                level*) has "\"raw\":\"$want\"" ;;
                refused) has 'offers raw data but refused them' ;;
                *) ! grep -q '"raw":"level' "$WORK/record" || fail "$spec went raw" ;;
                esac
                ;;
        *)
                expect 0 fdlctl -j show "${jobs[i]}"
                code=$(grep -o '"code":"[^"]*"' "$WORK/out" | head -n 1 | cut -d'"' -f4)
                [[ $code =~ ^($want)$ ]] || { cat "$WORK/err.$i" >&2; fail "$spec ended with ${code:-done}"; }
                [ "${results[i]}" = 10 ] || fail "$spec: exit code ${results[i]}, but it must be flashed again"
                record_of "$i"
                [[ $spec != *raw=1*write-error* ]] || has 'had acknowledged'
                simctl "{\"cmd\":\"fault\",\"device\":\"u$i\",\"fault\":\"clear\"}" >/dev/null
                simctl "{\"cmd\":\"replug\",\"device\":\"u$i\"}" >/dev/null
                start_job retry "${jobs[i]}"
                again[i]=$job
                ;;
        esac
done
for i in "${!again[@]}"; do
        IFS='|' read -r spec package _ <<<"${rows[i]}"
        expect 0 fdlctl -q --timeout=600 wait "${again[i]}"
        same "u$i" "$package"
done
stop_station
trap - EXIT
echo "${#rows[@]} units"
