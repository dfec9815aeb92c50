#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The daemon is killed again and again, at random instants, its start among them, while a batch runs on four sockets whose units are changed as
# they pass. After each kill: the database is whole; no record that was there is gone, changed or doubled; what clients were told of as finished is
# recorded; each unit that passed by its record holds what it must, and one whose record says that it need not be flashed again is not
# half written. flashcheck and dbcheck look, not the daemon. FDLD_SOAK_KILLS (default 10), FDLD_SOAK_SEED,
# FDLD_SOAK_KEEP: a folder for the daemon's files if something is wrong.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
# shellcheck source=tests/e2e/units.sh
. "$here/units.sh"
export FDLD_SOAK_KILLS=${FDLD_SOAK_KILLS:-10} FDLD_SOAK_SEED=${FDLD_SOAK_SEED:-$((RANDOM * 32768 + RANDOM))}
sockets=4
[ "${FDLD_INSIDE:-}" = "$0" ] || enter_small_world "$sockets" plug=no
trap stop_station EXIT
RANDOM=$FDLD_SOAK_SEED
PACKAGE=$WORK/phone.pac
echo "$FDLD_SOAK_KILLS kills, seed $FDLD_SOAK_SEED"

# Up to $1, evenly.
random() { draw=$(((RANDOM * 32768 + RANDOM) % $1)); }
# pause MILLISECONDS
pause() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

launch() {
        STATE_DIRECTORY=$WORK/state RUNTIME_DIRECTORY=$WORK/run CONFIGURATION_DIRECTORY=$WORK/etc "$FDLD_BUILD/fdld" 2>>"$WORK/fdld.log" &
        daemon_pid=$!
}
kill_daemon() {
        kill -0 "$daemon_pid" 2>/dev/null || fail "the daemon ended by itself"
        kill -9 "$daemon_pid"
        wait "$daemon_pid" 2>/dev/null || true
        daemon_pid=
}

# until_progress: some unit gets some bytes; not for ever, for it may have passed.
until_progress() {
        local i bytes
        random $sockets; i=$draw
        bytes=$(field "$(simctl "{\"cmd\":\"describe\",\"device\":\"u$i\"}")" bytes_in)
        random 1400000
        simctl "{\"cmd\":\"wait\",\"device\":\"u$i\",\"until\":\"bytes_in>$((bytes + draw))\",\"timeout\":1500}" >/dev/null || true
}

declare -a due count half
changed=0 passed=0 attempts=0
change_unit() {
        count[$1]=$((count[$1] + 1)) changed=$((changed + 1))
        next_unit "$1" "${count[$1]}" $((100 + changed))
        plug "$1"
        due[$1]=no
}
changes_due() {
        local i
        for i in $(seq 0 $((sockets - 1))); do [ "${due[$i]}" = no ] || change_unit "$i"; done
}

# A unit that is off, or that failed, is plugged in again; half of the time also one that was left in the middle of a loader, which will not
# answer, or whose loader hangs: each time that it is picked up costs it a buffer, and it has three.
see_to() {
        local text last
        random 2
        text=$(simctl "{\"cmd\":\"describe\",\"device\":\"u$1\"}")
        last=$(records_of "$1" "$WORK/records" | tail -n 1 | cut -d' ' -f3)
        if [ "$(field "$text" present)" = false ] || [ "$last" = failed ] ||
                { [ "$draw" -eq 0 ] && [ "$(field "$text" hung)" = true ]; } ||
                { [ "$draw" -eq 0 ] && [ "$(field "$text" stage)" != fdl2 ] && [ "$(field "$text" bytes_in)" != 0 ]; }; then
                unplug "$1" || true
                plug "$1"
        fi
}

# What was half written when the daemon died is not said to be in order.
judge_interrupted() {
        local line
        line=$(records_of "$1" "$WORK/records" | tail -n +$((seen[$1] + 1)) | awk '$3 == "interrupted"' | head -n 1)
        [ -z "$line" ] || [ "${half[$1]}" = no ] || [ "$(cut -d' ' -f7 <<<"$line")" = 1 ] ||
                fail "unit ${folder[$1]} was half written, and its record does not say so: $line"
}

judge_all() {
        local i n
        look_at_database "$WORK/records"
        attempts=$(wc -l <"$WORK/records")
        # What was told.
        sed -n 's/.*"signal":"JobFinished","arguments":\[\([0-9]*\),"[^"]*","\([a-z]*\)".*/\1 \2/p' <&8 >>"$WORK/told.all"
        sort -u "$WORK/told.all" >"$WORK/told.sorted"
        cut -d' ' -f2,3 "$WORK/records" | sort -u >"$WORK/had.sorted"
        [ -z "$(comm -23 "$WORK/told.sorted" "$WORK/had.sorted")" ] || fail "clients were told of jobs that have no such record: $(comm -23 "$WORK/told.sorted" "$WORK/had.sorted")"
        for i in $(seq 0 $((sockets - 1))); do
                [ "${due[$i]}" = no ] || continue
                judge_interrupted "$i"
                n=$(records_of "$i" "$WORK/records" | wc -l)
                seen[$i]=$n
                judge "$i" "$WORK/records"
                if [ "$verdict" = passed ]; then
                        passed=$((passed + 1)) due[$i]=yes seen[$i]=0 half[$i]=no since[$i]=$attempts
                        continue
                fi
                half[$i]=no
                is_untouched "$i" || is_whole "$i" || half[$i]=yes
                see_to "$i"
        done
}

declare -a seen
mkdir -p "$WORK/before" "$WORK/state" "$WORK/run" "$WORK/etc"
make_small_package "$PACKAGE" >/dev/null
for i in $(seq 0 $((sockets - 1))); do
        met "$i" "u$i" good
        due[$i]=no count[$i]=0 seen[$i]=0 half[$i]=no
done
start_bus
start_daemon
expect 0 fdlctl -q import "$PACKAGE"
: >"$WORK/told"
fdlctl -j monitor >>"$WORK/told" 2>/dev/null &
monitor=$!
exec 8<"$WORK/told"
fdlctl export --follow --cursor-file="$WORK/cursor" >"$WORK/followed" 2>/dev/null &
follower=$!
ended() {
        local status=$?
        kill "$monitor" "$follower" 2>/dev/null || true
        [ "$status" -eq 0 ] || echo "seed $FDLD_SOAK_SEED, after kill ${n:-0}" >&2
        if [ "$status" -ne 0 ] && [ -n "${FDLD_SOAK_KEEP:-}" ]; then
                mkdir -p "$FDLD_SOAK_KEEP"
                cp -r "$WORK/fdld.log" "$WORK/records" "$WORK/told" "$WORK/state" "$FDLD_SOAK_KEEP/" || true
        fi
        stop_station
}
trap ended EXIT
expect 0 fdlctl -q start-batch phone.pac
batch=$(sed -n 's/^batch //p' "$WORK/out")
for i in $(seq 0 $((sockets - 1))); do plug "$i"; done

began=$SECONDS
for n in $(seq "$FDLD_SOAK_KILLS"); do
        [ -n "$daemon_pid" ] || launch
        # A fifth while it starts, a fifth after some time, the others when a unit has got so and so many bytes more. Units are changed
        # before, or on the way.
        random 10; how=$draw
        case $how in 0 | 1) random 150 ;; 2 | 3) random 2000 ;; *) random 500 ;; esac
        life=$draw
        random $((life + 1))
        pause "$draw"
        changes_due
        pause $((life - draw))
        [ "$how" -lt 4 ] || until_progress
        kill_daemon
        judge_all
        [ $((n % 50)) -ne 0 ] || echo "$n kills, $((SECONDS - began)) s: $passed units passed, $attempts attempts"
done

# Left alone it brings all to an end, but for those in the middle of a loader.
for i in $(seq 0 $((sockets - 1))); do
        [ "${due[$i]}" = yes ] || [ "$(field "$(simctl "{\"cmd\":\"describe\",\"device\":\"u$i\"}")" stage)" = fdl2 ] || { unplug "$i" || true; plug "$i"; }
done
changes_due
start_daemon
for _ in $(seq 1200); do
        fdlctl -j slots >"$WORK/slots"
        [ "$(grep -o '"State":"passed"' "$WORK/slots" | wc -l)" -lt $sockets ] || break
        for i in $(seq 0 $((sockets - 1))); do
                fdlctl -j slots | tr '{' '\n' | grep -F "usb-0:$((i + 1))\"" | grep -qF '"Action":"replug"' && { unplug "$i" || true; plug "$i"; }
        done
        sleep 0.1
done
expect 0 fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"
says '"State":"running"'
cp "$WORK/out" "$WORK/batch"
expect 0 fdlctl history --check
says "$(fdlctl export 2>/dev/null | wc -l) records are as they were written"
fdlctl export 2>/dev/null >"$WORK/exported"
for _ in $tries; do [ "$(wc -l <"$WORK/followed")" -ge "$(wc -l <"$WORK/exported")" ] && break; sleep 0.05; done
# At least once: what was on its way when the daemon was killed may come again.
cmp -s <(awk '!met[$0]++' "$WORK/followed") "$WORK/exported" || fail "who followed the records did not get them all, or others"
stop_daemon
judge_all
[ "$passed" -eq $((changed + sockets)) ] || fail "$((changed + sockets)) units, and $passed passed"
grep -qF "\"Passed\":$passed," "$WORK/batch" || fail "$passed units passed, but the batch says $(grep -o '"Passed":[0-9]*' "$WORK/batch")"
counted=$(grep -o '"Passed":[0-9]*' "$WORK/slots" | awk -F: '{ n += $2 } END { print n }')
[ "$counted" -eq "$passed" ] || fail "$passed units passed, but the slots counted $counted"
kill "$monitor" "$follower" 2>/dev/null || true
stop_station
trap - EXIT
echo "$FDLD_SOAK_KILLS kills in $((SECONDS - began)) s: $passed units passed in $attempts attempts; none lost, doubled or wrong; the database was whole each time"
awk '{ print $3 " " $4 }' "$WORK/records" | sort | uniq -c
