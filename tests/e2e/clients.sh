#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Many clients, deaf clients, clients that die, clients that pass the wrong things, while eight devices are flashed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
devices=()
for i in 1 2 3 4 5 6 7 8; do devices+=("--device=phone-emmc,name=d$i,port=1-$i"); done
enter_world --fast "${devices[@]}"
pids=()
finish() {
        [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
        stop_station
}
trap finish EXIT
"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
start_bus
start_daemon

# what is not a file with a package in it
expect 0 timeout 60 "$FDLD_BUILD/buspest" kinds "$WORK"
[ "$(grep -c 'org.fdld.Fdld1.Error.BadFile .*descriptor is' "$WORK/out")" -eq 8 ] || { cat "$WORK/out"; fail "a wrong descriptor was taken"; }
if grep -q "17 files: ok" "$WORK/out"; then fail "17 descriptors were taken"; fi
expect 0 fdlctl status

# names that would play tricks on a terminal
cp "$WORK/phone.pac" "$WORK/$(printf 'red\033[31m.pac')"
expect 2 fdlctl -q import "$WORK/$(printf 'red\033[31m.pac')"
says "control characters"
if grep -q "$(printf '\033')" "$WORK/err"; then fail "the name reached the terminal"; fi
bidi=$(printf '\342\200\256')
"$FDLD_BUILD/pacmaker" phone "$WORK/turned.pac" "--set=version=1${bidi}0" >/dev/null
expect 9 fdlctl -q import "$WORK/turned.pac"
"$FDLD_BUILD/pacmaker" phone "$WORK/turned.pac" "--xml=l_modem=>l_mo${bidi}dem" >/dev/null
expect 9 fdlctl -q import "$WORK/turned.pac"
if grep -qF "$bidi" "$WORK/err"; then fail "the name reached the terminal"; fi
expect 0 fdlctl -q import "$WORK/phone.pac"
package=/org/fdld/Fdld1/packages/$(sed -n 's/^package //p' "$WORK/out")

# a draft goes with its client
"$FDLD_BUILD/buspest" draft "$package" >"$WORK/draft" &
draft_pid=$!
for _ in $tries; do [ -s "$WORK/draft" ] && break; sleep 0.05; done
draft=$(cat "$WORK/draft")
expect 0 fdlctl show "$draft"
says "State=draft"
expect 1 fdlctl remove phone.pac
kill -9 "$draft_pid"
wait "$draft_pid" 2>/dev/null || true
for _ in $tries; do fdlctl show "$draft" >/dev/null 2>&1 || break; sleep 0.05; done
expect 3 fdlctl show "$draft"

# an import goes on without its client
start_job import "$WORK/phone.pac"
expect 0 fdlctl -q wait "$job"

# twenty watch, one of them is deaf, some wait; of these some die
for _ in $(seq 17); do
        "$FDLD_BUILD/fdlctl" -j monitor >>"$WORK/monitor.$_" 2>&1 &
        pids+=($!)
done
for _ in 1 2 3; do
        "$FDLD_BUILD/buspest" deaf >/dev/null &
        pids+=($!)
done
expect 0 fdlctl -q --no-wait --all flash phone.pac
jobs=$(sed -n 's/^job //p' "$WORK/out")
[ "$(wc -w <<<"$jobs")" -eq 8 ] || fail "not eight jobs"
# shellcheck disable=SC2086 # a list
"$FDLD_BUILD/fdlctl" -q wait $jobs >/dev/null 2>&1 &
waiter=$!
sleep 0.3
kill -9 "$waiter"
wait "$waiter" 2>/dev/null || true
expect 0 timeout 60 "$FDLD_BUILD/fdlctl" status
# shellcheck disable=SC2086
expect 0 timeout 600 "$FDLD_BUILD/fdlctl" -q wait $jobs
for i in 1 2 3 4 5 6 7 8; do
        for f in "$WORK"/monitor.1 "$WORK"/monitor.17; do
                for _ in $tries; do
                        [ "$(grep -c '"signal":"JobFinished"' "$f")" -ge 8 ] && break
                        sleep 0.05
                done
        done
done
[ "$(grep -c '"signal":"JobFinished"' "$WORK/monitor.17")" -eq 8 ] || fail "a watcher missed the end of a job"
echo "1 passed, 0 failed"
