#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A field failure becomes a test by one command: traces of failures are played by simulated devices (usbsim --replay), and the daemon comes to
# the same class, stage, step, code, reply and command. Stored traces, one of each kind of failure, and one that is made here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
traces=$here/../traces
stored=("$traces"/*.trace)
devices=()
for i in "${!stored[@]}"; do
        name=$(basename "${stored[i]}" .trace)
        devices+=(--device="replay,trace=${stored[i]},name=$name,port=1-$((i + 2))")
done
enter_world --fast --device=phone-emmc,name=phone,size=640M,port=1-1 "${devices[@]}"
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc"
printf '[Timeouts]\nMidstMSec=1000\nExecFdl2MSec=3000\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"

# failure_of JOB: waits, and says what its own trace has to say of it
failure_of() {
        fdlctl -q wait "$1" >"$WORK/wait" 2>&1 && fail "job $1 did not fail"
        fdlctl trace "$1" | grep '^failure ' || fail "job $1 has no trace: $(cat "$WORK/wait")"
}

simctl '{"cmd":"fault","device":"phone","fault":"at=fdl2:erase nak=b3 count=1"}' >"$WORK/reply"
start_job flash phone.pac --slot="$(port_of phone)"
first=$job
jobs=()
for file in "${stored[@]}"; do
        name=$(basename "$file" .trace)
        verify=()
        [ "$name" != mismatch ] || verify=(--verify=full)
        start_job flash phone.pac --slot="$(port_of "$name")" "${verify[@]}"
        jobs+=("$job")
done
classes=
for i in "${!stored[@]}"; do
        want=$(grep '^failure ' "${stored[i]}")
        have=$(failure_of "${jobs[i]}")
        [ "$want" = "$have" ] || fail "$(basename "${stored[i]}"): it was \"$want\", the replay says \"$have\""
        classes+=$(cut -d' ' -f2 <<<"$have")' '
done
for class in silent slow refused gone garbled mismatch; do
        grep -qw "$class" <<<"$classes" || fail "no stored trace of the class $class"
done

# one that is made here, played in the same socket
want=$(failure_of "$first")
[ "$(cut -d' ' -f2,3,5 <<<"$want")" = "refused erase erase-refused-b3" ] || fail "the fault: $want"
fdlctl trace "$first" >"$WORK/fresh.trace"
simctl "{\"cmd\":\"swap\",\"device\":\"phone\",\"spec\":\"replay,trace=$WORK/fresh.trace,name=phone,port=1-1\"}" >"$WORK/reply"
grep -q '"ok":true' "$WORK/reply" || fail "no replay: $(cat "$WORK/reply")"
for _ in $tries; do
        fdlctl -j slots | tr '}' '\n' | grep -F "\"$(port_of phone)\"" | grep -q '"State":"occupied"' && break
        sleep 0.05
done
start_job flash phone.pac --slot="$(port_of phone)"
have=$(failure_of "$job")
[ "$want" = "$have" ] || fail "it was \"$want\", the replay says \"$have\""

# what is no trace is refused with a sentence
printf 'fdld-trace 1\nbegin\n0.000 dance\nend\n' >"$WORK/bad.trace"
expect 2 "$FDLD_BUILD/usbsim" --replay="$WORK/bad.trace" -- true
says "line 3: 'dance' is no event"
trap - EXIT
stop_station
echo "${#stored[@]} stored failures and a fresh one were played again, all the same"
