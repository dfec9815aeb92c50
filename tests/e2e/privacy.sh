#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What everyone may read, properties, signals, lists and what is told of a failed job, holds nothing that identifies a unit: what jobs
# learned of it (chip ids, serial numbers) is only told to those who may read it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=unit --device=phone-emmc,name=bad,serial=SECRET4711,port=1-2
watcher=
finish() {
        [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
        stop_station
}
trap finish EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
# shellcheck disable=SC2119
start_daemon
dbus-monitor --address "$DBUS_SYSTEM_BUS_ADDRESS" "type='signal',sender='org.fdld.Fdld1'" >"$WORK/signals" 2>/dev/null &
watcher=$!
for _ in $tries; do
        [ -s "$WORK/signals" ] && break
        sleep 0.02
done
expect 0 fdlctl -q import "$WORK/phone.pac"
uid() { simctl "{\"cmd\":\"describe\",\"device\":\"$1\"}" | grep -o '"uid":"[0-9a-f]*"' | cut -d'"' -f4; }
secrets=("$(uid unit)" "$(uid bad)" SECRET4711 Surname)
good=$(port_of unit)
bad=$(port_of bad)
device_of() { fdlctl -j devices | grep -o '{[^}]*}' | grep -F "\"$1\"" | grep -o '/devices/_[0-9]*' | grep -o '[0-9]*$' | head -n 1; }
device=$(device_of "$good")
expect 0 fdlctl -q flash phone.pac --slot="$good"
simctl '{"cmd":"fault","device":"bad","fault":"at=fdl2:midst:500000 disconnect count=1"}' >"$WORK/fault" || fail "no such fault: $(cat "$WORK/fault")"
got=0
fdlctl -q flash phone.pac --slot="$bad" >"$WORK/out" 2>"$WORK/err" || got=$?
[ "$got" -ne 0 ] || fail "the bad unit passed"
cp "$WORK/out" "$WORK/told"
cat "$WORK/err" >>"$WORK/told"
# Who stands at the station is in the records alone, too.
expect 0 fdlctl -q start-batch phone.pac --slots="${good%:*}:9" --operator="Ada Surname"
# they were learned
expect 0 fdlctl -j history
grep -qF "${secrets[0]}" "$WORK/out" || fail "the record does not know the unit's chip: the test would prove nothing"
# everything that everyone may read
{
        fdlctl -j status
        for kind in devices slots jobs packages batches; do fdlctl -j $kind; done
        for job in 1 2 3; do fdlctl -j show "$job"; fdlctl -j wait "$job" || true; done
        fdlctl -j show "$good"
        fdlctl -j show "$bad"
        fdlctl -j show "$device" || true
        busctl --address="$DBUS_SYSTEM_BUS_ADDRESS" call org.fdld.Fdld1 /org/fdld/Fdld1 org.freedesktop.DBus.ObjectManager GetManagedObjects 2>/dev/null || true
        busctl --address="$DBUS_SYSTEM_BUS_ADDRESS" call org.fdld.Fdld1 /org/fdld/Fdld1 org.fdld.Fdld1.Manager ListJobs 'a{sv}' 0 2>/dev/null || true
} >>"$WORK/told" 2>&1
for _ in $tries; do
        [ "$(grep -c JobFinished "$WORK/signals")" -lt 3 ] || break
        sleep 0.02
done
[ "$(grep -c JobFinished "$WORK/signals")" = 3 ] || fail "not every signal was heard"
[ "$(wc -c <"$WORK/told")" -gt 10000 ] || fail "hardly anything could be read"
for secret in "${secrets[@]}"; do
        [ -n "$secret" ] || fail "no secret to look for"
        for file in told signals; do
                ! grep -iF "$secret" "$WORK/$file" || fail "everyone may read $secret ($file)"
        done
done
# nor do paths of clients' files get about
! grep -F "$WORK" "$WORK/told" "$WORK/signals" || fail "everyone may read where a client keeps its files"
echo "nothing that identifies a unit is told to everyone"
