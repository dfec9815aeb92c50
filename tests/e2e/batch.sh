#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Batches: what appears is flashed, a good unit only once; a package that breaks every unit stops the line, one bad unit does not;
# first article, pause, drain, count; they survive the daemon, and wait for a person after a reboot.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/e2e/station.sh
. "$here/station.sh"
enter_world --fast --device=phone-emmc,name=a,port=1-1 --device=phone-emmc,name=b,port=1-2 --device=phone-emmc,name=c,port=1-3,plug=no \
        --device=phone-emmc,name=d,port=1-4,plug=no
trap stop_station EXIT

# until_batch NUMBER TEXT: its properties say so soon
until_batch() {
        for _ in $tries; do
                fdlctl -j show "$path/_$1" >"$WORK/out" && grep -qF -- "$2" "$WORK/out" && return 0
                sleep 0.05
        done
        cat "$WORK/out" >&2
        fail "batch $1 never said $2"
}
path=/org/fdld/Fdld1/batches
begin_batch() {
        expect 0 fdlctl -q start-batch "$@"
        batch=$(sed -n 's/^batch //p' "$WORK/out")
}
# slot_says PORT TEXT
slot_says() {
        for _ in $tries; do
                fdlctl -j show "$root:$1" >"$WORK/out" 2>/dev/null && grep -qF -- "$2" "$WORK/out" && return 0
                sleep 0.05
        done
        cat "$WORK/out" >&2
        fail "the slot of $1 never said $2"
}
swap() { simctl "{\"cmd\":\"swap\",\"device\":\"$1\",\"spec\":\"phone-emmc,name=$1,seed=$2\"}" >/dev/null; }

"$FDLD_BUILD/pacmaker" phone "$WORK/phone.pac" >/dev/null
mkdir -p "$WORK/etc/profiles.d"
printf '[Profile]\nDescription=the usual\nPackage=phone.pac\nStopAfter=2/4\nRetry=0\n' >"$WORK/etc/profiles.d/line.conf"
export FDLD_BOOT_ID=boot-1
root=$(port_of a)
root=${root%:*}
start_bus
start_daemon
expect 0 fdlctl profiles
says "the usual"

# A file is imported on the way. Two units are there, the third comes later.
begin_batch "$WORK/phone.pac" --name=morning --operator=Ada
until_batch "$batch" '"Passed":2'
until_batch "$batch" '"State":"running"'
slot_says 1 '"State":"passed"'
slot_says 1 '"Action":"unplug"'
simctl '{"cmd":"plug","device":"c"}' >/dev/null
until_batch "$batch" '"Passed":3'
# The same unit again is not flashed again; another one in the same socket is.
simctl '{"cmd":"replug","device":"c","delay":50}' >/dev/null
until_batch "$batch" '"Skipped":1'
expect 0 fdlctl history --result=skipped -j
says '"batch":'
skipped=$(fdlctl history --result=skipped -j | grep -o '"job":[0-9]*' | head -1 | cut -d: -f2)
expect 11 fdlctl -q wait "$skipped"
swap c 77
until_batch "$batch" '"Passed":4'

# Restarted daemon: it goes on. Restarted computer: it waits for a person, and says so first.
kill -9 "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
start_daemon
until_batch "$batch" '"State":"running"'
until_batch "$batch" '"Passed":4'
stop_daemon
FDLD_BOOT_ID=boot-2 start_daemon
until_batch "$batch" '"State":"paused"'
expect 0 fdlctl status
head -1 "$WORK/out" | grep -q "PAUSED: The computer was restarted" || fail "status does not say it in its first line"
swap c 78
sleep 0.3
until_batch "$batch" '"Passed":4'
expect 0 fdlctl resume-batch
until_batch "$batch" '"Passed":5'
# Somebody writes into the stored package: that is not what the batch began with.
printf x | dd of="$(ls "$WORK"/state/packages/*.pac)" bs=1 seek=100 conv=notrunc status=none
swap c 79
until_batch "$batch" 'changed on disk'
stop_daemon
cp "$WORK/phone.pac" "$WORK/state/packages/$(basename "$(ls "$WORK"/state/packages/*.pac)")"
FDLD_BOOT_ID=boot-2 start_daemon
for _ in $tries; do fdlctl -j packages | grep -q '"Ready":true' && break; sleep 0.05; done
expect 0 fdlctl resume-batch
until_batch "$batch" '"Passed":6'
expect 0 fdlctl drain-batch "$batch"
until_batch "$batch" '"State":"stopped"'

# A package that breaks every unit: after two of them (so the profile says) nobody is started any more.
for unit in a b c; do simctl "{\"cmd\":\"unplug\",\"device\":\"$unit\"}" >/dev/null || true; done
begin_batch --profile=line --slots="$root:1,$root:2,$root:3,$root:4"
failed=0
for unit in a b c d; do
        swap "$unit" "9$(printf %d "'$unit"),brom-refuse=a6"
        simctl "{\"cmd\":\"plug\",\"device\":\"$unit\"}" >/dev/null
        [ $failed -eq 2 ] || failed=$((failed + 1))
        until_batch "$batch" "\"Failed\":$failed"
done
until_batch "$batch" '"State":"paused"'
until_batch "$batch" '"Failed":2'
until_batch "$batch" 'failed alike'
expect 0 fdlctl status
head -1 "$WORK/out" | grep -q "PAUSED: 2 of the last" || fail "status does not say why the line stopped"
sleep 0.3
until_batch "$batch" '"Failed":2'
expect 0 fdlctl stop-batch "$batch"
until_batch "$batch" '"State":"stopped"'
expect 1 fdlctl resume-batch "$batch"
stop_station
trap - EXIT
echo "batches run, stop by themselves, survive"
