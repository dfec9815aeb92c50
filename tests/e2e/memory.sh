#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The daemon's own memory does not grow with the size of images: devices flash a small one and a large one at once, and the most
# that it held is compared, and so is that of one device and of several. When all is done the rest goes back to the system.
# FDLD_LONG=1: 8 devices and 6 GiB in a package of the second version; else 3 devices and 384 MiB.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
n=3 large=384M allow_kib=$((12 * 1024))
[ -z "${FDLD_LONG:-}" ] || { n=8 large=6G; }
devices=()
for i in $(seq "$n"); do
        devices+=("--device=phone-ufs-ab,name=u$i")
done
enter_world --fast "${devices[@]}"
trap stop_station EXIT
for size in 8M "$large"; do
        "$FDLD_BUILD/pacmaker" phone-ab "$WORK/$size.pac" --set=product="PHONE_$size" --plain=Super --size=Super="$size"
done
mkdir -p "$WORK/etc"
printf '[Store]\nPackageQuota=20G\n' >"$WORK/etc/fdld.conf"
start_bus
start_daemon
expect 0 fdlctl -q import "$WORK/8M.pac" "$WORK/$large.pac"
[ -z "${FDLD_LONG:-}" ] || head -c 18 "$WORK/$large.pac" | tr -d '\0' | grep -q BP_R2.0.1 || fail "not a package of the second version"

anonymous() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon_pid/status"; }

# flash_all PACKAGE [HOW-MANY]: on all devices at once; the most anonymous memory meanwhile, in KiB, is left in $peak.
flash_all() {
        local jobs=() i now
        peak=0
        for i in $(seq "${2:-$n}"); do
                start_job flash "$1.pac" --slot="$(port_of "u$i")"
                jobs+=("$job")
        done
        fdlctl -q wait "${jobs[@]}" >"$WORK/wait" 2>&1 &
        local waiter=$!
        while kill -0 "$waiter" 2>/dev/null; do
                now=$(anonymous)
                [ "${now:-0}" -le "$peak" ] || peak=$now
                sleep 0.03
        done
        wait "$waiter" || { cat "$WORK/wait" >&2; fail "a job with $1.pac failed"; }
}

cp -a --sparse=always "$WORK/flash/u1" "$WORK/before"
idle=$(anonymous)
flash_all 8M 1 # what is taken once and kept is not counted twice
one=$peak
flash_all_again() {
        local i
        for i in $(seq "$n"); do
                simctl "{\"cmd\":\"unplug\",\"device\":\"u$i\"}" >/dev/null
                simctl "{\"cmd\":\"plug\",\"device\":\"u$i\"}" >/dev/null
        done
        flash_all "$1"
}
flash_all_again 8M
small=$peak
flash_all_again "$large"
echo "at most $small KiB with 8 MiB, $peak KiB with $large, $n devices"
# Sanitizers keep what was freed and shadows of everything. (Not grep -q: nm would die of the closed pipe.)
if ! nm "$FDLD_BUILD/fdld" 2>/dev/null | grep -E '__asan_init|__tsan_init' >/dev/null; then
        # Not what is read out of each unit either, 10 MiB and more: only buffers, and what the station and its records take once.
        echo "$idle KiB idle, $one KiB with one device, $small KiB with $n"
        [ "$one" -le $((idle + 2048)) ] || fail "one device took $((one - idle)) KiB"
        # The most that one took may fall between two looks, and the station's own share is not the same each time: 512 KiB for both.
        [ "$small" -le $((one + 512 + 512 * (n - 1))) ] || fail "$((n - 1)) further devices took $((small - one)) KiB"
        [ "$peak" -le $((small + allow_kib)) ] || fail "the daemon's memory grew from $small to $peak KiB"
fi
if ! nm "$FDLD_BUILD/fdld" 2>/dev/null | grep -E '__asan_init|__tsan_init' >/dev/null; then
        for _ in $tries; do
                rss=$(awk '/^Rss:/ { print $2 }' "/proc/$daemon_pid/smaps_rollup")
                [ "$rss" -gt 10240 ] || break
                sleep 0.05
        done
        echo "$rss KiB resident when all is done"
        [ "$rss" -le 10240 ] || fail "the idle daemon holds $rss KiB"
fi
if [ -x "$FDLD_BUILD/flashcheck" ]; then
        "$FDLD_BUILD/flashcheck" "$WORK/$large.pac" "$WORK/before" "$WORK/flash/u1" || fail "flash is not what $large.pac must make of it"
fi
# What is zero takes no room on this disk.
used=$(du -sk "$WORK/flash" | cut -f1)
[ "$used" -le $((n * 400 * 1024)) ] || fail "the simulated flash takes $used KiB of disk"
stop_station
trap - EXIT
