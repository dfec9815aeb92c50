#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Programs run for what happens to units: with the record on their input, in order, once after a restart; one that hangs is killed and
# delays no device; one that others may write is left out.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=unit
trap stop_all EXIT
stop_all() {
        [ -z "${hooks_pid:-}" ] || kill "$hooks_pid" 2>/dev/null || true
        stop_station
}
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
unit=$(port_of unit)

# It leaves the bus a moment after it has passed; then it enters boot mode again.
plug_in() {
        soon '"present":false' simctl '{"cmd":"describe","device":"unit"}'
        simctl '{"cmd":"unplug","device":"unit"}' >/dev/null
        simctl '{"cmd":"plug","device":"unit"}' >/dev/null
}

flash_once() {
        start_job flash phone.pac --slot="$unit"
        expect 0 fdlctl -q --timeout=600 wait "$job"
        plug_in
}

# One before anybody looks: history, not news.
flash_once

mkdir -p "$WORK/hooks.d" "$WORK/hook-state" "$WORK/seen"
# Whoever else writes "others may write" programs does not get them run.
cat >"$WORK/hooks.d/10-note" <<SCRIPT
#!/bin/sh
[ "\$1" = "\$FDLD_EVENT" ] || exit 1
cat >"$WORK/seen/\$(date +%s%N)-\$1"
SCRIPT
printf '#!/bin/sh\nsleep 600 & sleep 600\n' >"$WORK/hooks.d/20-hang"
printf '#!/bin/sh\ntouch %s/seen/untrusted\n' "$WORK" >"$WORK/hooks.d/30-untrusted"
printf '#!/bin/sh\nexit 3\n' >"$WORK/hooks.d/40-fails"
printf '#!/bin/sh\ntouch %s/seen/not-executable\n' "$WORK" >"$WORK/hooks.d/50-plain"
chmod 755 "$WORK/hooks.d" "$WORK/hooks.d/10-note" "$WORK/hooks.d/20-hang" "$WORK/hooks.d/40-fails"
chmod 777 "$WORK/hooks.d/30-untrusted"
chmod 644 "$WORK/hooks.d/50-plain"

start_hooks() {
        "$FDLD_BUILD/fdld-hooks" --directory="$WORK/hooks.d" --state="$WORK/hook-state" --timeout=1 2>>"$WORK/hooks.log" &
        hooks_pid=$!
}

# seen N: so many events were noted within a while.
seen() {
        for _ in $tries; do
                [ "$(find "$WORK/seen" -type f | wc -l)" -ge "$1" ] && break
                sleep 0.05
        done
        [ "$(find "$WORK/seen" -type f | wc -l)" -eq "$1" ] || { cat "$WORK/hooks.log" >&2; fail "not $1 events but: $(ls "$WORK/seen")"; }
}

start_hooks
for _ in $tries; do
        [ -s "$WORK/hook-state/cursor" ] && break
        sleep 0.05
done
flash_once
seen 1
grep -q '"event":"passed"' "$WORK"/seen/*-passed || fail "not the event"
grep -q "\"job\":$job" "$WORK"/seen/*-passed || fail "not the record of job $job"
# The one that hangs is killed, the ones behind it come to their turn.
for _ in $tries; do
        grep -q 'exit status 3' "$WORK/hooks.log" && break
        sleep 0.05
done
grep -q '20-hang passed took longer than 1 seconds and was killed' "$WORK/hooks.log" || fail "the one that hangs was not killed"
grep -q '30-untrusted must belong to root' "$WORK/hooks.log" || fail "no warning of the untrusted one"
grep -q '40-fails passed: exit status 3' "$WORK/hooks.log" || fail "a failing hook was not told"

# While nobody runs hooks a unit fails; afterwards it is caught up with, once.
rm "$WORK/hooks.d/20-hang"
kill "$hooks_pid"; wait "$hooks_pid" 2>/dev/null || true
simctl '{"cmd":"fault","device":"unit","fault":"at=fdl2:end nak=a2 count=1"}' >/dev/null || fail "no fault"
start_job flash phone.pac --slot="$unit"
expect 10 fdlctl -q --timeout=600 wait "$job"
start_hooks
seen 2
grep -q '"code":"write-refused-a2"' "$WORK"/seen/*-failed || fail "not the failure"
kill "$hooks_pid"; wait "$hooks_pid" 2>/dev/null || true
start_hooks
sleep 1
seen 2
stop_all
trap - EXIT
echo "hooks run once for each unit, in order, and never hold up more than themselves"
