#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Loaders that obey nobody but the tool of their maker: said, and nothing in flash is changed. And what comes after a unit was
# restarted: it is not shown as ready, and nothing begins on it before another one is in the socket.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=auth,gate=auth --device=phone-emmc,name=challenge,gate=challenge \
        --device=phone-emmc,name=slow,port=1-9,reset-delay=4000 --device=phone-emmc,name=off,port=1-10
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
cp -a "$WORK/flash" "$WORK/before"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"

gate() { # UNIT CODE WORDS
        expect 4 fdlctl -q flash phone.pac --slot="$(port_of "$1")"
        says "$2"
        says "$3"
        diff -r "$WORK/before/$1" "$WORK/flash/$1" || fail "flash of $1 was changed"
        expect 0 fdlctl explain "$2"
        says "service"
}
gate auth backup-refused-fe "authorised tool"
gate challenge identify-refused-challenge "key of its maker"
# The refusals did not cost the loader its last buffer.
simctl '{"cmd":"describe","device":"auth"}' | grep -q '"unknown":2' || fail "the loader was asked too often"

state_of() { fdlctl -j devices | grep -o "{[^{}]*\"Port\":\"$1\"[^{}]*}" | grep -o '"State":"[a-z-]*"'; }
port=$(port_of slow)
expect 0 fdlctl -q flash phone.pac --slot="$port"
[ "$(state_of "$port")" = '"State":"present"' ] || fail "a unit that restarts is shown as $(state_of "$port")"
device=$(fdlctl -j devices | grep -o "{[^{}]*\"Port\":\"$port\"[^{}]*}" | grep -o 'devices/_[0-9]*' | sed 's/.*_//')
expect 1 fdlctl -q flash phone.pac --device="$device"
says "about to leave"
start_job flash phone.pac --slot="$port"
expect 0 fdlctl -j show "$job"
says '"State":"waiting"'
says '"UserAction":"replug"'
simctl '{"cmd":"unplug","device":"slow"}' >/dev/null
simctl '{"cmd":"plug","device":"slow"}' >/dev/null
expect 0 fdlctl -q --timeout=600 wait "$job"

# Switched off, it stays on the bus until somebody pulls the cable.
port=$(port_of off)
expect 0 fdlctl -q flash phone.pac --slot="$port" --finish=power-off
[ "$(state_of "$port")" = '"State":"present"' ] || fail "a unit that is switched off is shown as $(state_of "$port")"
stop_station
trap - EXIT
echo "two gates, two units that were restarted or switched off"
