#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Units that misbehave, and units nobody has seen before, flashed by the real daemon: each ends with the class that it deserves,
# "done" only where flash holds what it must, and nothing is written where the plan could be known to fail. What failed and can be
# mended is mended by retry and plugging in again. Without FDLD_LONG only some of the rows are tried.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages

# Rows: quick or long; family; options of the unit; package; what must come of it: "done" or the code (a pattern);
# touched: yes (must be flashed again), no (flash as before), settled (flash is right already), other (not compared); mends: "yes" if a retry after plugging in must pass.
# A: uis8910, B: uis8850, P: phone-emmc.
short() { # the row counts today
        [ -n "${FDLD_LONG:-}" ] || [ "$1" = quick ]
}

family_of() {
        case $1 in
        A) echo uis8910 ;;
        B) echo uis8850 ;;
        P) echo phone-emmc ;;
        esac
}

at_once=8
devices=()
for ((i = 0; i < at_once; i++)); do devices+=("--device=phone-emmc,name=u$i,plug=no"); done
enter_world --fast --controllers=4 "${devices[@]}"
mapfile -t all < <(grep -v '^ *\(#\|$\)' "$here/units.table")
chosen=()
for row in "${all[@]}"; do
        read -r when _ <<<"$row"
        short "$when" || continue
        [ -z "${FDLD_ROWS:-}" ] || [[ $row =~ $FDLD_ROWS ]] || continue
        chosen+=("$row")
done
trap stop_station EXIT
mkdir -p "$WORK/etc"
cat >"$WORK/etc/fdld.conf" <<'EOF'
[Devices]
AllowIds=0525:a4a7 1782:4d16

[Station]
# The matrix is about how units behave while they are written to; verify.sh is about reading back.
Verify=ack

[Timeouts]
SyncBromWindowSec=4
SyncFdl1WindowSec=2
ConnectMSec=1000
StartMSec=1500
MidstMSec=1500
MidstLastMSec=1500
EndMSec=1500
ExecFdl1MSec=500
ExecFdl2MSec=2000
EraseMSec=1500
ReadMSec=1500
ResetMSec=1000
PdlConnectMSec=200
PdlConnectWindowSec=4
PdlDataMSec=1000
PdlExecMSec=100
OtherMSec=1000
SecondEnumerationMSec=1500
EOF
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=2M --size=BOOT=1M --size=Recovery=1M >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/again.pac" --second-enum --size=System=2M --size=BOOT=1M --size=Recovery=1M >/dev/null
ln -s "$FDLD_TEST_PACS/uis8850_full.pac" "$FDLD_TEST_PACS/uis8910_full.pac" "$WORK/"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac" "$WORK/again.pac" "$WORK/uis8910_full.pac" "$WORK/uis8850_full.pac"
mkdir "$WORK/before"

number_of() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -o "\"$2\":[0-9]*" | head -n 1 | cut -d: -f2 | grep . || echo 0; }
changed() { echo $(($(number_of "$1" bytes_written) + $(number_of "$1" bytes_erased))); }
right() { "$FDLD_BUILD/flashcheck" "$WORK/${package[$1]}" "$WORK/before/${flash[$1]}" "$WORK/flash/${flash[$1]}" >"$WORK/out" 2>&1; }

wrong=0
complain() {
        echo "WRONG: ${chosen[$1]}: $2" >&2
        sed 's/^/    /' "$WORK/err" >&2
        wrong=$((wrong + 1))
}

# begin I: puts the row's unit into a socket and starts its job.
begin() {
        local i=$1 letter options
        unit[i]=u$((i % at_once))
        flash[i]=${unit[i]}.swap$((i / at_once + 1))
        read -r _ letter options package[i] want[i] touched[i] mends[i] <<<"${chosen[$i]}"
        [ "$options" = - ] && options=
        options=${options/table=/table=$here/}
        simctl "{\"cmd\":\"swap\",\"device\":\"${unit[i]}\",\"spec\":\"$(family_of "$letter"),name=${unit[i]}${options:+,$options}\"}" >"$WORK/out" ||
                fail "${chosen[$i]}: no such unit: $(cat "$WORK/out")"
        cp -a "$WORK/flash/${flash[i]}" "$WORK/before/"
        simctl "{\"cmd\":\"plug\",\"device\":\"${unit[i]}\"}" >/dev/null
        start_job flash "${package[$i]}" --slot="$(port_of "${unit[$i]}")"
        jobs[i]=$job
}

judge() {
        local i=$1 got=0 code
        fdlctl -q --timeout=60 wait "${jobs[$i]}" >"$WORK/out" 2>"$WORK/err" || got=$?
        left[i]=no
        simctl "{\"cmd\":\"describe\",\"device\":\"${unit[$i]}\"}" | grep -q '"present":true' || left[i]=yes
        code=$(fdlctl -j show "${jobs[$i]}" | grep -o '"code":"[^"]*"' | head -n 1 | cut -d'"' -f4 || true)
        [ -z "${FDLD_TELL:-}" ] || echo "${chosen[$i]} => ${code:-done} ($got) $(sed -n 3p "$WORK/err")"
        if [ "${want[$i]}" = done ]; then
                [ "$got" -eq 0 ] || complain "$i" "ended with $code"
                [ "$got" -ne 0 ] || [ "${touched[$i]}" = other ] || right "$i" || complain "$i" "done, but flash is wrong: $(cat "$WORK/out")"
                return
        fi
        [[ $code =~ ^(${want[$i]})$ ]] || complain "$i" "ended with ${code:-done}"
        if [ "${touched[$i]}" = no ]; then
                [ "$(changed "${unit[$i]}")" -eq 0 ] || complain "$i" "flash was changed"
                [ "$got" -ne 10 ] || complain "$i" "nothing was written, but it says it must be flashed again"
        elif [ "${touched[$i]}" = yes ]; then
                # What was read back and is wrong has an exit code of its own.
                [ "$got" -eq 10 ] || [[ $got -eq 5 && $code == verify-mismatch-* ]] || complain "$i" "exit code $got, not 10"
        fi
}

# Its fault is used up. A unit that needs it is plugged in again, another one is flashed where it sits.
mend() {
        local i=$1 got=0
        [ "${mends[$i]}" = yes ] || return 0
        start_job retry "${jobs[$i]}"
        expect 0 fdlctl -j show "$job"
        grep -q '"UserAction":"replug"' "$WORK/out" || [ "${left[$i]}" = yes ] &&
                simctl "{\"cmd\":\"replug\",\"device\":\"${unit[$i]}\"}" >/dev/null
        fdlctl -q --timeout=60 wait "$job" >"$WORK/out" 2>"$WORK/err" || got=$?
        [ "$got" -eq 0 ] || complain "$i" "the retry ended with $got"
        [ "$got" -ne 0 ] || right "$i" || complain "$i" "not mended: $(cat "$WORK/out")"
}

for ((from = 0; from < ${#chosen[@]}; from += at_once)); do
        to=$((from + at_once < ${#chosen[@]} ? from + at_once : ${#chosen[@]}))
        for ((i = from; i < to; i++)); do begin $i; done
        for ((i = from; i < to; i++)); do judge $i; done
        for ((i = from; i < to; i++)); do mend $i; done
        for ((i = from; i < to; i++)); do simctl "{\"cmd\":\"unplug\",\"device\":\"${unit[$i]}\"}" >/dev/null || true; done
done
[ "$wrong" -eq 0 ] || fail "$wrong of ${#chosen[@]} rows did not end as they must"
stop_station
trap - EXIT
echo "${#chosen[@]} units, each ended as it must"
