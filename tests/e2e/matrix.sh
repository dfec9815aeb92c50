#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The part of the fault matrix that goes through libusb, udev and the bus: units that misbehave, and units nobody has seen before,
# flashed by the real daemon. Each ends with the class, stage and code that it deserves, "done" only where flash holds what it must,
# nothing is written where the plan could be known to fail, the code has an explanation, the slot says whether it may be unplugged,
# what failed and can be mended is mended by retry and plugging in again, and healthy neighbours that are flashed at the same time do
# not notice. Without FDLD_LONG only some of the cells are tried.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages

# Rows: quick or long; family; options of the unit; package; what must come of it: "done" or the code (a pattern);
# touched: yes (must be flashed again), no (flash as before), settled (flash is right already), other (not compared); mends: "yes" if a retry after plugging in must pass.
# A: uis8910, B: uis8850, P: phone-emmc; P>B: once it has left, a unit of that other kind is put into its socket.
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

at_once=12
declare -a package want touched mends
devices=("--device=phone-emmc,name=n0,plug=no" "--device=uis8850,name=n1,plug=no")
for ((i = 0; i < at_once; i++)); do devices+=("--device=phone-emmc,name=u$i,plug=no"); done
enter_world --fast --controllers=4 "${devices[@]}"
mapfile -t all < <(grep -v '^ *\(#\|$\)' "$here/matrix.table")
chosen=()
for row in "${all[@]}"; do
        read -r when _ <<<"$row"
        short "$when" || continue
        [ -z "${FDLD_ROWS:-}" ] || [[ $row =~ $FDLD_ROWS ]] || continue
        chosen+=("$row")
done
trap stop_station EXIT
mkdir -p "$WORK/etc"
# set_limits TIMES: how long units may take, and later how late those are that are late
set_limits() {
        times=$1
        cat >"$WORK/etc/fdld.conf" <<EOF
[Devices]
AllowIds=0525:a4a7 1782:4d16

[Station]
# The matrix is about how units behave while they are written to; verify.sh is about reading back.
Verify=ack

[Timeouts]
Learn=no
SyncBromWindowSec=$((4 * times))
SyncFdl1WindowSec=$((2 * times))
ConnectMSec=$((1000 * times))
StartMSec=$((1500 * times))
MidstMSec=$((1500 * times))
MidstLastMSec=$((1500 * times))
EndMSec=$((1500 * times))
ExecFdl1MSec=$((500 * times))
ExecFdl2MSec=$((2000 * times))
EraseMSec=$((1500 * times))
ReadMSec=$((1500 * times))
ResetMSec=$((1000 * times))
PdlConnectMSec=$((200 * times))
PdlConnectWindowSec=$((4 * times))
PdlDataMSec=$((1000 * times))
PdlExecMSec=$((100 * times))
OtherMSec=$((1000 * times))
SecondEnumerationMSec=$((1500 * times))
EOF
}
set_limits 1
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
bad=()
complain() {
        echo "WRONG: ${chosen[$1]}: $2" >&2
        sed 's/^/    /' "$WORK/err" >&2
        wrong=$((wrong + 1))
        bad[$1]=yes
}

# Healthy units beside the others: one of each kind, a new one for each round.
neighbour_package=(phone.pac uis8850_full.pac)
neighbour_family=(phone-emmc uis8850)
begin_neighbours() {
        local k
        round=$((round + 1))
        for k in 0 1; do
                simctl "{\"cmd\":\"swap\",\"device\":\"n$k\",\"spec\":\"${neighbour_family[k]},name=n$k\"}" >/dev/null
                cp -a "$WORK/flash/n$k.swap$round" "$WORK/before/"
                simctl "{\"cmd\":\"plug\",\"device\":\"n$k\"}" >/dev/null
                start_job flash "${neighbour_package[k]}" --slot="$(port_of n$k)"
                neighbour_job[k]=$job
        done
}
round=0
judge_neighbours() {
        local k i
        for k in 0 1; do
                if ! fdlctl -q --timeout=600 wait "${neighbour_job[k]}" >"$WORK/out" 2>"$WORK/err" ||
                        ! "$FDLD_BUILD/flashcheck" "$WORK/${neighbour_package[k]}" "$WORK/before/n$k.swap$round" "$WORK/flash/n$k.swap$round" >"$WORK/err" 2>&1; then
                        for ((i = $1; i < $2; i++)); do complain "$i" "a neighbour suffered"; done
                fi
                simctl "{\"cmd\":\"unplug\",\"device\":\"n$k\"}" >/dev/null || true
        done
}

# The other unit of a row "P>B": comes when the first is gone, and must not be written to.
replace_unit() {
        local i=$1
        [ -n "${other[$i]}" ] || return 0
        for _ in $tries; do
                simctl "{\"cmd\":\"describe\",\"device\":\"${unit[$i]}\"}" | grep -q '"present":true' || break
                sleep 0.02
        done
        simctl "{\"cmd\":\"swap\",\"device\":\"${unit[$i]}\",\"spec\":\"$(family_of "${other[$i]}"),name=${unit[$i]},seed=99\"}" >/dev/null
        # It may be there already: the cable was never taken out.
        simctl "{\"cmd\":\"plug\",\"device\":\"${unit[$i]}\"}" >/dev/null 2>&1 || true
        simctl "{\"cmd\":\"describe\",\"device\":\"${unit[$i]}\"}" | grep -q '"present":true' || fail "${chosen[$i]}: no other unit"
        swaps[i % at_once]=$((${swaps[i % at_once]:-0} + 1))
}

# What is told of a failure: class and stage as in its code, an explanation with cause and action, no raw numbers of errors.
judge_words() {
        local i=$1 code=$2 stage class
        expect 0 fdlctl -j show "${jobs[$i]}"
        class=$(grep -o '"class":"[^"]*"' "$WORK/out" | head -n 1 | cut -d'"' -f4)
        stage=$(grep -o '"stage":"[^"]*"' "$WORK/out" | head -n 1 | cut -d'"' -f4)
        [[ $code == "$stage-$class"* ]] || complain "$i" "code $code, but stage \"$stage\" and class \"$class\""
        fdlctl explain "$code" >"$WORK/explained" 2>&1 || complain "$i" "$code has no explanation"
        if grep -qiE 'unknown error|errno' "$WORK/out" "$WORK/explained"; then complain "$i" "it is told as an unknown error"; fi
        grep -qE '"must_reflash":(true|false)' "$WORK/out" || complain "$i" "it is not told whether it must be flashed again"
}

# begin I: puts the row's unit into a socket and starts its job.
begin() {
        local i=$1 letter options
        unit[i]=u$((i % at_once))
        swaps[i % at_once]=$((${swaps[i % at_once]:-0} + 1))
        flash[i]=${unit[i]}.swap${swaps[i % at_once]}
        read -r _ letter options "package[i]" "want[i]" "touched[i]" "mends[i]" <<<"${chosen[$i]}"
        [ "$options" = - ] && options=
        other[i]=
        [[ $letter == *\>* ]] && other[i]=${letter#*>}
        letter=${letter%>*}
        options=${options/table=/table=$here/}
        # Seconds late: about one more than the limit.
        [[ $options =~ (slow|late)=([0-9]{4,}) ]] &&
                options=${options/${BASH_REMATCH[0]}/${BASH_REMATCH[1]}=$((1000 + (BASH_REMATCH[2] - 1000) * times))}
        simctl "{\"cmd\":\"swap\",\"device\":\"${unit[i]}\",\"spec\":\"$(family_of "$letter"),name=${unit[i]}${options:+,$options}\"}" >"$WORK/out" ||
                fail "${chosen[$i]}: no such unit: $(cat "$WORK/out")"
        cp -a "$WORK/flash/${flash[i]}" "$WORK/before/"
        simctl "{\"cmd\":\"plug\",\"device\":\"${unit[i]}\"}" >/dev/null
        port[i]=$(port_of "${unit[$i]}")
        start_job flash "${package[$i]}" --slot="${port[$i]}"
        jobs[i]=$job
}

# However busy the machine: a wait that ends late is no finding.
judge() {
        local i=$1 got=0 code
        fdlctl -q --timeout=600 wait "${jobs[$i]}" >"$WORK/out" 2>"$WORK/err" || got=$?
        left[i]=no
        simctl "{\"cmd\":\"describe\",\"device\":\"${unit[$i]}\"}" | grep -q '"present":true' || left[i]=yes
        code=$(fdlctl -j show "${jobs[$i]}" | grep -o '"code":"[^"]*"' | head -n 1 | cut -d'"' -f4 || true)
        [ -z "${FDLD_TELL:-}" ] || echo "${chosen[$i]} => ${code:-done} ($got) $(sed -n 3p "$WORK/err")"
        if [ "${want[$i]}" = "done" ]; then
                [ "$got" -eq 0 ] || complain "$i" "ended with $code"
                [ "$got" -ne 0 ] || [ "${touched[$i]}" = other ] || right "$i" || complain "$i" "done, but flash is wrong: $(cat "$WORK/out")"
                return
        fi
        [[ $code =~ ^(${want[$i]})$ ]] || complain "$i" "ended with ${code:-done}"
        [ -n "$code" ] || return 0
        judge_words "$i" "$code"
        # Whoever answered, left or was never told to write is not at work any more.
        if [ "${touched[$i]}" = no ] || [[ $code == *-gone* || $code == *-refused-* || $code == *-mismatch-* ]]; then
                fdlctl -j show "${port[$i]}" | grep -q '"SafeToUnplug":true' ||
                        complain "$i" "the slot does not say that it may be unplugged"
        fi
        if [ -n "${other[$i]}" ]; then
                [ "$(changed "${unit[$i]}")" -eq 0 ] || complain "$i" "the other unit was written to"
                return
        fi
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
        [ "${mends[$i]}" = yes ] && [ -z "${bad[$i]:-}" ] || return 0
        start_job retry "${jobs[$i]}"
        expect 0 fdlctl -j show "$job"
        grep -q '"UserAction":"replug"' "$WORK/out" || [ "${left[$i]}" = yes ] &&
                simctl "{\"cmd\":\"replug\",\"device\":\"${unit[$i]}\"}" >/dev/null
        fdlctl -q --timeout=600 wait "$job" >"$WORK/out" 2>"$WORK/err" || got=$?
        [ "$got" -eq 0 ] || complain "$i" "the retry ended with $got"
        [ "$got" -ne 0 ] || right "$i" || complain "$i" "not mended: $(cat "$WORK/out")"
}

# All rows that are chosen, some at a time.
try_rows() {
        local from to i
        for ((from = 0; from < ${#chosen[@]}; from += at_once)); do
                to=$((from + at_once < ${#chosen[@]} ? from + at_once : ${#chosen[@]}))
                begin_neighbours
                for ((i = from; i < to; i++)); do begin $i; done
                for ((i = from; i < to; i++)); do replace_unit $i; done
                for ((i = from; i < to; i++)); do judge $i; done
                for ((i = from; i < to; i++)); do mend $i; done
                judge_neighbours $from $to
                for ((i = from; i < to; i++)); do simctl "{\"cmd\":\"unplug\",\"device\":\"${unit[$i]}\"}" >/dev/null || true; done
        done
}
try_rows

# A machine that is busy with something else may not keep such short limits. What went wrong is tried once more, where everything may take
# longer and comes later; what is wrong then is wrong.
if [ "$wrong" -gt 0 ]; then
        all=("${chosen[@]}") suspects=("${!bad[@]}") chosen=() bad=()
        for i in "${suspects[@]}"; do chosen+=("${all[$i]}"); done
        echo "${#chosen[@]} cells are tried again with longer limits"
        wrong=0
        set_limits 4
        stop_daemon
        start_daemon
        packages_ready
        try_rows
        again=("${!bad[@]}") bad=() chosen=("${all[@]}")
        for i in "${again[@]}"; do bad[${suspects[$i]}]=yes; done
fi

# The table: a row for each command that was struck, and one for units that are as they are.
for ((i = 0; i < ${#chosen[@]}; i++)); do
        read -r _ letter options _ <<<"${chosen[$i]}"
        if [[ $options =~ fault=at=([a-z0-9]+):([a-z0-9*-]+)[^+]*[+]([a-z-]+) ]]; then
                kind=${BASH_REMATCH[3]}
                [[ $letter == *\>* ]] && kind=unit
                echo "${BASH_REMATCH[1]}:${BASH_REMATCH[2]} $kind ${bad[i]:-right}"
        else
                echo "units kind ${bad[i]:-right}"
        fi
done | awk '
        BEGIN {
                split("silent slow checksum refused garbage truncated glued gone late hang unit flash kind", columns)
                split("silence=silent drop-ack=silent stall=silent slow=slow bad-sum=checksum nak=refused garbage=garbage truncate=truncated " \
                      "glue-log=glued unsolicited-log=glued disconnect=gone late=late hang-after-ack=hang unit=unit write-error=flash " \
                      "bad-readback=flash kind=kind", words)
                for (w in words) { split(words[w], pair, "="); column[pair[1]] = pair[2] }
        }
        { if (!($1 in seen)) { seen[$1] = 1; rows[++n] = $1 }; all[$1, column[$2]]++; if ($3 == "right") right[$1, column[$2]]++ }
        END {
                printf "%-22s", "stage command"
                for (c = 1; c <= 13; c++) printf " %9s", columns[c]
                printf "\n"
                for (r = 1; r <= n; r++) {
                        printf "%-22s", rows[r]
                        for (c = 1; c <= 13; c++) {
                                a = all[rows[r], columns[c]]; g = right[rows[r], columns[c]] + 0
                                printf " %9s", a == 0 ? "-" : a == g ? a : g "/" a
                        }
                        printf "\n"
                }
        }'
wrong_cells=${#bad[@]}
echo "${#chosen[@]} cells, $((${#chosen[@]} - wrong_cells)) right"
[ "$wrong" -eq 0 ] || fail "$wrong_cells of ${#chosen[@]} cells did not end as they must"
stop_station
trap - EXIT
