#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# How fast fdld is on simulated phones without any speed limit: total rate, the daemon's own CPU, its memory, and how long a bus
# call takes meanwhile. The simulator's CPU is not part of the figures, but it shares the processors.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FDLD_BUILD=${FDLD_BUILD:?FDLD_BUILD is not set; use ./run bench}
# shellcheck source=tests/e2e/station.sh
. "$here/../e2e/station.sh"
runs=3 json=no counts="1 4 16"

while [ $# -gt 0 ]; do
        case $1 in
        --json) json=yes ;;
        --runs=*) runs=${1#*=} ;;
        --devices=*) counts=${1#*=} ;;
        *) echo "usage: ./run bench [--json] [--runs=N] [--devices='1 4 16']" >&2; exit 2 ;;
        esac
        shift
done

# measure N: inside the simulator; one line "seconds cpu-seconds rss-KiB call-ms".
measure() {
        local n=$1 i before after jobs=() pid worst=0 t0 t1
        trap stop_station EXIT
        start_bus
        start_daemon
        pid=$daemon_pid
        fdlctl -q import "$WORK/phone.pac" >/dev/null
        before=$(date +%s%N)
        mapfile -t jobs < <(fdlctl -q flash phone.pac --all --no-wait | sed 's/^job //')
        [ "${#jobs[@]}" -eq "$n" ] || fail "${#jobs[@]} jobs for $n devices"
        while fdlctl jobs --no-legend | grep -qE ' (running|queued|waiting) '; do
                t0=$(date +%s%N)
                busctl_free_call
                t1=$(date +%s%N)
                i=$(((t1 - t0) / 1000000))
                [ "$i" -gt "$worst" ] && worst=$i
                sleep 0.1
        done
        after=$(date +%s%N)
        fdlctl -q wait "${jobs[@]}" || fail "a job failed"
        awk -v wall="$(((after - before) / 1000000))" -v worst="$worst" -v tick="$(getconf CLK_TCK)" \
                -v rss="$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status")" \
                '{ printf "%.3f %.3f %d %d\n", wall / 1000, ($14 + $15) / tick, rss, worst }' "/proc/$pid/stat" >"$WORK/result"
        stop_station
        trap - EXIT
}

busctl_free_call() { fdlctl status >/dev/null || fail "the bus does not answer"; }

if [ "${FDLD_BENCH_INSIDE:-}" ]; then
        measure "$FDLD_BENCH_INSIDE"
        exit 0
fi

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

scratch=$(mktemp -d "${TMPDIR:-/tmp}/fdld-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
"$FDLD_BUILD/pacmaker" phone "$scratch/phone.pac" >/dev/null
bytes=$(stat -c %s "$scratch/phone.pac")
[ "$json" = yes ] || printf '%-8s %10s %12s %12s %14s\n' devices MB/s "CPU s/GiB" "RSS MiB" "worst call ms"
for n in $counts; do
        : >"$scratch/rows"
        for _ in $(seq "$runs"); do
                WORK=$scratch/run
                rm -rf "$WORK"
                mkdir -p "$WORK"
                ln -s "$scratch/phone.pac" "$WORK/phone.pac"
                export WORK FDLD_BUILD
                options=()
                for _ in $(seq "$n"); do options+=(--device=phone-emmc); done
                FDLD_BENCH_INSIDE=$n "$FDLD_BUILD/usbsim" --fast --bus-rate=0 --storage="$WORK/flash" "${options[@]}" \
                        -- bash "$here/bench.sh" || exit $?
                cat "$WORK/result" >>"$scratch/rows"
        done
        wall=$(cut -d' ' -f1 "$scratch/rows" | median)
        cpu=$(cut -d' ' -f2 "$scratch/rows" | median)
        rss=$(cut -d' ' -f3 "$scratch/rows" | median)
        call=$(cut -d' ' -f4 "$scratch/rows" | median)
        awk -v n="$n" -v b="$bytes" -v wall="$wall" -v cpu="$cpu" -v rss="$rss" -v call="$call" -v json="$json" 'BEGIN {
                rate = n * b / wall / 1e6; per = cpu / (n * b / 1073741824)
                if (json == "yes") printf "{\"devices\":%d,\"mb_per_s\":%.1f,\"cpu_s_per_gib\":%.2f,\"rss_kib\":%d,\"worst_call_ms\":%d}\n", n, rate, per, rss, call
                else printf "%-8d %10.1f %12.2f %12.1f %14d\n", n, rate, per, rss / 1024, call }'
done
