#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A shift: units of which some are faulty, each in its own way, go through the sockets of one batch. The daemon is killed three times, the disk of the
# state directory is full once, a tray of bad units stops the line once and a person resumes it. Each unit ends with exactly one final record,
# and its flash is what that record says. FDLD_LONG=1: 400 units, 2 % of them faulty, in 16 sockets; else 24 in 4.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
# shellcheck source=tests/e2e/units.sh
. "$here/units.sh"
sockets=4 units=24 kills=(3 13 21) full=16
declare -A natures=([2]=nv [5]=write [8]=rom [9]=rom [10]=rom [14]=garbled [17]=pulled [20]=readback)
if [ -n "${FDLD_LONG:-}" ]; then
        sockets=16 units=400 kills=(60 170 310) full=240
        natures=([40]=nv [90]=write [140]=garbled [200]=rom [201]=rom [202]=rom [265]=pulled [330]=readback)
fi
# What the simulator makes of each, and how the unit must end.
declare -A faults=([good]="" [nv]=nv=both-bad [write]=fault=at=fdl2:midst:8192@9+write-error+count=forever [rom]=brom-refuse=a6
        [garbled]=fault=at=fdl2:midst:8192@9+garbage [pulled]=fault=at=fdl2:midst:8192@9+disconnect
        [readback]=fault=at=fdl2:read-midst+bad-readback+count=forever)
declare -A ends=([good]=passed [garbled]=passed [pulled]=passed [nv]=failed [write]=failed [rom]=failed [readback]=failed)

[ "${FDLD_INSIDE:-}" = "$0" ] || enter_small_world "$sockets" plug=no,port=1-SOCKET --fast
finish() {
        stop_station
        umount -l "$WORK/state" 2>/dev/null || true
}
trap finish EXIT
PACKAGE=$WORK/phone.pac
mkdir -p "$WORK/before" "$WORK/state" "$WORK/ended"
make_small_package "$PACKAGE" >/dev/null
# What is saved of each unit is 2 MiB.
mount -t tmpfs -o size=$((64 + 3 * units))m,mode=0700 fdld-shift "$WORK/state" || { echo "skipped: no tmpfs can be mounted here"; exit 77; }
start_bus
start_daemon
expect 0 fdlctl -q import "$PACKAGE"
expect 0 fdlctl -q start-batch phone.pac
batch=$(sed -n 's/^batch //p' "$WORK/out")

declare -a number swaps quiet mine
given=0 ended=0 line_stops=0 disk_stops=0 cursor=0 filled=no
# give I: the next unit of the shift into socket I; none is left: the socket stays empty.
give() {
        local how
        unplug "$1" 2>/dev/null || true
        number[$1]=0
        [ "$given" -lt "$units" ] || return 0
        given=$((given + 1)) swaps[$1]=$((${swaps[$1]:-0} + 1))
        how=${natures[$given]:-good}
        next_unit "$1" "${swaps[$1]}" $((1000 + given)) "$how" "${faults[$how]}"
        number[$1]=$given quiet[$1]=0 mine[$1]=
        plug "$1"
}
# end_unit I HOW: it goes into the box for HOW.
end_unit() {
        local i=$1 what=${nature[$1]}
        [ "${ends[$what]}" = "$2" ] || fail "unit ${number[$i]} ($what) $2: ${mine[$i]}"
        if [ "$2" = passed ]; then
                is_whole "$i" || fail "unit ${number[$i]} ($what) passed by its record, but: $(cat "$WORK/why")"
        elif [[ ${mine[$i]} != *" must" ]]; then
                is_untouched "$i" || fail "unit ${number[$i]} ($what) was changed, and its record does not say so: ${mine[$i]}"
        fi
        tr ';' '\n' <<<"${mine[$i]}" | sed "s/^/${number[$i]} $2 /; /^[0-9]* $2 \$/d" >>"$WORK/ended/units"
        ended=$((ended + 1))
        give "$i"
}
# New records go to the unit that sits in the socket: "job result code must".
read_records() {
        local port line
        fdlctl export --cursor="$cursor" >"$WORK/new" 2>/dev/null || return 0
        while IFS= read -r line; do
                cursor=$((cursor + 1))
                port=$(sed -n 's/.*"port":"[^"]*:\([0-9]*\)".*/\1/p' <<<"$line")
                mine[port - 1]+=${mine[port - 1]:+;}"$(sed -n 's/.*"job":\([0-9]*\),.*/\1/p' <<<"$line") $(sed -n 's/.*"result":"\([a-z]*\)".*/\1/p' <<<"$line") $(sed -n 's/.*"code":"\([a-z0-9-]*\)".*/\1/p' <<<"$line")$(grep -qF '"must_reflash":true' <<<"$line" && echo " must" || true)"
                fresh+=" $((port - 1))"
        done <"$WORK/new"
}
look_at_units() {
        local i last code
        fresh=
        read_records
        for i in $(printf '%s\n' $fresh | sort -un); do
                [ "${number[$i]}" -ne 0 ] || fail "a record for nobody: ${mine[$i]}"
                quiet[$i]=0
                read -r _ last code _ <<<"${mine[$i]##*;}"
                case $last in
                done) end_unit "$i" passed ;;
                failed) [[ $code =~ -(silent|slow|gone|garbled|host) ]] || end_unit "$i" failed ;;
                interrupted) ;;
                *) fail "unit ${number[$i]}: $last" ;;
                esac
        done
}
# Who does not get on is plugged in again, which is what the slot asks for.
look_at_sockets() {
        local i state
        fdlctl -j slots | tr '{' '\n' | sed -n 's/.*"Port":"[^"]*:\([0-9]*\)","State":"\([a-z]*\)".*/\1 \2/p' >"$WORK/slots"
        while read -r i state; do
                i=$((i - 1))
                [ "${number[$i]:-0}" -ne 0 ] && [ "$state" != busy ] || { quiet[$i]=0; continue; }
                quiet[$i]=$((quiet[$i] + 1))
                [ $((quiet[$i] % 8)) -eq 0 ] || continue
                [ "${quiet[$i]}" -le 200 ] || fail "unit ${number[$i]} (${nature[$i]}) does not get on: $state, ${mine[$i]}"
                unplug "$i" 2>/dev/null || true
                plug "$i"
        done <"$WORK/slots"
}
look_at_line() {
        fdlctl -j show "/org/fdld/Fdld1/batches/_$batch" >"$WORK/batch"
        grep -qF '"State":"paused"' "$WORK/batch" || return 0
        if grep -qF 'failed alike' "$WORK/batch"; then
                line_stops=$((line_stops + 1))
                [ "$(fdlctl status | head -1 | grep -c PAUSED)" -eq 1 ] || fail "status does not say that the line stands"
        elif grep -qF 'cannot be written' "$WORK/batch"; then
                [ "$filled" = yes ] || fail "the disk is not full"
                disk_stops=$((disk_stops + 1)) filled=over
                rm -f "$WORK/state/fill"
        else
                fail "the line stands: $(cat "$WORK/batch")"
        fi
        for _ in $tries; do fdlctl -q resume-batch "$batch" >/dev/null 2>&1 && return 0; sleep 0.1; done
        fail "the batch cannot be resumed"
}

# Who was met in the middle of a loader will not answer any more: a person plugs it in again. What sits in its last loader stays, and so does
# whose record was written after the last look: that may be its end.
replug_strays() {
        local i text
        for i in $(seq 0 $((sockets - 1))); do
                [ "${number[$i]}" -ne 0 ] || continue
                ! awk -v read="$cursor" '$1 > read { print $5 }' "$WORK/records" | grep -q ":$((i + 1))\$" || continue
                text=$(simctl "{\"cmd\":\"describe\",\"device\":\"u$i\"}")
                [ "$(field "$text" present)" = false ] || [ "$(field "$text" stage)" = fdl2 ] || { unplug "$i" 2>/dev/null || true; plug "$i"; }
        done
}

for i in $(seq 0 $((sockets - 1))); do
        met "$i" "u$i" good
        give "$i"
done
began=$SECONDS killed=0
while [ "$ended" -lt "$units" ]; do
        look_at_units
        look_at_line
        look_at_sockets
        if [ "$killed" -lt 3 ] && [ "$ended" -ge "${kills[$killed]}" ]; then
                killed=$((killed + 1))
                kill -9 "$daemon_pid"
                wait "$daemon_pid" 2>/dev/null || true
                look_at_database "$WORK/records"
                replug_strays
                start_daemon
        fi
        if [ "$filled" = no ] && [ "$ended" -ge "$full" ]; then
                filled=yes
                dd if=/dev/zero of="$WORK/state/fill" bs=64k 2>/dev/null || true
                dd if=/dev/zero of="$WORK/state/fill" bs=1 oflag=append conv=notrunc 2>/dev/null || true
        fi
        [ $((SECONDS - began)) -lt 1500 ] || fail "$ended of $units units after 25 minutes"
done
seconds=$((SECONDS - began))
expect 0 fdlctl -j show "/org/fdld/Fdld1/batches/_$batch"
cp "$WORK/out" "$WORK/batch"
expect 0 fdlctl history --check
stop_daemon
[ "$killed" -eq 3 ] && [ "$disk_stops" -eq 1 ] && [ "$line_stops" -ge 1 ] || fail "$killed kills, $disk_stops stops by the full disk, $line_stops line stops"

# The database as others see it: its records are those that the units were seen to have, each with one unit only, and the last one is final.
look_at_database "$WORK/records"
cmp -s <(cut -d' ' -f2,3 "$WORK/records" | sort) <(cut -d' ' -f3,4 "$WORK/ended/units" | sort) || fail "other records than the units were seen to have"
passed=$(awk '$2 == "passed" && $4 == "done"' "$WORK/ended/units" | wc -l)
[ "$(awk '{ print $1 }' "$WORK/ended/units" | sort -u | wc -l)" -eq "$units" ] || fail "a unit without a record"
[ "$(awk '$4 == "done" { print $1 }' "$WORK/ended/units" | sort | uniq -d | wc -l)" -eq 0 ] || fail "a unit passed twice"
[ "$(awk '{ last[$1] = $4; how[$1] = $2 } END { for (u in last) n += last[u] == (how[u] == "passed" ? "done" : "failed"); print n }' "$WORK/ended/units")" -eq "$units" ] ||
        fail "a unit whose last record is not its end"
grep -qF "\"Passed\":$passed," "$WORK/batch" || fail "$passed units passed, but the batch counted others"
finish
trap - EXIT
echo "$units units in $sockets sockets, $seconds s: $passed passed, $((units - passed)) failed; $killed kills, a full disk, $line_stops line stop(s)"
