#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each exit code of fdlctl that can come about, one clear line for each mistake, and JSON of every verb that lists.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=good --device=phone-emmc,name=refuses,port=1-2,brom-refuse=a6 \
        --device=phone-emmc,name=other,port=1-3 --device=phone-emmc,name=pulled,port=1-4 \
        --device=phone-emmc,name=denied,port=1-5,perm=denied
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
"$FDLD_BUILD/pacmaker" phone "$WORK/table.pac" --partitions=splloader=1,miscdata=2,userdata=0xFFFFFFFF >/dev/null 2>&1 || true
start_bus
start_daemon

# line STATUS TEXT COMMAND…: that exit code, that text, and one line of it only.
line() {
        local status=$1 text=$2
        shift 2
        expect "$status" "$@"
        says "$text"
        [ "$(wc -l <"$WORK/err")" -eq 1 ] || { cat "$WORK/err" >&2; fail "one clear line for: $*"; }
}
json() {
        expect 0 fdlctl -j "$@"
        cp "$WORK/out" "$WORK/json"
        "$FDLD_BUILD/buspest" json <"$WORK/json" || fail "no JSON: fdlctl -j $*"
        expect 0 fdlctl --json=pretty "$@"
        cp "$WORK/out" "$WORK/json"
        "$FDLD_BUILD/buspest" json <"$WORK/json" || fail "no JSON: fdlctl --json=pretty $*"
}

good=$(port_of good) pulled=$(port_of pulled)
expect 0 fdlctl -q import "$WORK/phone.pac"
# 10 before the others: its unit is flashed again below
simctl '{"cmd":"fault","device":"pulled","fault":"at=fdl2:midst:500000 disconnect count=1"}' >/dev/null
expect 10 fdlctl -q flash phone.pac --slot="$pulled"
says "must be flashed again"
expect 4 fdlctl -q flash phone.pac --slot="$(port_of refuses)"
says "load-fdl1-refused-a6"
expect 1 fdlctl -q flash phone.pac --slot="$(port_of denied)"
says "claim-host-permission"
expect 5 fdlctl -q flash "$WORK/table.pac" --slot="$(port_of other)"
says "mismatch"
start_job flash phone.pac --slot="$pulled"
line 1 "still finds no device" fdlctl answer "$job" plug-in
line 2 'asks for "plug-in"' fdlctl answer "$job" abracadabra
json show "$job"
expect 0 fdlctl cancel "$job"
expect 6 fdlctl -q wait "$job"
line 1 "asks for nothing" fdlctl answer "$job" plug-in
line 1 "finished already" fdlctl cancel "$job"
start_job flash phone.pac --slot="$pulled"
line 3 "Still not finished" fdlctl -q --timeout=0.1 wait "$job"
# the worst of several
status=0
fdlctl -q wait 2 3 >"$WORK/out" 2>"$WORK/err" || status=$?
[ "$status" -eq 10 ] || fail "of 10 and 4 the worse is 10, not $status"

line 2 "is no object path" fdlctl show '/foo bar'
line 3 "no job 999" fdlctl show 999
line 3 "Nothing is called" fdlctl show nobody
line 2 "is empty" fdlctl label '' x
line 2 "is no job number" fdlctl wait -- -1
# more than a list of them holds: said, not left out
mapfile -t many < <(seq 600)
line 2 "More than 512" fdlctl wait "${many[@]}"
line 3 "Cannot open" fdlctl flash "$WORK/missing.pac"
line 2 "Only one of" fdlctl --all --device=1 flash phone.pac
line 2 "Only one of" fdlctl --slot="$good" --device=1 flash phone.pac
line 3 "There is no device" fdlctl --device=999 flash phone.pac
line 3 "There is no slot" fdlctl --slot=nowhere flash phone.pac
line 9 "plain file" fdlctl import "$WORK"

json status
json devices
json slots
json jobs
json packages
json show phone.pac
json show "$good"
json explain
json explain write-gone
json inspect "$WORK/phone.pac"
json plan "$WORK/phone.pac"
json flash --dry-run phone.pac
json import "$WORK/phone.pac"

expect 0 fdlctl -q flash phone.pac --slot="$good"

# 7: only root may; the others may look. Needs a second user.
if can_be_somebody_else; then
        cp "$FDLD_BUILD/fdlctl" "$WORK/fdlctl"
        chmod 711 "$WORK"
        other=(setpriv --reuid=65534 --clear-groups "$WORK/fdlctl")
        line 7 "only root has" "${other[@]}" cancel "$job"
        line 7 "only root has" "${other[@]}" -q --slot="$good" flash phone.pac
        expect 0 "${other[@]}" status
fi
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
line 8 "fdld does not answer" fdlctl jobs
daemon_pid=
echo "1 passed, 0 failed"
