#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Some of everything that the daemon does, under valgrind: no read of what is not there or was never written, no leak at the end.
# Run by ./run valgrind. Jobs are slower by ten to thirty times here, so what is flashed is small, and deadlines are long.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed (apt-get install valgrind)"; exit 77; }
# A sanitizer and valgrind do not go together. (Not grep -q: nm would die of the closed pipe.)
if nm "$FDLD_BUILD/fdld" 2>/dev/null | grep -E '__asan_init|__tsan_init' >/dev/null; then
        echo "skipped: the daemon was built with a sanitizer"
        exit 77
fi
enter_world --fast --device=feature-nor,name=a --device=feature-nor,name=b,port=1-2 --device=phone-emmc,name=phone,port=1-3 \
        --device=uis8910,name=module,port=1-4
trap stop_station EXIT
mkdir -p "$WORK/etc/profiles.d"
printf '[Station]\nName=slow\n\n[Devices]\nAllowIds=0525:a4a7\n' >"$WORK/etc/fdld.conf"
printf '[Profile]\nPackage=feature.pac\n' >"$WORK/etc/profiles.d/line.conf"
for family in feature phone uis8910; do
        "$FDLD_BUILD/pacmaker" "$family" "$WORK/$family.pac" >/dev/null
done
a=$(port_of a) b=$(port_of b) phone=$(port_of phone) module=$(port_of module)
start_bus

# Instead of start_daemon: the same program, watched. Its own exit code is kept; what was found is in the log.
mkdir -p "$WORK/state" "$WORK/run"
STATE_DIRECTORY=$WORK/state RUNTIME_DIRECTORY=$WORK/run CONFIGURATION_DIRECTORY=$WORK/etc \
        valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect \
        --track-fds=no --num-callers=24 --log-file="$WORK/valgrind.log" "$FDLD_BUILD/fdld" 2>"$WORK/fdld.log" &
daemon_pid=$!
soon "fdld" fdlctl status

# Valgrind does not know the question of usbfs for the port of a device (USBDEVFS_CONNINFO_EX), and says so.
found() {
        sed -E '/Warning: noted but unhandled ioctl 0x551f/,/README_MISSING_SYSCALL_OR_IOCTL/d' "$WORK/valgrind.log" >"$WORK/found"
        [ ! -s "$WORK/found" ] && return 0
        cat "$WORK/found" >&2
        fail "valgrind found something${1:+ in $1}"
}
# again UNIT: fresh in its socket, and the daemon has seen it.
again() {
        simctl "{\"cmd\":\"replug\",\"device\":\"$1\"}" >/dev/null || fail "unit $1 cannot be plugged in again"
        soon "$(port_of "$1")" fdlctl devices
}
step() {
        echo "$1"
        found "what came before \"$1\""
}

step "packages, good and bad"
expect 0 fdlctl -q import "$WORK/feature.pac" "$WORK/phone.pac" "$WORK/uis8910.pac"
head -c 5000 "$WORK/feature.pac" >"$WORK/cut.pac"
expect 9 fdlctl -q import "$WORK/cut.pac"
head -c 100000 /dev/urandom >"$WORK/noise.pac"
expect 9 fdlctl -q import "$WORK/noise.pac"
expect 0 fdlctl flash feature.pac --dry-run --slot="$a"

step "flash of several at once, one of them pulled"
jobs=()
for pair in "feature $a" "uis8910 $module" "phone $phone"; do
        start_job flash "${pair% *}.pac" --slot="${pair#* }"
        jobs+=("$job")
done
start_job flash feature.pac --slot="$b"
pulled=$job
simctl '{"cmd":"wait","device":"b","until":"bytes_written>200000","timeout":60000}' >/dev/null || fail "the job never wrote"
simctl '{"cmd":"unplug","device":"b"}' >/dev/null
expect 10 fdlctl -q wait "$pulled"
expect 0 fdlctl -q wait "${jobs[@]}"

step "what can be looked at"
for verb in status devices slots jobs packages loaders batches profiles history; do
        expect 0 fdlctl $verb
        expect 0 fdlctl -j $verb
done
expect 0 fdlctl show "$pulled"
expect 0 fdlctl trace "$pulled"
expect 0 fdlctl export "$WORK/records.csv"
expect 0 fdlctl -q bundle "$pulled" "$WORK/bundle.tar"
expect 0 fdlctl vault
expect 0 fdlctl explain write-gone

step "verify, read, write, erase, backup, restore"
again phone
expect 0 fdlctl -q --slot="$phone" verify phone.pac
again phone
expect 0 fdlctl -q --device="$phone" --package=phone.pac backup "$WORK/saved" boot l_fixnv1
again phone
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes --any-image write boot="$WORK/saved/boot.img"
again phone
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes restore "$WORK/saved"
again phone
expect 0 fdlctl -q --device="$phone" --package=phone.pac --yes erase cache

step "cancel, retry, a device that refuses, one that says nonsense"
start_job flash feature.pac --slot="$b"
expect 0 fdlctl -q cancel "$job"
expect 6 fdlctl -q wait "$job"
fault() { simctl "{\"cmd\":\"fault\",\"device\":\"$1\",\"fault\":\"$2\"}" >/dev/null || fail "no fault $2"; }
again a
fault a "at=fdl2:midst:20000 nak=8a"
start_job flash feature.pac --slot="$a"
refused=$job
again b
fault b "at=fdl2:midst:20000 garbage count=forever"
start_job flash feature.pac --slot="$b"
garbled=$job
expect 10 fdlctl -q wait "$refused"
fdlctl -q wait "$garbled" >"$WORK/out" 2>&1 && fail "a unit that says nonsense is done"
fault a clear
again a
expect 0 fdlctl -q retry "$refused"

step "a batch, and settings that are read again"
expect 0 fdlctl -q start-batch feature.pac --slots="$a"
again a
soon '"Passed":1' fdlctl -j batches
expect 0 fdlctl -q stop-batch
kill -HUP "$daemon_pid"

step "calls that make no sense"
expect 0 "$FDLD_BUILD/buspest" files "$WORK/phone.pac"
expect 0 "$FDLD_BUILD/buspest" kinds "$WORK"
expect 0 "$FDLD_BUILD/bus-fuzz" --seed=3 --rounds=2 "$WORK" "$WORK/phone.pac" boot "$phone"

step "the end"
stop_station
found
trap - EXIT
echo "1 passed, 0 failed"
