#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One record for each attempt: of a unit that passed, one that was pulled, one whose daemon was killed. They are found, exported, followed
# over a restart, checked, and a change from outside shows; pruning keeps the chain whole.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --device=phone-emmc,name=good,fdl2-start=20,flash-rate=60M --device=phone-emmc,name=bad,port=1-2,fdl2-start=20,flash-rate=8M
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc"
printf '[Station]\nStation=bench 3\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/phone.pac"
expect 0 fdlctl history
says "0 records listed"

# A follower from the first record on, which writes down how far it came.
fdlctl export --follow --cursor-file="$WORK/cursor" >"$WORK/followed" 2>/dev/null &
follower=$!

good=$(port_of good) bad=$(port_of bad)
start_job flash phone.pac --slot="$good" --operator="Ada L."
passed=$job
start_job flash phone.pac --slot="$bad"
pulled=$job
simctl '{"cmd":"wait","device":"bad","until":"bytes_written>2000000","timeout":60000}' >/dev/null || fail "the job never wrote"
simctl '{"cmd":"unplug","device":"bad"}' >/dev/null
expect 10 fdlctl -q wait "$pulled"
expect 0 fdlctl -q wait "$passed"

expect 0 fdlctl history
says "2 records listed"
code=$(fdlctl -j show "$pulled" | grep -o '"code":"[^"]*"' | head -n 1 | cut -d'"' -f4)
expect 0 fdlctl -j history --code="$code"
says "\"job\":$pulled"
says '"must_reflash":true'
expect 0 fdlctl -j history --result=done
says "\"job\":$passed"
says '"operator":"Ada L."'
says '"station":"bench 3"'
says '"mode":"upgrade"'
says '"loaders":[{"id":"FDL"'
says '"chip-uid"'
grep -q '"stage":"write"[^}]*"usec":[1-9]' "$WORK/out" || fail "no time for the stage write"
grep -q '"plan":"[0-9a-f]\{64\}"' "$WORK/out" || fail "no hash of the plan"
chip=$(grep -o '"chip-uid":"[^"]*"' "$WORK/out" | cut -d'"' -f4)
expect 0 fdlctl -j history --chip="$chip"
says "\"job\":$passed"
expect 0 fdlctl -j history --slot="$bad" --since=1h --until=@4000000000
says "\"job\":$pulled"
expect 0 fdlctl history --since=@4000000000
says "0 records listed"
expect 2 fdlctl history --since=soon
says "is no time"

# Killed while it writes: the record is there after the start, once.
simctl '{"cmd":"plug","device":"bad"}' >/dev/null
start_job flash phone.pac --slot="$bad"
killed=$job
simctl '{"cmd":"wait","device":"bad","until":"bytes_written>2000000","timeout":60000}' >/dev/null || fail "the job never wrote"
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
expect 0 fdlctl -j history --result=interrupted
says "\"job\":$killed"
expect 0 fdlctl -j history
[ "$(grep -o '"job":[0-9]*' "$WORK/out" | sort -u | wc -l)" -eq 3 ] || fail "not one record for each attempt"

# Exports.
expect 0 fdlctl export --format=csv "$WORK/records.csv"
[ "$(wc -l <"$WORK/records.csv")" -eq 4 ] || fail "the CSV has not 3 rows and a header"
head -n 1 "$WORK/records.csv" | tr -d '\r' >"$WORK/header"
columns=$(tr ',' '\n' <"$WORK/header" | wc -l)
sed -n 2p "$WORK/records.csv" | tr -d '\r' | grep -q "^1," || fail "the first row is not record 1"
[ "$columns" -eq 33 ] || fail "$columns columns"
expect 0 fdlctl export --cursor=2
[ "$(wc -l <"$WORK/out")" -eq 1 ] || fail "the cursor was not obeyed"
says "\"job\":$killed"
expect 2 fdlctl export --format=xml
for _ in $tries; do
        [ "$(wc -l <"$WORK/followed")" -ge 3 ] && break
        sleep 0.05
done
[ "$(wc -l <"$WORK/followed")" -eq 3 ] || fail "the follower did not get every record once"
kill "$follower"
wait "$follower" 2>/dev/null || true
[ "$(cat "$WORK/cursor")" = 3 ] || fail "the follower did not keep its place"

# The chain.
expect 0 fdlctl history --check
says "3 records are as they were written"
expect 2 fdlctl history --prune=0s
says "--yes"
expect 0 fdlctl history --prune=1d --yes
says "0 records were forgotten"
expect 0 fdlctl history --prune=@4000000000 --yes
says "3 records were forgotten"
expect 0 fdlctl history --check
says "those up to 3 were pruned"

# Serial numbers and chips are not for everybody.
if can_be_somebody_else; then
        chmod o+x "$WORK" "$WORK/bus"; chmod o+w "$WORK/bus/socket"
        expect 7 setpriv --reuid=65534 --regid=65534 --clear-groups "$FDLD_BUILD/fdlctl" history
fi
stop_station
trap - EXIT
echo "each attempt has one record; followed over a kill, checked, pruned"
