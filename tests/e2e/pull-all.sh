#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Units are pulled out at every step of their plan, of all three families, several at a time: each time a failure of class gone at
# the step's own stage, nothing written before its time, the backup on disk; the neighbour passes; retry and plugging in mend it.
# The points come from the plan itself. Without FDLD_LONG only every so many of them are tried.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
need_packages
victims=4
devices=()
for family in uis8850 uis8910 phone-emmc; do
        for i in $(seq 0 $victims); do # the last one is the neighbour
                devices+=("--device=$family,name=$family-$i,plug=no")
        done
done
enter_world --fast "${devices[@]}"
trap stop_station EXIT
mkdir -p "$WORK/etc"
cat >"$WORK/etc/fdld.conf" <<'EOF'
[Devices]
AllowIds=0525:a4a7 1782:4d16

[Timeouts]
SecondEnumerationMSec=300
EOF
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" --size=System=2M --size=BOOT=1M --size=Recovery=1M >/dev/null
start_bus
start_daemon

field() { # field NAME: of the plan's step in $step, "" if it has none
        [[ $step =~ \"$1\":\"?([^,\"\}]*) ]] && echo "${BASH_REMATCH[1]}" || true
}

# number_of UNIT FACT: a number that the simulated unit tells.
number_of() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -o "\"$2\":[0-9]*" | head -n 1 | cut -d: -f2 | grep . || echo 0; }

# say_load STAGE: where a loader's transfer in this stage can be broken off.
say_load() {
        local at=$1 stage
        stage=$(field stage)
        if [ "$at" = pdl ]; then
                printf '%s %s-gone no\n' pdl:pdl-start "$stage" "pdl:pdl-mid:$(($(field size) / 2))" "$stage" pdl:pdl-end "$stage"
        else
                printf '%s %s-gone no\n' "$at:start" "$stage" "$at:midst:$(($(field size) / 2))" "$stage" "$at:end" "$stage"
        fi
}

say_exec() {
        local at=$1 command=exec
        [ "$at" = pdl ] && command=pdl-exec
        echo "$at:$command $(field stage)-gone no"
}

# A write: its START, its middle, its END. The first touches nothing if nothing was touched before.
say_write() {
        local touched=$1
        starts=$((starts + 1))
        echo "fdl2:start:#$starts write-gone $touched"
        # With the last byte the device begins to check; a small image has no other block.
        echo "fdl2:midst:$(($(field size) / 2))@$starts (write|checking)-gone yes"
        echo "fdl2:end:#$starts write-gone yes"
}

say_backup() {
        local k
        if [ "$family" = phone-emmc ]; then
                for k in 1 2; do
                        reads=$((reads + 1))
                        echo "fdl2:read-start:#$reads backup-gone no"
                        echo "fdl2:read-midst:$(($(field size) / 2))@$reads backup-gone no"
                        echo "fdl2:read-end:#$reads backup-gone no"
                done
        elif [ "$(field id)" = NV ]; then
                echo "fdl2:read:100000 backup-gone no"
        else
                echo "fdl2:read:#1 backup-gone no"
        fi
}

# points FAMILY PACKAGE READS: "where code touched" for each point of the plan; READS: how often a module is read in all.
points() {
        local family=$1 loader=0 starts=0 reads=0 erases=0 first=brom touched=yes step
        [ "$family" = uis8910 ] && first=pdl
        while read -r step; do
                case $(field op) in
                handshake)
                        [ "$first" = pdl ] && echo "pdl:pdl-connect handshake-gone no"
                        [ "$first" = brom ] && printf '%s handshake-gone no\n' brom:sync brom:connect
                        ;;
                load)
                        loader=$((loader + 1))
                        if [ $loader -eq 1 ]; then say_load $first; else say_load fdl1; fi
                        ;;
                exec)
                        if [ $loader -eq 1 ]; then say_exec $first; else say_exec fdl1; fi
                        [ $loader -eq 1 ] && [ "$family" = uis8850 ] && printf '%s exec-fdl1-gone no\n' fdl2:sync fdl2:connect
                        [ $loader -eq 1 ] && [ "$family" != uis8850 ] && printf '%s exec-fdl1-gone no\n' fdl1:sync fdl1:connect
                        ;;
                identify) [ "$family" = phone-emmc ] && printf '%s identify-gone no\n' fdl2:plain fdl2:read-partition ;;
                backup) say_backup ;;
                erase)
                        erases=$((erases + 1))
                        echo "fdl2:erase:#$erases erase-gone yes"
                        ;;
                write | write-nv) say_write $touched ;;
                check-nv) printf 'fdl2:read:#%s %s-gone yes\n' $(($3 - 3)) "$(field stage)" "$3" "$(field stage)" ;;
                reset) echo "fdl2:reset done yes" ;;
                esac
        done < <(fdlctl plan -j "$2" | sed 's/{"step":/\n&/g' | grep '^{"step":')
}

plug_all() {
        local i
        for i in $(seq 0 $victims); do
                simctl "{\"cmd\":\"replug\",\"device\":\"$family-$i\"}" >/dev/null
        done
}

in_vault() { find "$WORK/state/vault" -type f -size +0 | wc -l; }

prepare() {
        local i
        before=$WORK/before
        rm -rf "$before"
        plug_all
        mkdir "$before"
        for i in $(seq 0 $victims); do
                cp -a "$WORK/flash/$family-$i" "$before/"
                port[i]=$(port_of "$family-$i")
        done
        backups=$(in_vault)
        start_job flash "${package##*/}" --slot="${port[0]}"
        expect 0 fdlctl -q --timeout=600 wait "$job"
        backups=$(($(in_vault) - backups))
        total_reads=$(number_of "$family-0" read)
}

# start I: the unit's fault is set and its job started.
start() {
        local i=$1
        written[i]=$(($(number_of "$family-$i" bytes_written) + $(number_of "$family-$i" bytes_erased)))
        if [ "$i" -lt $victims ]; then
                simctl "{\"cmd\":\"fault\",\"device\":\"$family-$i\",\"fault\":\"at=${at[i]} disconnect\"}" >"$WORK/out" ||
                        fail "no fault at ${at[i]}: $(cat "$WORK/out")"
        fi
        start_job flash "${package##*/}" --slot="${port[$i]}"
        jobs[i]=$job
}

# The job failed as it must.
check_failed() {
        local i=$1 want=4 got=0 now where="$family pulled at ${at[$1]}"
        [ "${touched[$i]}" = yes ] && want=10
        [ "${code[$i]}" = "done" ] && want=0
        fdlctl -q --timeout=600 wait "${jobs[$i]}" >"$WORK/out" 2>"$WORK/err" || got=$?
        [ "$want" -eq 0 ] || grep -qE ": failed, (${code[$i]})\$" "$WORK/err" "$WORK/out" ||
                fail "$where: not ${code[$i]}: $(cat "$WORK/out" "$WORK/err")"
        [ "$got" -eq "$want" ] || fail "$where: exit code $got, not $want: $(cat "$WORK/err")"
        [ "$(number_of "$family-$i" faults_hit)" -gt 0 ] || fail "$where: the fault never struck"
        now=$(($(number_of "$family-$i" bytes_written) + $(number_of "$family-$i" bytes_erased)))
        if [ "${touched[$i]}" = yes ]; then
                whole=$((whole + 1))
        else
                [ "$now" -eq "${written[$i]}" ] || fail "$where: flash was changed"
        fi
}

mend() {
        local i=$1
        if [ "${code[$i]}" != "done" ]; then
                start_job retry "${jobs[$i]}"
                simctl "{\"cmd\":\"replug\",\"device\":\"$family-$i\"}" >/dev/null
                expect 0 fdlctl -q --timeout=600 wait "$job"
        fi
        "$FDLD_BUILD/flashcheck" "$package" "$before/$family-$i" "$WORK/flash/$family-$i" || fail "$family ${at[$i]}: not mended"
}

# One round: as many points as there are victims, and a neighbour.
one_round() {
        local n=${#at[@]} i whole=1 had # the neighbour is a whole one
        had=$(in_vault)
        plug_all
        for i in $(seq 0 $((n - 1))); do start "$i"; done
        start $victims
        for i in $(seq 0 $((n - 1))); do check_failed "$i"; done
        expect 0 fdlctl -q --timeout=600 wait "${jobs[$victims]}"
        "$FDLD_BUILD/flashcheck" "$package" "$before/$family-$victims" "$WORK/flash/$family-$victims" ||
                fail "the neighbour of $family ${at[*]} is not what it must be"
        [ $(($(in_vault) - had)) -ge $((whole * backups)) ] || fail "$family pulled at ${at[*]}: a backup is not on disk"
        for i in $(seq 0 $((n - 1))); do mend "$i"; done
        at=() code=() touched=()
}

total=0
# family_matrix FAMILY PACKAGE EVERY
family_matrix() {
        local k=0 a c t every=$3
        family=$1 package=$2
        at=() code=() touched=() port=() jobs=() written=()
        expect 0 fdlctl -q import "$package"
        prepare
        points "$family" "$package" "$total_reads" >"$WORK/points"
        while read -r a c t; do
                k=$((k + 1))
                [ -n "${FDLD_LONG:-}" ] || [ $((k % every)) -eq 1 ] || continue
                at+=("$a") code+=("$c") touched+=("$t")
                total=$((total + 1))
                [ ${#at[@]} -lt $victims ] || one_round
        done <"$WORK/points"
        [ ${#at[@]} -eq 0 ] || one_round
}

family_matrix uis8850 "$FDLD_TEST_PACS/uis8850_full.pac" 16
family_matrix uis8910 "$FDLD_TEST_PACS/uis8910_full.pac" 10
family_matrix phone-emmc "$WORK/phone.pac" 30
stop_station
trap - EXIT
echo "pulled at $total points; each failed as it must, and was mended"
