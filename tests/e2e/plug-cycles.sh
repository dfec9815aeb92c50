#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Units come and go, thousands of times, while others are flashed, some of them pulled out of their jobs: memory, descriptors and
# threads of the daemon stay where they were. FDLD_LONG=1: a day of a busy station, more than 20,000 times; else some hundreds.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
# Each round plugs cycles units in and out, lets one job end and pulls the unit of another; the first rounds fill what is kept for a
# while (the last finished jobs, caches of the records) and are not judged.
cycles=40 warm=2 rounds=3 probes=0 allow_kib=1536
[ -z "${FDLD_LONG:-}" ] || { cycles=200 warm=20 rounds=85 probes=1500 allow_kib=1024; }
devices=() units=()
for i in 1 2 3 4 5 6 7 8; do
        devices+=("--device=feature-nor,name=u$i,port=1-$i,plug=no")
        units+=("u$i")
done
enter_world --fast "${devices[@]}" --device=feature-nor,name=ends,port=1-9,plug=no --device=feature-nor,name=pulled,port=1-10,plug=no
trap stop_station EXIT
"$FDLD_BUILD/pacmaker" feature "$WORK/feature.pac" >/dev/null
start_bus
# shellcheck disable=SC2119
start_daemon
expect 0 fdlctl -q import "$WORK/feature.pac"

rss() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon_pid/status"; }

total=0
ended=0
pulled=0
# round N: the units of both jobs are out before and after.
round() {
        local plugger code=0 first second before
        before=$(simctl '{"cmd":"describe","device":"pulled"}' | sed -n 's/.*"bytes":\([0-9]*\),.*/\1/p')
        "$FDLD_BUILD/plugger" "$cycles" "${units[@]}" >"$WORK/plugged" 2>&1 &
        plugger=$!
        simctl '{"cmd":"plug","device":"ends"}' >/dev/null
        simctl '{"cmd":"plug","device":"pulled"}' >/dev/null
        start_job flash feature.pac --slot="$ends"
        first=$job
        start_job flash feature.pac --slot="$pull"
        second=$job
        # At another place each time: two million bytes are all that there is to send.
        simctl "{\"cmd\":\"wait\",\"device\":\"pulled\",\"bytes\":$((before + 1 + $1 * 79199 % 1800000)),\"timeout\":20000}" >/dev/null || true
        simctl '{"cmd":"unplug","device":"pulled"}' >/dev/null
        fdlctl -q wait "$first" "$second" >"$WORK/out" 2>"$WORK/err" || code=$?
        # 4, 10: gone, before or after the first write.
        case $code in 0 | 4 | 10) ;; *) cat "$WORK/err" >&2; fail "jobs ended with $code" ;; esac
        fdlctl -j show "$first" | grep -q '"Result":"done"' || fail "job $first, whose unit nobody touched, is not done: $(fdlctl show "$first")"
        simctl '{"cmd":"unplug","device":"ends"}' >/dev/null
        wait $plugger || { cat "$WORK/plugged" >&2; fail "the daemon did not follow"; }
        total=$((total + $(cat "$WORK/plugged") + 2)) ended=$((ended + 1))
        [ "$code" -eq 0 ] || pulled=$((pulled + 1))
}
ports_of() {
        simctl "{\"cmd\":\"plug\",\"device\":\"$1\"}" >/dev/null
        port_of "$1"
        simctl "{\"cmd\":\"unplug\",\"device\":\"$1\"}" >/dev/null
}
ends=$(ports_of ends)
pull=$(ports_of pulled)
# SQLite keeps up to 2 MB of the records in memory; they are many soon.
simctl '{"cmd":"plug","device":"ends"}' >/dev/null
for i in $(seq $probes); do fdlctl -q --slot="$ends" probe >/dev/null || fail "probe $i"; done
simctl '{"cmd":"unplug","device":"ends"}' >/dev/null
for i in $(seq $warm); do round "$i"; done
daemon_holds_at_most 1000 1000
sleep 0.2
early_fds=$(daemon_fds) early_threads=$(daemon_threads) early=$(rss) early_total=$total
for i in $(seq $((warm + 1)) $((warm + rounds))); do
        round "$i"
        [ $((i % 10)) -ne 0 ] || echo "$total plug cycles: $(rss) KiB, $(daemon_fds) descriptors, $(daemon_threads) threads"
done
daemon_holds_at_most "$early_fds" "$early_threads"
late=$(rss)
echo "$total plug cycles, $ended jobs done, $pulled pulled; after $early_total: $early KiB, $early_fds descriptors, $early_threads threads;" \
        "at the end: $late KiB, $(daemon_fds) descriptors, $(daemon_threads) threads"
[ "$(fdlctl devices --no-legend | wc -l)" -eq 0 ] || fail "units that are out are still shown: $(fdlctl devices)"
# Sanitizers keep what was freed.
if ! nm "$FDLD_BUILD/fdld" 2>/dev/null | grep -E '__asan_init|__tsan_init' >/dev/null; then
        [ "$late" -le $((early + allow_kib)) ] || fail "the daemon grew from $early to $late KiB in $((total - early_total)) cycles"
fi
[ -z "${FDLD_LONG:-}" ] || [ "$total" -ge 20000 ] || fail "only $total cycles"
[ "$pulled" -gt 0 ] || fail "no job was pulled"
# Under a sanitizer a leak is found now.
stop_station
trap - EXIT
