#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a failed job leaves behind: its trace, named by the record and by the job's error, also after a restart of the daemon; what a running job
# says up to now; a capture that other programs read; the log. Nothing in them says which unit it was.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=phone,size=640M
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc"
printf '[Timeouts]\nMidstMSec=400\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
fault() { simctl "{\"cmd\":\"fault\",\"device\":\"phone\",\"fault\":\"$1\"}" | grep -q '"ok":true' || fail "no such fault: $1"; }
expect 0 fdlctl -q import "$WORK/phone.pac"

# a job that fails
fault "at=fdl2:midst:500000 silence count=1"
expect 10 fdlctl -q flash phone.pac
expect 0 fdlctl trace 2
cp "$WORK/out" "$WORK/trace"
[ "$(head -n 1 "$WORK/trace")" = "fdld-trace 1" ] && [ "$(tail -n 1 "$WORK/trace")" = end ] || fail "the trace is not whole"
grep -q '^failure silent write [0-9]* write-silent - MIDST_DATA$' "$WORK/trace" || fail "the failure: $(grep ^failure "$WORK/trace")"
grep -q ' > sum plain 0002 63488 ~[0-9a-f]\{16\}  # MIDST_DATA$' "$WORK/trace" || fail "no data were sent"
grep -q ' expired 400$' "$WORK/trace" || fail "the time limit is not told"
grep -q ' step [0-9]* write l_modem$' "$WORK/trace" || fail "the step is not told"
grep -q ' nv le .* 5/8 ' "$WORK/trace" || fail "the items of the calibration are not told"
expect 0 fdlctl -j show 2
says '"evidence":"evidence/2.trace"'
expect 0 fdlctl -j history
says '"evidence":"evidence/2.trace"'
[ "$(stat -c %a "$WORK/state/evidence/2.trace")" = 600 ] || fail "everyone may read the file"

# a capture
expect 0 fdlctl trace 2 --pcap="$WORK/capture.pcap"
expect 1 fdlctl trace 2 --pcap="$WORK/capture.pcap"
says exists
[ "$(od -An -tx4 -N4 "$WORK/capture.pcap" | tr -d ' ')" = a1b2c3d4 ] || fail "no capture"
if command -v tshark >/dev/null; then
        frames=$(tshark -r "$WORK/capture.pcap" -T fields -e usb.transfer_type -e usb.urb_type 2>"$WORK/tshark" | sort | uniq -c | tr -s ' ' | tr '\n' ';')
        grep -q "0x03.*'C'.*;.*0x03.*'S'" <<<"$frames" || fail "tshark does not read the capture: $frames $(cat "$WORK/tshark")"
        ! tshark -r "$WORK/capture.pcap" -V 2>/dev/null | grep -qi malformed || fail "tshark finds malformed packets"
else
        echo "tshark is not installed: the capture was only looked at by its head"
fi

# nothing says which unit it was
describe=$(simctl '{"cmd":"describe","device":"phone"}')
chip=$(grep -o '"uid":"[0-9a-f]*"' <<<"$describe" | cut -d'"' -f4)
[ -n "$chip" ] || fail "no chip UID to look for"
! grep -qi "$chip" "$WORK/trace" "$WORK/capture.pcap" || fail "the chip UID is told"
! grep -qi "$(printf '%s' "$chip" | od -An -tx1 | tr -d ' \n')" "$WORK/trace" || fail "the chip UID is told in hex"

# the log: the lines of a job that is over, and its end
expect 0 fdlctl logs 2
says "write l_modem"
says "failed, write-silent"

# a job that runs
simctl '{"cmd":"replug","device":"phone"}' >"$WORK/reply"
fault "at=fdl2:midst:500000 slow=3000 count=1"
printf '[Timeouts]\n' >"$WORK/etc/fdld.conf"
stop_daemon
start_daemon
for _ in $tries; do # until the package is checked
        fdlctl -q --no-wait flash phone.pac >"$WORK/out" 2>&1 && break
        sleep 0.05
done
job=$(sed -n 's/^job //p' "$WORK/out")
for _ in $tries; do
        fdlctl trace "$job" >"$WORK/live" 2>/dev/null && grep -q 'write l_modem' "$WORK/live" && break
        sleep 0.05
done
grep -q 'step .* write l_modem' "$WORK/live" || fail "the running job tells nothing"
! grep -q ^failure "$WORK/live" || fail "a failure is told that is none"
timeout 60 "$FDLD_BUILD/fdlctl" logs "$job" >"$WORK/log" || fail "the log has no end"
grep -q 'step .* write l_modem' "$WORK/log" && grep -q "done" "$WORK/log" || fail "the log misses lines: $(cat "$WORK/log")"
expect 0 fdlctl -q wait "$job"
expect 3 fdlctl trace "$job"
says "Nothing is kept"
# what was kept before is there after a restart
expect 0 fdlctl trace 2
cmp "$WORK/out" "$WORK/trace" || fail "the kept trace changed"
expect 0 fdlctl -j show 2
says '"evidence":"evidence/2.trace"'
trap - EXIT
stop_station
echo "traces: $(wc -l <"$WORK/trace") lines of a failed job"
