#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sockets are taught, others are left alone; slots are armed; the board on paper, on a terminal of 80 by 24, and how it ends.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=a,port=1-1,plug=no --device=phone-emmc,name=b,port=1-2,plug=no,seed=2 \
        --device=phone-emmc,name=other,port=1-3,seed=3
trap stop_station EXIT
export LC_ALL=C.UTF-8

"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc/profiles.d"
printf '# comment\n[Profile]\nMode=upgrade\nSpeed=9\n' >"$WORK/etc/profiles.d/bad.conf"
start_bus
got=0
STATE_DIRECTORY=$WORK/state CONFIGURATION_DIRECTORY=$WORK/etc "$FDLD_BUILD/fdld" 2>"$WORK/err" || got=$?
[ "$got" -eq 3 ] || fail "fdld started with a bad profile: $got"
grep -q 'bad.conf:4: There is no setting Speed=' "$WORK/err" || fail "file and line are not named: $(cat "$WORK/err")"
printf '[Profile]\n# nothing\n' >"$WORK/etc/profiles.d/bad.conf"
got=0
STATE_DIRECTORY=$WORK/state CONFIGURATION_DIRECTORY=$WORK/etc "$FDLD_BUILD/fdld" 2>"$WORK/err" || got=$?
[ "$got" -eq 3 ] && grep -q 'bad.conf:2: The profile is empty' "$WORK/err" || fail "an empty profile was taken: $(cat "$WORK/err")"
rm "$WORK/etc/profiles.d/bad.conf"
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 0 fdlctl batches
says "0 batches listed."
# A list that a script left empty is not every slot.
expect 2 fdlctl start-batch phone.pac --slots=
says "names no slot"
# Sockets stand as they do on the jig: names first, 2 before 10.
bus_of=$(port_of other)
bus_of=${bus_of%:*}
for port in 1.10 1.9 10 2.1 2; do expect 0 fdlctl label "$bus_of:$port" ""; done
expect 0 fdlctl label "$bus_of:2.1" "unit 10"
expect 0 fdlctl label "$bus_of:10" "unit 9"
expect 0 fdlctl slots --no-legend
order=$(grep -o 'usb-0:[0-9.]*' "$WORK/out" | cut -d: -f2 | tr '\n' ' ')
[ "$order" = "10 2.1 1.9 1.10 2 3 " ] || fail "sockets stand in the order $order"
expect 0 fdlctl label "$bus_of:2.1" ""
expect 0 fdlctl label "$bus_of:10" ""

# Two sockets get names; the third, which nobody named, is left alone from then on.
fdlctl -q --timeout=600 teach left right >"$WORK/taught" &
teacher=$!
sleep 0.5
simctl '{"cmd":"plug","device":"a"}' >/dev/null
for _ in $tries; do grep -q left "$WORK/taught" && break; sleep 0.05; done
simctl '{"cmd":"plug","device":"b"}' >/dev/null
wait "$teacher" || fail "teach failed"
grep -q "left is $(port_of a)" "$WORK/taught" && grep -q "right is $(port_of b)" "$WORK/taught" || fail "wrong names: $(cat "$WORK/taught")"
expect 0 fdlctl watch --once
says "NOT LISTED"
sent=$(simctl '{"cmd":"describe","device":"other"}' | grep -o '"bytes_in":[0-9]*')
expect 0 fdlctl -q start-batch phone.pac --count=2
for _ in $tries; do
        fdlctl batches --no-legend | grep -q ' complete ' && break
        sleep 0.05
done
expect 0 fdlctl watch --once
says "PASSED"
says "take it out"
says "2 of 2 passed"
[ "$(simctl '{"cmd":"describe","device":"other"}' | grep -o '"bytes_in":[0-9]*')" = "$sent" ] || fail "bytes were sent to a port that is not listed"
expect 1 fdlctl probe "$(port_of other)"
expect 1 fdlctl start-batch phone.pac --slots="$(port_of other)"
says "none of the listed sockets"
expect 1 fdlctl flash phone.pac --slot="$(port_of other)" --no-wait
says "none of the listed sockets"
expect 1 fdlctl arm "$(port_of other)" --package=phone.pac
says "none of the listed sockets"
# The names survive the daemon, and that good units are still to be taken out; a list that is forgotten sets the others free.
stop_daemon
start_daemon
expect 0 fdlctl slots -j
says '"Label":"left"'
[ "$(grep -o '"State":"passed"' "$WORK/out" | wc -l)" -eq 2 ] || fail "the sockets do not say what they said before: $(cat "$WORK/out")"
expect 0 fdlctl teach --clear
expect 0 fdlctl probe --slot="$(port_of other)"

# Armed: what comes is flashed until it is disarmed.
expect 0 fdlctl arm left --package=phone.pac --reflash
expect 0 fdlctl -j show left
grep -q '"Batch":"/org/fdld/Fdld1/batches/_' "$WORK/out" || fail "an armed slot does not say so"
simctl '{"cmd":"replug","device":"a","delay":50}' >/dev/null
for _ in $tries; do
        fdlctl -j show left | grep -q '"Passed":2' && break
        sleep 0.05
done
expect 0 fdlctl -j show left
says '"Passed":2'
expect 0 fdlctl disarm left
expect 1 fdlctl disarm left
expect 2 fdlctl watch

# On a terminal: it fills the screen, keys work, and the terminal is as it was.
command -v script >/dev/null || { stop_station; trap - EXIT; echo "taught, armed; no script(1) for a terminal"; exit 0; }
export TERM=xterm
expect 0 fdlctl -q start-batch phone.pac --name=evening
on_terminal() { # KEYS: types them one a second; the screen goes to $WORK/screen
        (for key in $(fold -w1 <<<"$1"); do sleep 1; printf %s "$key"; done) |
                script -qec "stty rows 24 cols 80; '$FDLD_BUILD/fdlctl' watch; echo \"status \$?\"; stty -a" "$WORK/screen" >/dev/null
}
on_terminal pq
grep -q $'\033\[?1049h' "$WORK/screen" || fail "the board does not fill the screen"
tail -c 900 "$WORK/screen" | grep -q $'\033\[?25h.*\033\[?1049l' || fail "the terminal was not restored"
grep -q "status 0" "$WORK/screen" || fail "q does not end it well"
tail -n 8 "$WORK/screen" | grep -q ' echo ' || fail "the terminal does not echo any more"
expect 0 fdlctl batches
says paused
on_terminal rq
expect 0 fdlctl batches --no-legend
says running
stop_station
trap - EXIT
echo "taught, armed, watched"
